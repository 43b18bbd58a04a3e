# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::Tools, as far as the stand-in needs it.

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sys
import threading
from collections.abc import Iterator

from .exceptions import EINTR, PVEError
from .system import System

_POLL = 0.05
_held = threading.local()


def warn(text: str) -> None:
    """Perl's warn: on stderr, which in a worker is its stdout."""
    sys.stdout.flush()
    print(text, file=sys.stderr, flush=True)


def split_list(text: str | None) -> list[str]:
    if not text:
        return []
    if "\0" in text:
        return text.split("\0")
    return re.sub("[,;]", " ", text).split()


def encode_text(text: str) -> str:
    """Everything outside of printable ASCII, and % and :, as %XX."""
    data = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if 0x20 <= byte <= 0x7E and byte not in b"%:" else f"%{byte:02X}" for byte in data)


def decode_text(text: str) -> str:
    parts = re.split(rb"%([0-9A-Fa-f]{2})", text.encode("utf-8", "surrogateescape"))
    data = b"".join(bytes([int(part, 16)]) if n % 2 else part for n, part in enumerate(parts))
    return data.decode("utf-8", "replace")


@contextlib.contextmanager
def lock_file(system: System, name: str, timeout: float = 10, *, shared: bool = False) -> Iterator[None]:
    """flock on a file of the node. Who holds it already (the same thread of the same process) gets it again."""
    mine: set[tuple[int, str]] = _held.__dict__.setdefault("names", set())
    path = system.path(name.lstrip("/"))
    key = (os.getpid(), str(path))
    if key in mine:
        yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise PVEError(f"can't lock file '{name}' - can't open file - {error.strerror}") from error
    try:
        _acquire(system, descriptor, name, timeout, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        mine.add(key)
        try:
            yield
        finally:
            mine.discard(key)
    finally:
        os.close(descriptor)


def _acquire(system: System, descriptor: int, name: str, timeout: float, mode: int) -> None:
    waited = 0.0
    while True:
        try:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            if not waited:
                warn("trying to acquire lock...")
            if waited >= timeout:
                raise PVEError(f"can't lock file '{name}' - got timeout", errno=EINTR) from None
            system.sleep(_POLL)
            waited += _POLL
        else:
            if waited:
                warn(" OK")
            return
