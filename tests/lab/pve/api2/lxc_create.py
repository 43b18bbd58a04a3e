# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::API2::LXC::create_vm.

from __future__ import annotations

import re
from typing import Any

from .. import cluster, storage
from .. import lxc as container
from ..environment import Environment
from ..exceptions import NotImplementedHere, ParameterError, PermissionDenied, PVEError
from ..guest.abstract_config import Conf
from ..json_schema import parse_boolean
from ..lxc.config import Config
from ..rest_handler import Parameters
from ..tools import warn

_NOT_CONFIG = (
    "node vmid ostemplate password storage force restore unique pool ignore-unpack-errors ssh-public-keys bwlimit start"
    " unprivileged"
).split()
_DEFAULT_SIZE = 4


def create(environment: Environment, param: Parameters) -> str:
    return _Creation(environment, param).run()


class _Creation:
    def __init__(self, environment: Environment, param: Parameters) -> None:
        self.env = environment
        self.system = environment.system
        self.config = Config(self.system)
        self.vmid = int(param["vmid"])
        self.param = param
        self.options = {key: value for key, value in param.items() if key not in _NOT_CONFIG}
        self.unprivileged = bool(parse_boolean(param.get("unprivileged", 1)))
        self.storage = param.get("storage") or "local"
        self.volumes: dict[str, str] = {}
        self.conf: Conf = {}

    def run(self) -> str:
        if self._flag("restore"):
            raise NotImplementedHere("the lab has no backups")
        if self.env.user != "root@pam" and not self.unprivileged:
            self.env.check("/", ["Sys.Modify"])
        cluster.check_vmid_unused(self.system, self.vmid)
        self._check_permissions()
        plain = self._separate_volumes()
        self._check_storages()
        self.conf["pending"] = {}
        if errors := self.config.update_pct_config(self.vmid, self.conf, False, plain, [], []):
            raise ParameterError(errors)
        if self.unprivileged:
            self.conf["unprivileged"] = 1
        try:
            self.config.create_and_lock_config(self.vmid, False)
        except PVEError as error:
            raise PVEError(f"unable to create CT {self.vmid} - {error.message}", errno=error.errno) from error
        return self.env.fork_worker("vzcreate", str(self.vmid), self._work)

    def _flag(self, key: str) -> bool:
        return bool(parse_boolean(self.param.get(key, 0)))

    def _check_permissions(self) -> None:
        if self.env.user == "root@pam":
            return
        from ..access_control import check_ct_modify_config_perm, check_volume_access  # noqa: PLC0415

        pool = self.param.get("pool")
        allowed = self.env.check(f"/vms/{self.vmid}", ["VM.Allocate"], noerr=True)
        if not allowed and not (pool and self.env.check(f"/pool/{pool}", ["VM.Allocate"], noerr=True)):
            raise PermissionDenied
        check_ct_modify_config_perm(
            self.env, self.vmid, pool=pool, old=None, new=self.options, unprivileged=self.unprivileged
        )
        check_volume_access(self.env, self.vmid, self.param["ostemplate"])

    def _separate_volumes(self) -> dict[str, Any]:
        """Mount points aside; a plain number is a size on the default storage."""
        plain = {}
        for key, value in self.options.items():
            if key == "rootfs" or re.fullmatch(r"mp\d+", key):
                self.volumes[key] = f"{self.storage}:{value}" if re.fullmatch(r"\d+(\.\d+)?", value) else value
            elif re.fullmatch(r"unused\d+", key):
                warn(f"ignoring '{key}', cannot create/restore with unused volume")
            else:
                plain[key] = value
        if self.volumes and "rootfs" not in self.volumes:
            raise PVEError("mount points configured, but 'rootfs' not set - aborting")
        return plain

    def _check_storages(self) -> None:
        for _key, volume in self.config.foreach_volume(self.volumes):
            if volume["type"] != "volume":
                if self.env.user != "root@pam":
                    raise PVEError("Only root can pass arbitrary filesystem paths.")
            else:
                self._check_storage(storage.parse_volume_id(volume["volume"])[0])
        if not self.volumes:
            self._check_storage(self.storage)
            self.volumes["rootfs"] = f"{self.storage}:{_DEFAULT_SIZE}"

    def _check_storage(self, storeid: str) -> None:
        settings = storage.storage_check_enabled(self.system, storeid)
        if "rootdir" not in settings["content"]:
            raise ParameterError({"storage": f"storage '{storeid}' does not support container directories"})
        self.env.check(f"/storage/{storeid}", ["Datastore.AllocateSpace"])
        storage.activate_storage(self.system, storeid)

    def _work(self, _upid: str) -> None:
        with self.config.lock_config(self.vmid):
            made: list[str] = []
            try:
                made = container.create_disks(self.system, self.vmid, self.volumes, self.conf)
                self._fill()
            except PVEError as error:
                container.destroy_disks(self.system, made)
                self.config.destroy_config(self.vmid)
                raise PVEError(f"unable to create CT {self.vmid} - {error.text().rstrip()}") from error
        if self._flag("start"):
            from .lxc_status import vm_start  # noqa: PLC0415

            vm_start.code(self.env, {"node": self.param.get("node"), "vmid": self.vmid})

    def _fill(self) -> None:
        from ..lxc.create import check_is_archive, restore_archive  # noqa: PLC0415
        from ..lxc.setup import Setup  # noqa: PLC0415

        archive = self.param["ostemplate"]
        rootdir = container.mount_all(self.system, self.vmid, self.conf, True)
        try:
            check_is_archive(self.system, archive)
            restore_archive(self.system, archive, rootdir, self.conf, ignore_errors=self._flag("ignore-unpack-errors"))
            setup = Setup(self.system, self.conf, rootdir, self.env.warn)
            # Kept before the hook, so that the distribution is known whatever happens then.
            self.config.write_config(self.vmid, {**self.conf, "lock": "create"})
            setup.post_create_hook(self.param.get("password"), self.param.get("ssh-public-keys"))
        finally:
            container.umount_all(self.system, self.vmid, self.conf, noerr=True)
        self.conf["hostname"] = self.conf.get("hostname") or f"CT{self.vmid}"
        self.conf["memory"] = self.conf.get("memory") or 512
        self.conf.setdefault("swap", 512)
        self.config.write_config(self.vmid, self.conf)
