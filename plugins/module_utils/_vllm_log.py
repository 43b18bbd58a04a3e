# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# Why a vLLM server did not start, from what it and Docker say. Pure: text in, finding out.

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker_errors import explain

# The causes of an engine's failure stand 150 to 230 lines before the end, which itself says nothing.
LINES = 600
TAIL = 40
SIGKILL_STATUS = 137

_EXCEPTION = r"[\w.]*(?:Error|Exception)\w*:"
_ENGINE = re.compile(rf"^\((?:EngineCore|Worker)[^)]*\) ({_EXCEPTION}.*)")
_SERVER = re.compile(rf"^\(APIServer[^)]*\) ({_EXCEPTION}.*)")
_USAGE = re.compile(r"^(vllm: error: .*|[\w.]+\.py: error: .*)")
_BARE = re.compile(rf"^({_EXCEPTION}.*)")
_USELESS = "Engine core initialization failed"
_PREFIX = re.compile(r"^\([\w ]+pid=\d+\) ?")
_PYDANTIC = re.compile(r"validation errors? for (\w+)")
_KEY = re.compile(r"('(?:api_key|hf_token)': )(\[[^\]]*\]|'[^']*')")


@dataclasses.dataclass(frozen=True)
class Finding:
    problem: str
    reason: str
    remedy: str
    cause: str = ""


@dataclasses.dataclass(frozen=True)
class _Rule:
    problem: str
    pattern: re.Pattern[str]
    reason: str
    remedy: str


def _rule(problem: str, pattern: str, reason: str, remedy: str) -> _Rule:
    return _Rule(problem, re.compile(pattern, re.DOTALL), reason, remedy)


_NO_GPU = (
    "Give the container its GPUs (lxc_gpu_passthrough), and see that `nvidia-smi -L` and a CUDA probe work inside it."
)
# What Docker says when it cannot even start the container, beside what everybody's containers can meet.
_DOCKER = (
    _rule("port-taken", r"(?:listen tcp\S* |Bind for )\S*?:(\d+)(?:: bind: address already in use| failed)",
          "Port {0} is taken", "See with `ss -ltnp` and `docker ps` who has it; stop that, or choose another port."),
    _rule("no-gpu", r"(?:device error: |device handle for ')(\w+)(?:: unknown device|')",
          "There is no GPU {0} in this container", _NO_GPU),
    _rule("no-gpu", r"unresolvable CDI devices ([\w./=-]+)", "The CDI specification has no {0}", _NO_GPU
          + " Then restart phoenix-nvidia-cdi.service."),
    _rule("model-not-found", r"bind source path does not exist: ([^\s\"]+)", "There is no directory {0}",
          "Put the model there, mount its directory, or correct the path."),
    _rule("no-image", r"No such image|Unable to find image|manifest unknown", "The image is not there",
          "Pull it, or load it from an archive."),
    _rule("docker-down", r"Cannot connect to the Docker daemon", "Docker does not run",
          "See `systemctl status docker` and its journal."),
)  # fmt: skip
_DOCKER_PROBLEMS = (
    ("cuda-mismatch", "unsatisfied condition|version mismatch"),
    ("disk-full", "no space left"),
    ("no-gpu", "gpu|nvidia|BPF_CGROUP_DEVICE|NVML"),
)

