# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::Cluster: the files below /etc/pve, as pmxcfs keeps them.

from __future__ import annotations

import contextlib
import grp
import os
from collections.abc import Iterator

from .exceptions import ENOENT, PVEError
from .system import System

MAX_FILE_SIZE = 1024 * 1024
"""What pmxcfs accepts of one file."""


def read_file(system: System, path: str) -> bytes | None:
    """A file, by its path below /etc/pve."""
    try:
        return system.path(f"etc/pve/{path}").read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_file(system: System, path: str, data: bytes) -> None:
    """Replace a file at once, 0640 root:www-data as every file of pmxcfs is."""
    name = f"/etc/pve/{path}.tmp.{os.getpid()}"
    target = system.path(f"etc/pve/{path}")
    temporary = system.path(name.lstrip("/"))
    try:
        if len(data) > MAX_FILE_SIZE:
            raise PVEError(f"unable to write '{name}' - File too large")
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        give_to_www_data(temporary)
        temporary.rename(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise PVEError(f"unable to open file '{name}' - {error.strerror}") from error


def give_to_www_data(path: os.PathLike[str]) -> None:
    """Owner and mode of pmxcfs, where this user may set them and the group exists."""
    os.chmod(path, 0o640)
    with contextlib.suppress(PermissionError, KeyError):
        os.chown(path, 0, grp.getgrnam("www-data").gr_gid)


def nodes(system: System) -> list[str]:
    folder = system.path("etc/pve/nodes")
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


def guests(system: System) -> Iterator[tuple[int, str, str]]:
    """Every guest of the cluster: its id, "lxc" or "qemu", its node."""
    for node in nodes(system):
        for kind, folder in (("lxc", "lxc"), ("qemu", "qemu-server")):
            for vmid in ids_in(system, f"nodes/{node}/{folder}"):
                yield vmid, kind, node


def ids_in(system: System, folder: str) -> list[int]:
    try:
        names = os.listdir(system.path(f"etc/pve/{folder}"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    stems = [name[:-5] for name in names if name.endswith(".conf")]
    return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit() and not stem.startswith("0"))


def check_vmid_unused(system: System, vmid: int, allow_existing: bool = False) -> None:
    """Ids are unique in the cluster. `allow_existing` passes over a container of this node (restore)."""
    for found, kind, node in guests(system):
        if found == vmid and not (allow_existing and kind == "lxc" and node == system.node):
            name = "VM" if kind == "qemu" else "CT"
            raise PVEError(f"{name} {vmid} already exists on node '{node}'", errno=ENOENT)
