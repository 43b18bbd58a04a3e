# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What can be broken on purpose, and mended again. From outside of the lab's node or inside of it.

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from pathlib import Path

from ..errors import LabError
from . import build, hardware, initramfs, kernel, modules
from .kernel import Kernel

_ON = {"on": True, "off": False}
_NODES = {"uvm": "nvidia-uvm", "uvm_tools": "nvidia-uvm-tools", "ctl": "nvidiactl", "modeset": "nvidia-modeset",
          "cap1": "nvidia-caps/nvidia-cap1", "cap2": "nvidia-caps/nvidia-cap2"}  # fmt: skip


def switch(folder: Path, name: str, value: str, node: Path | None = None) -> None:
    """Set one switch. The folder is the kernel's, or / in the node; node is the node's root as it is seen here.

    Switches of the node's own files and devices need the node, which has to run for its /dev to be there.
    """
    numbered = re.fullmatch(r"(gpu|memory|nvidia)(\d+)", name)
    key = f"{numbered[1]}N" if numbered else "device" if name in _NODES else name
    if key not in SWITCHES:
        names = (*(known for known in SWITCHES if known != "device"), *_NODES)
        raise LabError(f"gpu: there is no switch {name!r}", f"Use one of {', '.join(names)}.")
    if node is None and folder == Path("/"):
        node = folder
    with kernel.locked(folder) as changed:
        SWITCHES[key](_Change(changed, name, int(numbered[2]) if numbered else -1, value, node))


class _Change:
    def __init__(self, changed: Kernel, name: str, number: int, value: str, node: Path | None) -> None:
        self.kernel, self.name, self.number, self.value, self._node = changed, name, number, value, node

    @property
    def node(self) -> Path:
        if self._node is None:
            raise LabError(f"gpu: {self.name} is about the files of the node, which does not run", "Start it first.")
        return self._node

    def wrong(self, allowed: str) -> LabError:
        return LabError(f"gpu: {self.name} cannot be {self.value!r}", f"Use {allowed}.")

    @property
    def on(self) -> bool:
        if self.value not in _ON:
            raise self.wrong("on or off")
        return _ON[self.value]


def _loaded(change: _Change) -> None:
    """none, a version, or a version with -proprietary: loaded now, whatever lies on the disk."""
    if change.value == "none":
        modules.unload_driver(change.kernel)
        return
    version, _dash, kind = change.value.partition("-")
    if not re.fullmatch(r"\d{3}\.\d+(\.\d+)?", version) or kind not in ("", "open", "proprietary"):
        raise change.wrong("none or a version like 570.172.08 or 570.172.08-proprietary")
    modules.preload(change.kernel, version, is_open=kind != "proprietary")


def _driver(change: _Change) -> None:
    change.kernel.machine.driver = "" if change.value == "none" else change.value
    _loaded(change)


def _nouveau(change: _Change) -> None:
    change.kernel.machine.nouveau = change.on
    _rebind(change, "nouveau")


def _vfio(change: _Change) -> None:
    change.kernel.machine.vfio = change.on
    _rebind(change, "vfio_pci")


def _rebind(change: _Change, name: str) -> None:
    modules.unload_driver(change.kernel)
    change.kernel.state.loaded = []
    change.kernel.state.bound = {}
    if change.on:
        driver = name.replace("_", "-")
        change.kernel.state.loaded = [name]
        change.kernel.state.bound = {str(gpu.minor): driver for gpu in change.kernel.gpus}


def _secure_boot(change: _Change) -> None:
    change.kernel.machine.secure_boot = change.on


def _mok(change: _Change) -> None:
    options = change.kernel.machine
    if change.value == "enroll":
        options.enrolled += options.requested
        options.requested = []
    elif change.value == "forget":
        options.enrolled = []
    else:
        raise change.wrong("enroll (the person at the console says yes) or forget")


def _hardware(change: _Change) -> None:
    if change.name == "model":
        if change.value not in hardware.MODELS:
            raise change.wrong(", ".join(hardware.MODELS))
        change.kernel.machine.model = change.value
    else:
        if not change.value.isdigit():
            raise change.wrong("a number")
        change.kernel.machine.gpus = int(change.value)
    if change.kernel.state.version:
        modules.preload(change.kernel, change.kernel.state.version, is_open=change.kernel.state.is_open)


def _gpu(change: _Change) -> None:
    lost = set(change.kernel.state.lost) - {change.number}
    if change.value not in ("lost", "ok"):
        raise change.wrong("lost or ok")
    change.kernel.state.lost = sorted(lost | ({change.number} if change.value == "lost" else set()))


def _memory(change: _Change) -> None:
    if not change.value.isdigit():
        raise change.wrong("the MiB that are taken, 0 for none")
    change.kernel.state.reserved[str(change.number)] = int(change.value)


def _in_use(change: _Change) -> None:
    change.kernel.state.in_use = change.on


def _build(change: _Change) -> None:
    if change.value not in ("fails", "works"):
        raise change.wrong("fails or works")
    change.kernel.machine.build_fails = change.value == "fails"


