# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A container's volumes: made, copied, turned into templates, freed.

from __future__ import annotations

import os

from .. import storage
from ..exceptions import PVEError
from ..guest.abstract_config import Conf, Volume
from ..system import System
from ..tools import warn
from .config import NEW_DISK, Config
from .idmap import IdMap, parse_id_maps

# Seconds that every copied volume takes longer, as on storages that copy file by file.
COPY_DELAY = "etc/phoenix-lab/copy-delay"


def alloc_disk(system: System, vmid: int, storeid: str, size_kb: int, ids: IdMap) -> str:
    settings = storage.storage_config(storage.config(system), storeid)
    if "rootdir" not in settings["content"]:
        raise PVEError(f"content type 'rootdir' is not available or configured on storage '{storeid}'")
    # A sized volume of a folder is an image file in PVE; the lab's btrfs keeps to subvolumes.
    image = settings["type"] == "dir" and size_kb > 0
    volid = storage.vdisk_alloc(system, storeid, vmid, "raw" if image else "subvol", size_kb)
    ids.chown(system, system.path(storage.path(system, volid)))
    return volid


def create_disks(system: System, vmid: int, settings: Conf, conf: Conf, pending: bool = False) -> list[str]:
    """Make what "storage:size" asks for, and put every mount point into the configuration. The new volumes."""
    config = Config(system)
    ids = parse_id_maps(conf)
    made: list[str] = []
    try:
        for key, volume in config.foreach_volume(settings):
            wanted = NEW_DISK.fullmatch(volume["volume"])
            if wanted:
                size_kb = int(float(wanted[2]) * 1024) * 1024
                volume["volume"] = alloc_disk(system, vmid, wanted[1], size_kb, ids)
                volume["size"] = size_kb * 1024
                made.append(volume["volume"])
            target = conf["pending"] if pending and wanted else conf
            target[key] = config.print_ct_mountpoint(volume, key == "rootfs")
    except PVEError:
        destroy_disks(system, made)
        raise
    return made


def destroy_disks(system: System, volids: list[str]) -> None:
    for volid in volids:
        try:
            storage.vdisk_free(system, volid)
        except PVEError as error:
            warn(error.message)


def delete_mountpoint_volume(system: System, vmid: int, volid: str) -> None:
    if Config(system).classify_mountpoint(volid) != "volume":
        return
    if storage.parse_volname(system, volid).vmid == vmid:
        storage.vdisk_free(system, volid)
    else:
        warn(f"ignore deletion of '{volid}', CT {vmid} isn't the owner!")


def destroy_lxc_container(
    system: System, vmid: int, conf: Conf, replacement: Conf, *, purge_unreferenced: bool = False
) -> None:
    config = Config(system)
    freed = set()
    for section in (conf, conf.get("pending", {})):
        for _key, volume in config.foreach_volume(section, include_unused=True):
            if volume["volume"] not in freed:
                freed.add(volume["volume"])
                delete_mountpoint_volume(system, vmid, volume["volume"])
    if purge_unreferenced:
        destroy_disks(system, storage.vdisk_list(system, vmid))
    folder = system.path(f"var/lib/lxc/{vmid}")
    (folder / "config").unlink(missing_ok=True)
    for place in (folder / "rootfs", folder):
        # As in PVE something may be left (passthrough, rules.seccomp), and then the folder stays.
        if place.is_dir() and not place.is_symlink() and not any(place.iterdir()):
            place.rmdir()
    config.write_config(vmid, replacement)


def template_create(system: System, vmid: int, conf: Conf) -> None:
    config = Config(system)
    for _key, volume in config.foreach_volume(conf):
        if not storage.volume_has_feature(system, "template", volume["volume"]):
            raise PVEError(f"Template feature is not available for '{volume['volume']}'")
    for key, volume in config.foreach_volume(conf):
        volume["volume"] = storage.vdisk_create_base(system, volume["volume"])
        conf[key] = config.print_ct_mountpoint(volume, key == "rootfs")
    config.write_config(vmid, conf)


