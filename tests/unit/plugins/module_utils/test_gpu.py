# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import itertools
import re

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils import _gpu
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._gpu import Device, Wanted
from ansible_collections.phoenix.hypervisor.plugins.module_utils._lxc_config import ConfigFile
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import DeviceNode
from hypothesis import given
from hypothesis import strategies as st

# The drivers and majors of the machine that facts/gpu.md tells of, and somebody else's driver among the dynamic ones.
DRIVERS = {
    1: "mem", 10: "misc", 195: "nvidia", 238: "nvidia-uvm", 239: "nvidia-nvswitch", 241: "nvidia-caps", 236: "hidraw",
}  # fmt: skip


def char(path: str, major: int, minor: int, mode: int = 0o666, *, mounted: bool = False) -> DeviceNode:
    return DeviceNode(path, True, major, minor, mode, mounted)


def nodes(*found: DeviceNode) -> dict[str, DeviceNode]:
    return {node.path: node for node in found}


NVIDIA0 = char("/dev/nvidia0", 195, 0)
NVIDIA1 = char("/dev/nvidia1", 195, 1)
CTL = char("/dev/nvidiactl", 195, 255)
MODESET = char("/dev/nvidia-modeset", 195, 254)
UVM = char("/dev/nvidia-uvm", 238, 0)
TOOLS = char("/dev/nvidia-uvm-tools", 238, 1)
CAP1 = char("/dev/nvidia-caps/nvidia-cap1", 241, 1, 0o400)
CAP2 = char("/dev/nvidia-caps/nvidia-cap2", 241, 2, 0o444)
TWO_GPUS = nodes(NVIDIA0, NVIDIA1, CTL, MODESET, UVM, TOOLS, CAP1, CAP2)

D_NVIDIA0 = Device("/dev/nvidia0", 195, 0, 0o666)
D_NVIDIA1 = Device("/dev/nvidia1", 195, 1, 0o666)
D_CTL = Device("/dev/nvidiactl", 195, 255, 0o666)
D_UVM = Device("/dev/nvidia-uvm", 238, 0, 0o666)
D_CAP1 = Device("/dev/nvidia-caps/nvidia-cap1", 241, 1, 0o400)
ONE_GPU = (D_NVIDIA0, D_CTL, D_UVM)
LIBRARY = "/usr/lib/x86_64-linux-gnu/libcuda.so.1"

DEV_LINES = """\
dev0: path=/dev/nvidia0,mode=0666
dev1: path=/dev/nvidiactl,mode=0666
dev2: path=/dev/nvidia-uvm,mode=0666
"""
RAW_LINES = """\
lxc.cgroup2.devices.allow: c 195:0 rw
lxc.cgroup2.devices.allow: c 195:255 rw
lxc.cgroup2.devices.allow: c 238:0 rw
lxc.mount.entry: /dev/nvidia0 dev/nvidia0 none bind,create=file
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,create=file
lxc.mount.entry: /dev/nvidia-uvm dev/nvidia-uvm none bind,create=file
"""


# The assignment


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("all", "all"), (" ALL ", "all"), ("none", ()), ("None", ()), ([], ()), ("0,1", (0, 1)), ("0, 1", (0, 1)),
        (" 1 ,0", (0, 1)), ([0, 1], (0, 1)), (["1"], (1,)), ([" 10 ", 2], (2, 10)), (0, (0,)), ("3", (3,)),
    ],
)  # fmt: skip
def test_assignment(value: object, expected: object) -> None:
    assert _gpu.parse_assignment(value) == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "gpus: '' has '' where a GPU index belongs"),
        ("0,", "gpus: '0,' has '' where a GPU index belongs"),
        ("-1", "gpus: '-1' has '-1' where a GPU index belongs"),
        (-1, "gpus: -1 has '-1' where a GPU index belongs"),
        ([0, -1], "gpus: [0, -1] has '-1' where a GPU index belongs"),
        ("a", "gpus: 'a' has 'a' where a GPU index belongs"),
        ("0 1", "gpus: '0 1' has '0 1' where a GPU index belongs"),
        ("0,all", "gpus: '0,all' has 'all' where a GPU index belongs"),
        (None, "gpus: None has 'None' where a GPU index belongs"),
        (True, "gpus: True has 'True' where a GPU index belongs"),
        ([1.0], "gpus: [1.0] has '1.0' where a GPU index belongs"),
        ({"0": 1}, "gpus: {'0': 1} has \"{'0': 1}\" where a GPU index belongs"),
    ],
    ids=repr,
)
def test_no_assignment(value: object, reason: str) -> None:
    with pytest.raises(PhoenixError) as caught:
        _gpu.parse_assignment(value)
    assert caught.value.reason == reason
    assert caught.value.remedy == 'Write "all", "none", or GPU indices from 0 on, for example "0,1".'
    assert caught.value.code is Code.INPUT


@pytest.mark.parametrize(("value", "index"), [("0,0", 0), ([1, 0, "1"], 1), ("2, 02", 2)])
def test_a_gpu_named_twice(value: object, index: int) -> None:
    with pytest.raises(PhoenixError) as caught:
        _gpu.parse_assignment(value)
    assert caught.value.reason == f"gpus: {value!r} names GPU {index} twice"
    assert caught.value.remedy == "Name every GPU once."
    assert caught.value.code is Code.INPUT


@given(st.lists(st.integers(0, 40), unique=True, min_size=1), st.booleans())
def test_a_list_and_its_text_mean_the_same(indices: list[int], spaces: bool) -> None:
    text = (", " if spaces else ",").join(map(str, indices))
    assert _gpu.parse_assignment(text) == _gpu.parse_assignment(indices) == tuple(sorted(indices))


# The devices of an assignment


