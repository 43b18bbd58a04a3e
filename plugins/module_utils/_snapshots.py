# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# A snapshot made, removed, or gone back to. What PVE would refuse is found before the container is touched, and
# whatever fails in between, the container ends up in the power state that it had.

from __future__ import annotations

import contextlib
import dataclasses
import json
import typing as t
from collections.abc import Callable, Iterator, Mapping

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import (
    Guest,
    Guests,
    check_complete,
    check_ctid,
    check_nothing_dropped,
    check_snapshot_name,
    check_timeout,
    must_wait,
    no_container,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._recipe import (
    describe,
    read_description,
    snapshot_facts,
)


@dataclasses.dataclass(frozen=True)
class Request:
    """What a task asks for."""

    ctid: int
    name: str
    state: str
    description: str
    metadata: Mapping[str, t.Any] | None
    power: str
    replace: bool
    timeout: float


class Snapshots:
    def __init__(self, guests: Guests, request: Request, *, check_mode: bool) -> None:
        self._guests = guests
        self._request = request
        self._check_mode = check_mode
        self._actions: list[str] = []

    def run(self) -> dict[str, t.Any]:
        request = self._request
        check_ctid(request.ctid)
        check_timeout(request.timeout)
        check_snapshot_name(request.name)
        guest = self._settled()
        exists = request.name in guest.snapshots
        before = _described(guest, request.name) if exists else ""
        act = {"present": self._present, "absent": self._absent, "rolled_back": self._rolled_back}[request.state]
        act(guest)
        return self._result(guest, before)

    def _settled(self) -> Guest:
        guest = self._existing()
        if not self._check_mode and must_wait(guest, Snapshots(self._guests, self._request, check_mode=True).run):
            self._guests.wait_unlocked(guest.ctid, timeout=self._request.timeout)
            guest = self._existing()
        return guest

    def _existing(self) -> Guest:
        ctid = self._request.ctid
        guest = self._guests.read(ctid)
        if guest is None:
            raise no_container(ctid, self._guests.node_name, self._guests.owner_of(ctid))
        return guest

    def _present(self, guest: Guest) -> None:
        request = self._request
        if request.name in guest.snapshots and not request.replace:
            self._check_same(guest)
            return
        self._check_changeable(guest)
        if obstacle := self._guests.snapshot_obstacle(guest):
            raise obstacle
        text = describe(request.description, request.metadata or {})
        replaced = request.name in guest.snapshots
        if replaced:
            self._check_no_dependents(guest)
        with self._power(guest):
            if replaced:
                self._do(f"deleted {request.name}", self._delete)
            self._do(
                f"took {request.name}",
                lambda: self._guests.snapshot(guest.ctid, request.name, text, timeout=request.timeout),
            )

    def _check_changeable(self, guest: Guest) -> None:
        self._guests.check_possible({}, current=guest)
        check_nothing_dropped(guest.ctid, guest.dropped)

    def _check_same(self, guest: Guest) -> None:
        """A snapshot that is there is the one that is meant, unless it says something else about itself."""
        request = self._request
        check_complete(guest, request.name)
        found = read_description(guest.snapshots[request.name].description)[1]
        if request.metadata is not None and dict(request.metadata) != found:
            differing = sorted({key for key, _value in _items(request.metadata) ^ _items(found)})
            raise PhoenixError(
                f"the name {request.name!r} is taken on container {guest.ctid} by a snapshot with other metadata "
                f"({', '.join(differing)})",
                remedy="Set replace: true to take it anew, or choose another name. This module changed nothing.",
                code=Code.SNAPSHOT,
                metadata=found,
            )

    def _absent(self, guest: Guest) -> None:
        if self._request.name in guest.snapshots:
            self._check_changeable(guest)
            self._check_no_dependents(guest)
            self._do(f"deleted {self._request.name}", self._delete)

    def _delete(self) -> None:
        self._guests.delete_snapshot(self._request.ctid, self._request.name, timeout=self._request.timeout)

    def _check_no_dependents(self, guest: Guest) -> None:
        clones = self._guests.dependents(guest, self._request.name)
        if clones:
            raise PhoenixError(
                f"snapshot {self._request.name!r} of container {guest.ctid} cannot go: {', '.join(clones)} live on it",
                remedy="Remove the containers of these volumes first. This module changed nothing.",
                code=Code.SNAPSHOT,
            )

    def _rolled_back(self, guest: Guest) -> None:
        request = self._request
        if request.name not in guest.snapshots:
            raise PhoenixError(
                f"container {guest.ctid} has no snapshot {request.name!r}",
                remedy=f"It has: {', '.join(sorted(guest.snapshots)) or 'none'}.",
                code=Code.SNAPSHOT,
            )
        check_complete(guest, request.name)
        target = guest.snapshots[request.name]
        newer = sorted(snapshot.name for snapshot in guest.snapshots.values() if snapshot.time > target.time)
        if newer and self._guests.newest_only_rollback(guest):
            raise PhoenixError(
                f"snapshot {request.name!r} of container {guest.ctid} is not the newest, and ZFS goes back to the "
                f"newest only; newer: {', '.join(newer)}",
                remedy="Delete the newer snapshots first (state: absent), newest first, if they may be lost. "
                "This module changed nothing.",
                code=Code.SNAPSHOT,
            )
        self._check_changeable(guest)
        with self._power(guest, cycle=True):
            self._do(
                f"went back to {request.name}",
                lambda: self._guests.rollback(guest.ctid, request.name, timeout=request.timeout),
            )

    @contextlib.contextmanager
    def _power(self, guest: Guest, *, cycle: bool = False) -> Iterator[None]:
        """Off for the time of the block where that is asked for, and back to what it was however the block ends."""
        if not guest.running or not (cycle or self._request.power == "cycle"):
            yield
            return
        self._check_startable(guest, cycle=cycle)
        try:
            self._do("shut down", lambda: self._guests.shutdown(guest.ctid, timeout=self._request.timeout))
            yield
        except PhoenixError as error:
            raise error.with_context(self._brought_back(guest.ctid)) from error
        self._do("started", lambda: self._guests.start(guest.ctid, timeout=self._request.timeout))

    def _check_startable(self, guest: Guest, *, cycle: bool) -> None:
        """What a rollback brings back is not what runs now, but what is started in the end."""
        if not cycle:
            self._guests.check_startable(guest.ctid, guest.wanted, guest.raw)
            return
        started = guest.snapshot_configs[self._request.name]
        try:
            self._guests.check_startable(guest.ctid, started.config, started.raw)
        except PhoenixError as error:
            raise PhoenixError(
                f"after a rollback to {self._request.name}, {error.reason}",
                remedy="Bring it back. Or stop the container (phoenix.hypervisor.lxc_container with state: stopped), "
                "go back to the snapshot, and take the entry that names it out before the container is started.",
                code=error.code,
            ) from error

    def _brought_back(self, ctid: int) -> str:
        guest = self._guests.read(ctid)
        if guest is not None and guest.running:
            return "The container is still running"
        try:
            self._guests.start(ctid, timeout=self._request.timeout)
        except PhoenixError as error:
            return f"The container is stopped and could not be started again: {error.reason}"
        return "The container was started again"

    def _do(self, what: str, action: Callable[[], object]) -> None:
        if not self._check_mode:
            try:
                action()
            except PhoenixError as error:
                if not self._actions:
                    raise
                raise error.with_context(f"Done before: {', '.join(self._actions)}") from error
        self._actions.append(what)

    def _result(self, guest: Guest, before: str) -> dict[str, t.Any]:
        request = self._request
        now = guest if self._check_mode or not self._actions else self._existing()
        wanted = describe(request.description, request.metadata or {})
        if request.state == "absent":
            after = ""
            self._check_gone(now)
        elif self._actions and request.state == "present":
            after = f"{request.name}: {wanted}\n"
            self._check_taken(now, wanted)
        else:
            after = before
        rolled = "".join(f"{action}\n" for action in self._actions if request.state == "rolled_back")
        return {
            "changed": bool(self._actions),
            "ctid": request.ctid,
            "name": request.name,
            "actions": self._actions,
            "running": now.running,
            "snapshot": _facts(now, request.name),
            "snapshots": [_facts(now, name) for name in now.snapshots],
            "diff": {"before": before, "after": after + rolled},
        }

    def _check_gone(self, guest: Guest) -> None:
        if self._request.name in guest.snapshots and not self._check_mode:
            raise PhoenixError(
                f"snapshot {self._request.name!r} of container {guest.ctid} is still there after PVE deleted it",
                remedy=f"Look at `pct listsnapshot {guest.ctid}` and the node's task log.",
                code=Code.SNAPSHOT,
            )

    def _check_taken(self, guest: Guest, wanted: str) -> None:
        if self._check_mode:
            return
        snapshot = guest.snapshots.get(self._request.name)
        if snapshot is None or snapshot.state or snapshot.description.strip("\n") != wanted.strip("\n"):
            raise PhoenixError(
                f"snapshot {self._request.name!r} of container {guest.ctid} is not there as it was taken",
                remedy=f"Look at `pct listsnapshot {guest.ctid}` and the node's task log.",
                code=Code.SNAPSHOT,
            )


def _items(metadata: Mapping[str, t.Any]) -> set[tuple[str, str]]:
    """The data as values that can be compared as a set; JSON tells 1 from "1"."""
    return {(key, json.dumps(value, sort_keys=True)) for key, value in metadata.items()}


def _described(guest: Guest, name: str) -> str:
    text = guest.snapshots[name].description.rstrip("\n")
    return f"{name}: {text}\n"


def _facts(guest: Guest, name: str) -> dict[str, t.Any] | None:
    snapshot = guest.snapshots.get(name)
    return snapshot_facts(snapshot) if snapshot else None
