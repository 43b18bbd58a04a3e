# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# The one interface over the two ways to act on containers: _pct on the node, _api from anywhere.

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Callable, Mapping, Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError, invalid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._lxc_config import parse_properties

CTID_MIN = 100
CTID_MAX = 999_999_999

# The locks of tasks that change neither the configuration nor the snapshots that are there.
_LEAVES_ALONE = frozenset({"backup", "fstrim", "mounted"})

_DEVICE_MISSING = re.compile(r"Device \S+ does not exist")
_NEW_VOLUME = re.compile(r"([^:/,=]+:)[\d.]+(?=,|$)")

_RESERVED_SNAPSHOTS = ("current", "vzdump")
# What PVE changes in a running container, and what of it only where there was nothing yet.
_HOT = re.compile(
    "memory|swap|cpulimit|cpuunits|description|onboot|startup|protection|hostname|hookscript|cores|tags|lock"
    r"|(?:net|unused)\d+"
)
_HOT_IF_NEW = re.compile(r"(?:mp|dev)\d+")
_SNAPSHOT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{1,39}")


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """One snapshot as the configuration tells it."""

    name: str
    description: str = ""
    parent: str = ""
    time: int = 0
    state: str = ""
    """C(prepare) or C(delete) when an operation on it was cut short, else empty."""


@dataclasses.dataclass(frozen=True)
class Guest:
    """What PVE holds about one container, whichever way it was read."""

    ctid: int
    running: bool
    config: Mapping[str, str]
    """The effective plain keys; C(description) decoded."""
    raw: tuple[tuple[str, str], ...] = ()
    """The C(lxc.*) lines in their order."""
    pending: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pending_delete: frozenset[str] = frozenset()
    snapshots: Mapping[str, Snapshot] = dataclasses.field(default_factory=dict)
    snapshot_configs: Mapping[str, SnapshotConfig] = dataclasses.field(default_factory=dict)
    digest: str = ""
    dropped: tuple[str, ...] = ()
    """Lines that PVE does not understand and deletes at its next write, as far as they can be seen."""

    @property
    def lock(self) -> str:
        return self.config.get("lock", "")

    @property
    def unprivileged(self) -> bool:
        return self.config.get("unprivileged") == "1"

    @property
    def is_pve_template(self) -> bool:
        return self.config.get("template") == "1"

    @property
    def restart_required(self) -> bool:
        """A running container has settings parked that only a restart applies."""
        return self.running and bool(self.pending or self.pending_delete)

    @property
    def wanted(self) -> dict[str, str]:
        """The plain keys as they will be once everything pending is applied."""
        merged = {key: value for key, value in self.config.items() if key not in self.pending_delete}
        return {**merged, **self.pending}

    def changed(self, options: Mapping[str, str], delete: Sequence[str] = ()) -> Guest:
        """As it will be after these changes: a running container takes some of them at once, others are parked."""
        config, pending = dict(self.config), {**self.pending, **options}
        waiting = {*self.pending_delete, *delete} - options.keys()
        for key in filter(self._takes_at_once, delete):
            config.pop(key, None)
        for key, value in options.items():
            # PVE forgets what would change nothing.
            if self._takes_at_once(key) or self.config.get(key) == value:
                config[key] = pending.pop(key)
        left = frozenset(waiting & config.keys())
        return dataclasses.replace(self, config=config, pending=pending, pending_delete=left)

    def _takes_at_once(self, key: str) -> bool:
        new = _HOT_IF_NEW.fullmatch(key) and key not in self.config
        return not self.running or bool(new or _HOT.fullmatch(key))


@dataclasses.dataclass(frozen=True)
class SnapshotConfig:
    """The configuration that a snapshot would bring back."""

    config: Mapping[str, str]
    raw: tuple[tuple[str, str], ...] = ()


Interrupted = t.Literal["", "half-made", "unfinished"]


