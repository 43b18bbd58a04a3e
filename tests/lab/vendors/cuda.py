# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# NVIDIA's CUDA repository: the toolkit in several versions as NVIDIA splits it, `cuda-keyring`, and beside them the
# packages that bring a driver (drivers.py), among which an install that is not careful goes wrong.

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from . import drivers, nvidia_toolkit
from .deb import File, Link, Package
from .elf import shared_library
from .keys import SigningKey
from .names import CUDA
from .repository import Deb, build_all, flat

MAINTAINER = "cudatools <cudatools@nvidia.com>"
# The distributions, each with the name of its key: Debian 13 has another key, of another name.
KEY_FILES = {"ubuntu2404": "3bf863cc.pub", "debian12": "3bf863cc.pub", "debian13": "8793F200.pub"}
DISTRIBUTIONS = tuple(KEY_FILES)
LIBRARY_FOLDER = "targets/x86_64-linux/lib"


@dataclasses.dataclass(frozen=True)
class Release:
    """One CUDA release: 12.8 as NVIDIA shipped it last."""

    number: str
    version: str
    nvcc: str
    cudart: str
    built: str
    build: str
    driver: str  # what cuda-runtime asks for

    @property
    def dashed(self) -> str:
        return self.number.replace(".", "-")

    @property
    def major(self) -> str:
        return self.number.partition(".")[0]

    @property
    def home(self) -> str:
        return f"/usr/local/cuda-{self.number}"


RELEASES = (
    Release("12.8", "12.8.1-1", "12.8.93", "12.8.90", "Fri_Feb_21_20:23:50_PST_2025", "35583870_0", "570.124.06"),
    Release("12.9", "12.9.1-1", "12.9.86", "12.9.79", "Tue_May_27_02:21:03_PDT_2025", "36037853_0", "575.57.08"),
    Release("13.0", "13.0.2-1", "13.0.88", "13.0.96", "Wed_Aug_20_01:58:59_PM_PDT_2025", "36424714_0", "580.95.05"),
)
NEWEST = RELEASES[-1]


def _package(
    name: str,
    version: str,
    description: str,
    depends: tuple[str, ...] = (),
    files: Mapping[str, File | Link] | None = None,
) -> Package:
    return Package(name, version, description, depends, files=files or {}, section="devel", maintainer=MAINTAINER)


def nvcc_program(release: Release) -> str:
    """nvcc, as far as asking for its version goes."""
    return f"""#!/bin/sh
case "${{1-}}" in
-V | --version)
    cat <<'END'
nvcc: NVIDIA (R) Cuda compiler driver
Copyright (c) 2005-2025 NVIDIA Corporation
Built on {release.built}
Cuda compilation tools, release {release.number}, V{release.nvcc}
Build cuda_{release.number}.r{release.number}/compiler.{release.build}
END
    ;;
-h | --help)
    echo "Usage  : nvcc [options] <inputfile>"
    ;;
'')
    echo "nvcc fatal   : No input files specified; use option --help for more information" >&2
    exit 1
    ;;
-*)
    echo "nvcc fatal   : Unknown option '$1'" >&2
    exit 1
    ;;
*)
    echo "nvcc fatal   : The lab's nvcc compiles nothing" >&2
    exit 1
    ;;
esac
"""


