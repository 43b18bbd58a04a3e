# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

from __future__ import annotations

import dataclasses
import json
import re
import socket
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker import Docker
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Clock, Runner, run
from ansible_collections.phoenix.hypervisor.plugins.module_utils._vllm_api import (
    POLL_SECONDS,
    Answer,
    Fault,
    NotListening,
    Server,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._vllm_log import LINES, Finding, judge, redact, tail

_ASK_TIMEOUT = 30.0


@dataclasses.dataclass(frozen=True)
class State:
    """Whether what runs a server still does, and how it ended."""

    alive: bool
    exit_code: int | None = None
    oom_killed: bool = False
    # What answers now is on its way out.
    leaving: bool = False


class Process(t.Protocol):
    """What runs a server, and keeps its log."""

    name: str

    def state(self) -> State: ...

    def log(self) -> str: ...


class InContainer:
    """A server in a Docker container that was started by hand."""

    def __init__(self, docker: Docker, name: str) -> None:
        self._docker = docker
        self.name = f"container {name}"
        self._container = name

    def state(self) -> State:
        found = (self._docker.container(self._container) or {}).get("State") or {}
        return State(bool(found.get("Running")), found.get("ExitCode"), bool(found.get("OOMKilled")))

    def log(self) -> str:
        return self._docker.log(self._container, LINES)


class InUnit:
    """A server under a systemd unit, which restarts it: the next start is not the one that was waited for."""

    _GOING = ("active", "activating", "reloading")

    def __init__(self, unit: str, runner: Runner = run) -> None:
        self.name = unit
        self._runner = runner
        self._first = ""
        self._last = ""

    def state(self) -> State:
        shown = self._show()
        generation = shown["InvocationID"]
        # A restart that systemd has yet to do, or is doing: the old server may even answer.
        if shown["Job"] not in ("", "0") and shown["ActiveState"] != "activating":
            return State(True, leaving=True)
        going = shown["ActiveState"] in self._GOING and shown["SubState"] != "auto-restart"
        if not self._first and generation:
            self._first = generation
        restarted = bool(self._first and generation and generation != self._first)
        self._last = self._first if restarted else generation
        code = shown["ExecMainStatus"]
        return State(going and not restarted, int(code) if code.isdigit() else None)

    def log(self) -> str:
        which = [f"_SYSTEMD_INVOCATION_ID={self._last}"] if self._last else ["--unit", self.name]
        done = self._runner(
            ["journalctl", "--no-pager", "--output=cat", f"--lines={LINES}", *which], timeout=_ASK_TIMEOUT
        )
        return done.stdout

    def _show(self) -> dict[str, str]:
        names = "Job,ActiveState,SubState,InvocationID,ExecMainStatus"
        done = self._runner(["systemctl", "show", f"--property={names}", self.name], timeout=_ASK_TIMEOUT)
        found = dict.fromkeys(names.split(","), "")
        for line in done.stdout.splitlines():
            name, _equals, value = line.partition("=")
            found[name] = value
        return found


@dataclasses.dataclass(frozen=True)
class Ready:
    answer: Answer
    seconds: float


def wait_ready(
    server: Server, process: Process, *, timeout: float, clock: Clock, max_model_len: int | None = None,
    secrets: Iterable[str] = (),
) -> Ready:  # fmt: skip
    """Until a completion is answered: it runs, /health, /v1/models, a completion. Ends early when it has ended."""
    began = clock.now()
    deadline = clock.deadline(timeout)
    while True:
        state = process.state()
        if not state.alive:
            raise ended(process, state, secrets)
        try:
            if state.leaving:
                raise NotListening("it is being restarted")
            server.check_health()
            server.check_models(max_model_len)
            answer = server.ask()
        except NotListening as error:
            if not deadline.pause(POLL_SECONDS):
                raise _failure(_too_slow(process, timeout, str(error)), process.log(), secrets) from None
            continue
        except Fault as fault:
            raise of_fault(fault, process, secrets) from fault
        return Ready(answer, round(clock.now() - began, 1))


def ended(process: Process, state: State, secrets: Iterable[str] = ()) -> PhoenixError:
    log = process.log()
    return _failure(judge(log, state.exit_code, state.oom_killed), log, secrets)


def of_fault(fault: Fault, process: Process, secrets: Iterable[str] = ()) -> PhoenixError:
    """What was answered, and the cause from the log where the engine had one."""
    log = process.log()
    cause = judge(log) if fault.problem == "engine-died" else None
    known = cause is not None and cause.problem not in ("unknown", "engine-died")
    finding = cause if cause is not None and known else Finding(fault.problem, fault.reason, fault.remedy)
    return _failure(finding, log, secrets)


def of_finding(finding: Finding, log: str = "", secrets: Iterable[str] = ()) -> PhoenixError:
    return _failure(finding, log, secrets)


def _too_slow(process: Process, timeout: float, error: str) -> Finding:
    last = next((line for line in reversed(process.log().splitlines()) if line.strip()), "nothing")
    return Finding(
        "too-slow",
        f"vLLM was not ready within {timeout:g} s ({error}); its last words were: {last.strip()[:200]}",
        "A large model needs longer to load: raise the timeout. If the log says that it started, another server has "
        "its port.",
    )


def _failure(finding: Finding, log: str, secrets: Iterable[str]) -> PhoenixError:
    hidden = [secret for secret in secrets if secret]
    return PhoenixError(
        redact(finding.reason, hidden),
        remedy=finding.remedy,
        code=Code.VERIFICATION,
        problem=finding.problem,
        cause=redact(finding.cause, hidden),
        log_tail=tail(redact(log, hidden)),
    )


# --- the GPUs


@dataclasses.dataclass(frozen=True)
class Gpu:
    uuid: str
    used_mib: int


class Gpus:
    """The GPUs of this container, by nvidia-smi; that CUDA works too is what vLLM itself proves."""

    def __init__(self, runner: Runner = run) -> None:
        self._runner = runner

    def read(self) -> Sequence[Gpu]:
        query = ["nvidia-smi", "--query-gpu=uuid,memory.used", "--format=csv,noheader,nounits"]
        done = self._runner(query, timeout=_ASK_TIMEOUT)
        found = re.findall(r"^(GPU-\S+), *(\d+)", done.stdout, re.MULTILINE)
        if not done.ok or not found:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise PhoenixError(
                f"There is no GPU in this container: nvidia-smi says {(said or ['nothing'])[-1]!r}",
                remedy="Assign GPUs to it (gpu_assignment), and run the roles that bring them: lxc_gpu_passthrough, "
                "lxc_nvidia.",
                code=Code.VERIFICATION,
                problem="no-gpu",
            )
        return [Gpu(uuid, int(used)) for uuid, used in found]

    def cuda_version(self) -> str:
        """The newest CUDA that the driver offers."""
        done = self._runner(["nvidia-smi", "--version"], timeout=_ASK_TIMEOUT)
        found = re.search(r"^CUDA Version\s*: *([\d.]+)", done.stdout, re.MULTILINE)
        return found[1] if found else ""

    def wait_given_back(self, before: Sequence[Gpu], tolerance_mib: int, timeout: float, clock: Clock) -> None:
        deadline = clock.deadline(timeout)
        then = {gpu.uuid: gpu.used_mib for gpu in before}
        while True:
            kept = {gpu.uuid: gpu.used_mib - then.get(gpu.uuid, 0) for gpu in self.read()}
            kept = {uuid: mib for uuid, mib in kept.items() if mib > tolerance_mib}
            if not kept:
                return
            if not deadline.pause(POLL_SECONDS):
                break
        listed = ", ".join(f"{mib} MiB of {uuid}" for uuid, mib in kept.items())
        raise PhoenixError(
            f"GPU memory was not given back: {listed}",
            remedy="See with `nvidia-smi` on the node who holds it; a VLLM::EngineCore whose server is gone is an "
            "orphan and has to be ended there.",
            code=Code.VERIFICATION,
            problem="gpu-memory-kept",
        )


def check_cuda(image: Mapping[str, str], gpus: Gpus, reference: str) -> None:
    """Within one major version every driver will do; a newer major needs a newer driver."""
    needed, offered = image.get("CUDA_VERSION", ""), gpus.cuda_version()
    if needed and offered and int(needed.partition(".")[0]) > int(offered.partition(".")[0]):
        raise PhoenixError(
            f"{reference} is built for CUDA {needed}, and the driver offers {offered}",
            remedy="Install a newer driver on the node, or use an image for an older CUDA.",
            code=Code.VERIFICATION,
            problem="cuda-mismatch",
        )


def check_port(port: int, runner: Runner = run) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
            return
        except OSError:
            pass
    done = runner(["ss", "--listening", "--tcp", "--numeric", "--processes", f"sport = :{port}"], timeout=_ASK_TIMEOUT)
    holders = ", ".join(sorted(set(re.findall(r'users:\(\("([^"]+)"', done.stdout)))) or "somebody"
    raise PhoenixError(
        f"test port: {port} is taken by {holders}",
        remedy="Stop that, or choose another port.",
        code=Code.VERIFICATION,
        problem="port-taken",
    )


def as_json(answer: Answer) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", json.loads(json.dumps(dataclasses.asdict(answer))))