class Guests(t.Protocol):
    """Reads and acts on the containers of one node. Every failure is a PhoenixError; success returns warnings.

    Options are PVE's own names and string values: C({"memory": "2048", "onboot": "1"}).
    A call returns when PVE says it is done, or raises once C(timeout) seconds have passed.
    """

    @property
    def node_name(self) -> str: ...

    def read(self, ctid: int) -> Guest | None:
        """The container, or None when this node has none with that id."""

    def owner_of(self, ctid: int) -> str | None:
        """Who else has that id, in words ("VM 105 on node pve2"), or None."""

    def check_possible(
        self,
        options: Mapping[str, str],
        *,
        delete: Sequence[str] = (),
        current: Guest | SnapshotConfig | None = None,
        creating: bool = False,
    ) -> None:
        """Raise if this way of acting can never do that, before anything is tried."""

    def check_place(self, *, storages: Sequence[str], bridges: Sequence[str], ostemplate: str | None) -> None:
        """Raise if a storage, bridge or template that is about to be used is not there."""

    def create(
        self,
        ctid: int,
        ostemplate: str,
        options: Mapping[str, str],
        *,
        ssh_public_keys: Sequence[str] = (),
        timeout: float,
    ) -> Sequence[str]: ...

    def clone(
        self,
        source: int,
        ctid: int,
        *,
        snapshot: str | None,
        full: bool,
        hostname: str | None,
        storage: str | None,
        timeout: float,
    ) -> Sequence[str]: ...

    def set(
        self,
        ctid: int,
        options: Mapping[str, str],
        *,
        delete: Sequence[str] = (),
        digest: str = "",
        timeout: float,
    ) -> Sequence[str]: ...

    def resize(self, ctid: int, disk: str, size: str, *, timeout: float) -> Sequence[str]: ...

    def start(self, ctid: int, *, timeout: float) -> Sequence[str]: ...

    def stop(self, ctid: int, *, timeout: float) -> Sequence[str]: ...

    def shutdown(self, ctid: int, *, timeout: float) -> Sequence[str]: ...

    def destroy(self, ctid: int, *, timeout: float) -> Sequence[str]: ...

    def snapshot(self, ctid: int, name: str, description: str, *, timeout: float) -> Sequence[str]: ...

    def delete_snapshot(self, ctid: int, name: str, *, timeout: float) -> Sequence[str]: ...

    def rollback(self, ctid: int, name: str, *, timeout: float) -> Sequence[str]: ...

    def snapshot_obstacle(self, guest: Guest) -> PhoenixError | None:
        """Why PVE would refuse to snapshot it, with the remedy, or None."""

    def check_startable(self, ctid: int, options: Mapping[str, str], raw: Sequence[tuple[str, str]]) -> None:
        """Raise if something on the node would keep a container with these options and lines from starting."""

    def dependents(self, guest: Guest, snapshot: str) -> Sequence[str]:
        """The volumes that were cloned from a snapshot and would not survive it."""

    def newest_only_rollback(self, guest: Guest) -> bool:
        """Whether a storage of that container can go back to its newest snapshot only (ZFS)."""

    def wait_unlocked(self, ctid: int, *, timeout: float) -> None:
        """Wait until no task holds the container; whoever holds it too long is named."""

    def interrupted(self, ctid: int, guest: Guest | None) -> Interrupted:
        """What a creation of ours that was cut short has left under that id; a stranger's half-made one raises."""

    def clear(self, ctid: int) -> None:
        """Remove what a creation of ours left half-made."""

    def finished(self, ctid: int) -> None:
        """The container that was created or cloned has got all its settings."""

    def check_inside(self) -> None:
        """Raise if this way of acting cannot look into running containers."""

    def booted(self, ctid: int) -> str:
        """What systemd inside says of itself ("running", "starting", "" when it does not answer yet)."""

    def addresses(self, ctid: int) -> Sequence[str]:
        """The container's own addresses, without loopback and link-local ones."""

    def resolves(self, ctid: int) -> bool:
        """Whether names can be resolved inside."""


def described(guest: Guest) -> dict[str, t.Any]:
    """A container as a result tells it."""
    networks = {key: parse_properties(value) for key, value in guest.config.items() if key.startswith("net")}
    return {
        "running": guest.running,
        "config": dict(guest.config),
        "pending": dict(guest.pending),
        "pending_delete": sorted(guest.pending_delete),
        "networks": networks,
        "snapshots": sorted(guest.snapshots),
        "unprivileged": guest.unprivileged,
        "digest": guest.digest,
    }


def must_wait(guest: Guest, dry_run: Callable[[], Mapping[str, t.Any]]) -> bool:
    """Whether a container's lock has to go first: it may still change what is decided on, or there is work to do.

    A backup takes hours, and who finds everything as it should be need not wait for its end.
    """
    if guest.lock not in _LEAVES_ALONE:
        return bool(guest.lock)
    try:
        return bool(dry_run()["changed"])
    except PhoenixError:
        # It may be about what the task does meanwhile, a backup's own snapshot for one; afterwards it is judged again.
        return True


