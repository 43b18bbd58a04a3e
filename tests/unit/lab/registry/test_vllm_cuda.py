# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way to the GPU through ctypes, on libraries with the driver's names that count what they are asked for."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import TESTS

COMPILER = shutil.which("cc") or shutil.which("tcc")
NVML = """
int nvmlInit_v2(void) { return @init@; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = @count@; return 0; }
int nvmlShutdown(void) { return 0; }
"""
CUDA = """
#include <stddef.h>
static size_t used = 1000;
int cuInit(unsigned flags) { return @code@; }
int cuDriverGetVersion(int *version) { *version = 12080; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal < 2 ? 0 : 101; }
int cuCtxCreate_v2(void **context, unsigned flags, int device) { *context = &used; return 0; }
int cuMemGetInfo_v2(size_t *free, size_t *total) { *total = 5000000000; *free = *total - used; return 0; }
int cuMemAlloc_v2(void **address, size_t size) {
    if (used + size > 5000000000) return 2;
    used += size;
    return 0;
}
"""
PROGRAM = """
import json
from lab.registry.vllm.cuda import CudaError, InjectedDriver, LibraryMissing, NoDriver

def attempt(function, *arguments):
    try:
        return function(*arguments)
    except CudaError as error:
        return f"code {error.code}"
    except (LibraryMissing, NoDriver) as error:
        return f"{type(error).__name__}: {error}"

driver = InjectedDriver()
found = {"count": attempt(driver.count), "version": attempt(driver.cuda_version), "absent": attempt(driver.open, 2)}
device = attempt(driver.open, 0)
if isinstance(device, str):
    found["open"] = device
else:
    device.allocate(3000000000)
    found |= {"memory": [device.memory().free, device.memory().total], "more": attempt(device.allocate, 3000000000)}
print(json.dumps(found))
"""


def run(folder: Path, nvml: str | None, cuda: str | None) -> Any:
    for name, source in (("libnvidia-ml.so.1", nvml), ("libcuda.so.1", cuda)):
        if source:
            (folder / "source.c").write_text(source)
            subprocess.run([str(COMPILER), "-shared", "-fPIC", "-o", folder / name, folder / "source.c"], check=True)
    environ = {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(TESTS), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environ, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(not COMPILER, reason="needs a C compiler")
def test_driver_that_works(tmp_path: Path) -> None:
    nvml = NVML.replace("@init@", "0").replace("@count@", "2")
    assert run(tmp_path, nvml, CUDA.replace("@code@", "0")) == {
        "count": 2,
        "version": [12, 8],
        "absent": "code 101",
        "memory": [1999999000, 5000000000],
        "more": "code 2",
    }


@pytest.mark.skipif(not COMPILER, reason="needs a C compiler")
def test_driver_without_uvm(tmp_path: Path) -> None:
    # gpu.md: NVML lists the GPU, CUDA is dead.
    nvml = NVML.replace("@init@", "0").replace("@count@", "1")
    found = run(tmp_path, nvml, CUDA.replace("@code@", "999"))
    assert (found["count"], found["open"]) == (1, "code 999")


@pytest.mark.skipif(not COMPILER, reason="needs a C compiler")
@pytest.mark.parametrize(
    ("init", "count", "text"),
    [
        ("0", "0", "NoDriver: NVML error 0, 0 devices"),
        ("9", "1", "NoDriver: NVML error 9, 0 devices"),
        ("18", "1", "NoDriver: NVML error 18, 0 devices"),
    ],
)
def test_nvml_that_finds_nothing(tmp_path: Path, init: str, count: str, text: str) -> None:
    found = run(tmp_path, NVML.replace("@init@", init).replace("@count@", count), None)
    assert found["count"] == text


def test_no_libraries(tmp_path: Path) -> None:
    if any(Path("/usr/lib").glob("*/libcuda.so.1")):
        pytest.skip("this machine has a driver")
    missing = "cannot open shared object file: No such file or directory"
    found = run(tmp_path, None, None)
    assert found["count"] == f"NoDriver: libnvidia-ml.so.1: {missing}"
    assert found["open"] == f"LibraryMissing: libcuda.so.1: {missing}"