def toolkit(release: Release) -> list[Package]:
    dashed, home = release.dashed, release.home
    libraries = f"{home}/{LIBRARY_FOLDER}"
    upstream = release.version.partition("-")[0]
    parts = ("compiler", "libraries", "tools", "nvml-dev")
    return [
        _package(
            f"cuda-toolkit-{dashed}",
            release.version,
            f"CUDA Toolkit {release.number} meta-package",
            (
                f"cuda-toolkit-{dashed}-config-common",
                f"cuda-toolkit-{release.major}-config-common",
                "cuda-toolkit-config-common",
                *(f"cuda-{part}-{dashed} (>= {upstream})" for part in parts),
            ),
        ),
        _config_common(release),
        _package(
            f"cuda-compiler-{dashed}",
            release.version,
            f"CUDA compiler {release.number}",
            (f"cuda-nvcc-{dashed} (>= {release.nvcc})",),
        ),
        _package(
            f"cuda-nvcc-{dashed}",
            f"{release.nvcc}-1",
            f"CUDA nvcc {release.number}",
            (f"cuda-cudart-dev-{dashed}",),
            {f"{home}/bin/nvcc": File.program(nvcc_program(release))},
        ),
        _package(
            f"cuda-libraries-{dashed}",
            release.version,
            f"CUDA Libraries {release.number} meta-package",
            (f"cuda-cudart-{dashed} (>= {release.cudart})",),
        ),
        _package(
            f"cuda-cudart-{dashed}",
            f"{release.cudart}-1",
            f"CUDA Runtime native Libraries {release.number}",
            (f"cuda-toolkit-{dashed}-config-common",),
            {
                f"{libraries}/libcudart.so.{release.cudart}": File(shared_library(f"libcudart.so.{release.major}")),
                f"{libraries}/libcudart.so.{release.major}": Link(f"libcudart.so.{release.cudart}"),
                f"{home}/lib64": Link(LIBRARY_FOLDER),
            },
        ),
        _package(
            f"cuda-cudart-dev-{dashed}",
            f"{release.cudart}-1",
            f"CUDA Runtime native dev links and headers {release.number}",
            (f"cuda-cudart-{dashed} (>= {release.cudart})",),
            {
                f"{libraries}/libcudart.so": Link(f"libcudart.so.{release.major}"),
                f"{home}/targets/x86_64-linux/include/cuda_runtime.h": File.text("#define CUDART_STAND_IN 1\n"),
                f"{home}/include": Link("targets/x86_64-linux/include"),
                f"{home}/version.json": File.text(
                    f'{{\n   "cuda" : {{\n      "name" : "CUDA SDK",\n      "version" : "{upstream}"\n   }}\n}}\n'
                ),
            },
        ),
        _package(f"cuda-tools-{dashed}", release.version, f"CUDA Tools {release.number} meta-package"),
        _package(f"cuda-nvml-dev-{dashed}", release.version, f"NVML native dev links, headers {release.number}"),
        _package(
            f"cuda-runtime-{dashed}",
            release.version,
            f"CUDA Runtime {release.number} meta-package",
            (
                f"cuda-drivers (>= {release.driver})"
                if release.major == "12"
                else f"nvidia-open (>= {release.driver})",
                f"cuda-libraries-{dashed} (>= {upstream})",
            ),
        ),
        _package(
            f"cuda-{dashed}",
            release.version,
            f"CUDA {release.number} meta-package",
            (f"cuda-runtime-{dashed} (>= {upstream})", f"cuda-toolkit-{dashed} (>= {upstream})"),
        ),
    ]


def _config_common(release: Release) -> Package:
    priority = release.number.replace(".", "")
    links = (("/usr/local/cuda", "cuda"), (f"/usr/local/cuda-{release.major}", f"cuda-{release.major}"))
    install = "\n".join(
        f"    update-alternatives --install {link} {name} {release.home} {priority}" for link, name in links
    )
    remove = "\n".join(f"    update-alternatives --remove {name} {release.home}" for _, name in links)
    return Package(
        f"cuda-toolkit-{release.dashed}-config-common",
        f"{release.cudart}-1",
        f"Common config package for CUDA Toolkit {release.number}.",
        (f"cuda-toolkit-{release.major}-config-common", "cuda-toolkit-config-common"),
        architecture="all",
        section="devel",
        maintainer=MAINTAINER,
        scripts={
            "postinst": f'#!/bin/sh\nset -e\nif [ "$1" = configure ]; then\n{install}\n    ldconfig\nfi\n',
            "prerm": f'#!/bin/sh\nset -e\nif [ "$1" = remove ]; then\n{remove}\nfi\n',
        },
    )


