# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The fake is only worth as much as it agrees with the real pct: the files and messages here were recorded.

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils import recorded_conf as recorded
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.fake_pct import FakePct
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import TEMPLATE, FakeNode

BASE = recorded.PENDING.partition("\n[pve:pending]")[0].replace("dev0: path=/dev/nvidia0,mode=0666\n", "")


@pytest.fixture
def fake(tmp_path: Path) -> FakeNode:
    node = FakeNode(tmp_path)
    node.nvidia(1)
    node.device("/dev/fuse", 10, 229)
    return node


@pytest.fixture
def pct(fake: FakeNode) -> FakePct:
    return FakePct(fake)


def same_but_for_macs(text: str) -> str:
    return re.sub(r"hwaddr=[0-9A-F:]+", "hwaddr=MAC", text)


def test_create(fake: FakeNode, pct: FakePct) -> None:
    # pct-transcripts 1, "create: all the usual options": the file to the letter, but for the MAC.
    options = {
        "--rootfs": "local-zfs:2",
        "--mp0": "local-zfs:1,mp=/data",
        "--hostname": "gpu1",
        "--memory": "1024",
        "--swap": "0",
        "--cores": "2",
        "--net0": "name=eth0,bridge=vmbr0,ip=10.10.10.101/24,gw=10.10.10.1",
        "--unprivileged": "1",
        "--features": "nesting=1",
        "--onboot": "0",
        "--tags": "ai;gpu",
        "--dev0": "path=/dev/nvidia0,mode=0666",
        "--nameserver": "1.1.1.1",
        "--description": "first line\nsecond: 100% a=b #hash ä €",
    }
    words = [word for pair in options.items() for word in pair]
    assert pct(["pct", "create", "101", TEMPLATE, *words]).ok
    assert same_but_for_macs(fake.conf_text(101)) == same_but_for_macs(recorded.CREATED)


def test_create_by_its_defaults(fake: FakeNode, pct: FakePct) -> None:
    # pct-transcripts 1, "defaults written by create".
    words = ["--storage", "local-zfs", "--hostname", "plain", "--unprivileged", "0"]
    assert pct(["pct", "create", "102", TEMPLATE, *words]).stderr == "Task finished with 1 warning(s)!\n"
    assert fake.conf_text(102) == recorded.DEFAULTS


def test_set_on_a_running_container(fake: FakeNode, pct: FakePct) -> None:
    # pct-transcripts 3, from "memory hot" to "the file now".
    fake.conf(100, BASE.replace("memory: 640", "memory: 512").replace("base2", "base"))
    fake.run_container(100)
    for words in (
        "--memory 640",
        "--features nesting=1,keyctl=1",
        "-dev0 path=/dev/nvidia0,mode=0666",
        "-dev0 path=/dev/nvidia0,mode=0660",
        "--delete dev0",
        "--hostname base2",
    ):
        assert pct(["pct", "set", "100", *words.split()]).ok
    assert fake.conf_text(100) == recorded.PENDING
    assert fake.node.running_devices(100)["/dev/nvidia0"].mode == 0o666


def test_revert(fake: FakeNode, pct: FakePct) -> None:
    # pct-transcripts 3, "revert".
    fake.conf(100, recorded.PENDING)
    fake.run_container(100)
    assert pct("pct set 100 --revert features,hostname,dev0".split()).ok
    assert fake.conf_text(100) == recorded.PENDING.partition("\n[pve:pending]")[0]


def test_a_reboot_applies_what_is_pending(fake: FakeNode, pct: FakePct) -> None:
    # pct-transcripts 3, "reboot applies pending + raw lines".
    fake.conf(100, recorded.RAW_AND_PENDING.replace("memory: 640", "memory: 641"))
    fake.run_container(100)
    assert fake.node.running_devices(100) == {}
    assert pct("pct reboot 100".split()).ok
    assert fake.conf_text(100) == recorded.RESTARTED
    devices = fake.node.running_devices(100)
    assert {path: device.mounted for path, device in devices.items()} == {"/dev/nvidia0": True, "/dev/nvidiactl": True}
    assert fake.node.running_rules(100) == ("a", "c 195:0 rw")


def test_an_optional_mount_of_nothing_leaves_an_empty_file(fake: FakeNode, pct: FakePct) -> None:
    # pct-transcripts 8, "same with optional" and "mount entry with absolute target (leading slash)".
    lines = (
        "lxc.mount.entry: /dev/nosuch dev/nvidia-nosuch none bind,optional,create=file\n"
        "lxc.mount.entry: /dev/nvidiactl /dev/nvidiactl none bind,optional,create=file\n"
    )
    fake.conf(103, BASE + lines)
    assert pct("pct start 103".split()).ok
    (device,) = fake.node.running_devices(103).values()
    assert (device.path, device.is_char, device.mode) == ("/dev/nvidia-nosuch", False, 0)