@pytest.mark.parametrize(
    ("assignment", "capabilities", "present", "expected"),
    [
        pytest.param((), None, TWO_GPUS, [], id="none"),
        pytest.param((), None, {}, [], id="none on a node without a driver"),
        pytest.param(
            (1,), None, TWO_GPUS,
            ["/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset",
             "/dev/nvidia-caps/nvidia-cap1", "/dev/nvidia-caps/nvidia-cap2"],
            id="one of two with all that the node has",
        ),
        pytest.param(
            (0,), None, nodes(NVIDIA0, CTL, UVM), ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"],
            id="the least that CUDA needs",
        ),
        pytest.param(
            "all", (), nodes(NVIDIA1, CTL, UVM, NVIDIA0, CAP1),
            ["/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm"], id="all, without capabilities",
        ),
        pytest.param(
            (0,), (2,), nodes(NVIDIA0, CTL, UVM, CAP1, CAP2),
            ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-caps/nvidia-cap2"], id="one capability",
        ),
    ],
)  # fmt: skip
def test_devices(
    assignment: _gpu.Assignment,
    capabilities: tuple[int, ...] | None,
    present: dict[str, DeviceNode],
    expected: list[str],
) -> None:
    devices = _gpu.wanted_devices(assignment, capabilities, present, DRIVERS)
    assert [device.path for device in devices] == expected
    assert [device.number for device in devices] == [present[path].number for path in expected]


def test_a_capability_keeps_its_own_mode_and_the_others_are_open_to_all() -> None:
    present = {**TWO_GPUS, "/dev/nvidia-uvm": dataclasses.replace(UVM, mode=0o660)}
    modes = {device.path: device.mode for device in _gpu.wanted_devices((0,), None, present, DRIVERS)}
    assert modes["/dev/nvidia-uvm"] == modes["/dev/nvidia0"] == 0o666
    assert modes["/dev/nvidia-caps/nvidia-cap1"] == 0o400
    assert modes["/dev/nvidia-caps/nvidia-cap2"] == 0o444


IMPOSTOR = "is no character device (an empty file there is what a bind mount without source leaves)"
UNLOADED = "belongs to a driver that is not loaded (its major is not in /proc/devices)"


@pytest.mark.parametrize(
    ("assignment", "capabilities", "changes", "drivers", "problem"),
    [
        pytest.param(
            (0,), None, {"/dev/nvidia0": None, "/dev/nvidia1": None}, DRIVERS,
            "/dev/nvidia0 on the node does not exist (the node has: none)", id="no GPU at all",
        ),
        pytest.param(
            "all", None, {"/dev/nvidia0": None, "/dev/nvidia1": None}, DRIVERS,
            "/dev/nvidia0 on the node does not exist (gpus: all needs at least one GPU on the node)", id="all of none",
        ),
        pytest.param(
            "all", None, {"/dev/nvidia1": DeviceNode("/dev/nvidia1", False, 0, 0, 0)}, DRIVERS,
            f"/dev/nvidia1 on the node {IMPOSTOR}", id="regular file",
        ),
        pytest.param(
            (0,), None, {"/dev/nvidiactl": None}, DRIVERS, "/dev/nvidiactl on the node does not exist",
            id="no nvidiactl",
        ),
        pytest.param(
            (0,), None, {"/dev/nvidia-uvm": None}, DRIVERS, "/dev/nvidia-uvm on the node does not exist", id="no uvm",
        ),
        pytest.param(
            (0,), None, {}, {195: "nvidia"}, f"/dev/nvidia-uvm on the node {UNLOADED}", id="uvm driver not loaded",
        ),
        pytest.param(
            (0,), None, {}, {195: "nvidia", 510: "nvidia-uvm"},
            "/dev/nvidia-uvm on the node is device 238:0 where the loaded driver has 510:0 (the node is stale)",
            id="major of an earlier boot",
        ),
        pytest.param(
            (0,), None, {"/dev/nvidia0": char("/dev/nvidia0", 195, 1)}, DRIVERS,
            "/dev/nvidia0 on the node is device 195:1 where the loaded driver has 195:0 (the node is stale)",
            id="another GPU under the name",
        ),
        pytest.param(
            (0,), None, {"/dev/nvidia-uvm-tools": char("/dev/nvidia-uvm-tools", 238, 0)}, DRIVERS,
            "/dev/nvidia-uvm-tools on the node is device 238:0 where the loaded driver has 238:1 (the node is stale)",
            id="uvm-tools",
        ),
        pytest.param(
            (0,), None, {"/dev/nvidia-modeset": char("/dev/nvidia-modeset", 195, 7)}, DRIVERS,
            "/dev/nvidia-modeset on the node is device 195:7 where the loaded driver has 195:254 (the node is stale)",
            id="modeset",
        ),
        pytest.param(
            (0,), (7,), {}, DRIVERS, "/dev/nvidia-caps/nvidia-cap7 on the node does not exist", id="capability",
        ),
        pytest.param(
            (0,), (-1,), {}, DRIVERS, "/dev/nvidia-caps/nvidia-cap-1 on the node does not exist",
            id="negative capability",
        ),
        pytest.param(
            (0,), None, {}, {195: "nvidia", 238: "nvidia-uvm"}, f"/dev/nvidia-caps/nvidia-cap1 on the node {UNLOADED}",
            id="capabilities not loaded",
        ),
    ],
)  # fmt: skip
def test_a_node_that_is_not_ready(
    assignment: _gpu.Assignment,
    capabilities: tuple[int, ...] | None,
    changes: dict[str, DeviceNode | None],
    drivers: dict[int, str],
    problem: str,
) -> None:
    present = {path: node for path, node in {**TWO_GPUS, **changes}.items() if node is not None}
    with pytest.raises(PhoenixError) as caught:
        _gpu.wanted_devices(assignment, capabilities, present, drivers)
    assert caught.value.reason == f"gpus: {problem}"
    assert caught.value.remedy == (
        "Load the driver and let it make its device nodes (`nvidia-smi -L; nvidia-modprobe -c 0 -u`; a stale node is "
        "removed first), or correct the assignment. This module changed nothing."
    )
    assert caught.value.code is Code.INPUT


