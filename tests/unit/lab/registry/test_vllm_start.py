# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A start of facts/vllm.md, section 1, and the failures of section 3: last line, exit code, and who says it."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from lab.registry.vllm.models import write_folder

from .conftest import Vllm, Vllms
from .served import H200

ORDER = """
    (APIServer|non-default args: {
    (APIServer|Resolved architecture: Qwen2ForCausalLM
    (APIServer|Using max model len 2048
    (APIServer|Chunked prefill is enabled with max_num_batched_tokens=8192.
    (EngineCore|Initializing a V1 LLM engine (v0.25.1) with config:
    (EngineCore|world_size=1 rank=0
    (EngineCore|Using V2 Model Runner
    (EngineCore|Loading model from scratch...
    (EngineCore|Using FLASH_ATTN attention backend out of potential backends:
    (EngineCore|Using FlashAttention version 3
    (EngineCore|Loading safetensors checkpoint shards: 100%
    (EngineCore|Loading weights took 0.00 seconds
    (EngineCore|Model loading took 0.0 GiB and 0.96 seconds
    (EngineCore|Compiling a graph for compile range (1, 8192) takes 4.81 s
    (EngineCore|torch.compile took 6.21 s in total
    (EngineCore|Available KV cache memory: 41.64 GiB
    (EngineCore|GPU KV cache size: 43,66
    (EngineCore|Maximum concurrency for 2,048 tokens per request: 21319.
    (EngineCore|Capturing CUDA graphs (PIECEWISE)
    (EngineCore|Capturing CUDA graphs (FULL)
    (EngineCore|init engine (profile, create kv cache, warmup model) took 10.49 s (compilation: 6.21 s)
    (APIServer|Supported tasks: ['generate']
    (APIServer|Detected the chat template content format to be 'string'.
    (APIServer|Starting vLLM server on http://0.0.0.0:
    (APIServer|Available routes are:
    (APIServer|INFO:     Started server process [
    (APIServer|INFO:     Waiting for application startup.
    (APIServer|INFO:     Application startup complete.
"""
ENGINE = re.compile(r"\(EngineCore pid=\d+\) ([\w.]*(?:Error|Exception)\w*:.*)")
API = re.compile(r"\(APIServer pid=\d+\) ([\w.]*(?:Error|Exception)\w*:.*)")
USELESS = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"


def running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def cause(server: Vllm) -> str:
    """By the rule of section 3, which found the cause in all recorded failures."""
    for pattern in (ENGINE, API):
        found = [match[1] for line in server.lines if (match := pattern.match(line))]
        if found:
            values = [line.partition(") ")[2].strip() for line in server.lines if "  Value error, " in line]
            return values[-1] if "ValidationError" in found[-1] and values else found[-1]
    return next(line for line in reversed(server.lines) if "error" in line.lower())


def test_lines_of_a_start_come_in_order(vllms: Vllms) -> None:
    server = vllms.serve("--max-model-len", "2048", "--gpu-memory-utilization", "0.3").ready()
    rest = server.text
    for line in filter(None, ORDER.split("\n")):
        process, _, text = line.strip().partition("|")
        before, found, rest = rest.partition(text)
        assert found, f"{text}\nnot in\n{rest}"
        assert before.rpartition("\n")[2].startswith(process)
    assert "version 0.25.1" in server.text
    assert f"model   {vllms.model}" in server.text
    assert len([line for line in server.lines if "Route: " in line]) == 30
    assert "Uvicorn running on" not in server.text


def test_prefixes(vllms: Vllms) -> None:
    server = vllms.serve().ready()
    time_and_place = r"INFO \d\d-\d\d \d\d:\d\d:\d\d \[[\w.]+:\d+\] "
    api = rf"\(APIServer pid={server.process.pid}\) (INFO:     |{time_and_place})"
    engine = rf"\(EngineCore pid={server.engine()}\) ({time_and_place}|Loading|Capturing)"
    assert [line for line in server.lines if not re.match(f"{api}|{engine}", line)] == []


def test_a_second_start_finds_what_the_first_compiled(vllms: Vllms) -> None:
    assert "Compiling a graph" in vllms.serve().ready().text
    second = vllms.serve().ready().text
    assert "Directly load AOT compilation from path" in second
    assert "Compiling a graph" not in second


