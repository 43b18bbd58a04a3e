# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Bind mounts in the mount namespace of another process, by libc.

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BIND, _REMOUNT, _RECURSIVE = 4096, 32, 16384
_READ_ONLY, _NO_SUID, _NO_DEV, _NO_EXEC = 1, 2, 4, 8
_NEW_MOUNTS = 0x00020000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def mounts_of(pid: int) -> Iterator[None]:
    """Be in the mount namespace of a process. Before it changes its root, the host's files are seen there as well."""
    own, folder = os.open("/proc/self/ns/mnt", os.O_RDONLY), Path.cwd()
    other = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    try:
        _check(_libc.setns(other, _NEW_MOUNTS), f"/proc/{pid}/ns/mnt")
        yield
    finally:
        _check(_libc.setns(own, _NEW_MOUNTS), "/proc/self/ns/mnt")
        os.chdir(folder)
        os.close(own)
        os.close(other)


def bind(source: str, root: Path, *, at: str = "", readonly: bool) -> None:
    """Mount source at the same place below root, or where `at` says; made if it is missing."""
    target = root / (at or source).lstrip("/")
    if Path(source).is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.unlink(missing_ok=True)
            target.touch()
    _mount(source, target, _BIND | _RECURSIVE)
    # What is locked on the source's mount must be said again.
    flags = os.statvfs(source).f_flag & (_READ_ONLY | _NO_SUID | _NO_DEV | _NO_EXEC)
    if readonly:
        _mount(source, target, _BIND | _REMOUNT | flags | _READ_ONLY | _NO_SUID | _NO_DEV)


def _mount(source: str, target: Path, flags: int) -> None:
    done = _libc.mount(source.encode(), os.fsencode(target), None, ctypes.c_ulong(flags), None)
    _check(done, str(target))


def _check(result: int, name: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
