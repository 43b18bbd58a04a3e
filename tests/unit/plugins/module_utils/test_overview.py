# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import json
import os
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node
from ansible_collections.phoenix.hypervisor.plugins.module_utils._overview import overview
from ansible_collections.phoenix.hypervisor.plugins.module_utils._recipe import describe
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.pve_conf import encode
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import FakeNode

METADATA = {"fingerprint": "4f6a1c22d09be731", "parent": "900/base-snapshot", "versions": {"driver": "580.105.08"}}


def _described(text: str) -> str:
    return "".join(f"#{encode(line)}\n" for line in text.split("\n"))


BASE = f"""\
arch: amd64
hostname: BaseTemplate
memory: 2048
rootfs: local-zfs:subvol-900-disk-0,size=32G

[base-snapshot]
{_described(describe("Ubuntu 24.04 with the base set-up", {"fingerprint": "0123456789abcdef"}))}\
hostname: BaseTemplate
snaptime: 1795164487

[a-later-one]
hostname: BaseTemplate
parent: base-snapshot
snapstate: delete
snaptime: 1795164999
"""
GPU = f"""\
{_described("The GPU layer: 100 %")}\
arch: amd64
dev0: path=/dev/nvidia0,mode=0666
dev1: path=/dev/nvidia1,mode=0666
hostname: BaseTemplateGPU
lxc.cgroup2.devices.allow: c 195:* rwm
lxc.apparmor.profile: unconfined

[pve:pending]
delete: nameserver,cores
memory: 4096

[gpu-snapshot]
{_described(describe("", METADATA))}\
dev0: path=/dev/nvidia0,mode=0666
snaptime: 1795165000
"""
STOPPED = """\
lock: backup
template: 1
unprivileged: 1
lxc.nonsense: 1
lxc.mount.entry = /dev/nvidia1 dev/nvidia1 none bind,create=file

[pve:pending]
memory: 512
"""
UNTOUCHED = {"state": "", "parent": "", "metadata": {}, "description": ""}


@pytest.fixture
def fake(tmp_path: Path) -> FakeNode:
    fake = FakeNode(tmp_path)
    fake.nvidia(2)
    fake.gpu(0)
    fake.gpu(1)
    fake.package("pve-manager", "9.2.10")
    fake.conf(900, BASE)
    fake.conf(901, GPU)
    fake.conf(902, STOPPED)
    fake.run_container(900)
    fake.run_container(901, rules=("c 195:0 rw",))
    fake.device("/dev/nvidia0", 195, 0, ctid=901)
    fake.impostor("/dev/nvidia1", ctid=901)
    return fake


def digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def test_a_running_layer(fake: FakeNode) -> None:
    assert overview(fake.node, None)["containers"]["900"] == {
        "ctid": 900,
        "name": "BaseTemplate",
        "running": True,
        "lock": "",
        "unprivileged": False,
        "is_pve_template": False,
        "restart_required": False,
        "config": {
            "arch": "amd64", "hostname": "BaseTemplate", "memory": "2048",
            "rootfs": "local-zfs:subvol-900-disk-0,size=32G",
        },
        "raw": [],
        "pending": {},
        "pending_delete": [],
        "dropped_lines": [],
        "digest": digest(BASE),
        "snapshots": [
            {
                **UNTOUCHED,
                "name": "base-snapshot",
                "description": "Ubuntu 24.04 with the base set-up",
                "metadata": {"fingerprint": "0123456789abcdef"},
                "time": 1795164487,
            },
            {**UNTOUCHED, "name": "a-later-one", "parent": "base-snapshot", "time": 1795164999, "state": "delete"},
        ],
        "gpus": [],
        "gpu_lines": [],
        "running_gpus": [],
    }  # fmt: skip


def test_a_container_that_runs_with_other_gpus_than_its_file_says(fake: FakeNode) -> None:
    container = overview(fake.node, None)["containers"]["901"]
    assert container["config"]["description"] == "The GPU layer: 100 %\n"
    assert container["gpus"] == [0, 1]
    assert container["running_gpus"] == [0]
    assert container["gpu_lines"] == [
        "dev0: path=/dev/nvidia0,mode=0666",
        "dev1: path=/dev/nvidia1,mode=0666",
        "lxc.cgroup2.devices.allow: c 195:* rwm",
    ]
    assert container["raw"] == ["lxc.cgroup2.devices.allow: c 195:* rwm", "lxc.apparmor.profile: unconfined"]
    assert container["restart_required"]
    assert container["pending"] == {"memory": "4096"}
    assert container["pending_delete"] == ["cores", "nameserver"]
    assert container["snapshots"] == [
        {**UNTOUCHED, "name": "gpu-snapshot", "metadata": METADATA, "time": 1795165000}
    ]  # fmt: skip


