# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# A vLLM server that is started to be asked once, and leaves nothing behind.

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
import typing as t
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker import Docker, environment, last_line
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Clock, Runner
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import run as run_command
from ansible_collections.phoenix.hypervisor.plugins.module_utils._vllm_api import Fault, Server
from ansible_collections.phoenix.hypervisor.plugins.module_utils._vllm_log import Finding, judge_docker, redact
from ansible_collections.phoenix.hypervisor.plugins.module_utils._vllm_server import (
    Gpu,
    Gpus,
    InContainer,
    Ready,
    as_json,
    check_cuda,
    check_port,
    of_fault,
    of_finding,
    wait_ready,
)

NAME = "phoenix-vllm-trial"
LABEL = "phoenix.hypervisor.trial=vllm"
# An engine that is killed gives its memory back at once; the driver's books follow within a second or two.
_GIVE_BACK_SECONDS = 30.0
_RUN_TIMEOUT = 120.0


@dataclasses.dataclass(frozen=True)
class Request:
    image: str
    served_model_name: str
    port: int
    kind: str
    command: Sequence[str]
    runtime: str
    gpus: str
    ipc: str
    model_directory: str
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    expected_gpus: int
    timeout: float
    request_timeout: float
    memory_tolerance_mib: int


class Trial:
    def __init__(
        self,
        request: Request,
        *,
        runner: Runner = run_command,
        clock: Clock | None = None,
        runtime_folder: Path = Path("/run"),
        port_check: Callable[[int], None] = check_port,
    ) -> None:
        self._request = request
        self._docker = Docker(runner)
        self._gpus = Gpus(runner)
        self._clock = clock or Clock()
        self._folder = runtime_folder
        self._check_port = port_check
        self._hidden = [value for value in request.secrets.values() if value]

    def run(self) -> dict[str, t.Any]:
        self._docker.check()
        warnings = self._remove_left_overs()
        self._check_image()
        before = self._gpus.read()
        self._check_port(self._request.port)
        with self._cleaned_up(before):
            self._start()
            ready = self._wait()
            used = self._memory_taken(before)
        return {
            "changed": False,
            "skipped_reason": None,
            "seconds": ready.seconds,
            "answer": as_json(ready.answer),
            "gpu_memory_mib": used,
            "warnings": warnings,
        }

    def _remove_left_overs(self) -> list[str]:
        """Of a run whose machine went away."""
        left = self._docker.labelled(LABEL)
        if not left:
            return []
        self._docker.remove(left)
        return ["A test container of an earlier run was still there, and is removed"]

    def _check_image(self) -> None:
        image = self._docker.image(self._request.image)
        if image is None:
            raise PhoenixError(
                f"image: {self._request.image} is not in this container",
                remedy="Pull it, or load it from an archive, with the module pinned_image.",
                code=Code.VERIFICATION,
                problem="no-image",
            )
        check_cuda(environment(image), self._gpus, self._request.image)

    # --- the container

    def _start(self) -> None:
        with self._environment_file() as path:
            done = self._docker.call(*self._arguments(path), timeout=_RUN_TIMEOUT)
        if done.ok:
            return
        said = redact(done.stderr, self._hidden)
        finding = judge_docker(said) or Finding(
            "unknown",
            f"Docker cannot start the test container: {last_line(done)}",
            "See the journal of docker.service.",
        )
        raise of_finding(finding, said, self._hidden)

    def _arguments(self, environment_file: Path) -> list[str]:
        request = self._request
        words = [
            "run",
            "--detach",
            "--pull=never",
            "--name",
            NAME,
            "--label",
            LABEL,
            "--env-file",
            str(environment_file),
        ]
        for option, value in (("--runtime", request.runtime), ("--gpus", request.gpus), ("--ipc", request.ipc)):
            if value:
                words += [option, value]
        words += ["--publish", f"127.0.0.1:{request.port}:8000"]
        if request.model_directory:
            # Not --volume, which would make a directory that is not there.
            mount = f"type=bind,source={request.model_directory},target={request.model_directory},readonly"
            words += ["--mount", mount]
        return [*words, request.image, *request.command]

    @contextlib.contextmanager
    def _environment_file(self) -> Iterator[Path]:
        """The token never stands in a command line; the file is readable by root only, and gone when Docker has it."""
        handle, name = tempfile.mkstemp(prefix="phoenix-vllm-", dir=self._folder)
        try:
            with os.fdopen(handle, "w") as stream:
                for key, value in {**self._request.environment, **self._request.secrets}.items():
                    stream.write(f"{key}={value}\n")
            yield Path(name)
        finally:
            Path(name).unlink()

    def _wait(self) -> Ready:
        request = self._request
        server = Server(request.port, request.served_model_name, request.kind, timeout=request.request_timeout)
        process = InContainer(self._docker, NAME)
        ready = wait_ready(server, process, timeout=request.timeout, clock=self._clock, secrets=self._hidden)
        try:
            # A server's model may be a terse one. This one was chosen to be tried, and has to say something.
            ready.answer.check_text()
        except Fault as fault:
            raise of_fault(fault, process, self._hidden) from fault
        return ready

    def _memory_taken(self, before: Sequence[Gpu]) -> dict[str, int]:
        """An answer that no GPU had a part in proves nothing."""
        then = {gpu.uuid: gpu.used_mib for gpu in before}
        taken = {gpu.uuid: gpu.used_mib - then.get(gpu.uuid, 0) for gpu in self._gpus.read()}
        busy = {uuid: mib for uuid, mib in taken.items() if mib > self._request.memory_tolerance_mib}
        if len(busy) < self._request.expected_gpus:
            raise PhoenixError(
                f"vLLM answers, and uses {len(busy)} GPUs where {self._request.expected_gpus} are expected",
                remedy="See its log: it may compute on the CPU, or another tensor parallel size is set.",
                code=Code.VERIFICATION,
                problem="gpu-unused",
            )
        return busy

    @contextlib.contextmanager
    def _cleaned_up(self, before: Sequence[Gpu]) -> Iterator[None]:
        try:
            yield
        except PhoenixError as error:
            try:
                self._clean_up(before)
            except PhoenixError as second:
                raise error.with_context(f"Moreover: {second.reason}") from error
            raise
        except BaseException:
            self._clean_up(before)
            raise
        self._clean_up(before)

    def _clean_up(self, before: Sequence[Gpu]) -> None:
        left = self._docker.labelled(LABEL)
        if left:
            done = self._docker.remove(left)
            if self._docker.labelled(LABEL):
                raise PhoenixError(
                    f"The test container cannot be removed: {last_line(done)}",
                    remedy=f"Remove it with `docker rm --force {NAME}`.",
                    code=Code.VERIFICATION,
                    problem="left-behind",
                )
        self._gpus.wait_given_back(before, self._request.memory_tolerance_mib, _GIVE_BACK_SECONDS, self._clock)
