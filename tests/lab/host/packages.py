# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The programs that the lab needs on the machine that carries it. Everything else is in the lab's own image.

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from ..errors import LabError
from . import mirror

# program -> Debian's and Ubuntu's package
PROGRAMS = {
    "ip": "iproute2",
    "losetup": "mount",
    "mkfs.btrfs": "btrfs-progs",
    "mmdebstrap": "mmdebstrap",
    "nsenter": "util-linux",
    "pivot_root": "util-linux",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
    "zstd": "zstd",
}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def missing(which: Callable[[str], str | None] = shutil.which) -> list[str]:
    packages = {package for program, package in PROGRAMS.items() if which(program) is None}
    if not KEYRING.is_file():
        packages.add("debian-archive-keyring")
    packages.update(mirror.to_be_installed(environment=os.environ.get("PHOENIX_LAB_MIRROR")))
    return sorted(packages)


def need_root() -> None:
    if os.geteuid() != 0:
        raise LabError(
            "the lab makes namespaces, mounts and a network: it needs root",
            f"Run it so: sudo scripts/lab …{_install_hint(missing())}",
        )


def ensure() -> None:
    need_root()
    if not (packages := missing()):
        return
    if shutil.which("apt-get") is None:
        raise LabError(
            f"these programs are missing: {', '.join(packages)} (Debian's names for their packages)",
            "The lab is made for Debian 12, Debian 13 and Ubuntu 24.04",
        )
    print(f"Installing {' '.join(packages)} …", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--no-install-recommends", "-qq", *packages]
    for command in (install, ["apt-get", "update", "-qq"], install):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if command is install and done.returncode == 0:
            break
    else:
        raise LabError(
            f"apt-get cannot install {' '.join(packages)}: {(done.stderr or done.stdout).strip()}",
            "Mend apt's sources and run it again",
        )
    if packages := missing():
        raise LabError(
            f"apt-get says that {' '.join(packages)} is installed, but what is needed of it is not there",
            f"Look at it: apt-get install --reinstall {' '.join(packages)}",
        )


def _install_hint(packages: list[str]) -> str:
    return f". These packages are missing as well: apt-get install {' '.join(packages)}" if packages else ""