def test_a_stopped_container(fake: FakeNode) -> None:
    assert overview(fake.node, None)["containers"]["902"] == {
        "ctid": 902,
        "name": "CT902",
        "running": False,
        "lock": "backup",
        "unprivileged": True,
        "is_pve_template": True,
        "restart_required": False,
        "config": {"lock": "backup", "template": "1", "unprivileged": "1"},
        "raw": ["lxc.mount.entry: /dev/nvidia1 dev/nvidia1 none bind,create=file"],
        "pending": {"memory": "512"},
        "pending_delete": [],
        "dropped_lines": ["lxc.nonsense: 1"],
        "digest": digest(STOPPED),
        "snapshots": [],
        "gpus": [1],
        "gpu_lines": ["lxc.mount.entry: /dev/nvidia1 dev/nvidia1 none bind,create=file"],
        "running_gpus": [],
    }


def test_the_node(fake: FakeNode) -> None:
    node = overview(fake.node, [])["node"]
    driver = node.pop("driver")
    assert driver["loaded"] == "580.105.08"
    gpu = {"name": "NVIDIA RTX PRO 6000 Blackwell"}
    device = {"is_char": True, "mode": 0o666, "mounted": False}
    assert node == {
        "name": "pve1",
        "kernel": "6.17.2-1-pve",
        "pve_version": "9.2.10",
        "gpus": [
            {**gpu, "index": 0, "uuid": "GPU-0000-0", "bus_id": "0000:01:00.0"},
            {**gpu, "index": 1, "uuid": "GPU-0000-1", "bus_id": "0000:02:00.0"},
        ],
        "devices": [
            {**device, "path": "/dev/nvidia-modeset", "major": 195, "minor": 254},
            {**device, "path": "/dev/nvidia-uvm", "major": 511, "minor": 0},
            {**device, "path": "/dev/nvidia-uvm-tools", "major": 511, "minor": 1},
            {**device, "path": "/dev/nvidia0", "major": 195, "minor": 0},
            {**device, "path": "/dev/nvidia1", "major": 195, "minor": 1},
            {**device, "path": "/dev/nvidiactl", "major": 195, "minor": 255},
        ],
        "majors": {"nvidia": 195, "nvidia-uvm": 511},
        "storages": {
            "local": {"type": "dir", "content": ["backup", "iso", "vztmpl"]},
            "local-zfs": {"type": "zfspool", "content": ["images", "rootdir"]},
            "local-dir": {"type": "dir", "content": ["images", "rootdir"]},
        },
    }


@pytest.mark.parametrize(
    ("ctids", "expected"),
    [(None, ["900", "901", "902"]), ([901], ["901"]), ([902, 777], ["902"]), ([], [])],
    ids=["all", "one", "one that is not there", "none"],
)
def test_which_containers(fake: FakeNode, ctids: list[int] | None, expected: list[str]) -> None:
    assert list(overview(fake.node, ctids)["containers"]) == expected


def test_a_container_destroyed_since_the_directory_was_listed(fake: FakeNode) -> None:
    fake.node.config_path(950).symlink_to("gone")
    assert fake.node.ctids() == [900, 901, 902, 950]
    assert list(overview(fake.node, None)["containers"]) == ["900", "901", "902"]


def test_a_container_that_ends_while_it_is_looked_at(fake: FakeNode) -> None:
    def lstat(path: Path) -> os.stat_result:
        if "/root/dev/" in str(path):
            path.unlink()
        return fake.lstat(path)

    node = Node(fake.root, fake.monitor, lstat, fake.clock)
    assert overview(node, [901])["containers"]["901"]["running_gpus"] == []
    fake.monitor.pids.clear()
    assert overview(fake.node, [901])["containers"]["901"]["running_gpus"] == []


def test_a_machine_that_is_no_node(tmp_path: Path) -> None:
    with pytest.raises(PhoenixError, match="it is no Proxmox VE node"):
        overview(Node(tmp_path), None)


def test_a_bare_node(tmp_path: Path) -> None:
    fake = FakeNode(tmp_path)
    found = overview(fake.node, None)
    assert found["containers"] == {}
    assert found["node"]["gpus"] == found["node"]["devices"] == []
    assert found["node"]["driver"]["loaded"] == found["node"]["pve_version"] == ""


def test_the_result_survives_the_way_to_the_controller(fake: FakeNode) -> None:
    fake.conf(903, b"#Gr\xfc\xdfe\nhostname: \xe4\n")
    found = overview(fake.node, None)
    assert json.loads(json.dumps(found)) == found


_AUDITED: list[tuple[str, tuple[t.Any, ...]]] = []
_is_audited = False


def _audit(event: str, arguments: tuple[t.Any, ...]) -> None:
    if _is_audited and event.partition(".")[0] in ("open", "os", "subprocess", "shutil"):
        _AUDITED.append((event, arguments))


def test_it_only_reads_and_starts_no_process(fake: FakeNode) -> None:
    """The interpreter reports every process, opened file and change of a directory to its audit hooks."""
    global _is_audited  # noqa: PLW0603 - an audit hook cannot be taken away, only switched off
    sys.addaudithook(_audit)
    node = fake.node
    _is_audited = True
    overview(node, None)
    _is_audited = False
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
    opened = [arguments for event, arguments in _AUDITED if event == "open"]
    assert any("901.conf" in str(path) for path, _mode, _flags in opened)
    assert [arguments for arguments in opened if arguments[2] & writing] == []
    assert {event for event, _arguments in _AUDITED} <= {"open", "os.listdir", "os.scandir"}
