# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json
import socket
import typing as t
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Clock, Completed
from ansible_collections.phoenix.hypervisor.plugins.module_utils._vllm_api import Server
from ansible_collections.phoenix.hypervisor.plugins.module_utils._vllm_server import InUnit, wait_ready
from ansible_collections.phoenix.hypervisor.plugins.module_utils._vllm_trial import LABEL, Request, Trial
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.vllm_stub import (
    CHAT,
    GOOD,
    MODEL,
    Answers,
    Time,
    serving,
)

TOKEN = "hf_secret"
GIB = 1024


class Machine:
    """Docker, nvidia-smi and ss of a container, as far as a trial asks them."""

    def __init__(self) -> None:
        self.containers: list[str] = []
        self.image: dict[str, t.Any] | None = {"Id": "sha256:1", "Config": {"Env": ["CUDA_VERSION=12.8.1"]}}
        self.gpus = 2
        self.cuda = "13.0"
        self.taken = {0: 4 * GIB}
        self.kept = 0
        self.stays = False
        self.start_error = ""
        self.state: dict[str, t.Any] = {"Running": True, "ExitCode": 0}
        self.log = ""
        self.started: list[str] = []
        self.environment = ""

    def __call__(self, argv: Sequence[str], **_options: t.Any) -> Completed:
        if argv[0] == "nvidia-smi":
            return self._nvidia_smi(argv)
        if argv[0] == "ss":
            return Completed(tuple(argv), 0, 'LISTEN 0 5 0.0.0.0:1 users:(("python3",pid=7,fd=3))')
        answer = {"version": self._version, "image": self._image, "ps": self._ps, "rm": self._rm, "run": self._run,
                  "container": self._container, "logs": self._logs}[argv[1]]  # fmt: skip
        rc, text = answer(list(argv))
        return Completed(tuple(argv), rc, *((text, "") if rc == 0 else ("", text)))

    def _nvidia_smi(self, argv: Sequence[str]) -> Completed:
        if argv[1] == "--version":
            return Completed(tuple(argv), 0, f"DRIVER version      : 580\nCUDA Version        : {self.cuda}\n")
        if not self.gpus:
            return Completed(tuple(argv), 0, "No devices found.\n")
        used = [(self.taken.get(number, 0) if self.containers else self.kept) for number in range(self.gpus)]
        return Completed(tuple(argv), 0, "".join(f"GPU-{number}, {mib}\n" for number, mib in enumerate(used)))

    def _version(self, _argv: list[str]) -> tuple[int, str]:
        return 0, "28.5.1"

    def _image(self, _argv: list[str]) -> tuple[int, str]:
        return (0, json.dumps([self.image])) if self.image else (1, "No such image")

    def _ps(self, argv: list[str]) -> tuple[int, str]:
        assert argv[-1] == f"label={LABEL}"
        return 0, "\n".join(self.containers)

    def _rm(self, argv: list[str]) -> tuple[int, str]:
        assert argv[2:4] == ["--force", "--volumes"]
        if self.stays:
            return 1, "Error: it is busy"
        self.containers.clear()
        return 0, ""

    def _run(self, argv: list[str]) -> tuple[int, str]:
        self.started = argv
        path = Path(argv[argv.index("--env-file") + 1])
        assert path.stat().st_mode & 0o777 == 0o600
        self.environment = path.read_text()
        self.containers.append("id")
        return (125, self.start_error) if self.start_error else (0, "id")

    def _container(self, _argv: list[str]) -> tuple[int, str]:
        return 0, json.dumps([{"State": self.state}])

    def _logs(self, _argv: list[str]) -> tuple[int, str]:
        return 0, self.log


