# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_proof import PROBE, Proof, Request
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.nvidia_world import (
    VERSION,
    install_userspace,
    packages,
)
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import (
    FakeNode,
    FakeRunner,
    failed,
    ok,
)

UUIDS = ["GPU-0000-0", "GPU-0000-1"]
SMI = "nvidia-smi --query-gpu=uuid --format=csv,noheader"
NVCC = "Cuda compilation tools, release 12.8, V12.8.93\n"


def answer(code: int = 0, step: str = "cuMemFree", uuids: list[str] | None = None) -> str:
    return json.dumps({"step": step, "code": code, "uuids": UUIDS if uuids is None else uuids})


class World:
    """A container with two GPUs, in which everything is right."""

    def __init__(self, root: Path) -> None:
        self.node = FakeNode(root)
        self.node.nvidia(2)
        for index in range(2):
            self.node.gpu(index, version=VERSION)
        install_userspace(root, VERSION)
        self.node.write("usr/local/cuda/bin/nvcc", "")
        self.runner = FakeRunner({SMI: "\n".join(UUIDS) + "\n", "/usr/local/cuda/bin/nvcc": NVCC, "python3": answer()})

    def check(self, **options: t.Any) -> dict[str, t.Any]:
        request = Request(**({"version": VERSION, "gpus": "0,1", "cuda": "12.8"} | options))
        return Proof(request, self.node.node, self.runner, self.node.clock, python="python3").run()

    def problems(self, **options: t.Any) -> str:
        with pytest.raises(PhoenixError) as caught:
            self.check(**options)
        assert caught.value.code == 4
        return caught.value.reason


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("gpus", ["0,1", "all", [1, 0]])
def test_everything_is_right(world: World, gpus: object) -> None:
    result = world.check(gpus=gpus)
    assert (result["changed"], result["version"], result["nvcc"]) == (False, VERSION, "12.8")
    assert [gpu["uuid"] for gpu in result["gpus"]] == UUIDS


def test_the_version_comes_from_the_name_of_the_runfile(world: World) -> None:
    assert world.check(version=None, url=f"https://h/NVIDIA-Linux-x86_64-{VERSION}.run")["version"] == VERSION


def test_without_gpus_nothing_is_run(world: World) -> None:
    assert world.check(gpus="none", cuda=None)["gpus"] == []
    assert world.runner.calls == []


def test_another_version(world: World) -> None:
    assert world.problems(version="580.142") == (
        f"/var/lib/nvidia/log names {VERSION} (wanted: 580.142); "
        f"libnvidia-ml.so.1 is {VERSION} (wanted: 580.142); libcuda.so.1 is {VERSION} (wanted: 580.142); "
        f"the node's kernel has driver {VERSION} loaded (wanted: 580.142)"
    )


def test_no_driver_is_loaded(world: World) -> None:
    world.node.loaded_driver("")
    assert "the node's kernel has no NVIDIA driver loaded" in world.problems()


def test_a_second_driver(world: World) -> None:
    packages(world.node.root, "libnvidia-compute-580", "libnvidia-container1")
    assert world.problems() == (
        f"packages of a second driver are installed: libnvidia-compute-580:amd64 (wanted: {VERSION})"
    )


@pytest.mark.parametrize("path", ["/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm"])
def test_a_device_is_missing(world: World, path: str) -> None:
    world.node.remove_device(path)
    assert world.problems() == f"{path} is missing"


def test_a_device_is_an_empty_file(world: World) -> None:
    world.node.remove_device("/dev/nvidia-uvm")
    world.node.impostor("/dev/nvidia-uvm")
    assert world.problems() == "/dev/nvidia-uvm is an ordinary file and no device"


def test_a_device_of_another_boot(world: World) -> None:
    world.node.device("/dev/nvidia-uvm", 510, 0)
    assert world.problems() == "/dev/nvidia-uvm is device 510:0 and should be 511:0"


