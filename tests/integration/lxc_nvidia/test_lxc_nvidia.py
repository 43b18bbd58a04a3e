# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The role in a container of a node with a driver: from nothing to the proof, and what breaks afterwards.

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from integration.nvidia_lab import CTID, CUDA, NEWER, VERSION, Roles
from lab.smoke.running import RunningLab

URL = f"{CUDA}/ubuntu2404/x86_64/"
LISTS = "/etc/apt/sources.list.d"
OURS = f"{LISTS}/nvidia-cuda.sources"
KEY = "/etc/apt/keyrings/nvidia-cuda.asc"
RING = "/usr/share/keyrings/cuda-archive-keyring.gpg"

# Pitfall 15: what an earlier run, a guide or a person may have left.
REMAINS = {
    "absent": f"rm -f {OURS} {KEY}",
    "wrong distribution": f"echo 'deb [signed-by={KEY}] {CUDA}/ubuntu2204/x86_64/ /' > {LISTS}/cuda.list; rm {OURS}",
    "duplicate": f"echo 'deb [trusted=yes] {URL} /' > {LISTS}/cuda-ubuntu2404-x86_64.list",
    "duplicate elsewhere": f"printf 'Types: deb\\nURIs: {URL}\\nSuites: /\\nTrusted: yes\\n' > {LISTS}/extra.sources",
    "half-written": f"printf 'deb [signed-by={RING}] https://developer.downl' > {LISTS}/cuda-ubuntu2404-x86_64.list",
    "half-written ours": f"head -c 120 {OURS} > /tmp/x; cat /tmp/x > {OURS}",
    "empty key": f": > {KEY}",
    "other key": f"sed -i 's/[A-M]/N/g' {KEY}",
    "key in another place": f"cp {KEY} /usr/share/keyrings/cuda.asc; "
    f"echo 'deb [signed-by=/usr/share/keyrings/cuda.asc] {URL} /' > {LISTS}/cuda.list",
    "in sources.list": f"echo 'deb [trusted=yes] {URL} /' >> /etc/apt/sources.list",
}


def inside(lab: RunningLab, script: str) -> str:
    text = base64.b64encode(script.encode()).decode()
    return lab.inside(CTID, "sh", "-c", f"echo {text} | base64 -d | sh -e")


@pytest.fixture(scope="module", autouse=True)
def container(lab: RunningLab, roles: Roles) -> Iterator[None]:
    driver = roles.node(cuda=False)
    assert not driver.failed, driver.output
    roles.destroy()
    roles.create()
    yield
    roles.destroy()


def test_from_nothing(lab: RunningLab, roles: Roles) -> None:
    inside(lab, "touch /tmp/before; sleep 0.1")
    predicted = roles.container("--check", "--diff")
    assert not predicted.failed, predicted.output
    assert predicted.changed >= 5
    assert inside(lab, "find /etc /usr /var/lib/dpkg -newer /tmp/before -type f -not -name 'lock*'") == ""
    played = roles.container()
    assert not played.failed, played.output
    calls = len(lab.calls())
    for options in ((), ("--check",)):
        again = roles.container(*options)
        assert (again.failed, again.changed) == (False, 0), again.output
    verified = roles.container(start="verify")
    assert (verified.failed, verified.changed) == (False, 0), verified.output
    assert [call for call in lab.calls()[calls:] if call.get("command") == "pct"] == []


def test_shells_and_linker_know_cuda(lab: RunningLab) -> None:
    assert "release 12.8" in inside(lab, "bash -lc 'nvcc --version'")
    assert "libcudart.so.12" in inside(lab, "ldconfig -p")
    assert "nvtop version" in inside(lab, "nvtop --version")


def test_no_second_driver(lab: RunningLab) -> None:
    """Pitfall 14: nvtop recommends a driver's library, and cuda depends on one."""
    packages = inside(lab, "dpkg-query -W -f '${Package}\\n'")
    assert not [name for name in packages.split() if name.startswith(("libnvidia", "nvidia", "libcuda1", "cuda-dri"))]
    assert "Inst" not in inside(lab, "apt-get --simulate install cuda-12-8 2>&1 || true")


