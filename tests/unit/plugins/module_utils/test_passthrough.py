# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The real manager with the real Pct on a fake node, and a pct that does what the recorded one did.

from __future__ import annotations

import dataclasses
import fcntl
import functools
import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._passthrough import (
    Passthrough,
    Request,
    readable_config,
    strip_gpus,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._pct import Pct
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.fake_pct import FakePct
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import Call, FakeNode, failed, ok

CTID = 901
PLAIN = """\
arch: amd64
cores: 2
dev7: /dev/fuse
hostname: BaseTemplateGPU
memory: 2048
ostype: ubuntu
rootfs: local-zfs:subvol-901-disk-0,size=32G
swap: 512
"""
BOTH_BY_DEV = """\
dev0: path=/dev/nvidia0,mode=0666
dev1: path=/dev/nvidia1,mode=0666
dev2: path=/dev/nvidiactl,mode=0666
dev3: path=/dev/nvidia-uvm,mode=0666
dev4: path=/dev/nvidia-uvm-tools,mode=0666
dev5: path=/dev/nvidia-modeset,mode=0666
"""
FIRST_BY_RAW = """\
lxc.cgroup2.devices.allow: c 195:0 rw
lxc.cgroup2.devices.allow: c 195:255 rw
lxc.cgroup2.devices.allow: c 511:0 rw
lxc.cgroup2.devices.allow: c 511:1 rw
lxc.cgroup2.devices.allow: c 195:254 rw
lxc.mount.entry: /dev/nvidia0 dev/nvidia0 none bind,create=file
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,create=file
lxc.mount.entry: /dev/nvidia-uvm dev/nvidia-uvm none bind,create=file
lxc.mount.entry: /dev/nvidia-uvm-tools dev/nvidia-uvm-tools none bind,create=file
lxc.mount.entry: /dev/nvidia-modeset dev/nvidia-modeset none bind,create=file
"""
# What the scripts of the seeds wrote (facts/phoenix.md 4.4 to 4.6).
BY_SCRIPT = """\
lxc.cgroup2.devices.allow: c 195:* rwm
lxc.cgroup2.devices.allow: c 510:0 rwm
lxc.mount.entry: /dev/nvidia0 /dev/nvidia0 none bind,optional,create=file
lxc.mount.entry: /dev/nvidia1 dev/nvidia1 none bind,optional,create=file
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file
lxc.mount.entry: /dev/nvidia-uvm dev/nvidia-uvm none bind,optional,create=file
"""
SECTIONS = """
[base-snapshot]
#golden%3A state
dev0: path=/dev/nvidia0,mode=0666
hostname: BaseTemplateGPU
snaptime: 1795164487
lxc.cgroup2.devices.allow: c 195:* rwm

[gpu-snapshot]
hostname: BaseTemplateGPU
parent: base-snapshot
snaptime: 1795164497
"""
RESTART = [f"pct shutdown {CTID} --timeout 120", f"pct start {CTID}"]


def with_dev(lines: str, plain: str = PLAIN) -> str:
    """The file with devN lines where PVE sorts them."""
    return plain.replace("dev7:", f"{lines}dev7:")


@dataclasses.dataclass
class World:
    fake: FakeNode
    pct: FakePct

    def run(self, gpus: object = "0,1", *, check_mode: bool = False, **options: t.Any) -> dict[str, t.Any]:
        request = {
            "ctid": CTID, "method": "auto", "capabilities": None, "driver_libraries": False, "restart": True,
            "timeout": 120.0, **options,
        }  # fmt: skip
        node = self.fake.node
        return Passthrough(node, Pct(node, self.pct), Request(gpus=gpus, **request), check_mode=check_mode).run()

    def boot(self) -> None:
        """Start the container with what its file says now."""
        self.pct(["pct", "start", str(CTID)])
        self.pct.calls.clear()

    def boot_without(self, text: str) -> None:
        """Leave the container running with an older file than the one given."""
        self.boot()
        self.fake.conf(CTID, text)

    @property
    def inside(self) -> list[str]:
        return sorted(path for path, node in self.fake.node.running_devices(CTID).items() if node.is_char)


@pytest.fixture
def world(tmp_path: Path) -> World:
    fake = FakeNode(tmp_path)
    fake.nvidia(2)
    fake.device("/dev/fuse", 10, 229)
    fake.package("pve-container", "6.1.10")
    fake.conf(CTID, PLAIN)
    return World(fake, FakePct(fake))


def refused(world: World, gpus: object = "0,1", **options: t.Any) -> PhoenixError:
    """The failure of a run that must not have changed anything, in check mode and out of it."""
    before = world.fake.snapshot_of_files()
    for check_mode in (True, False):
        with pytest.raises(PhoenixError) as caught:
            world.run(gpus, check_mode=check_mode, **options)
        assert world.fake.snapshot_of_files() == before
        assert world.pct.commands == []
    return caught.value


# Seed 004


@pytest.mark.parametrize(
    ("conf", "gpus", "method", "inside"),
    [
        pytest.param(
            with_dev(BOTH_BY_DEV), "0,1", "auto",
            ["nvidia-modeset", "nvidia-uvm", "nvidia-uvm-tools", "nvidia0", "nvidia1", "nvidiactl"], id="dev",
        ),
        pytest.param(
            PLAIN + FIRST_BY_RAW, "0", "raw",
            ["nvidia-modeset", "nvidia-uvm", "nvidia-uvm-tools", "nvidia0", "nvidiactl"], id="raw",
        ),
    ],
)  # fmt: skip
def test_lines_that_somebody_wrote_without_a_restart(
    world: World, conf: str, gpus: str, method: str, inside: list[str]
) -> None:
    """Seed 004: the lines are there already, the container runs without the devices."""
    world.boot_without(conf)
    result = world.run(gpus, method=method)
    assert world.inside == [f"/dev/{name}" for name in inside]
    assert world.pct.commands == RESTART
    assert world.fake.conf_text(CTID) == conf
    assert (result["changed"], result["restarted"], result["restart_required"]) == (True, True, False)
    assert (result["added"], result["removed"]) == ([], [])
    assert result["problems"][0] == "/dev/nvidia0 is missing"

    before = world.fake.snapshot_of_files()
    again = world.run(gpus, method=method)
    assert (again["changed"], again["restarted"], again["problems"]) == (False, False, [])
    assert again["diff"]["before"] == again["diff"]["after"]
    assert world.pct.commands == RESTART
    assert world.fake.snapshot_of_files() == before


# What a run does


def test_a_running_container_gets_its_lines_and_its_devices(world: World) -> None:
    world.fake.conf(CTID, PLAIN + SECTIONS)
    world.boot()
    result = world.run(" 0, 1")
    assert world.fake.conf_text(CTID) == with_dev(BOTH_BY_DEV) + SECTIONS
    assert world.pct.commands == RESTART
    header = "/etc/pve/lxc/901.conf (GPU lines) and what runs"
    problems = [f"/dev/{name} is missing" for name in
                ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")]  # fmt: skip
    assert result == {
        "changed": True,
        "ctid": CTID,
        "method": "dev",
        "gpus": [0, 1],
        "lines": BOTH_BY_DEV.splitlines(),
        "added": BOTH_BY_DEV.splitlines(),
        "removed": [],
        "problems": problems,
        "restarted": True,
        "restart_required": False,
        "diff": {
            "before_header": header,
            "after_header": header,
            "before": "".join(f"running: {problem}\n" for problem in problems),
            "after": BOTH_BY_DEV,
        },
    }


@pytest.mark.parametrize("method", ["auto", "raw"])
def test_a_stopped_container_only_gets_its_file(world: World, method: str) -> None:
    result = world.run(0, method=method)
    assert result["changed"]
    assert (result["problems"], result["restarted"], result["restart_required"]) == ([], False, False)
    assert world.pct.commands == []
    assert not world.run([0], method=method)["changed"]
    world.boot()
    assert not world.run("0", method=method)["changed"]
    assert world.pct.commands == []


@pytest.mark.parametrize("method", ["dev", "raw"])
@pytest.mark.parametrize("unprivileged", [False, True], ids=["privileged", "unprivileged"])
def test_what_the_scripts_of_the_seeds_wrote_is_replaced(world: World, method: str, unprivileged: bool) -> None:
    plain = PLAIN + ("unprivileged: 1\n" if unprivileged else "")
    world.fake.conf(CTID, plain + BY_SCRIPT)
    world.boot()
    result = world.run("0", method=method)
    assert result["removed"] == BY_SCRIPT.splitlines()
    expected = plain + FIRST_BY_RAW
    if method == "dev":
        expected = with_dev(
            "dev0: path=/dev/nvidia0,mode=0666\ndev1: path=/dev/nvidiactl,mode=0666\n"
            "dev2: path=/dev/nvidia-uvm,mode=0666\ndev3: path=/dev/nvidia-uvm-tools,mode=0666\n"
            "dev4: path=/dev/nvidia-modeset,mode=0666\n",
            plain,
        )
    assert world.fake.conf_text(CTID) == expected
    assert "/dev/nvidia1" not in world.inside
    assert "/dev/nvidia0" in world.inside
    assert not world.run("0", method=method)["changed"]


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_a_device_that_comes_in_two_ways_comes_in_one(world: World, running: bool) -> None:
    """devN entries under the lines that other tools append."""
    world.fake.conf(CTID, with_dev(BOTH_BY_DEV) + BY_SCRIPT)
    if running:
        world.boot()
    result = world.run("0,1")
    assert result["removed"] == BY_SCRIPT.splitlines()
    assert (result["added"], result["lines"]) == ([], BOTH_BY_DEV.splitlines())
    assert world.fake.conf_text(CTID) == with_dev(BOTH_BY_DEV)
    again = world.run("0,1")
    assert (again["changed"], again["restart_required"]) == (False, False)


def test_the_clone_of_a_parent_with_two_gpus_keeps_one(world: World) -> None:
    """facts/phoenix.md 4.6."""
    world.fake.conf(CTID, with_dev(BOTH_BY_DEV))
    world.boot()
    result = world.run("1")
    assert result["removed"] == ["dev0: path=/dev/nvidia0,mode=0666"]
    assert result["gpus"] == [1]
    assert result["problems"] == [
        "/dev/nvidia0 is there and is not assigned",
        "the device rule 'c 195:0 rw' allows more than is assigned",
    ]
    assert [path for path in world.inside if path[-1].isdigit()] == ["/dev/nvidia1"]


@pytest.mark.parametrize("lines", [BOTH_BY_DEV, FIRST_BY_RAW, BY_SCRIPT], ids=["dev", "raw", "script"])
@pytest.mark.parametrize("gpus", ["none", []], ids=["none", "empty list"])
def test_none_after_a_clone_takes_everything_away(world: World, lines: str, gpus: object) -> None:
    """facts/phoenix.md 4.6: 960 under 903 kept the GPUs."""
    world.fake.conf(CTID, with_dev(lines) if lines is BOTH_BY_DEV else PLAIN + lines)
    world.boot()
    result = world.run(gpus)
    assert world.fake.conf_text(CTID) == PLAIN
    assert world.inside == []
    assert world.pct.commands == RESTART
    assert (result["lines"], result["gpus"], result["added"]) == ([], [], [])
    assert not world.run(gpus)["changed"]


def test_none_needs_no_driver(tmp_path: Path) -> None:
    fake = FakeNode(tmp_path)
    fake.conf(CTID, with_dev(BOTH_BY_DEV))
    fake.package("pve-container", "6.1.10")
    World(fake, FakePct(fake)).run("none")
    assert fake.conf_text(CTID) == PLAIN


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        (None, ["cap1,mode=0400", "cap2,mode=0444"]),
        ([2], ["cap2,mode=0444"]),
        ([], []),
    ],
    ids=["all of the node", "one", "none"],
)
def test_capabilities(world: World, capabilities: list[int] | None, expected: list[str]) -> None:
    world.fake.device("/dev/nvidia-caps/nvidia-cap1", 241, 1, mode=0o400)
    world.fake.device("/dev/nvidia-caps/nvidia-cap2", 241, 2, mode=0o444)
    world.fake.majors({195: "nvidia", 511: "nvidia-uvm", 241: "nvidia-caps"})
    world.boot()
    result = world.run("all", capabilities=capabilities)
    assert [line.partition("nvidia-caps/nvidia-")[2] for line in result["lines"] if "caps" in line] == expected
    assert not world.run("all", capabilities=capabilities)["changed"]


