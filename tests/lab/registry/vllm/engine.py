# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The second process, VLLM::EngineCore: it holds the GPU's memory and makes the tokens.

It is a real process, so what was recorded happens by itself: killed, stopped, orphaned when the API server is killed.
With tensor parallelism each GPU has a worker process of its own.
"""

from __future__ import annotations

import dataclasses
import json
import os
import select
import signal
import socket
import time
from typing import Any

from . import switches
from .console import Console
from .cuda import CUDA_OUT_OF_MEMORY, CudaError, Device, Driver, LibraryMissing, Memory
from .failures import StartFailure, print_engine_failure
from .generation import answer
from .models import GIB, Model, check_weights
from .process import rename
from .version import VERSION
from .worker import Worker

MIB = 2**20
# What a started engine used beside its share, and of its share beside the weights (recorded).
OUTSIDE = {True: 580 * MIB, False: 650 * MIB}
INSIDE = 30 * GIB // 100
BLOCK = 16
TOKEN_SECONDS = 0.0025
CUDA_TEXTS = {
    3: "Can't initialize NVML",
    100: "No CUDA GPUs are available",
    803: "Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling "
    "NumCudaDevices() that might "
    "have already set an error? Error 803: system has unsupported display driver / cuda driver combination",
    999: "CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing env variable "
    "CUDA_VISIBLE_DEVICES after program start. Setting the available devices to be zero.",
}


@dataclasses.dataclass(frozen=True)
class EngineConfig:
    model: Model
    served_name: str
    devices: tuple[int, ...]
    tensor_parallel_size: int
    max_model_len: int
    utilization: float
    eager: bool
    warm: bool
    # The recorded seconds of the log's lines.
    init_seconds: float
    ready_seconds: float


class Engine:
    def __init__(
        self, config: EngineConfig, driver: Driver, channel: socket.socket, timeline: switches.Timeline
    ) -> None:
        self._config = config
        self._driver = driver
        self._channel = channel
        self._timeline = timeline
        self._console = Console("EngineCore")
        # Kept: workers end when nobody holds their pipes any more.
        self._devices: list[Device] = []
        self._stop = False

    def run(self) -> int:
        rename("VLLM::EngineCore")
        signal.signal(signal.SIGTERM, self._on_sigterm)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self._start()
        except StartFailure as failure:
            print_engine_failure(self._console, failure)
            return 1
        self._send({"ready": True})
        return self._serve()

    def _on_sigterm(self, *_: object) -> None:
        self._stop = True

    def _send(self, message: dict[str, Any]) -> None:
        self._channel.sendall(json.dumps(message).encode() + b"\n")

    # --- start

    def _start(self) -> None:
        config, console = self._config, self._console
        begin, end = config.init_seconds, config.ready_seconds
        self._timeline.until(begin)
        console.info(
            "core.py:116",
            f"Initializing a V1 LLM engine (v{VERSION}) with config: model='{config.model.root}', "
            "speculative_config=None, "
            f"tokenizer='{config.model.root}', skip_tokenizer_init=False, tokenizer_mode=auto, revision=None, "
            "trust_remote_code=False, "
            f"dtype=torch.bfloat16, max_seq_len={config.max_model_len}, "
            f"tensor_parallel_size={config.tensor_parallel_size}, "
            f"quantization=None, enforce_eager={config.eager}, kv_cache_dtype=auto, device_config=cuda, seed=0, "
            f"served_model_name={config.served_name}",
        )
        if not config.devices:
            raise StartFailure("AssertionError", "DP adjusted local rank 0 is out of bounds for 0 devices.")
        self._check_driver()
        for index in config.devices[: config.tensor_parallel_size]:
            self._devices.append(self._open(index))
        devices = self._devices
        for rank in range(config.tensor_parallel_size):
            console.info(
                "parallel_state.py:1615",
                f"world_size={config.tensor_parallel_size} rank={rank} local_rank={rank} "
                "distributed_init_method=tcp://127.0.0.1:33673 backend=nccl",
            )
        for rank, device in enumerate(devices):
            _check_free(rank, device.memory(), config.utilization)
        console.info("gpu_worker.py:322", "Using V2 Model Runner")
        self._timeline.until(begin + 0.25 * (end - begin))
        self._load(devices)
        blocks = [self._kv_cache(device) for device in devices]
        self._timeline.until(begin + 0.6 * (end - begin))
        self._warm_up(devices, min(blocks))
        compilation = "" if config.eager else " (compilation: 6.21 s)"
        console.info("core.py:290", f"init engine (profile, create kv cache, warmup model) took 10.49 s{compilation}")

    def _check_driver(self) -> None:
        """Not recorded: what torch says on a driver that is older than the CUDA of the image."""
        try:
            major, minor = self._driver.cuda_version()
        except LibraryMissing as error:
            raise StartFailure("ImportError", str(error)) from error
        except CudaError:
            # Opening a device says what it is.
            return
        if major < int(os.environ.get("CUDA_VERSION", "0").partition(".")[0]):
            raise StartFailure(
                "RuntimeError",
                f"The NVIDIA driver on your system is too old (found version {major * 1000 + minor * 10}). Please "
                "update your GPU driver by downloading and installing a new version from the URL: "
                "http://www.nvidia.com/Download/index.aspx Alternatively, go to: https://pytorch.org to "
                "install a PyTorch version that has been compiled with your version of the CUDA driver.",
            )

    def _open(self, ordinal: int) -> Device:
        try:
            if self._config.tensor_parallel_size > 1:
                return Worker(self._driver, ordinal, len(self._devices))
            return self._driver.open(ordinal)
        except LibraryMissing as error:
            raise StartFailure("ImportError", str(error)) from error
        except CudaError as error:
            raise StartFailure("RuntimeError", CUDA_TEXTS.get(error.code, f"CUDA error: {error.code}")) from error

    def _load(self, devices: list[Device]) -> None:
        model, console = self._config.model, self._console
        console.info("gpu_model_runner.py:5250", f"Loading model from scratch... {model.root}")
        console.info(
            "cuda.py:482",
            "Using FLASH_ATTN attention backend out of potential backends: ['FLASH_ATTN', 'FLASHINFER', 'TRITON_ATTN', "
            "'FLEX_ATTENTION'].",
        )
        console.info("flash_attn.py:702", "Using FlashAttention version 3")
        if switches.is_on("out-of-memory"):
            raise _out_of_memory()
        if model.folder:
            check_weights(model.folder)
        share = max(1, model.size // len(devices))
        for device in devices:
            _allocate(device, share)
        console.lines("Loading safetensors checkpoint shards: 100% Completed | 1/1 [00:00<00:00, 571.90it/s]")
        console.info("default_loader.py:430", "Loading weights took 0.00 seconds")
        console.info("gpu_model_runner.py:5335", f"Model loading took {round(share / GIB, 2)} GiB and 0.96 seconds")
        if self._config.eager:
            return
        if self._config.warm:
            console.info(
                "backends.py:310",
                "Directly load AOT compilation from path ~/.cache/vllm/torch_compile_cache/torch_aot_compile",
            )
            console.info("monitor.py:81", "torch.compile took 0.70 s in total")
        else:
            console.info("backends.py:393", "Compiling a graph for compile range (1, 8192) takes 4.81 s")
            console.info("monitor.py:81", "torch.compile took 6.21 s in total")

    def _kv_cache(self, device: Device) -> int:
        """Bytes that are left for the cache; says what vLLM says when they are too few."""
        config = self._config
        ranks = len(config.devices[: config.tensor_parallel_size])
        total = device.memory().total
        available = int(total * config.utilization) - config.model.size // ranks - INSIDE
        if available <= 0:
            raise StartFailure(
                "ValueError",
                "No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing "
                "the engine "
                "(this flag also controls CPU memory reservation on the CPU backend, despite its name). "
                "See https://docs.vllm.ai/en/latest/configuration/conserving_memory/ for more details.",
            )
        per_token = max(1, config.model.bytes_per_token // ranks)
        needed = per_token * config.max_model_len
        if needed > available:
            raise StartFailure(
                "ValueError",
                f"To serve at least one request with the model's max seq len ({config.max_model_len}), ({_gib(needed)} "
                "GiB KV cache is needed, "
                f"which is larger than the available KV cache memory ({_gib(available)} GiB). Based on the available "
                "memory, the estimated "
                f"maximum model length is {available // per_token // BLOCK * BLOCK}. Try increasing "
                "`gpu_memory_utilization` (which also controls "
                "CPU memory on the CPU backend) or decreasing `max_model_len` when initializing the engine. "
                "See https://docs.vllm.ai/en/latest/configuration/conserving_memory/ for more details.",
            )
        return available

    def _warm_up(self, devices: list[Device], available: int) -> None:
        config, console = self._config, self._console
        per_token = max(1, config.model.bytes_per_token // len(devices))
        tokens = available // (per_token * BLOCK) * BLOCK
        console.info("gpu_worker.py:480", f"Available KV cache memory: {_gib(available)} GiB")
        console.info("kv_cache_utils.py:1879", f"GPU KV cache size: {tokens:,} tokens")
        concurrency = tokens / config.max_model_len
        console.info(
            "kv_cache_utils.py:1884",
            f"Maximum concurrency for {config.max_model_len:,} tokens per request: {concurrency:.2f}x",
        )
        for device in devices:
            memory = device.memory()
            _allocate(device, min(available + INSIDE + OUTSIDE[config.eager], memory.free))
        if not config.eager:
            for kind in ("PIECEWISE", "FULL"):
                console.lines(f"Capturing CUDA graphs ({kind}): 100%|██████████| 51/51 [00:02<00:00, 21.33it/s]")

    # --- serving

    def _serve(self) -> int:
        buffer, active = b"", dict[str, list[str]]()
        while not self._stop:
            _fail_on_purpose()
            ready, _, _ = select.select(
                [self._channel] if self._channel.fileno() >= 0 else [], [], [], 0.0 if active else 0.05
            )
            if ready:
                try:
                    data = self._channel.recv(65536)
                except ConnectionError:
                    data = b""
                if not data:
                    self._be_an_orphan()
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    self._take(json.loads(line), active)
            if active:
                time.sleep(0.2 if switches.is_on("slow-tokens") else TOKEN_SECONDS * self._timeline.scale)
                self._step(active)
        self._tear_down()
        return 0

    def _take(self, request: dict[str, Any], active: dict[str, list[str]]) -> None:
        tokens = answer(self._config.served_name, request["prompt"])
        wanted = int(request["max_tokens"])
        if request["ignore_eos"]:
            tokens = (tokens * (wanted // len(tokens) + 1))[:wanted]
        active[request["id"]] = tokens[:wanted]
        self._send(
            {"id": request["id"], "finish": "length" if len(tokens) > wanted or request["ignore_eos"] else "stop"}
        )

    def _step(self, active: dict[str, list[str]]) -> None:
        for identifier in list(active):
            tokens = active[identifier]
            self._send({"id": identifier, "token": tokens.pop(0), "last": not tokens})
            if not tokens:
                del active[identifier]

    def _be_an_orphan(self) -> None:
        """The API server was killed: recorded is an engine that stays and keeps the memory."""
        self._channel.close()
        while not self._stop:
            time.sleep(0.05)

    def _tear_down(self) -> None:
        console = self._console
        console.info("core.py:1313", "[shutdown] EngineCore: trigger received signal=SIGTERM")
        console.info("core.py:1432", "[shutdown] EngineCore: start mode=abort timeout=0s")
        console.info("core.py:1463", "[shutdown] EngineCore: request processing complete; starting resource teardown")
        console.info("core.py:1326", "[shutdown] EngineCore: exiting busy loop")


def _check_free(rank: int, memory: Memory, utilization: float) -> None:
    wanted = int(memory.total * utilization)
    if memory.free < wanted:
        raise StartFailure(
            "ValueError",
            f"Free memory on device cuda:{rank} ({_gib(memory.free)}/{_gib(memory.total)} GiB) on startup is less than "
            "desired GPU memory "
            f"utilization ({utilization}, {_gib(wanted)} GiB). Decrease GPU memory utilization or reduce GPU memory "
            "used by other processes.",
        )


def _allocate(device: Device, size: int) -> None:
    try:
        device.allocate(size)
    except CudaError as error:
        if error.code == CUDA_OUT_OF_MEMORY:
            raise _out_of_memory() from error
        raise StartFailure("torch.AcceleratorError", f"CUDA error: {error.code}") from error


def _out_of_memory() -> StartFailure:
    return StartFailure("torch.AcceleratorError", "CUDA error: out of memory")


def _gib(size: int) -> float:
    return round(size / GIB, 2)


def _fail_on_purpose() -> None:
    if switches.is_on("engine-dies"):
        os.kill(os.getpid(), signal.SIGKILL)
    if switches.is_on("engine-hangs"):
        os.kill(os.getpid(), signal.SIGSTOP)