# What vLLM says, in the line of the cause (with what follows it, where that is several lines).
_VLLM = (
    _rule("port-taken", r"Errno 98\] Address already in use", "The port of the server is taken",
          "See with `ss -ltnp` who has it; stop that, or choose another port."),
    _rule("bad-address", r"Errno 99\] Cannot assign requested address", "The host address is none of this container's",
          "Serve at 0.0.0.0, or at an address that the container has."),
    _rule("model-not-found", r"HFValidationError: Repo id must be[^\n]*'([^'\n]+)'\.",
          "There is no model in the directory {0}",
          "Put the model there, mount its directory, or correct the path."),
    _rule("model-offline", r"LocalEntryNotFoundError",
          "The model is not in the cache, and the server is offline",
          "Put the model into a local directory and name that, or allow the download (offline: false)."),
    _rule("model-offline", r"couldn't connect to '([^']+)'", "The model cannot be downloaded: {0} is not reached",
          "Check the container's network and name server, or use a local model directory."),
    _rule("model-access",
          r"(?:gated repo|401 Client Error|Repository Not Found for url|is not a valid model identifier)",
          "Hugging Face does not hand out the model",
          "Check its name, accept its licence there, and give a token that may read it."),
    _rule("model-not-found", r"Invalid repository ID or local directory specified: '([^']+)'",
          "{0} is no model: it has no config.json", "Put the whole model there, with its config.json."),
    _rule("model-not-found", r"recognized configuration file", "The model's directory has no config.json",
          "Put the whole model there, with its config.json."),
    _rule("model-broken", r"Cannot find any model weights with `([^`]+)`", "{0} has no weights",
          "Put the whole model there, with its *.safetensors."),
    _rule("model-broken", r"SafetensorError: ([^\n]*)", "A file of the model's weights is broken: {0}",
          "Copy or download the model again; a download was probably cut off."),
    _rule("context-too-long", r"max_model_len \((\d+)\) is greater than the derived max_model_len \(\D*([\d.]+)",
          "max_model_len: {0} is more than the model's {1}", "Lower max_model_len, or leave it to the model."),
    _rule("too-few-gpus", r"World size \((\d+)\) is larger than the number of available GPUs \((\d+)\)",
          "tensor_parallel_size: {0} GPUs are wanted, and there are {1} in this container",
          "Assign more GPUs to the container, or lower the tensor parallel size."),
    _rule("bad-tensor-parallel", r"attention heads \((\d+)\) must be divisible by tensor parallel size \((\d+)\)",
          "tensor_parallel_size: the model's {0} attention heads cannot be divided by {1}",
          "Choose a size that divides them."),
    _rule("gpu-memory-taken",
          r"Free memory on device (\S+) \(([\d.]+)/([\d.]+) GiB\).*utilization \(([\d.]+), ([\d.]+)",
          "GPU memory: {0} has {1} of {2} GiB free, and a share of {3} needs {4} GiB",
          "End what uses the GPU (`nvidia-smi` on the node shows all of it; a VLLM::EngineCore without a server is an "
          "orphan), or lower gpu_memory_utilization."),
    _rule("out-of-memory", r"(?:CUDA error: out of memory|OutOfMemoryError|CUDA out of memory)",
          "The GPU's memory does not hold the model",
          "Use a smaller or quantised model, more GPUs (tensor_parallel_size), or end what else uses the GPU."),
    _rule("out-of-memory", r"No available memory for the cache blocks",
          "gpu_memory_utilization leaves no memory for the KV cache beside the model",
          "Raise gpu_memory_utilization, or use a smaller model."),
    _rule("out-of-memory", r"max seq len \((\d+)\), \(([\d.]+) GiB.*KV cache memory \(([\d.]+) GiB\).*length is (\d+)",
          "max_model_len: {0} tokens need {1} GiB of KV cache, and {2} GiB are left",
          "Lower max_model_len to {3} or less, or raise gpu_memory_utilization."),
    _rule("bad-setting", r"gpu_memory_utilization\s+(Input should be [^\n\[]*?)\s*(?:\[|\n|$)",
          "gpu_memory_utilization: {0}", "Choose a share between 0 and 1."),
    _rule("bad-argument", r"error: (unrecognized arguments: [^\n]*|argument [^\n]*)",
          "vLLM refuses its command line: {0}",
          "Correct the parameters; this version may have renamed or dropped the option."),
    _rule("no-gpu", r"out of bounds for 0 devices", "The server sees no GPU (CUDA_VISIBLE_DEVICES is empty)", _NO_GPU),
    _rule("no-gpu", r"NVMLError_InvalidArgument", "CUDA_VISIBLE_DEVICES names a GPU that is not there",
          "Correct CUDA_VISIBLE_DEVICES, or leave it out."),
    _rule("no-gpu",
          r"Failed to infer device type|libcuda\.so\.1: cannot open|No CUDA GPUs are available|initialize NVML",
          "The server finds no GPU and no driver", _NO_GPU),
    _rule("no-gpu", r"CUDA unknown error", "CUDA does not work, though nvidia-smi may: /dev/nvidia-uvm is missing or "
          "not allowed", "Give the container /dev/nvidia-uvm (lxc_gpu_passthrough), and restart it."),
    _rule("cuda-mismatch", r"driver on your system is too old \(found version (\d+)\)",
          "The driver is too old for the CUDA of the image (it offers {0})",
          "Install a newer driver on the node, or use an image for an older CUDA."),
    _rule("cuda-mismatch", r"Error 803|unsupported display driver / cuda driver combination",
          "The driver's libraries in the container are not those of the node's kernel module",
          "Install the node's driver version in the container (nvidia_runfile)."),
    _rule("cuda-mismatch", r"no kernel image is available", "The image was not built for this GPU's architecture",
          "Use an image whose CUDA knows the GPU: a newer one for a new GPU, an older one for an old GPU."),
    _rule("nccl", r"NCCL error|ncclUnhandled|ncclSystemError", "The GPUs cannot talk to each other (NCCL)",
          "Give the container more shared memory (ipc: host), and try NCCL_P2P_DISABLE=1 as a diagnosis."),
    _rule("shared-memory", r"Bus error|No space left on device: '/psm_", "The shared memory is too small",
          "Use ipc: host, or a larger shm_size."),
    _rule("engine-died", r"EngineDeadError", "The engine of vLLM has died while it served",
          "See what is before in the log, and `dmesg` on the node for Xid errors of the GPU."),
)  # fmt: skip


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Without the keys: vLLM prints its own in clear."""
    text = _KEY.sub(r"\1'***'", text)
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


def tail(text: str, lines: int = TAIL) -> list[str]:
    return text.splitlines()[-lines:]


def judge_docker(text: str) -> Finding | None:
    """What Docker's own message means, if it is one that is known."""
    for rule in _DOCKER:
        if found := rule.pattern.search(text):
            return _finding(rule, found, found[0].strip())
    if explained := explain(text):
        reason, remedy = explained
        names = (name for name, pattern in _DOCKER_PROBLEMS if re.search(pattern, text))
        return Finding(next(names, "docker"), f"{reason[:1].upper()}{reason[1:]}", remedy)
    return None


