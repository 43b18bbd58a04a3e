# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._cloning import ClonePlan, Cloning
from ansible_collections.phoenix.hypervisor.plugins.module_utils._creation import UNFINISHED
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._pct import Pct
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.worlds import (
    BASE,
    CLONE,
    PARENT,
    World,
    container_arguments,
)

TEMPLATE = """\
arch: amd64
hostname: lk
mp0: local-zfs:basevol-205-disk-1,mp=/data,size=1G
net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:33:B7:2D,ip=dhcp,type=veth
rootfs: local-zfs:basevol-205-disk-0,size=2G
template: 1
unprivileged: 1
unused0: local-zfs:subvol-205-disk-2
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def plan_of(world: World, **arguments: t.Any) -> ClonePlan:
    """The plan, for which nothing is started or written."""
    before = world.tree()
    try:
        return Cloning(Pct(world.fake.node, world.pct)).plan(container_arguments(**arguments), 600)
    finally:
        assert world.pct.commands == []
        assert world.tree() == before


def clone(**suboptions: t.Any) -> dict[str, t.Any]:
    return {**CLONE, "clone": {"from": 900, "snapshot": "base-snapshot", **suboptions}}


def refusal(world: World, **arguments: t.Any) -> PhoenixError:
    with pytest.raises(PhoenixError) as raised:
        plan_of(world, **arguments)
    return raised.value


def test_a_plan_from_a_snapshot(world: World) -> None:
    plan = plan_of(world, **CLONE)
    assert (plan.snapshot, plan.full, plan.hostname, plan.storage, plan.timeout) == (
        "base-snapshot",
        True,
        "BaseTemplateDocker",
        None,
        600,
    )
    assert plan.description == "900@base-snapshot"
    assert plan.gpu_keys == ("dev0", "lxc.cgroup2.devices.allow", "lxc.mount.entry")
    assert plan.config["net0"] == "name=eth0,bridge=vmbr0,gw=10.0.0.1,ip=10.0.0.200/24,type=veth"
    assert plan.config["memory"] == "4096"


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        pytest.param("lxc.cgroup2.devices.allow: c 195:* rwm", ("lxc.cgroup2.devices.allow",), id="wildcard"),
        pytest.param(
            "lxc.mount.entry: /usr/lib/x86_64-linux-gnu/libcuda.so.1 usr/lib/x86_64-linux-gnu/libcuda.so.1 none bind",
            ("lxc.mount.entry",),
            id="library",
        ),
        pytest.param("lxc.mount.entry: /dev/zero dev/testzero none bind,create=file", (), id="somebody-elses"),
    ],
)
def test_the_gpu_lines_that_a_clone_has_to_lose(world: World, line: str, keys: tuple[str, ...]) -> None:
    world.fake.conf(900, f"arch: amd64\nrootfs: local-zfs:subvol-900-disk-0,size=2G\n{line}\n")
    assert plan_of(world, ctid=902, clone={"from": 900}).gpu_keys == keys


def test_a_plan_from_the_container_as_it_is(world: World) -> None:
    world.fake.conf(900, f"#now\n{BASE % ('', '')}".replace("memory: 4096", "memory: 700"))
    plan = plan_of(world, **{**CLONE, "clone": {"from": 900}})
    assert (plan.snapshot, plan.full, plan.description) == (None, True, "900")
    assert plan.config["memory"] == "700"
    assert plan.config["description"] == "now\n"


def test_what_waits_for_a_restart_of_the_source_is_not_copied(world: World) -> None:
    world.fake.conf(900, BASE % ("", "") + "\n[pve:pending]\nmemory: 700\ndelete: features\n")
    plan = plan_of(world, **{**CLONE, "clone": {"from": 900}})
    assert (plan.config["memory"], plan.config["features"]) == ("4096", "nesting=1")


def test_the_snapshot_counts_and_not_the_container(world: World) -> None:
    """Section 5: from a snapshot the config is the snapshot's."""
    world.fake.conf(900, PARENT.replace("memory: 4096", "memory: 700", 1))
    assert plan_of(world, **CLONE).config["memory"] == "4096"


