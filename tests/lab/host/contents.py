# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What is put into the golden file's root file systems, done in each of them by its own programs (golden.py changes
# root).

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from ..gpu import build as gpu
from ..gpu import hardware
from ..registry import build as registry
from ..vendors import build as vendors
from ..vendors import ca, nginx, proxmox

SERVED = Path("/srv")
AUTHORITY = SERVED / "authority"
STUBS = SERVED / "gpu"
# Where a node's and a template's chroot see SERVED.
SERVED_ELSEWHERE = Path("/mnt")
CONFIGURATIONS = Path("/etc/phoenix-lab")
CARRIED = Path("/var/cache/phoenix-lab/debs")


def authority() -> None:
    ca.create(AUTHORITY)
    trust(AUTHORITY)


def trust(folder: Path) -> None:
    shutil.copy(folder / "ca.pem", "/usr/local/share/ca-certificates/phoenix-lab.crt")
    subprocess.run(["update-ca-certificates"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def served() -> None:
    CONFIGURATIONS.mkdir(parents=True, exist_ok=True)
    (CONFIGURATIONS / "nginx.conf").write_text(nginx.CONFIGURATION)
    (CONFIGURATIONS / "registry.yml").write_text(registry.CONFIGURATION)
    gpu.build(STUBS)
    shutil.copytree(STUBS / "vendors", SERVED / "vendors", symlinks=True, dirs_exist_ok=True)
    vendors.build(SERVED / "vendors", hardware.RELEASE, CARRIED, STUBS / "stubs")
    registry.build(SERVED / "registry")


def node(served_folder: Path) -> None:
    proxmox.install(served_folder / "vendors")
    gpu.divert(Path("/"))
    shutil.copytree(served_folder / "gpu/node", "/", symlinks=True, dirs_exist_ok=True)


def main(what: str) -> None:
    match what:
        case "authority":
            authority()
        case "served":
            served()
        case "node":
            node(SERVED_ELSEWHERE)
        case "trust":
            trust(SERVED_ELSEWHERE / "authority")


if __name__ == "__main__":
    main(*sys.argv[1:])
