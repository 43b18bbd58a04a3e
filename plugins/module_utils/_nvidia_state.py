# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# What of the driver is installed and loaded, read from files below a root: the node's, or a container's as the node
# sees it. Nothing here starts a process, except modinfo for a compressed module.

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia import (
    KernelModule,
    installed_packages,
    kernel_order,
    library_version,
    loaded_module,
    logged_version,
    module_fields,
    module_from_fields,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_rules import (
    DKMS_CERTIFICATE,
    clashing_packages,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Runner
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree

LIBRARIES = ("libnvidia-ml.so.1", "libcuda.so.1")
_LIBRARY_DIRECTORIES = ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/lib")
# In the order in which depmod prefers them.
_MODULE_DIRECTORIES = ("updates/dkms", "updates", "extra", "kernel/drivers/video")
_EFI_VARIABLES = "sys/firmware/efi/efivars"


@dataclasses.dataclass(frozen=True)
class Userspace:
    """The driver's programs and libraries in one root."""

    logged: str
    libraries: dict[str, str]
    nvidia_smi: bool
    uninstaller: bool
    clashing: list[str]

    @property
    def version(self) -> str | None:
        """The installed version; where the parts differ, the one that programs would load."""
        return next((version for version in (*self.libraries.values(), self.logged) if version), None)

    def problems(self, version: str) -> list[str]:
        """Why this is no complete installation of that version."""
        found = []
        if self.logged != version:
            found.append(f"/var/lib/nvidia/log names {self.logged or 'no version'}")
        for library, installed in self.libraries.items():
            if installed != version:
                found.append(f"{library} is {installed or 'missing'}")
        if not self.nvidia_smi:
            found.append("nvidia-smi is missing")
        return found


def read_userspace(tree: Tree) -> Userspace:
    return Userspace(
        logged=logged_version(tree.text("var/lib/nvidia/log")),
        libraries={library: _library(tree, library) for library in LIBRARIES},
        nvidia_smi=tree.program("nvidia-smi"),
        uninstaller=tree.program("nvidia-uninstall"),
        clashing=clashing_packages(installed_packages(tree.text("var/lib/dpkg/status"))),
    )


def _library(tree: Tree, library: str) -> str:
    for directory in _LIBRARY_DIRECTORIES:
        target = tree.resolve(f"{directory}/{library}")
        if target.exists() and (version := library_version(target.name)):
            return version
    return ""


@dataclasses.dataclass(frozen=True)
class Kernel:
    """An installed kernel, and what DKMS and depmod have for it."""

    release: str
    headers: bool
    dkms: str
    """The driver version that DKMS has installed for it."""
    module: KernelModule | None
    """The module nvidia that it would load."""


@dataclasses.dataclass(frozen=True)
class NodeState:
    """The node's side of the driver: the kernel modules."""

    running: str
    kernels: dict[str, Kernel]
    loaded: KernelModule | None
    in_use: bool
    nouveau: bool
    device_ids: list[int]
    pins: frozenset[str] = frozenset()
    """The kernels that proxmox-boot-tool was told to boot."""

    @property
    def on_disk(self) -> KernelModule | None:
        kernel = self.kernels.get(self.running)
        return kernel.module if kernel else None

    @property
    def reboot_required(self) -> bool:
        """What runs is not what is installed."""
        return self.nouveau or (self.loaded is not None and self.loaded != self.on_disk)

    @property
    def bootable(self) -> list[Kernel]:
        """The kernels that matter: the one that runs, and those of the next boot, which are pinned or the newest."""
        newest = max(self.kernels, key=kernel_order, default="")
        following = self.pins & self.kernels.keys() or {newest}
        return [kernel for release, kernel in self.kernels.items() if release == self.running or release in following]


def read_node(tree: Tree, architecture: str, runner: Runner) -> NodeState:
    running = tree.text("proc/sys/kernel/osrelease").strip()
    return NodeState(
        running=running,
        kernels={kernel.release: kernel for kernel in _kernels(tree, architecture, runner)},
        loaded=loaded_module(tree.text("proc/driver/nvidia/version")),
        in_use=_in_use(tree),
        nouveau=_nouveau(tree),
        device_ids=device_ids(tree),
        pins=frozenset(
            release
            for pin in ("proxmox-boot-pin", "next-boot-pin")
            for release in tree.text(f"etc/kernel/{pin}").split()[:1]
        ),
    )


def read_loaded(tree: Tree) -> KernelModule | None:
    return loaded_module(tree.text("proc/driver/nvidia/version"))


def _kernels(tree: Tree, architecture: str, runner: Runner) -> Iterator[Kernel]:
    for release in tree.names("lib/modules"):
        # A removed kernel can leave a directory with nothing but somebody's modules in it.
        if not tree.exists(f"lib/modules/{release}/kernel"):
            continue
        yield Kernel(
            release=release,
            headers=tree.exists(f"lib/modules/{release}/build/Makefile"),
            dkms=_dkms_version(tree, release, architecture),
            module=_module(tree, release, runner),
        )


def _dkms_version(tree: Tree, release: str, architecture: str) -> str:
    """DKMS marks what it has installed for a kernel by a link to C(<version>/<kernel>/<architecture>)."""
    link = tree.root / "var/lib/dkms/nvidia" / f"kernel-{release}-{architecture}"
    try:
        target = os.readlink(link)
    except OSError:
        return ""
    return target.partition("/")[0] if (link.parent / target / "module").is_dir() else ""


def _module(tree: Tree, release: str, runner: Runner) -> KernelModule | None:
    path = _module_file(tree, release)
    if path is None:
        return None
    if path.suffix == ".ko":
        return _plain_module(path)
    return module_from_fields(
        {
            field: runner(["modinfo", "-F", field, str(path)], timeout=60).stdout.strip()
            for field in ("version", "license")
        }
    )


def _module_file(tree: Tree, release: str) -> Path | None:
    for directory in _MODULE_DIRECTORIES:
        folder = f"lib/modules/{release}/{directory}"
        for name in tree.names(folder):
            if re.fullmatch(r"nvidia\.ko(\.\w+)?", name):
                return tree.resolve(f"{folder}/{name}")
    return None


def _plain_module(path: Path) -> KernelModule | None:
    with path.open("rb") as stream:
        return module_from_fields(module_fields(stream))


def version_on_disk(tree: Tree, release: str) -> str:
    """The driver that a kernel would load, as far as that can be told without starting a process."""
    for architecture in ("x86_64", "aarch64"):
        if version := _dkms_version(tree, release, architecture):
            return version
    path = _module_file(tree, release)
    module = _plain_module(path) if path is not None and path.suffix == ".ko" else None
    return module.version if module else ""


def _in_use(tree: Tree) -> bool:
    """Whether anything but the driver's own modules holds one of them, which keeps them from being unloaded."""
    for module in tree.names("sys/module"):
        if re.fullmatch(r"nvidia(_\w+)?", module):
            references = tree.text(f"sys/module/{module}/refcnt").strip()
            # A kernel that cannot unload modules counts no references.
            if not references or int(references) > len(tree.names(f"sys/module/{module}/holders")):
                return True
    return False


def _pci_devices(tree: Tree) -> Iterator[str]:
    for name in tree.names("sys/bus/pci/devices"):
        yield f"sys/bus/pci/devices/{name}"


def _nouveau(tree: Tree) -> bool:
    return any(tree.resolve(f"{device}/driver").name == "nouveau" for device in _pci_devices(tree))


def device_ids(tree: Tree) -> list[int]:
    """The PCI device ids of NVIDIA's display controllers."""
    return [
        int(tree.text(f"{device}/device"), 16)
        for device in _pci_devices(tree)
        if tree.text(f"{device}/vendor").strip() == "0x10de" and tree.text(f"{device}/class").startswith("0x03")
    ]


def secure_boot(tree: Tree) -> bool:
    """The firmware's variable: four bytes of attributes, then 1 when it refuses unsigned code."""
    variables = [name for name in tree.names(_EFI_VARIABLES) if name.startswith("SecureBoot-8be4df61-")]
    return any(tree.data(f"{_EFI_VARIABLES}/{name}")[4:5] == b"\x01" for name in variables)


def key_enrolled(tree: Tree) -> bool:
    """Whether the certificate that DKMS signs with is among the machine owner's keys that the kernel trusts."""
    certificate = tree.data(DKMS_CERTIFICATE)
    lists = [name for name in tree.names(_EFI_VARIABLES) if re.match(r"MokListRT\d*-", name)]
    return bool(certificate) and any(certificate in tree.data(f"{_EFI_VARIABLES}/{name}") for name in lists)


def missing_tools(tree: Tree, tools: Sequence[str]) -> list[str]:
    return [tool for tool in tools if not tree.program(tool)]