@pytest.mark.parametrize(
    ("assignment", "listed", "absent", "known"),
    [((0, 5), (), "5", "0, 1"), ((7, 5), (0, 1), "5, 7", "0, 1"), ((0, 5), (0, 1, 2), "5", "0, 1, 2")],
)
def test_a_gpu_that_the_node_does_not_have(
    assignment: _gpu.Assignment, listed: tuple[int, ...], absent: str, known: str
) -> None:
    with pytest.raises(PhoenixError) as caught:
        _gpu.wanted_devices(assignment, None, TWO_GPUS, DRIVERS, listed)
    assert str(caught.value) == (
        f"gpus: the node has no GPU {absent}, only {known}. Correct gpu_assignment in phoenix_lxc_configs.json (the "
        "option gpus)."
    )
    assert caught.value.code is Code.INPUT


def test_a_gpu_that_lacks_its_device_node_only() -> None:
    with pytest.raises(PhoenixError) as caught:
        _gpu.wanted_devices((0, 5), None, TWO_GPUS, DRIVERS, (0, 1, 5))
    assert caught.value.reason == "gpus: /dev/nvidia5 on the node does not exist (the node has: 0, 1)"


def test_a_capability_named_twice() -> None:
    with pytest.raises(PhoenixError) as caught:
        _gpu.wanted_devices((0,), [1, 1], TWO_GPUS, DRIVERS)
    assert caught.value.reason == "capabilities: [1, 1] names a node twice"
    assert caught.value.code is Code.INPUT


# The lines


def test_lines_of_the_dev_method() -> None:
    wanted = Wanted("dev", (*ONE_GPU, D_CAP1), (LIBRARY,))
    plan = _gpu.reconcile(ConfigFile.parse(b"arch: amd64\nmemory: 512\n"), wanted, DRIVERS)
    assert plan.config.render().decode() == (
        f"arch: amd64\n{DEV_LINES}dev3: path=/dev/nvidia-caps/nvidia-cap1,mode=0400\nmemory: 512\n"
        f"lxc.mount.entry: {LIBRARY} {LIBRARY[1:]} none bind,ro,create=file\n"
    )


def test_lines_of_the_raw_method() -> None:
    wanted = Wanted("raw", ONE_GPU, (LIBRARY,))
    plan = _gpu.reconcile(ConfigFile.parse(b"arch: amd64\n"), wanted, DRIVERS)
    assert plan.config.render().decode() == (
        f"arch: amd64\n{RAW_LINES}lxc.mount.entry: {LIBRARY} {LIBRARY[1:]} none bind,ro,create=file\n"
    )


OTHERS = """\
arch: amd64
dev7: /dev/fuse
dev8: path=/dev/dri/renderD128,gid=104
features: nesting=1
hostname: nvidia0
mp0: local-zfs:subvol-100-disk-1,mp=/dev/nvidia,size=1G
lxc.cgroup2.devices.allow: c 236:* rwm
lxc.cgroup2.devices.allow: c 10:200 rwm
lxc.cgroup2.devices.allow: a
lxc.cgroup2.devices.allow: b 195:0 rwm
lxc.cgroup2.devices.allow: nonsense
lxc.mount.entry: /dev/dri dev/dri none bind,optional,create=dir
lxc.mount.entry: /srv/models srv/models none bind,create=dir
lxc.mount.entry: /usr/lib/libcurl.so.4 usr/lib/libcurl.so.4 none bind,create=file
lxc.apparmor.profile: unconfined
"""


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("dev0: path=/dev/nvidia0", id="devN without mode"),
        pytest.param("dev0: /dev/nvidia0", id="short devN"),
        pytest.param("dev0: /dev/nvidia0,mode=0666,deny-write=1", id="devN that denies writing"),
        pytest.param("dev0: path=/dev/nvidia0,mode=0660,uid=1000,gid=44", id="devN with other owner and mode"),
        pytest.param("dev9: path=/dev/nvidia1,mode=0666", id="devN of another GPU"),
        pytest.param("dev250: path=/dev/nvidia-caps/nvidia-cap1,mode=0400", id="devN of a capability"),
        pytest.param("lxc.cgroup2.devices.allow: c 195:* rwm", id="wildcard"),
        pytest.param("lxc.cgroup2.devices.allow = c 195:0 rwm", id="written with ="),
        pytest.param("lxc.cgroup.devices.allow: c 195:0 rwm", id="cgroup v1"),
        pytest.param("lxc.cgroup2.devices.allow: c 238:* rwm", id="uvm wildcard"),
        pytest.param("lxc.cgroup2.devices.allow: c  195:1  rw", id="several spaces"),
        pytest.param("lxc.mount.entry: /dev/nvidia0 /dev/nvidia0 none bind,optional,create=file", id="leading slash"),
        pytest.param("lxc.mount.entry: /dev/nvidia0 dev/nvidia0 none bind,optional,create=file", id="optional"),
        pytest.param("lxc.mount.entry: /dev/nvidia1 dev/nvidia0 none bind,create=file", id="another GPU as the first"),
        pytest.param("lxc.mount.entry: /dev/null dev/nvidia-uvm none bind", id="something else in its place"),
        pytest.param("lxc.mount.entry: /dev/null /dev/nvidia-uvm none bind", id="the same with a leading slash"),
        pytest.param("lxc.mount.entry: /dev/nvidia-caps dev/nvidia-caps none bind,create=dir", id="directory"),
        pytest.param("lxc.mount.entry = /dev/nvidiactl dev/nvidiactl none bind,optional", id="mount with ="),
        pytest.param(
            "lxc.mount.entry: /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.575.57.08 usr/lib/x none bind",
            id="old library",
        ),
        pytest.param("lxc.mount.entry: /usr/lib/libGLX_indirect.so.0 usr/lib/x none bind", id="link of a library"),
        pytest.param("lxc.mount.entry: /usr/bin/nvidia-smi usr/bin/nvidia-smi none bind,ro,create=file", id="tool"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["dev", "raw"])
