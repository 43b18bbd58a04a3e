# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The object files of the stand-in: libraries with their version written in, and kernel modules with their fields.

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

_PT_GNU_STACK = 0x6474E551
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_MARK = rb"phoenix-lab-%s=[^\0]{16}"
_KERNEL_MARK = "@KERNEL@"
KERNEL_WIDTH = 48


def without_executable_stack(library: bytes) -> bytes:
    """tcc says nothing about the stack, which glibc takes for the wish to execute it, and refuses.

    The program headers move to the end of the file, where there is room for one more.
    """
    (offset,) = struct.unpack_from("<Q", library, 32)
    size, count = struct.unpack_from("<HH", library, 54)
    headers = library[offset : offset + size * count]
    if any(struct.unpack_from("<I", headers, size * n)[0] == _PT_GNU_STACK for n in range(count)):
        return library
    padded = library.ljust((len(library) + 15) // 16 * 16, b"\0")
    readable_and_writable = 6
    stack = _PROGRAM_HEADER.pack(_PT_GNU_STACK, readable_and_writable, 0, 0, 0, 0, 0, 16)
    patched = bytearray(padded + headers + stack)
    struct.pack_into("<Q", patched, 32, len(padded))
    struct.pack_into("<H", patched, 56, count + 1)
    return bytes(patched)


def with_versions(binary: bytes, *, driver: str, cuda: str) -> bytes:
    """A stub with the versions that it answers with."""
    for name, value in (("driver", driver), ("cuda", cuda)):
        place = f"phoenix-lab-{name}=".encode() + value.encode().ljust(16, b"\0")
        found = re.search(_MARK % name.encode(), binary)
        if found:
            binary = binary[: found.start()] + place + binary[found.end() :]
    return binary


def module(fields: Mapping[str, str]) -> bytes:
    """A kernel module with nothing but its fields, as modinfo and the collection read them."""
    content = b"".join(f"{key}={value}\0".encode() for key, value in fields.items())
    names = b"\0.modinfo\0.shstrtab\0"
    names_at = 64 + len(content)
    table_at = (names_at + len(names) + 7) // 8 * 8
    relocatable, x86_64 = 1, 62
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<HHI", relocatable, x86_64, 1)
    header += struct.pack("<QQQI", 0, 0, table_at, 0) + struct.pack("<HHHHHH", 64, 0, 0, 64, 3, 2)

    def section(name: int, kind: int, offset: int, length: int) -> bytes:
        return struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, offset, length, 0, 0, 1, 0)

    table = bytes(64) + section(1, 1, 64, len(content)) + section(10, 3, names_at, len(names))
    return (header + content + names).ljust(table_at, b"\0") + table


def module_template(fields: Mapping[str, str]) -> bytes:
    """A module whose kernel is written in later by sed, at a place of fixed width."""
    mark = _KERNEL_MARK.ljust(KERNEL_WIDTH, "@")
    return module({**fields, "vermagic": f"{mark} SMP preempt mod_unload modversions "})


def module_fields(binary: bytes) -> dict[str, str]:
    """The fields of a module of ours, or of a real one that is not compressed."""
    found = re.search(rb"\0\.modinfo\0", binary)
    if not binary.startswith(b"\x7fELF") or not found:
        return {}
    (table,) = struct.unpack_from("<Q", binary, 40)
    size, count, names = struct.unpack_from("<HHH", binary, 58)
    (names_at,) = struct.unpack_from("<Q", binary, table + size * names + 24)
    for index in range(count):
        at = table + size * index
        (name,) = struct.unpack_from("<I", binary, at)
        if binary[names_at + name : names_at + name + 9] == b".modinfo\0":
            offset, length = struct.unpack_from("<QQ", binary, at + 24)
            pairs = (entry.decode("latin-1").partition("=") for entry in binary[offset : offset + length].split(b"\0"))
            return {key: " ".join(value.split()) for key, separator, value in pairs if separator}
    return {}


_SIGNED = b"~Module signature appended~\n"


def signed(binary: bytes, certificate_sum: str) -> bytes:
    """A module with a signature, which here is no more than the name of the certificate that made it."""
    return unsigned(binary) + certificate_sum.encode() + _SIGNED


def unsigned(binary: bytes) -> bytes:
    return binary[: -64 - len(_SIGNED)] if binary.endswith(_SIGNED) else binary


def signer(binary: bytes) -> str:
    """The sum of the certificate a module is signed with; empty when it is not signed."""
    return binary[-64 - len(_SIGNED) : -len(_SIGNED)].decode("latin-1") if binary.endswith(_SIGNED) else ""
