# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import Call, failed, ok
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.worlds import PARENT, World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# Sections are those of pct-transcripts.

# Section 4, shortened: 105 with live1 and live3, 105 being the second's child
LIVE = """\
arch: amd64
features: nesting=1
hostname: live
memory: 512
net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:E2:97:F3,ip=10.10.10.105/24,type=veth
ostype: debian
parent: live3
rootfs: local-zfs:subvol-105-disk-0,size=2G
swap: 512
unprivileged: 1

[live1]
arch: amd64
memory: 256
rootfs: local-zfs:subvol-105-disk-0,size=2G
snaptime: 1795164601

[live3]
#after live1
arch: amd64
memory: 300
parent: live1
rootfs: local-zfs:subvol-105-disk-0,size=2G
snaptime: 1795164617
"""
METADATA: dict[str, t.Any] = {"fingerprint": "4f6a1c22d09be731", "parent": "", "versions": {"docker": "29.0", "n": 3}}


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.fake.conf(105, LIVE)
    return world


def refusal(world: World, *, queries: bool = False, **arguments: t.Any) -> PhoenixError:
    """The failure, which comes before pct is started or anything is written."""
    before = world.tree()
    with pytest.raises(PhoenixError) as raised:
        world.snapshot(**arguments)
    assert [command for command in world.commands if not (queries and command.startswith("zfs get"))] == []
    assert world.tree() == before
    return raised.value


Case = tuple[str, bool, dict[str, t.Any], list[str], list[str]]

# state, running, more arguments, the actions reported, the commands started
CASES: dict[str, Case] = {
    "take-stopped": ("present", False, {}, ["took s1"], ["pct snapshot 105"]),
    "take-running": ("present", True, {}, ["took s1"], ["pct snapshot 105"]),
    "take-cycle-stopped": ("present", False, {"power": "cycle"}, ["took s1"], ["pct snapshot 105"]),
    "take-cycle-running": (
        "present",
        True,
        {"power": "cycle"},
        ["shut down", "took s1", "started"],
        ["pct shutdown 105", "pct snapshot 105", "pct start 105"],
    ),
    "there": ("present", True, {"name": "live1", "power": "cycle"}, [], []),
    "replace": (
        "present",
        True,
        {"name": "live3", "replace": True},
        ["deleted live3", "took live3"],
        ["zfs get -H", "pct delsnapshot 105", "pct snapshot 105"],
    ),
    "replace-cycle": (
        "present",
        True,
        {"name": "live3", "replace": True, "power": "cycle", "description": "new"},
        ["shut down", "deleted live3", "took live3", "started"],
        ["zfs get -H", "pct shutdown 105", "pct delsnapshot 105", "pct snapshot 105", "pct start 105"],
    ),
    "replace-missing": ("present", False, {"replace": True}, ["took s1"], ["pct snapshot 105"]),
    "delete": ("absent", False, {"name": "live1"}, ["deleted live1"], ["zfs get -H", "pct delsnapshot 105"]),
    "delete-running": (
        "absent",
        True,
        {"name": "live1", "power": "cycle"},
        ["deleted live1"],
        ["zfs get -H", "pct delsnapshot 105"],
    ),
    "delete-missing": ("absent", True, {}, [], []),
    "roll-back-stopped": (
        "rolled_back",
        False,
        {"name": "live3"},
        ["went back to live3"],
        ["pct rollback 105"],
    ),
    "roll-back-running": (
        "rolled_back",
        True,
        {"name": "live3"},
        ["shut down", "went back to live3", "started"],
        ["pct shutdown 105", "pct rollback 105", "pct start 105"],
    ),
}