def test_without_a_restart_the_difference_is_reported(world: World) -> None:
    world.boot()
    first = world.run("0,1", restart=False)
    assert (first["changed"], first["restarted"], first["restart_required"]) == (True, False, True)
    assert first["diff"]["after"] == BOTH_BY_DEV + "".join(f"running: {problem}\n" for problem in first["problems"])
    again = world.run("0,1", restart=False)
    assert (again["changed"], again["restarted"], again["restart_required"]) == (False, False, True)
    assert world.pct.commands == []
    world.run("0,1")
    healed = world.run("0,1", restart=False)
    assert (healed["changed"], healed["restart_required"]) == (False, False)


def test_pending_changes_about_gpus_are_taken_back(world: World) -> None:
    """pct-transcripts 3: a changed or deleted devN of a running container waits for the next start."""
    right = with_dev(BOTH_BY_DEV)
    pending = "\n[pve:pending]\ndelete: dev1\ndev0: path=/dev/nvidia0,mode=0660\nfeatures: nesting=1\n"
    world.fake.conf(CTID, right)
    world.boot()
    world.fake.conf(CTID, right + pending)
    result = world.run("0,1")
    assert world.pct.commands == [f"pct set {CTID} --revert dev0,dev1"]
    assert world.fake.conf_text(CTID) == right + "\n[pve:pending]\nfeatures: nesting=1\n"
    assert not world.fake.flock_file(CTID).exists()
    assert (result["changed"], result["restarted"]) == (True, False)
    assert result["diff"]["before"] == BOTH_BY_DEV + "pending change of dev0\npending change of dev1\n"
    assert result["diff"]["after"] == BOTH_BY_DEV
    assert not world.run("0,1")["changed"]


