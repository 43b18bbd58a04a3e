# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import (
    Guest,
    check_ctid,
    check_timeout,
    must_wait,
    no_container,
    took,
)


def guest(
    config: dict[str, str] | None = None,
    *,
    running: bool = False,
    pending: dict[str, str] | None = None,
    pending_delete: frozenset[str] = frozenset(),
) -> Guest:
    return Guest(101, running, config or {}, pending=pending or {}, pending_delete=pending_delete)


def test_what_is_read_out_of_the_configuration() -> None:
    configured = guest({"lock": "backup", "unprivileged": "1", "template": "1"})
    assert (configured.lock, configured.unprivileged, configured.is_pve_template) == ("backup", True, True)
    bare = guest({})
    assert (bare.lock, bare.unprivileged, bare.is_pve_template) == ("", False, False)


@pytest.mark.parametrize(
    ("running", "pending", "pending_delete", "required"),
    [
        (True, {"features": "nesting=1"}, frozenset(), True),
        (True, {}, frozenset({"dev0"}), True),
        (True, {}, frozenset(), False),
        # PVE applies what is pending when the container starts.
        (False, {"features": "nesting=1"}, frozenset({"dev0"}), False),
    ],
)
def test_when_a_restart_is_required(
    running: bool, pending: dict[str, str], pending_delete: frozenset[str], required: bool
) -> None:
    assert guest(running=running, pending=pending, pending_delete=pending_delete).restart_required is required


def test_wanted_is_what_a_restart_makes_of_it() -> None:
    # PVE deletes first and sets afterwards, so a key that is pending for both keeps its new value.
    parked = guest(
        {"memory": "512", "mp0": "a:b,mp=/x", "dev0": "/dev/a", "features": "nesting=1"},
        pending={"dev0": "/dev/b", "features": "keyctl=1"},
        pending_delete=frozenset({"mp0", "dev0"}),
    )
    assert parked.wanted == {"memory": "512", "dev0": "/dev/b", "features": "keyctl=1"}


@pytest.mark.parametrize(
    ("key", "config"),
    [
        *((key, {key: "1"}) for key in "memory swap cpulimit cpuunits net0 net12 cores hostname tags".split()),
        *((key, {}) for key in "onboot startup protection hookscript lock description net1 mp3 dev0".split()),
    ],
)
def test_what_a_running_container_takes_at_once(key: str, config: dict[str, str]) -> None:
    """facts/pct, "set"."""
    changed = guest(config, running=True).changed({key: "2"})
    assert (changed.config, changed.restart_required) == ({key: "2"}, False)


@pytest.mark.parametrize("key", ["features", "nameserver", "mp0", "dev1", "rootfs", "tty", "netting", "cores2"])
def test_what_is_parked(key: str) -> None:
    found = guest({key: "1"}, running=True)
    changed = found.changed({key: "2"})
    assert (changed.config, changed.pending, changed.restart_required) == ({key: "1"}, {key: "2"}, True)
    assert changed.changed({key: "1"}) == found
    gone = found.changed({}, [key])
    assert (gone.config, gone.pending_delete) == ({key: "1"}, {key})
    assert gone.changed({key: "3"}).wanted == {key: "3"}


def test_what_is_deleted_at_once_and_what_is_not_there() -> None:
    found = guest({"net0": "x", "swap": "1", "memory": "2"}, running=True)
    assert found.changed({}, ["net0", "swap", "features"]) == guest({"memory": "2"}, running=True)


def test_a_stopped_container_takes_everything() -> None:
    found = guest({"features": "nesting=1", "nameserver": "10.0.0.1"}, pending={"tty": "1"})
    changed = found.changed({"features": "keyctl=1"}, ["nameserver"])
    assert (changed.config, changed.pending) == ({"features": "keyctl=1"}, {"tty": "1"})


@pytest.mark.parametrize(
    ("lock", "changed", "waits"),
    [
        ("", True, False),
        ("backup", True, True),
        ("backup", False, False),
        ("fstrim", False, False),
        ("mounted", False, False),
        ("create", False, True),
        ("disk", False, True),
        ("rollback", False, True),
        ("snapshot", False, True),
        ("a lock of later", False, True),
    ],
)
def test_what_a_lock_is_waited_for(lock: str, changed: bool, waits: bool) -> None:
    locked = guest({"lock": lock} if lock else {})
    assert must_wait(locked, lambda: {"changed": changed}) is waits


def test_a_failure_under_a_lock_is_no_verdict_yet() -> None:
    def refused() -> dict[str, object]:
        raise PhoenixError("the backup's own snapshot is newer", remedy="Delete it.")

    assert must_wait(guest({"lock": "backup"}), refused)


NET0 = "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:48:AC:F9,type=veth"


@pytest.mark.parametrize(
    ("options", "delete", "taken"),
    [
        ({"memory": "512", "description": "text"}, ["swap"], True),
        ({"memory": "513"}, [], False),
        ({"swap": "0"}, [], False),
        ({}, ["memory"], False),
        ({"net0": "bridge=vmbr0,name=eth0"}, [], True),
        ({"net0": "bridge=vmbr1,name=eth0"}, [], False),
        ({"mp0": "local-zfs:8,mp=/data,backup=1"}, [], True),
        ({"mp0": "local-zfs:8,mp=/elsewhere,backup=1"}, [], False),
        ({"mp0": "other:8,mp=/data,backup=1"}, [], False),
        ({"mp0": "local-zfs:subvol-101-disk-2,mp=/data,backup=1"}, [], False),
        ({"mp1": "/srv,mp=/srv"}, [], True),
    ],
)
def test_whether_pve_took_a_change(options: dict[str, str], delete: list[str], taken: bool) -> None:
    config = {
        "memory": "512",
        "description": "text\n",
        "net0": NET0,
        "mp0": "local-zfs:subvol-101-disk-1,backup=1,mp=/data,size=8G",
        "mp1": "/srv,mp=/srv",
    }
    assert took(config, options, delete) is taken


def test_no_container() -> None:
    error = no_container(999, "pve1")
    assert error.reason == "ctid: 999 does not exist on node pve1"
    assert error.remedy == "Create it first (phoenix.hypervisor.lxc_container), or correct the id."
    assert error.code is Code.NO_CONTAINER


def test_an_id_that_somebody_else_has() -> None:
    error = no_container(105, "pve1", "VM 105 on node pve2")
    assert error.reason == "ctid: 105 is not a container of node pve1, it is VM 105 on node pve2"
    assert error.code is Code.INPUT


@pytest.mark.parametrize("ctid", [100, 999_999_999])
def test_ids_that_pve_accepts(ctid: int) -> None:
    check_ctid(ctid)


@pytest.mark.parametrize("ctid", [-1, 0, 99, 1_000_000_000])
def test_ids_that_pve_refuses(ctid: int) -> None:
    with pytest.raises(PhoenixError) as caught:
        check_ctid(ctid)
    assert caught.value.reason == f"ctid: {ctid} is not an id that PVE accepts"
    assert caught.value.remedy == "Use a number from 100 to 999999999."
    assert caught.value.code is Code.INPUT


def test_a_timeout_leaves_time() -> None:
    check_timeout(0.5)
    for timeout in (0, -1):
        with pytest.raises(PhoenixError, match=f"timeout: {timeout} leaves no time to do anything") as caught:
            check_timeout(timeout)
        assert caught.value.code is Code.INPUT
    with pytest.raises(PhoenixError, match="copy_timeout: 0 leaves no time to do anything"):
        check_timeout(0, "copy_timeout")