@pytest.mark.parametrize(
    ("method", "full"), [("auto", False), ("linked", False), ("full", True)], ids=["auto", "linked", "full"]
)
def test_methods_of_a_template(world: World, method: str, full: bool) -> None:
    world.fake.conf(205, TEMPLATE)
    plan = plan_of(world, ctid=206, clone={"from": 205, "method": method})
    assert plan.full is full
    assert not {"template", "unused0", "lock", "parent"} & plan.config.keys()


@pytest.mark.parametrize("method", ["auto", "full"])
def test_methods_of_an_ordinary_container(world: World, method: str) -> None:
    assert plan_of(world, **clone(method=method)).full is True


@pytest.mark.parametrize(
    ("given", "storage"),
    [
        ({}, None),
        ({"clone": {"from": 205, "method": "full", "storage": "local-dir"}}, "local-dir"),
        ({"clone": {"from": 205, "method": "full", "storage": "local-zfs"}}, None),
        ({"rootfs": {"storage": "local-dir"}, "clone": {"from": 205, "method": "full"}}, "local-dir"),
        ({"rootfs": {"storage": "local-zfs", "size_gb": 2}}, None),
    ],
    ids=["not-said", "another", "the-same", "by-rootfs", "by-rootfs-the-same"],
)
def test_the_storage_of_the_copy(world: World, given: dict[str, t.Any], storage: str | None) -> None:
    world.fake.conf(205, TEMPLATE)
    plan = plan_of(world, **{"ctid": 206, "clone": {"from": 205}, **given})
    assert plan.storage == storage
    name = storage or "local-zfs"
    assert plan.config["rootfs"] == f"{name}:basevol-205-disk-0,size=2G"
    assert plan.config["mp0"] == f"{name}:basevol-205-disk-1,mp=/data,size=1G"


def test_the_clone_is_made_as_planned(world: World) -> None:
    world.fake.conf(205, TEMPLATE)
    cloning = Cloning(Pct(world.fake.node, world.pct))
    arguments = container_arguments(ctid=206, clone={"from": 205}, hostname="lk2")
    assert list(cloning.clone(cloning.plan(arguments, 600), 206)) == []
    assert world.pct.commands == [f"pct clone 205 206 --full 0 --hostname lk2 --description '{UNFINISHED}'"]


_COW = "Use full (a copy), or linked from a PVE template."
_LINKED = "Use full, or convert the source (`pct template`; it can then never be started or snapshotted again)."
REFUSED: dict[str, tuple[dict[str, t.Any], Code, str]] = {
    "cow": (
        clone(method="cow"),
        Code.INPUT,
        f"clone.method: 'cow' is not available in this version. {_COW}",
    ),
    "linked": (
        clone(method="linked"),
        Code.INPUT,
        f"clone.method: 'linked' needs a PVE template, and container 900 is none. {_LINKED}",
    ),
    "source-missing": (
        clone(**{"from": 899}),
        Code.NO_CONTAINER,
        "clone.from: 899 does not exist on node pve1. Make the source first, or correct the id.",
    ),
    "snapshot-missing": (
        clone(snapshot="base"),
        Code.SNAPSHOT,
        (
            "clone.snapshot: container 900 has no snapshot 'base'. It has: base-snapshot. "
            "Seal the source first (phoenix.hypervisor.lxc_snapshot), or correct the name."
        ),
    ),
    "unprivileged": (
        {**CLONE, "unprivileged": True},
        Code.INPUT,
        (
            "unprivileged: 'true' cannot be had by a clone, container 900 is privileged and PVE copies that. "
            "Clone from a container of the other kind, or make this one from a template (ostemplate)."
        ),
    ),
    "address": (
        {**CLONE, "networks": None},
        Code.INPUT,
        (
            "networks is missing: the clone would take over the address 10.0.0.200/24 (net0.ip) of container 900. "
            "Give networks with the clone's own address."
        ),
    ),
}


