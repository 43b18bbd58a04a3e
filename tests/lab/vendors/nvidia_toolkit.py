# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The NVIDIA Container Toolkit: packages as NVIDIA splits them, with programs of the lab's own (toolkit/) in them, and
# NVIDIA's repository at nvidia.github.io.

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .deb import File, Link, Package
from .keys import SigningKey
from .names import TOOLKIT
from .repository import build_all, flat

VERSIONS = ("1.17.7-1", "1.17.8-1", "1.18.0-1", "1.18.1-1")
# The CUDA repository carries them as well, behind by a release and before by its pin.
VERSIONS_OF_CUDA_REPOSITORY = ("1.17.8-1", "1.18.0-1")
MAINTAINER = "NVIDIA CORPORATION <cudatools@nvidia.com>"

_CODE = "/usr/lib/nvidia-container-toolkit"
_LAUNCHER = """#!/usr/bin/python3 -I
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, "{code}")
from phoenix_lab.{module} import main
sys.exit(main(sys.argv[1:], "{version}"))
"""
# The refresh that NVIDIA ships: its condition never holds in a container, which has no modules.dep of the kernel.
_REFRESH_SERVICE = """\
[Unit]
Description=Refresh NVIDIA CDI specification file
ConditionPathExists=/usr/bin/nvidia-smi
ConditionPathExists=/usr/bin/nvidia-ctk

[Service]
Type=oneshot
Environment=NVIDIA_CTK_CDI_OUTPUT_FILE_PATH=/var/run/cdi/nvidia.yaml
EnvironmentFile=-/etc/nvidia-container-toolkit/nvidia-cdi-refresh.env
ExecCondition=/bin/sh -c 'grep -qE "/(nvidia|nvidia-current)[.]ko" /lib/modules/%v/modules.dep'
ExecStart=/usr/bin/nvidia-ctk cdi generate

[Install]
WantedBy=multi-user.target
"""
_REFRESH_PATH = """\
[Unit]
Description=Trigger CDI refresh on NVIDIA driver install / uninstall events

[Path]
PathChanged=/lib/modules/%v/modules.dep

[Install]
WantedBy=multi-user.target
"""
_BASE_POSTINST = """#!/bin/sh
set -e
if [ "$1" = configure ]; then
    /usr/bin/nvidia-ctk --quiet config --config-file=/etc/nvidia-container-runtime/config.toml --in-place
    {refresh}
fi
"""
_ENABLE_REFRESH = """if [ -x /usr/bin/deb-systemd-helper ]; then
        deb-systemd-helper enable nvidia-cdi-refresh.path nvidia-cdi-refresh.service >/dev/null || true
    fi"""
_TOOLKIT_POSTINST = """#!/bin/sh
set -e
if [ "$1" = configure ] && [ ! -e /usr/bin/nvidia-container-toolkit ]; then
    ln -s /usr/bin/nvidia-container-runtime-hook /usr/bin/nvidia-container-toolkit
fi
"""
_TOOLKIT_POSTRM = """#!/bin/sh
set -e
if [ "$1" = purge ] && [ -L /usr/bin/nvidia-container-toolkit ]; then
    rm /usr/bin/nvidia-container-toolkit
fi
"""


def code() -> dict[str, File]:
    """The programs, under a name that nothing else has."""
    folder = Path(__file__).parent / "toolkit"
    return {f"{_CODE}/phoenix_lab/{file.name}": File(file.read_bytes()) for file in sorted(folder.glob("*.py"))}


def launcher(module: str, version: str) -> File:
    return File.program(_LAUNCHER.format(code=_CODE, module=module, version=version.partition("-")[0]))


def packages(versions: Iterable[str]) -> list[Package]:
    return [package for version in versions for package in _release(version)]


def _release(version: str) -> list[Package]:
    upstream = version.partition("-")[0]
    # From 1.18.0 on the four have to be of one version.
    recent = tuple(int(part) for part in upstream.split(".")) >= (1, 18)
    relation = "=" if recent else ">="
    units: dict[str, File | Link] = {
        "/usr/lib/systemd/system/nvidia-cdi-refresh.service": File.text(_REFRESH_SERVICE),
        "/usr/lib/systemd/system/nvidia-cdi-refresh.path": File.text(_REFRESH_PATH),
        "/etc/nvidia-container-toolkit/nvidia-cdi-refresh.env": File.text("# NVIDIA_CTK_CDI_OUTPUT_FILE_PATH=\n"),
    }
    library = f"/usr/lib/x86_64-linux-gnu/libnvidia-container.so.{upstream}"
    return [
        Package(
            "libnvidia-container1",
            version,
            "NVIDIA container runtime library",
            files={
                library: File.text(f"libnvidia-container {upstream} of the lab\n"),
                "/usr/lib/x86_64-linux-gnu/libnvidia-container.so.1": Link(Path(library).name),
            },
            section="libs",
            maintainer=MAINTAINER,
        ),
        Package(
            "libnvidia-container-tools",
            version,
            "NVIDIA container runtime library (command-line tools)",
            (f"libnvidia-container1 ({relation} {version})", "nvidia-container-toolkit-base"),
            files={"/usr/bin/nvidia-container-cli": launcher("cli", version)},
            section="utils",
            maintainer=MAINTAINER,
        ),
        Package(
            "nvidia-container-toolkit-base",
            version,
            "NVIDIA Container Toolkit Base",
            ("python3",),
            files={
                **code(),
                **(units if recent else {}),
                "/usr/bin/nvidia-ctk": launcher("ctk", version),
                "/usr/bin/nvidia-cdi-hook": launcher("cdi_hook", version),
                "/usr/bin/nvidia-container-runtime": launcher("runtime", version),
            },
            conffiles=tuple(path for path in units if recent and path.startswith("/etc/")),
            scripts={"postinst": _BASE_POSTINST.format(refresh=_ENABLE_REFRESH if recent else "")},
            section="utils",
            maintainer=MAINTAINER,
        ),
        Package(
            "nvidia-container-toolkit",
            version,
            "NVIDIA Container toolkit",
            (f"nvidia-container-toolkit-base (= {version})", f"libnvidia-container-tools ({relation} {version})"),
            files={"/usr/bin/nvidia-container-runtime-hook": launcher("hook", version)},
            scripts={"postinst": _TOOLKIT_POSTINST, "postrm": _TOOLKIT_POSTRM},
            section="utils",
            maintainer=MAINTAINER,
        ),
    ]


def build(root: Path, key: SigningKey) -> None:
    """Below root, which is the host's folder."""
    folder = root / "libnvidia-container"
    base = f"https://{TOOLKIT}/libnvidia-container"
    release = {"Origin": base, "Label": MAINTAINER, "Architecture": "amd64"}
    flat(folder / "stable/deb/amd64", build_all(packages(VERSIONS)), release, key)
    (folder / "gpgkey").write_bytes(key.armored())
    (folder / "stable/deb/nvidia-container-toolkit.list").write_text(
        f"deb {base}/stable/deb/$(ARCH) /\n#deb {base}/experimental/deb/$(ARCH) /\n"
    )