def judge(log: str, exit_code: int | None = None, oom_killed: bool = False) -> Finding:
    """Why a server ended. Always an answer, if only its own last words."""
    cause = find_cause(log)
    for rule in _VLLM:
        if found := rule.pattern.search(cause):
            return _finding(rule, found, cause.splitlines()[0])
    if finding := judge_docker(cause or log):
        return finding
    if oom_killed or (exit_code == SIGKILL_STATUS and not cause):
        return Finding(
            "container-memory",
            "The server was killed, most likely because the container's memory was used up",
            "Give the container more memory; see `dmesg` on the node for the out-of-memory killer.",
        )
    if cause:
        return Finding("unknown", f"vLLM says: {' '.join(cause.split())[:400]}", "See the log.", cause.splitlines()[0])
    status = "" if exit_code is None else f" with exit code {exit_code}"
    return Finding("unknown", f"The server ended{status} and did not say why", "See the log.")


def find_cause(log: str) -> str:
    """The text of the exception that a failure comes from: its line, and what belongs to it."""
    lines = log.splitlines()
    for pattern in (_ENGINE, _SERVER, _USAGE, _BARE):
        for number in range(len(lines) - 1, -1, -1):
            found = pattern.match(lines[number])
            if found and _USELESS not in found[1]:
                return "\n".join([found[1], *_continuation(lines[number + 1 :], found[1])])
    return ""


def _continuation(lines: list[str], first: str) -> list[str]:
    """A validation error has its text on the lines below, and some other texts are several lines long."""
    depth = 8 if _PYDANTIC.search(first) or first.startswith("OSError") else 0
    found = []
    for line in lines[:depth]:
        text = _PREFIX.sub("", line)
        if not text.strip() or text.startswith("Traceback") or "For further information" in text:
            break
        found.append(text)
    return found


def _finding(rule: _Rule, found: re.Match[str], cause: str) -> Finding:
    groups = [group or "" for group in found.groups()]
    return Finding(rule.problem, rule.reason.format(*groups), rule.remedy.format(*groups), cause)