@pytest.mark.parametrize(("arguments", "code", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(world: World, arguments: dict[str, t.Any], code: Code, message: str) -> None:
    error = refusal(world, **arguments)
    assert str(error) == message
    assert error.code is code


def test_a_source_without_any_snapshot(world: World) -> None:
    world.fake.conf(900, BASE % ("", ""))
    assert refusal(world, **CLONE).remedy.startswith("It has: none. Seal the source first")


def test_a_source_that_is_a_machine_elsewhere(world: World) -> None:
    world.fake.guest_elsewhere(899)
    assert refusal(world, **clone(**{"from": 899})).reason == (
        "clone.from: 899 is not a container of node pve1, it is VM 899 on node pve2"
    )


def test_a_running_source_needs_a_snapshot(world: World) -> None:
    """Section 5, "clone running CT without --snapname"."""
    world.fake.run_container(900)
    error = refusal(world, **{**CLONE, "clone": {"from": 900}})
    assert str(error) == (
        "clone.from: container 900 is running, and PVE copies a running container only from a snapshot. "
        "Name one of its snapshots in clone.snapshot, or stop it."
    )
    assert error.code is Code.POWER
    assert plan_of(world, **CLONE).full is True


def test_a_bind_mount_in_the_source(world: World) -> None:
    """Section 5, "clone with a bind mount mp in the source"."""
    world.fake.conf(900, (BASE % ("", "")).replace("net0:", "mp2: /srv,mp=/srv\nnet0:"))
    error = refusal(world, **{**CLONE, "clone": {"from": 900}})
    assert str(error) == (
        "clone.from: container 900 has a bind mount (mp2: /srv), which PVE does not clone. "
        "Remove mp2 from the source and give the directory to the clone with mounts."
    )
    assert error.code is Code.INPUT


def test_an_incomplete_snapshot(world: World) -> None:
    """Section 4, "snapshot while snapshot section is 'prepare'"."""
    world.fake.conf(900, f"{PARENT}\n[halfway]\nsnapstate: prepare\nsnaptime: 1\n")
    error = refusal(world, **clone(snapshot="halfway"))
    assert str(error) == (
        "clone.snapshot: snapshot 'halfway' of container 900 is incomplete (snapstate: prepare). "
        "Delete it (`pct delsnapshot 900 halfway --force 1`) and take it again."
    )
    assert error.code is Code.SNAPSHOT


def test_a_linked_clone_stays_where_its_base_is(world: World) -> None:
    """Section 5: parameter 'storage' not allowed for linked clones."""
    world.fake.conf(205, TEMPLATE)
    error = refusal(world, ctid=206, clone={"from": 205, "storage": "local-dir"})
    assert str(error) == (
        "clone.storage: 'local-dir' is not where the volumes of container 205 are, and a linked clone shares them. "
        "Leave the storage out, or use method: full."
    )


def test_an_unprivileged_source(world: World) -> None:
    world.fake.conf(205, TEMPLATE)
    assert plan_of(world, ctid=206, clone={"from": 205}, unprivileged=True).config["unprivileged"] == "1"
    assert "container 205 is unprivileged" in str(refusal(world, ctid=206, clone={"from": 205}, unprivileged=False))


def test_no_networks_are_needed_where_no_address_is_fixed(world: World) -> None:
    world.fake.conf(205, TEMPLATE)
    assert plan_of(world, ctid=206, clone={"from": 205}).config["net0"].endswith(",ip=dhcp,type=veth")


@pytest.mark.parametrize("networks", [[], [{"name": "eth0", "bridge": "vmbr0", "ip": "dhcp"}]], ids=["none", "dhcp"])
def test_networks_that_are_given_decide(world: World, networks: list[t.Any]) -> None:
    assert plan_of(world, **{**CLONE, "networks": networks})
