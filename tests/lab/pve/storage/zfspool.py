# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::Storage::ZFSPoolPlugin with ZFS's rules, carried by btrfs: a dataset is the subvolume <mountpoint>/<name>, its
# snapshots are <mountpoint>/.snapshots/<name>@<snapshot>; what `zfs get` would say lies in .datasets/<name>.json.

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..exceptions import PVEError
from .plugin import Plugin, Volname

BASE_SNAPSHOT = "__base__"
_VOLNAME = re.compile(
    r"((base|basevol)-(\d+)-\S+)/((?:base|basevol|vm|subvol)-(\d+)-\S+)|((base|basevol|vm|subvol)-(\d+)-\S+)"
)


class ZFSPoolPlugin(Plugin):
    features = {  # noqa: RUF012 - never changed
        "snapshot": frozenset(("current", "snap")),
        "clone": frozenset(("base",)),
        "template": frozenset(("current",)),
        "copy": frozenset(("base", "current")),
    }

    def root(self) -> str:
        return str(self.settings.get("mountpoint") or f"/{self.settings['pool']}")

    def parse_volname(self, volname: str) -> Volname:
        found = _VOLNAME.fullmatch(volname)
        if not found:
            raise PVEError(f"unable to parse zfs volume name '{volname}'")
        basename, _kind, basevmid, linked, vmid, plain, kind, plain_vmid = found.groups()
        name = linked or plain
        kind = kind or name.partition("-")[0]
        fmt = "subvol" if kind in ("subvol", "basevol") else "raw"
        is_base = kind in ("base", "basevol")
        return Volname(
            "images", name, int(vmid or plain_vmid), basename, int(basevmid) if basevmid else None, is_base, fmt
        )

    def path(self, volname: str, snapname: str | None = None) -> str:
        name = self.parse_volname(volname).name
        return f"{self.root()}/.snapshots/{name}@{snapname}" if snapname else f"{self.root()}/{name}"

    def images(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self.system.path(f"{self.root()}/.datasets").glob("*.json")):
            data = self._dataset(path.stem)
            found = self.parse_volname(path.stem)
            parent = data.get("parent")
            name = f"{parent.partition('@')[0]}/{path.stem}" if parent else path.stem
            image = {
                "volid": f"{self.storeid}:{name}",
                "format": found.format,
                "size": data["size"],
                "vmid": found.vmid,
                "used": 0,
            }
            yield {**image, "parent": parent} if parent else image

    def alloc_image(self, vmid: int, fmt: str, name: str | None, size_kb: int) -> str:
        if fmt != "subvol":
            raise PVEError(f"unsupported format '{fmt}'")
        name = name or self.find_free_diskname(vmid, "subvol-{vmid}-disk-{number}")
        if not name.startswith(f"subvol-{vmid}-"):
            raise PVEError(f"illegal name '{name}' - should be 'subvol-{vmid}-*'")
        self.system.path(self.root()).mkdir(parents=True, exist_ok=True)
        self.system.volumes.create(f"{self.root()}/{name}")
        self._write(name, {"size": size_kb * 1024, "snapshots": []})
        return name

    def free_image(self, volname: str) -> None:
        name = self.parse_volname(volname).name
        path = f"{self.root()}/{name}"
        if not self.system.volumes.exists(path):
            raise PVEError(f"zfs error: cannot open '{self._pool(name)}': dataset does not exist")
        for snapname in self._dataset(name)["snapshots"]:
            self._delete_snapshot(name, snapname)
        self.system.volumes.delete(path)
        self._file(name).unlink(missing_ok=True)

    def clone_image(self, volname: str, vmid: int, snapname: str | None) -> str:
        base = self.parse_volname(volname)
        if not base.is_base:
            raise PVEError("clone_image only works on base images")
        name = self.find_free_diskname(vmid, "subvol-{vmid}-disk-{number}")
        snapname = snapname or BASE_SNAPSHOT
        self.system.volumes.snapshot(self.path(volname, snapname), f"{self.root()}/{name}", readonly=False)
        size = self._dataset(base.name)["size"]
        self._write(name, {"size": size, "snapshots": [], "parent": f"{base.name}@{snapname}"})
        return f"{base.name}/{name}"

    def create_base(self, volname: str) -> str:
        volume = self.parse_volname(volname)
        if volume.is_base:
            raise PVEError("create_base not possible with base image")
        name = volume.name.replace("subvol-", "basevol-", 1)
        self.system.path(f"{self.root()}/{volume.name}").rename(self.system.path(f"{self.root()}/{name}"))
        self._file(volume.name).rename(self._file(name))
        newname = f"{volume.basename}/{name}" if volume.basename else name
        self.snapshot(newname, BASE_SNAPSHOT)
        return newname

    def is_base_and_used(self, volname: str) -> bool:
        name = self.parse_volname(volname).name
        return any(str(image.get("parent", "")).startswith(f"{name}@") for image in self.images())

    def size_info(self, volname: str) -> int:
        return int(self._dataset(self.parse_volname(volname).name)["size"])

    def resize(self, volname: str, size: int) -> None:
        name = self.parse_volname(volname).name
        self._write(name, {**self._dataset(name), "size": size})

    def snapshot(self, volname: str, snapname: str) -> None:
        name = self.parse_volname(volname).name
        data = self._dataset(name)
        if snapname in data["snapshots"]:
            raise PVEError(f"zfs error: cannot create snapshot '{self._pool(name)}@{snapname}': dataset already exists")
        self.system.path(f"{self.root()}/.snapshots").mkdir(exist_ok=True)
        self.system.volumes.snapshot(f"{self.root()}/{name}", self.path(volname, snapname), readonly=True)
        self._write(name, {**data, "snapshots": [*data["snapshots"], snapname]})

    def rollback_is_possible(self, volname: str, snapname: str) -> None:
        snapshots = self._dataset(self.parse_volname(volname).name)["snapshots"]
        volid = f"{self.storeid}:{volname}"
        if snapname not in snapshots:
            raise PVEError(f"can't rollback, snapshot '{snapname}' does not exist on '{volid}'")
        if snapshots[-1] != snapname:
            raise PVEError(f"can't rollback, '{snapname}' is not most recent snapshot on '{volid}'")

    def rollback(self, volname: str, snapname: str) -> None:
        path = self.path(volname)
        self.system.volumes.snapshot(self.path(volname, snapname), f"{path}.tmp", readonly=False)
        self.system.volumes.delete(path)
        self.system.path(f"{path}.tmp").rename(self.system.path(path))

    def snapshot_delete(self, volname: str, snapname: str) -> None:
        name = self.parse_volname(volname).name
        data = self._dataset(name)
        if snapname not in data["snapshots"]:
            # PVE ignores "could not find any snapshots to destroy".
            return
        self._delete_snapshot(name, snapname)
        self._write(name, {**data, "snapshots": [other for other in data["snapshots"] if other != snapname]})

    def _delete_snapshot(self, name: str, snapname: str) -> None:
        if any(image.get("parent") == f"{name}@{snapname}" for image in self.images()):
            raise PVEError(f"zfs error: cannot destroy '{self._pool(name)}@{snapname}': snapshot has dependent clones")
        self.system.volumes.delete(f"{self.root()}/.snapshots/{name}@{snapname}")

    def _pool(self, name: str) -> str:
        return f"{self.settings['pool']}/{name}"

    def _dataset(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._file(name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise PVEError(f"zfs error: cannot open '{self._pool(name)}': dataset does not exist") from None
        return found

    def _write(self, name: str, data: dict[str, Any]) -> None:
        self._file(name).parent.mkdir(parents=True, exist_ok=True)
        self._file(name).write_text(json.dumps(data), encoding="utf-8")

    def _file(self, name: str) -> Path:
        return self.system.path(f"{self.root()}/.datasets/{name}.json")
