# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct

import pytest

from lab.gpu import elf


def test_a_modules_fields_are_read_back() -> None:
    fields = {"version": "580.76.05", "license": "NVIDIA", "vermagic": "6.14.11-4-pve SMP"}
    assert elf.module_fields(elf.module(fields)) == fields


def test_what_is_no_module_has_no_fields() -> None:
    assert elf.module_fields(b"\x1f\x8b something compressed") == {}


def test_the_kernel_is_written_into_a_template_without_moving_anything() -> None:
    template = elf.module_template({"version": "580.76.05"})
    mark = b"@KERNEL@".ljust(elf.KERNEL_WIDTH, b"@")
    assert template.count(mark) == 1
    built = template.replace(mark, b"6.14.11-4-pve".ljust(elf.KERNEL_WIDTH))
    assert elf.module_fields(built) == {
        "version": "580.76.05",
        "vermagic": "6.14.11-4-pve SMP preempt mod_unload modversions",
    }


def test_signing_again_replaces_the_signature() -> None:
    module = elf.module({"version": "580.76.05"})
    assert elf.signer(module) == ""
    once = elf.signed(module, "a" * 64)
    assert elf.signer(once) == "a" * 64
    assert elf.signed(once, "b" * 64) == elf.signed(module, "b" * 64)
    assert elf.module_fields(once) == {"version": "580.76.05"}


@pytest.mark.parametrize("version", ["570.172.08", "580.76.05"])
def test_versions_are_written_over_their_places(version: str) -> None:
    stub = b"x phoenix-lab-driver=" + b"@" * 16 + b"\0 phoenix-lab-cuda=" + b"@" * 16 + b"\0 y"
    written = elf.with_versions(stub, driver=version, cuda="12.8")
    assert len(written) == len(stub)
    assert b"phoenix-lab-driver=" + version.encode() + b"\0" in written
    assert b"phoenix-lab-cuda=12.8\0" in written


def test_a_library_gets_a_header_that_forbids_an_executable_stack() -> None:
    header = b"\x7fELF".ljust(32, b"\0") + struct.pack("<Q", 64) + bytes(14) + struct.pack("<HH", 56, 1) + bytes(6)
    library = header + struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 0, 0, 0) + b"code"
    patched = elf.without_executable_stack(library)
    (at,) = struct.unpack_from("<Q", patched, 32)
    assert struct.unpack_from("<HH", patched, 54) == (56, 2)
    assert patched[at : at + 56] == library[64:120]
    kind, flags = struct.unpack_from("<II", patched, at + 56)
    assert (kind, flags) == (0x6474E551, 6)
    assert elf.without_executable_stack(patched) == patched
