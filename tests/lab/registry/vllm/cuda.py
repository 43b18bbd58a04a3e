# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The GPUs, through the driver's libraries that a container runtime has to inject."""

from __future__ import annotations

import ctypes
import dataclasses
from typing import Protocol

CUDA_SUCCESS = 0
CUDA_OUT_OF_MEMORY = 2


class NoDriver(Exception):
    """NVML does not work here: vLLM then finds no platform to run on."""


class CudaError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"CUDA error {code}")
        self.code = code


class LibraryMissing(Exception):
    """The loader's sentence: libcuda.so.1: cannot open shared object file: …"""


@dataclasses.dataclass(frozen=True)
class Memory:
    free: int
    total: int


class Device(Protocol):
    def memory(self) -> Memory: ...

    def allocate(self, size: int) -> None:
        """Held until the process ends."""
        ...


class Driver(Protocol):
    def count(self) -> int:
        """As NVML says: needs no /dev/nvidia-uvm."""
        ...

    def cuda_version(self) -> tuple[int, int]: ...

    def open(self, ordinal: int) -> Device: ...


class InjectedDriver:
    """The real way: libnvidia-ml.so.1 and libcuda.so.1."""

    def count(self) -> int:
        try:
            nvml = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError as error:
            raise NoDriver(str(error)) from error
        try:
            code = nvml.nvmlInit_v2()
            count = ctypes.c_uint()
            code = code or nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
        except AttributeError as error:
            raise NoDriver(str(error)) from error
        if code or not count.value:
            raise NoDriver(f"NVML error {code}, {count.value} devices")
        nvml.nvmlShutdown()
        return count.value

    def cuda_version(self) -> tuple[int, int]:
        version = ctypes.c_int()
        _check(_libcuda().cuDriverGetVersion(ctypes.byref(version)))
        return version.value // 1000, version.value % 1000 // 10

    def open(self, ordinal: int) -> Device:
        cuda = _libcuda()
        _check(cuda.cuInit(0))
        handle = ctypes.c_int()
        _check(cuda.cuDeviceGet(ctypes.byref(handle), ordinal))
        context = ctypes.c_void_p()
        _check(cuda.cuCtxCreate_v2(ctypes.byref(context), 0, handle))
        return _CudaDevice(cuda)


class _CudaDevice:
    def __init__(self, cuda: ctypes.CDLL) -> None:
        self._cuda = cuda

    def memory(self) -> Memory:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        _check(self._cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)))
        return Memory(free.value, total.value)

    def allocate(self, size: int) -> None:
        address = ctypes.c_void_p()
        _check(self._cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size)))


def _libcuda() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise LibraryMissing(str(error)) from error


def _check(code: int) -> None:
    if code != CUDA_SUCCESS:
        raise CudaError(code)