@pytest.mark.parametrize(("state", "runs", "more", "actions", "commands"), CASES.values(), ids=CASES)
def test_check_mode_tells_what_the_run_does(
    world: World, *, state: str, runs: bool, more: dict[str, t.Any], actions: list[str], commands: list[str]
) -> None:
    arguments: dict[str, t.Any] = {"ctid": 105, "name": "s1", "state": state, **more}
    if runs:
        world.fake.run_container(105)
    before = world.tree()
    predicted = world.snapshot(check=True, **arguments)
    assert not [command for command in world.commands if command.startswith("pct")]
    assert world.tree() == before
    world.forget()

    result = world.snapshot(**arguments)
    assert world.commands == commands
    assert result["actions"] == predicted["actions"] == actions
    assert result["changed"] is predicted["changed"] is bool(actions)
    assert result["diff"] == predicted["diff"]
    assert result["running"] is runs
    world.forget()
    if state != "rolled_back" and not more.get("replace"):
        settled = world.tree()
        assert world.snapshot(**arguments)["changed"] is False
        assert world.pct.commands == []
        assert world.tree() == settled


def test_what_is_taken_comes_back(world: World) -> None:
    result = world.snapshot(ctid=105, name="sealed", description="Docker layer", metadata=METADATA)
    assert result["snapshot"] == {
        "name": "sealed",
        "description": "Docker layer",
        "metadata": METADATA,
        "parent": "live3",
        "time": 1_795_164_487,
        "state": "",
    }
    assert [snapshot["name"] for snapshot in result["snapshots"]] == ["live1", "live3", "sealed"]
    assert result["diff"]["before"] == ""
    assert result["diff"]["after"].startswith('sealed: Docker layer\nphoenix: {"fingerprint": "4f6a1c22d09be731"')
    assert '\n[sealed]\n#Docker layer\n#phoenix%3A {"fingerprint"%3A' in world.fake.conf_text(105)


