# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A shared library with nothing in it but its name: enough for ldconfig to list it and for a program to load it.

from __future__ import annotations

import struct

_HEADER, _PROGRAM_HEADER, _SYMBOL, _DYNAMIC = 64, 56, 24, 16
_LOAD, _DYNAMIC_SEGMENT, _STACK = 1, 2, 0x6474E551
_READ_WRITE = 6
_SONAME, _HASH, _STRTAB, _SYMTAB, _STRSZ, _SYMENT = 14, 4, 5, 6, 10, 11


def shared_library(soname: str) -> bytes:
    strings = b"\0" + soname.encode() + b"\0"
    symbols_at = _HEADER + 3 * _PROGRAM_HEADER
    # One bucket, one symbol (the empty one), no chain.
    hash_at, table = symbols_at + _SYMBOL, struct.pack("<IIII", 1, 1, 0, 0)
    strings_at = hash_at + len(table)
    dynamic_at = (strings_at + len(strings) + 15) // 16 * 16
    tags = [
        (_SONAME, 1),
        (_HASH, hash_at),
        (_STRTAB, strings_at),
        (_SYMTAB, symbols_at),
        (_STRSZ, len(strings)),
        (_SYMENT, _SYMBOL),
        (0, 0),
    ]
    size = dynamic_at + len(tags) * _DYNAMIC
    shared, x86_64 = 3, 62
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<HHIQQQI", shared, x86_64, 1, 0, _HEADER, 0, 0)
    header += struct.pack("<HHHHHH", _HEADER, _PROGRAM_HEADER, 3, 0, 0, 0)
    segments = (
        (_LOAD, 0, size, 4096),
        (_DYNAMIC_SEGMENT, dynamic_at, len(tags) * _DYNAMIC, 8),
        (_STACK, 0, 0, 16),
    )
    headers = b"".join(
        struct.pack("<IIQQQQQQ", kind, _READ_WRITE, at, at, at, length, length, alignment)
        for kind, at, length, alignment in segments
    )
    content = header + headers + bytes(_SYMBOL) + table + strings
    return content.ljust(dynamic_at, b"\0") + b"".join(struct.pack("<QQ", tag, value) for tag, value in tags)
