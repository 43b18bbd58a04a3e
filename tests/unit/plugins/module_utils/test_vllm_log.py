# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._vllm_log import (
    find_cause,
    judge,
    judge_docker,
    redact,
    tail,
)

API = "(APIServer pid=1) "
ENGINE = "(EngineCore pid=10) "
STAMP = "ERROR 11-20 09:42:54 [core.py:1231] "
USELESS = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"


def fast(text: str) -> str:
    """A failure before the engine: one traceback, whose every line has the prefix."""
    lines = [
        "Traceback (most recent call last):",
        '  File "/usr/local/bin/vllm", line 10, in <module>',
        *text.split("\n"),
    ]
    return "".join(f"{API}{line}\n" for line in lines)


def engine(text: str) -> str:
    """The cause twice, then an end that says nothing."""
    frames = ["Traceback (most recent call last):", '  File "core.py", line 1200, in run_engine_core', text]
    logged = [f"{ENGINE}{STAMP}{line}" for line in ("EngineCore failed to start.", *frames)]
    bare = [f"{ENGINE}{line}" for line in ("Process EngineCore:", *frames)]
    return "\n".join([*logged, *bare, f"{API}Traceback (most recent call last):", f"{API}{USELESS}", ""])


def pydantic(config: str, text: str, field: str = "") -> str:
    value = "" if field else "Value error, "
    head = f"pydantic_core._pydantic_core.ValidationError: 1 validation error for {config}\n"
    link = "\n    For further information visit https://errors.pydantic.dev/2.12/v/value_error"
    return fast(head + (f"{field}\n" if field else "") + f"  {value}{text} [type=value_error]" + link)