def test_what_the_assignment_does_not_name_goes(line: str, method: _gpu.Method) -> None:
    config = ConfigFile.parse(f"{line}\n{OTHERS}".encode())
    none = _gpu.reconcile(config, Wanted(method), DRIVERS)
    assert none.config.render().decode() == OTHERS
    assert none.removed == (re.sub(r" = ", ": ", line, count=1),)
    assert none.added == ()
    one = _gpu.reconcile(config, Wanted(method, ONE_GPU), DRIVERS)
    assert one.config == _gpu.reconcile(ConfigFile.parse(OTHERS.encode()), Wanted(method, ONE_GPU), DRIVERS).config


_DEV = (
    "",
    "dev0: path=/dev/nvidia0,mode=0666",
    "dev0: /dev/nvidia0",
    "dev3: path=/dev/nvidia0,mode=0666\ndev4: /dev/nvidia0",
    "dev9: path=/dev/nvidia-caps/nvidia-cap1,mode=0400",
)
_MOUNTS = (
    "",
    "lxc.mount.entry: /dev/nvidia0 dev/nvidia0 none bind,optional,create=file",
    "lxc.mount.entry = /dev/nvidia0 dev/nvidia0 none bind,create=file",
    "lxc.mount.entry: /dev/nvidia0\tdev/nvidia0\tnone\tbind,optional,create=file\t0\t0",
    "lxc.mount.entry: /dev/nvidia-caps/nvidia-cap1 dev/nvidia-caps/nvidia-cap1 none bind,optional,create=file",
    "lxc.mount.entry: /dev/nvidia-modeset dev/nvidia-modeset none bind,optional,create=file",
)
_RULES = (
    "",
    "lxc.cgroup2.devices.allow: c 195:* rwm",
    "lxc.cgroup2.devices.allow = c 195:0 rwm",
    "lxc.cgroup.devices.allow: c 195:* rwm",
    "lxc.cgroup.devices.allow = c 238:* rwm",
    "lxc.cgroup2.devices.allow: c 195:* rwm\nlxc.cgroup.devices.allow: c 195:* rwm",
)
_NOT_OURS = """\
arch: amd64
dev8: path=/dev/dri/renderD128,gid=104
lxc.cgroup2.devices.allow: c 226:* rwm
lxc.mount.entry: /dev/dri dev/dri none bind,optional,create=dir
lxc.mount.entry: /dev/dri/card0 dev/dri/card0 none bind,optional,create=file
"""


@pytest.mark.parametrize("method", ["dev", "raw"])
@pytest.mark.parametrize(("dev", "mount", "rule"), [*itertools.product(_DEV, _MOUNTS, _RULES)])
def test_whoever_wrote_what_each_device_comes_in_one_way(dev: str, mount: str, rule: str, method: _gpu.Method) -> None:
    """A device that comes by devN and by a mount as well keeps the container from starting."""
    text = "".join(f"{line}\n" for line in (dev, mount, rule) if line) + _NOT_OURS
    wanted = Wanted(method, ONE_GPU)
    config = _gpu.reconcile(ConfigFile.parse(text.encode()), wanted, DRIVERS).config
    # A right line keeps its place and its separator.
    lines = [line.replace(" = ", ": ", 1) for line in config.render().decode().splitlines()]
    ours = [line for line in lines if line not in _NOT_OURS.splitlines()]
    entries = [line.partition(": ")[2] for line in ours if not line.startswith("lxc.")]
    paths = [device.path for device in ONE_GPU] if method == "dev" else []
    assert sorted(entries) == sorted(f"path={path},mode=0666" for path in paths)
    assert sorted(line for line in ours if line.startswith("lxc.")) == sorted(f"{k}: {v}" for k, v in wanted.raw)
    assert [line for line in lines if line not in ours] == _NOT_OURS.splitlines()
    assert _gpu.reconcile(config, wanted, DRIVERS).config == config


@pytest.mark.parametrize("rule", ["c 510:* rwm", "c 511:0 rw", "c 243:0 rwm", "c 234:1 rw"])
@pytest.mark.parametrize(
    ("neighbour", "goes"),
    [
        ("lxc.mount.entry: /dev/nvidia-uvm dev/nvidia-uvm none bind,optional,create=file\n", True),
        ("lxc.mount.entry: /dev/fuse dev/fuse none bind,create=file\n", False),
        ("dev0: path=/dev/nvidia-uvm,mode=0666\n", False),
    ],
    ids=["beside a GPU mount", "beside another mount", "beside a devN"],
)
def test_a_rule_for_a_major_without_driver_goes_beside_gpu_mounts_only(rule: str, neighbour: str, goes: bool) -> None:
    line = f"lxc.cgroup2.devices.allow: {rule}\n"
    plan = _gpu.reconcile(ConfigFile.parse((line + neighbour).encode()), Wanted("dev"), DRIVERS)
    assert (line not in plan.config.render().decode()) is goes


@pytest.mark.parametrize("major", [1, 10, 116, 226, 233, 236, 255, 383, 512])
def test_a_rule_for_a_major_that_is_not_handed_out_or_that_a_driver_holds_stays(major: int) -> None:
    line = f"lxc.cgroup2.devices.allow: c {major}:* rwm\n"
    config = ConfigFile.parse((line + RAW_LINES).encode())
    assert _gpu.reconcile(config, Wanted("raw"), DRIVERS).config.render().decode() == line


def test_a_rule_for_a_major_without_driver_does_not_outlive_the_first_run() -> None:
    config = ConfigFile.parse(b"lxc.cgroup2.devices.allow: c 510:0 rw\n")
    plan = _gpu.reconcile(config, Wanted("raw", ONE_GPU), DRIVERS)
    assert plan.config.render().decode() == RAW_LINES
    assert _gpu.reconcile(plan.config, Wanted("raw", ONE_GPU), DRIVERS).config == plan.config


