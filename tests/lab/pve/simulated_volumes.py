# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Volumes and mounts without root: a volume is a plain folder, a mount a link that stands in its mount point's place.

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from .exceptions import PVEError

Place = Callable[[str], Path]
"""SimulatedSystem.path."""


class SimulatedVolumes:
    def __init__(self, place: Place) -> None:
        self._place = place

    def create(self, path: str) -> None:
        target = self._place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.mkdir()

    def snapshot(self, source: str, target: str, *, readonly: bool) -> None:
        del readonly
        copy = self._place(target)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self._place(source), copy, symlinks=True)
        remove_mounts_inside(self._place, copy)

    def delete(self, path: str) -> None:
        shutil.rmtree(self._place(path))

    def exists(self, path: str) -> bool:
        return self._place(path).is_dir()


def mount(place: Place, source: str, target: str) -> None:
    if not place(source).exists():
        raise PVEError(f"mount: {target}: special device {source} does not exist.")
    folder = place(target)
    if folder.is_symlink():
        folder.unlink()
    elif folder.is_dir():
        # What a mount hides is lost here; mount points are empty folders.
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.symlink_to(place(source))


def unmount(place: Place, target: str) -> None:
    folder = place(target)
    if folder.is_symlink():
        remove_mounts_inside(place, folder.resolve())
        folder.unlink()
        folder.mkdir()


def remove_mounts_inside(place: Place, folder: Path) -> None:
    for path, names, _files in os.walk(folder):
        for link in (Path(path, name) for name in names):
            if link.is_symlink() and os.readlink(link).startswith(f"{place('')}/"):
                link.unlink()
                link.mkdir()
