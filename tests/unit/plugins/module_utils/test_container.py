# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import os
import re
import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._creation import UNFINISHED, Creation, CreationNotes
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import TEMPLATE, Call, failed, ok
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.worlds import (
    BASE,
    CLONE,
    CREATE,
    ETH0,
    HALF_CLONED,
    HALF_MADE,
    Killed,
    World,
)

# Sections are those of pct-transcripts.


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def refusal(world: World, **arguments: t.Any) -> PhoenixError:
    """The failure, which comes before anything is started or written."""
    before = world.tree()
    with pytest.raises(PhoenixError) as raised:
        world.container(**arguments)
    assert world.pct.commands == []
    assert world.tree() == before
    return raised.value


def nothing(_world: World) -> None:
    """The world as it is."""


def created(world: World) -> None:
    world.container(**CREATE)
    world.forget()


def started(world: World) -> None:
    world.container(**CREATE, state="started")
    world.forget()


def cloned(world: World) -> None:
    world.container(**CLONE)
    world.forget()


def pending(world: World) -> None:
    started(world)
    world.container(ctid=905, features={"nesting": True})
    world.forget()


def killed_while_copying(world: World) -> None:
    """Section 9: the source has lock: disk, the target lock: create and no rootfs yet."""

    def leave() -> None:
        world.fake.conf(902, HALF_CLONED)
        world.fake.lock(900, "disk")

    world.pct.killed_at("pct clone", leave)
    with pytest.raises(Killed):
        world.container(**CLONE)
    world.forget()


def killed_after_copying(world: World) -> None:
    world.pct.killed_after("pct clone")
    with pytest.raises(Killed):
        world.container(**CLONE)
    assert "/dev/nvidia0" in world.fake.conf_text(902)
    assert "10.0.0.200" in world.fake.conf_text(902)
    world.forget()


def running_parent(world: World) -> None:
    world.fake.run_container(900)


Scenario = tuple[Callable[[World], None], dict[str, t.Any], list[str], list[str]]
CLONING = "pct clone 900"

# what was before, the arguments, the actions reported, the commands started
SCENARIOS: dict[str, Scenario] = {
    "create": (nothing, CREATE, ["created"], ["pct create 905"]),
    "create-and-start": (
        nothing,
        {**CREATE, "state": "started"},
        ["created", "running"],
        ["pct create 905", "pct start 905"],
    ),
    "create-privileged": (nothing, {**CREATE, "unprivileged": False}, ["created"], ["pct create 905"]),
    "create-and-leave-stopped": (nothing, {**CREATE, "state": "stopped"}, ["created"], ["pct create 905"]),
    "clone": (nothing, CLONE, ["cloned from 900@base-snapshot"], [CLONING, "pct set 902"]),
    "clone-running-parent": (running_parent, CLONE, ["cloned from 900@base-snapshot"], [CLONING, "pct set 902"]),
    "clone-current": (
        nothing,
        {**CLONE, "clone": {"from": 900}},
        ["cloned from 900"],
        [CLONING, "pct set 902"],
    ),
    "clone-and-start": (
        nothing,
        {**CLONE, "state": "started"},
        ["cloned from 900@base-snapshot", "running"],
        [CLONING, "pct set 902", "pct start 902"],
    ),
    "clone-and-grow": (
        nothing,
        {**CLONE, "rootfs": {"size_gb": 100}},
        ["cloned from 900@base-snapshot"],
        [CLONING, "pct set 902", "pct resize 902"],
    ),
    "clone-elsewhere": (
        nothing,
        {**CLONE, "rootfs": {"storage": "local-dir", "size_gb": 32}},
        ["cloned from 900@base-snapshot"],
        [CLONING, "pct set 902"],
    ),
    "configure-stopped": (
        created,
        {"ctid": 905, "memory_mb": 2048, "tags": [], "features": {"nesting": True}, "hostname": "other"},
        ["configured"],
        ["pct set 905"],
    ),
    "configure-running": (
        started,
        {"ctid": 905, "memory_mb": 2048, "cores": 4},
        ["configured"],
        ["pct set 905"],
    ),
    "configure-for-the-next-start": (
        started,
        {"ctid": 905, "features": {"nesting": True}},
        ["configured"],
        ["pct set 905"],
    ),
    "grow": (created, {"ctid": 905, "rootfs": {"size_gb": 9}}, ["configured"], ["pct resize 905"]),
    "mount": (
        created,
        {"ctid": 905, "mounts": [{"path": "/data", "storage": "local-zfs", "size_gb": 2}]},
        ["configured"],
        ["pct set 905"],
    ),
    "other-interface": (
        created,
        {"ctid": 905, "networks": [{"name": "lan0", "bridge": "vmbr0", "ip": "dhcp"}]},
        ["configured"],
        ["pct set 905"],
    ),
    "configure-and-start": (
        created,
        {"ctid": 905, "memory_mb": 2048, "state": "started"},
        ["configured", "running"],
        ["pct set 905", "pct start 905"],
    ),
    "stop": (started, {"ctid": 905, "state": "stopped"}, ["stopped"], ["pct shutdown 905"]),
    "remove-stopped": (created, {"ctid": 905, "state": "absent"}, ["destroyed"], ["pct destroy 905"]),
    "remove-running": (
        started,
        {"ctid": 905, "state": "absent"},
        ["shut down", "destroyed"],
        ["pct shutdown 905", "pct destroy 905"],
    ),
    "half-made": (
        killed_while_copying,
        CLONE,
        ["removed what an interrupted creation left", "cloned from 900@base-snapshot"],
        ["pct unlock 902", "pct destroy 902", "pct unlock 900", CLONING, "pct set 902"],
    ),
    "half-made-and-not-wanted": (
        killed_while_copying,
        {"ctid": 902, "state": "absent"},
        ["removed what an interrupted creation left"],
        ["pct unlock 902", "pct destroy 902", "pct unlock 900"],
    ),
    "unfinished": (
        killed_after_copying,
        CLONE,
        ["finished an interrupted creation", "configured"],
        ["pct set 902"],
    ),
    "unfinished-and-not-wanted": (
        killed_after_copying,
        {"ctid": 902, "state": "absent"},
        ["destroyed"],
        ["pct destroy 902"],
    ),
}


