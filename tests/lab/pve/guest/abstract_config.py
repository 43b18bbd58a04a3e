# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::AbstractConfig: a guest's configuration, its locks, pending changes and volumes. The snapshot operations are in
# snapshots.py.

from __future__ import annotations

import abc
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from .. import cluster
from ..exceptions import ENOENT, PVEError
from ..system import System
from ..tools import lock_file

Conf = dict[str, Any]
"""PVE's hash: plain keys, "description", "lxc" (raw lines, [key, value]), "pending", "snapshots", "digest"."""

Volume = dict[str, Any]
"""A parsed rootfs, mpN or unusedN: "volume", "type" ("volume", "bind", "device"), "mp", "size" in bytes …"""

NOT_PLAIN = frozenset(("digest", "description", "pending", "snapshots", "snapname", "env", "lxc"))
"""What of a Conf is not a line of its own."""


class AbstractConfig(abc.ABC):
    guest_type = "VM"
    volid_key = "volume"
    max_unused_disks = 256
    lock_timeout = 10.0

    def __init__(self, system: System) -> None:
        self.system = system

    # What a kind of guest adds

    @abc.abstractmethod
    def cfs_config_path(self, vmid: int, node: str | None = None) -> str:
        """Below /etc/pve."""

    @abc.abstractmethod
    def config_file_lock(self, vmid: int) -> str: ...

    @abc.abstractmethod
    def parse_config(self, path: str, data: bytes) -> Conf: ...

    @abc.abstractmethod
    def print_config(self, conf: Conf) -> bytes: ...

    @abc.abstractmethod
    def valid_volume_keys(self) -> Sequence[str]: ...

    @abc.abstractmethod
    def parse_volume(self, key: str, text: str) -> Volume: ...

    @abc.abstractmethod
    def print_volume(self, key: str, volume: Volume) -> str: ...

    # The file

    def config_file(self, vmid: int, node: str | None = None) -> str:
        return f"etc/pve/{self.cfs_config_path(vmid, node)}"

    def load_config(self, vmid: int, node: str | None = None) -> Conf:
        path = self.cfs_config_path(vmid, node)
        data = cluster.read_file(self.system, path)
        if data is None:
            raise PVEError(f"Configuration file '{path}' does not exist", errno=ENOENT)
        return self.parse_config(path, data)

    def write_config(self, vmid: int, conf: Conf) -> None:
        cluster.write_file(self.system, self.cfs_config_path(vmid), self.print_config(conf))

    def destroy_config(self, vmid: int) -> None:
        try:
            self.system.path(self.config_file(vmid)).unlink()
        except OSError as error:
            raise PVEError(f"failed to remove config file: {error.strerror}") from error

    def create_and_lock_config(self, vmid: int, allow_existing: bool = False, lock: str = "create") -> None:
        with self.lock_config_full(vmid, 5):
            cluster.check_vmid_unused(self.system, vmid, allow_existing)
            try:
                conf = self.load_config(vmid)
            except PVEError:
                conf = {}
            self.check_lock(conf)
            conf["lock"] = lock
            self.write_config(vmid, conf)

    def load_snapshot_config(self, vmid: int, snapname: str) -> Conf:
        conf = self.load_config(vmid)
        snapshot: Conf | None = conf["snapshots"].get(snapname)
        if snapshot is None:
            raise PVEError(f"snapshot '{snapname}' does not exist")
        return {**snapshot, "digest": conf["digest"]}

    def load_current_config(self, vmid: int, current: bool) -> Conf:
        """What is effective (current), or what will be after the next start."""
        conf = self.load_config(vmid)
        pending = conf.pop("pending")
        del conf["snapshots"]
        if not current:
            conf.update({key: value for key, value in pending.items() if key != "delete"})
            for key in parse_pending_delete(pending.get("delete")):
                # PVE tests for truth, so a key that is 0 stays.
                if conf.get(key) and conf[key] != "0":
                    del conf[key]
        return conf

    # Locks: flock around a change, the key "lock" for a long operation

    def lock_config_full(self, vmid: int, timeout: float) -> AbstractContextManager[None]:
        return lock_file(self.system, self.config_file_lock(vmid), timeout)

    def lock_config(self, vmid: int) -> AbstractContextManager[None]:
        return self.lock_config_full(vmid, self.lock_timeout)

    def lock_config_shared(self, vmid: int, timeout: float) -> AbstractContextManager[None]:
        return lock_file(self.system, self.config_file_lock(vmid), timeout, shared=True)

    def check_lock(self, conf: Conf) -> None:
        if conf.get("lock"):
            raise PVEError(f"{self.guest_type} is locked ({conf['lock']})")

    def has_lock(self, conf: Conf, lock: str | None = None) -> bool:
        return bool(conf.get("lock")) and lock in (None, conf["lock"])

    def set_lock(self, vmid: int, lock: str) -> Conf:
        with self.lock_config(vmid):
            conf = self.load_config(vmid)
            self.check_lock(conf)
            conf["lock"] = lock
            self.write_config(vmid, conf)
        return conf

    def remove_lock(self, vmid: int, lock: str | None = None) -> None:
        with self.lock_config(vmid):
            conf = self.load_config(vmid)
            found = conf.pop("lock", None)
            if not found:
                wanted = f"'{lock}' " if lock is not None else "any"
                raise PVEError(f"no lock found trying to remove {wanted} lock")
            if lock is not None and found != lock:
                raise PVEError(f"found lock '{found}' trying to remove '{lock}' lock")
            self.write_config(vmid, conf)

    def check_protection(self, conf: Conf, text: str) -> None:
        if str(conf.get("protection", "0")) == "1":
            raise PVEError(f"{text} - protection mode enabled")

    def is_template(self, conf: Conf) -> bool:
        return str(conf.get("template", "0")) == "1"

    # Pending changes

    def add_to_pending_delete(self, conf: Conf, key: str, force: bool = False) -> None:
        pending = conf.setdefault("pending", {})
        keys = parse_pending_delete(pending.get("delete"))
        keys[key] = force
        pending["delete"] = print_pending_delete(keys)

    def remove_from_pending_delete(self, conf: Conf, key: str) -> None:
        keys = parse_pending_delete(conf["pending"].get("delete"))
        if keys.pop(key, None) is not None:
            _store_pending_delete(conf["pending"], keys)

    def cleanup_pending(self, conf: Conf) -> bool:
        """Forget what would change nothing. Whether there was anything."""
        pending = conf["pending"]
        changed = [key for key in pending if key != "delete" and key in conf]
        same = [key for key in changed if str(pending[key]) == str(conf[key])]
        for key in same:
            del pending[key]
        wanted = parse_pending_delete(pending.get("delete"))
        keys = {key: force for key, force in wanted.items() if key in conf}
        _store_pending_delete(pending, keys)
        return bool(same) or len(keys) < len(wanted)

    # Volumes

    def foreach_volume(
        self, conf: Conf, *, reverse: bool = False, include_unused: bool = False, extra_keys: Sequence[str] = ()
    ) -> Iterator[tuple[str, Volume]]:
        """Every volume that can be parsed, in PVE's order."""
        keys = [key for key in self.valid_volume_keys() if key in conf]
        keys = keys[::-1] if reverse else keys
        keys += [key for key in extra_keys if key in conf]
        if include_unused:
            keys += [key for key in conf if re.fullmatch(r"unused\d+", key)]
        for key in keys:
            try:
                volume = self.parse_volume(key, conf[key])
            except PVEError:
                continue
            yield key, volume

    def add_unused_volume(self, conf: Conf, volid: str) -> str | None:
        """Keep a volume that nothing names any more as unusedN; the key, None if it has one already."""
        names = [f"unused{n}" for n in range(self.max_unused_disks)]
        if volid in (conf.get(name) for name in names):
            return None
        free = next((name for name in names if name not in conf), None)
        if free is None:
            raise PVEError("Too many unused volumes - please delete them first.")
        conf[free] = volid
        return free

    def update_volume_ids(self, conf: Conf, volids: dict[str, str]) -> None:
        """Put new volume ids in the place of old ones, in every section."""
        sections = [conf, *conf.get("snapshots", {}).values(), conf.get("pending", {})]
        for section in sections:
            for key, volume in list(self.foreach_volume(section, include_unused=True)):
                if volume[self.volid_key] in volids:
                    volume[self.volid_key] = volids[volume[self.volid_key]]
                    section[key] = self.print_volume(key, volume)


def parse_pending_delete(text: str | None) -> dict[str, bool]:
    """The keys of "delete: a,!b", and whether their deletion is forced."""
    words = re.sub("[,;]", " ", text or "").split()
    return {word.removeprefix("!"): word.startswith("!") for word in words}


def print_pending_delete(keys: dict[str, bool]) -> str:
    return ",".join(f"!{key}" if keys[key] else key for key in sorted(keys))


def _store_pending_delete(pending: Conf, keys: dict[str, bool]) -> None:
    if keys:
        pending["delete"] = print_pending_delete(keys)
    else:
        pending.pop("delete", None)