def test_the_major_of_uvm_moved_with_a_boot() -> None:
    config = ConfigFile.parse(RAW_LINES.encode())
    moved = tuple(dataclasses.replace(device, major=511 if device is D_UVM else 195) for device in ONE_GPU)
    plan = _gpu.reconcile(config, Wanted("raw", moved), {195: "nvidia", 511: "nvidia-uvm"})
    assert plan.removed == ("lxc.cgroup2.devices.allow: c 238:0 rw",)
    assert plan.added == ("lxc.cgroup2.devices.allow: c 511:0 rw",)


@pytest.mark.parametrize(
    ("before", "method", "expected"),
    [
        pytest.param(DEV_LINES, "dev", DEV_LINES, id="dev is right"),
        pytest.param(RAW_LINES, "raw", RAW_LINES, id="raw is right"),
        pytest.param(
            RAW_LINES.replace("entry: ", "entry = "), "raw", RAW_LINES.replace("entry: ", "entry = "),
            id="raw is right, written with =",
        ),
        pytest.param(RAW_LINES, "dev", DEV_LINES, id="raw to dev"),
        pytest.param(DEV_LINES, "raw", RAW_LINES, id="dev to raw"),
        pytest.param(DEV_LINES + RAW_LINES, "dev", DEV_LINES, id="both to dev"),
        pytest.param(DEV_LINES + RAW_LINES, "raw", RAW_LINES, id="both to raw"),
        pytest.param(RAW_LINES * 2, "raw", RAW_LINES, id="raw twice"),
        pytest.param(
            DEV_LINES + "dev3: path=/dev/nvidia0,mode=0666\ndev4: path=/dev/nvidia-uvm,mode=0666\n", "dev", DEV_LINES,
            id="dev twice",
        ),
        pytest.param(
            "dev3: path=/dev/nvidia-uvm,mode=0666\ndev4: /dev/nvidia0\n", "dev",
            "dev0: path=/dev/nvidia0,mode=0666\ndev1: path=/dev/nvidiactl,mode=0666\n"
            "dev3: path=/dev/nvidia-uvm,mode=0666\n",
            id="a right one keeps its number",
        ),
        pytest.param(
            "dev0: mode=0666,path=/dev/nvidia0\ndev1: /dev/nvidiactl,mode=0666\ndev2: path=/dev/nvidia-uvm,mode=0666\n",
            "dev",
            "dev0: mode=0666,path=/dev/nvidia0\ndev1: /dev/nvidiactl,mode=0666\ndev2: path=/dev/nvidia-uvm,mode=0666\n",
            id="said otherwise and meant the same",
        ),
        pytest.param(
            "dev0: /dev/fuse\ndev2: /dev/dri/renderD128\n", "dev",
            "dev0: /dev/fuse\ndev1: path=/dev/nvidia0,mode=0666\ndev2: /dev/dri/renderD128\n"
            "dev3: path=/dev/nvidiactl,mode=0666\ndev4: path=/dev/nvidia-uvm,mode=0666\n",
            id="numbers of other devices are taken",
        ),
    ],
)  # fmt: skip
def test_reconcile(before: str, method: _gpu.Method, expected: str) -> None:
    plan = _gpu.reconcile(ConfigFile.parse(before.encode()), Wanted(method, ONE_GPU), DRIVERS)
    assert plan.config.render().decode() == expected
    assert not plan.revert


def test_the_link_of_a_library_to_another_name_is_written_once() -> None:
    # libGLX_indirect.so.0 links to libGLX_nvidia.so.VERSION; what it is called tomorrow nobody knows.
    for name in ("libGLX_indirect.so.0", "libtomorrow.so.1"):
        wanted = Wanted("dev", ONE_GPU, (f"/usr/lib/x86_64-linux-gnu/{name}",))
        once = _gpu.reconcile(ConfigFile.parse(b"arch: amd64\n"), wanted, DRIVERS).config
        assert _gpu.reconcile(once, wanted, DRIVERS).config == once
    without = _gpu.reconcile(ConfigFile.parse(DEV_LINES.encode()), wanted, DRIVERS)
    path = "usr/lib/x86_64-linux-gnu/libtomorrow.so.1"
    assert without.added == (f"lxc.mount.entry: /{path} {path} none bind,ro,create=file",)


TAIL = """\

[pve:pending]
features: nesting=1,keyctl=1
lxc.cgroup2.devices.allow: c 195:* rwm

[base-snapshot]
#golden%3A state
dev0: path=/dev/nvidia0,mode=0666
snaptime: 1795164487
lxc.mount.entry: /dev/nvidia1 dev/nvidia1 none bind,optional,create=file

[gpu-snapshot]
parent: base-snapshot
lxc.cgroup2.devices.allow: c 195:* rwm
"""


@pytest.mark.parametrize("wanted", [Wanted("dev"), Wanted("dev", ONE_GPU), Wanted("raw", ONE_GPU, (LIBRARY,))])
def test_sections_stay_byte_identical(wanted: Wanted) -> None:
    """facts/phoenix.md 4.2: lines at the end of a file land in a snapshot."""
    main = f"arch: amd64\n{DEV_LINES}lxc.cgroup2.devices.allow: c 195:* rwm\n"
    alone = _gpu.reconcile(ConfigFile.parse(main.encode()), wanted, DRIVERS)
    whole = _gpu.reconcile(ConfigFile.parse((main + TAIL).encode()), wanted, DRIVERS)
    assert whole.config.render() == alone.config.render() + TAIL.encode()