def library(world: World, version: str) -> list[str]:
    """The user-space files of a driver on the node."""
    world.fake.loaded_driver(version)
    directory = "usr/lib/x86_64-linux-gnu"
    world.fake.write(f"{directory}/libcuda.so.{version}", "ELF")
    for name, target in (("libcuda.so.1", "libcuda"), ("libGLX_indirect.so.0", "libGLX_nvidia")):
        link = world.fake.root / directory / name
        link.unlink(missing_ok=True)
        link.symlink_to(f"{target}.so.{version}")
    world.fake.write(f"{directory}/libGLX_nvidia.so.{version}", "ELF")
    world.fake.write("usr/bin/nvidia-smi", "ELF")
    names = ["libGLX_indirect.so.0", f"libGLX_nvidia.so.{version}", "libcuda.so.1", f"libcuda.so.{version}"]
    return [*(f"/{directory}/{name}" for name in names), "/usr/bin/nvidia-smi"]


@pytest.mark.parametrize("method", ["dev", "raw"])
def test_the_libraries_of_the_node_come_and_go(world: World, method: str) -> None:
    paths = library(world, "580.105.08")
    world.boot()
    world.run("0", method=method)
    world.pct.calls.clear()
    result = world.run("0", method=method, driver_libraries=True)
    assert result["problems"] == [f"{path} is not mounted" for path in paths]
    assert result["added"] == [f"lxc.mount.entry: {path} {path[1:]} none bind,ro,create=file" for path in paths]
    assert set(paths) <= world.fake.node.mount_points(CTID)
    assert not world.run("0", method=method, driver_libraries=True)["changed"]

    (world.fake.root / "usr/lib/x86_64-linux-gnu/libcuda.so.580.105.08").unlink()
    (world.fake.root / "usr/lib/x86_64-linux-gnu/libGLX_nvidia.so.580.105.08").unlink()
    newer = library(world, "580.159.04")
    assert world.run("0", method=method, driver_libraries=True)["restarted"]
    assert set(newer) <= world.fake.node.mount_points(CTID)
    assert not world.run("0", method=method, driver_libraries=True)["changed"]

    off = world.run("0", method=method)
    assert off["problems"] == [f"{path} is mounted and is not asked for" for path in sorted(newer)]
    assert off["restarted"]
    assert not set(newer) & world.fake.node.mount_points(CTID)
    assert not world.run("0", method=method)["changed"]