# facts of vLLM 0.25.1, sections 3 and 3b: the recorded texts
RECORDED = [
    (fast("OSError: [Errno 98] Address already in use"), "port-taken", "The port of the server is taken"),
    (fast("OSError: [Errno 99] Cannot assign requested address"), "bad-address", "none of this container's"),
    (
        fast(
            "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or "
            "'namespace/repo_name': '/tmp/w/model/none'. Use `repo_type` argument if needed."
        ),
        "model-not-found",
        "There is no model in the directory /tmp/w/model/none",
    ),
    (
        fast(
            "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder for the "
            "specified revision on the local disk and outgoing traffic has been disabled."
        ),
        "model-offline",
        "and the server is offline",
    ),
    (
        fast(
            "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the "
            "cached files.\nCheck your internet connection"
        ),
        "model-offline",
        "The model cannot be downloaded: https://huggingface.co is not reached",
    ),
    (
        pydantic(
            "ModelConfig",
            "Invalid repository ID or local directory specified: '/models/x'.\n"
            "Please verify the following requirements:\n"
            "   - For Hugging Face models: ensure the presence of a 'config.json'.",
        ),
        "model-not-found",
        "/models/x is no model: it has no config.json",
    ),
    (
        pydantic("ModelConfig", "Specify a local directory that contains a recognized configuration file."),
        "model-not-found",
        "The model's directory has no config.json",
    ),
    (
        pydantic(
            "ModelConfig",
            "User-specified max_model_len (100000) is greater than the derived max_model_len "
            "(max_position_embeddings=4096.0 or model_max_length=None in model's config.json).",
        ),
        "context-too-long",
        "max_model_len: 100000 is more than the model's 4096.0",
    ),
    (
        pydantic("ParallelConfig", "World size (2) is larger than the number of available GPUs (1) in this node."),
        "too-few-gpus",
        "tensor_parallel_size: 2 GPUs are wanted, and there are 1 in this container",
    ),
    (
        pydantic(
            "VllmConfig",
            "Total number of attention heads (4) must be divisible by tensor parallel size (3).",
        ),
        "bad-tensor-parallel",
        "the model's 4 attention heads cannot be divided by 3",
    ),
    (
        engine("AssertionError: DP adjusted local rank 0 is out of bounds for 0 devices."),
        "no-gpu",
        "The server sees no GPU (CUDA_VISIBLE_DEVICES is empty)",
    ),
    (
        fast("vllm.third_party.pynvml.NVMLError_InvalidArgument: Invalid Argument"),
        "no-gpu",
        "CUDA_VISIBLE_DEVICES names a GPU that is not there",
    ),
    (
        (
            "Traceback (most recent call last):\nRuntimeError: Failed to infer device type, please set the environment "
            "variable `VLLM_LOGGING_LEVEL=DEBUG` to turn on verbose logging to help debug the issue.\n"
        ),
        "no-gpu",
        "The server finds no GPU and no driver",
    ),
    (engine("ImportError: libcuda.so.1: cannot open shared object file"), "no-gpu", "finds no GPU and no driver"),
    (
        engine(
            "ValueError: Free memory on device cuda:0 (38.77/139.8 GiB) on startup is less than desired GPU memory "
            "utilization (0.92, 128.62 GiB). Decrease GPU memory utilization or reduce GPU memory used by other "
            "processes."
        ),
        "gpu-memory-taken",
        "GPU memory: cuda:0 has 38.77 of 139.8 GiB free, and a share of 0.92 needs 128.62 GiB",
    ),
    (
        engine("ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when"),
        "out-of-memory",
        "gpu_memory_utilization leaves no memory for the KV cache",
    ),
    (
        pydantic("CacheConfig", "Input should be less than or equal to 1", "gpu_memory_utilization"),
        "bad-setting",
        "gpu_memory_utilization: Input should be less than or equal to 1",
    ),
    (engine("torch.AcceleratorError: CUDA error: out of memory"), "out-of-memory", "memory does not hold the model"),
    (
        engine(
            "ValueError: To serve at least one request with the model's max seq len (32768), (3.0 GiB KV cache is "
            "needed, which is larger than the available KV cache memory (1.5 GiB). Based on the available memory, the "
            "estimated maximum model length is 16384. Try increasing `gpu_memory_utilization`"
        ),
        "out-of-memory",
        "max_model_len: 32768 tokens need 3.0 GiB of KV cache, and 1.5 GiB are left",
    ),
    (
        engine(
            "safetensors._safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata, "
            "file not fully covered"
        ),
        "model-broken",
        "A file of the model's weights is broken: Error while deserializing header",
    ),
    (
        engine("RuntimeError: Cannot find any model weights with `/models/x`"),
        "model-broken",
        "/models/x has no",
    ),
    (
        "usage: vllm [-h] [-v]\nvllm: error: unrecognized arguments: --no-such-flag\n",
        "bad-argument",
        "vLLM refuses its command line: unrecognized arguments: --no-such-flag",
    ),
    (
        engine("RuntimeError: CUDA unknown error - this may be due to an incorrectly set up environment"),
        "no-gpu",
        "/dev/nvidia-uvm is missing or not allowed",
    ),
    (
        engine("RuntimeError: The NVIDIA driver on your system is too old (found version 12080). Please update"),
        "cuda-mismatch",
        "The driver is too old for the CUDA of the image (it offers 12080)",
    ),
    (
        engine("RuntimeError: Error 803: system has unsupported display driver / cuda driver combination"),
        "cuda-mismatch",
        "are not those of the node's kernel module",
    ),
    (
        engine("torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device"),
        "cuda-mismatch",
        "not built for this GPU's architecture",
    ),
    (
        engine("torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL"),
        "nccl",
        "cannot talk to each",
    ),
    (engine("OSError: [Errno 28] No space left on device: '/psm_1234'"), "shared-memory", "shared memory is too small"),
    (
        fast("OSError: You are trying to access a gated repo.\nMake sure to have access to it"),
        "model-access",
        "Hugging Face does not hand out the model",
    ),
    (
        fast("vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue."),
        "engine-died",
        "The engine of vLLM has died while it served",
    ),
]


@pytest.mark.parametrize(
    ("log", "problem", "reason"), RECORDED, ids=[f"{row[1]}-{n}" for n, row in enumerate(RECORDED)]
)
def test_what_the_real_server_says_is_named(log: str, problem: str, reason: str) -> None:
    noise = f"{API}INFO 11-20 09:42:54 [api_utils.py:273] non-default args: {{'api_key': ['sekret']}}\n"
    found = judge(noise + log, 1)
    assert found.problem == problem
    assert reason in found.reason
    assert found.remedy
    assert found.cause


