# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Driver packages as NVIDIA's repository carries them: the traps. A container or node of the lab has its driver from the
# .run file; whichever of these is installed as well brings libraries of another version, and then nothing works.

from __future__ import annotations

from collections.abc import Callable, Mapping

from .deb import File, Link, Package
from .elf import shared_library

BRANCH = "580"
VERSION = "580.95.05"
OLD_BRANCH = "570"
OLD_VERSION = "570.195.03"
MAINTAINER = "NVIDIA CORPORATION <cudatools@nvidia.com>"
LIBRARIES = "/usr/lib/x86_64-linux-gnu"


# The content of a library of a version; an empty one where lab.gpu's stubs were not compiled.
Content = Callable[[str, str], bytes]


def empty(name: str, _version: str) -> bytes:
    return shared_library(f"{name}.so.1")


def library(name: str, version: str, content: Content) -> dict[str, File | Link]:
    """A library with the links that ldconfig would make, taking the place of the .run file's."""
    return {
        f"{LIBRARIES}/{name}.so.{version}": File(content(name, version)),
        f"{LIBRARIES}/{name}.so.1": Link(f"{name}.so.{version}"),
    }


def _package(
    name: str,
    version: str,
    depends: tuple[str, ...] = (),
    files: Mapping[str, File | Link] | None = None,
    relations: Mapping[str, str] | None = None,
) -> Package:
    return Package(
        name,
        version,
        "NVIDIA driver package (lab stand-in)",
        depends,
        relations or {},
        files or {},
        section="multiverse/libs",
        maintainer=MAINTAINER,
    )


def _compute(version: str, content: Content) -> dict[str, File | Link]:
    return {**library("libcuda", version, content), **library("libnvidia-ml", version, content)}


def ubuntu(content: Content) -> list[Package]:
    found: list[Package] = []
    for branch, upstream in ((OLD_BRANCH, OLD_VERSION), (BRANCH, VERSION)):
        version = f"{upstream}-0ubuntu1"
        same = f"(= {version})"
        found += [
            _package(
                f"libnvidia-compute-{branch}",
                version,
                files=_compute(upstream, content),
                relations={"Provides": "libcuda1, libcuda.so.1, libnvidia-ml.so.1", "Conflicts": "libnvidia-compute"},
            ),
            _package(f"libnvidia-cfg1-{branch}", version, files=library("libnvidia-cfg", upstream, empty)),
            _package(f"nvidia-utils-{branch}", version, (f"libnvidia-compute-{branch} {same}",)),
            _package(f"nvidia-dkms-{branch}", version),
            _package(f"nvidia-dkms-{branch}-open", version),
            _package(f"nvidia-kernel-common-{branch}", version),
        ]
        shared = (
            f"libnvidia-compute-{branch} {same}",
            f"libnvidia-cfg1-{branch} {same}",
            f"nvidia-utils-{branch} {same}",
            f"nvidia-kernel-common-{branch} {same}",
        )
        found += [
            _package(f"nvidia-driver-{branch}", version, (f"nvidia-dkms-{branch} {same}", *shared)),
            _package(f"nvidia-driver-{branch}-open", version, (f"nvidia-dkms-{branch}-open {same}", *shared)),
            _package(f"cuda-drivers-{branch}", version, (f"nvidia-driver-{branch} (>= {upstream})",)),
            _package(f"nvidia-open-{branch}", version, (f"nvidia-driver-{branch}-open (>= {upstream})",)),
        ]
    version = f"{VERSION}-0ubuntu1"
    return [
        *found,
        # The name without a branch: what a pin that only knows the branches' names lets pass.
        _package(
            "libnvidia-compute",
            version,
            files=_compute(VERSION, content),
            relations={"Provides": "libcuda1, libnvidia-ml.so.1"},
        ),
        _package("cuda-drivers", version, (f"cuda-drivers-{BRANCH} (= {version})",)),
        _package("nvidia-open", version, (f"nvidia-open-{BRANCH} (= {version})",)),
        _package("libcuda1", version, (f"libnvidia-compute-{BRANCH} (= {version})",)),
    ]


def debian(content: Content) -> list[Package]:
    version = f"{VERSION}-1"
    same = f"(= {version})"
    return [
        _package(
            "libcuda1", version, files=library("libcuda", VERSION, content), relations={"Provides": "libcuda.so.1"}
        ),
        _package("libnvidia-ml1", version, files=library("libnvidia-ml", VERSION, content)),
        _package("libnvidia-cfg1", version, files=library("libnvidia-cfg", VERSION, empty)),
        _package("libnvidia-compute", version, (f"libcuda1 {same}", f"libnvidia-ml1 {same}")),
        _package("nvidia-kernel-dkms", version),
        _package("nvidia-kernel-open-dkms", version),
        _package("nvidia-driver-cuda", version, (f"libcuda1 {same}", f"libnvidia-ml1 {same}")),
        _package("nvidia-driver", version, (f"nvidia-driver-cuda {same}", f"libnvidia-cfg1 {same}")),
        _package("cuda-drivers", version, (f"nvidia-driver {same}", f"nvidia-kernel-dkms {same}")),
        _package("nvidia-open", version, (f"nvidia-driver {same}", f"nvidia-kernel-open-dkms {same}")),
    ]


NVTOP = """#!/bin/sh
case "${1-}" in
-v | --version) echo "nvtop version 3.2.0" ;;
*)
    echo "nvtop: the lab's stand-in only knows --version" >&2
    exit 1
    ;;
esac
"""


def nvtop() -> Package:
    """Harmless itself: the driver's library that it recommends is the trap (older distributions had it so)."""
    return Package(
        "nvtop",
        "3.2.0-2",
        "Interactive GPU process viewer (lab stand-in)",
        relations={"Recommends": "libnvidia-compute"},
        files={"/usr/bin/nvtop": File.program(NVTOP)},
    )


def packages(distribution: str, content: Content) -> list[Package]:
    return [*(ubuntu(content) if distribution.startswith("ubuntu") else debian(content)), nvtop()]
