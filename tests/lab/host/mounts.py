# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What a root file system needs to be lived in. Used for the outside of a lab, and for the chroots that build its cache.

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
    "fuse": (10, 229),
    "loop-control": (10, 237),
}
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def bind(source: Path, target: Path, *, readonly: bool = False) -> None:
    target.mkdir(parents=True, exist_ok=True)
    mount("--bind", source, target)
    if readonly:
        mount("-o", "remount,bind,ro", target)


def furnish(root: Path) -> None:
    """Mount /proc, /dev and the folders of the moment below root, in this process's own mount namespace."""
    for name in ("proc", "dev", "run", "tmp"):
        (root / name).mkdir(exist_ok=True)
    mount("-t", "proc", "proc", root / "proc")
    mount("-t", "tmpfs", "-o", "mode=0755,nosuid", "dev", root / "dev")
    for name, (major, minor) in _DEVICES.items():
        device = root / "dev" / name
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(major, minor))
        device.chmod(0o666)
    for name, target in _LINKS.items():
        (root / "dev" / name).symlink_to(target)
    (root / "dev/net").mkdir()
    os.mknod(root / "dev/net/tun", stat.S_IFCHR | 0o666, os.makedev(10, 200))
    (root / "dev/net/tun").chmod(0o666)
    (root / "dev/pts").mkdir()
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=0620,gid=5", "devpts", root / "dev/pts")
    (root / "dev/shm").mkdir()
    mount("-t", "tmpfs", "-o", "mode=1777", "shm", root / "dev/shm")
    mount("-t", "tmpfs", "-o", "mode=0755", "run", root / "run")
    mount("-t", "tmpfs", "-o", "mode=1777", "tmp", root / "tmp")