def _kernel(change: _Change) -> None:
    """Another kernel, which runs at once; add_kernel is one that the next boot starts."""
    if not re.fullmatch(r"\d+\.\d+\.\d+[\w.-]*", change.value):
        raise change.wrong("a release like 6.17.2-1-pve")
    if change.value not in initramfs.kernels(change.node):
        build.kernel_tree(change.node, change.value)
    if change.name == "kernel":
        change.kernel.machine.release = change.value


def _headers(change: _Change) -> None:
    folder = modules.folder(change.node, change.kernel.machine.release)
    here, away = (folder / "build", folder / "build.off")
    source, target = (away, here) if change.on else (here, away)
    if source.is_symlink() or source.exists():
        source.rename(target)


def _majors(change: _Change) -> None:
    if change.value != "new":
        raise change.wrong("new")
    state = change.kernel.state
    free = hardware.free_majors(state.real_devices, state.majors.values())
    state.majors = dict(zip(state.majors, random.SystemRandom().sample(free, len(state.majors)), strict=True))


def _uvm_module(change: _Change) -> None:
    state = change.kernel.state
    state.loaded = [name for name in state.loaded if name != "nvidia_uvm"]
    if change.on:
        state.loaded.append("nvidia_uvm")


def _device(change: _Change) -> None:
    """One node below /dev: ok, missing, an empty file, or with the major of the boot before."""
    name = _NODES.get(change.name, change.name)
    minors = [gpu.minor for gpu in change.kernel.gpus]
    number = kernel.device_nodes(change.kernel.majors, minors).get(name)
    path = change.node / "dev" / name
    if change.value not in ("ok", "missing", "file", "stale"):
        raise change.wrong("ok, missing, file or stale")
    if number is None and change.value in ("ok", "stale"):
        raise LabError(f"gpu: no loaded module has a device {name}", "Load the driver first.")
    path.unlink(missing_ok=True)
    if change.value == "file":
        path.touch()
    elif number is not None and change.value != "missing":
        major, minor, mode = number
        if change.value == "stale":
            major = next(free for free in hardware.DYNAMIC_MAJORS if free not in change.kernel.majors.values())
        kernel.make_nodes(path.parent, {path.name: (major, minor, mode)})


def _nodes(change: _Change) -> None:
    dev = change.node / "dev"
    minors = [gpu.minor for gpu in change.kernel.gpus]
    for path in [*dev.glob("nvidia*"), *dev.glob("nvidia-caps/*")]:
        if not path.is_dir():
            path.unlink()
    if change.value == "all":
        kernel.make_nodes(dev, kernel.device_nodes(change.kernel.majors, minors))
    elif change.value != "none":
        raise change.wrong("all or none")


SWITCHES: dict[str, Callable[[_Change], None]] = {
    "loaded": _loaded, "driver": _driver, "nouveau": _nouveau, "vfio": _vfio, "secure_boot": _secure_boot, "mok": _mok,
    "gpus": _hardware, "model": _hardware, "gpuN": _gpu, "memoryN": _memory, "in_use": _in_use, "build": _build,
    "kernel": _kernel, "add_kernel": _kernel, "headers": _headers, "majors": _majors, "uvm_module": _uvm_module,
    "nodes": _nodes, "nvidiaN": _device, "device": _device,
}  # fmt: skip


def overview(folder: Path) -> list[str]:
    """The kernel as a person wants to see it."""
    seen = Kernel(folder)
    state, options = seen.state, seen.machine
    kind = "open" if state.is_open else "proprietary"
    loaded = f"{state.version} ({kind})" if state.version else "none"
    keys = f"{len(options.enrolled)} keys enrolled, {len(options.requested)} wait for the console"
    lines = [
        f"kernel        {options.release}",
        f"GPUs          {options.gpus} x {hardware.MODELS[options.model].name}",
        f"driver        {loaded} loaded; {options.driver or 'none'} at a boot without one on disk",
        f"modules       {' '.join(state.loaded) or 'none'}",
        f"majors        {' '.join(f'{name}={major}' for name, major in seen.majors.items()) or 'none'}",
        f"secure boot   {'on' if options.secure_boot else 'off'}, {keys}",
    ]
    for gpu in seen.gpus:
        notes = [state.bound.get(str(gpu.minor), "no driver")]
        notes += ["lost"] if gpu.minor in state.lost else []
        notes += [f"{state.reserved[str(gpu.minor)]} MiB taken"] if state.reserved.get(str(gpu.minor)) else []
        lines.append(f"GPU {gpu.minor}         {gpu.bus} {gpu.uuid} {', '.join(notes)}")
    for minor, size in kernel.allocations(folder / "proc/driver/nvidia"):
        lines.append(f"memory        {size >> 20} MiB of GPU {minor} held by a process")
    if os.path.lexists(folder / "dev/nvidiactl"):
        lines.append(f"nodes         {' '.join(sorted(path.name for path in (folder / 'dev').glob('nvidia*')))}")
    return lines
