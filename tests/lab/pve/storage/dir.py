# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::Storage::DirPlugin: a folder with templates and images. Its containers are plain folders (format subvol), which
# cannot be snapshot; images would need qemu-img, which the node lacks, as the recorded one did.

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..exceptions import PVEError
from .plugin import ARCHIVE, Plugin, Volname, file_size

_FOLDERS = {
    "images": "images",
    "rootdir": "private",
    "iso": "template/iso",
    "vztmpl": "template/cache",
    "snippets": "snippets",
    "backup": "dump",
}
_IMAGE = re.compile(r"(?:(\d+)/(\S+)/)?(\d+)/([^/\s]+)")
_PLAIN = re.compile(r"(iso|snippets|backup)/([^/]+)")
_FORMAT = re.compile(r"\.(raw|qcow2|vmdk|subvol)")


class DirPlugin(Plugin):
    features = {  # noqa: RUF012 - never changed
        "copy": frozenset(("current", "base")),
        "template": frozenset(),
    }

    def root(self) -> str:
        return str(self.settings["path"])

    def folder(self, vtype: str) -> str:
        return f"{self.root()}/{_FOLDERS[vtype]}"

    def parse_volname(self, volname: str) -> Volname:
        if found := ARCHIVE.fullmatch(volname):
            return Volname("vztmpl", found[1], format="t" + found[1].rpartition(".")[2].removeprefix("t"))
        if found := _PLAIN.fullmatch(volname):
            return Volname(found[1], found[2], format=found[1])
        if found := _IMAGE.fullmatch(volname):
            basevmid, basename, vmid, name = found.groups()
            ending = _FORMAT.search(name)
            if ending and name.endswith(ending[0]):
                is_base = name.startswith("base")
                return Volname(
                    "images", name, int(vmid), basename, int(basevmid) if basevmid else None, is_base, ending[1]
                )
        raise PVEError(f"unable to parse directory volume name '{volname}'")

    def path(self, volname: str, snapname: str | None = None) -> str:
        volume = self.parse_volname(volname)
        folder = self.folder(volume.vtype)
        if volume.vtype != "images":
            return f"{folder}/{volume.name}"
        return f"{folder}/{volume.vmid}/{volume.name}" + (f"@{snapname}" if snapname else "")

    def images(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self.system.path(self.folder("images")).glob("[0-9]*/*")):
            if "@" in path.name or not _FORMAT.search(path.name):
                continue
            name = f"{path.parent.name}/{path.name}"
            fmt = path.suffix.removeprefix(".")
            size = self.size_info(name) if fmt == "subvol" else file_size(path)
            volid = f"{self.storeid}:{name}"
            yield {"volid": volid, "format": fmt, "size": size, "vmid": int(path.parent.name), "used": 0}

    def alloc_image(self, vmid: int, fmt: str, name: str | None, size_kb: int) -> str:
        name = name or self.find_free_diskname(
            vmid, ("subvol" if fmt == "subvol" else "vm") + "-{vmid}-disk-{number}." + fmt
        )
        path = f"{self.folder('images')}/{vmid}/{name}"
        if self.system.path(path).exists():
            raise PVEError(f"disk image '{path}' already exists")
        if fmt != "subvol":
            command = f"/usr/bin/qemu-img create -o preallocation=off -f {fmt} {path} {size_kb}K"
            where = "No such file or directory at /usr/share/perl5/PVE/Cmd.pm line 174."
            raise PVEError(f"unable to create image: open3: exec of {command} failed: {where}")
        if size_kb:
            raise PVEError("storage does not support subvol quotas")
        self._create(path)
        return f"{vmid}/{name}"

    def _create(self, path: str) -> None:
        self.system.path(path).mkdir(parents=True, mode=0o755)

    def free_image(self, volname: str) -> None:
        path = self.system.path(self.path(volname))
        if not path.exists():
            raise PVEError(f"disk image '{self.path(volname)}' does not exist")
        result = self.system.run(["rm", "-rf", "--", str(path)])
        if result.returncode:
            raise PVEError(f"can't unlink '{self.path(volname)}'")
        if not any(path.parent.iterdir()):
            path.parent.rmdir()

    def clone_image(self, volname: str, vmid: int, snapname: str | None) -> str:
        del vmid, snapname
        raise PVEError(f"can't clone volume '{self.storeid}:{volname}' - not a base image")

    def create_base(self, volname: str) -> str:
        raise PVEError(f"create_base not possible with format '{self.parse_volname(volname).format}'")

    def size_info(self, volname: str) -> int:
        del volname
        return 0

    def resize(self, volname: str, size: int) -> None:
        del volname, size
        raise PVEError("can't resize this image format")

    def snapshot(self, volname: str, snapname: str) -> None:
        del volname, snapname
        raise PVEError("can't snapshot this image format")

    def rollback_is_possible(self, volname: str, snapname: str) -> None:
        """PVE does not ask here."""

    def rollback(self, volname: str, snapname: str) -> None:
        del volname, snapname
        raise PVEError("can't rollback snapshot for this image format")

    def snapshot_delete(self, volname: str, snapname: str) -> None:
        del volname, snapname
        raise PVEError("can't delete snapshot for this image format")
