# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Work inside the namespaces of a running container, done in a child process that nobody has to bring back.

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable
from pathlib import Path

from .exceptions import PVEError
from .guest_files import NewFile, copy, create_file

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_BOTH_BY_DESCRIPTOR = 0x04 | 0x40
_MOUNT_ATTR_RDONLY = 1


def in_child(function: Callable[[], None]) -> None:
    """Run it in a child; what it raises is raised here."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        text = ""
        try:
            function()
        except PVEError as error:
            text = error.message
        except BaseException as error:  # noqa: BLE001 - the parent says what happened
            text = f"{type(error).__name__}: {error}"
        finally:
            os.write(sink, text.encode("utf-8", "surrogateescape")[:4096])
            os._exit(1 if text else 0)
    os.close(sink)
    with os.fdopen(source, "rb") as pipe:
        text = pipe.read().decode("utf-8", "surrogateescape")
    os.waitpid(child, 0)
    if text:
        raise PVEError(text)


class Namespaces:
    """The container's, held open: its init may end meanwhile."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._mount = _open(pid, "mnt")
        self._user = _open(pid, "user")

    def write_file(self, source: int, file: NewFile, *, unprivileged: bool) -> None:
        def work() -> None:
            self._enter(user=unprivileged)
            target, _owner = create_file(file, file.path)
            copy(source, target)

        _know_users()
        in_child(work)

    def read_file(self, path: str, target: int) -> None:
        def work() -> None:
            self._enter(user=False)
            try:
                source = os.open(path, os.O_RDONLY)
            except OSError as error:
                raise PVEError(f"failed to open {path}: {error.strerror}") from error
            copy(source, target)

        in_child(work)

    def add_device(self, monitor: int, node: str, path: str, make: Callable[[], None]) -> None:
        """`make` makes the node at `node` in the monitor's mount namespace; it appears at `path` in the container."""
        unprivileged = os.readlink("/proc/self/ns/user") != os.readlink(f"/proc/{self._pid}/ns/user")
        monitor_mount = _open(monitor, "mnt")

        def work() -> None:
            _setns(monitor_mount, CLONE_NEWNS)
            os.chdir("/")
            make()
            source = _open_tree(node)
            if unprivileged:
                self._enter_user()
            place = Path(f"/proc/{self._pid}/root{path}")
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                place.touch(mode=0o600)
            # Never opened: a device node there may have no driver.
            target = os.open(place, os.O_PATH)
            _setns(self._mount, CLONE_NEWNS)
            os.chdir("/")
            _move_mount(source, target)

        in_child(work)

    def add_mount(self, source: str, path: str, owner: tuple[int, int], *, readonly: bool) -> None:
        def work() -> None:
            tree = _open_tree(source)
            if readonly:
                _make_readonly(tree)
            _setns(self._mount, CLONE_NEWNS)
            os.chdir("/")
            place = Path("/")
            for name in path.strip("/").split("/"):
                place /= name
                if place.is_symlink():
                    raise PVEError(f"symlink encountered at: {place}")
                if not place.exists():
                    place.mkdir(0o755)
                    os.chown(place, *owner)
            _move_mount(tree, os.open(place, os.O_PATH | os.O_DIRECTORY))

        in_child(work)

    def _enter(self, *, user: bool) -> None:
        _setns(self._mount, CLONE_NEWNS)
        os.chdir("/")
        if user:
            self._enter_user()

    def _enter_user(self) -> None:
        _setns(self._user, CLONE_NEWUSER)
        os.setgid(0)
        os.setuid(0)


def parent_pid(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])


def _know_users() -> None:
    """Load what looks names up before the files it is loaded from are out of reach."""
    import grp  # noqa: PLC0415
    import pwd  # noqa: PLC0415

    with contextlib.suppress(KeyError):
        pwd.getpwnam("root")
        grp.getgrnam("root")


def _open(pid: int, name: str) -> int:
    try:
        return os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise PVEError(f"failed to open the container's {name} namespace") from error


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        raise PVEError(f"{what} failed: {os.strerror(ctypes.get_errno())}")
    return result


def _setns(descriptor: int, kind: int) -> None:
    _check(_libc().setns(descriptor, kind), "setns")


def _open_tree(path: str) -> int:
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
    return _check(_libc().syscall(_OPEN_TREE, _AT_FDCWD, path.encode(), flags), "open_tree() on mount point")


def _move_mount(source: int, target: int) -> None:
    _check(_libc().syscall(_MOVE_MOUNT, source, b"", target, b"", _MOVE_BOTH_BY_DESCRIPTOR), "move_mount")


def _make_readonly(tree: int) -> None:
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    size = ctypes.sizeof(attributes)
    _check(_libc().syscall(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(attributes), size), "mount_setattr")
