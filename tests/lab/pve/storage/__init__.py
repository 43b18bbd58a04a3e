# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::Storage: storage.cfg, volume ids, and the operations on volumes, each done by the plug-in of its storage.

from __future__ import annotations

import re
from typing import Any

from .. import cluster
from ..exceptions import PVEError
from ..system import System
from .btrfs import BTRFSPlugin
from .dir import DirPlugin
from .plugin import Plugin, Settings, Volname
from .zfspool import ZFSPoolPlugin

PLUGINS: dict[str, type[Plugin]] = {"dir": DirPlugin, "btrfs": BTRFSPlugin, "zfspool": ZFSPoolPlugin}
_VOLUME_ID = re.compile(r"([a-z][a-z0-9\-_.]*[a-z0-9]):(.+)", re.IGNORECASE | re.DOTALL)
_SECTION = re.compile(r"(\S+):\s*(\S+)\s*")


def config(system: System) -> dict[str, Settings]:
    text = (cluster.read_file(system, "storage.cfg") or b"").decode("utf-8", "replace")
    found: dict[str, Settings] = {}
    current: Settings = {}
    for line in text.splitlines():
        if section := _SECTION.fullmatch(line):
            current = found[section[2]] = {"type": section[1]}
        elif line.strip() and line[0] in " \t":
            key, _space, value = line.strip().partition(" ")
            current[key] = value.strip() or "1"
    for settings in found.values():
        settings["content"] = frozenset(re.split(r"[,\s]+", settings.get("content", "images,rootdir")))
    everything = frozenset("images rootdir vztmpl iso backup snippets".split())
    found.setdefault("local", {"type": "dir", "path": "/var/lib/vz", "content": everything})
    return found


def storage_config(cfg: dict[str, Settings], storeid: str) -> Settings:
    if storeid not in cfg:
        raise PVEError(f"storage '{storeid}' does not exist")
    return cfg[storeid]


def storage_check_enabled(system: System, storeid: str, node: str | None = None) -> Settings:
    settings = storage_config(config(system), storeid)
    if str(settings.get("disable", "0")) == "1":
        raise PVEError(f"storage '{storeid}' is disabled")
    node = node or system.node
    if "nodes" in settings and node not in re.split(r"[,\s]+", settings["nodes"]):
        raise PVEError(f"storage '{storeid}' is not available on node '{node}'")
    return settings


def plugin(system: System, storeid: str) -> Plugin:
    settings = storage_config(config(system), storeid)
    if settings["type"] not in PLUGINS:
        raise PVEError(f"unknown storage type '{settings['type']}'")
    return PLUGINS[settings["type"]](system, storeid, settings)


def parse_volume_id(volid: str) -> tuple[str, str]:
    found = split_volume_id(volid)
    if not found:
        raise PVEError(f"unable to parse volume ID '{volid}'")
    return found


def split_volume_id(volid: str) -> tuple[str, str] | None:
    found = _VOLUME_ID.fullmatch(volid)
    return (found[1], found[2]) if found else None


def parse_volname(system: System, volid: str) -> Volname:
    storage, volname = _open(system, volid)
    return storage.parse_volname(volname)


def path(system: System, volid: str, snapname: str | None = None) -> str:
    storage, volname = _open(system, volid)
    return storage.path(volname, snapname)


def activate_storage(system: System, storeid: str) -> None:
    plugin(system, storeid).activate()


def activate_volumes(system: System, volids: list[str], snapname: str | None = None) -> None:
    for volid in volids:
        storage, volname = _open(system, volid)
        storage.activate()
        if not system.path(storage.path(volname, snapname)).exists():
            raise PVEError(f"volume '{volid}' does not exist")


def abs_filesystem_path(system: System, volid: str) -> str:
    """A template by its volume id or by its path."""
    if split_volume_id(volid):
        activate_volumes(system, [volid])
        return path(system, volid)
    if not system.path(volid).is_file():
        raise PVEError(f"can't find file '{volid}'")
    return volid


def vdisk_alloc(system: System, storeid: str, vmid: int, fmt: str, size_kb: int) -> str:
    storage_check_enabled(system, storeid)
    return f"{storeid}:{plugin(system, storeid).alloc_image(vmid, fmt, None, size_kb)}"


def vdisk_free(system: System, volid: str) -> None:
    storage, volname = _open(system, volid)
    if isinstance(storage, ZFSPoolPlugin) and storage.is_base_and_used(volname):
        raise PVEError(f"base volume '{volname}' is still in use by linked clones")
    storage.free_image(volname)


