# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::LXC::Tools: the devices that devN passes through.

from __future__ import annotations

from ..exceptions import ENOENT, PVEError
from ..system import System


def get_device_mode_and_rdev(system: System, path: str | None) -> tuple[str, int, int]:
    """ "c" or "b", major and minor of a device node that must be there now."""
    if path is None:
        raise PVEError("Path is not defined")
    found = system.device(path)
    if found is None:
        raise PVEError(f"Device {path} does not exist", errno=ENOENT)
    if not found[0]:
        raise PVEError(f"{path} is not a device")
    return found
