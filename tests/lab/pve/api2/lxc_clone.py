# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::API2::LXC::clone_vm. The source is locked (disk) and the target (create) before the task begins, until it ends.

from __future__ import annotations

import copy
import re

from .. import lxc as container
from .. import storage
from ..environment import Environment
from ..exceptions import ENOENT, PVEError
from ..firewall import clone_vmfw_conf, remove_vmfw_conf
from ..guest.abstract_config import Conf, Volume
from ..json_schema import parse_boolean
from ..lxc.config import Config
from ..rest_environment import interruptible
from ..rest_handler import Parameters
from ..tools import warn


def clone(environment: Environment, param: Parameters) -> str:
    return _Clone(environment, param).run()


class _Clone:
    def __init__(self, environment: Environment, param: Parameters) -> None:
        self.env = environment
        self.system = environment.system
        self.config = Config(self.system)
        self.param = param
        self.vmid = int(param["vmid"])
        self.newid = int(param["newid"])
        self.snapname: str | None = param.get("snapname") or None
        self.storage: str | None = param.get("storage") or None
        self.running = False
        self.full = True
        self.volumes: dict[str, Volume] = {}
        self.conf: Conf = {}

    def run(self) -> str:
        target = self.param.get("target")
        if self.storage:
            storage.storage_check_enabled(self.system, self.storage)
        if target and target not in (self.system.node, "localhost"):
            raise PVEError(f"can't clone CT to node '{target}' (CT uses local storage)")
        source = self.config.set_lock(self.vmid, "disk")
        try:
            self.config.create_and_lock_config(self.newid, False)
        except PVEError as error:
            self._unlock_source()
            error.errno = 255
            raise
        clone_vmfw_conf(self.system, self.vmid, self.newid)
        try:
            self._prepare(source)
            self._write_target(self.conf)
        except PVEError as error:
            self._unlock_source()
            self._remove_target()
            error.errno = error.errno if error.errno != 255 else ENOENT
            raise
        return self.env.fork_worker("vzclone", str(self.vmid), self._work)

    def _prepare(self, source: Conf) -> None:
        """What the target will be; refuses what cannot be cloned."""
        self.running = container.check_running(self.system, self.vmid)
        full = parse_boolean(self.param["full"]) if "full" in self.param else None
        self.full = bool(full) if full is not None else not self.config.is_template(source)
        if self.storage and not self.full:
            raise PVEError("parameter 'storage' not allowed for linked clones")
        if self.snapname:
            if self.snapname not in source["snapshots"]:
                raise PVEError(f"snapshot '{self.snapname}' does not exist")
            source = source["snapshots"][self.snapname]
        for key in sorted(source):
            if key == "rootfs" or re.fullmatch(r"mp\d+", key):
                self._take_volume(key, source[key])
            elif re.fullmatch(r"net\d+", key):
                network = self.config.parse_lxc_network(source[key])
                network["hwaddr"] = self.system.random_hwaddr()
                self.conf[key] = self.config.print_lxc_network(network)
                self._check_bridge(self.conf[key])
            elif not re.fullmatch(r"unused\d+", key):
                self.conf[key] = copy.deepcopy(source[key])
        for key in ("snapshots", "parent", "snaptime", "snapstate", "pending", "template", "digest"):
            self.conf.pop(key, None)
        self.conf["lock"] = "create"
        for key in ("hostname", "description"):
            if self.param.get(key):
                self.conf[key] = self.param[key]

    def _take_volume(self, key: str, text: str) -> None:
        volume = self.config.parse_volume(key, text)
        if volume["type"] != "volume":
            raise PVEError(f"unable to clone mountpoint '{key}' (type {volume['type']})")
        volid = volume["volume"]
        storeid = self.storage or storage.parse_volume_id(volid)[0]
        storage.storage_config(storage.config(self.system), storeid)
        self.env.check(f"/storage/{storeid}", ["Datastore.AllocateSpace"])
        if self.full and self.running and self.snapname is None:
            raise PVEError("Full clone of a running container is only possible from a snapshot")
        if not self.full and not storage.volume_has_feature(self.system, "clone", volid, self.snapname):
            raise PVEError(f"Linked clone feature for '{volid}' is not available")
        self.volumes[key] = volume

    def _check_bridge(self, network: str) -> None:
        if self.env.user != "root@pam":
            from ..access_control import check_bridge_access  # noqa: PLC0415

            check_bridge_access(self.env, network)

    def _work(self, _upid: str) -> None:
        self.env.print(f"creating a clone of container {self.vmid} with ID {self.newid}")
        if container.check_running(self.system, self.vmid) != self.running:
            raise PVEError("unexpected state change")
        made: list[str] = []
        try:
            with interruptible("interrupted by signal"):
                self._copy_volumes(made)
                self._set_up()
        except PVEError as error:
            self._unlock_source()
            self._clean_up(made)
            raise PVEError(f"clone failed: {error.message}") from error
        self._unlock_source()
        with self.config.lock_config(self.newid):
            self._load_target()
            self.config.remove_lock(self.newid, "create")

    def _copy_volumes(self, made: list[str]) -> None:
        # Perl goes through a hash here; this is the order that was recorded.
        for key in sorted(self.volumes, reverse=self.full):
            volume = self.volumes[key]
            volid = volume["volume"]
            if self.full:
                self.env.print(f"create full clone of mountpoint {key} ({volid})")
                storeid = self.storage or storage.parse_volume_id(volid)[0]
                new = container.copy_volume(self.system, volume, self.newid, storeid, self.conf, self.snapname)
            else:
                self.env.print(f"create linked clone of mount point {key} ({volid})")
                new = storage.vdisk_clone(self.system, volid, self.newid, self.snapname)
            made.append(new)
            volume["volume"] = new
            with self.config.lock_config(self.newid):
                conf = self._load_target()
                conf[key] = self.config.print_ct_mountpoint(volume, key == "rootfs")
                self.config.write_config(self.newid, conf)

    def _set_up(self) -> None:
        from ..lxc.setup import Setup  # noqa: PLC0415

        with self.config.lock_config(self.newid):
            conf = self._load_target()
            rootdir = container.mount_all(self.system, self.newid, conf, True)
            try:
                Setup(self.system, conf, rootdir, self.env.warn).post_clone_hook()
            finally:
                container.umount_all(self.system, self.newid, conf, noerr=True)

    def _clean_up(self, made: list[str]) -> None:
        self.system.sleep(1)
        for volid in made:
            try:
                storage.vdisk_free(self.system, volid)
            except PVEError as error:
                warn(error.message)
        self._remove_target()

    def _load_target(self) -> Conf:
        conf = self.config.load_config(self.newid)
        if not self.config.has_lock(conf, "create"):
            raise PVEError("Lost 'create' config lock, aborting.")
        return conf

    def _write_target(self, conf: Conf) -> None:
        with self.config.lock_config(self.newid):
            self._load_target()
            self.config.write_config(self.newid, conf)

    def _remove_target(self) -> None:
        try:
            with self.config.lock_config(self.newid):
                self._load_target()
                self.config.destroy_config(self.newid)
                remove_vmfw_conf(self.system, self.newid)
        except PVEError as error:
            warn(f"Failed to remove target CT config - {error.message}")

    def _unlock_source(self) -> None:
        try:
            self.config.remove_lock(self.vmid, "disk")
        except PVEError as error:
            warn(f"Failed to remove source CT config lock - {error.message}")