@pytest.mark.parametrize(
    ("pending", "wanted", "revert", "lines"),
    [
        pytest.param("dev0: path=/dev/nvidia0,mode=0660", Wanted("dev", ONE_GPU), ("dev0",), DEV_LINES, id="changed"),
        pytest.param("dev9: /dev/nvidia1", Wanted("dev", ONE_GPU), ("dev9",), DEV_LINES, id="another GPU"),
        pytest.param("dev9: /dev/nvidia1", Wanted("dev"), ("dev9",), "", id="a GPU where none belongs"),
        pytest.param("delete: dev1", Wanted("dev", ONE_GPU), ("dev1",), DEV_LINES, id="deleted"),
        pytest.param("delete: !dev0,cores,dev2", Wanted("dev", ONE_GPU), ("dev0", "dev2"), DEV_LINES, id="forced"),
        pytest.param("delete: dev0,dev7", Wanted("dev"), ("dev0",), "", id="deleted already"),
        pytest.param("delete: cores", Wanted("dev", ONE_GPU), (), DEV_LINES, id="somebody else's deletion"),
        pytest.param("dev9: /dev/fuse", Wanted("dev", ONE_GPU), (), DEV_LINES, id="another device"),
        pytest.param("dev0: /dev/fuse", Wanted("dev"), (), "", id="another device under the key that goes"),
        pytest.param(
            "dev0: /dev/fuse", Wanted("dev", ONE_GPU), (),
            DEV_LINES.replace("dev0: path=/dev/nvidia0,mode=0666\n", "") + "dev3: path=/dev/nvidia0,mode=0666\n",
            id="another device under a key that is right",
        ),
        pytest.param("devices: 1\nmemory: 512", Wanted("dev", ONE_GPU), (), DEV_LINES, id="other options"),
    ],
)  # fmt: skip
def test_pending_changes_that_would_undo_the_assignment_are_taken_back(
    pending: str, wanted: Wanted, revert: tuple[str, ...], lines: str
) -> None:
    section = f"\n[pve:pending]\n{pending}\n"
    plan = _gpu.reconcile(ConfigFile.parse((DEV_LINES + section).encode()), wanted, DRIVERS)
    assert plan.revert == revert
    assert plan.config.render().decode() == lines + section


def test_a_key_that_waits_for_a_device_is_not_taken() -> None:
    before = "arch: amd64\n\n[pve:pending]\ndev0: /dev/fuse\n"
    plan = _gpu.reconcile(ConfigFile.parse(before.encode()), Wanted("dev", (D_NVIDIA0,)), DRIVERS)
    assert plan.added == ("dev1: path=/dev/nvidia0,mode=0666",)
    assert plan.revert == ()


# Whatever there was before

_OTHER_LINES = st.sampled_from([line for line in OTHERS.splitlines() if not line.startswith("dev")])
_OTHER_DEVICES = st.sampled_from(["/dev/fuse", "path=/dev/dri/renderD128,gid=104", "/dev/net/tun", "path=/dev/kvm"])
_GPU_DEVICES = st.sampled_from(
    ["/dev/nvidia0", "path=/dev/nvidia0,mode=0666", "path=/dev/nvidia1,mode=0666", "path=/dev/nvidiactl,mode=0666",
     "/dev/nvidia-uvm,mode=0666", "path=/dev/nvidia-uvm,mode=0660,gid=44", "/dev/nvidia-caps/nvidia-cap1"]
)  # fmt: skip
_GPU_LINES = st.sampled_from(
    [
        *RAW_LINES.splitlines(),
        *RAW_LINES.replace(": ", " = ").splitlines(),
        "lxc.cgroup2.devices.allow: c 195:* rwm",
        "lxc.cgroup.devices.allow: c 195:0 rwm",
        "lxc.cgroup2.devices.allow: c 239:* rwm",
        "lxc.mount.entry: /dev/nvidia0 /dev/nvidia0 none bind,optional,create=file",
        "lxc.mount.entry: /usr/lib/x86_64-linux-gnu/libcuda.so.575.57.08 usr/lib/libcuda.so none bind",
    ]
)
_STALE_RULE = "lxc.cgroup2.devices.allow: c 510:* rwm"
_DEVICES = st.lists(st.sampled_from([D_NVIDIA0, D_NVIDIA1, D_CTL, D_UVM, D_CAP1]), unique=True).map(tuple)
_WANTED = st.builds(
    Wanted, st.sampled_from(["dev", "raw"]), _DEVICES, st.lists(st.sampled_from([LIBRARY]), unique=True).map(tuple)
)


@st.composite
def _files(draw: st.DrawFn, *, about_gpus: bool = True) -> str:
    """The main part of a file in any order, behind it sections."""
    devices = _OTHER_DEVICES | _GPU_DEVICES if about_gpus else _OTHER_DEVICES
    numbered = draw(st.dictionaries(st.integers(0, 30), devices, max_size=8))
    lines = draw(st.lists(_OTHER_LINES | _GPU_LINES | st.just(_STALE_RULE) if about_gpus else _OTHER_LINES))
    everything = draw(st.permutations([*(f"dev{n}: {value}" for n, value in numbered.items()), *lines]))
    pending = draw(
        st.sampled_from(["", TAIL, "\n[pve:pending]\ndelete: dev1,dev4\ndev2: /dev/nvidia1\ndev3: /dev/kvm\n"])
    )
    return "".join(f"{line}\n" for line in everything) + pending


def _others(config: ConfigFile) -> list[str]:
    """The lines of the main part that are not about NVIDIA."""
    owned = _gpu.gpu_lines(config, DRIVERS)
    return [
        line.text
        for line in config.main.lines
        if f"{line.key}: {line.value}" not in owned and line.text != _STALE_RULE and line.text
    ]


@given(_files(), _WANTED)
def test_the_file_gets_exactly_the_wanted_lines(before: str, wanted: Wanted) -> None:
    config = ConfigFile.parse(before.encode())
    plan = _gpu.reconcile(config, wanted, DRIVERS)
    lines = [re.sub(r"^dev\d+: ", "", line) for line in _gpu.gpu_lines(plan.config, DRIVERS)]
    entries = [line for line in lines if not line.startswith("lxc.")]
    paths = sorted(re.sub(r"^path=|,.*$", "", entry) for entry in entries)
    assert paths == sorted(device.path for device in wanted.devices if wanted.method == "dev")
    assert all(f"mode={device.mode:04o}" in entry for entry in entries for device in wanted.devices
               if entry.split(",")[0].removeprefix("path=") == device.path)  # fmt: skip
    assert sorted(line for line in lines if line.startswith("lxc.")) == sorted(f"{k}: {v}" for k, v in wanted.raw)


