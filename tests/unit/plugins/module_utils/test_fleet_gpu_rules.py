# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet import Problem
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_gpu_rules import _VLLM_SHARE
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.fleet_world import (
    GONE,
    RUNFILE,
    Edits,
    findings,
    in_hypervisor,
    in_lxc,
    of,
)


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param(
            {"950.gpu_assignment": "0;1"},
            [
                of(
                    "950.gpu_assignment",
                    "0;1",
                    "'0;1' has '0;1' where a GPU index belongs",
                    'Write "none", or the indices of the GPUs, each once, for example "0,1".',
                )
            ],
            id="malformed GPUs",
        ),
        pytest.param(
            {"950.gpu_assignment": "0,0"},
            [
                of(
                    "950.gpu_assignment",
                    "0,0",
                    "'0,0' names GPU 0 twice",
                    'Write "none", or the indices of the GPUs, each once, for example "0,1".',
                )
            ],
            id="GPU twice",
        ),
        pytest.param(
            {"950.gpu_assignment": "all", "950.vllm_tensor_parallel_size": 2},
            [
                of(
                    "950.gpu_assignment",
                    "all",
                    '"all" has not the form that belongs here',
                    'Write it, such as "0,1". The GPUs that it sees: none, or their indices on the node, '
                    "separated by commas.",
                )
            ],
            id="all GPUs",
        ),
        pytest.param(
            {"950.vllm_tensor_parallel_size": 2},
            [
                of(
                    "950.vllm_tensor_parallel_size",
                    2,
                    "the model needs 2 GPUs, and the container has 1 (0)",
                    "Write 1 or less, or assign more GPUs.",
                )
            ],
            id="spread over more GPUs than there are",
        ),
        pytest.param(
            {"951.vllm_tensor_parallel_size": 1},
            [
                of(
                    "951.vllm_tensor_parallel_size",
                    1,
                    "the model needs 1 GPU, and the container has none",
                    "Assign GPUs to it (gpu_assignment), or remove the key.",
                )
            ],
            id="spread over GPUs without any",
        ),
        pytest.param(
            {"950.vllm_engine_config": {"ParallelConfig": {"tensor_parallel_size": 4}}},
            [
                of(
                    "950.vllm_engine_config.ParallelConfig.tensor_parallel_size",
                    4,
                    "the model needs 4 GPUs, and the container has 1 (0)",
                    "Write 1 or less, or assign more GPUs.",
                )
            ],
            id="spread in the older key",
        ),
        pytest.param(
            {"950.vllm_port": 8000, "950.vllm_engine_config": {"ServerConfig": {"port": 8001}}},
            [
                of(
                    "950.vllm_engine_config.ServerConfig.port",
                    8001,
                    "8001 differs from vllm_port, which is 8000",
                    "Remove it.",
                )
            ],
            id="two settings of vLLM",
        ),
    ],
)
def test_gpus(edits: Edits, expected: list[Problem]) -> None:
    found = findings(edits)
    assert found.errors == expected
    assert found.warnings == []


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param(
            {"lxc.nvidia_driver_version": "580.76.06"},
            [
                in_lxc(
                    "nvidia_driver_version",
                    "580.76.06",
                    "580.76.06 differs from 580.76.05, which $.nvidia_driver.runfile_url of hypervisor.json tells",
                    "Remove the key, or write the same version there and here.",
                )
            ],
            id="driver version elsewhere",
        ),
        pytest.param(
            {"hypervisor.nvidia_driver.version": "580.82.07"},
            [
                in_hypervisor(
                    "nvidia_driver.version",
                    "580.82.07",
                    "580.82.07 differs from 580.76.05, which $.nvidia_driver.runfile_url of hypervisor.json tells",
                    "Remove the key, or write the same version there and here.",
                )
            ],
            id="driver version beside",
        ),
        pytest.param(
            {"hypervisor.nvidia_driver.version": "580"},
            [
                in_hypervisor(
                    "nvidia_driver.version",
                    "580",
                    '"580" is no NVIDIA driver version',
                    "Write it like 580.76.05, or remove the key: the name of the runfile tells it.",
                )
            ],
            id="driver version that is none",
        ),
        pytest.param(
            {"lxc.nvidia_runfile_url": RUNFILE.replace("580.76.05", "580.82.07")},
            [
                in_lxc(
                    "nvidia_runfile_url",
                    RUNFILE.replace("580.76.05", "580.82.07"),
                    "580.82.07 differs from 580.76.05, which $.nvidia_driver.runfile_url of hypervisor.json tells",
                    "Remove the key, or write the same version there and here.",
                )
            ],
            id="another runfile",
        ),
        pytest.param(
            {
                "hypervisor.nvidia": {
                    "driver_version": "570.26",
                    "runfile_url": "https://us.download.nvidia.com/XFree86/Linux-x86_64/570.26/NVIDIA-Linux-x86_64-570.26.run",
                }
            },
            [
                in_hypervisor(
                    "nvidia.driver_version",
                    "570.26",
                    "570.26 differs from 580.76.05, which $.nvidia_driver.runfile_url of hypervisor.json tells",
                    "Remove the key, or write the same version there and here.",
                ),
                in_hypervisor(
                    "nvidia.runfile_url",
                    RUNFILE.replace("580.76.05", "570.26"),
                    "570.26 differs from 580.76.05, which $.nvidia_driver.runfile_url of hypervisor.json tells",
                    "Remove the key, or write the same version there and here.",
                ),
            ],
            id="legacy nvidia",
        ),
        pytest.param(
            {"hypervisor.nvidia_driver.runfile_url": "https://example.com/driver.run"},
            [
                in_hypervisor(
                    "nvidia_driver.runfile_url",
                    "https://example.com/driver.run",
                    "the file name does not tell the driver version",
                    "Use NVIDIA's own file name: NVIDIA-Linux-x86_64-580.76.05.run or the like.",
                )
            ],
            id="runfile without version",
        ),
        pytest.param(
            {"hypervisor.nvidia_driver.cuda_version": "13.1"},
            [
                in_hypervisor(
                    "nvidia_driver.cuda_version",
                    "13.1",
                    "CUDA 13.1 needs driver 590.44.01 or newer, and the fleet has 580.76.05",
                    "Use the runfile of a newer driver, or CUDA 13.0.",
                )
            ],
            id="CUDA too new",
        ),
        pytest.param(
            {"hypervisor.nvidia_driver.cuda_version": "14.0"},
            [
                in_hypervisor(
                    "nvidia_driver.cuda_version",
                    "14.0",
                    "CUDA 14.0 needs driver 595.45.04 or newer, and the fleet has 580.76.05",
                    "Use the runfile of a newer driver, or CUDA 13.0.",
                )
            ],
            id="CUDA newer than the table",
        ),
        pytest.param(
            {"hypervisor.nvidia_driver.runfile_url": RUNFILE.replace("580.76.05", "470.82.01")},
            [
                in_hypervisor(
                    "nvidia_driver.cuda_version",
                    "12.8",
                    "CUDA 12.8 needs driver 570.26 or newer, and the fleet has 470.82.01",
                    "Use the runfile of a newer driver.",
                )
            ],
            id="driver older than the table",
        ),
    ],
)
def test_driver_and_cuda(edits: Edits, expected: list[Problem]) -> None:
    found = findings(edits)
    assert found.errors == expected
    assert found.warnings == []


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param(
            {
                "950.vllm_gpu_memory_utilization": 0.75,
                "951.gpu_assignment": "0",
                "951.vllm_gpu_memory_utilization": 0.5,
                "951.start_at_boot": True,
            },
            [
                in_lxc(
                    "lxc_configs",
                    1.25,
                    'GPU 0 of node "pve1" is promised 1.25 times to containers that start at boot: 0.75 (950) + '
                    "0.5 (951)",
                    "Lower vllm_gpu_memory_utilization, use another GPU, or do not start all of them at boot.",
                )
            ],
            id="GPU memory",
        ),
        pytest.param(
            {
                "950.gpu_assignment": "0,1",
                "950.vllm_gpu_memory_utilization": 0.9,
                "950.vllm_tensor_parallel_size": 2,
                "951.gpu_assignment": "1",
                "951.vllm_gpu_memory_utilization": 0.9,
                "951.start_at_boot": True,
            },
            [
                in_lxc(
                    "lxc_configs",
                    1.8,
                    'GPU 1 of node "pve1" is promised 1.8 times to containers that start at boot: '
                    "0.9 (950) + 0.9 (951)",
                    "Lower vllm_gpu_memory_utilization, use another GPU, or do not start all of them at boot.",
                )
            ],
            id="GPU memory of the second GPU",
        ),
        pytest.param(
            {
                "950.application_script": "vllm_server",
                "951.gpu_assignment": "0",
                "951.vllm_gpu_memory_utilization": 0.2,
                "951.start_at_boot": True,
            },
            [
                in_lxc(
                    "lxc_configs",
                    1.1,
                    'GPU 0 of node "pve1" is promised 1.1 times to containers that start at boot: '
                    "0.9 (950) + 0.2 (951)",
                    "Lower vllm_gpu_memory_utilization, use another GPU, or do not start all of them at boot.",
                )
            ],
            id="GPU memory by vLLM's default",
        ),
        pytest.param(
            {"951.start_at_boot": True, "hypervisor.nodes": {"pve1": {"address": "10.0.0.13", "memory_mb": 4095}}},
            [
                in_hypervisor(
                    "nodes.pve1.memory_mb",
                    4095,
                    "the 2 containers that start with the node may use 4096 MiB, and it has 4095",
                    "Lower memory_mb of some, or do not start all of them at boot.",
                )
            ],
            id="memory of the node",
        ),
    ],
)
def test_sums_that_cannot_work(edits: Edits, expected: list[Problem]) -> None:
    found = findings(edits)
    assert found.warnings == expected
    assert found.errors == []


