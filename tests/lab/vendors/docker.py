# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Docker's repository. The engine is Debian's, real: its packages conflict with docker-ce by name, so their data is
# offered under names of our own, and docker-ce and its companions are small packages in several versions that need it.

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from ..errors import LabError
from .deb import File, Package, with_control
from .keys import SigningKey
from .repository import Deb, Suite, build_all, pool

# Folder below /linux, suite, the tail of every version.
SUITES = (
    ("debian", "trixie", "~debian.13~trixie"),
    ("debian", "bookworm", "~debian.12~bookworm"),
    ("ubuntu", "noble", "~ubuntu.24.04~noble"),
)
ENGINE_VERSIONS = ("5:28.4.0-1", "5:28.5.1-1", "5:28.5.2-1", "5:29.0.1-1")
CONTAINERD_VERSIONS = ("1.7.27-1", "1.7.28-1", "2.1.5-1")
COMPOSE_VERSIONS = ("2.39.4-1", "2.40.0-1", "2.40.3-1")
BUILDX_VERSIONS = ("0.28.0-1", "0.29.1-1")
MAINTAINER = "Docker <support@docker.com>"

# Debian's package, and ours that brings the same files.
ENGINE = {"docker.io": "phoenix-lab-docker-engine", "docker-cli": "phoenix-lab-docker-cli"}

BUILDX = """#!/bin/sh
if [ "$1" = docker-cli-plugin-metadata ]; then
    echo '{"SchemaVersion":"0.1.0","Vendor":"Docker Inc.","Version":"@VERSION@","ShortDescription":"Docker Buildx"}'
elif [ "$2" = version ]; then
    echo "github.com/docker/buildx @VERSION@ phoenix-lab"
else
    echo "ERROR: the lab's buildx builds nothing" >&2
    exit 1
fi
"""


def engine(folder: Path) -> list[Deb]:
    """Debian's engine and client, from their .deb files in a folder, renamed."""
    found = []
    for theirs, ours in ENGINE.items():
        files = sorted(folder.glob(f"{theirs}_*.deb"))
        if not files:
            raise LabError(
                f"{folder} has no {theirs}_*.deb, and the lab's Docker repository is made of it",
                f"Put it there when the image is made: apt-get download {' '.join(ENGINE)}",
            )
        change = {
            "Package": ours,
            "Conflicts": theirs,
            "Replaces": theirs,
            "Breaks": None,
            "Recommends": None,
            "Suggests": None,
            "Built-Using": None,
        }
        name = files[-1].name.replace(theirs, ours, 1)
        found.append(Deb(name, with_control(files[-1].read_bytes(), change)))
    return found


@dataclasses.dataclass(frozen=True)
class _Suite:
    tail: str

    def package(
        self,
        name: str,
        version: str,
        description: str,
        depends: tuple[str, ...] = (),
        *,
        relations: Mapping[str, str] | None = None,
        files: Mapping[str, File] | None = None,
    ) -> Package:
        return Package(
            name,
            version + self.tail,
            f"{description} (lab stand-in)",
            depends,
            relations or {},
            files or {},
            section="admin",
            maintainer=MAINTAINER,
        )

    def packages(self) -> list[Package]:
        return [package for each in (self._engine, self._companions) for package in each()]

    def _engine(self) -> list[Package]:
        found = []
        for version in ENGINE_VERSIONS:
            found += [
                self.package(
                    "docker-ce",
                    version,
                    "Docker: the open-source application container engine",
                    ("containerd.io (>= 1.7.27)", "docker-ce-cli", "iptables", ENGINE["docker.io"]),
                    relations={
                        "Recommends": "ca-certificates, docker-ce-rootless-extras, procps",
                        "Conflicts": "docker (<< 1.5~), docker-engine, docker.io",
                        "Replaces": "docker-engine",
                    },
                ),
                self.package(
                    "docker-ce-cli",
                    version,
                    "Docker CLI: the open-source application container engine",
                    (ENGINE["docker-cli"],),
                    relations={
                        "Recommends": "docker-buildx-plugin, docker-compose-plugin",
                        "Conflicts": "docker-cli, docker.io",
                    },
                ),
                self.package(
                    "docker-ce-rootless-extras",
                    version,
                    "Rootless support for Docker",
                    relations={"Enhances": "docker-ce"},
                ),
            ]
        return found

    def _companions(self) -> list[Package]:
        return [
            *(
                self.package("containerd.io", version, "An open and reliable container runtime", ("containerd", "runc"))
                for version in CONTAINERD_VERSIONS
            ),
            *(
                self.package(
                    "docker-compose-plugin",
                    version,
                    "Docker Compose (V2) plugin for the Docker CLI",
                    ("docker-compose",),
                    relations={"Enhances": "docker-ce-cli"},
                )
                for version in COMPOSE_VERSIONS
            ),
            *(
                self.package(
                    "docker-buildx-plugin",
                    version,
                    "Docker Buildx plugin",
                    relations={"Enhances": "docker-ce-cli"},
                    files={
                        "/usr/libexec/docker/cli-plugins/docker-buildx": File.program(
                            BUILDX.replace("@VERSION@", f"v{version.partition('-')[0]}")
                        )
                    },
                )
                for version in BUILDX_VERSIONS
            ),
        ]


def build(root: Path, key: SigningKey, debs: Path) -> None:
    """Below root, which is the host's folder; debs is where Debian's engine lies."""
    shared = engine(debs)
    for family, suite, tail in SUITES:
        folder = root / "linux" / family
        packages = build_all(_Suite(tail).packages())
        release = {"Origin": "Docker", "Label": "Docker CE"}
        where = Suite(suite, "stable", f"dists/{suite}/pool/stable/amd64")
        pool(folder, where, [*packages, *shared], release, key)
        (folder / "gpg").write_bytes(key.armored())
    _share(root, [deb.filename for deb in shared])


def _share(root: Path, names: list[str]) -> None:
    """The engine's 30 MB lie on the disk once, not once for each suite."""
    for name in names:
        first, *others = sorted(root.rglob(name))
        for other in others:
            other.unlink()
            other.hardlink_to(first)