def test_a_container_without_gpus_gets_no_libraries(world: World) -> None:
    library(world, "580.105.08")
    assert not world.run("none", driver_libraries=True)["changed"]


@pytest.mark.parametrize(("version", "shown"), [("", "none is loaded"), ("580.105.08", "580.105.08")])
def test_libraries_that_the_node_lacks(world: World, version: str, shown: str) -> None:
    world.fake.loaded_driver(version)
    error = refused(world, driver_libraries=True)
    assert error.reason == f"driver_libraries: the node has no user-space files of the loaded driver ({shown})"
    assert error.code is Code.INPUT


@pytest.mark.parametrize(
    ("version", "method", "expected"),
    [
        ("5.0.7", "auto", "dev"), ("5.0.7", "dev", "dev"), ("5.1.2", "auto", "dev"), ("6.1.10", "auto", "dev"),
        ("6.1.10", "raw", "raw"), ("5.0.6", "auto", "raw"), ("4.4-7", "auto", "raw"), ("", "auto", "raw"),
    ],
)  # fmt: skip
def test_method(tmp_path: Path, version: str, method: str, expected: str) -> None:
    fake = FakeNode(tmp_path)
    fake.nvidia(1)
    fake.conf(CTID, PLAIN)
    if version:
        fake.package("pve-container", version)
    assert World(fake, FakePct(fake)).run(0, method=method)["method"] == expected


# Bad input changes nothing


@pytest.mark.parametrize(
    ("gpus", "reason"),
    [
        ("2", "gpus: the node has no GPU 2, only 0, 1"),
        ([0, 0], "gpus: [0, 0] names GPU 0 twice"),
        ("-1", "gpus: '-1' has '-1' where a GPU index belongs"),
        ("a", "gpus: 'a' has 'a' where a GPU index belongs"),
        ("", "gpus: '' has '' where a GPU index belongs"),
    ],
    ids=["not on the node", "twice", "negative", "letter", "empty"],
)
@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
def test_bad_indices(world: World, gpus: object, reason: str, running: bool) -> None:
    world.fake.conf(CTID, PLAIN + BY_SCRIPT)
    if running:
        world.boot()
    error = refused(world, gpus)
    assert error.reason == reason
    assert error.code is Code.INPUT


def test_a_gpu_that_the_driver_lists_only_lacks_its_device_node(world: World) -> None:
    world.fake.gpu(2)
    world.fake.conf(CTID, PLAIN)
    error = refused(world, "2")
    assert error.reason == "gpus: /dev/nvidia2 on the node does not exist (the node has: 0, 1)"
    assert error.remedy.startswith("Load the driver and let it make its device nodes")


def _no_uvm_driver(fake: FakeNode) -> None:
    fake.majors({195: "nvidia"})


