# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::LXC::CGroup: the limits of a running container.

from __future__ import annotations

from ..system import System

_MIB = 1024 * 1024
_PERIOD = 100000


def calculate_memory_constraints(memory: int) -> tuple[int, int]:
    """memory.max, and memory.high a little below it, both in bytes; from MiB."""
    large = 16 * 1024
    return memory * _MIB, (memory - 128) * _MIB if memory >= large else memory * 1024 * 1016


def clamp_cpu_shares(shares: int) -> int:
    return max(1, min(10000, shares))


def change_memory_limit(system: System, vmid: int, memory: int | None, swap: int | None) -> None:
    """In MiB; None leaves it."""
    limits = {}
    if memory is not None:
        most, high = calculate_memory_constraints(memory)
        limits.update({"memory.max": str(most), "memory.high": str(high)})
    if swap is not None:
        limits["memory.swap.max"] = str(swap * _MIB)
    system.lxc.set_limits(vmid, limits)


def change_cpu_quota(system: System, vmid: int, cores: float | None) -> None:
    quota = "max" if not cores else str(int(_PERIOD * cores))
    system.lxc.set_limits(vmid, {"cpu.max": f"{quota} {_PERIOD}"})


def change_cpu_shares(system: System, vmid: int, shares: int | None) -> None:
    weight = 100 if shares is None else clamp_cpu_shares(shares)
    system.lxc.set_limits(vmid, {"cpu.weight": str(weight)})