# What a real Docker says, and the lab's.
DOCKER = [
    (
        (
            "docker: Error response from daemon: driver failed programming external connectivity on endpoint t6: Error "
            "starting userland proxy: listen tcp4 0.0.0.0:8000: bind: address already in use."
        ),
        "port-taken",
        "Port 8000 is taken",
    ),
    ("Error: Bind for 0.0.0.0:8000 failed: port is already allocated", "port-taken", "Port 8000 is taken"),
    (
        (
            "docker: Error response from daemon: failed to create task for container: error running hook: "
            "stderr: Auto-detected mode as 'legacy'\nnvidia-container-cli: device error: 7: unknown device: unknown."
        ),
        "no-gpu",
        "There is no GPU 7 in this container",
    ),
    (
        "failed to construct device spec generators: failed to get device handle for '7': Invalid Argument: unknown.",
        "no-gpu",
        "There is no GPU 7 in this container",
    ),
    (
        "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=all",
        "no-gpu",
        "The CDI specification has no nvidia.com/gpu=all",
    ),
    ('could not select device driver "" with capabilities: [[gpu]].', "no-gpu", "Docker has no way to hand out GPUs"),
    (
        "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=13.0, please update your driver",
        "cuda-mismatch",
        "The driver is too old for the image (cuda>=13.0)",
    ),
    ("write /var/lib/docker/x: no space left on device", "disk-full", "The disk is full"),
    (
        'invalid mount config for type "bind": bind source path does not exist: /models/none.',
        "model-not-found",
        "There is no directory /models/none",
    ),
    ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "docker-down", "Docker does not run"),
    ("Error response from daemon: No such image: vllm/vllm-openai:x", "no-image", "The image is not there"),
    ("open sysctl net.ipv4.ip_unprivileged_port_start file: reopen fd 8: permission denied", "docker", "The node's"),
]


@pytest.mark.parametrize(("text", "problem", "reason"), DOCKER, ids=[row[2] for row in DOCKER])
def test_what_docker_says_is_named(text: str, problem: str, reason: str) -> None:
    found = judge_docker(text)
    assert found is not None
    assert (found.problem, found.reason[: len(reason)]) == (problem, reason)
    assert judge(text) == found


def test_what_nobody_knows_is_quoted() -> None:
    assert judge_docker("something else") is None
    found = judge(engine("KeyError: 'new_thing'"), 1)
    assert (found.problem, found.reason) == ("unknown", "vLLM says: KeyError: 'new_thing'")
    assert judge("", 3).reason == "The server ended with exit code 3 and did not say why"
    assert judge("").reason == "The server ended and did not say why"


@pytest.mark.parametrize(
    ("exit_code", "oom_killed", "problem"),
    [(137, False, "container-memory"), (1, True, "container-memory"), (1, False, "unknown")],
)
def test_a_kill_is_the_containers_memory(exit_code: int, oom_killed: bool, problem: str) -> None:
    """40: 920 with 4096 MB."""
    assert judge("loading", exit_code, oom_killed).problem == problem


def test_the_engines_cause_wins_over_the_servers_end() -> None:
    log = engine("torch.AcceleratorError: CUDA error: out of memory")
    assert find_cause(log) == "torch.AcceleratorError: CUDA error: out of memory"
    assert find_cause(f"{API}{USELESS}\n") == ""
    assert find_cause("(Worker_TP1 pid=9) ValueError: x\n") == "ValueError: x"
    assert find_cause("ValueError: bare\n") == "ValueError: bare"


def test_keys_do_not_show() -> None:
    log = "non-default args: {'api_key': ['sekret'], 'hf_token': 'hf_x', 'port': 8000} and token"
    expected = "non-default args: {'api_key': '***', 'hf_token': '***', 'port': 8000} and ***"
    assert redact(log, ["token", ""]) == "non-default args: {'api_key': '***', 'hf_***': '***', 'port': 8000} and ***"
    assert redact(log) == expected.replace("and ***", "and token")
    assert tail("a\nb\nc", 2) == ["b", "c"]
