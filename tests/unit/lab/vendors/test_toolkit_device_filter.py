# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The program is run here by a few lines that know the instructions it is made of.

from __future__ import annotations

import struct

import pytest

from lab.vendors.toolkit.device_filter import prologue

CHARACTER, BLOCK = 2, 1
READ_WRITE = 6 << 16
# What stands for the program that was there before: "denied".
DENY = struct.pack("<BBhi", 0xB7, 0, 0, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)


def run(code: bytes, context: tuple[int, int, int]) -> int:
    registers = [0] * 11
    memory = struct.pack("<III", *context)
    at = 0
    instructions = list(struct.iter_unpack("<BBhi", code))
    while True:
        operation, operands, offset, value = instructions[at]
        target = operands & 15
        at += 1
        match operation:
            case 0x61:
                assert operands >> 4 == 1, "only the context is read"
                registers[target] = struct.unpack_from("<I", memory, offset)[0]
            case 0x57:
                registers[target] &= value
            case 0x55:
                at += offset if registers[target] != value else 0
            case 0xB7:
                registers[target] = value
            case 0x95:
                return registers[0]
            case other:
                pytest.fail(f"instruction {other:#x}")


@pytest.mark.parametrize(
    ("context", "allowed"),
    [
        ((READ_WRITE | CHARACTER, 195, 0), 1),
        ((READ_WRITE | CHARACTER, 195, 255), 1),
        ((READ_WRITE | CHARACTER, 195, 1), 0),
        ((READ_WRITE | CHARACTER, 508, 0), 0),
        ((READ_WRITE | BLOCK, 195, 0), 0),
    ],
)
def test_only_the_devices_are_added(context: tuple[int, int, int], allowed: int) -> None:
    assert run(prologue([(195, 0), (195, 255)]) + DENY, context) == allowed


def test_without_devices_nothing_changes() -> None:
    assert run(prologue([]) + DENY, (READ_WRITE | CHARACTER, 195, 0)) == 0
