# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Everything that the vendors' hosts serve. Runs once, in the lab's image, without a network:
#     python3 -m lab.vendors.build TARGET KERNEL_RELEASE [FOLDER OF DEBIAN'S DOCKER PACKAGES]

from __future__ import annotations

import functools
import sys
import tempfile
from pathlib import Path

from . import cuda, docker, drivers, names, nvidia_toolkit, proxmox
from .keys import SigningKey

CARRIED = Path("/var/cache/phoenix-lab/debs")

_USERS = {
    "cuda": "cudatools <cudatools@nvidia.com>",
    "cuda-debian13": "Kitmaker (Debian 13 Trixie) <kitmaker@nvidia.com>",
    "docker": "Docker Release (CE deb) <docker@docker.com>",
    "toolkit": "NVIDIA CORPORATION (Open Source Projects) <cudatools@nvidia.com>",
    "proxmox": "Proxmox Trixie Release Key <proxmox-release@proxmox.com>",
}


def build(out: Path, kernel_release: str, debs: Path = CARRIED, stubs: Path | None = None) -> None:
    """A folder for each host below out. stubs is where lab.gpu's compiled stubs lie, if they were compiled."""
    content = drivers.empty if stubs is None else _libraries(stubs)
    with tempfile.TemporaryDirectory() as folder:
        keys = {name: SigningKey.create(Path(folder) / name, user) for name, user in _USERS.items()}
        of_cuda = {name: keys.get(f"cuda-{name}", keys["cuda"]) for name in cuda.DISTRIBUTIONS}
        cuda.build(out / names.CUDA, of_cuda, content)
        docker.build(out / names.DOCKER, keys["docker"], debs)
        nvidia_toolkit.build(out / names.TOOLKIT, keys["toolkit"])
        proxmox.build(out, keys["proxmox"], kernel_release)
    for path in out.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _libraries(stubs: Path) -> drivers.Content:
    from ..gpu.runfile import build_library  # noqa: PLC0415 - needs the compiled stubs

    def content(name: str, version: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name
            build_library(name, version, file, stubs)
            return file.read_bytes()

    return functools.cache(content)


if __name__ == "__main__":
    build(Path(sys.argv[1]), sys.argv[2], *map(Path, sys.argv[3:4]))
