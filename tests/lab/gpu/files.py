# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Files of the kernel's stand-in. Single files are bind-mounted, which binds what is there now: they are written in
# place, and never replaced.

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path


def write(path: Path, content: str | bytes) -> None:
    data = content.encode() if isinstance(content, str) else content
    try:
        if path.read_bytes() == data:
            return
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(descriptor, data, 0)
        os.ftruncate(descriptor, len(data))
    finally:
        os.close(descriptor)


def only(directory: Path, names: Sequence[str]) -> None:
    """Remove everything else from a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.iterdir():
        if path.name not in names:
            shutil.rmtree(path)


def link(path: Path, name: str | None, prefix: str) -> None:
    if path.is_symlink():
        path.unlink()
    if name:
        path.symlink_to(prefix + name)