def _moved_uvm(fake: FakeNode) -> None:
    fake.majors({195: "nvidia", 510: "nvidia-uvm"})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param(
            lambda fake: fake.remove_device("/dev/nvidia-uvm"), "gpus: /dev/nvidia-uvm on the node does not exist",
            id="no uvm node",
        ),
        pytest.param(
            lambda fake: fake.impostor("/dev/nvidia1"),
            "gpus: /dev/nvidia1 on the node is no character device (an empty file there is what a bind mount without "
            "source leaves)",
            id="regular file",
        ),
        pytest.param(
            lambda fake: fake.device("/dev/nvidia1", 195, 1, kind="b"),
            "gpus: /dev/nvidia1 on the node is no character device (an empty file there is what a bind mount without "
            "source leaves)",
            id="block device",
        ),
        pytest.param(
            _no_uvm_driver,
            "gpus: /dev/nvidia-uvm on the node belongs to a driver that is not loaded (its major is not in "
            "/proc/devices)",
            id="uvm driver not loaded",
        ),
        pytest.param(
            _moved_uvm,
            "gpus: /dev/nvidia-uvm on the node is device 511:0 where the loaded driver has 510:0 (the node is stale)",
            id="stale major",
        ),
    ],
)  # fmt: skip
def test_a_node_that_is_not_ready(world: World, spoil: Callable[[FakeNode], None], reason: str) -> None:
    world.fake.conf(CTID, PLAIN + BY_SCRIPT)
    world.boot()
    spoil(world.fake)
    error = refused(world)
    assert error.reason == reason
    assert error.code is Code.INPUT


def test_dev_on_a_node_that_does_not_know_it(tmp_path: Path) -> None:
    fake = FakeNode(tmp_path)
    fake.nvidia(2)
    fake.conf(CTID, PLAIN)
    fake.package("pve-container", "5.0.6")
    error = refused(World(fake, FakePct(fake)), method="dev")
    assert str(error) == (
        "method: 'dev' needs pve-container 5.0.7 (Proxmox VE 8.1), this node has 5.0.6. Upgrade the node, or use "
        "method: raw (auto chooses it by itself)."
    )
    assert error.code is Code.INPUT


@pytest.mark.parametrize(
    ("ctid", "reason", "code"),
    [
        (99, "ctid: 99 is not an id that PVE accepts", Code.INPUT),
        (1_000_000_000, "ctid: 1000000000 is not an id that PVE accepts", Code.INPUT),
        (777, "ctid: 777 does not exist on node pve1", Code.NO_CONTAINER),
        (105, "ctid: 105 is not a container of node pve1, it is VM 105 on node pve1", Code.INPUT),
        (106, "ctid: 106 is not a container of node pve1, it is CT 106 on node pve2", Code.INPUT),
    ],
    ids=["too small", "too large", "nobody's", "a VM", "on another node"],
)
def test_bad_ids(world: World, ctid: int, reason: str, code: Code) -> None:
    world.fake.guest_elsewhere(105, "qemu-server", "pve1")
    world.fake.guest_elsewhere(106, "lxc", "pve2")
    error = refused(world, ctid=ctid)
    assert error.reason == reason
    assert error.code is code


def test_not_a_node(tmp_path: Path, world: World) -> None:
    (tmp_path / "etc/pve/lxc").unlink()
    error = refused(world)
    assert error.reason == (
        "/etc/pve/lxc does not exist on pve1: it is no Proxmox VE node, or its cluster file system is not mounted"
    )


@pytest.mark.parametrize("line", ["lxc.nonsense.key: 1", "not a line", "delete: dev0"])
def test_a_line_that_pve_would_drop(world: World, line: str) -> None:
    """pct-transcripts 8: an unknown raw key is gone after the next start."""
    world.fake.conf(CTID, f"{PLAIN}{line}\n")
    error = refused(world)
    assert error.reason == (
        f"/etc/pve/lxc/901.conf holds what PVE does not understand and deletes at its next write: {line!r}"
    )
    assert error.remedy == "Correct or remove these lines by hand, then run again. This module changed nothing."
    assert error.code is Code.INPUT


def test_a_file_that_cannot_be_read(world: World) -> None:
    path = world.fake.node.config_path(CTID)
    path.unlink()
    path.mkdir()
    error = refused(world)
    assert str(error) == (
        "/etc/pve/lxc/901.conf cannot be read: Is a directory. Run as root (become: true), and see that /etc/pve is "
        "mounted (`systemctl status pve-cluster`)."
    )


@pytest.mark.parametrize(
    ("conf", "running"),
    [(PLAIN, False), (PLAIN, True), (with_dev(BOTH_BY_DEV), True)],
    ids=["wrong file, stopped", "wrong file, running", "only a restart is due"],
)
def test_without_quorum_nothing_is_begun(world: World, conf: str, running: bool) -> None:
    if running:
        world.boot_without(conf)
    world.fake.read_only()
    error = refused(world)
    assert error.reason == "/etc/pve is read-only on node pve1: the node has no quorum"
    assert world.fake.node.is_running(CTID) is running