@given(_files(), _WANTED)
def test_a_second_run_changes_nothing(before: str, wanted: Wanted) -> None:
    plan = _gpu.reconcile(ConfigFile.parse(before.encode()), wanted, DRIVERS)
    again = _gpu.reconcile(plan.config, wanted, DRIVERS)
    assert again.config == plan.config
    assert again.added == again.removed == ()


@given(_files(), _WANTED)
def test_nothing_else_is_touched(before: str, wanted: Wanted) -> None:
    config = ConfigFile.parse(before.encode())
    plan = _gpu.reconcile(config, wanted, DRIVERS)
    assert _others(plan.config) == _others(config)
    behind = before.partition("\n[")[2]
    assert plan.config.render().decode().partition("\n[")[2] == behind


@given(_files(about_gpus=False))
def test_a_file_without_gpus_stays_as_it_is(before: str) -> None:
    config = ConfigFile.parse(before.encode())
    assert _gpu.reconcile(config, Wanted("dev"), DRIVERS).config == config
    assert _gpu.gpu_lines(config, DRIVERS) == []


@given(_files(), _WANTED)
def test_the_plan_tells_what_it_does(before: str, wanted: Wanted) -> None:
    config = ConfigFile.parse(before.encode())
    plan = _gpu.reconcile(config, wanted, DRIVERS)

    def lines(of: ConfigFile) -> set[str]:
        return {*(f"{k}: {v}" for k, v in of.main.options.items()), *(f"{k}: {v}" for k, v in of.main.raw)}

    assert lines(plan.config) == (lines(config) - set(plan.removed)) | set(plan.added)


def test_lines_are_shown_in_an_order_that_no_write_changes() -> None:
    config = ConfigFile.parse(b"lxc.cgroup2.devices.allow = c 195:* rwm\ndev10: /dev/nvidia1\ndev2: /dev/nvidia0\n")
    assert _gpu.gpu_lines(config, DRIVERS) == [
        "dev2: /dev/nvidia0", "dev10: /dev/nvidia1", "lxc.cgroup2.devices.allow: c 195:* rwm",
    ]  # fmt: skip


def test_an_assignment_by_indices() -> None:
    assert _gpu.named("all", [1, 0]) == (0, 1)
    assert _gpu.named("all", []) == ()
    assert _gpu.named((1,), [0]) == (1,)


def test_indices_of_lines() -> None:
    lines = [*DEV_LINES.splitlines(), "lxc.mount.entry: /dev/nvidia11 dev/nvidia11 none bind", "c 195:* rwm"]
    assert _gpu.assigned_indices(lines) == [0, 11]


# The running container

RULES = ("c *:* m", "c 1:3 rwm", "c 195:0 rw", "c 195:255 rw", "c 238:0 rw")


def inside(*found: DeviceNode) -> dict[str, DeviceNode]:
    return nodes(*(dataclasses.replace(node, mounted=True) for node in found))


ONE_INSIDE = inside(NVIDIA0, CTL, UVM)
BOTH_METHODS = pytest.mark.parametrize("method", ["dev", "raw"])


def compared(
    method: _gpu.Method,
    running: dict[str, DeviceNode],
    rules: tuple[str, ...] | None = RULES,
    devices: tuple[Device, ...] = ONE_GPU,
    *,
    mounts: frozenset[str] = frozenset(),
    libraries: tuple[str, ...] = (),
) -> list[str]:
    return _gpu.differences(Wanted(method, devices, libraries), running, rules, mounts, DRIVERS)


# The rows of the table in facts/gpu.md, in its order. Where nvidia-smi still lists the GPU and CUDA is dead, the
# container has to count as wrong.
@BOTH_METHODS
@pytest.mark.parametrize(
    ("running", "rules", "expected"),
    [
        pytest.param(
            {}, (), ["/dev/nvidia0 is missing", "/dev/nvidiactl is missing", "/dev/nvidia-uvm is missing"], id="none",
        ),
        pytest.param(ONE_INSIDE, RULES, [], id="all there"),
        pytest.param(
            ONE_INSIDE, (),
            ["/dev/nvidia0 cannot be opened: no device rule allows 195:0",
             "/dev/nvidiactl cannot be opened: no device rule allows 195:255",
             "/dev/nvidia-uvm cannot be opened: no device rule allows 238:0"],
            id="no rules",
        ),
        pytest.param(inside(NVIDIA0, CTL), RULES, ["/dev/nvidia-uvm is missing"], id="without uvm"),
        pytest.param(
            ONE_INSIDE, ("c 195:0 rw", "c 195:255 rw", "c 510:0 rw"),
            ["/dev/nvidia-uvm cannot be opened: no device rule allows 238:0"], id="rule for a wrong major",
        ),
        pytest.param(inside(CTL, UVM), RULES, ["/dev/nvidia0 is missing"], id="no nvidia0"),
        pytest.param(nodes(NVIDIA0, CTL, UVM), RULES, [], id="nodes made inside, rules without m"),
    ],
)  # fmt: skip
def test_what_was_seen_on_a_real_gpu(
    method: _gpu.Method, running: dict[str, DeviceNode], rules: tuple[str, ...], expected: list[str]
) -> None:
    assert compared(method, running, rules) == expected