def vdisk_clone(system: System, volid: str, vmid: int, snapname: str | None = None) -> str:
    storage, volname = _open(system, volid)
    storage.activate()
    return f"{storage.storeid}:{storage.clone_image(volname, vmid, snapname)}"


def vdisk_create_base(system: System, volid: str) -> str:
    storage, volname = _open(system, volid)
    return f"{storage.storeid}:{storage.create_base(volname)}"


def vdisk_copy(system: System, volid: str, snapname: str | None, target: str) -> None:
    """Fill a new volume with another one's data: done by rsync in PVE, here by a copy-on-write snapshot if possible."""
    source = path(system, volid, snapname)
    storage, volname = _open(system, target)
    goal = storage.path(volname)
    if type(storage) is DirPlugin:
        result = system.run(["cp", "-a", "--", f"{system.path(source)}/.", str(system.path(goal))])
        if result.returncode:
            raise PVEError(result.stderr.strip())
    else:
        system.volumes.delete(goal)
        system.volumes.snapshot(source, goal, readonly=False)


def volume_has_feature(system: System, feature: str, volid: str, snapname: str | None = None) -> bool:
    found = split_volume_id(volid)
    if not found:
        return False
    return plugin(system, found[0]).has_feature(feature, found[1], snapname)


def volume_size_info(system: System, volid: str) -> int:
    storage, volname = _open(system, volid)
    return storage.size_info(volname)


def volume_resize(system: System, volid: str, size: int) -> None:
    storage, volname = _open(system, volid)
    storage.resize(volname, size)


def volume_snapshot(system: System, volid: str, snapname: str) -> None:
    storage, volname = _open(system, volid)
    storage.snapshot(volname, snapname)


def volume_rollback_is_possible(system: System, volid: str, snapname: str) -> None:
    storage, volname = _open(system, volid)
    storage.rollback_is_possible(volname, snapname)


def volume_snapshot_rollback(system: System, volid: str, snapname: str) -> None:
    storage, volname = _open(system, volid)
    storage.rollback(volname, snapname)


def volume_snapshot_delete(system: System, volid: str, snapname: str) -> None:
    storage, volname = _open(system, volid)
    storage.snapshot_delete(volname, snapname)


def volume_list(
    system: System, storeid: str, vmid: int | None = None, content: str | None = None
) -> list[dict[str, Any]]:
    """What a storage holds: volid, format, size, content, vmid …, sorted by volume id."""
    settings = storage_check_enabled(system, storeid)
    storage = plugin(system, storeid)
    wanted = [content] if content else sorted(settings["content"])
    found: list[dict[str, Any]] = []
    if "images" in wanted or "rootdir" in wanted:
        for image in storage.images():
            kind = "rootdir" if image["format"] == "subvol" else "images"
            if kind in wanted and vmid in (None, image["vmid"]):
                found.append({**image, "content": kind})
    if isinstance(storage, DirPlugin) and vmid is None:
        for kind in ("vztmpl", "iso", "snippets", "backup"):
            if kind in wanted and kind in settings["content"]:
                found += _files(storage, kind)
    return sorted(found, key=lambda item: str(item["volid"]))


def vdisk_list(system: System, vmid: int) -> list[str]:
    """The volume ids of a guest on every storage that can hold containers."""
    found = []
    for storeid, settings in config(system).items():
        if "rootdir" in settings["content"] and settings["type"] in PLUGINS and not settings.get("disable"):
            found += [item["volid"] for item in plugin(system, storeid).images() if item["vmid"] == vmid]
    return found


def _files(storage: DirPlugin, kind: str) -> list[dict[str, Any]]:
    found = []
    for file in sorted(storage.system.path(storage.folder(kind)).glob("*")):
        try:
            volume = storage.parse_volname(f"{kind}/{file.name}")
        except PVEError:
            continue
        stat = file.stat()
        volid = f"{storage.storeid}:{kind}/{file.name}"
        found.append(
            {
                "volid": volid,
                "format": volume.format,
                "size": stat.st_size,
                "content": kind,
                "ctime": int(stat.st_ctime),
            }
        )
    return found


def _open(system: System, volid: str) -> tuple[Plugin, str]:
    storeid, volname = parse_volume_id(volid)
    return plugin(system, storeid), volname
