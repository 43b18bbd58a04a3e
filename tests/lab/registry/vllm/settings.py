# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What follows from the command line, the model and the GPUs, and every reason for which vLLM refuses it before its "
"engine starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from .arguments import Arguments
from .engine import EngineConfig
from .failures import StartFailure, invalid
from .models import Model

# Recorded seconds: first line of the console, the engine's first line, ready.
EAGER = (12.9, 24.3, 39.4)
COLD = (12.7, 37.0, 63.4)
WARM = (12.5, 23.4, 36.1)


@dataclasses.dataclass(frozen=True)
class Times:
    first: float
    engine: float
    ready: float
    warm: bool


def times(eager: bool, environ: Mapping[str, str]) -> Times:
    cache = compile_cache(environ)
    if eager:
        return Times(*EAGER, warm=False)
    return Times(*WARM, warm=True) if cache.is_dir() else Times(*COLD, warm=False)


def compile_cache(environ: Mapping[str, str]) -> Path:
    root = environ.get("VLLM_CACHE_ROOT") or Path(environ.get("HOME") or "/root", ".cache/vllm")
    return Path(root, "torch_compile_cache")


def visible_devices(count: int, value: str | None) -> tuple[int, ...]:
    """CUDA_VISIBLE_DEVICES, as far as it is made of numbers: a UUID stands for the first device."""
    if value is None:
        return tuple(range(count))
    numbers = [part.strip() for part in value.split(",") if part.strip()]
    devices = [int(part) if part.lstrip("-").isdigit() else 0 for part in numbers]
    for device in devices:
        if not 0 <= device < count:
            raise StartFailure("vllm.third_party.pynvml.NVMLError_InvalidArgument", "Invalid Argument")
    return tuple(devices)


def check(arguments: Arguments, model: Model, count: int, environ: Mapping[str, str]) -> EngineConfig:
    max_model_len = _max_model_len(arguments, model, environ)
    if arguments.gpu_memory_utilization > 1:
        raise invalid(
            "CacheConfig", "Input should be less than or equal to 1", "gpu_memory_utilization", "less_than_equal"
        )
    if arguments.gpu_memory_utilization <= 0:
        raise invalid("CacheConfig", "Input should be greater than 0", "gpu_memory_utilization", "greater_than")
    devices = visible_devices(count, environ.get("CUDA_VISIBLE_DEVICES"))
    ranks = arguments.tensor_parallel_size
    if ranks < 1:
        raise invalid(
            "ParallelConfig", "Input should be greater than or equal to 1", "tensor_parallel_size", "greater_than_equal"
        )
    if ranks > max(1, len(devices)) and arguments.distributed_executor_backend != "mp":
        raise invalid(
            "ParallelConfig",
            f"World size ({ranks}) is larger than the number of available GPUs ({len(devices)}) in this node.",
        )
    if model.heads % ranks:
        raise invalid(
            "VllmConfig",
            f"Total number of attention heads ({model.heads}) must be divisible by tensor parallel size ({ranks}).",
        )
    start = times(arguments.enforce_eager, environ)
    return EngineConfig(
        model=model,
        served_name=arguments.served_model_name[0],
        devices=devices,
        tensor_parallel_size=ranks,
        max_model_len=max_model_len,
        utilization=arguments.gpu_memory_utilization,
        eager=arguments.enforce_eager,
        warm=start.warm,
        init_seconds=start.engine,
        ready_seconds=start.ready,
    )


def _max_model_len(arguments: Arguments, model: Model, environ: Mapping[str, str]) -> int:
    wanted = arguments.max_model_len
    if wanted is None:
        return model.max_position
    if wanted > model.max_position and environ.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN") != "1":
        raise invalid(
            "ModelConfig",
            f"User-specified max_model_len ({wanted}) is greater than the derived max_model_len "
            f"(max_position_embeddings={float(model.max_position)} or model_max_length=None in model's config.json). "
            "To allow overriding this maximum, set the env var VLLM_ALLOW_LONG_MAX_MODEL_LEN=1.",
        )
    return wanted