@pytest.mark.parametrize(("prepare", "arguments", "actions", "commands"), SCENARIOS.values(), ids=SCENARIOS)
def test_check_mode_tells_what_the_run_does_and_a_second_run_does_nothing(
    world: World,
    prepare: Callable[[World], None],
    arguments: dict[str, t.Any],
    actions: list[str],
    commands: list[str],
) -> None:
    prepare(world)
    before = world.tree()
    predicted = world.container(check=True, **arguments)
    assert world.pct.commands == []
    assert world.tree() == before
    assert predicted["container"] is None

    result = world.container(**arguments)
    assert world.commands == commands
    assert result["actions"] == predicted["actions"] == actions
    assert result["changed"] is predicted["changed"] is True
    assert result["diff"] == predicted["diff"]
    assert result["diff"]["before"] != result["diff"]["after"]

    world.forget()
    settled = world.tree()
    again = world.container(**arguments)
    assert (again["changed"], again["actions"]) == (False, [])
    assert again["diff"] == {"before": "", "after": ""}
    assert world.pct.commands == []
    assert world.tree() == settled


@pytest.mark.parametrize("state", ["present", "started", "stopped", "restarted"])
@pytest.mark.parametrize("runs", [False, True], ids=["stopped", "running"])
def test_power(world: World, state: str, runs: bool) -> None:
    (started if runs else created)(world)
    commands = {
        "present": [],
        "started": [] if runs else ["pct start 905"],
        "stopped": ["pct shutdown 905"] if runs else [],
        "restarted": ["pct shutdown 905", "pct start 905"] if runs else ["pct start 905"],
    }[state]
    predicted = world.container(check=True, ctid=905, state=state)
    assert world.pct.commands == []
    result = world.container(ctid=905, state=state)
    assert world.commands == commands
    assert result["changed"] is predicted["changed"] is bool(commands)
    assert (result["diff"], result["actions"]) == (predicted["diff"], predicted["actions"])
    assert result["container"]["running"] is (state in ("started", "restarted") or (state == "present" and runs))


def test_a_new_container_is_made_by_one_command_with_everything(world: World) -> None:
    mounts = [{"path": "/data", "storage": "local-zfs", "size_gb": 2}]
    result = world.container(**CREATE, mounts=mounts)
    assert world.pct.commands == [
        (
            f"pct create 905 {TEMPLATE} --unprivileged 1 --rootfs local-zfs:8 --hostname fresh --cores 2 --memory 1024 "
            "--onboot 1 --tags 'ai;gpu' --description 'made by a test\nin two lines' "
            "--net0 name=eth0,bridge=vmbr0,gw=10.0.0.1,ip=10.0.0.205/24 --features nesting=1,keyctl=1 "
            "--mp0 local-zfs:2,mp=/data"
        )
    ]
    assert result["container"]["config"]["description"] == "made by a test\nin two lines\n"
    assert result["container"]["networks"]["net0"]["hwaddr"].startswith("BC:24:11:")
    assert result["container"]["unprivileged"] is True
    assert result["restart_required"] is False


@pytest.mark.parametrize(
    ("unprivileged", "flag"), [(None, "1"), (True, "1"), (False, "0")], ids=["not-said", "yes", "no"]
)
def test_unprivileged_is_said_to_pct_whatever_its_default(world: World, unprivileged: bool | None, flag: str) -> None:
    world.container(**{**CREATE, "unprivileged": unprivileged})
    assert f"--unprivileged {flag} " in world.pct.commands[0]


def test_warnings_of_pct_come_back(world: World) -> None:
    result = world.container(**{**CREATE, "features": None})
    assert result["warnings"] == [
        (
            "Container 905 has no nesting, without which services that sandbox themselves (PrivateTmp, ProtectSystem "
            'and the like) may fail to start under its systemd 252. If it has such services, give it "pct_options": '
            '["nesting=1"] in phoenix_lxc_configs.json (features of lxc_container).'
        )
    ]


def test_a_clone_never_starts_with_what_was_its_parents(world: World) -> None:
    world.fake.run_container(900)
    world.container(**CLONE, state="started", features={"nesting": True, "keyctl": True})
    assert world.commands == ["pct clone 900", "pct set 902", "pct start 902"]
    assert world.pct.commands[0] == (
        "pct clone 900 902 --snapname base-snapshot --full 1 --hostname BaseTemplateDocker "
        f"--description '{UNFINISHED}'"
    )
    at_start = world.pct.file_at("pct start 902", 902)
    mac = re.search(r"hwaddr=([0-9A-F:]+)", world.pct.file_at("pct set 902", 902))
    assert mac
    assert mac[1] != "BC:24:11:AA:AA:AA"
    assert at_start == (
        "arch: amd64\n"
        "cores: 2\n"
        "dev1: path=/dev/fuse,mode=0666\n"
        "features: nesting=1,keyctl=1\n"
        "hostname: BaseTemplateDocker\n"
        "memory: 2048\n"
        f"net0: name=eth0,bridge=vmbr0,gw=10.0.0.1,hwaddr={mac[1]},ip=10.0.0.202/24,type=veth\n"
        "ostype: ubuntu\n"
        "rootfs: local-zfs:subvol-902-disk-0,size=32G\n"
        "swap: 512\n"
        "lxc.mount.entry: /dev/zero dev/testzero none bind,create=file\n"
    )
    # Already when the options were set: a GPU that is gone from the node makes every pct set fail.
    assert "/dev/nvidia" not in world.pct.file_at("pct set 902", 902)


def test_a_clone_of_a_gpu_layer_needs_no_gpu(world: World) -> None:
    """Section 8: pct set fails as soon as one devN device is gone from the node."""
    world.fake.remove_device("/dev/nvidia0")
    assert world.container(**CLONE)["changed"]


def test_the_parent_is_not_touched(world: World) -> None:
    before = world.fake.conf_text(900)
    world.container(**CLONE, state="started")
    assert world.fake.conf_text(900) == before


def test_a_description_that_is_asked_for_replaces_the_parents(world: World) -> None:
    world.container(**CLONE, description="Docker")
    assert world.fake.conf_text(902).startswith("#Docker\narch:")


def test_the_cloned_root_file_system_grows(world: World) -> None:
    result = world.container(**CLONE, rootfs={"size_gb": 100})
    assert "rootfs size: 100G\n" in result["diff"]["after"]
    assert "rootfs: local-zfs:subvol-902-disk-0,size=100G\n" in world.fake.conf_text(902)


def test_a_clone_goes_to_the_storage_of_rootfs(world: World) -> None:
    world.container(**CLONE, rootfs={"storage": "local-dir"})
    assert "rootfs: local-dir:subvol-902-disk-0,size=32G\n" in world.fake.conf_text(902)


def test_what_waits_for_a_restart_is_reported_and_a_restart_applies_it(world: World) -> None:
    started(world)
    arguments: dict[str, t.Any] = {"ctid": 905, "features": {"nesting": True}, "memory_mb": 2048}
    result = world.container(**arguments)
    assert result["restart_required"] is True
    assert result["container"]["pending"] == {"features": "nesting=1"}
    assert result["container"]["config"]["memory"] == "2048"
    again = world.container(**arguments)
    assert (again["changed"], again["restart_required"]) == (False, True)
    restarted = world.container(**arguments, state="restarted")
    assert restarted["actions"] == ["running again"]
    assert restarted["restart_required"] is False
    assert restarted["container"]["config"]["features"] == "nesting=1"


