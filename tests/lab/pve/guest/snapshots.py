# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The snapshot operations of PVE::AbstractConfig: the configuration first says what will be done (lock, snapstate), then
# the volumes follow, then the configuration says that it is done. A crash in between can be seen in it.

from __future__ import annotations

import copy
import re

from .. import lxc as container
from .. import storage
from ..exceptions import PVEError
from ..lxc.config import Config
from ..tools import warn
from .abstract_config import Conf

_NOT_COPIED = frozenset("snapshots snapstate snaptime vmstate lock digest description pending".split())


class Snapshots:
    def __init__(self, config: Config) -> None:
        self.config = config
        self.system = config.system

    # Create

    def create(self, vmid: int, snapname: str, comment: str | None) -> None:
        snapshot = self._prepare(vmid, snapname, comment)
        running = container.check_running(self.system, vmid)
        done: set[str] = set()
        failure: PVEError | None = None
        try:
            if running:
                self.system.lxc.freeze(vmid)
            for key, volume in self.config.foreach_volume(snapshot):
                storage.volume_snapshot(self.system, volume["volume"], snapname)
                done.add(key)
        except PVEError as error:
            failure = error
        finally:
            if running:
                self.system.lxc.thaw(vmid)
        if failure is not None:
            warn("snapshot create failed: starting cleanup")
            try:
                self.delete(vmid, snapname, force=True, created=done)
            except PVEError as error:
                warn(error.message)
            raise failure
        self._commit(vmid, snapname)

    def _prepare(self, vmid: int, snapname: str, comment: str | None) -> Conf:
        config = self.config
        with config.lock_config(vmid):
            conf = config.load_config(vmid)
            if config.is_template(conf):
                raise PVEError("you can't take a snapshot if it's a template")
            config.check_lock(conf)
            conf["lock"] = "snapshot"
            snapshots = conf["snapshots"]
            if snapname in snapshots:
                raise PVEError(f"snapshot name '{snapname}' already used")
            if not self._has_feature(conf):
                raise PVEError("snapshot feature is not available")
            for name in sorted(snapshots):
                if snapshots[name].get("parent") == snapname:
                    problem = "to avoid bogus snapshot cycle."
                    warn(f"deleting parent '{snapname}' reference from '{name}' {problem}")
                    del snapshots[name]["parent"]
            snapshot: Conf = {}
            _copy_config(conf, snapshot)
            snapshot["snapstate"] = "prepare"
            snapshot["snaptime"] = int(self.system.time())
            if comment:
                snapshot["description"] = comment
            snapshots[snapname] = snapshot
            config.write_config(vmid, conf)
        return snapshot

    def _has_feature(self, conf: Conf) -> bool:
        volumes = (volume["volume"] for _key, volume in self.config.foreach_volume(conf))
        return all(storage.volume_has_feature(self.system, "snapshot", volid) for volid in volumes)

    def _commit(self, vmid: int, snapname: str) -> None:
        config = self.config
        with config.lock_config(vmid):
            conf = config.load_config(vmid)
            if conf.get("lock") != "snapshot":
                raise PVEError("missing snapshot lock")
            snapshot = _existing(conf, snapname)
            if snapshot.get("snapstate") != "prepare":
                raise PVEError("wrong snapshot state")
            del snapshot["snapstate"]
            del conf["lock"]
            conf["parent"] = snapname
            config.write_config(vmid, conf)

    # Delete

    def delete(self, vmid: int, snapname: str, *, force: bool = False, created: set[str] | None = None) -> None:
        """`created`: only called to clean up after a failure, for the volumes that had been done."""
        config = self.config
        _existing(config.load_config(vmid), snapname)
        if created is None:
            config.set_lock(vmid, "snapshot-delete")
        lock = "snapshot-delete" if created is None else "snapshot"
        with config.lock_config(vmid):
            conf = self._locked(vmid, lock)
            if config.is_template(conf):
                raise PVEError("you can't delete a snapshot if vm is a template")
            snapshot = _existing(conf, snapname)
            snapshot["snapstate"] = "delete"
            config.write_config(vmid, conf)

        unused = []
        for key, volume in list(config.foreach_volume(snapshot)):
            if created is None or key in created:
                try:
                    storage.volume_snapshot_delete(self.system, volume["volume"], snapname)
                    unused.append(volume["volume"])
                except PVEError as error:
                    if not force:
                        raise
                    warn(error.message)
            if not force:
                self._remove_volume(vmid, snapname, key, lock)

        with config.lock_config(vmid):
            conf = self._locked(vmid, lock)
            parent = _existing(conf, snapname).get("parent")
            del conf["snapshots"][snapname]
            for section in (conf, *conf["snapshots"].values()):
                if section.get("parent") == snapname:
                    section["parent"] = parent
                    if not parent:
                        del section["parent"]
            del conf["lock"]
            for volid in unused:
                if not config.is_volume_in_use(conf, volid, include_snapshots=True):
                    config.add_unused_volume(conf, volid)
            config.write_config(vmid, conf)

    def _remove_volume(self, vmid: int, snapname: str, key: str, lock: str) -> None:
        """It is noted volume by volume, so that an interrupted deletion can be gone on with."""
        config = self.config
        with config.lock_config(vmid):
            conf = self._locked(vmid, lock)
            snapshot = _existing(conf, snapname)
            volume = config.parse_volume(key, snapshot.pop(key))
            if volume["type"] == "volume":
                config.add_unused_volume(snapshot, volume["volume"])
            config.write_config(vmid, conf)

    def _locked(self, vmid: int, lock: str) -> Conf:
        conf = self.config.load_config(vmid)
        if not self.config.has_lock(conf, lock):
            raise PVEError(f"encountered invalid lock, expected '{lock}'")
        return conf

    # Rollback

    def rollback(self, vmid: int, snapname: str) -> None:
        config = self.config
        with config.lock_config(vmid):
            conf, snapshot = self._to_roll_back(vmid, snapname)
            for _key, volume in config.foreach_volume(snapshot):
                storage.volume_rollback_is_possible(self.system, volume["volume"], snapname)
            _refuse_incomplete(snapshot)
            config.check_lock(conf)
            if container.check_running(self.system, vmid):
                container.vm_stop(self.system, vmid, kill=True)
            if container.check_running(self.system, vmid):
                raise PVEError(f"unable to rollback vm {vmid}: vm is running")
            conf["lock"] = "rollback"
            config.write_config(vmid, conf)

        for _key, volume in config.foreach_volume(snapshot):
            storage.volume_snapshot_rollback(self.system, volume["volume"], snapname)

        with config.lock_config(vmid):
            conf, snapshot = self._to_roll_back(vmid, snapname)
            _refuse_incomplete(snapshot)
            if conf.get("lock") != "rollback":
                raise PVEError("got wrong lock")
            del conf["lock"]
            for volid in self._no_longer_used(conf, snapshot):
                config.add_unused_volume(conf, volid)
            kept = {key: value for key, value in conf.items() if re.fullmatch(r"unused\d+|description", key)}
            restored: Conf = {"snapshots": conf["snapshots"], **kept}
            _copy_config(snapshot, restored)
            restored["parent"] = snapname
            config.write_config(vmid, restored)

    def _to_roll_back(self, vmid: int, snapname: str) -> tuple[Conf, Conf]:
        conf = self.config.load_config(vmid)
        if self.config.is_template(conf):
            raise PVEError("you can't rollback if vm is a template")
        return conf, _existing(conf, snapname)

    def _no_longer_used(self, conf: Conf, snapshot: Conf) -> list[str]:
        kept = {volume["volume"] for _key, volume in self.config.foreach_volume(snapshot)}
        found = (volume for _key, volume in self.config.foreach_volume(conf) if volume["type"] == "volume")
        return [volume["volume"] for volume in found if volume["volume"] not in kept]


def _existing(conf: Conf, snapname: str) -> Conf:
    snapshot: Conf | None = conf["snapshots"].get(snapname)
    if snapshot is None:
        raise PVEError(f"snapshot '{snapname}' does not exist")
    return snapshot


def _refuse_incomplete(snapshot: Conf) -> None:
    if state := snapshot.get("snapstate"):
        raise PVEError(f"unable to rollback to incomplete snapshot (snapstate = {state})")


def _copy_config(source: Conf, target: Conf) -> None:
    for key, value in source.items():
        if key not in _NOT_COPIED and not re.fullmatch(r"unused\d+", key):
            target[key] = copy.deepcopy(value)