def test_without_quorum_what_is_right_stays_right(world: World) -> None:
    world.fake.conf(CTID, with_dev(BOTH_BY_DEV))
    world.boot()
    world.fake.read_only()
    assert not world.run("0,1")["changed"]


# Others at work


def test_a_locked_container_is_waited_for_and_then_read_again(world: World) -> None:
    world.fake.lock(CTID, "backup")
    world.fake.clock.at(20, lambda: world.fake.conf(CTID, PLAIN.replace("2048", "4096") + BY_SCRIPT))
    result = world.run("0,1")
    assert world.fake.clock.elapsed >= 20
    assert result["removed"] == BY_SCRIPT.splitlines()
    assert world.fake.conf_text(CTID) == with_dev(BOTH_BY_DEV).replace("2048", "4096")


def test_a_container_that_somebody_starts_while_its_lock_is_waited_for(world: World) -> None:
    world.fake.lock(CTID, "backup")
    world.fake.clock.at(5, lambda: world.fake.lock(CTID, ""))
    world.fake.clock.at(5, world.boot)
    assert world.run("0,1")["restarted"]
    assert len(world.inside) == 6


@pytest.mark.parametrize("check_mode", [True, False], ids=["check", "run"])
def test_an_assignment_that_is_right_does_not_wait_for_a_backup(world: World, check_mode: bool) -> None:
    world.fake.conf(CTID, with_dev(BOTH_BY_DEV))
    world.boot()
    world.fake.lock(CTID, "backup")
    assert not world.run("0,1", check_mode=check_mode)["changed"]
    assert world.fake.clock.elapsed == 0


def test_an_assignment_that_is_right_waits_for_a_snapshot(world: World) -> None:
    world.fake.conf(CTID, with_dev(BOTH_BY_DEV))
    world.fake.lock(CTID, "rollback")
    world.fake.clock.at(5, lambda: world.fake.lock(CTID, ""))
    assert not world.run("0,1")["changed"]
    assert world.fake.clock.elapsed == pytest.approx(5)


def test_a_lock_that_nobody_opens(world: World) -> None:
    world.fake.lock(CTID, "backup")
    before = world.fake.snapshot_of_files()
    with pytest.raises(PhoenixError, match=r"container 901: CT is locked \(backup\); no running task holds it"):
        world.run("0,1", timeout=30.0)
    assert 30 <= world.fake.clock.elapsed < 31
    assert world.fake.snapshot_of_files() == before
    assert world.pct.commands == []


def test_check_mode_does_not_wait_for_a_lock(world: World) -> None:
    world.fake.lock(CTID, "backup")
    assert world.run("0,1", check_mode=True)["changed"]
    assert world.fake.clock.elapsed == 0


def test_a_container_destroyed_while_its_lock_was_waited_for(world: World) -> None:
    world.fake.lock(CTID, "destroyed")
    world.fake.clock.at(5, lambda: world.fake.node.config_path(CTID).unlink())
    with pytest.raises(PhoenixError) as caught:
        world.run("0,1")
    assert caught.value.code is Code.NO_CONTAINER


def test_somebody_writes_between_reading_and_writing(world: World) -> None:
    newer = PLAIN.replace("2048", "4096")
    world.boot()
    with world.fake.flock_file(CTID).open("a") as somebody:
        fcntl.flock(somebody, fcntl.LOCK_EX)

        def finish() -> None:
            world.fake.conf(CTID, newer)
            fcntl.flock(somebody, fcntl.LOCK_UN)

        world.fake.clock.at(2, finish)
        with pytest.raises(PhoenixError) as caught:
            world.run("0,1")
    assert str(caught.value) == (
        "901.conf was changed by somebody else while this run decided what to write. Nothing was written. Run again: "
        "the decision is then made on the new content."
    )
    assert world.fake.conf_text(CTID) == newer
    assert world.pct.commands == []
    world.run("0,1")
    assert world.fake.conf_text(CTID) == with_dev(BOTH_BY_DEV).replace("2048", "4096")


def test_a_container_that_vanished(world: World) -> None:
    with pytest.raises(PhoenixError) as caught:
        readable_config(world.fake.node, 777)
    assert caught.value.reason == "container 777 vanished while it was looked at"
    assert caught.value.code is Code.NO_CONTAINER


# The restart


def test_devices_that_take_a_while_are_waited_for(world: World) -> None:
    devices = {"nvidia0": (195, 0), "nvidiactl": (195, 255), "nvidia-uvm": (511, 0)}

    def start_slowly(_call: Call) -> Completed:
        world.fake.run_container(CTID, rules=[f"c {major}:{minor} rw" for major, minor in devices.values()])
        for seconds, (name, number) in enumerate(devices.items(), start=3):
            make = functools.partial(world.fake.device, f"/dev/{name}", *number, ctid=CTID)
            world.fake.clock.at(world.fake.clock.elapsed + seconds, make)
        return ok()

    for path in ("/dev/nvidia-uvm-tools", "/dev/nvidia-modeset"):
        world.fake.remove_device(path)
    world.boot()
    world.pct.on(f"pct start {CTID}", start_slowly)
    assert world.run("0")["restarted"]
    assert world.inside == ["/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl"]
    assert 5 <= world.fake.clock.elapsed < 6