json_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(
    st.dictionaries(json_texts, st.none() | st.booleans() | st.integers() | json_texts | st.lists(json_texts)),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_metadata_survives_the_file(world: World, metadata: dict[str, t.Any], description: str) -> None:
    world.fake.conf(105, LIVE)
    arguments: dict[str, t.Any] = {"ctid": 105, "name": "sealed", "description": description, "metadata": metadata}
    taken = world.snapshot(**arguments)["snapshot"]
    assert (taken["description"], taken["metadata"]) == (description, metadata)
    assert world.snapshot(**arguments)["changed"] is False


def test_names_are_exact(world: World) -> None:
    """facts/phoenix 4.20: base-snapshot is no vllm-base-snapshot."""
    world.fake.conf(900, PARENT.replace("base-snapshot", "vllm-base-snapshot"))
    assert world.snapshot(ctid=900, name="base-snapshot", state="absent")["changed"] is False
    assert world.snapshot(ctid=900, name="base-snapshot")["actions"] == ["took base-snapshot"]
    assert world.snapshot(ctid=900, name="base-snapshot", state="absent")["actions"] == ["deleted base-snapshot"]
    assert [snapshot["name"] for snapshot in world.snapshot(ctid=900, name="Base-snapshot")["snapshots"]] == [
        "Base-snapshot",
        "vllm-base-snapshot",
    ]


NAMES = {
    "digit": "1st",
    "dot": "a.b",
    "one-letter": "a",
    "41-letters": "a" * 41,
    "empty": "",
    "newline": "ab\n",
    "current": "current",
    "vzdump": "vzdump",
    "umlaut": "stände",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("state", ["present", "absent", "rolled_back"])
def test_names_that_pve_refuses(world: World, state: str, name: str) -> None:
    error = refusal(world, ctid=105, name=name, state=state)
    assert str(error) == (
        f"name: {name!r} is no name that PVE accepts for a snapshot. "
        "Use 2 to 40 letters, digits, _ and -, a letter first; current and vzdump are reserved."
    )
    assert error.code is Code.INPUT


@pytest.mark.parametrize("name", ["A-aaaaaaabbbbbbbbbbcccccccc_cdddddddddd", "a" * 40, "ab", "pending"])
def test_names_that_pve_accepts(world: World, name: str) -> None:
    assert world.snapshot(ctid=105, name=name)["snapshot"]["name"] == name


@pytest.mark.parametrize(("metadata", "changed"), [(None, False), (METADATA, False)], ids=["not-asked", "the-same"])
def test_a_snapshot_that_is_there(world: World, metadata: dict[str, t.Any] | None, changed: bool) -> None:
    world.snapshot(ctid=105, name="sealed", description="Docker layer", metadata=METADATA)
    world.forget()
    result = world.snapshot(ctid=105, name="sealed", description="another text", metadata=metadata)
    assert result["changed"] is changed
    assert result["snapshot"]["metadata"] == METADATA
    assert result["diff"]["before"] == result["diff"]["after"]
    assert world.pct.commands == []


@pytest.mark.parametrize(
    ("metadata", "keys"),
    [
        ({**METADATA, "fingerprint": "other"}, "fingerprint"),
        ({"fingerprint": "other", "new": None}, "fingerprint, new, parent, versions"),
        ({}, "fingerprint, parent, versions"),
    ],
    ids=["value", "keys", "none"],
)
@pytest.mark.parametrize("check", [False, True], ids=["run", "check"])
def test_other_metadata_is_never_overwritten_unasked(
    world: World, check: bool, metadata: dict[str, t.Any], keys: str
) -> None:
    world.snapshot(ctid=105, name="sealed", metadata=METADATA)
    world.forget()
    error = refusal(world, ctid=105, name="sealed", metadata=metadata, check=check)
    assert str(error) == (
        f"the name 'sealed' is taken on container 105 by a snapshot with other metadata ({keys}). "
        "Set replace: true to take it anew, or choose another name. This module changed nothing."
    )
    assert error.code is Code.SNAPSHOT
    assert error.details["metadata"] == METADATA


def test_replace_takes_it_anew(world: World) -> None:
    world.snapshot(ctid=105, name="sealed", metadata={"fingerprint": "old"})
    result = world.snapshot(ctid=105, name="sealed", metadata={"fingerprint": "new"}, replace=True)
    assert result["snapshot"]["metadata"] == {"fingerprint": "new"}
    assert result["diff"] == {
        "before": 'sealed: \nphoenix: {"fingerprint": "old"}\n',
        "after": 'sealed: \nphoenix: {"fingerprint": "new"}\n',
    }


def test_a_rollback_brings_the_snapshot_back(world: World) -> None:
    """Section 4: a running container is killed by PVE's rollback, so it is shut down before."""
    world.fake.run_container(105)
    result = world.snapshot(ctid=105, name="live3", state="rolled_back", timeout=120)
    assert world.pct.commands == ["pct shutdown 105 --timeout 120", "pct rollback 105 live3", "pct start 105"]
    assert "\nmemory: 300\n" in world.fake.conf_text(105).partition("[")[0]
    assert result["snapshot"]["name"] == "live3"
    assert result["diff"]["after"] == "live3: after live1\nshut down\nwent back to live3\nstarted\n"


# What PVE would refuse, found before the container is shut down

INCOMPLETE = (
    f"{LIVE}\n[halfway]\nrootfs: local-zfs:subvol-105-disk-0,size=2G\nsnapstate: prepare\nsnaptime: 1795165000\n"
)
ON_DIR = LIVE.replace("local-zfs", "local-dir")
BOUND = LIVE.replace("memory: 512\n", "memory: 512\nmp2: /srv,mp=/srv\n")
TEMPLATE = LIVE.replace("swap: 512\n", "swap: 512\ntemplate: 1\n", 1)
REFUSED: dict[str, tuple[str, dict[str, t.Any], str]] = {
    "bind-mount": (
        BOUND,
        {},
        (
            "container 105 has a bind mount (mp2: /srv), and PVE takes no snapshot of a container with one. "
            "Remove mp2, or replace it by a volume of a storage that can snapshot. "
            "Share files with a layer by a raw lxc.mount.entry or by pushing them."
        ),
    ),
    "storage": (
        ON_DIR,
        {},
        (
            "storage local-dir of rootfs of container 105 is of type dir, which cannot snapshot containers. "
            "Move the volume to ZFS, btrfs, LVM-thin or RBD (`pct move-volume 105 rootfs STORAGE`)."
        ),
    ),
    "template": (
        TEMPLATE,
        {},
        (
            "container 105 is a PVE template, and PVE takes no snapshot of a template. "
            "Clone the template and snapshot the clone."
        ),
    ),
    "replace-with-a-bind-mount": (
        BOUND,
        {"name": "live3", "replace": True},
        (
            "container 105 has a bind mount (mp2: /srv), and PVE takes no snapshot of a container with one. "
            "Remove mp2, or replace it by a volume of a storage that can snapshot. "
            "Share files with a layer by a raw lxc.mount.entry or by pushing them."
        ),
    ),
    "incomplete": (
        INCOMPLETE,
        {"name": "halfway"},
        (
            "snapshot 'halfway' of container 105 is incomplete (snapstate: prepare): a task on it was cut short. "
            "Delete it (`pct delsnapshot 105 halfway --force 1`), then run again."
        ),
    ),
    "roll-back-to-incomplete": (
        INCOMPLETE,
        {"name": "halfway", "state": "rolled_back"},
        (
            "snapshot 'halfway' of container 105 is incomplete (snapstate: prepare): a task on it was cut short. "
            "Delete it (`pct delsnapshot 105 halfway --force 1`), then run again."
        ),
    ),
    "roll-back-to-missing": (
        LIVE,
        {"state": "rolled_back"},
        "container 105 has no snapshot 's1'. It has: live1, live3.",
    ),
    "roll-back-to-missing-of-none": (
        LIVE.partition("\n[")[0],
        {"state": "rolled_back"},
        "container 105 has no snapshot 's1'. It has: none.",
    ),
    "roll-back-not-the-newest": (
        LIVE,
        {"name": "live1", "state": "rolled_back"},
        (
            "snapshot 'live1' of container 105 is not the newest, and ZFS goes back to the newest only; newer: live3. "
            "Delete the newer snapshots first (state: absent), newest first, if they may be lost. This "
            "module changed nothing."
        ),
    ),
}


@pytest.mark.parametrize("check", [False, True], ids=["run", "check"])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"name": "live3", "state": "absent"}, {"name": "live3", "state": "rolled_back"}],
    ids=["present", "absent", "rolled_back"],
)
def test_a_line_that_pve_would_drop(world: World, arguments: dict[str, t.Any], check: bool) -> None:
    """Section 2, unknown lxc key: gone after the next write of the file."""
    world.fake.conf(105, LIVE.replace("\n[live1]", "lxc.nonsense.key: 1\n\n[live1]", 1))
    error = refusal(world, check=check, **{"ctid": 105, "name": "s1", **arguments})
    assert error.reason == (
        "/etc/pve/lxc/105.conf holds what PVE does not understand and deletes at its next write: 'lxc.nonsense.key: 1'"
    )
    assert world.snapshot(ctid=105, name="live1")["changed"] is False


