# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The kernel of one node, as far as a GPU's driver shows in it: folders of plain files that are mounted over what the
# machine's own kernel says. The same code works on the folder from outside and on / in the node.

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import random
import shutil
import typing as t
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import files, hardware

MOUNTED_DIRECTORIES = ("proc/driver", "sys/module", "sys/bus/pci")
_LAB = "proc/driver/phoenix-lab"
_MACHINE = "machine.json"
_DRIVER = "proc/driver/nvidia"


@dataclasses.dataclass
class Machine:
    """What stays as it is over a reboot: the machine and its firmware."""

    node: str = "pve1"
    gpus: int = 2
    model: str = hardware.DEFAULT_MODEL
    driver: str = hardware.DRIVER
    """The driver that is loaded as long as the node has none of its own on disk; empty is none."""
    release: str = hardware.RELEASE
    nouveau: bool = False
    """Whether nouveau takes the GPUs at boot unless it is blacklisted in the initramfs."""
    vfio: bool = False
    """Whether vfio-pci takes them."""
    secure_boot: bool = False
    enrolled: list[str] = dataclasses.field(default_factory=list)
    """The certificates the firmware trusts, in hexadecimal."""
    requested: list[str] = dataclasses.field(default_factory=list)
    """Those that mokutil was told to import, which wait for a person at the console."""
    build_fails: bool = False
    """Whether no module can be compiled for this kernel."""


@dataclasses.dataclass
class State:
    """What is forgotten at a reboot."""

    majors: dict[str, int] = dataclasses.field(default_factory=dict)
    previous_majors: list[int] = dataclasses.field(default_factory=list)
    loaded: list[str] = dataclasses.field(default_factory=list)
    version: str = ""
    is_open: bool = True
    bound: dict[str, str] = dataclasses.field(default_factory=dict)
    """Which driver holds a GPU, by its minor."""
    lost: list[int] = dataclasses.field(default_factory=list)
    reserved: dict[str, int] = dataclasses.field(default_factory=dict)
    """MiB of a GPU's memory that a process of nobody's holds, by its minor."""
    in_use: bool = False
    real_devices: str = ""
    """The machine's own /proc/devices."""


@dataclasses.dataclass(frozen=True)
class Mount:
    """A bind mount into the node; those of containers have the node's target as their source."""

    source: Path
    target: str
    containers: bool

    @property
    def kind(self) -> t.Literal["dir", "file"]:
        return "dir" if self.source.is_dir() else "file"

    @property
    def lxc_entry(self) -> str:
        return f"{self.source} {self.target.lstrip('/')} none bind 0 0"


