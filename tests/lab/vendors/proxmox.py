# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Proxmox's repository: what a node's dpkg has to know, and the headers for the kernel that runs.

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from .deb import File, Link, Package
from .keys import SigningKey
from .names import PROXMOX, PROXMOX_KEYS
from .repository import Suite, build_all, pool

SUITE = "trixie"
COMPONENT = "pve-no-subscription"
REPOSITORY = "debian/pve"
POOL = f"dists/{SUITE}/{COMPONENT}/binary-amd64"
MAINTAINER = "Proxmox Support Team <support@proxmox.com>"
KEYRING = "/usr/share/keyrings/proxmox-archive-keyring.gpg"

# As on a node of version 9.2.11, in the order in which dpkg takes them.
VERSIONS = {
    "proxmox-archive-keyring": "4.0",
    "libpve-common-perl": "9.1.2",
    "libpve-guest-common-perl": "6.0.3",
    "libpve-storage-perl": "9.1.1",
    "pve-cluster": "9.0.7",
    "pve-firewall": "6.0.4",
    "lxc-pve": "6.0.5-3",
    "lxcfs": "6.0.4-pve1",
    "pve-container": "6.1.10",
    "pve-manager": "9.2.11",
    "proxmox-ve": "9.1.0",
}
NODE_PACKAGES = tuple(VERSIONS)
_DEPENDS = {
    "pve-container": ("lxc-pve (>= 6.0.0-1)", "libpve-storage-perl", "pve-cluster", "libpve-guest-common-perl"),
    "pve-manager": ("pve-container (>= 6.0.2)", "pve-cluster", "pve-firewall"),
    "proxmox-ve": ("pve-manager (>= 9.0.0)", "proxmox-archive-keyring"),
}
# Newer kernels than the one that a node of the lab runs.
OTHER_KERNELS = ("6.17.2-1-pve", "6.17.4-2-pve")

_DKMS = """#!/usr/bin/python3 -I
import sys
sys.path.insert(0, "/usr/share/phoenix-lab")
from lab.gpu.dkms import main
sys.exit(main())
"""
_MAKE = """#!/bin/sh
case "${1-}" in
-v | --version) echo "GNU Make 4.4.1" ;;
esac
"""


def package_name(kernel_release: str) -> str:
    """A kernel release as part of a package's name, which knows fewer characters."""
    return re.sub(r"[^a-z0-9.+-]", "-", kernel_release.lower())


def series(kernel_release: str) -> str:
    return ".".join(kernel_release.split(".")[:2])


def _package(
    name: str,
    version: str,
    description: str,
    depends: tuple[str, ...] = (),
    *,
    files: Mapping[str, File | Link] | None = None,
    relations: Mapping[str, str] | None = None,
) -> Package:
    about = f"{description} (lab stand-in)"
    return Package(name, version, about, depends, relations or {}, files or {}, section="admin", maintainer=MAINTAINER)


def headers(kernel_release: str) -> Package:
    name = package_name(kernel_release)
    source = f"/usr/src/linux-headers-{kernel_release}"
    return _package(
        f"proxmox-headers-{name}",
        _version(kernel_release),
        "Proxmox Kernel Headers",
        relations={"Provides": f"pve-headers-{name}, linux-headers, linux-headers-amd64"},
        files={
            f"{source}/Makefile": File.text("# The lab builds no kernel modules.\n"),
            f"{source}/include/config/kernel.release": File.text(f"{kernel_release}\n"),
            f"/lib/modules/{kernel_release}/build": Link(source),
        },
    )


def _version(kernel_release: str) -> str:
    match = re.match(r"\d+(\.\d+)*(-\d+)?", kernel_release)
    return match[0] if match else "0"


def kernels(kernel_release: str) -> list[Package]:
    """The running kernel, its neighbours, and the packages that follow the newest of the running one's series."""
    found: dict[str, Package] = {}
    for release in dict.fromkeys((*OTHER_KERNELS, kernel_release)):
        name = package_name(release)
        image = _package(f"proxmox-kernel-{name}-signed", _version(release), "Proxmox Kernel Image (signed)")
        for package in (headers(release), image):
            found[package.name] = package
        for what, newest in (("headers", f"proxmox-headers-{name}"), ("kernel", f"proxmox-kernel-{name}-signed")):
            follower = f"proxmox-{what}-{series(release)}"
            found[follower] = _package(follower, _version(release), f"Latest Proxmox {what}", (newest,))
    now = series(kernel_release)
    return [
        *found.values(),
        _package("proxmox-default-headers", "2.0.1", "Default Proxmox Kernel Headers", (f"proxmox-headers-{now}",)),
        _package("proxmox-default-kernel", "2.0.1", "Default Proxmox Kernel Image", (f"proxmox-kernel-{now}",)),
        _package("pve-headers", "8.4.0", "Transition package to proxmox-default-headers", ("proxmox-default-headers",)),
    ]


def tools() -> list[Package]:
    """What builds a kernel module. Debian's own take 250 MB, and the lab has none to build; newer, so that apt takes
    these."""
    return [
        _package("dkms", "3.2.2-2+lab1", "DKMS", ("kmod",), files={"/usr/sbin/dkms": File.program(_DKMS)}),
        _package("make", "4.4.1-99+lab1", "make", files={"/usr/bin/make": File.program(_MAKE)}),
        _package("gcc", "4:14.2.0-99+lab1", "GNU C compiler", ("tcc",), files={"/usr/bin/gcc": Link("tcc")}),
        _package("build-essential", "12.99+lab1", "Build tools", ("gcc", "make", "libc6-dev")),
    ]


def system(key: SigningKey) -> list[Package]:
    ring = {KEYRING: File(key.public())}
    return [
        _package(
            name,
            version,
            "Part of Proxmox VE",
            _DEPENDS.get(name, ()),
            files=ring if name == "proxmox-archive-keyring" else {},
        )
        for name, version in VERSIONS.items()
    ]


def build(roots: Path, key: SigningKey, kernel_release: str) -> None:
    """Below roots/<host>: the packages on one host, the key on two."""
    folder = roots / PROXMOX / REPOSITORY
    debs = build_all([*system(key), *kernels(kernel_release), *tools()])
    release = {"Origin": "Proxmox", "Label": "Proxmox Debian Repository"}
    pool(folder, Suite(SUITE, COMPONENT, POOL), debs, release, key)
    for host in (PROXMOX, PROXMOX_KEYS):
        (roots / host / "debian").mkdir(parents=True, exist_ok=True)
        for name in (f"proxmox-archive-keyring-{SUITE}.gpg", f"proxmox-release-{SUITE}.gpg"):
            (roots / host / "debian" / name).write_bytes(key.public())


def install(vendors: Path) -> None:
    """In a node's root: its packages, and the repository they came from as Proxmox writes it."""
    folder = vendors / PROXMOX / REPOSITORY / POOL
    files = [next(folder.glob(f"{name}_*.deb")) for name in NODE_PACKAGES]
    subprocess.run(["dpkg", "--install", *files], check=True, stdout=subprocess.DEVNULL)
    Path("/etc/apt/sources.list.d/proxmox.sources").write_text(
        "Types: deb\n"
        f"URIs: http://{PROXMOX}/{REPOSITORY}\n"
        f"Suites: {SUITE}\n"
        f"Components: {COMPONENT}\n"
        f"Signed-By: {KEYRING}\n"
    )
