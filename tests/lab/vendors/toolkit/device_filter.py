# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The device filter of a cgroup is a BPF program that runc attached. To let a running container use more devices, the
# program is replaced by one that allows these and then goes on as before: NVIDIA's libnvidia-container does the same.

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from pathlib import Path

_SYS_BPF = 321  # x86_64
_PROG_LOAD, _PROG_ATTACH, _PROG_GET_FD_BY_ID, _OBJ_GET_INFO, _PROG_QUERY = 5, 8, 13, 15, 16
_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE = 15, 6
_ALLOW_MULTI, _REPLACE = 2, 4
_INSTRUCTION = struct.Struct("<BBhi")
_libc = ctypes.CDLL(None, use_errno=True)
QUERY = "unable to find any existing device filters attached to the cgroup: bpf_prog_query(BPF_CGROUP_DEVICE)"

Device = tuple[int, int]


def prologue(devices: Sequence[Device]) -> bytes:
    """Instructions that allow any access to character devices, and leave r1 (the context) to what follows."""
    code = [
        (0x61, 0x12, 0, 0),  # r2 = access and type
        (0x57, 0x02, 0, 0xFFFF),  # r2 &= type
        (0x61, 0x14, 4, 0),  # r4 = major
        (0x61, 0x15, 8, 0),  # r5 = minor
    ]
    for major, minor in devices:
        code += [
            (0x55, 0x02, 4, 2),  # no character device: on to the next one
            (0x55, 0x04, 3, major),
            (0x55, 0x05, 2, minor),
            (0xB7, 0x00, 0, 1),  # return 1
            (0x95, 0x00, 0, 0),
        ]
    return b"".join(_INSTRUCTION.pack(*each) for each in code)


def allow(pid: int, nodes: Sequence[Path]) -> None:
    """Extend each filter of the process's own cgroup. An OSError's file name is the call that failed."""
    devices = []
    for node in nodes:
        number = node.stat().st_rdev
        devices.append((os.major(number), os.minor(number)))
    group = _cgroup(pid)
    if group is None:
        return
    folder = os.open(group, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for identifier in _attached(folder):
            old = _bpf(_PROG_GET_FD_BY_ID, struct.pack("<III", identifier, 0, 0), "bpf_prog_get_fd_by_id")
            new = _load(prologue(devices) + _instructions(old))
            flags = _ALLOW_MULTI | _REPLACE
            attach = struct.pack("<IIIII", folder, new, _ATTACH_CGROUP_DEVICE, flags, old)
            _bpf(_PROG_ATTACH, attach, "bpf_prog_attach(BPF_CGROUP_DEVICE)")
            os.close(old)
            os.close(new)
    finally:
        os.close(folder)


def _cgroup(pid: int) -> str | None:
    """Its folder in the unified hierarchy, as seen from here; None without one."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        if line.startswith("0::") and (path := Path("/sys/fs/cgroup") / line[3:].lstrip("/")).is_dir():
            return str(path)
    return None


def _attached(folder: int) -> list[int]:
    count = 64
    identifiers = (ctypes.c_uint32 * count)()
    attributes = bytearray(
        struct.pack("<IIIIQI", folder, _ATTACH_CGROUP_DEVICE, 0, 0, ctypes.addressof(identifiers), count)
    )
    _bpf(_PROG_QUERY, attributes, QUERY)
    found = struct.unpack_from("<I", attributes, 24)[0]
    return list(identifiers[:found])


def _instructions(program: int) -> bytes:
    """What the kernel runs of a program."""
    size = _info(program, None)
    code = ctypes.create_string_buffer(size)
    _info(program, code)
    return code.raw


def _info(program: int, code: ctypes.Array[ctypes.c_char] | None) -> int:
    # struct bpf_prog_info: type, id, tag, jited length, xlated length, jited code, xlated code, and more.
    length = len(code) if code is not None else 0
    address = ctypes.addressof(code) if code is not None else 0
    info = ctypes.create_string_buffer(struct.pack("<II8sIIQQ", 0, 0, b"", 0, length, 0, address), 40)
    attributes = struct.pack("<IIQ", program, len(info), ctypes.addressof(info))
    _bpf(_OBJ_GET_INFO, attributes, "bpf_obj_get_info_by_fd")
    return int(struct.unpack_from("<I", info, 20)[0])


def _load(code: bytes) -> int:
    program, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack(
        "<IIQQIIQI",
        _TYPE_CGROUP_DEVICE,
        len(code) // _INSTRUCTION.size,
        ctypes.addressof(program),
        ctypes.addressof(licence),
        0,
        0,
        0,
        0,
    )
    return _bpf(_PROG_LOAD, attributes, "bpf_prog_load")


def _bpf(command: int, attributes: bytes | bytearray, name: str) -> int:
    # The kernel wants zeros after what a command uses.
    buffer = ctypes.create_string_buffer(bytes(attributes), 128)
    result = int(_libc.syscall(_SYS_BPF, command, buffer, len(buffer)))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    if isinstance(attributes, bytearray):
        attributes[:] = buffer.raw[: len(attributes)]
    return result
