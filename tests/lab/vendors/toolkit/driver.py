# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What NVIDIA's tools find of a driver: its libraries and programs in the file system, the kernel module's version and
# its GPUs in /proc, device nodes that can be opened. `root` is / in a container, a temporary folder in a test.

from __future__ import annotations

import dataclasses
import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

LIBRARY_FOLDERS = ("usr/lib/x86_64-linux-gnu", "usr/lib64", "usr/lib")
PROGRAMS = (
    "nvidia-smi",
    "nvidia-debugdump",
    "nvidia-persistenced",
    "nvidia-cuda-mps-control",
    "nvidia-cuda-mps-server",
)
CONTROL_NODES = ("/dev/nvidia-modeset", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidiactl")
# Where the lab keeps the "kernel" of a node; in a Docker container it cannot lie below /proc.
DRIVER = "/proc/driver/nvidia"
DRIVER_IN_DOCKER = "/run/nvidia-lab/driver"

_VERSION = re.compile(r"\d{3,}\.\d+(?:\.\d+)?")
# CUDA versions that come with a branch of the driver.
_CUDA = {
    535: "12.2",
    545: "12.3",
    550: "12.4",
    555: "12.5",
    560: "12.6",
    565: "12.7",
    570: "12.8",
    575: "12.9",
    580: "13.0",
}


class NvmlError(Exception):
    """What NVML says; nvidia-container-cli words it (text) in another way than the rest (said)."""

    def __init__(self, said: str, text: str) -> None:
        super().__init__(said)
        self.said = said
        self.text = text


# The only one without words of its own: they are in the library.
LIBRARY_NOT_FOUND = "ERROR_LIBRARY_NOT_FOUND"


@dataclasses.dataclass(frozen=True)
class Gpu:
    index: int
    minor: int
    uuid: str

    @property
    def node(self) -> str:
        return f"/dev/nvidia{self.minor}"


def can_open(path: Path) -> bool:
    """Whether the device cgroup lets a character device be opened: without a driver the kernel then says ENXIO."""
    try:
        if not stat.S_ISCHR(path.stat().st_mode):
            return False
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    except OSError as error:
        return error.errno in {errno.ENXIO, errno.ENODEV}
    return True


class Driver:
    def __init__(self, root: Path = Path("/"), accessible: Callable[[Path], bool] = can_open) -> None:
        self.root = root
        self._accessible = accessible

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def _state(self) -> Path:
        inside = self.path(DRIVER_IN_DOCKER)
        return inside if inside.is_dir() and not self.path(DRIVER).is_dir() else self.path(DRIVER)

    def version(self) -> str:
        """That of the libraries."""
        for folder in LIBRARY_FOLDERS:
            link = self.path(f"{folder}/libnvidia-ml.so.1")
            if link.exists() and (match := _VERSION.search(Path(os.path.realpath(link)).name)):
                return match[0]
        raise NvmlError(LIBRARY_NOT_FOUND, "load library failed: libnvidia-ml.so.1: cannot open shared object file")

    def cuda(self) -> str:
        branch = int(self.version().partition(".")[0])
        return next((cuda for least, cuda in sorted(_CUDA.items(), reverse=True) if branch >= least), "12.0")

    def initialize(self) -> None:
        """nvmlInit: library, module and control node have to fit."""
        version = self.version()
        try:
            module = _VERSION.search((self._state() / "version").read_text())
        except OSError:
            module = None
        if module is None:
            raise NvmlError("Driver Not Loaded", "nvml error: driver not loaded")
        if module[0] != version:
            raise NvmlError("Driver/library version mismatch", "nvml error: driver/library version mismatch")
        if not self._accessible(self.path("/dev/nvidiactl")):
            raise NvmlError("Unknown Error", "nvml error: unknown error")

    def gpus(self) -> list[Gpu]:
        """Those whose node can be opened, numbered as NVML numbers them: in the order of their bus addresses."""
        found = []
        for information in sorted(self._state().glob("gpus/*/information")):
            text = information.read_text()
            uuid, minor = re.search(r"GPU UUID:\s*(\S+)", text), re.search(r"Device Minor:\s*(\d+)", text)
            if uuid and minor and self._accessible(self.path(f"/dev/nvidia{minor[1]}")):
                found.append((int(minor[1]), uuid[1]))
        return [Gpu(index, minor, uuid) for index, (minor, uuid) in enumerate(found)]

    def control_nodes(self) -> list[str]:
        return [node for node in CONTROL_NODES if _is_device(self.path(node))]

    def libraries(self) -> list[str]:
        """Paths of all libraries of this version."""
        version = self.version()
        found = [
            f"/{folder}/{library.name}"
            for folder in LIBRARY_FOLDERS
            for library in sorted(self.path(folder).glob(f"lib*.so.{version}"))
        ]
        return list(dict.fromkeys(found))

    def programs(self) -> list[str]:
        return [f"/usr/bin/{name}" for name in PROGRAMS if self.path(f"/usr/bin/{name}").is_file()]

    def state_folder(self) -> str | None:
        """What a Docker container needs besides of the lab's kernel."""
        folder = self._state()
        return f"/{folder.relative_to(self.root)}" if folder.is_dir() else None


def _is_device(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except OSError:
        return False
