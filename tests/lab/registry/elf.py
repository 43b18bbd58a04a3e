# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which shared libraries a program needs, read from the file: `ldd` would have to run it."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB = 1, 5


def needs(path: Path) -> tuple[str | None, list[str]]:
    """The loader's path and the names of the libraries, of a 64-bit little-endian ELF file; nothing of any other."""
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        return None, []
    offset = struct.unpack_from("<Q", data, 32)[0]
    size, count = struct.unpack_from("<HH", data, 54)
    headers = [struct.unpack_from("<IIQQQQ", data, offset + size * index) for index in range(count)]
    loads = [(virtual, start, length) for kind, _, start, virtual, _, length in headers if kind == PT_LOAD]
    interpreter, entries = None, list[tuple[int, int]]()
    for kind, _, start, _, _, length in headers:
        if kind == PT_INTERP:
            interpreter = data[start : start + length].rstrip(b"\0").decode()
        if kind == PT_DYNAMIC:
            entries = list(struct.iter_unpack("<QQ", data[start : start + length // 16 * 16]))
    addresses = [value for tag, value in entries if tag == DT_STRTAB]
    if not addresses:
        return interpreter, []
    inside = (start - virtual for virtual, start, length in loads if virtual <= addresses[0] < virtual + length)
    table = next(inside) + addresses[0]
    starts = [table + value for tag, value in entries if tag == DT_NEEDED]
    names = [data[start : data.index(b"\0", start)].decode() for start in starts]
    return interpreter, names


def closure(programs: Iterable[Path], folder: Path) -> set[str]:
    """Names of all libraries that the programs need, as far as they lie in the folder; a loader is one of them."""
    found: set[str] = set()
    waiting = list(programs)
    while waiting:
        interpreter, names = needs(waiting.pop())
        if interpreter:
            names.append(Path(interpreter).name)
        for name in names:
            if name not in found and (folder / name).is_file():
                found.add(name)
                waiting.append(folder / name)
    return found
