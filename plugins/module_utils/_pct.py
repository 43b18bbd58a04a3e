# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# Acting on the node itself, as root, through pct. What can be read is read from files (see _node): every start of pct
# costs half a second.

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils._creation import (
    UNFINISHED,
    Creation,
    CreationNotes,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError, about
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import (
    Guest,
    Interrupted,
    SnapshotConfig,
    device_missing,
    taken_after_all,
    took,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._inside import Inside
from ansible_collections.phoenix.hypervisor.plugins.module_utils._lxc_config import parse_properties
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node
from ansible_collections.phoenix.hypervisor.plugins.module_utils._pct_errors import explain, obstacle_in
from ansible_collections.phoenix.hypervisor.plugins.module_utils._pct_place import check_place
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Deadline, Runner, run
from ansible_collections.phoenix.hypervisor.plugins.module_utils._startable import needed_to_start

_SETTLING_SECONDS = 10.0
_CLEARING_SECONDS = 60.0
_WARNING = re.compile(r"^WARN: (.*)$", re.MULTILINE)

# Storages that can snapshot a container's volume; images in a directory, for one, cannot.
_SNAPSHOT_STORAGES = frozenset({"zfspool", "btrfs", "lvmthin", "rbd"})


class Pct(Inside):
    """The containers of this node, through pct."""

    def __init__(self, node: Node, runner: Runner = run) -> None:
        super().__init__(node, runner)
        self._notes = CreationNotes(node.root)

    @property
    def node_name(self) -> str:
        return self.node.name

    def read(self, ctid: int) -> Guest | None:
        self.node.check_is_pve()
        return self.node.guest(ctid)

    def owner_of(self, ctid: int) -> str | None:
        return self.node.owner_of(ctid)

    def check_possible(
        self,
        options: Mapping[str, str],
        *,
        delete: Sequence[str] = (),
        current: Guest | SnapshotConfig | None = None,
        creating: bool = False,
    ) -> None:
        """Root on the node may do everything, but nobody can while /etc/pve is read-only."""
        self.node.check_writable()

    def check_place(self, *, storages: Sequence[str], bridges: Sequence[str], ostemplate: str | None) -> None:
        check_place(self.node, storages=storages, bridges=bridges, ostemplate=ostemplate)

    def create(
        self,
        ctid: int,
        ostemplate: str,
        options: Mapping[str, str],
        *,
        ssh_public_keys: Sequence[str] = (),
        timeout: float,
    ) -> Sequence[str]:
        with about(tempfile.gettempdir()), tempfile.NamedTemporaryFile("w", prefix="ssh-public-keys-") as file:
            file.writelines(f"{key}\n" for key in ssh_public_keys)
            file.flush()
            flags = _flags({**options, "ssh-public-keys": file.name} if ssh_public_keys else options)
            return self._create(["create", str(ctid), ostemplate, *flags], Creation(ctid, None), timeout)

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
    ) -> Sequence[str]:
        options = {
            "snapname": snapshot,
            "full": "1" if full else "0",
            "hostname": hostname,
            "storage": storage,
            "description": UNFINISHED,
        }
        flags = _flags({key: value for key, value in options.items() if value is not None})
        return self._create(["clone", str(source), str(ctid), *flags], Creation(ctid, source), timeout)

    def _create(self, arguments: Sequence[str], creation: Creation, timeout: float) -> Sequence[str]:
        waiting = self.node.clock.deadline(timeout)
        waited_for = creation.source if creation.source is not None else creation.ctid
        self._wait_unlocked(waited_for, waiting)
        with self._notes.begun(creation) as descriptor:
            try:
                return self._task(arguments, waited_for, timeout, waiting, pass_fds=(descriptor,))
            except PhoenixError as error:
                # Nothing came of it, or what stands there was made by somebody else in the meantime.
                if self.node.config_file(creation.ctid) is None or "already exists on node" in error.reason:
                    self._notes.done(creation.ctid)
                raise

    def interrupted(self, ctid: int, guest: Guest | None) -> Interrupted:
        noted = self._notes.abandoned(ctid)
        if guest is None or self.node.active_tasks(ctid):
            # Ours would hold its note: a task that runs is somebody else's.
            return ""
        if noted and noted.made(guest):
            # Without a disk it is no copy, even if somebody took the lock off.
            copied = guest.lock != "create" and not noted.condemned and "rootfs" in guest.config
            return "unfinished" if copied else "half-made"
        if guest.lock == "create" and (noted or not self._notes.is_begun(ctid)):
            raise PhoenixError(
                f"ctid: {ctid} is a half-made container (lock: create) that no running task and none of our "
                "own creations explains",
                remedy=f"Look at it (`pct config {ctid}`); if it is worthless, run `pct unlock {ctid}` and "
                f"`pct destroy {ctid}`, then run again.",
            )
        return ""

    def clear(self, ctid: int) -> None:
        # Another run may come upon the same remains: nobody removes what the other has begun anew by then.
        with self._notes.held(ctid) as creation:
            guest = self.node.guest(ctid)
            if creation is None or guest is None or not creation.made(guest):
                return
            self._notes.condemn(creation)
            if guest.lock:
                self._task(["unlock", str(ctid)], ctid, _CLEARING_SECONDS)
            self._task(["destroy", str(ctid), "--purge", "1"], ctid, _CLEARING_SECONDS)
            self._unlock_source(creation)
            self._notes.done(ctid)

    def finished(self, ctid: int) -> None:
        self._notes.done(ctid)

    def _release_source(self, creation: Creation) -> bool:
        # Of several runs that wait for the source only one may take the lock off: the next lock is another clone's.
        with self._notes.held(creation.ctid) as held:
            target = self.node.guest(creation.ctid)
            # Where the clone is complete, or another's, the lock on the source is another's as well.
            left = held is not None and (target is None or held.made(target))
            return left and self._unlock_source(creation)

    def _unlock_source(self, creation: Creation) -> bool:
        """A clone that was killed leaves its source locked; the note proves that the lock is ours."""
        source = self.node.guest(creation.source) if creation.source is not None else None
        if source is None or source.lock != "disk" or self.node.active_tasks(source.ctid):
            return False
        self._task(["unlock", str(source.ctid)], source.ctid, _CLEARING_SECONDS)
        return True

    def set(
        self,
        ctid: int,
        options: Mapping[str, str],
        *,
        delete: Sequence[str] = (),
        digest: str = "",
        timeout: float,
    ) -> Sequence[str]:
        flags = _flags(options)
        if delete:
            flags += ["--delete", ",".join(delete)]
        if digest:
            flags += ["--digest", digest]
        return self._set(ctid, flags, timeout, lambda guest: took(guest.wanted, options, delete))

    def revert(self, ctid: int, keys: Sequence[str], *, timeout: float) -> Sequence[str]:
        """Take back pending changes."""
        flags = ["--revert", ",".join(keys)]
        return self._set(ctid, flags, timeout, lambda guest: not {*guest.pending, *guest.pending_delete} & {*keys})

    def _set(self, ctid: int, flags: Sequence[str], timeout: float, taken: Callable[[Guest], bool]) -> Sequence[str]:
        try:
            return self._locking(["set", str(ctid), *flags], ctid, timeout)
        except PhoenixError as error:
            if not device_missing(error):
                raise
            guest = self.node.guest(ctid)
            return [taken_after_all(error, taken=guest is not None and taken(guest))]

    def wait_unlocked(self, ctid: int, *, timeout: float) -> None:
        self._wait_unlocked(ctid, self.node.clock.deadline(timeout))

    def resize(self, ctid: int, disk: str, size: str, *, timeout: float) -> Sequence[str]:
        return self._locking(["resize", str(ctid), disk, size], ctid, timeout)

    def start(self, ctid: int, *, timeout: float) -> Sequence[str]:
        return self._power(["start", str(ctid)], ctid, timeout, running=True)

    def stop(self, ctid: int, *, timeout: float) -> Sequence[str]:
        return self._power(["stop", str(ctid)], ctid, timeout, running=False)

    def shutdown(self, ctid: int, *, timeout: float) -> Sequence[str]:
        # Once its timeout is over, pct looks at the container for as long again before it gives up.
        arguments = ["shutdown", str(ctid), "--timeout", f"{timeout:.0f}"]
        return self._power(arguments, ctid, timeout, running=False, longest=2 * timeout)

    def _power(
        self, arguments: Sequence[str], ctid: int, timeout: float, *, running: bool, longest: float | None = None
    ) -> Sequence[str]:
        waiting = self.node.clock.deadline(timeout)
        self._wait_unlocked(ctid, waiting)
        try:
            # pct must still be able to say itself why it gave up.
            warnings = self._task(arguments, ctid, (longest or timeout) + 30, waiting)
        except PhoenixError as error:
            if self.node.is_running(ctid) is running and "locked" not in error.details.get("obstacle", ""):
                return ()
            tail = self.node.read_text(f"run/pve/ct-{ctid}.stderr").splitlines()[-20:]
            code = Code.POWER if error.code is Code.GENERAL else error.code
            raise PhoenixError(
                error.reason, remedy=error.remedy, code=code, **{**error.details, "console": tail}
            ) from error
        # pct returns when init was started; what is not there a moment later has died again.
        deadline = self.node.clock.deadline(_SETTLING_SECONDS if running else timeout)
        while self.node.is_running(ctid) is not running:
            if not deadline.pause(0.1):
                raise PhoenixError(
                    f"container {ctid} is {'not running' if running else 'still running'} after "
                    f"`pct {shlex.join(arguments)}`, which reported success",
                    remedy=f"Look at `journalctl -u pve-container@{ctid}` on node {self.node_name}.",
                    code=Code.POWER,
                )
        return warnings

    def destroy(self, ctid: int, *, timeout: float) -> Sequence[str]:
        return self._locking(["destroy", str(ctid), "--purge", "1"], ctid, timeout)

    def snapshot(self, ctid: int, name: str, description: str, *, timeout: float) -> Sequence[str]:
        flags = ["--description", description] if description else []
        return self._locking(["snapshot", str(ctid), name, *flags], ctid, timeout)

    def delete_snapshot(self, ctid: int, name: str, *, timeout: float) -> Sequence[str]:
        return self._locking(["delsnapshot", str(ctid), name], ctid, timeout)

    def rollback(self, ctid: int, name: str, *, timeout: float) -> Sequence[str]:
        return self._locking(["rollback", str(ctid), name], ctid, timeout)

    def snapshot_obstacle(self, guest: Guest) -> PhoenixError | None:
        if guest.is_pve_template:
            return PhoenixError(
                f"container {guest.ctid} is a PVE template, and PVE takes no snapshot of a template",
                remedy="Clone the template and snapshot the clone.",
                code=Code.SNAPSHOT,
            )
        storages = self.node.storages()
        for key, volume in _volumes(guest):
            name = volume.partition(":")[0]
            if ":" not in volume or volume.startswith("/"):
                return PhoenixError(
                    f"container {guest.ctid} has a bind mount ({key}: {volume}), and PVE takes no snapshot of a "
                    "container with one",
                    remedy=f"Remove {key}, or replace it by a volume of a storage that can snapshot. "
                    "Share files with a layer by a raw lxc.mount.entry or by pushing them.",
                    code=Code.SNAPSHOT,
                )
            if name in storages and storages[name].type not in _SNAPSHOT_STORAGES:
                return PhoenixError(
                    f"storage {name} of {key} of container {guest.ctid} is of type {storages[name].type}, "
                    "which cannot snapshot containers",
                    remedy=f"Move the volume to ZFS, btrfs, LVM-thin or RBD (`pct move-volume {guest.ctid} {key} "
                    "STORAGE`).",
                    code=Code.SNAPSHOT,
                )
        return None

    def check_startable(self, ctid: int, options: Mapping[str, str], raw: Sequence[tuple[str, str]]) -> None:
        needed = needed_to_start(options, raw)
        missing = [f"{path} ({key})" for key, path in needed if not self.node.path(path).exists()]
        if missing:
            raise PhoenixError(
                f"container {ctid} could not be started again: {', '.join(missing)} does not exist on the node",
                remedy="Bring it back, or take the entry that names it out of the container, which still runs. Entries "
                "for GPUs are put right by phoenix.hypervisor.lxc_gpu_passthrough.",
                code=Code.POWER,
            )

    def dependents(self, guest: Guest, snapshot: str) -> Sequence[str]:
        storages = self.node.storages()
        clones: list[str] = []
        for _key, volume in _volumes(guest):
            name, _colon, disk = volume.partition(":")
            storage = storages.get(name)
            if storage and storage.type == "zfspool":
                dataset = f"{storage.options.get('pool', '')}/{disk.rpartition('/')[2]}@{snapshot}"
                listed = self._runner(["zfs", "get", "-H", "-o", "value", "clones", dataset], timeout=30)
                if listed.ok:
                    clones += [clone for clone in listed.stdout.strip().split(",") if clone not in ("", "-")]
        return clones

    def newest_only_rollback(self, guest: Guest) -> bool:
        storages = self.node.storages()
        names = {volume.partition(":")[0] for _key, volume in _volumes(guest)}
        return any(name in storages and storages[name].type == "zfspool" for name in names)

    def _locking(self, arguments: Sequence[str], ctid: int, timeout: float) -> Sequence[str]:
        waiting = self.node.clock.deadline(timeout)
        self._wait_unlocked(ctid, waiting)
        return self._task(arguments, ctid, timeout, waiting)

    def _task(
        self,
        arguments: Sequence[str],
        ctid: int,
        timeout: float,
        waiting: Deadline | None = None,
        *,
        pass_fds: Sequence[int] = (),
    ) -> Sequence[str]:
        """Run pct; what was refused because of a lock has not begun, and is tried again as long as may be waited.

        Waiting takes nothing off the time of what is done then: of several copies of one source the last waits longest.
        """
        waiting = waiting or self.node.clock.deadline(timeout)
        while True:
            done = self._runner(["pct", *arguments], timeout=timeout, pass_fds=pass_fds)
            if done.ok:
                return _WARNING.findall(done.stdout)
            obstacle = obstacle_in(done)
            if not obstacle:
                raise explain(done)
            if not waiting.pause(1.0):
                raise self._still_locked(ctid, obstacle)
            if obstacle.startswith("CT is locked"):
                self._wait_unlocked(ctid, waiting)

    def _wait_unlocked(self, ctid: int, deadline: Deadline) -> None:
        """Waiting by reading the file costs nothing; waiting by asking pct costs half a second a time."""
        while (guest := self.node.guest(ctid)) and guest.lock:
            abandoned = self._notes.of_source(ctid) if guest.lock == "disk" else None
            if abandoned and self._release_source(abandoned):
                continue
            if not deadline.pause(0.5):
                raise self._still_locked(ctid, f"CT is locked ({guest.lock})")

    def _still_locked(self, ctid: int, message: str) -> PhoenixError:
        flock = self.node.path(f"run/lock/lxc/pve-config-{ctid}.lock")
        holders = self.node.active_tasks(ctid) or [self.node.flock_holder(flock)]
        who = ", ".join(holder for holder in holders if holder)
        return PhoenixError(
            f"container {ctid}: {message}" + (f"; held by {who}" if who else "; no running task holds it"),
            remedy="Wait for that task and run again."
            if who
            else f"The lock is left from a task that was cut short. See what it left behind (`pct config {ctid}`), "
            f"then run `pct unlock {ctid}` and run again.",
            obstacle="locked",
        )


def _flags(options: Mapping[str, str]) -> list[str]:
    return [part for key, value in options.items() for part in (f"--{key}", value)]


def _volumes(guest: Guest) -> list[tuple[str, str]]:
    """The volumes and bind mounts of a container by their keys."""
    mounted = [key for key in guest.config if re.fullmatch(r"rootfs|mp\d+", key)]
    return [(key, parse_properties(guest.config[key], "volume").get("volume", "")) for key in sorted(mounted)]
