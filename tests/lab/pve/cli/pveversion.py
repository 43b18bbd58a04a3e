# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# pveversion: one line, or with -v what the recorded node had installed.

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ..api2.version import PVE_MANAGER, VERSION

_PACKAGES = {
    "pve-manager": VERSION,
    "lxc-pve": "6.0.5-4",
    "pve-cluster": "9.1.6",
    "pve-container": "6.1.10",
    "pve-guest-common": "6.0.2",
    "pve-storage": "9.1.7",
    "zfsutils-linux": "2.3.9-pve1",
}


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    verbose = {"-v", "--verbose", "-verbose"}
    if any(word not in verbose for word in words):
        print("USAGE: pveversion [--verbose]", file=sys.stderr)
        return 255
    kernel = os.uname().release
    if not words:
        print(f"{PVE_MANAGER} (running kernel: {kernel})")
        return 0
    print(f"proxmox-ve: {VERSION.rpartition('.')[0]}.0 (running kernel: {kernel})")
    print(f"pve-manager: {VERSION} (running version: {PVE_MANAGER.removeprefix('pve-manager/')})")
    for name, version in _PACKAGES.items():
        if name != "pve-manager":
            print(f"{name}: {version}")
    return 0