def device_missing(error: PhoenixError) -> bool:
    """PVE writes a change and only then looks at the devices. Where one is gone, it answers as if nothing was done."""
    return _DEVICE_MISSING.search(error.reason) is not None


def taken_after_all(error: PhoenixError, *, taken: bool) -> str:
    """The warning that is left of an error behind which the change was written; the error itself if it was not."""
    if not taken:
        raise error.with_context("Read again, the configuration does not show the change") from None
    found = _DEVICE_MISSING.search(error.reason)
    return f"PVE wrote the change, although it answered: {found[0] if found else error.reason}"


def took(config: Mapping[str, str], options: Mapping[str, str], delete: Sequence[str]) -> bool:
    """Whether a configuration, with what is pending, is what a request wanted it to be."""
    return all(_same(key, value, config.get(key)) for key, value in options.items()) and not {*config} & {*delete}


def _same(key: str, asked: str, have: str | None) -> bool:
    if have is None:
        return False
    if key == "description":
        return asked.rstrip("\n") == have.rstrip("\n")
    wanted, present = set(asked.split(",")), set(have.split(","))
    if new := _NEW_VOLUME.match(asked):
        # PVE makes it, names it, and notes its size.
        wanted = {part for part in wanted if part != new[0]}
        present = {part for part in present if not part.startswith((new[1], "size="))}
    # PVE adds these to a network interface by itself.
    added = {part for part in present - wanted if key.startswith("net") and part.startswith(("hwaddr=", "type="))}
    return present - added == wanted


def no_container(ctid: int, node_name: str, owner: str | None = None) -> PhoenixError:
    if owner:
        return PhoenixError(
            f"ctid: {ctid} is not a container of node {node_name}, it is {owner}",
            remedy="Name the id of a container on this node, or run the task on the node that has it.",
            code=Code.INPUT,
        )
    return PhoenixError(
        f"ctid: {ctid} does not exist on node {node_name}",
        remedy="Create it first (phoenix.hypervisor.lxc_container), or correct the id.",
        code=Code.NO_CONTAINER,
    )


def check_ctid(ctid: int) -> None:
    if not CTID_MIN <= ctid <= CTID_MAX:
        raise PhoenixError(
            f"ctid: {ctid} is not an id that PVE accepts",
            remedy=f"Use a number from {CTID_MIN} to {CTID_MAX}.",
            code=Code.INPUT,
        )


def check_nothing_dropped(ctid: int, lines: Sequence[str]) -> None:
    """Nobody's lines may be lost because PVE rewrites the file on behalf of a task."""
    if lines:
        shown = "; ".join(repr(line) for line in lines)
        raise PhoenixError(
            f"/etc/pve/lxc/{ctid}.conf holds what PVE does not understand and deletes at its next write: {shown}",
            remedy="Correct or remove these lines by hand, then run again. This module changed nothing.",
            code=Code.INPUT,
        )


def check_complete(guest: Guest, name: str) -> None:
    """PVE neither goes back to an incomplete snapshot nor takes another of its name."""
    snapshot = guest.snapshots[name]
    if not snapshot.state:
        return
    what = f"snapshot {name!r} of container {guest.ctid} is incomplete (snapstate: {snapshot.state})"
    if guest.lock:
        raise PhoenixError(
            f"{what}, and the container is locked ({guest.lock}): a task on it is at work or was cut short",
            remedy=f"Wait for that task, and run again. If there is none, run `pct unlock {guest.ctid}`, delete the "
            f"snapshot (`pct delsnapshot {guest.ctid} {name} --force 1`), and run again.",
            code=Code.SNAPSHOT,
        )
    raise PhoenixError(
        f"{what}: a task on it was cut short",
        remedy=f"Delete it (`pct delsnapshot {guest.ctid} {name} --force 1`), then run again.",
        code=Code.SNAPSHOT,
    )


def check_timeout(timeout: float, key: str = "timeout") -> None:
    if timeout <= 0:
        raise PhoenixError(
            f"{key}: {timeout:g} leaves no time to do anything",
            remedy="Give seconds above 0.",
            code=Code.INPUT,
        )


def check_snapshot_name(name: str, key: str = "name") -> None:
    if not _SNAPSHOT_NAME.fullmatch(name) or name in _RESERVED_SNAPSHOTS:
        raise invalid(key, name, "is no name that PVE accepts for a snapshot",
                      "Use 2 to 40 letters, digits, _ and -, a letter first; current and vzdump "
                      "are reserved.")  # fmt: skip