class Kernel:
    """One node's kernel below a root that has proc and sys."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.machine = Machine(**self._read(_MACHINE))
        self.state = State(**self._read("state.json"))

    def _read(self, name: str) -> dict[str, t.Any]:
        try:
            found: dict[str, t.Any] = json.loads((self.root / _LAB / name).read_text())
        except FileNotFoundError:
            return {}
        return found

    @property
    def gpus(self) -> list[hardware.Gpu]:
        return hardware.gpus(self.machine.node, self.machine.gpus, self.machine.model)

    @property
    def majors(self) -> dict[str, int]:
        """The drivers that have registered devices."""
        if "nvidia" not in self.state.loaded:
            return {}
        static = dict.fromkeys(("nvidia", "nvidiactl"), hardware.STATIC_MAJOR)
        if "nvidia_modeset" in self.state.loaded:
            static["nvidia-modeset"] = hardware.STATIC_MAJOR
        dynamic = dict(self.state.majors)
        if "nvidia_uvm" not in self.state.loaded:
            dynamic.pop("nvidia-uvm", None)
        return {**static, **dynamic}

    def save(self) -> None:
        """Write down what is true, and show it."""
        lab = self.root / _LAB
        lab.mkdir(parents=True, exist_ok=True)
        for name, value in ((_MACHINE, self.machine), ("state.json", self.state)):
            files.write(lab / name, json.dumps(dataclasses.asdict(value), indent=1) + "\n")
        if self.machine.build_fails:
            (lab / "build-fails").touch()
        else:
            (lab / "build-fails").unlink(missing_ok=True)
        self._show_modules()
        self._show_pci()
        self._show_firmware()
        self._show_driver()
        files.write(self.root / "proc/devices", hardware.proc_devices(self.state.real_devices, self.majors))
        release = self.machine.release
        files.write(self.root / "proc/sys/kernel/osrelease", f"{release}\n")
        compiler = "(gcc (Debian 14.2.0-19) 14.2.0, GNU ld (GNU Binutils for Debian) 2.44)"
        build = f"#1 SMP PREEMPT_DYNAMIC PMX {release.removesuffix('-pve')}"
        files.write(self.root / "proc/version", f"Linux version {release} (build@proxmox) {compiler} {build}\n")

    def holders(self, name: str) -> list[str]:
        return [other for other in self.state.loaded if name in hardware.MODULES[other].needs]

    def references(self, name: str) -> int:
        """How often a module is in use: by others, and by those who opened its devices."""
        users = self.state.in_use or bool(allocations(self.root / _DRIVER)) if name == "nvidia" else False
        persistent = name == "nvidia" and self._persistence_daemon()
        return len(self.holders(name)) + int(users) + int(persistent)

    def _persistence_daemon(self) -> bool:
        return any(path.read_text() == "1" for path in (self.root / _DRIVER / "lab").glob("persistence*"))

    def _show_modules(self) -> None:
        modules = self.root / "sys/module"
        files.only(modules, self.state.loaded)
        for name in self.state.loaded:
            files.write(modules / name / "refcnt", f"{self.references(name)}\n")
            files.write(modules / name / "initstate", "live\n")
            if name.startswith("nvidia"):
                files.write(modules / name / "version", f"{self.state.version}\n")
            holders = modules / name / "holders"
            files.only(holders, self.holders(name))
            for holder in self.holders(name):
                (holders / holder).mkdir(exist_ok=True)
        lines = []
        for name in reversed(self.state.loaded):
            used_by = "".join(f"{holder}," for holder in self.holders(name)) or "-"
            size, taint = hardware.MODULES[name].size, " (OE)" if name.startswith("nvidia") else ""
            lines.append(f"{name} {size} {self.references(name)} {used_by} Live 0x0000000000000000{taint}\n")
        with contextlib.suppress(FileNotFoundError):
            lines.append((self.root / _LAB / "real-modules").read_text())
        files.write(self.root / _LAB / "modules", "".join(lines))
        if (self.root / "proc/modules").exists():
            files.write(self.root / "proc/modules", "".join(lines))

    def _show_pci(self) -> None:
        pci = self.root / "sys/bus/pci"
        drivers = {"nvidia": "nvidia" in self.state.loaded, "nouveau": "nouveau" in self.state.loaded,
                   "vfio-pci": "vfio_pci" in self.state.loaded, "pcieport": True}  # fmt: skip
        for name, there in drivers.items():
            if there:
                (pci / "drivers" / name).mkdir(parents=True, exist_ok=True)
            else:
                shutil.rmtree(pci / "drivers" / name, ignore_errors=True)
        files.only(pci / "devices", [gpu.bus for gpu in self.gpus])
        for gpu in self.gpus:
            device = pci / "devices" / gpu.bus
            number = gpu.hardware.device
            values = {"vendor": "0x10de", "device": f"0x{number:04x}", "class": "0x030000", "numa_node": "-1",
                      "subsystem_vendor": "0x1043", "subsystem_device": "0x8a11", "enable": "1",
                      "modalias": f"pci:v000010DEd{number:08X}sv00001043sd00008A11bc03sc00i00"}  # fmt: skip
            for name, value in values.items():
                files.write(device / name, f"{value}\n")
            files.link(device / "driver", self.state.bound.get(str(gpu.minor)), "../../drivers/")

    def _show_firmware(self) -> None:
        variables = self.root / "sys/firmware/efi/efivars"
        attributes = b"\x06\x00\x00\x00"
        files.write(variables / "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
                    attributes + bytes([self.machine.secure_boot]))  # fmt: skip
        certificates = b"".join(bytes.fromhex(certificate) for certificate in self.machine.enrolled)
        files.write(variables / "MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23", attributes + certificates)

    def _show_driver(self) -> None:
        driver = self.root / _DRIVER
        if "nvidia" not in self.state.loaded:
            shutil.rmtree(driver, ignore_errors=True)
            return
        version = self.state.version
        files.write(driver / "version", hardware.proc_version(version, is_open=self.state.is_open))
        files.write(driver / "params", hardware.PARAMETERS)
        files.write(driver / "registry", 'Binary: ""\n')
        for name, (minor, mode) in hardware.CAPABILITIES.items():
            files.write(driver / "capabilities" / name, hardware.capability(minor, mode))
        memory = driver / "lab/memory"
        memory.mkdir(parents=True, exist_ok=True)
        memory.chmod(0o1777)
        files.write(driver / "lab/majors", "".join(f"{name}={major}\n" for name, major in self.majors.items()))
        mine = [gpu for gpu in self.gpus if self.state.bound.get(str(gpu.minor)) == "nvidia"]
        files.only(driver / "gpus", [gpu.bus for gpu in mine])
        for gpu in mine:
            files.write(driver / "gpus" / gpu.bus / "information", hardware.information(gpu, version))
            facts = hardware.lab_facts(gpu, self._gpu_state(gpu), self.state.reserved.get(str(gpu.minor), 0))
            files.write(driver / "lab" / f"gpu{gpu.minor}", facts)

    def _gpu_state(self, gpu: hardware.Gpu) -> str:
        if gpu.hardware.needs_open_module and not self.state.is_open:
            return "unsupported"
        return "lost" if gpu.minor in self.state.lost else "ok"


@contextlib.contextmanager
def locked(root: Path = Path("/")) -> Iterator[Kernel]:
    """The kernel, for a change that nobody else interrupts; it is shown afterwards."""
    lab = root / _LAB
    lab.mkdir(parents=True, exist_ok=True)
    with (lab / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kernel = Kernel(root)
        yield kernel
        kernel.save()


def create(folder: Path, machine: Machine, *, real_devices: str | None = None) -> None:
    """Make the kernel of a node, so that there is something to mount."""
    with locked(folder) as kernel:
        kernel.machine = machine
    boot(folder, real_devices=real_devices)


def boot(folder: Path, *, real_devices: str | None = None) -> None:
    """Start a node's kernel, before its init runs: other majors than last time, no module loaded."""
    with locked(folder) as kernel:
        real = Path("/proc/devices").read_text() if real_devices is None else real_devices
        before = list(kernel.state.majors.values())
        free = hardware.free_majors(real, before)
        chosen = random.SystemRandom().sample(free, len(hardware.DYNAMIC_DRIVERS))
        kernel.state = State(dict(zip(hardware.DYNAMIC_DRIVERS, chosen, strict=True)), before, real_devices=real)
        # A kernel without loadable modules has no such file.
        real_modules = Path("/proc/modules")
        if real_modules.exists():
            lines = real_modules.read_text().splitlines(keepends=True)
            others = [line for line in lines if line.split()[0] not in hardware.MODULES]
            files.write(folder / _LAB / "real-modules", "".join(others))
            (folder / "proc").mkdir(exist_ok=True)
            (folder / "proc/modules").touch()


