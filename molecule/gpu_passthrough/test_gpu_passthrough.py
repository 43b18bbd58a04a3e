# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

# What each container has in the end.
ASSIGNED = {130: {0, 1}, 131: {0}, 132: set(), 133: {0, 1}, 134: {1}, 135: {1}}
COMMON = {"/dev/nvidiactl", "/dev/nvidia-modeset", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"}
# The one major number that NVIDIA's GPUs have always; the others are given by the kernel at each boot.
MAJOR = "195"
NOTES = "/root/gpu_passthrough"


@pytest.fixture(scope="module")
def majors(node):
    """The numbers that the node's kernel gave to the drivers at this boot."""
    rows = (line.split() for line in node.file("/proc/devices").content_string.splitlines())
    return {row[1]: int(row[0]) for row in rows if len(row) == 2 and row[0].isdigit()}


def gpu_lines(section):
    return [line for line in section.lines if line.startswith(("dev", "lxc.")) and ("nvidia" in line or "c " in line)]


def devices(container):
    return set(container.check_output("for file in /dev/nvidia*; do [ ! -c $file ] || echo $file; done").split())


@pytest.mark.parametrize(("ctid", "gpus"), ASSIGNED.items())
def test_inside_are_exactly_the_assigned_gpus(inside, ctid, gpus) -> None:
    assert devices(inside(ctid)) == {f"/dev/nvidia{gpu}" for gpu in gpus} | (COMMON if gpus else set())


@pytest.mark.parametrize(("ctid", "gpus"), ASSIGNED.items())
def test_no_other_gpu_can_be_opened(inside, ctid, gpus) -> None:
    # Root inside can make any device node; what the control group lets through has no driver in the lab.
    opened = "mknod /root/gpu c %s %s; cat /root/gpu 2>&1; rm /root/gpu"
    for gpu in (0, 1):
        said = inside(ctid).run(opened, MAJOR, str(gpu)).stdout
        assert ("not permitted" in said) == (gpu not in gpus), said


@pytest.mark.parametrize("ctid", [ctid for ctid, gpus in ASSIGNED.items() if gpus])
def test_uvm_has_the_number_of_this_boot(inside, majors, ctid) -> None:
    for name in ("nvidia-uvm", "nvidia-uvm-tools"):
        assert int(inside(ctid).check_output("stat -c 0x%%t /dev/%s", name), 16) == majors["nvidia-uvm"]
        assert "not permitted" not in inside(ctid).run("cat /dev/%s 2>&1", name).stdout


@pytest.mark.parametrize("ctid", [130, 131, 133, 134])
def test_pve_looks_the_numbers_up_at_each_start(config, ctid) -> None:
    lines = gpu_lines(config(ctid).main)
    assert lines
    assert all(line.startswith("dev") and "path=/dev/nvidia" in line for line in lines)


def test_raw_lines_name_each_device_and_its_own_numbers(node, config) -> None:
    lines = gpu_lines(config(135).main)
    paths = ["/dev/nvidia1", *sorted(COMMON)]
    mounts = [line.split()[1] for line in lines if line.startswith("lxc.mount.entry: ")]
    assert set(paths) <= set(mounts)
    assert "/dev/nvidia0" not in mounts
    for path in paths:
        major, minor = (int(part, 16) for part in node.check_output("stat -c '%%t %%T' %s", path).split())
        assert f"lxc.cgroup2.devices.allow: c {major}:{minor} rw" in lines
    assert not [line for line in lines if "optional" in line or ":*" in line]


def test_a_clone_without_gpus_has_none_of_the_layers_lines(config) -> None:
    assert gpu_lines(config(130).main)
    assert not gpu_lines(config(132).main)


def test_lines_without_devices_are_healed_by_a_restart(node, status) -> None:
    assert status(133) == "running"
    before = node.file(f"{NOTES}.init").content_string
    assert node.check_output("lxc-info -n 133 -pH").strip() != before.strip()


def test_the_snapshot_is_what_it_was(node, config) -> None:
    kept = node.file(f"{NOTES}.snapshot").content_string
    assert "lxc.cgroup2.devices.allow: c 509:* rwm" in kept
    assert node.file("/etc/pve/lxc/133.conf").content_string.endswith(kept)


def test_the_layers_snapshot_keeps_its_gpus(config) -> None:
    assert gpu_lines(config(130).snapshots["gpu-snapshot"]) == gpu_lines(config(130).main)