def copy_volume(  # noqa: PLR0917 - PVE's arguments
    system: System, volume: Volume, vmid: int, storeid: str, conf: Conf, snapname: str | None
) -> str:
    """A full copy for the container vmid; what rsync says about it goes to the task's log."""
    if volume["type"] != "volume":
        raise PVEError(f"cannot copy volumes of type {volume['type']}")
    volume["size"] = storage.volume_size_info(system, volume["volume"])
    new = alloc_disk(system, vmid, storeid, volume["size"] // 1024, parse_id_maps(conf))
    try:
        _delay(system)
        storage.vdisk_copy(system, volume["volume"], snapname, new)
        print(_statistics(system.path(storage.path(system, new))), flush=True)
    except PVEError:
        storage.vdisk_free(system, new)
        raise
    return new


def _delay(system: System) -> None:
    file = system.path(COPY_DELAY)
    if file.is_file():
        system.sleep(float(file.read_text(encoding="ascii")))


def _statistics(root: os.PathLike[str]) -> str:
    """As rsync counts what it has copied."""
    folders, files, links, size = 1, 0, 0, 0
    for path, names, others in os.walk(root):
        for name in [*names, *others]:
            status = os.lstat(os.path.join(path, name))
            if name in names and not os.path.islink(os.path.join(path, name)):
                folders += 1
            elif os.path.islink(os.path.join(path, name)):
                links += 1
            else:
                files += 1
                size += status.st_size
    kinds = [("reg", files), ("dir", folders), ("link", links)]
    total = ", ".join(f"{kind}: {count:,}" for kind, count in kinds if count)
    created = ", ".join(f"{kind}: {count - (kind == 'dir'):,}" for kind, count in kinds if count - (kind == "dir"))
    number = files + folders + links
    sent = size + 60 * number
    return "\n".join(
        [
            "",
            f"Number of files: {number:,} ({total})",
            f"Number of created files: {number - 1:,}{f' ({created})' if created else ''}",
            "Number of deleted files: 0",
            f"Number of regular files transferred: {files:,}",
            f"Total file size: {size:,} bytes",
            f"Total transferred file size: {size:,} bytes",
            f"Literal data: {size:,} bytes",
            "Matched data: 0 bytes",
            "File list size: 0",
            "File list generation time: 0.001 seconds",
            "File list transfer time: 0.000 seconds",
            f"Total bytes sent: {sent:,}",
            f"Total bytes received: {19 * files + 19:,}",
            "",
            f"sent {sent:,} bytes  received {19 * files + 19:,} bytes  {2 * sent:,}.00 bytes/sec",
            f"total size is {size:,}  speedup is {size / sent:.2f}",
        ]
    )


def rescan(system: System, vmid: int | None, *, dryrun: bool = False) -> None:
    """Note volumes that no configuration names, and sizes that changed."""
    from .. import cluster  # noqa: PLC0415 - the only one here that looks at other containers

    print("rescan volumes...", flush=True)
    config = Config(system)
    for found in [vmid] if vmid is not None else cluster.ids_in(system, f"nodes/{system.node}/lxc"):
        with config.lock_config(found):
            conf = config.load_config(found)
            config.check_lock(conf)
            if _rescan_one(system, config, found, conf) and not dryrun:
                config.write_config(found, conf)


def _rescan_one(system: System, config: Config, vmid: int, conf: Conf) -> bool:
    changed = False
    for volid in storage.vdisk_list(system, vmid):
        listed = volid in (conf[key] for key in conf if key.startswith("unused"))
        if not config.is_volume_in_use(conf, volid) and not listed:
            key = config.add_unused_volume(conf, volid)
            print(f"CT {vmid}: add unreferenced volume '{volid}' as '{key}' to config.", flush=True)
            changed = True
    for key, volume in config.foreach_volume(conf):
        if volume["type"] != "volume":
            continue
        size = storage.volume_size_info(system, volume["volume"])
        if size and size != volume.get("size"):
            print(f"CT {vmid}: updated volume size of '{volume['volume']}' in config.", flush=True)
            conf[key] = config.print_ct_mountpoint({**volume, "size": size}, key == "rootfs")
            changed = True
    return changed