def test_uvm_tools_belongs_to_a_container_where_the_node_has_it() -> None:
    devices = _gpu.wanted_devices((0,), None, nodes(NVIDIA0, CTL, UVM, TOOLS), DRIVERS)
    rules = (*RULES, "c 238:1 rw")
    assert compared("dev", ONE_INSIDE, rules, devices) == ["/dev/nvidia-uvm-tools is missing"]
    assert compared("dev", inside(NVIDIA0, CTL, UVM, TOOLS), rules, devices) == []


@BOTH_METHODS
@pytest.mark.parametrize(
    ("change", "rules", "expected"),
    [
        pytest.param(
            DeviceNode("/dev/nvidia-uvm", False, 0, 0, 0), RULES, ["/dev/nvidia-uvm is an ordinary file and no device"],
            id="what optional leaves of a missing device (pct-transcripts 8)",
        ),
        pytest.param(
            char("/dev/nvidia-uvm", 510, 0), RULES, ["/dev/nvidia-uvm is device 510:0 and should be 238:0"],
            id="node of another major",
        ),
        pytest.param(
            dataclasses.replace(NVIDIA1, mounted=True), RULES, ["/dev/nvidia1 is there and is not assigned"],
            id="the parent's second GPU, mounted",
        ),
        pytest.param(
            NVIDIA1, (*RULES, "c 195:1 rwm"),
            ["/dev/nvidia1 is there and is not assigned", "the device rule 'c 195:1 rwm' allows more than is assigned"],
            id="the parent's second GPU, allowed",
        ),
        pytest.param(NVIDIA1, RULES, [], id="a node that cannot be opened"),
        pytest.param(DeviceNode("/dev/nvidia1", False, 0, 0, 0), RULES, [], id="an ordinary file there"),
        pytest.param(DeviceNode("/dev/nvidia1", False, 0, 0, 0), ("a",), [], id="unprivileged, an ordinary file there"),
        pytest.param(
            NVIDIA0, (*RULES, "c 195:* rwm"), ["the device rule 'c 195:* rwm' allows more than is assigned"],
            id="wildcard in the running container",
        ),
        pytest.param(
            NVIDIA0, (*RULES, "c 239:0 r"), ["the device rule 'c 239:0 r' allows more than is assigned"], id="nvswitch",
        ),
        pytest.param(NVIDIA0, (*RULES, "c 195:1 m"), [], id="a rule that opens nothing"),
        pytest.param(NVIDIA0, (*RULES, "c 236:* rwm", "b 195:* rwm", "c 510:0 rw"), [], id="other drivers' rules"),
        pytest.param(NVIDIA0, ("a",), [], id="unprivileged: everything is allowed (pct-transcripts 3)"),
        pytest.param(NVIDIA1, ("a",), ["/dev/nvidia1 is there and is not assigned"], id="unprivileged, second GPU"),
        pytest.param(NVIDIA0, None, [], id="the monitor does not answer"),
        pytest.param(NVIDIA1, None, [], id="the monitor does not answer, an unassigned node"),
        pytest.param(
            dataclasses.replace(NVIDIA1, mounted=True), None, ["/dev/nvidia1 is there and is not assigned"],
            id="the monitor does not answer, a mounted one",
        ),
    ],
)  # fmt: skip
def test_differences(
    method: _gpu.Method, change: DeviceNode, rules: tuple[str, ...] | None, expected: list[str]
) -> None:
    assert compared(method, {**ONE_INSIDE, change.path: change}, rules) == expected


@BOTH_METHODS
def test_a_container_that_is_to_have_none(method: _gpu.Method) -> None:
    assert compared(method, {}, ("c *:* m",), devices=()) == []
    assert compared(method, ONE_INSIDE, RULES, devices=()) == [
        "/dev/nvidia0 is there and is not assigned",
        "/dev/nvidiactl is there and is not assigned",
        "/dev/nvidia-uvm is there and is not assigned",
        "the device rule 'c 195:0 rw' allows more than is assigned",
        "the device rule 'c 195:255 rw' allows more than is assigned",
        "the device rule 'c 238:0 rw' allows more than is assigned",
    ]


@pytest.mark.parametrize(
    ("method", "expected"),
    [("dev", ["/dev/nvidia0 has mode 0660 and should have 0666"]), ("raw", [])],
    ids=["devN sets the mode", "a mount has the node's mode"],
)
def test_modes(method: _gpu.Method, expected: list[str]) -> None:
    assert compared(method, {**ONE_INSIDE, "/dev/nvidia0": dataclasses.replace(NVIDIA0, mode=0o660)}) == expected


@BOTH_METHODS
def test_libraries(method: _gpu.Method) -> None:
    old = "/usr/lib/x86_64-linux-gnu/libcuda.so.575.57.08"
    mounts = frozenset({"/", "/dev/nvidia0", "/usr/lib/x86_64-linux-gnu/libcurl.so.4", LIBRARY})
    assert compared(method, ONE_INSIDE, mounts=mounts, libraries=(LIBRARY,)) == []
    assert compared(method, ONE_INSIDE, mounts=frozenset({"/"}), libraries=(LIBRARY,)) == [f"{LIBRARY} is not mounted"]
    assert compared(method, ONE_INSIDE, mounts=mounts) == [f"{LIBRARY} is mounted and is not asked for"]
    assert compared(method, ONE_INSIDE, mounts=mounts | {old}, libraries=(LIBRARY,)) == [
        f"{old} is mounted and is not asked for"
    ]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ((), False), (("a",), True), ((" a ",), True), (("c 195:0 rw",), True), (("c 195:0 rwm",), True),
        (("c 195:* rw",), True), (("c *:* rwm",), True), (("a *:* rwm",), True), (("c *:* m",), False),
        (("c 195:0 r",), False), (("c 195:1 rw",), False), (("c 19:0 rw",), False), (("b 195:0 rw",), False),
        (("nonsense",), False), (("c 1:3 rwm", "c 195:0 rw"), True),
    ],
)  # fmt: skip
def test_permitted(rules: tuple[str, ...], expected: bool) -> None:
    assert _gpu.permitted(rules, (195, 0)) is expected