@pytest.mark.parametrize(
    "edits",
    [
        pytest.param(
            {
                "hypervisor.nvidia_driver.runfile_url": GONE,
                "hypervisor.nvidia_driver.cuda_version": GONE,
                "hypervisor.nvidia_driver.version": "470.82.01",
            },
            id="older driver, no CUDA",
        ),
        pytest.param({"hypervisor.nvidia_driver.runfile_url": GONE}, id="CUDA without driver"),
        pytest.param({"hypervisor.nvidia_driver.cuda_version": "10.2"}, id="CUDA older than the table"),
        pytest.param(
            {
                "950.vllm_gpu_memory_utilization": 0.7,
                "951.gpu_assignment": "0",
                "951.vllm_gpu_memory_utilization": 0.3,
                "951.start_at_boot": True,
            },
            id="GPU memory that just fits",
        ),
        pytest.param(
            {
                "950.gpu_assignment": "0,1",
                "950.vllm_gpu_memory_utilization": 0.9,
                "951.gpu_assignment": "1",
                "951.vllm_gpu_memory_utilization": 0.9,
                "951.start_at_boot": True,
            },
            id="a GPU that is assigned and not used",
        ),
        pytest.param(
            {"951.start_at_boot": True, "hypervisor.nodes": {"pve1": {"address": "10.0.0.13", "memory_mb": 4096}}},
            id="enough memory",
        ),
        pytest.param({"951.start_at_boot": True}, id="memory of a node that nobody knows"),
        pytest.param(
            {"950.application_script": "vllm_server", "950.gpu_assignment": GONE}, id="vLLM that has no GPU yet"
        ),
        pytest.param({"902.build_memory_mb": 2049}, id="more memory to build"),
    ],
)
def test_nothing_is_wrong_with(edits: Edits) -> None:
    found = findings(edits)
    assert (found.errors, found.warnings) == ([], [])


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param(
            {"902.build_memory_mb": 2048},
            [
                of(
                    "902.build_memory_mb",
                    2048,
                    "2048 MiB are no more than memory_mb, which is 2048",
                    "Write more than 2048, or remove it.",
                )
            ],
            id="as much as ever",
        ),
        pytest.param(
            {"950.build_memory_mb": 4096},
            [
                of(
                    "950.build_memory_mb",
                    4096,
                    "only a layer is built, and this is none",
                    "Remove it, or set is_template to true.",
                )
            ],
            id="an application",
        ),
        pytest.param(
            {"902.build_memory_mb": 256},
            [of("902.build_memory_mb", 256, "256 is too small", "Write 512 or more.")],
            id="less than a container can have",
        ),
        pytest.param(
            {"902.memory_mb": GONE, "902.build_memory_mb": 4096},
            [of("902.memory_mb", None, "the key is missing", 'Add "memory_mb": 2048. The memory in MiB.')],
            id="memory that is not said",
        ),
    ],
)
def test_memory_to_build_with(edits: Edits, expected: list[Problem]) -> None:
    assert findings(edits).errors == expected


def test_the_share_of_vllm_is_the_default_of_the_role() -> None:
    defaults = Path(__file__).parents[4] / "roles/vllm_server/defaults/main.yml"
    assert f"vllm_server_gpu_memory_utilization: {_VLLM_SHARE}\n" in defaults.read_text()