@dataclasses.dataclass
class Bench:
    machine: Machine
    folder: Path

    def run(self, answers: Answers | None = None, **changes: t.Any) -> dict[str, t.Any]:
        with serving(GOOD if answers is None else answers) as (port, _asked):
            request = Request(
                image="vllm/vllm-openai@sha256:1", served_model_name=MODEL, port=port, kind="chat",
                command=["--model", "/models/tiny"], runtime="nvidia", gpus="all", ipc="host",
                model_directory="/models/tiny", environment={"A": "b"}, secrets={"HF_TOKEN": TOKEN}, expected_gpus=1,
                timeout=9, request_timeout=1, memory_tolerance_mib=100,
            )  # fmt: skip
            clock = Time()
            trial = Trial(
                dataclasses.replace(request, **changes),
                runner=self.machine,
                clock=Clock(clock.now, clock.sleep),
                runtime_folder=self.folder,
                port_check=lambda port: None,
            )
            return trial.run()

    def refused(self, answers: Answers | None = None, **changes: t.Any) -> PhoenixError:
        with pytest.raises(PhoenixError) as caught:
            self.run(answers, **changes)
        assert list(self.folder.iterdir()) == []
        assert TOKEN not in str(caught.value.as_result())
        return caught.value


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Machine(), tmp_path)


def test_a_good_trial_leaves_nothing(bench: Bench) -> None:
    result = bench.run()
    assert (result["changed"], result["answer"]["text"], result["gpu_memory_mib"]) == (False, "Hello!", {"GPU-0": 4096})
    assert bench.machine.containers == []
    assert list(bench.folder.iterdir()) == []
    words = " ".join(bench.machine.started)
    assert "--runtime nvidia --gpus all --ipc host" in words
    assert "type=bind,source=/models/tiny,target=/models/tiny,readonly" in words
    assert TOKEN not in words
    assert bench.machine.environment == f"A=b\nHF_TOKEN={TOKEN}\n"


def test_left_overs_go_first(bench: Bench) -> None:
    bench.machine.containers = ["old"]
    assert bench.run()["warnings"] == ["A test container of an earlier run was still there, and is removed"]


@pytest.mark.parametrize("message", [{"content": " "}, {"content": None, "reasoning": "The user wants"}])
def test_the_model_of_a_trial_has_to_say_something(bench: Bench, message: dict[str, t.Any]) -> None:
    """A server may be of a model that says nothing within 16 tokens; that of a trial is chosen."""
    answer = {**CHAT, "choices": [{"index": 0, "message": message, "finish_reason": "length"}]}
    error = bench.refused({**GOOD, "/v1/chat/completions": (200, answer)})
    assert (error.details["problem"], bench.machine.containers) == ("bad-answer", [])
    assert error.reason == "The answer of vLLM is not good: the completion is empty"


def fails(machine: Machine, **changes: t.Any) -> None:
    for name, value in changes.items():
        setattr(machine, name, value)


ENDED = {"Running": False, "ExitCode": 1}


@pytest.mark.parametrize(
    ("machine", "answers", "problem"),
    [
        ({"image": None}, GOOD, "no-image"),
        ({"cuda": "11.8"}, GOOD, "cuda-mismatch"),
        ({"gpus": 0}, GOOD, "no-gpu"),
        ({"start_error": "listen tcp4 0.0.0.0:8000: bind: address already in use."}, GOOD, "port-taken"),
        ({"start_error": f"what {TOKEN}"}, GOOD, "unknown"),
        ({"state": ENDED, "log": f"(EngineCore pid=1) ValueError: {TOKEN}"}, GOOD, "unknown"),
        ({"state": ENDED, "log": "(EngineCore pid=1) torch.X.Error: CUDA error: out of memory"}, GOOD, "out-of-memory"),
        ({"state": {"Running": False, "ExitCode": 137, "OOMKilled": True}}, GOOD, "container-memory"),
        ({}, {**GOOD, "/health": (503, b"")}, "engine-died"),
        ({"log": "(EngineCore pid=1) torch.X.Error: CUDA error: out of memory"},
         {**GOOD, "/health": (503, b"")}, "out-of-memory"),
        ({}, {**GOOD, "/v1/chat/completions": (500, b"")}, "refused"),
        ({"taken": {}}, GOOD, "gpu-unused"),
        ({"kept": 500, "containers": []}, GOOD, None),
    ],
)  # fmt: skip
def test_a_failure_is_named_and_leaves_nothing(
    bench: Bench, machine: dict[str, t.Any], answers: Answers, problem: str | None
) -> None:
    fails(bench.machine, **machine)
    if problem is None:
        assert bench.run(answers)["changed"] is False
        return
    error = bench.refused(answers)
    assert (error.details["problem"], error.code, bench.machine.containers) == (problem, Code.VERIFICATION, [])