@pytest.mark.parametrize(
    ("place", "arguments"),
    [("now", {"power": "cycle"}), ("in-the-snapshot", {"name": "live3", "state": "rolled_back"})],
)
@pytest.mark.parametrize(
    ("entry", "missing"),
    [
        ("dev0: path=/dev/gone,mode=0666", "/dev/gone (dev0)"),
        ("lxc.mount.entry: /lib/gone lib/gone none bind,ro,create=file", "/lib/gone (lxc.mount.entry)"),
    ],
    ids=["device", "library"],
)
def test_what_vanished_is_found_before_the_shutdown(
    world: World, entry: str, missing: str, place: str, arguments: dict[str, t.Any]
) -> None:
    """Section 8, devN whose device vanished, mount entry without its source: the container would stay down."""
    before = "memory: 300" if place == "in-the-snapshot" else "features"
    world.fake.conf(105, LIVE.replace(before, f"{entry}\n{before}", 1))
    world.fake.run_container(105)
    arguments = {"ctid": 105, "name": "s1", **arguments}
    error = refusal(world, **arguments)
    when = "after a rollback to live3, " if place == "in-the-snapshot" else ""
    assert error.reason == f"{when}container 105 could not be started again: {missing} does not exist on the node"
    assert ("go back to the snapshot" in error.remedy) == (place == "in-the-snapshot")
    assert error.code is Code.POWER
    assert str(refusal(world, check=True, **arguments)) == str(error)


