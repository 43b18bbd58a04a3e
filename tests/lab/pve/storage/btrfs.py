# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::Storage::BTRFSPlugin. A volume is the subvolume images/<id>/subvol-<id>-disk-N.subvol, a snapshot the read-only
# subvolume …@name beside it. PVE refuses sizes of subvolumes; here the size is kept and shown, so that a configuration
# looks as it does on the storages that people use.

from __future__ import annotations

from pathlib import Path

from ..exceptions import PVEError
from .dir import DirPlugin

_SIZES = ".sizes"


class BTRFSPlugin(DirPlugin):
    features = {  # noqa: RUF012 - never changed
        "snapshot": frozenset(("current", "snap")),
        "clone": frozenset(("base",)),
        "template": frozenset(("current",)),
        "copy": frozenset(("base", "current", "snap")),
    }

    def alloc_image(self, vmid: int, fmt: str, name: str | None, size_kb: int) -> str:
        if fmt != "subvol":
            return super().alloc_image(vmid, fmt, name, size_kb)
        volname = super().alloc_image(vmid, fmt, name, 0)
        self._remember_size(volname, size_kb * 1024)
        return volname

    def _create(self, path: str) -> None:
        self.system.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.system.volumes.create(path)

    def free_image(self, volname: str) -> None:
        path = self.path(volname)
        if not self.system.volumes.exists(path):
            raise PVEError(f"command 'btrfs subvolume delete -- {path}' failed: exit code 1")
        folder = self.system.path(path).parent
        for snapshot in sorted(folder.glob(f"{self.parse_volname(volname).name}@*")):
            self.system.volumes.delete(f"{path.rpartition('/')[0]}/{snapshot.name}")
        self.system.volumes.delete(path)
        self._size_file(volname).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()

    def clone_image(self, volname: str, vmid: int, snapname: str | None) -> str:
        name = self.find_free_diskname(vmid, "subvol-{vmid}-disk-{number}.subvol")
        path = f"{self.folder('images')}/{vmid}/{name}"
        self.system.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.system.volumes.snapshot(self.path(volname, snapname), path, readonly=False)
        self._remember_size(f"{vmid}/{name}", self.size_info(volname))
        return f"{vmid}/{name}"

    def create_base(self, volname: str) -> str:
        # PVE gives the name base-… to images only, and the lab has none: its subvolumes take their part.
        volume = self.parse_volname(volname)
        if volume.is_base:
            raise PVEError("create_base not possible with base image")
        new = f"{volume.vmid}/{volume.name.replace('subvol-', 'base-', 1)}"
        self.system.path(self.path(volname)).rename(self.system.path(self.path(new)))
        self._size_file(volname).rename(self._size_file(new))
        return new

    def size_info(self, volname: str) -> int:
        try:
            return int(self._size_file(volname).read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0

    def resize(self, volname: str, size: int) -> None:
        self._remember_size(volname, size)

    def snapshot(self, volname: str, snapname: str) -> None:
        self.system.volumes.snapshot(self.path(volname), self.path(volname, snapname), readonly=True)

    def rollback(self, volname: str, snapname: str) -> None:
        path = self.path(volname)
        self.system.volumes.snapshot(self.path(volname, snapname), f"{path}.tmp", readonly=False)
        self.system.volumes.delete(path)
        self.system.path(f"{path}.tmp").rename(self.system.path(path))

    def snapshot_delete(self, volname: str, snapname: str) -> None:
        path = self.path(volname, snapname)
        if not self.system.volumes.exists(path):
            raise PVEError(f"command 'btrfs subvolume delete -- {path}' failed: exit code 1")
        self.system.volumes.delete(path)

    def _remember_size(self, volname: str, size: int) -> None:
        path = self._size_file(volname)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(size), encoding="ascii")

    def _size_file(self, volname: str) -> Path:
        return self.system.path(f"{self.folder('images')}/{_SIZES}/{volname.replace('/', '_')}")