def metapackages() -> list[Package]:
    """What follows the newest release, and the parts of the configuration that all releases share."""
    found = [
        Package(
            "cuda-toolkit-config-common",
            f"{NEWEST.cudart}-1",
            "Common config package for CUDA Toolkit.",
            architecture="all",
            files={"/etc/ld.so.conf.d/000_cuda.conf": File.text(f"/usr/local/cuda/{LIBRARY_FOLDER}\n")},
            conffiles=("/etc/ld.so.conf.d/000_cuda.conf",),
            maintainer=MAINTAINER,
        ),
        _package("cuda", NEWEST.version, "CUDA meta-package", (f"cuda-{NEWEST.dashed} (>= {NEWEST.version})",)),
        _package(
            "cuda-toolkit",
            NEWEST.version,
            "CUDA Toolkit meta-package",
            (f"cuda-toolkit-{NEWEST.dashed} (>= {NEWEST.version})",),
        ),
    ]
    for newest in {release.major: release for release in RELEASES}.values():
        path = f"/etc/ld.so.conf.d/988_cuda-{newest.major}.conf"
        found += [
            Package(
                f"cuda-toolkit-{newest.major}-config-common",
                f"{newest.cudart}-1",
                f"Common config package for CUDA Toolkit {newest.major}.",
                architecture="all",
                files={path: File.text(f"/usr/local/cuda-{newest.major}/{LIBRARY_FOLDER}\n")},
                conffiles=(path,),
                maintainer=MAINTAINER,
            ),
            _package(
                f"cuda-toolkit-{newest.major}",
                newest.version,
                f"CUDA Toolkit {newest.major} meta-package",
                (f"cuda-toolkit-{newest.dashed} (>= {newest.version})",),
            ),
        ]
    return found


def pin(distribution: str) -> str:
    """What cuda-keyring puts into the preferences: NVIDIA's packages win over the distribution's."""
    host = "*ubuntu.com*" if distribution.startswith("ubuntu") else "*debian.org*"
    barred = "".join(
        f"Package: {name}\nPin: origin {host}\nPin-Priority: -1\n\n" for name in ("nsight-compute", "nsight-systems")
    )
    return f"{barred}Package: *\nPin: release l=NVIDIA CUDA\nPin-Priority: 600\n"


def keyring(distribution: str, key: SigningKey) -> Package:
    source = f"/etc/apt/sources.list.d/cuda-{distribution}-x86_64.list"
    preferences = "/etc/apt/preferences.d/cuda-repository-pin-600"
    ring = "/usr/share/keyrings/cuda-archive-keyring.gpg"
    return Package(
        "cuda-keyring",
        "1.1-1",
        "GPG keyring for the CUDA repository",
        architecture="all",
        section="multiverse/devel",
        maintainer=MAINTAINER,
        files={
            source: File.text(f"deb [signed-by={ring}] https://{CUDA}{repository_path(distribution)} /\n"),
            preferences: File.text(pin(distribution)),
            ring: File(key.public()),
        },
        conffiles=(source, preferences),
    )


def repository_path(distribution: str) -> str:
    return f"/compute/cuda/repos/{distribution}/x86_64/"


def build(root: Path, keys: Mapping[str, SigningKey], content: drivers.Content) -> None:
    """Below root, which is the host's folder, with the key of each distribution."""
    common = build_all(
        [package for release in RELEASES for package in toolkit(release)]
        + metapackages()
        + nvidia_toolkit.packages(nvidia_toolkit.VERSIONS_OF_CUDA_REPOSITORY)
    )
    for distribution, key in keys.items():
        folder = root / repository_path(distribution).strip("/")
        debs = [Deb.of(keyring(distribution, key)), *common, *build_all(drivers.packages(distribution, content))]
        release = {"Origin": "NVIDIA", "Label": "NVIDIA CUDA", "Architecture": "x86_64"}
        flat(folder, debs, release, key)
        (folder / KEY_FILES[distribution]).write_bytes(key.armored())
        (folder / "cuda-archive-keyring.gpg").write_bytes(key.public())
        (folder / f"cuda-{distribution}.pin").write_text(pin(distribution))
