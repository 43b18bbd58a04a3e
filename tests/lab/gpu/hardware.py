# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The machine that the lab's node pretends to be: its GPUs, its kernel, and what the kernel says about them.

from __future__ import annotations

import dataclasses
import re
import typing as t
import uuid
from collections.abc import Iterable, Mapping

RELEASE = "6.14.11-4-pve"
DRIVER = "580.76.05"

STATIC_MAJOR = 195
DYNAMIC_DRIVERS = (
    "nvidia-uvm",
    "nvidia-nvswitch",
    "nvidia-nvlink",
    "nvidia-caps",
    "nvidia-caps-imex-channels",
)
# Where the kernel takes the majors from that it hands out itself.
DYNAMIC_MAJORS = (*range(234, 255), *range(384, 512))


@dataclasses.dataclass(frozen=True)
class Model:
    name: str
    device: int
    memory: int
    """MiB, as nvidia-smi tells it."""
    compute_cap: str
    power_limit: int

    @property
    def needs_open_module(self) -> bool:
        return self.device >= 0x2900


MODELS = {
    "rtx-5060-ti": Model("NVIDIA GeForce RTX 5060 Ti", 0x2D04, 16311, "12.0", 180),
    "rtx-3090": Model("NVIDIA GeForce RTX 3090", 0x2204, 24576, "8.6", 350),
    "gtx-1080-ti": Model("NVIDIA GeForce GTX 1080 Ti", 0x1B06, 11264, "6.1", 250),
    "h200": Model("NVIDIA H200", 0x2335, 143771, "9.0", 700),
}
DEFAULT_MODEL = "rtx-5060-ti"


@dataclasses.dataclass(frozen=True)
class Gpu:
    minor: int
    model: str
    uuid: str

    @property
    def bus(self) -> str:
        return f"0000:{self.minor + 1:02x}:00.0"

    @property
    def hardware(self) -> Model:
        return MODELS[self.model]


def gpus(node: str, count: int, model: str) -> list[Gpu]:
    """The GPUs of a node, with UUIDs that stay the same in every lab."""
    return [
        Gpu(minor, model, f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, f'gpu{minor}.{node}.phoenix-lab')}")
        for minor in range(count)
    ]


class Module(t.NamedTuple):
    """A module of the driver, and which ones it needs."""

    name: str
    size: int
    needs: tuple[str, ...]


MODULES = {
    module.name: module
    for module in (
        Module("nvidia", 14376960, ()),
        Module("nvidia_modeset", 1847296, ("nvidia",)),
        Module("nvidia_drm", 139264, ("nvidia_modeset",)),
        Module("nvidia_uvm", 2093056, ("nvidia",)),
        Module("nvidia_peermem", 16384, ("nvidia",)),
        Module("nouveau", 3096576, ()),
        Module("vfio_pci", 16384, ()),
    )
}


def proc_version(version: str, *, is_open: bool) -> str:
    kind = "Open Kernel Module for x86_64" if is_open else "x86_64 Kernel Module"
    build = "Release Build  (dvs-builder@U22-I3-AM02-24-3)  " if is_open else ""
    return (
        f"NVRM version: NVIDIA UNIX {kind}  {version}  {build}Wed Jul 23 16:33:12 UTC 2025\n"
        "GCC version:  gcc version 14.2.0 (Debian 14.2.0-19) \n"
    )


def information(gpu: Gpu, version: str) -> str:
    return (
        f"Model: \t\t {gpu.hardware.name}\n"
        f"IRQ:   \t\t {120 + gpu.minor}\n"
        f"GPU UUID: \t {gpu.uuid}\n"
        "Video BIOS: \t 98.06.1f.00.dc\n"
        "Bus Type: \t PCIe\n"
        "DMA Size: \t 52 bits\n"
        "DMA Mask: \t 0xfffffffffffff\n"
        f"Bus Location: \t {gpu.bus}\n"
        f"Device Minor: \t {gpu.minor}\n"
        f"GPU Firmware: \t {version}\n"
        "GPU Excluded:\t No\n"
    )


PARAMETERS = """\
ResmanDebugLevel: 4294967295
RmLogonRC: 1
ModifyDeviceFiles: 1
DeviceFileUID: 0
DeviceFileGID: 0
DeviceFileMode: 438
InitializeSystemMemoryAllocations: 1
UsePageAttributeTable: 4294967295
EnableMSI: 1
EnablePCIeGen3: 0
MemoryPoolSize: 0
PreserveVideoMemoryAllocations: 0
EnableResizableBar: 0
EnableGpuFirmware: 18
DmaRemapPeerMmio: 1
OpenRmEnableUnsupportedGpus: 1
RegistryDwords: ""
"""

# File below capabilities -> minor and mode of its node.
CAPABILITIES = {"mig/config": (1, 0o400), "mig/monitor": (2, 0o444)}


def capability(minor: int, mode: int) -> str:
    return f"DeviceFileMinor: {minor}\nDeviceFileMode: {mode}\nDeviceFileModify: 1\n"


def lab_facts(gpu: Gpu, state: str, reserved: int) -> str:
    """What the stubs of nvidia-smi and libcuda read."""
    hardware = gpu.hardware
    facts = {
        "name": hardware.name,
        "uuid": gpu.uuid,
        "bus": f"0000{gpu.bus.upper()}",
        "device": f"0x{hardware.device:04X}",
        "memory": hardware.memory,
        "compute_cap": hardware.compute_cap,
        "power_limit": hardware.power_limit,
        "reserved": reserved,
        "state": state,
    }
    return "".join(f"{key}={value}\n" for key, value in facts.items())


def character_devices(proc_devices: str) -> dict[int, list[str]]:
    """The characters' half of a /proc/devices without the drivers of NVIDIA, which are the stand-in's to tell."""
    found: dict[int, list[str]] = {}
    for major, name in re.findall(r"^\s*(\d+) (\S+)$", proc_devices.partition("Block devices:")[0], re.MULTILINE):
        if not name.startswith("nvidia"):
            found.setdefault(int(major), []).append(name)
    return found


def proc_devices(real: str, majors: Mapping[str, int]) -> str:
    """The machine's own /proc/devices with these drivers added."""
    characters = character_devices(real)
    for name, major in majors.items():
        characters.setdefault(major, []).append(name)
    blocks = real.partition("Block devices:\n")[2]
    lines = [f"{major:3} {name}" for major in sorted(characters) for name in characters[major]]
    return "Character devices:\n" + "".join(f"{line}\n" for line in lines) + f"\nBlock devices:\n{blocks}"


def free_majors(real: str, avoid: Iterable[int]) -> list[int]:
    """Majors that the kernel could hand out: the machine's own kernel has them free."""
    taken = {int(major) for major in re.findall(r"^\s*(\d+) ", real, re.MULTILINE)} | set(avoid)
    return [major for major in DYNAMIC_MAJORS if major not in taken]