def test_snapshot(fake: FakeNode, pct: FakePct) -> None:
    # pct-transcripts 4, "file after (raw lines inside the snapshot section?)".
    fake.conf(101, recorded.SNAPSHOT.partition("\n[clean]")[0].replace("parent: clean\n", ""))
    assert pct(["pct", "snapshot", "101", "clean", "--description", "golden: state\n2nd line 105%"]).ok
    assert fake.conf_text(101) == recorded.SNAPSHOT


def test_deleting_snapshots_mends_the_parents(fake: FakeNode, pct: FakePct) -> None:
    # pct-transcripts 4, "delete parents".
    fake.conf(105, recorded.PENDING_AND_SNAPSHOTS)
    assert pct("pct delsnapshot 105 withpend".split()).ok
    assert pct("pct delsnapshot 105 live1".split()).ok
    assert list(fake.node.existing(105).snapshots) == ["live3"]
    assert fake.node.existing(105).config["parent"] == "live3"
    assert fake.node.existing(105).snapshots["live3"].parent == ""


def test_clone_of_a_snapshot(fake: FakeNode, pct: FakePct) -> None:
    # pct-transcripts 5, "file of the clone".
    fake.conf(101, recorded.ROLLED_BACK)
    assert pct("pct clone 101 201 --snapname clean --hostname worker1 --full 1".split()).ok
    assert same_but_for_macs(fake.conf_text(201)) == same_but_for_macs(recorded.CLONE)
    assert fake.node.existing(201).config["net0"] != fake.node.existing(101).config["net0"]


@pytest.mark.parametrize(
    ("command", "rc", "stderr"),
    [
        (f"create 101 {TEMPLATE} --rootfs local-zfs:2", 2, "CT 101 already exists on node 'pve1'"),
        (f"create 150 {TEMPLATE} --rootfs nostor:2", 255, "storage 'nostor' does not exist"),
        (
            "create 150 local:vztmpl/nope.tar.zst --rootfs local-zfs:2",
            255,
            "unable to create CT 150 - volume 'local:vztmpl/nope.tar.zst' does not exist",
        ),
        ("set 999 --memory 512", 2, "Configuration file 'nodes/pve1/lxc/999.conf' does not exist"),
        ("set 101", 2, "no options specified"),
        ("set 101 --delete dev7", 0, "cannot delete 'dev7' - not set in current configuration!"),
        ("set 101 --delete memory", 255, "unable to delete required option 'memory'"),
        ("set 101 --unprivileged 0", 255, "unable to modify read-only option: 'unprivileged'"),
        ("set 101 -dev3 path=/dev/nosuch", 2, "Device /dev/nosuch does not exist"),
        (
            "set 101 --memory 1024 --digest 0000000000000000000000000000000000000000",
            255,
            "detected modified configuration - file changed by other user? Try again.",
        ),
        ("snapshot 101 clean", 255, "snapshot name 'clean' already used"),
        ("snapshot 101 current", 2, "unable to use snapshot name 'current' (reserved name)"),
        ("delsnapshot 101 nope", 255, "snapshot 'nope' does not exist"),
        ("rollback 101 nope", 255, "snapshot 'nope' does not exist"),
        (
            "rollback 105 live1",
            255,
            "can't rollback, 'live1' is not most recent snapshot on 'local-zfs:subvol-105-disk-0'",
        ),
        ("clone 101 105", 255, "CT 105 already exists on node 'pve1'"),
        ("clone 101 202 --snapname nope", 2, "snapshot 'nope' does not exist"),
        ("clone 105 202", 2, "Full clone of a running container is only possible from a snapshot"),
        ("clone 101 204 --full 0", 2, "Linked clone feature for 'local-zfs:subvol-101-disk-1' is not available"),
        ("start 105", 255, "CT 105 already running"),
        ("stop 101", 255, "CT 101 not running"),
        ("shutdown 101", 255, "CT 101 not running"),
        ("reboot 101", 255, "VM 101 not running"),
        ("destroy 105", 255, "unable to destroy CT 105 - container is running"),
        ("unlock 101", 255, "no lock found trying to remove any lock"),
    ],
)
def test_messages(fake: FakeNode, pct: FakePct, command: str, rc: int, stderr: str) -> None:
    fake.conf(101, recorded.ROLLED_BACK)
    fake.conf(105, recorded.TWO_SNAPSHOTS)
    fake.run_container(105)
    before = fake.snapshot_of_files()
    done = pct(["pct", *command.split()])
    assert (done.rc, done.stderr) == (rc, f"{stderr}\n")
    assert fake.snapshot_of_files() == before


def test_what_it_does_not_know_fails_the_test(pct: FakePct) -> None:
    for command in ("pct list", "pct status 100", "pct config 100", "zpool list"):
        with pytest.raises(AssertionError, match="unexpected command"):
            pct(command.split())