def test_devices_that_never_appear(world: World) -> None:
    """facts/phoenix.md 4.3: on a timeout everything that is known is shown."""
    world.boot()
    world.pct.on(f"pct start {CTID}", lambda _call: ok(str(world.fake.run_container(CTID, rules=("c 195:0 rw",)))))
    world.fake.clock.at(1, lambda: world.fake.impostor("/dev/nvidia0", ctid=CTID))
    for path in ("/dev/nvidia-uvm-tools", "/dev/nvidia-modeset", "/dev/nvidia1"):
        world.fake.remove_device(path)
    with pytest.raises(PhoenixError) as caught:
        world.run("0", timeout=30.0)
    assert caught.value.reason == (
        "container 901 was restarted and still differs from its assignment after 30 s: /dev/nvidia0 is an ordinary "
        "file and no device; /dev/nvidiactl is missing; /dev/nvidia-uvm is missing"
    )
    assert caught.value.code is Code.VERIFICATION
    result = caught.value.as_result()
    assert result["code"] == 4
    assert result["file"] == [
        "dev0: path=/dev/nvidia0,mode=0666", "dev1: path=/dev/nvidiactl,mode=0666",
        "dev2: path=/dev/nvidia-uvm,mode=0666",
    ]  # fmt: skip
    assert [(node["path"], node["major"], node["minor"]) for node in result["node"]] == [
        ("/dev/nvidia-uvm", 511, 0), ("/dev/nvidia0", 195, 0), ("/dev/nvidiactl", 195, 255),
    ]  # fmt: skip
    assert [(node["path"], node["is_char"]) for node in result["container"]] == [("/dev/nvidia0", False)]
    assert result["rules"] == ["c 195:0 rw"]
    assert 30 <= world.fake.clock.elapsed < 32


def test_a_container_that_dies_after_its_start(world: World) -> None:
    world.boot()
    world.pct.on(f"pct start {CTID}", lambda _call: ok(str(world.fake.run_container(CTID))))
    world.fake.clock.at(1, lambda: world.fake.stop_container(CTID))
    with pytest.raises(PhoenixError) as caught:
        world.run("0", timeout=5.0)
    assert caught.value.code is Code.VERIFICATION
    assert caught.value.details["container"] == caught.value.details["rules"] == []


def test_a_container_that_does_not_start(world: World) -> None:
    """pct-transcripts 8: a mount without source."""
    world.fake.conf(CTID, PLAIN)
    world.boot()
    # The one that PVE alone finds: no bind.
    entry = "lxc.mount.entry: /dev/nosuch mnt ext4 defaults\n"
    world.fake.conf(CTID, PLAIN + entry)
    with pytest.raises(PhoenixError) as caught:
        world.run("0,1")
    assert caught.value.reason == "`pct start 901` failed: startup for container '901' failed"
    assert caught.value.as_result()["code"] == 6
    assert "No such file or directory" in caught.value.details["console"][0]
    assert world.fake.conf_text(CTID) == with_dev(BOTH_BY_DEV) + entry


@pytest.mark.parametrize(
    ("conf", "missing"),
    [
        (PLAIN.replace("/dev/fuse", "/dev/gone"), "/dev/gone (dev7)"),
        (f"{PLAIN}lxc.mount.entry: /srv/gone srv none bind,create=dir\n", "/srv/gone (lxc.mount.entry)"),
        (PLAIN.replace("memory", "mp0: /srv/gone,mp=/srv\nmemory"), "/srv/gone (mp0)"),
        (f"{PLAIN}\n[pve:pending]\ndev7: /dev/gone\n", "/dev/gone (dev7)"),
    ],
    ids=["device", "line", "directory", "parked"],
)
def test_what_is_somebody_elses_and_vanished(world: World, conf: str, missing: str) -> None:
    """pct-transcripts 8: a device or a source that vanished. It would stay down after our restart."""
    world.boot_without(conf)
    error = refused(world)
    assert error.reason == f"container 901 could not be started again: {missing} does not exist on the node"
    assert error.code is Code.POWER
    assert world.fake.node.is_running(CTID)


@pytest.mark.parametrize("parked", ["delete: mp0", "delete: mp0\ndev0: /dev/nvidia9"])
def test_what_vanished_and_is_gone_at_the_next_start(world: World, parked: str) -> None:
    """A parked change of the GPUs' own keys is taken back, every other one is applied."""
    conf = with_dev(BOTH_BY_DEV).replace("memory", "mp0: /srv/gone,mp=/srv\nmemory")
    world.boot_without(f"{conf}\n[pve:pending]\n{parked}\n")
    assert world.run("0")["restarted"]


