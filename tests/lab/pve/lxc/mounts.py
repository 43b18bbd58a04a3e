# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Mounting a container's volumes below /var/lib/lxc/<id>/rootfs.

from __future__ import annotations

import re

from .. import storage
from ..exceptions import PVEError
from ..guest.abstract_config import Conf, Volume
from ..system import System
from ..tools import warn
from .config import Config
from .idmap import IdMap, parse_id_maps


def mount_all(system: System, vmid: int, conf: Conf, ignore_ro: bool = False) -> str:
    """Everything; the folder where it is."""
    config = Config(system)
    rootdir = f"/var/lib/lxc/{vmid}/rootfs"
    system.path(rootdir).parent.mkdir(parents=True, exist_ok=True)
    if not system.path(rootdir).is_symlink():
        system.path(rootdir).mkdir(exist_ok=True)
    storage.activate_volumes(system, config.get_vm_volumes(conf))
    ids = parse_id_maps(conf)
    try:
        for _key, volume in config.foreach_volume(conf):
            mount_volume(system, {**volume, "ro": 0} if ignore_ro else volume, rootdir, ids)
    except PVEError:
        warn("mounting container failed")
        umount_all(system, vmid, conf, noerr=True)
        raise
    return rootdir


def umount_all(system: System, vmid: int, conf: Conf, noerr: bool = False) -> None:
    rootdir = f"/var/lib/lxc/{vmid}/rootfs"
    for _key, volume in Config(system).foreach_volume(conf, reverse=True):
        target = re.sub("/+", "/", f"{rootdir}/{volume['mp']}").rstrip("/")
        if not system.is_mounted(target):
            continue
        try:
            system.unmount(target)
        except PVEError as error:
            if not noerr:
                raise
            warn(error.message)


def volume_path(system: System, volume: Volume) -> str:
    """Where the files of a volume or of a bind mount lie."""
    if volume["type"] == "bind":
        if not system.path(volume["volume"]).is_dir():
            raise PVEError(f"directory '{volume['volume']}' does not exist")
        return str(volume["volume"])
    if volume["type"] == "device":
        raise PVEError(f"mount point of type device: '{volume['volume']}' cannot be mounted in the lab")
    storage.activate_volumes(system, [volume["volume"]])
    return storage.path(system, volume["volume"])


def mount_volume(system: System, volume: Volume, rootdir: str, ids: IdMap) -> None:
    source = volume_path(system, volume)
    target = re.sub("/+", "/", f"{rootdir}/{volume['mp']}").rstrip("/")
    make_mount_point(system, rootdir, target, ids)
    system.mount(source, target, readonly=bool(int(volume.get("ro", 0))))


def make_mount_point(system: System, rootdir: str, target: str, ids: IdMap) -> None:
    """The folders on the way belong to the container's root. Never through a link: the container may have made it."""
    path = rootdir
    for name in target.removeprefix(rootdir).strip("/").split("/"):
        path = f"{path}/{name}" if name else path
        place = system.path(path)
        if place.is_symlink() and path != rootdir:
            raise PVEError(f"symlink encountered at: {path.removeprefix(rootdir)}")
        if not place.exists():
            place.mkdir(mode=0o755)
            ids.chown(system, place)