def test_eager_neither_compiles_nor_captures(vllms: Vllms) -> None:
    text = vllms.serve("--enforce-eager").ready().text
    assert "Compiling" not in text
    assert "Capturing" not in text
    assert "(compilation:" not in text


def test_refused_until_ready_and_then_200(vllms: Vllms) -> None:
    # 0.02: the recorded 40 s in 0.8 s, the port bound after 0.26 s.
    server = vllms.serve("--enforce-eager", VLLM_LAB_TIME_SCALE="0.02")
    early = 0
    while not server.reachable():
        early += "non-default args" in server.text
        assert server.process.poll() is None
        time.sleep(0.02)
    assert early > 3
    assert server.ask("GET", "/health").code == 200
    assert "Application startup complete." in server.text


def test_recorded_times_are_kept_in_proportion(vllms: Vllms) -> None:
    begin = time.monotonic()
    server = vllms.serve("--enforce-eager", VLLM_LAB_TIME_SCALE="0.02")
    server.until("version 0.25.1")
    assert time.monotonic() - begin >= 12.9 * 0.02
    server.until("Application startup complete.")
    assert time.monotonic() - begin >= 39.9 * 0.02


# facts/vllm.md, section 3: number, arguments, environment, GPU, exit code, cause.
FAILURES: dict[float, tuple[list[str], dict[str, str], dict[str, object], str]] = {
    2: (["--host", "192.0.2.1"], {}, {}, "OSError: [Errno 99] Cannot assign requested address"),
    7: (
        ["--max-model-len", "100000"],
        {},
        {},
        (
            "Value error, User-specified max_model_len (100000) is greater than the derived max_model_len "
            "(max_position_embeddings=4096.0 or model_max_length=None in model's config.json). To allow overriding "
            "this maximum, set the env var VLLM_ALLOW_LONG_MAX_MODEL_LEN=1."
        ),
    ),
    8: (
        ["-tp", "2"],
        {},
        {},
        "Value error, World size (2) is larger than the number of available GPUs (1) in this node.",
    ),
    9: (
        ["-tp", "3", "--distributed-executor-backend", "mp"],
        {},
        {},
        "Value error, Total number of attention heads (4) must be divisible by tensor parallel size (3).",
    ),
    10: (
        [],
        {"CUDA_VISIBLE_DEVICES": ""},
        {},
        "AssertionError: DP adjusted local rank 0 is out of bounds for 0 devices.",
    ),
    11: (
        [],
        {"CUDA_VISIBLE_DEVICES": "7"},
        {},
        "vllm.third_party.pynvml.NVMLError_InvalidArgument: Invalid Argument",
    ),
    12: (
        [],
        {},
        {"gpus": 0},
        (
            "RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG` "
            "to turn on verbose logging to help debug the issue."
        ),
    ),
    12.5: (
        [],
        {},
        {"library": False},
        "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory",
    ),
    13: (
        [],
        {},
        {"used": H200 - 41628970353},
        (
            "ValueError: Free memory on device cuda:0 (38.77/139.8 GiB) on startup is less than desired GPU memory "
            "utilization (0.92, 128.62 GiB). Decrease GPU memory utilization or reduce GPU memory used by other "
            "processes."
        ),
    ),
    14: (
        ["--gpu-memory-utilization", "0.002"],
        {},
        {},
        (
            "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when "
            "initializing the engine"
        ),
    ),
    15: (
        ["--gpu-memory-utilization", "1.5"],
        {},
        {},
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for CacheConfig",
    ),
    16: ([], {"VLLM_LAB_FAULTS": "out-of-memory"}, {}, "torch.AcceleratorError: CUDA error: out of memory"),
    17: (
        ["--gpu-memory-utilization", "0.00215"],
        {},
        {},
        (
            "ValueError: To serve at least one request with the model's max seq len (4096), (0.0 GiB KV cache is "
            "needed, which is larger than the available KV cache memory (0.0 GiB). Based on the available memory, the "
            "estimated maximum model length is "
        ),
    ),
    # gpu.md: the node /dev/nvidia-uvm is missing; torch's text in vllm.md.
    20: (
        [],
        {},
        {"code": 999},
        (
            "RuntimeError: CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing "
            "env variable CUDA_VISIBLE_DEVICES after program start. Setting the available devices to be zero."
        ),
    ),
    21: ([], {}, {"code": 100}, "RuntimeError: No CUDA GPUs are available"),
    22: (
        [],
        {"CUDA_VERSION": "13.0.2"},
        {"cuda": [12, 8]},
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12080).",
    ),
}
# With tensor parallelism it is a worker's failure, and the engine says it.
FAILURES |= {
    23: (["-tp", "2"], {}, {"gpus": 2, "code": 999}, FAILURES[20][3]),
    24: (
        ["-tp", "2"],
        {},
        {"gpus": 2, "used": H200 - 2**30, "total": H200},
        "ValueError: Free memory on device cuda:0 (1.0/139.8 GiB)",
    ),
}
OF_THE_ENGINE = {10, 12.5, 13, 14, 16, 17, 20, 21, 22, 23, 24}