def test_libraries_of_an_older_driver_go_before_the_restart(world: World) -> None:
    library(world, "580.105.08")
    world.run("0", driver_libraries=True)
    world.boot()
    for path in world.fake.root.glob("usr/lib/*/lib*.580.105.08"):
        path.unlink()
    library(world, "580.159.04")
    assert world.run("0", driver_libraries=True)["restarted"]


def test_a_monitor_that_does_not_answer(world: World) -> None:
    """Not knowing what runs is no reason to restart it."""
    world.boot()
    world.fake.monitor.pids.clear()
    error = refused(world)
    assert error.reason == "container 901 runs, but its monitor does not tell what it runs with"
    assert error.code is Code.VERIFICATION


@pytest.mark.parametrize("timeout", [0, -1])
def test_no_time_at_all(world: World, timeout: float) -> None:
    error = refused(world, timeout=timeout)
    assert error.reason == f"timeout: {timeout} leaves no time to do anything"
    assert error.code is Code.INPUT


def test_a_container_that_does_not_shut_down(world: World) -> None:
    world.boot()
    world.pct.stubborn.add(CTID)
    with pytest.raises(PhoenixError) as caught:
        world.run("0,1")
    assert caught.value.code is Code.POWER
    assert world.fake.node.is_running(CTID)
    assert world.fake.conf_text(CTID) == with_dev(BOTH_BY_DEV)

    world.pct.stubborn.clear()
    assert world.run("0,1")["restarted"]


def test_a_start_that_pct_refuses(world: World) -> None:
    world.boot()
    world.pct.on(f"pct start {CTID}", failed("command 'systemctl start pve-container@901' failed: exit code 1\n"))
    with pytest.raises(PhoenixError) as caught:
        world.run("0,1")
    assert caught.value.as_result()["code"] == 6
    assert not world.fake.node.is_running(CTID)


# Check mode


def _stopped(_world: World) -> None:
    pass


def _running(world: World) -> None:
    world.boot()


def _by_script(world: World) -> None:
    world.fake.conf(CTID, PLAIN + BY_SCRIPT + SECTIONS)
    world.boot()


def _right_lines_only(world: World) -> None:
    world.boot_without(with_dev(BOTH_BY_DEV))


def _right(world: World) -> None:
    world.fake.conf(CTID, with_dev(BOTH_BY_DEV) + SECTIONS)
    world.boot()


def _unsorted(world: World) -> None:
    lines = "".join(reversed(BOTH_BY_DEV.splitlines(keepends=True)))
    world.boot_without(f"lxc.cgroup2.devices.allow = c 195:* rwm\n{lines}{PLAIN}")


def _pending(world: World) -> None:
    world.fake.conf(CTID, with_dev(BOTH_BY_DEV))
    world.boot()
    world.fake.conf(CTID, f"{with_dev(BOTH_BY_DEV)}\n[pve:pending]\ndelete: dev3\ndev0: /dev/nvidia1\nmemory: 512\n")


def _pending_stopped(world: World) -> None:
    world.fake.conf(CTID, f"{PLAIN}\n[pve:pending]\ndev0: /dev/nvidia1\n")


@pytest.mark.parametrize(
    "arrange",
    [_stopped, _running, _by_script, _right_lines_only, _right, _unsorted, _pending, _pending_stopped],
)
@pytest.mark.parametrize(
    ("gpus", "options"),
    [("0,1", {}), ("1", {"method": "raw"}), ("none", {}), ("all", {"restart": False})],
    ids=["both", "raw", "none", "no restart"],
)
def test_check_mode_foretells_the_run(
    world: World, arrange: Callable[[World], None], gpus: str, options: dict[str, t.Any]
) -> None:
    arrange(world)
    before = world.fake.snapshot_of_files()
    predicted = world.run(gpus, check_mode=True, **options)
    assert world.fake.snapshot_of_files() == before
    assert world.pct.commands == []
    assert world.run(gpus, **options) == predicted
    again = world.run(gpus, **options)
    assert not again["changed"]
    assert again["diff"]["before"] == again["diff"]["after"] == predicted["diff"]["after"]


# What lxc_container asks for after a clone


def test_strip(world: World) -> None:
    world.fake.conf(CTID, with_dev(BOTH_BY_DEV) + BY_SCRIPT + SECTIONS)
    strip_gpus(world.fake.node, CTID)
    assert world.fake.conf_text(CTID) == PLAIN + SECTIONS


def test_strip_writes_nothing_without_need(world: World) -> None:
    inode = world.fake.node.config_path(CTID).stat().st_ino
    strip_gpus(world.fake.node, CTID)
    assert world.fake.node.config_path(CTID).stat().st_ino == inode
