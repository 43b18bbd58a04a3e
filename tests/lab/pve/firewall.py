# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::Firewall::Helpers: a guest's firewall file goes with the guest, and a clone gets a copy. Nothing is filtered.

from __future__ import annotations

from pathlib import Path

from .system import System


def _file(system: System, vmid: int) -> Path:
    return system.path(f"etc/pve/firewall/{vmid}.fw")


def remove_vmfw_conf(system: System, vmid: int) -> None:
    _file(system, vmid).unlink(missing_ok=True)


def clone_vmfw_conf(system: System, vmid: int, newid: int) -> None:
    remove_vmfw_conf(system, newid)
    if _file(system, vmid).is_file():
        _file(system, newid).write_bytes(_file(system, vmid).read_bytes())