@pytest.mark.parametrize("number", FAILURES, ids=[f"case {number}" for number in FAILURES])
def test_failure(vllms: Vllms, number: float) -> None:
    argv, environ, gpu, text = FAILURES[number]
    server = vllms.serve(*argv, gpu=gpu, **environ)
    assert server.wait() == 1
    assert cause(server).startswith(text)
    assert "Application startup complete." not in server.text
    assert (f"(APIServer pid={server.process.pid}) {USELESS}" == server.lines[-1]) == (number in OF_THE_ENGINE)
    if number in OF_THE_ENGINE:
        assert re.search(r"\(EngineCore pid=\d+\) ERROR .* \[core.py:1231\] EngineCore failed to start.", server.text)
        # Twice: behind the log's prefix, then bare.
        assert server.text.count(text) == 2
        assert len(server.lines) > 100


def test_utilization_over_one_names_the_field(vllms: Vllms) -> None:
    server = vllms.serve("--gpu-memory-utilization", "1.5")
    server.wait()
    index = next(index for index, line in enumerate(server.lines) if "for CacheConfig" in line)
    field, text = (line.partition(") ")[2] for line in server.lines[index + 1 : index + 3])
    assert field == "gpu_memory_utilization"
    assert text.startswith("  Input should be less than or equal to 1")


def test_port_in_use(vllms: Vllms) -> None:
    with socket.create_server(("0.0.0.0", 0)) as other:
        server = vllms.serve(port=other.getsockname()[1])
        assert server.wait() == 1
    assert cause(server) == "OSError: [Errno 98] Address already in use"


def test_two_servers_started_together_both_say_that_they_are_complete(vllms: Vllms) -> None:
    # 3b: the second one never listens, and stays.
    first = vllms.serve("--enforce-eager", VLLM_LAB_TIME_SCALE="0.05")
    second = vllms.serve("--enforce-eager", port=first.port, VLLM_LAB_TIME_SCALE="0.05")
    for server in (first, second):
        server.until("Application startup complete.")
    first.until_reachable()
    assert first.ask("GET", "/version").code == 200
    time.sleep(0.2)
    assert [server.process.poll() for server in (first, second)] == [None, None]
    assert "Error" not in first.text + second.text
    assert sorted("GET /version" in server.text for server in (first, second)) == [False, True]


def test_model_folder_missing(vllms: Vllms) -> None:
    # Case 3: it says nothing of a folder.
    server = vllms.start("serve", "/models/none/at/all")
    assert server.wait() == 1
    assert cause(server) == (
        "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': "
        "'/models/none/at/all'. Use `repo_type` argument if needed."
    )


def test_hub_offline(vllms: Vllms) -> None:
    # Case 4.
    server = vllms.start("serve", "Qwen/Qwen3-0.6B", HF_HUB_OFFLINE="1")
    assert server.wait() == 1
    assert (
        "LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder for the specified revision on "
        in cause(server)
    )


def test_no_network(vllms: Vllms) -> None:
    # Case 5.
    server = vllms.start("serve", "nobody/knows-this")
    assert server.wait() == 1
    assert [line.partition(") ")[2] for line in server.lines if "Retrying in" in line] == [
        f"Retrying in {seconds}s [Retry {number}/5]." for number, seconds in enumerate((1, 2, 4, 8, 8), 1)
    ]
    assert cause(server) == (
        "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the "
        "cached files."
    )