def test_an_install_that_would_bring_a_driver_is_refused(lab: RunningLab, roles: Roles) -> None:
    pins = "/etc/apt/preferences.d/00-phoenix-nvidia.pref"
    inside(lab, f"mv {pins} /root/pins")
    try:
        played = roles.task("apt_packages", "gpu", present=["cuda-12-8"])
    finally:
        inside(lab, f"mv /root/pins {pins}")
    assert (played.failed, played.changed) == (True, 0), played.output
    assert "libnvidia-compute-580" in played.words


@pytest.mark.parametrize("case", REMAINS)
def test_the_repository_converges(lab: RunningLab, roles: Roles, case: str) -> None:
    foreign = f"{LISTS}/other.list"
    inside(lab, f"printf '# a note\\n\\ndeb [trusted=yes] {CUDA}/debian12/x86_64/ /\\n# the end\\n' > {foreign}")
    inside(lab, REMAINS[case])
    first = roles.task("cuda_repository", "gpu", url=URL)
    assert (first.failed, first.changed) == (False, 1), first.output
    said = inside(lab, "apt-get update 2>&1; apt-cache policy cuda-toolkit-12-8")
    assert not [line for line in said.splitlines() if line.startswith(("E:", "W:", "Err"))], said
    assert said.count(f"{CUDA}/ubuntu2404") == said.count(URL.rstrip("/")) >= 1
    assert inside(lab, f"grep -rl {CUDA} /etc/apt").split() == [OURS]
    again = roles.task("cuda_repository", "gpu", url=URL)
    assert (again.failed, again.changed) == (False, 0), again.output


def test_one_gpu(roles: Roles) -> None:
    """Pitfall 6: what the assignment does not name is gone, and the proof counts by UUID."""
    found = roles.container(start="verify", gpus="1")
    assert "nvidia-smi lists 2 GPUs" in found.words
    played = roles.container(gpus="1")
    assert not played.failed, played.output
    assert roles.container(gpus="1").changed == 0
    assert not roles.container().failed


def test_a_container_that_runs_without_its_devices_heals(lab: RunningLab, roles: Roles) -> None:
    """Seed 004, pitfalls 1 and 3: the lines are written, and nobody has restarted the container."""
    assert not roles.task("lxc_gpu_passthrough", ctid=CTID, gpus="none").failed
    written = roles.task("lxc_gpu_passthrough", ctid=CTID, gpus="0,1", restart=False)
    assert not written.failed, written.output
    assert "/dev/nvidia0 is missing" in roles.container(start="verify").words
    played = roles.container()
    assert (played.failed, played.changed) == (False, 1), played.output


def test_cuda_without_uvm_is_found(lab: RunningLab, roles: Roles) -> None:
    """facts/gpu.md: without it nvidia-smi lists every GPU and exits with 0."""
    inside(lab, "umount /dev/nvidia-uvm; rm /dev/nvidia-uvm")
    assert inside(lab, "nvidia-smi -L").count("GPU ") >= 2
    assert "/dev/nvidia-uvm is missing" in roles.container(start="verify").words
    assert not roles.container().failed


def test_a_missing_device_of_the_node_is_named(roles: Roles) -> None:
    """Pitfall 4: no line is written that hides it."""
    roles.gpu("uvm=missing")
    played = roles.container()
    roles.gpu("uvm=ok")
    assert (played.failed, played.changed) == (True, 0), played.output
    assert "/dev/nvidia-uvm on the node does not exist" in played.words


def test_another_version_on_the_node_is_named(lab: RunningLab, roles: Roles) -> None:
    """Pitfall 9: presence is not enough."""
    refused = roles.container(version=NEWER)
    assert f"the node has kernel module {VERSION} loaded, but {NEWER} was asked for" in refused.words
    upgraded = roles.node(version=NEWER, cuda=False)
    assert f"{VERSION} is loaded" in upgraded.words
    lab.reboot()
    assert not roles.node(version=NEWER, cuda=False).failed
    roles.lab.exec("pct", "start", str(CTID))
    found = roles.container(start="verify", version=NEWER)
    assert f"libcuda.so.1 is {VERSION} (wanted: {NEWER})" in found.words
    played = roles.container(version=NEWER)
    assert not played.failed, played.output
    assert roles.container(version=NEWER).changed == 0