def test_memory_that_is_kept_is_a_failure(bench: Bench) -> None:
    bench.machine.taken = {0: 4 * GIB}

    def keep(argv: list[str]) -> tuple[int, str]:
        bench.machine.containers.clear()
        bench.machine.kept = 4 * GIB
        return 0, ""

    bench.machine._rm = keep  # type: ignore[method-assign]
    error = bench.refused()
    assert error.reason == "GPU memory was not given back: 4096 MiB of GPU-0, 4096 MiB of GPU-1"


def test_a_container_that_stays_is_told_beside_the_cause(bench: Bench) -> None:
    fails(bench.machine, stays=True, state=ENDED, log="(EngineCore pid=1) X.Error: CUDA error: out of memory")
    assert bench.refused().reason == (
        "The GPU's memory does not hold the model. Moreover: The test container cannot be removed: Error: it is busy"
    )


def test_a_server_that_is_never_ready(bench: Bench) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        bench.machine.log = "Application startup complete.\n"
        error = bench.refused(port=unused.getsockname()[1])
    assert error.details["problem"] == "too-slow"
    assert "vLLM was not ready within 9 s (" in error.reason
    assert error.reason.endswith("its last words were: Application startup complete.")


class Unit:
    """systemctl show, one state after the other, and the journal."""

    def __init__(self, *states: tuple[str, ...]) -> None:
        self.states = list(states)
        self.asked: list[str] = []

    def __call__(self, argv: Sequence[str], **_options: t.Any) -> Completed:
        if argv[0] == "journalctl":
            self.asked.append(argv[-1])
            return Completed(tuple(argv), 0, "vllm: error: unrecognized arguments: --x\n")
        active, sub, invocation, *job = self.states[0] if len(self.states) == 1 else self.states.pop(0)
        shown = {"Job": "".join(job) or "0", "ActiveState": active, "SubState": sub, "InvocationID": invocation}
        text = "".join(f"{name}={value}\n" for name, value in {**shown, "ExecMainStatus": "2"}.items())
        return Completed(tuple(argv), 0, text)


@pytest.mark.parametrize(
    "states",
    [
        [("failed", "failed", "a")],
        [("inactive", "dead", "")],
        [("activating", "start-post", "a"), ("activating", "auto-restart", "a")],
        [("activating", "start-post", "a"), ("activating", "start-post", "b")],
    ],
    ids=["failed", "stopped", "restarting", "restarted"],
)
def test_a_unit_that_does_not_come_up_is_not_waited_for(states: list[tuple[str, ...]]) -> None:
    unit, clock = Unit(*states), Time()
    with pytest.raises(PhoenixError) as caught:
        wait_ready(Server(1, MODEL), InUnit("x.service", unit), timeout=60, clock=Clock(clock.now, clock.sleep))
    assert caught.value.details["problem"] == "bad-argument"
    first = states[0][2]
    assert unit.asked == [f"_SYSTEMD_INVOCATION_ID={first}" if first else "x.service"]
    assert clock.at < 1


def test_a_restart_under_way_is_waited_for() -> None:
    """What answers before it is the old server, with its old settings."""
    old = [("active", "running", "a", "7"), ("deactivating", "stop-post", "a", "7"), ("inactive", "dead", "a", "7")]
    unit, clock = Unit(*old, ("activating", "start-post", "b", "7"), ("active", "running", "b")), Time()
    with serving(GOOD) as (port, asked):
        process = InUnit("x.service", unit)
        ready = wait_ready(Server(port, MODEL), process, timeout=60, clock=Clock(clock.now, clock.sleep))
    assert (ready.seconds, len(asked)) == (1.5, 3)


def test_a_unit_that_answers() -> None:
    with serving(GOOD) as (port, _asked):
        unit = InUnit("x.service", Unit(("active", "running", "a")))
        ready = wait_ready(Server(port, MODEL), unit, timeout=60, clock=Clock(), max_model_len=2048)
    assert ready.answer.text == "Hello!"


def test_a_run_that_is_broken_off_leaves_nothing(bench: Bench) -> None:
    def broken_off(_argv: list[str]) -> tuple[int, str]:
        raise KeyboardInterrupt

    bench.machine._container = broken_off  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    assert bench.machine.started
    assert bench.machine.containers == []
    assert list(bench.folder.iterdir()) == []