def with_data(world: World) -> None:
    world.container(**CREATE, mounts=[{"path": "/data", "storage": "local-zfs", "size_gb": 2}], state="started")
    world.forget()


def stopped_while_pending(world: World) -> None:
    pending(world)
    world.fake.stop_container(905)


# what was before, the arguments, whether a restart is required afterwards
RESTARTS: dict[str, tuple[Callable[[World], None], dict[str, t.Any], bool]] = {
    "nothing": (started, {}, False),
    "memory": (started, {"memory_mb": 2048, "swap_mb": 0}, False),
    "written at once": (started, {"cores": 1, "hostname": "new", "onboot": False, "startup": "order=1"}, False),
    "tags, description": (started, {"tags": ["other"], "description": "other"}, False),
    "no tags, no description": (started, {"tags": [], "description": ""}, False),
    "network": (started, {"networks": [{**ETH0, "ip": "10.0.0.206/24"}]}, False),
    "another network": (started, {"networks": [{**ETH0, "name": "eth1", "ip": "10.0.0.206/24"}]}, False),
    "disk": (started, {"rootfs": {"size_gb": 9}}, False),
    "a new mount": (started, {"mounts": [{"path": "/x", "storage": "local-zfs", "size_gb": 2}]}, False),
    "another mount": (
        with_data,
        {"mounts": [{"path": "/data", "storage": "local-zfs", "size_gb": 2, "read_only": True}]},
        True,
    ),
    "features": (started, {"features": {"nesting": True}}, True),
    "no features": (started, {"features": {}}, True),
    "nameserver": (started, {"nameserver": ["10.0.0.1"]}, True),
    "one of two": (started, {"memory_mb": 2048, "searchdomain": "example.org"}, True),
    "parked before": (pending, {}, True),
    "parked before, and another": (pending, {"memory_mb": 2048}, True),
    "what it has, after all": (pending, {"features": {"nesting": True, "keyctl": True}}, False),
    "restarted": (started, {"features": {"nesting": True}, "state": "restarted"}, False),
    "stopped": (started, {"features": {"nesting": True}, "state": "stopped"}, False),
    "left running": (started, {"features": {"nesting": True}, "state": "started"}, True),
    "started": (created, {"features": {"nesting": True}, "state": "started"}, False),
    "is stopped": (created, {"features": {"nesting": True}}, False),
    "stopped, still parked": (stopped_while_pending, {"memory_mb": 2048}, False),
    "stopped, still parked, started": (stopped_while_pending, {"memory_mb": 2048, "state": "started"}, False),
}


@pytest.mark.parametrize(("before", "arguments", "required"), RESTARTS.values(), ids=RESTARTS)
def test_check_mode_tells_whether_a_restart_is_required(
    world: World, before: Callable[[World], None], arguments: dict[str, t.Any], required: bool
) -> None:
    before(world)
    predicted = world.container(ctid=905, check=True, **arguments)["restart_required"]
    result = world.container(ctid=905, **arguments)["restart_required"]
    assert (predicted, result) == (required, required)


def test_check_mode_knows_no_restart_of_what_is_not_there_or_goes(world: World) -> None:
    assert world.container(check=True, **CREATE)["restart_required"] is False
    pending(world)
    assert world.container(check=True, ctid=905, state="absent")["restart_required"] is False
    assert world.container(ctid=905, state="absent")["restart_required"] is False


def test_a_stop_and_a_start_apply_it_too(world: World) -> None:
    pending(world)
    assert world.container(ctid=905, state="stopped")["restart_required"] is False
    assert world.container(ctid=905, state="started")["container"]["pending"] == {}


def test_tags_that_pve_writes_in_lower_case_are_the_tags_that_were_asked_for(world: World) -> None:
    assert world.container(ctid=900, tags=["Prod", "AI"])["container"]["config"]["tags"] == "ai;prod"
    assert not world.container(ctid=900, tags=["Prod", "AI"])["changed"]


def test_a_mac_survives_every_change_of_its_interface(world: World) -> None:
    created(world)
    before = world.container(ctid=905)["container"]["networks"]["net0"]["hwaddr"]
    world.container(ctid=905, networks=[{**ETH0, "firewall": True, "tag": 7}])
    assert world.container(ctid=905)["container"]["networks"]["net0"]["hwaddr"] == before


# Refused before anything is started or written