@pytest.mark.parametrize("gpus", ["all", "0,1"])
def test_none_at_all(world: World, gpus: str) -> None:
    shutil.rmtree(world.node.root / "proc/driver/nvidia/gpus")
    with pytest.raises(PhoenixError) as caught:
        world.check(gpus=gpus)
    assert caught.value.reason == "the loaded driver lists no GPU"
    assert caught.value.remedy.startswith("Run the role that installs the driver again")
    assert [call.argv[0] for call in world.runner.calls] == ["/usr/local/cuda/bin/nvcc"]


def test_a_gpu_that_the_driver_does_not_list(world: World) -> None:
    with pytest.raises(PhoenixError) as caught:
        world.check(gpus="0,2")
    assert str(caught.value) == (
        "the loaded driver lists no GPU 2. Correct gpu_assignment in phoenix_lxc_configs.json (the option gpus): the "
        "driver lists 0, 1."
    )
    assert caught.value.details["problems"] == ["the loaded driver lists no GPU 2"]


@pytest.mark.parametrize(
    ("code", "step", "message"),
    [
        (
            999,
            "cuInit",
            "CUDA cannot compute: cuInit gives 999, /dev/nvidia-uvm is missing, stale or not allowed, or a",
        ),
        (100, "cuInit", "CUDA cannot compute: cuInit gives 100, no GPU can be opened"),
        (803, "cuInit", "CUDA cannot compute: cuInit gives 803, libraries and kernel module differ"),
        (2, "cuMemAlloc", "CUDA cannot compute: cuMemAlloc gives 2, the GPU has no memory left"),
        (719, "cuMemAlloc", "CUDA cannot compute: cuMemAlloc gives 719, CUDA does not work"),
    ],
)
def test_smi_is_content_and_cuda_is_dead(world: World, code: int, step: str, message: str) -> None:
    """facts/gpu.md: without nvidia-uvm, nvidia-smi lists the GPU and exits with 0."""
    world.runner.on("python3", answer(code, step, []))
    assert world.problems().startswith(message)


@pytest.mark.parametrize(
    ("smi", "message"),
    [
        (
            ok("No devices found.\n"),
            "nvidia-smi lists 0 GPUs instead of 2 GPUs (GPU-0000-0, GPU-0000-1) (No devices found.)",
        ),
        (ok("GPU-0000-0\n"), "nvidia-smi lists 1 GPU (GPU-0000-0) instead of 2 GPUs (GPU-0000-0, GPU-0000-1)"),
        (failed("Failed to initialize NVML: Unknown Error"), "nvidia-smi lists 0 GPUs instead of 2 GPUs"),
    ],
)
def test_smi_counts(world: World, smi: t.Any, message: str) -> None:
    world.runner.on(SMI, smi)
    assert message in world.problems()


def test_cuda_sees_more_than_assigned(world: World) -> None:
    world.runner.on(SMI, "GPU-0000-1\n")
    assert world.problems(gpus="1") == ("CUDA sees 2 GPUs (GPU-0000-0, GPU-0000-1) instead of 1 GPU (GPU-0000-1)")


def test_a_probe_that_crashes(world: World) -> None:
    world.runner.on("python3", failed("Segmentation fault", -11))
    assert world.problems() == (
        "CUDA cannot compute: the probe broke off (Segmentation fault) gives -2, CUDA does not work"
    )


@pytest.mark.parametrize("there", [True, False])
def test_another_compiler(world: World, there: bool) -> None:
    if not there:
        (world.node.root / "usr/local/cuda/bin/nvcc").unlink()
    found = "12.8" if there else "missing"
    assert world.problems(cuda="12.9") == f"/usr/local/cuda/bin/nvcc is {found}, and not of CUDA 12.9"


@pytest.mark.parametrize("options", [{"version": "12"}, {"version": None}, {"cuda": "12"}, {"gpus": "x"}])
def test_arguments(world: World, options: dict[str, t.Any]) -> None:
    with pytest.raises(PhoenixError) as caught:
        world.check(**options)
    assert caught.value.code == 2


def test_the_probe_itself_says_that_there_is_no_library() -> None:
    done = subprocess.run([sys.executable, "-I", "-c", PROBE], capture_output=True, text=True, check=False)
    said = json.loads(done.stdout)
    assert (done.returncode, said["code"], said["uuids"]) == (0, -1, [])