@pytest.mark.parametrize("entry", ["dev0: path=/dev/gone", "lxc.mount.entry: /lib/gone lib/gone none bind"])
def test_what_a_rollback_takes_out_need_not_be_there(world: World, entry: str) -> None:
    world.fake.conf(105, LIVE.replace("features", f"{entry}\nfeatures", 1))
    world.fake.run_container(105)
    assert world.snapshot(ctid=105, name="live3", state="rolled_back")["running"]


@pytest.mark.parametrize(("text", "arguments", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("check", [False, True], ids=["run", "check"])
def test_refused_before_the_shutdown(
    world: World, check: bool, text: str, arguments: dict[str, t.Any], message: str
) -> None:
    world.fake.conf(105, text)
    world.fake.run_container(105)
    error = refusal(world, check=check, **{"ctid": 105, "name": "s1", "power": "cycle", **arguments})
    assert str(error) == message
    assert error.code is Code.SNAPSHOT


def test_storages_other_than_zfs_roll_back_to_any_snapshot(world: World) -> None:
    world.fake.write("etc/pve/storage.cfg", "btrfs: fast\n\tpath /fast\n\tcontent rootdir\n")
    world.fake.conf(105, LIVE.replace("local-zfs", "fast"))
    assert world.snapshot(ctid=105, name="live1", state="rolled_back")["changed"]


@pytest.mark.parametrize(
    "arguments", [{"state": "absent"}, {"replace": True, "power": "cycle"}], ids=["delete", "replace"]
)
@pytest.mark.parametrize("check", [False, True], ids=["run", "check"])
def test_volumes_that_live_on_a_snapshot(world: World, check: bool, arguments: dict[str, t.Any]) -> None:
    """PVE would leave the container locked (facts/pct, copy-on-write clones)."""
    world.fake.run_container(105)
    world.pct.dependents["rpool/data/subvol-105-disk-0@live3"] = [
        "rpool/data/subvol-300-disk-0",
        "rpool/data/subvol-301-disk-0",
    ]
    error = refusal(world, queries=True, check=check, ctid=105, name="live3", **arguments)
    assert str(error) == (
        "snapshot 'live3' of container 105 cannot go: rpool/data/subvol-300-disk-0, rpool/data/subvol-301-disk-0 "
        "live on it. Remove the containers of these volumes first. This module changed nothing."
    )
    assert error.code is Code.SNAPSHOT


@pytest.mark.parametrize("state", ["present", "absent", "rolled_back"])
def test_a_container_that_is_not_there(world: World, state: str) -> None:
    error = refusal(world, ctid=106, name="s1", state=state)
    assert str(error) == (
        "ctid: 106 does not exist on node pve1. Create it first (phoenix.hypervisor.lxc_container), or correct the id."
    )
    assert error.code is Code.NO_CONTAINER


def test_the_id_of_a_machine(world: World) -> None:
    world.fake.guest_elsewhere(106)
    assert refusal(world, ctid=106, name="s1").reason == (
        "ctid: 106 is not a container of node pve1, it is VM 106 on node pve2"
    )


def test_an_id_out_of_range(world: World) -> None:
    assert refusal(world, ctid=99, name="s1").reason == "ctid: 99 is not an id that PVE accepts"


@pytest.mark.parametrize(
    "arguments",
    [{}, {"name": "live1", "state": "absent"}, {"name": "live3", "state": "rolled_back"}],
    ids=["take", "delete", "roll-back"],
)
def test_without_quorum_nothing_is_tried(world: World, arguments: dict[str, t.Any]) -> None:
    world.fake.run_container(105)
    world.fake.read_only()
    error = refusal(world, **{"ctid": 105, "name": "s1", "power": "cycle", **arguments})
    assert error.reason == "/etc/pve is read-only on node pve1: the node has no quorum"


# Locks


def test_a_locked_container_is_waited_for(world: World) -> None:
    world.fake.lock(105, "backup")
    world.fake.clock.at(20, lambda: world.fake.lock(105, ""))
    assert world.snapshot(ctid=105, name="s1")["changed"]
    assert world.fake.clock.elapsed == pytest.approx(20)


def test_a_snapshot_that_somebody_takes_meanwhile_is_found(world: World) -> None:
    world.fake.lock(105, "snapshot")
    world.fake.clock.at(20, lambda: world.fake.conf(105, f"{LIVE}\n[s1]\nsnaptime: 1795165000\n"))
    assert world.snapshot(ctid=105, name="s1")["changed"] is False


@pytest.mark.parametrize(
    "arguments", [{"name": "live1"}, {"name": "s1", "state": "absent"}], ids=["there", "not-there"]
)
@pytest.mark.parametrize("check", [True, False], ids=["check", "run"])
def test_a_run_with_nothing_to_do_does_not_wait_for_a_backup(
    world: World, arguments: dict[str, t.Any], check: bool
) -> None:
    world.fake.lock(105, "backup")
    assert world.snapshot(check=check, ctid=105, **arguments)["changed"] is False
    assert world.fake.clock.elapsed == 0


def test_the_snapshot_of_a_backup_is_in_nobodys_way_afterwards(world: World) -> None:
    without = world.fake.conf_text(105)
    world.fake.conf(105, f"{without}\n[vzdump]\nparent: live3\nsnaptime: 1795169000\n")
    world.fake.lock(105, "backup")
    world.fake.clock.at(20, lambda: world.fake.conf(105, without))
    assert world.snapshot(ctid=105, name="live3", state="rolled_back")["changed"]


def test_a_container_that_stays_locked(world: World) -> None:
    world.fake.run_container(105)
    world.fake.lock(105, "backup")
    upid = world.fake.active_task(105, "vzdump")
    error = refusal(world, ctid=105, name="s1", power="cycle", timeout=30)
    assert error.reason == f"container 105: CT is locked (backup); held by vzdump by root@pam ({upid})"


def test_check_mode_does_not_wait(world: World) -> None:
    world.fake.lock(105, "backup")
    assert world.snapshot(check=True, ctid=105, name="s1")["changed"]
    assert world.fake.clock.elapsed == 0


# Failures between shutdown and start

FULL = "zfs error: cannot create snapshot: out of space\n"
TAKE: dict[str, t.Any] = {"ctid": 105, "name": "s1", "power": "cycle"}


def test_a_failure_after_the_shutdown_brings_the_container_back(world: World) -> None:
    world.fake.run_container(105)
    world.pct.on("pct snapshot", failed(FULL))
    with pytest.raises(PhoenixError) as raised:
        world.snapshot(**TAKE)
    assert raised.value.reason == (
        "`pct snapshot 105` failed: zfs error: cannot create snapshot: out of space. Done before: shut down. "
        "The container was started again"
    )
    assert world.commands == ["pct shutdown 105", "pct snapshot 105", "pct start 105"]
    assert world.fake.node.is_running(105)


def test_a_failed_rollback_brings_the_container_back(world: World) -> None:
    world.fake.run_container(105)
    world.pct.on("pct rollback", failed("zfs error: cannot rollback\n"))
    with pytest.raises(PhoenixError, match=r"Done before: shut down\. The container was started again"):
        world.snapshot(ctid=105, name="live3", state="rolled_back")
    assert world.fake.node.is_running(105)


def test_a_failure_says_that_the_old_snapshot_is_gone(world: World) -> None:
    world.pct.on("pct snapshot", failed(FULL))
    with pytest.raises(PhoenixError) as raised:
        world.snapshot(ctid=105, name="live3", replace=True)
    assert raised.value.reason.endswith("out of space. Done before: deleted live3")


def test_a_failure_and_the_start_fails_as_well(world: World) -> None:
    world.fake.run_container(105)
    world.pct.on("pct snapshot", failed(FULL))
    world.pct.on("pct start", failed("startup for container '105' failed\n"))
    with pytest.raises(PhoenixError) as raised:
        world.snapshot(**TAKE)
    assert raised.value.reason == (
        "`pct snapshot 105` failed: zfs error: cannot create snapshot: out of space. Done before: shut down. "
        "The container is stopped and could not be started again: "
        "`pct start 105` failed: startup for container '105' failed"
    )


def test_a_start_that_fails_says_what_was_done(world: World) -> None:
    world.fake.run_container(105)
    world.pct.on("pct start", failed("startup for container '105' failed\n"))
    with pytest.raises(PhoenixError) as raised:
        world.snapshot(**TAKE)
    assert raised.value.reason == (
        "`pct start 105` failed: startup for container '105' failed. Done before: shut down, took s1"
    )
    assert raised.value.code is Code.POWER


def test_a_shutdown_that_fails_leaves_the_container_running(world: World) -> None:
    world.fake.run_container(105)
    world.pct.stubborn.add(105)
    with pytest.raises(PhoenixError) as raised:
        world.snapshot(**TAKE, timeout=60)
    assert raised.value.reason.endswith("The container is still running")
    assert raised.value.code is Code.POWER
    assert world.commands == ["pct shutdown 105"]


def test_a_shutdown_that_ended_in_an_error_but_stopped_it(world: World) -> None:
    world.fake.run_container(105)

    def stop(call: Call) -> t.Any:
        world.pct.unknown(call)
        return failed("command 'lxc-stop' failed: exit code 1\n")

    world.pct.once("pct shutdown", stop)
    assert world.snapshot(**TAKE)["actions"] == ["shut down", "took s1", "started"]


def test_a_power_cycle_does_not_start_what_was_stopped(world: World) -> None:
    assert world.snapshot(**TAKE)["running"] is False
    world.pct.on("pct snapshot", failed(FULL))
    with pytest.raises(PhoenixError) as raised:
        world.snapshot(**{**TAKE, "name": "s2"})
    assert raised.value.reason.endswith("out of space")
    assert "pct start 105" not in world.commands


# What PVE does not do


@pytest.mark.parametrize(
    "spoil",
    [
        lambda world: world.pct.on("pct snapshot", ok()),
        lambda world: world.pct.after("pct snapshot", lambda: edit(world, "#golden\n", "#other\n")),
        lambda world: world.pct.after("pct snapshot", lambda: edit(world, "snaptime", "snapstate: prepare\nsnaptime")),
    ],
    ids=["missing", "other-description", "incomplete"],
)
def test_a_snapshot_that_is_not_there_as_it_was_taken(world: World, spoil: Callable[[World], None]) -> None:
    spoil(world)
    with pytest.raises(PhoenixError) as raised:
        world.snapshot(ctid=105, name="zz", description="golden")
    assert str(raised.value) == (
        "snapshot 'zz' of container 105 is not there as it was taken. "
        "Look at `pct listsnapshot 105` and the node's task log."
    )
    assert raised.value.code is Code.SNAPSHOT


def test_a_snapshot_that_is_still_there(world: World) -> None:
    world.pct.on("pct delsnapshot", ok())
    with pytest.raises(PhoenixError) as raised:
        world.snapshot(ctid=105, name="live1", state="absent")
    assert raised.value.reason == "snapshot 'live1' of container 105 is still there after PVE deleted it"


def edit(world: World, old: str, new: str) -> None:
    """In the last section, which is that of the new snapshot."""
    head, header, tail = world.fake.conf_text(105).partition("[zz]")
    world.fake.conf(105, head + header + tail.replace(old, new))
