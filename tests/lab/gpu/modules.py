# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Loading and unloading modules as the kernel does it, from what lies below /lib/modules of the node.

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from . import elf, hardware, initramfs
from .kernel import Kernel, device_nodes, make_nodes

_PCI_DRIVERS = {"nvidia": "nvidia", "nouveau": "nouveau", "vfio_pci": "vfio-pci"}
# In the order in which depmod prefers them.
_DIRECTORIES = ("updates/dkms", "updates", "extra", "kernel")


class ModuleError(Exception):
    """What the kernel answered."""


class ModuleNotFound(ModuleError):
    pass


def normal(name: str) -> str:
    return name.replace("-", "_")


def folder(node: Path, release: str) -> Path:
    return node / "usr/lib/modules" / release


def find(node: Path, release: str, name: str) -> Path | None:
    """The file of a module that modprobe would take."""
    for directory in _DIRECTORIES:
        for path in sorted((folder(node, release) / directory).rglob("*.ko")):
            if normal(path.stem) == normal(name):
                return path
    return None


def is_builtin(node: Path, release: str, name: str) -> bool:
    try:
        listed = (folder(node, release) / "modules.builtin").read_text()
    except OSError:
        return False
    return any(normal(Path(line).stem) == normal(name) for line in listed.split())


def load(kernel: Kernel, node: Path, name: str) -> None:
    """modprobe: a module and what it needs."""
    name = normal(name)
    if name in kernel.state.loaded:
        return
    release = kernel.machine.release
    path = find(node, release, name)
    if path is None or name not in hardware.MODULES:
        if path is None and not is_builtin(node, release, name):
            raise ModuleNotFound(f"Module {name} not found in directory /lib/modules/{release}")
        return
    for needed in hardware.MODULES[name].needs:
        load(kernel, node, needed)
    insert(kernel, name, path.read_bytes())


def insert(kernel: Kernel, name: str, binary: bytes) -> None:
    """insmod: what the kernel itself checks."""
    fields = elf.module_fields(binary)
    if fields.get("vermagic", kernel.machine.release).split()[0] != kernel.machine.release:
        raise ModuleError("Exec format error")
    if kernel.machine.secure_boot and name.startswith("nvidia"):
        trusted = {hashlib.sha256(bytes.fromhex(known)).hexdigest() for known in kernel.machine.enrolled}
        if elf.signer(binary) not in trusted:
            raise ModuleError("Key was rejected by service")
    if any(needed not in kernel.state.loaded for needed in hardware.MODULES[name].needs):
        raise ModuleError("Unknown symbol in module, or unknown parameter (see dmesg)")
    if name in _PCI_DRIVERS:
        _bind(kernel, _PCI_DRIVERS[name])
    if name == "nvidia":
        kernel.state.version = fields.get("version", "")
        kernel.state.is_open = "GPL" in fields.get("license", "")
    elif name.startswith("nvidia") and fields.get("version", "") != kernel.state.version:
        raise ModuleError("Invalid argument")
    kernel.state.loaded.append(name)


def _bind(kernel: Kernel, driver: str) -> None:
    free = [gpu for gpu in kernel.gpus if str(gpu.minor) not in kernel.state.bound]
    if driver == "nvidia" and not free:
        raise ModuleError("No such device")
    for gpu in free:
        kernel.state.bound[str(gpu.minor)] = driver


def in_use(kernel: Kernel, name: str) -> bool:
    return kernel.references(name) > 0


def remove(kernel: Kernel, name: str) -> None:
    """rmmod."""
    name = normal(name)
    if name not in kernel.state.loaded:
        raise ModuleError(f"Module {name} is not currently loaded")
    if holders := kernel.holders(name):
        raise ModuleError(f"Module {name} is in use by: {' '.join(holders)}")
    if in_use(kernel, name):
        raise ModuleError(f"Module {name} is in use")
    kernel.state.loaded.remove(name)
    driver = _PCI_DRIVERS.get(name)
    kernel.state.bound = {minor: bound for minor, bound in kernel.state.bound.items() if bound != driver}
    if name == "nvidia":
        kernel.state.version = ""


def preload(kernel: Kernel, version: str, *, is_open: bool = True) -> None:
    """A driver that is loaded although the node has none on disk, or another one."""
    unload_driver(kernel)
    kernel.state.bound = {str(gpu.minor): "nvidia" for gpu in kernel.gpus}
    kernel.state.loaded = ["nvidia", "nvidia_modeset", "nvidia_drm", "nvidia_uvm"]
    kernel.state.version = version
    kernel.state.is_open = is_open


def unload_driver(kernel: Kernel) -> None:
    """Whatever uses it."""
    kernel.state.loaded = [name for name in kernel.state.loaded if name == "vfio_pci"]
    kernel.state.bound = {minor: bound for minor, bound in kernel.state.bound.items() if bound == "vfio-pci"}
    kernel.state.version = ""


def coldplug(kernel: Kernel, node: Path) -> None:
    """What happens from the boot loader to the end of systemd-modules-load: the kernel, then the modules."""
    kernel.machine.release = initramfs.next_kernel(node, kernel.machine.release)
    release = kernel.machine.release
    blacklist = initramfs.blacklist(node, release)
    for name, wanted in (("vfio_pci", kernel.machine.vfio), ("nouveau", kernel.machine.nouveau)):
        if wanted and name not in blacklist and find(node, release, name):
            load(kernel, node, name)
    on_disk = find(node, release, "nvidia") is not None
    for name in ("nvidia", "nvidia_drm") if on_disk and "nvidia" not in blacklist else ():
        _try_load(kernel, node, name)
    for name in _modules_to_load(node):
        _try_load(kernel, node, name)
    if kernel.machine.driver and not on_disk and not kernel.state.bound and kernel.gpus:
        preload(kernel, kernel.machine.driver)
        make_nodes(node / "dev", device_nodes(kernel.majors, [gpu.minor for gpu in kernel.gpus]))


def _try_load(kernel: Kernel, node: Path, name: str) -> None:
    try:
        load(kernel, node, name)
    except ModuleError:
        # Nobody sees it at boot but the kernel's log.
        return


def _modules_to_load(node: Path) -> list[str]:
    names = []
    lists = [node / "etc/modules", *sorted((node / "etc/modules-load.d").glob("*.conf"))]
    lists += sorted((node / "usr/lib/modules-load.d").glob("*.conf"))
    for path in lists:
        if path.is_file():
            names += re.findall(r"^\s*([\w-]+)", path.read_text(), re.MULTILINE)
    return names