def test_folder_without_config(vllms: Vllms, tmp_path: Path) -> None:
    # Case 6.
    (tmp_path / "empty").mkdir()
    server = vllms.start("serve", str(tmp_path / "empty"))
    assert server.wait() == 1
    assert "ValidationError: 1 validation error for ModelConfig" in server.text
    assert "2. Specify a local directory that contains a recognized configuration file." in server.text
    assert "- For Hugging Face models: ensure the presence of a 'config.json'." in server.text


def test_truncated_weights(vllms: Vllms) -> None:
    # Case 18.
    weights = vllms.model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    server = vllms.serve()
    assert server.wait() == 1
    assert cause(server) == (
        "safetensors._safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata, file "
        "not "
        "fully covered"
    )


def test_bad_flag(vllms: Vllms) -> None:
    # Case 19.
    server = vllms.serve("--no-such-flag")
    assert server.wait() == 2
    assert server.lines[-1] == "vllm: error: unrecognized arguments: --no-such-flag"


def test_tokenizer_missing_is_no_failure(vllms: Vllms) -> None:
    # Case 20.
    (vllms.model / "tokenizer_config.json").unlink()
    vllms.serve().ready()


def test_version_needs_a_driver(vllms: Vllms) -> None:
    assert vllms.start("--version").wait() == 0
    without = vllms.start("--version", gpu={"gpus": 0})
    assert without.wait() == 1
    assert without.lines[-1].startswith("RuntimeError: Failed to infer device type")


def test_known_model_of_the_hub_is_there_offline_later(vllms: Vllms) -> None:
    name = "Qwen/Qwen2.5-Coder-0.5B-Instruct-GPTQ-Int8"
    first = vllms.start("--model", name, "--max-model-len", "2048", prog="api_server.py").ready()
    assert first.ask("GET", "/v1/models").json["data"][0]["id"] == name
    assert first.chat().code == 200
    second = vllms.start("serve", "--model", name, HF_HUB_OFFLINE="1").ready()
    assert f"HF_HUB_OFFLINE is True, replace model_id [{name}] to model_path [" in second.text
    assert second.ask("GET", "/v1/models").json["data"][0]["id"] == name


def test_model_of_the_fleet_on_two_small_gpus(vllms: Vllms) -> None:
    argv = ["--served-model-name", "coder", "--tensor-parallel-size", "2", "--max-model-len", "32768"]
    model = "cpatonn/Qwen3-Coder-30B-A3B-Instruct-AWQ-4bit"
    gpu: dict[str, object] = {"gpus": 2, "total": 17 * 10**9}
    server = vllms.start("serve", "--model", model, *argv, "--gpu-memory-utilization", "0.75", gpu=gpu).ready()
    workers = Path(f"/proc/{server.engine()}/task/{server.engine()}/children").read_text().split()
    names = [Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode() for pid in workers]
    assert names == ["VLLM::Worker_TP0", "VLLM::Worker_TP1"]
    assert server.chat(model="coder", max_tokens=4).json["usage"]["completion_tokens"] == 4
    os.kill(server.engine(), signal.SIGKILL)
    assert server.wait() == 0
    time.sleep(0.1)
    assert not any(running(pid) for pid in workers)
    one = vllms.start("serve", "--model", model, gpu={"total": 17 * 10**9})
    assert one.wait() == 1
    assert cause(one).startswith("ValueError: No available memory for the cache blocks.")


def test_gated_model_needs_a_token(vllms: Vllms) -> None:
    name = "meta-llama/Llama-3.2-1B-Instruct"
    without = vllms.start("serve", name)
    assert without.wait() == 1
    assert cause(without) == "OSError: You are trying to access a gated repo."
    server = vllms.start("serve", name, HF_TOKEN="hf_secret").ready()
    assert "hf_secret" not in server.text


def test_embedding_model(vllms: Vllms) -> None:
    name = "ibm-granite/granite-embedding-english-r2"
    server = vllms.start("serve", name, "--max-model-len", "1024", "--gpu-memory-utilization", "0.1").ready()
    value = server.ask("POST", "/v1/embeddings", {"model": name, "input": ["a", "b"]}).json
    assert [entry["index"] for entry in value["data"]] == [0, 1]
    assert server.chat().code == 404


def test_write_folder_is_the_recorded_model(tmp_path: Path) -> None:
    write_folder(tmp_path / "m", chat_template=False)
    assert "chat_template" not in (tmp_path / "m/tokenizer_config.json").read_text()