def mounts(folder: Path) -> list[Mount]:
    """What is mounted into the node, and from there into its containers."""
    in_containers = [Mount(folder / path, f"/{path}", containers=True) for path in MOUNTED_DIRECTORIES]
    in_containers.append(Mount(folder / "proc/devices", "/proc/devices", containers=True))
    # Nothing can be mounted where nothing is.
    if (folder / "proc/modules").exists():
        in_containers.append(Mount(folder / "proc/modules", "/proc/modules", containers=True))
    in_node = ("sys/firmware", "proc/sys/kernel/osrelease", "proc/version")
    return in_containers + [Mount(folder / path, f"/{path}", containers=False) for path in in_node]


def container_mounts(folder: Path) -> list[str]:
    """The values of lxc.mount.entry that every container of the node gets (/etc/phoenix-lab/container-mounts)."""
    return [f"{m.target} {m.target.lstrip('/')} none bind 0 0" for m in mounts(folder) if m.containers]


def allocations(driver: Path) -> list[tuple[int, int]]:
    """The memory that living processes hold: minor and bytes. What a dead one left is removed."""
    found = []
    for path in sorted((driver / "lab/memory").glob("[0-9]*")):
        try:
            with path.open() as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
        except BlockingIOError:
            minor, size = path.name.split("-")[:2]
            found.append((int(minor), int(size)))
        except OSError:
            # Gone since it was listed, or of another container, whose it is to remove.
            continue
    return found


def device_nodes(majors: dict[str, int], minors: Sequence[int]) -> dict[str, tuple[int, int, int]]:
    """The nodes below /dev of a working driver: major, minor and mode."""
    nodes = {f"nvidia{minor}": (hardware.STATIC_MAJOR, minor, 0o666) for minor in minors}
    if "nvidia" in majors:
        nodes["nvidiactl"] = (hardware.STATIC_MAJOR, 255, 0o666)
    if "nvidia-modeset" in majors:
        nodes["nvidia-modeset"] = (hardware.STATIC_MAJOR, 254, 0o666)
    if major := majors.get("nvidia-uvm"):
        nodes["nvidia-uvm"] = (major, 0, 0o666)
        nodes["nvidia-uvm-tools"] = (major, 1, 0o666)
    if major := majors.get("nvidia-caps"):
        for minor, mode in hardware.CAPABILITIES.values():
            nodes[f"nvidia-caps/nvidia-cap{minor}"] = (major, minor, mode)
    return nodes


def make_nodes(dev: Path, nodes: dict[str, tuple[int, int, int]]) -> None:
    """What nvidia-modprobe does, for a node that does not have it yet."""
    for name, (major, minor, mode) in nodes.items():
        path = dev / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        os.mknod(path, 0o020000 | mode, os.makedev(major, minor))
        path.chmod(mode)
