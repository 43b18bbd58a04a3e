# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stub server as a program of its own, on GPUs that a test describes instead of libcuda.

argv: a JSON object of FakeDriver's fields, the program's name, and its arguments.
"""

from __future__ import annotations

import dataclasses
import json
import sys

from lab.registry.vllm.cuda import CUDA_OUT_OF_MEMORY, CudaError, LibraryMissing, Memory, NoDriver
from lab.registry.vllm.main import main

# An H200, as torch sees it.
H200 = 150110011392


@dataclasses.dataclass
class FakeDevice:
    total: int
    used: int

    def memory(self) -> Memory:
        return Memory(self.total - self.used, self.total)

    def allocate(self, size: int) -> None:
        if size > self.total - self.used:
            raise CudaError(CUDA_OUT_OF_MEMORY)
        self.used += size


@dataclasses.dataclass
class FakeDriver:
    gpus: int = 1
    total: int = H200
    used: int = 0
    # cuInit's code.
    code: int = 0
    library: bool = True
    cuda: tuple[int, int] = (13, 0)

    def count(self) -> int:
        if not self.gpus:
            raise NoDriver
        return self.gpus

    def cuda_version(self) -> tuple[int, int]:
        return self.cuda

    def open(self, ordinal: int) -> FakeDevice:
        if not self.library:
            raise LibraryMissing("libcuda.so.1: cannot open shared object file: No such file or directory")
        if self.code:
            raise CudaError(self.code)
        return FakeDevice(self.total, self.used)


if __name__ == "__main__":
    sys.exit(main(sys.argv[3:], sys.argv[2], FakeDriver(**json.loads(sys.argv[1]))))
