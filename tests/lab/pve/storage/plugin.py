# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::Storage::Plugin: what every kind of storage offers. A volume is a folder (a btrfs subvolume where there is one).

from __future__ import annotations

import abc
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..exceptions import PVEError
from ..system import System

Settings = dict[str, Any]
"""A storage as storage.cfg has it: "type", "content" (a set), "path", "pool" …"""

ARCHIVE = re.compile(r"vztmpl/([^/]+\.tar(?:\.(?:gz|xz|zst|bz2|lzo))?)")


class Volname(NamedTuple):
    vtype: str
    name: str
    vmid: int | None = None
    basename: str | None = None
    basevmid: int | None = None
    is_base: bool = False
    format: str | None = None


class Plugin(abc.ABC):
    # Which features a volume has: as it is, as a snapshot of it, as a template.
    features: dict[str, frozenset[str]]

    def __init__(self, system: System, storeid: str, settings: Settings) -> None:
        self.system = system
        self.storeid = storeid
        self.settings = settings

    # Names and places

    @abc.abstractmethod
    def parse_volname(self, volname: str) -> Volname: ...

    @abc.abstractmethod
    def path(self, volname: str, snapname: str | None = None) -> str: ...

    @abc.abstractmethod
    def root(self) -> str:
        """The folder that df is asked about."""

    @abc.abstractmethod
    def images(self) -> Iterator[dict[str, Any]]:
        """Every volume of a guest: volid, format, size, vmid, used, parent."""

    # Volumes

    @abc.abstractmethod
    def alloc_image(self, vmid: int, fmt: str, name: str | None, size_kb: int) -> str: ...

    @abc.abstractmethod
    def free_image(self, volname: str) -> None: ...

    @abc.abstractmethod
    def clone_image(self, volname: str, vmid: int, snapname: str | None) -> str: ...

    @abc.abstractmethod
    def create_base(self, volname: str) -> str: ...

    @abc.abstractmethod
    def size_info(self, volname: str) -> int: ...

    @abc.abstractmethod
    def resize(self, volname: str, size: int) -> None: ...

    # Snapshots

    @abc.abstractmethod
    def snapshot(self, volname: str, snapname: str) -> None: ...

    @abc.abstractmethod
    def rollback_is_possible(self, volname: str, snapname: str) -> None: ...

    @abc.abstractmethod
    def rollback(self, volname: str, snapname: str) -> None: ...

    @abc.abstractmethod
    def snapshot_delete(self, volname: str, snapname: str) -> None: ...

    def has_feature(self, feature: str, volname: str, snapname: str | None = None) -> bool:
        state = "snap" if snapname else "base" if self.parse_volname(volname).is_base else "current"
        return state in self.features.get(feature, frozenset())

    def find_free_diskname(self, vmid: int, pattern: str) -> str:
        """The first number that no volume of this guest has, in the pattern's place."""
        taken = set()
        for image in self.images():
            if found := re.search(rf"(?:vm|base|subvol|basevol)-{vmid}-disk-(\d+)", image["volid"]):
                taken.add(int(found[1]))
        number = next(n for n in range(len(taken) + 1) if n not in taken)
        return pattern.format(vmid=vmid, number=number)

    def activate(self) -> None:
        if not self.system.path(self.root()).is_dir():
            problem = f"directory '{self.root()}' does not exist or is unreachable"
            raise PVEError(f"unable to activate storage '{self.storeid}' - {problem}")

    def exists(self, volname: str) -> bool:
        return self.system.path(self.path(volname)).exists()

    def status(self) -> tuple[int, int, int] | None:
        """Total, available and used bytes; None where it cannot be told."""
        try:
            found = os.statvfs(self.system.path(self.root()))
        except OSError:
            return None
        total = found.f_blocks * found.f_frsize
        return total, found.f_bavail * found.f_frsize, total - found.f_bfree * found.f_frsize


def file_size(path: os.PathLike[str]) -> int:
    return os.stat(path).st_size
