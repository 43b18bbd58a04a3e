# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# Whether an application that runs in Docker does what it is there for.

from __future__ import annotations

import dataclasses
import shlex
import socket
import typing as t
from collections.abc import Callable, Mapping, Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker import Docker
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError, invalid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Clock, Completed, Runner
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import run as run_command

_LOG_LINES = 20
_SETTLED_SECONDS = 2.0
_PROXY_SECONDS = 0.5


def answers(port: int) -> bool:
    """Whether somebody listens behind a published port.

    Docker takes every connection to such a port itself, and hangs up at once when nobody listens inside.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_PROXY_SECONDS) as connection:
            return connection.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


@dataclasses.dataclass(frozen=True)
class Application:
    """What is expected of it."""

    name: str
    ports: Sequence[str] = ()
    command: str = ""
    retries: int = 3
    interval: float = 5.0
    timeout: float = 60.0


class ApplicationCheck:
    """One request, from arguments to result. Changes nothing."""

    def __init__(
        self,
        application: Application,
        *,
        runner: Runner = run_command,
        clock: Clock | None = None,
        listening: Callable[[int], bool] = answers,
    ) -> None:
        self._application = application
        self._runner = runner
        self._clock = clock or Clock()
        self._listening = listening
        self._docker = Docker(runner)

    def run(self) -> dict[str, t.Any]:
        words = _words(self._application.command)
        self._docker.check()
        before = self._wait()
        tries = self._try(words) if words else 0
        if not words and not self._application.ports:
            # One that ends at once runs for a moment each time that Docker starts it.
            self._clock.sleep(_SETTLED_SECONDS)
        after = self._container()
        if _state(after).get("StartedAt") != _state(before).get("StartedAt") or not _runs(after):
            raise self._failure("ended while it was checked", after)
        return {
            "changed": False,
            "name": self._application.name,
            "image": (after.get("Config") or {}).get("Image", ""),
            "started": _state(after).get("StartedAt", ""),
            "tries": tries,
        }

    def _container(self) -> Mapping[str, t.Any]:
        container = self._docker.container(self._application.name)
        if container is None:
            raise PhoenixError(
                f"Docker has no container {self._application.name}",
                remedy="Run the role docker_application first, and see `docker ps --all`.",
                code=Code.VERIFICATION,
            )
        return container

    def _wait(self) -> Mapping[str, t.Any]:
        """Until it runs and all its ports answer."""
        deadline = self._clock.deadline(self._application.timeout)
        while True:
            container = self._container()
            silent = [port for port in _tcp_ports(self._application.ports) if not self._listening(port)]
            if _runs(container) and not silent:
                return container
            if not deadline.pause(1.0):
                break
        problem = f"is {_described(container)}" if not _runs(container) else f"does not answer at port {silent[0]}"
        raise self._failure(f"{problem} after {self._application.timeout:g} s", container)

    def _try(self, words: Sequence[str]) -> int:
        """The health check; how many tries it took."""
        application = self._application
        for number in range(1, application.retries + 1):
            done = self._once(words)
            if done.ok:
                return number
            if number < application.retries:
                self._clock.sleep(application.interval)
        output = (done.stderr.strip() or done.stdout.strip()).splitlines()
        said = f"said {output[-1]!r}" if output else "said nothing"
        tries = "once" if application.retries == 1 else f"{application.retries} times, {application.interval:g} s apart"
        raise self._failure(
            f"is not healthy: `{application.command}` failed {tries}, at last with exit code {done.rc}, and {said}",
            self._container(),
            output=done.stdout + done.stderr,
        )

    def _once(self, words: Sequence[str]) -> Completed:
        try:
            return self._runner(words, timeout=self._application.timeout)
        except PhoenixError as error:
            # It did not end in time.
            return Completed(tuple(words), 124, stderr=error.reason)

    def _failure(self, problem: str, container: Mapping[str, t.Any], **details: t.Any) -> PhoenixError:
        name = self._application.name
        return PhoenixError(
            f"The application {name} {problem}",
            remedy=f"See log_tail, and `docker logs {name}` inside the container.",
            code=Code.VERIFICATION,
            state=_described(container),
            log_tail=self._docker.log(name, _LOG_LINES).splitlines(),
            **details,
        )


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise invalid(
            "command", command, f"cannot be split into words: {error}", "Close every quote, as in sh -c 'a | b'."
        ) from None


def _tcp_ports(ports: Sequence[str]) -> list[int]:
    pairs = [port.partition("/") for port in ports]
    return [int(pair.split(":")[-2]) for pair, _slash, protocol in pairs if protocol != "udp"]


def _state(container: Mapping[str, t.Any]) -> Mapping[str, t.Any]:
    return container.get("State") or {}


def _runs(container: Mapping[str, t.Any]) -> bool:
    state = _state(container)
    return bool(state.get("Running")) and not state.get("Restarting") and not state.get("Paused")


def _described(container: Mapping[str, t.Any]) -> str:
    state = _state(container)
    if _runs(container):
        return "running"
    restarts = int(container.get("RestartCount") or 0)
    again = f", started again {restarts} times" if restarts else ""
    return f"{state.get('Status', 'not running')} (exit code {state.get('ExitCode', 0)}{again})"
