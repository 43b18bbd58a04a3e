# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Files in and out of containers, as pct push and pull make them.

from __future__ import annotations

import contextlib
import os
import re
from typing import NamedTuple

from .exceptions import PVEError

_BLOCK = 1 << 16


class NewFile(NamedTuple):
    """A file to be made, or to be written over. User and group are names or numbers of where it is made."""

    path: str
    perms: str | None = None
    user: str | None = None
    group: str | None = None


class Owner(NamedTuple):
    uid: int | None
    gid: int | None


def parse_mode(perms: str) -> int:
    """As strtoul reads it; without a prefix it is octal."""
    text = perms if perms.startswith("0") else f"0{perms}"
    if re.fullmatch(r"0[xX][0-9a-fA-F]+", text):
        return int(text, 16)
    if re.fullmatch(r"0[0-7]*", text):
        return int(text, 8)
    raise PVEError(f"invalid mode: '{text}'")


def find_owner(file: NewFile) -> Owner:
    """Names are those of the namespace in which this is called."""
    import grp  # noqa: PLC0415 - few pushes name anybody
    import pwd  # noqa: PLC0415

    uid = gid = None
    if file.user is not None:
        try:
            uid = int(file.user) if file.user.isdigit() else pwd.getpwnam(file.user).pw_uid
        except KeyError:
            raise PVEError(f"failed to get uid for: {file.user}") from None
    if file.group is not None:
        try:
            gid = int(file.group) if file.group.isdigit() else grp.getgrnam(file.group).gr_gid
        except KeyError:
            raise PVEError(f"failed to get gid for: {file.group}") from None
    return Owner(uid, gid)


def create_file(file: NewFile, place: str, *, may_chown: bool = True) -> tuple[int, Owner]:
    """Open it for writing at `place`; what exists keeps its mode unless one is given."""
    owner = find_owner(file)
    mode = None if file.perms is None else parse_mode(file.perms)
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0)
    except OSError:
        try:
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise PVEError(f"failed to create file: {file.path}: {error.strerror}") from error
    else:
        mode = _default_mode() if mode is None else mode
    if mode is not None:
        os.fchmod(descriptor, mode)
    if may_chown and owner != Owner(None, None):
        os.fchown(descriptor, *(-1 if number is None else number for number in owner))
    return descriptor, owner


def copy(source: int, target: int) -> None:
    """PVE does not look whether it worked: a full disk or a folder as the source leave what there is until then."""
    with contextlib.suppress(OSError):
        while block := os.read(source, _BLOCK):
            view = memoryview(block)
            while view:
                view = view[os.write(target, view) :]


def _default_mode() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return 0o666 & ~mask