REFUSED: dict[str, tuple[dict[str, t.Any], Code, str]] = {
    "ctid-too-small": (
        {"ctid": 99},
        Code.INPUT,
        "ctid: 99 is not an id that PVE accepts. Use a number from 100 to 999999999.",
    ),
    "ctid-too-large": (
        {"ctid": 1_000_000_000},
        Code.INPUT,
        "ctid: 1000000000 is not an id that PVE accepts. Use a number from 100 to 999999999.",
    ),
    "nothing-to-make-it-from": (
        {"ctid": 902, "memory_mb": 512},
        Code.NO_CONTAINER,
        (
            "ctid: 902 does not exist on node pve1, and nothing says what to make it from. "
            "Give ostemplate or clone, or correct the id."
        ),
    ),
    "bad-argument": (
        {**CREATE, "hostname": "bad_host"},
        Code.INPUT,
        "hostname: 'bad_host' is no valid DNS name. Use letters, digits and hyphens, labels of at most 63 characters.",
    ),
    "no-rootfs": (
        {**CREATE, "rootfs": None},
        Code.INPUT,
        (
            "rootfs.storage is missing: a new container needs a storage for its root file system. "
            "Give rootfs with storage and size_gb."
        ),
    ),
    "storage-unknown": (
        {**CREATE, "rootfs": {"storage": "nostor", "size_gb": 8}},
        Code.INPUT,
        "storage: 'nostor' is not a storage of this node. Use one of: local, local-dir, local-zfs.",
    ),
    "storage-without-rootdir": (
        {**CREATE, "rootfs": {"storage": "local", "size_gb": 8}},
        Code.INPUT,
        (
            "storage: 'local' is not allowed to hold containers (content rootdir). "
            "Use one of: local-dir, local-zfs, or add rootdir to its content."
        ),
    ),
    "storage-of-a-mount": (
        {**CREATE, "mounts": [{"path": "/data", "storage": "nostor", "size_gb": 8}]},
        Code.INPUT,
        "storage: 'nostor' is not a storage of this node. Use one of: local, local-dir, local-zfs.",
    ),
    "storage-of-a-clone": (
        {**CLONE, "clone": {"from": 900, "snapshot": "base-snapshot", "storage": "nostor"}},
        Code.INPUT,
        "storage: 'nostor' is not a storage of this node. Use one of: local, local-dir, local-zfs.",
    ),
    "bridge": (
        {**CREATE, "networks": [{**ETH0, "bridge": "vmbr9"}]},
        Code.INPUT,
        (
            "bridge: 'vmbr9' does not exist on node pve1. "
            "Create the bridge in /etc/network/interfaces, or name an existing one."
        ),
    ),
    "bridge-of-a-clone": (
        {**CLONE, "networks": [{**ETH0, "bridge": "vmbr9"}]},
        Code.INPUT,
        (
            "bridge: 'vmbr9' does not exist on node pve1. "
            "Create the bridge in /etc/network/interfaces, or name an existing one."
        ),
    ),
    "template-missing": (
        {**CREATE, "ostemplate": "local:vztmpl/nope.tar.zst"},
        Code.INPUT,
        (
            "ostemplate: 'local:vztmpl/nope.tar.zst' is not there: /var/lib/vz/template/cache/nope.tar.zst does not "
            "exist on pve1. Download it (`pveam update`, `pveam available`, `pveam download`), or correct the name."
        ),
    ),
    "template-of-no-storage": (
        {**CREATE, "ostemplate": "nope.tar.zst"},
        Code.INPUT,
        (
            "ostemplate: 'nope.tar.zst' names no storage of this node. "
            "Write STORAGE:vztmpl/FILE (storages: local, local-zfs, local-dir) or an absolute path."
        ),
    ),
    "clone-shrinks": (
        {**CLONE, "rootfs": {"size_gb": 31}},
        Code.INPUT,
        (
            "rootfs.size_gb: 31 is less than the 32G that rootfs has. "
            "A volume grows and never shrinks: name its size or more."
        ),
    ),
    "shrinks": (
        {"ctid": 900, "memory_mb": 512, "rootfs": {"size_gb": 31}},
        Code.INPUT,
        (
            "rootfs.size_gb: 31 is less than the 32G that rootfs has. "
            "A volume grows and never shrinks: name its size or more."
        ),
    ),
    "privileged-stays-privileged": (
        {"ctid": 900, "unprivileged": True, "memory_mb": 512},
        Code.INPUT,
        (
            "unprivileged: 'true' cannot be set, container 900 was made privileged and PVE never changes that. "
            "Correct the argument, or destroy the container and make it anew."
        ),
    ),
}


