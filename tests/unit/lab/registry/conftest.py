# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.registry.vllm.models import write_folder

SERVED = Path(__file__).with_name("served.py")
TESTS = Path(__file__).parents[3]
DEADLINE = 15.0


@dataclasses.dataclass(frozen=True)
class Reply:
    code: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclasses.dataclass
class Vllm:
    """The stub as a process of its own, with everything that it printed."""

    process: subprocess.Popen[bytes]
    port: int
    output: Path
    faults: Path

    @property
    def text(self) -> str:
        return self.output.read_text()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def wait(self, seconds: float = DEADLINE) -> int:
        return self.process.wait(seconds)

    def until(self, text: str) -> None:
        end = time.monotonic() + DEADLINE
        while text not in self.text:
            assert time.monotonic() < end, self.text
            time.sleep(0.02)

    def ready(self) -> Vllm:
        self.until("Application startup complete.")
        if not (self.faults / "no-listen").exists():
            self.until_reachable()
        return self

    def until_reachable(self) -> None:
        end = time.monotonic() + DEADLINE
        while not self.reachable():
            assert time.monotonic() < end, self.text
            time.sleep(0.02)

    def reachable(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def engine(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def ask(self, method: str, path: str, body: object = None, timeout: Any = DEADLINE, **headers: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        defaults = {} if data is None or isinstance(body, bytes) else {"Content-Type": "application/json"}
        given = defaults | {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, data, given)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    def chat(self, timeout: Any = DEADLINE, **fields: object) -> Reply:
        body = {"messages": [{"role": "user", "content": "Hello"}], **fields}
        return self.ask("POST", "/v1/chat/completions", body, timeout)

    def fault(self, name: str) -> None:
        self.faults.mkdir(exist_ok=True)
        (self.faults / name).touch()

    def stop(self) -> None:
        """Also an engine that a test orphaned or stopped."""
        children = []
        with contextlib.suppress(OSError, IndexError):
            children.append(self.engine())
        self.process.kill()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


class Vllms:
    """Starts stubs and takes them away again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / "model"
        write_folder(self.model)
        self._started: list[Vllm] = []

    def start(
        self,
        *argv: str,
        gpu: dict[str, object] | None = None,
        prog: str = "vllm",
        port: int | None = None,
        before: Sequence[str] = (),
        **environ: str,
    ) -> Vllm:
        number = len(self._started)
        output, faults = self.folder / f"out{number}", self.folder / f"faults{number}"
        faults.mkdir()
        for name in before:
            (faults / name).touch()
        port = port or free_port()
        arguments = [*argv, *([] if "--port" in argv else ["--port", str(port)])]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "VLLM_", "CUDA_"))}
        settings = {
            "HOME": str(self.folder),
            "PYTHONPATH": str(TESTS),
            "PYTHONDONTWRITEBYTECODE": "1",
            "VLLM_LAB_TIME_SCALE": "0",
            "VLLM_LAB_FOLDER": str(faults),
        }
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, str(SERVED), json.dumps(gpu or {}), prog, *arguments],
                stdout=stream,
                stderr=stream,
                env=clean | settings | environ,
            )
        self._started.append(Vllm(process, port, output, faults))
        return self._started[-1]

    def serve(self, *argv: str, **more: Any) -> Vllm:
        return self.start("serve", str(self.model), *argv, **more)

    def stop(self) -> None:
        for started in self._started:
            started.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def vllms(tmp_path: Path) -> Iterator[Vllms]:
    started = Vllms(tmp_path)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    """The recorded server: two served names, 2048 tokens, eager."""
    started = Vllms(tmp_path_factory.mktemp("tiny"))
    argv = ["--served-model-name", "tiny", "second", "--max-model-len", "2048", "--enforce-eager"]
    yield started.serve(*argv, "--gpu-memory-utilization", "0.3").ready()
    started.stop()