@pytest.mark.parametrize(("arguments", "code", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_before_anything_is_done(world: World, arguments: dict[str, t.Any], code: Code, message: str) -> None:
    error = refusal(world, **arguments)
    assert str(error) == message
    assert error.code is code


def test_unprivileged_stays_unprivileged(world: World) -> None:
    created(world)
    assert str(refusal(world, ctid=905, unprivileged=False)) == (
        "unprivileged: 'false' cannot be set, container 905 was made unprivileged and PVE never changes that. "
        "Correct the argument, or destroy the container and make it anew."
    )


@pytest.mark.parametrize("state", ["present", "started", "absent"])
@pytest.mark.parametrize(
    ("kind", "owner"), [("qemu-server", "VM"), ("lxc", "CT")], ids=["a-vm", "a-container-of-another-node"]
)
def test_the_id_of_somebody_else(world: World, kind: str, owner: str, state: str) -> None:
    world.fake.guest_elsewhere(902, kind)
    error = refusal(world, **CLONE, state=state)
    assert str(error) == (
        f"ctid: 902 is not a container of node pve1, it is {owner} 902 on node pve2. "
        "Name the id of a container on this node, or run the task on the node that has it."
    )
    assert error.code is Code.INPUT


def test_a_directory_that_the_node_does_not_have(world: World) -> None:
    """PVE takes it, and then the container does not start."""
    created(world)
    error = refusal(world, ctid=905, mounts=[{"path": "/models", "source": "/tank/models"}])
    assert str(error) == (
        "mounts.source: '/tank/models' is no directory of node pve1. Create it there, or correct the path."
    )
    assert error.code is Code.INPUT


@pytest.mark.parametrize(
    "arguments",
    [CREATE, CLONE, {"ctid": 900, "memory_mb": 512}, {"ctid": 900, "state": "absent"}],
    ids=["create", "clone", "configure", "remove"],
)
def test_without_quorum_nothing_is_tried(world: World, arguments: dict[str, t.Any]) -> None:
    world.fake.read_only()
    error = refusal(world, **arguments)
    assert str(error) == (
        "/etc/pve is read-only on node pve1: the node has no quorum. "
        "Bring the cluster back to quorum (`pvecm status` shows it), then run again. This module changed nothing."
    )
    assert str(error) == str(refusal(world, **arguments, check=True))


@pytest.mark.parametrize(("state", "runs"), [("restarted", True), ("started", False)])
def test_without_quorum_nothing_is_shut_down_that_could_not_be_started(world: World, state: str, runs: bool) -> None:
    if runs:
        running_parent(world)
    world.fake.read_only()
    assert "the node has no quorum" in refusal(world, ctid=900, state=state).reason
    assert "the node has no quorum" in refusal(world, ctid=900, state=state, check=True).reason


@pytest.mark.parametrize(
    ("before", "gone", "missing"),
    [
        ("dev0:", "/dev/nvidia0", "/dev/nvidia0 (dev0)"),
        ("lxc.cgroup2", "/dev/zero", "/dev/zero (lxc.mount.entry)"),
        ("lxc.mount.entry: /lib/gone lib/gone none bind,ro\nlxc.cgroup2", None, "/lib/gone (lxc.mount.entry)"),
        ("mp0: /srv/gone,mp=/srv\nnet0:", None, "/srv/gone (mp0)"),
    ],
    ids=["device", "device by a line", "library", "directory"],
)
def test_a_restart_that_could_only_shut_down(world: World, before: str, gone: str | None, missing: str) -> None:
    """Section 8: start fails when a devN, or the source of a mount that is not optional, has vanished."""
    running_parent(world)
    world.fake.conf(900, world.fake.conf_text(900).replace(before.rpartition("\n")[2], before, 1))
    if gone:
        world.fake.node.path(gone).unlink()
    error = refusal(world, ctid=900, state="restarted")
    assert str(error) == (
        f"container 900 could not be started again: {missing} does not exist on the node. "
        "Bring it back, or take the entry that names it out of the container, which still runs. Entries for GPUs are "
        "put right by phoenix.hypervisor.lxc_gpu_passthrough."
    )
    assert error.code is Code.POWER
    assert str(refusal(world, ctid=900, state="restarted", check=True)) == str(error)


def test_a_mount_that_is_optional_keeps_no_container_from_starting(world: World) -> None:
    running_parent(world)
    entry = "lxc.mount.entry: /lib/gone lib/gone none bind,optional,create=file\n"
    world.fake.conf(900, world.fake.conf_text(900).replace("lxc.cgroup2", f"{entry}lxc.cgroup2", 1))
    assert world.container(ctid=900, state="restarted")["actions"] == ["running again"]


def test_a_machine_that_is_no_node(world: World) -> None:
    (world.fake.root / "etc/pve/lxc").unlink()
    assert str(refusal(world, ctid=900)) == (
        "/etc/pve/lxc does not exist on pve1: it is no Proxmox VE node, or its cluster file system is not mounted. "
        "Run the task on a Proxmox VE node as root; there, look at `systemctl status pve-cluster`."
    )


def test_a_line_that_pve_would_drop(world: World) -> None:
    world.fake.conf(900, "arch: amd64\nmemory: 512\nlxc.nonsense.key: 1\n")
    error = refusal(world, ctid=900, memory_mb=1024)
    assert str(error) == (
        "/etc/pve/lxc/900.conf holds what PVE does not understand and deletes at its next write: "
        "'lxc.nonsense.key: 1'. Correct or remove these lines by hand, then run again. This module changed nothing."
    )
    assert error.code is Code.INPUT


def test_a_line_of_the_source_that_pve_would_drop(world: World) -> None:
    """pct clone locks the source and rewrites its file for that."""
    world.fake.conf(900, world.fake.conf_text(900).replace("\n[", "\nlxc.nonsense.key: 1\n\n[", 1))
    assert "/etc/pve/lxc/900.conf holds what PVE does not understand" in refusal(world, **CLONE).reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read(world: World) -> None:
    world.fake.node.config_path(900).chmod(0)
    assert "900.conf cannot be read: Permission denied" in refusal(world, ctid=900, memory_mb=1024).reason


def test_a_template_cannot_be_started(world: World) -> None:
    world.fake.conf(901, "arch: amd64\nrootfs: local-zfs:basevol-901-disk-0,size=2G\ntemplate: 1\n")
    error = refusal(world, ctid=901, state="started")
    assert str(error) == "container 901 is a PVE template and can never run. Clone it and start the clone."
    assert error.code is Code.POWER


@pytest.mark.parametrize("state", ["present", "stopped"])
def test_a_device_that_vanished_keeps_nobody_from_changing_the_rest(world: World, state: str) -> None:
    # pct.md S15: what is written then fails all the same, and only lxc_gpu_passthrough can take the device out.
    created(world)
    world.fake.conf(905, world.fake.conf_text(905).replace("features", "dev0: /dev/gone\nfeatures", 1))
    result = world.container(ctid=905, memory_mb=2048, state=state)
    assert result["changed"]
    assert result["container"]["config"]["memory"] == "2048"
    assert result["warnings"] == [
        "Container 905: PVE wrote the change, although it answered: Device /dev/gone does not exist"
    ]
    assert not world.container(ctid=905, memory_mb=2048, state=state)["changed"]


# Locks


def test_a_locked_container_is_waited_for_and_then_decided_on(world: World) -> None:
    created(world)
    world.fake.lock(905, "backup")

    def release() -> None:
        world.fake.lock(905, "")
        world.fake.conf(905, world.fake.conf_text(905).replace("memory: 1024", "memory: 2048"))

    world.fake.clock.at(20, release)
    assert world.container(ctid=905, memory_mb=2048)["changed"] is False
    assert world.fake.clock.elapsed == pytest.approx(20)
    assert world.pct.commands == []


@pytest.mark.parametrize("check", [True, False], ids=["check", "run"])
def test_a_run_with_nothing_to_do_does_not_wait_for_a_backup(world: World, check: bool) -> None:
    started(world)
    world.fake.lock(905, "backup")
    before = world.fake.snapshot_of_files()
    result = world.container(check=check, **CREATE, state="started")
    assert (result["changed"], result["actions"]) == (False, [])
    assert world.fake.clock.elapsed == 0
    assert world.pct.commands == []
    assert world.fake.snapshot_of_files() == before


@pytest.mark.parametrize("state", ["stopped", "restarted", "absent"])
def test_a_run_that_switches_waits_for_a_backup(world: World, state: str) -> None:
    started(world)
    world.fake.lock(905, "backup")
    world.fake.clock.at(20, lambda: world.fake.lock(905, ""))
    assert world.container(ctid=905, state=state)["changed"]
    assert world.fake.clock.elapsed >= 20


@pytest.mark.parametrize("lock", ["create", "disk", "migrate", "rollback", "snapshot"])
def test_a_lock_of_what_changes_the_file_is_waited_for_with_nothing_to_do(world: World, lock: str) -> None:
    created(world)
    world.fake.lock(905, lock)
    world.fake.active_task(905, "vzany")
    world.fake.clock.at(20, lambda: world.fake.lock(905, ""))
    assert world.container(ctid=905, memory_mb=1024)["changed"] is False
    assert world.fake.clock.elapsed == pytest.approx(20)


def test_a_container_that_stays_locked_is_reported_with_its_holder(world: World) -> None:
    created(world)
    world.fake.lock(905, "backup")
    upid = world.fake.active_task(905, "vzdump")
    error = refusal(world, ctid=905, memory_mb=2048, timeout=30)
    assert str(error) == (
        f"container 905: CT is locked (backup); held by vzdump by root@pam ({upid}). Wait for that task and run again."
    )
    assert world.fake.clock.elapsed == pytest.approx(30)


def test_a_lock_that_nobody_holds_is_said_to_be_left_over(world: World) -> None:
    created(world)
    world.fake.lock(905, "backup")
    assert str(refusal(world, ctid=905, memory_mb=2048)) == (
        "container 905: CT is locked (backup); no running task holds it. The lock is left from a task that was cut "
        "short. See what it left behind (`pct config 905`), then run `pct unlock 905` and run again."
    )


def test_two_clones_of_one_source_wait_for_each_other(world: World) -> None:
    world.fake.lock(900, "disk")
    world.fake.active_task(900)
    world.fake.clock.at(42, lambda: world.fake.lock(900, ""))
    assert world.container(**CLONE)["changed"]
    assert world.commands == ["pct clone 900", "pct set 902"]
    assert world.fake.clock.elapsed == pytest.approx(42)


def test_a_source_that_is_locked_just_now_is_waited_for_as_well(world: World) -> None:
    """Section 9: two clones at the same time, the second is refused with CT is locked (disk)."""

    def meanwhile(_call: Call) -> t.Any:
        world.fake.lock(900, "disk")
        world.fake.active_task(900)
        world.fake.clock.at(world.fake.clock.elapsed + 10, lambda: world.fake.lock(900, ""))
        return failed("CT is locked (disk)\n")

    world.pct.once("pct clone", meanwhile)
    assert world.container(**CLONE)["changed"]
    assert world.commands == ["pct clone 900", "pct clone 900", "pct set 902"]


def test_a_source_that_stays_locked_is_reported_with_its_holder(world: World) -> None:
    world.fake.lock(900, "disk")
    upid = world.fake.active_task(900)
    error = refusal(world, **CLONE)
    assert str(error) == (
        f"container 900: CT is locked (disk); held by vzclone by root@pam ({upid}). Wait for that task and run again."
    )


@pytest.mark.parametrize(("arguments", "copy"), [(CLONE, "pct clone"), (CREATE, "pct create")])
def test_a_copy_has_a_time_limit_of_its_own(world: World, arguments: dict[str, t.Any], copy: str) -> None:
    world.container(**arguments, timeout=70, copy_timeout=5000)
    limits = {" ".join(call.argv[:2]): call.timeout for call in world.pct.calls}
    assert limits.pop(copy) == 5000
    assert set(limits.values()) <= {70}


@pytest.mark.parametrize("lock", ["disk", "create"])
def test_a_copy_that_goes_on_is_waited_for_as_long_as_a_copy_may_take(world: World, lock: str) -> None:
    world.container(**CREATE)
    world.fake.lock(905, lock)
    world.fake.active_task(905)
    world.fake.clock.at(2000, lambda: world.fake.lock(905, ""))
    assert not world.container(**CREATE)["changed"]


def test_siblings_that_are_copied_first_are_waited_for_as_long_as_a_copy_may_take(world: World) -> None:
    world.fake.lock(900, "disk")
    world.fake.active_task(900)
    world.fake.clock.at(2000, lambda: world.fake.lock(900, ""))
    assert world.container(**CLONE)["changed"]


# Creations that were cut short


def test_killed_before_there_was_anything(world: World) -> None:
    world.pct.killed_at("pct clone")
    with pytest.raises(Killed):
        world.container(**CLONE)
    assert world.container(**CLONE, state="started")["actions"] == ["cloned from 900@base-snapshot", "running"]


def test_killed_while_copying(world: World) -> None:
    killed_while_copying(world)
    result = world.container(**CLONE)
    assert result["diff"]["before"] == "state: half-made\n"
    assert "lock" not in world.fake.conf_text(900)
    assert "/dev/nvidia" not in world.fake.conf_text(902)


def test_killed_after_copying_is_finished_before_it_can_start(world: World) -> None:
    killed_after_copying(world)
    result = world.container(**CLONE, state="started")
    assert world.commands == ["pct set 902", "pct start 902"]
    at_start = world.pct.file_at("pct start 902", 902)
    for parents in ("/dev/nvidia", "195", "10.0.0.200", "memory: 4096", "#"):
        assert parents not in at_start
    assert "ip=10.0.0.202/24" in at_start
    assert result["diff"]["before"].startswith(f"description: {UNFINISHED}")


def test_killed_between_the_gpus_and_the_options(world: World) -> None:
    world.pct.killed_at("pct set")
    with pytest.raises(Killed):
        world.container(**CLONE)
    world.forget()
    assert world.container(**CLONE)["actions"] == ["finished an interrupted creation", "configured"]
    assert "10.0.0.202" in world.fake.conf_text(902)


def test_killed_while_its_pct_goes_on_copying_and_another_run_waits_for_that(world: World) -> None:
    copied = f"#{UNFINISHED}\n" + BASE.replace("900-disk", "902-disk") % ("", "")
    world.fake.conf(902, HALF_CLONED)
    with contextlib.ExitStack() as copying:
        copying.enter_context(CreationNotes(world.fake.root).begun(Creation(902, 900)))

        def end() -> None:
            world.fake.conf(902, copied)
            copying.close()

        world.fake.clock.at(3, end)
        result = world.container(**CLONE, state="started")
    assert result["actions"] == ["finished an interrupted creation", "configured", "running"]
    at_start = world.pct.file_at("pct start 902", 902)
    assert "nvidia" not in at_start
    assert UNFINISHED not in at_start


def test_killed_between_the_options_and_the_size(world: World) -> None:
    arguments = {**CLONE, "rootfs": {"size_gb": 100}}
    world.pct.killed_at("pct resize")
    with pytest.raises(Killed):
        world.container(**arguments)
    world.forget()
    assert world.container(**arguments)["actions"] == ["configured"]
    assert world.commands == ["pct resize 902"]


def test_killed_before_the_end_was_noted(world: World) -> None:
    world.pct.killed_after("pct set")
    with pytest.raises(Killed):
        world.container(**CLONE)
    world.forget()
    assert world.container(**CLONE)["changed"] is False
    assert world.pct.commands == []


def test_killed_while_creating(world: World) -> None:
    # api-transcripts 8: there is a placeholder until the very end.
    world.pct.killed_at("pct create", lambda: world.fake.conf(905, "lock: create\n"))
    with pytest.raises(Killed):
        world.container(**CREATE)
    world.forget()
    assert world.container(**CREATE)["actions"] == ["removed what an interrupted creation left", "created"]
    assert world.commands == ["pct unlock 905", "pct destroy 905", "pct create 905"]


@pytest.mark.parametrize("rest", ["", "rootfs: local-zfs:subvol-902-disk-0,size=2G\n"], ids=["no-disk", "a-disk"])
def test_a_half_made_container_that_cannot_be_removed_is_never_taken_for_a_finished_one(
    world: World, rest: str
) -> None:
    killed_while_copying(world)
    world.fake.conf(902, HALF_CLONED.replace("swap", f"{rest}swap"))
    world.pct.once("pct destroy", lambda _call: failed("dataset is busy\n"))
    with pytest.raises(PhoenixError, match="dataset is busy"):
        world.container(**CLONE)
    assert "lock" not in world.fake.conf_text(902)
    world.forget()
    result = world.container(**CLONE)
    assert result["actions"] == ["removed what an interrupted creation left", "cloned from 900@base-snapshot"]
    assert world.commands == ["pct destroy 902", "pct unlock 900", "pct clone 900", "pct set 902"]


def test_a_half_made_container_that_somebody_unlocked_is_still_half_made(world: World) -> None:
    killed_while_copying(world)
    world.fake.lock(902, "")
    assert world.container(**CLONE)["actions"][0] == "removed what an interrupted creation left"


@pytest.mark.parametrize("other", [901, 903])
def test_a_source_that_another_of_our_clones_holds_is_not_unlocked(world: World, other: int) -> None:
    """An earlier clone of the same source was killed; PVE has not yet listed the task of the one that copies now."""
    killed_after_copying(world)
    notes = CreationNotes(world.fake.root)
    with notes.begun(Creation(other, 900)):
        world.fake.lock(900, "disk")
        world.fake.clock.at(30, lambda: world.fake.lock(900, ""))
        world.container(**{**CLONE, "ctid": 904})
    assert world.fake.clock.elapsed == pytest.approx(30)
    assert "pct unlock 900" not in world.commands


def test_bad_input_for_an_unfinished_container_is_refused_as_ever(world: World) -> None:
    killed_after_copying(world)
    assert "'vmbr9'" in str(refusal(world, **{**CLONE, "networks": [{**ETH0, "bridge": "vmbr9"}]}))


def test_a_container_with_the_id_of_one_that_was_removed_is_not_ours(world: World) -> None:
    killed_after_copying(world)
    world.container(ctid=902, state="absent")
    assert_kept_as_it_is(world)


def test_a_container_that_was_started_by_hand_keeps_what_it_has(world: World) -> None:
    killed_after_copying(world)
    world.fake.run_container(902)
    world.container(**CLONE)
    assert "dev0: path=/dev/nvidia0" in world.fake.conf_text(902)
    world.fake.stop_container(902)
    assert_kept_as_it_is(world)


def assert_kept_as_it_is(world: World) -> None:
    world.fake.conf(902, f"#mine\n{BASE % ('', '')}".replace("900", "902"))
    before = world.fake.conf_text(902)
    assert world.container(ctid=902, memory_mb=4096)["changed"] is False
    assert world.fake.conf_text(902) == before


def test_a_failed_clone_is_reported_and_tried_again_by_the_next_run(world: World) -> None:
    """Section 5: PVE takes the target away by itself."""
    world.pct.once("pct clone", lambda _call: failed("clone failed: unable to create image\n"))
    with pytest.raises(PhoenixError, match="`pct clone 900` failed: clone failed: unable to create image"):
        world.container(**CLONE)
    world.forget()
    assert world.container(**CLONE)["actions"] == ["cloned from 900@base-snapshot"]


@pytest.mark.parametrize(
    "arguments", [CLONE, {"ctid": 902, "state": "absent"}, {"ctid": 902}], ids=["clone", "remove", "configure"]
)
def test_somebody_elses_half_made_container_is_reported_and_left_alone(
    world: World, arguments: dict[str, t.Any]
) -> None:
    world.fake.conf(902, HALF_MADE)
    assert str(refusal(world, **arguments)) == (
        "ctid: 902 is a half-made container (lock: create) that no running task and none of our own creations "
        "explains. Look at it (`pct config 902`); if it is worthless, run `pct unlock 902` and `pct destroy 902`, "
        "then run again."
    )


def test_somebody_elses_creation_is_waited_for(world: World) -> None:
    world.fake.conf(902, HALF_MADE)
    world.fake.active_task(902, "vzcreate")
    world.fake.clock.at(5, lambda: world.fake.lock(902, ""))
    world.container(ctid=902, memory_mb=610)
    assert world.fake.clock.elapsed == pytest.approx(5)


def test_somebody_elses_creation_under_the_id_of_a_killed_one_is_waited_for(world: World) -> None:
    killed_while_copying(world)
    world.fake.active_task(902, "vzcreate")
    world.fake.clock.at(5, lambda: world.fake.conf(902, BASE % ("", "")))
    assert world.container(ctid=902, memory_mb=4096)["changed"] is False
    assert world.fake.clock.elapsed == pytest.approx(5)
    assert world.pct.commands == []


def test_an_id_that_was_taken_in_the_meantime_is_not_taken_for_ours(world: World) -> None:
    """Section 5, "clone to an existing id"."""

    def meanwhile(_call: Call) -> t.Any:
        world.fake.conf(902, BASE % ("", ""))
        return failed("CT 902 already exists on node 'pve1'\n")

    world.pct.once("pct clone", meanwhile)
    with pytest.raises(PhoenixError, match="already exists on node"):
        world.container(**CLONE)
    assert_kept_as_it_is(world)


# What PVE does not do


def test_what_pve_did_not_keep_is_a_verification_error(world: World) -> None:
    created(world)
    world.pct.on("pct set", ok())
    with pytest.raises(PhoenixError) as raised:
        world.container(ctid=905, memory_mb=2048, tags=[], rootfs={"size_gb": 8})
    assert str(raised.value) == (
        "container 905 did not keep what was set: memory, tags. "
        "Compare `pct config 905` with the arguments; somebody else may be changing it, too."
    )
    assert raised.value.code is Code.VERIFICATION
    assert raised.value.details["config"]["memory"] == "1024"


def test_a_resize_that_did_nothing_is_a_verification_error(world: World) -> None:
    created(world)
    world.pct.on("pct resize", ok())
    with pytest.raises(PhoenixError, match="did not keep what was set: rootfs"):
        world.container(ctid=905, rootfs={"size_gb": 9})


def test_a_container_that_vanishes_meanwhile(world: World) -> None:
    created(world)
    world.pct.after("pct set", lambda: world.fake.node.config_path(905).unlink())
    with pytest.raises(PhoenixError) as raised:
        world.container(ctid=905, memory_mb=2048)
    assert raised.value.code is Code.NO_CONTAINER


def test_a_file_that_somebody_changed_meanwhile_is_not_overwritten(world: World) -> None:
    created(world)

    def meanwhile(call: Call) -> t.Any:
        world.fake.conf(905, world.fake.conf_text(905).replace("cores: 2", "cores: 3"))
        return world.pct.unknown(call)

    world.pct.once("pct set", meanwhile)
    with pytest.raises(PhoenixError) as raised:
        world.container(ctid=905, memory_mb=2048)
    assert (
        raised.value.remedy == "This command changed nothing. Run again: the decision is then made on the new content."
    )
    assert "memory: 1024" in world.fake.conf_text(905)


# absent


def test_absent_and_missing(world: World) -> None:
    before = world.tree()
    result = world.container(ctid=902, state="absent")
    assert (result["changed"], result["container"]) == (False, None)
    assert world.pct.commands == []
    assert world.tree() == before


def test_absent_shuts_down_before_it_destroys(world: World) -> None:
    started(world)
    world.container(ctid=905, state="absent", timeout=120)
    assert world.pct.commands == ["pct shutdown 905 --timeout 120", "pct destroy 905 --purge 1"]
    assert not world.fake.node.config_path(905).exists()


def test_absent_and_it_does_not_shut_down(world: World) -> None:
    started(world)
    world.pct.stubborn.add(905)
    with pytest.raises(PhoenixError) as raised:
        world.container(ctid=905, state="absent", timeout=60)
    assert raised.value.code is Code.POWER
    assert world.fake.node.config_path(905).exists()


@pytest.mark.parametrize("runs", [False, True], ids=["stopped", "running"])
def test_absent_and_protected(world: World, runs: bool) -> None:
    world.fake.conf(905, "arch: amd64\nprotection: 1\nrootfs: local-zfs:subvol-905-disk-0,size=2G\n")
    if runs:
        world.fake.run_container(905)
    error = refusal(world, ctid=905, state="absent")
    assert str(error) == (
        "container 905 is protected against removal. "
        "Take the protection off (`pct set 905 --protection 0`) if it really has to go."
    )


def test_absent_and_others_live_on_its_snapshots(world: World) -> None:
    world.fake.run_container(900)
    world.pct.dependents["rpool/data/subvol-900-disk-0@base-snapshot"] = ["rpool/data/subvol-930-disk-0"]
    with pytest.raises(PhoenixError) as raised:
        world.container(ctid=900, state="absent")
    assert str(raised.value) == (
        "container 900 cannot go: rpool/data/subvol-930-disk-0 live on its snapshots. "
        "Remove the containers of these volumes first."
    )
    assert [command for command in world.commands if command.startswith("pct")] == []


def test_absent_and_it_is_still_there(world: World) -> None:
    created(world)
    world.pct.on("pct destroy", ok())
    with pytest.raises(PhoenixError) as raised:
        world.container(ctid=905, state="absent")
    assert raised.value.reason == "container 905 is still there after PVE destroyed it"
    assert raised.value.code is Code.VERIFICATION


# wait


def test_a_start_that_fails_is_a_power_failure(world: World) -> None:
    """Section 8: a mount entry without its source."""
    world.fake.conf(905, "arch: amd64\nlxc.mount.entry: /dev/nosuch dev/nosuch none bind,create=file\n")
    with pytest.raises(PhoenixError) as raised:
        world.container(ctid=905, state="started")
    assert raised.value.code is Code.POWER
    assert "Failed to mount" in raised.value.details["console"][0]


def answering(world: World, **answers: list[str]) -> None:
    """What the commands inside answer, one after the other, the last for ever."""

    def inside(call: Call) -> t.Any:
        given = answers[call.argv[call.argv.index("--") + 1]]
        said = given.pop(0) if len(given) > 1 else given[0]
        return ok(f"{said}\n") if said in ("running", "10.0.0.1 STREAM") else failed("", 1, f"{said}\n")

    world.pct.on("lxc-attach", inside)


@pytest.mark.parametrize("wait", ["none", "running"])
def test_it_is_waited_for_nothing_inside(world: World, wait: str) -> None:
    assert world.container(**CREATE, state="started", wait=wait)["changed"]
    assert world.commands == ["pct create 905", "pct start 905"]


@pytest.mark.parametrize("last", ["running", "degraded"])
def test_it_is_waited_for_systemd(world: World, last: str) -> None:
    created(world)
    answering(world, systemctl=["", "starting", last])
    world.container(ctid=905, state="started", wait="booted")
    assert world.commands == ["pct start 905", *["lxc-attach -n 905"] * 3]


def test_a_running_container_that_still_boots_is_waited_for_as_well(world: World) -> None:
    started(world)
    answering(world, systemctl=["starting", "running"])
    assert world.container(ctid=905, state="started", wait="booted")["changed"] is False
    assert world.commands == ["lxc-attach -n 905"] * 2


@pytest.mark.parametrize(("said", "shown"), [("starting", "starting"), ("", "nothing yet")], ids=["slow", "silent"])
def test_a_container_that_does_not_come_up_in_time(world: World, said: str, shown: str) -> None:
    started(world)
    answering(world, systemctl=[said])
    with pytest.raises(PhoenixError) as raised:
        world.container(ctid=905, state="started", wait="booted", timeout=30)
    assert str(raised.value) == (
        f"container 905 was not up after 30 s: systemd says {shown}. "
        "Look inside (`pct enter 905`: `systemctl --failed`, `networkctl`), or raise timeout."
    )
    assert raised.value.code is Code.POWER
    assert world.fake.clock.elapsed == pytest.approx(30)


def with_sources(world: World) -> None:
    world.fake.inside(905, "etc/apt/sources.list", "deb http://deb.example.com/debian trixie main\n")


def test_it_is_waited_for_address_and_names(world: World) -> None:
    started(world)
    with_sources(world)
    answering(world, systemctl=["running"], getent=["", "10.0.0.1 STREAM"])
    world.fake.address(905, "10.0.0.99")
    world.fake.clock.at(7, lambda: world.fake.address(905, "10.0.0.205"))
    world.container(ctid=905, state="started", wait="network")
    assert world.fake.clock.elapsed == pytest.approx(7.2)
    assert world.pct.commands[-1].endswith("-- getent ahosts deb.example.com")


def test_a_static_address_of_version_6_is_recognised(world: World) -> None:
    started(world)
    world.container(ctid=905, networks=[{**ETH0, "ip": None, "gw": None, "ip6": "fd00::205/64"}])
    pid = world.fake.monitor.pids[905]
    world.fake.write(f"proc/{pid}/net/if_inet6", "fd000000000000000000000000000205 02 40 00 80 eth0\n")
    answering(world, systemctl=["running"])
    world.container(ctid=905, state="started", wait="network")
    assert world.fake.clock.elapsed == 0


@pytest.mark.parametrize(
    ("networks", "problem"),
    [(None, "it has no 10.0.0.205"), ([{"name": "eth0", "ip": "dhcp"}], "it has no address")],
    ids=["static", "dhcp"],
)
def test_an_address_that_does_not_come(world: World, networks: t.Any, problem: str) -> None:
    started(world)
    answering(world, systemctl=["running"])
    with pytest.raises(PhoenixError, match=f"container 905 was not up after 60 s: {problem}\\."):
        world.container(ctid=905, networks=networks, state="started", wait="network", timeout=60)


def test_names_that_cannot_be_resolved(world: World) -> None:
    started(world)
    with_sources(world)
    world.fake.address(905, "10.0.0.205")
    answering(world, systemctl=["running"], getent=[""])
    with pytest.raises(PhoenixError, match=r"was not up after 60 s: no name can be resolved inside\."):
        world.container(ctid=905, state="started", wait="network", timeout=60)


def test_check_mode_waits_for_nothing(world: World) -> None:
    created(world)
    world.container(check=True, ctid=905, state="started", wait="network")
    assert world.pct.commands == []
