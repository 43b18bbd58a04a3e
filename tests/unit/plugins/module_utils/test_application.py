# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import socket
import threading
import typing as t
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._application import (
    Application,
    ApplicationCheck,
    answers,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import (
    Answer,
    FakeClock,
    FakeRunner,
    failed,
    ok,
)

RUNNING = {"Status": "running", "Running": True, "Restarting": False, "Paused": False, "StartedAt": "T1", "ExitCode": 0}
RESTARTING = {**RUNNING, "Status": "restarting", "Restarting": True, "ExitCode": 1}
INSPECT = "docker container inspect qdrant"
HEALTH = "curl -sf http://localhost:6333/healthz"
QDRANT = Application("qdrant", ["6333:6333", "6334:6334/tcp", "53:53/udp"], HEALTH, retries=3, interval=5, timeout=10)


def inspected(state: dict[str, t.Any], restarts: int = 0) -> str:
    config = {"Image": "qdrant/qdrant@sha256:01"}
    return json.dumps([{"State": state, "Config": config, "RestartCount": restarts}])


class World:
    def __init__(self, *states: str) -> None:
        self.runner = FakeRunner(
            {
                "docker version": "28.1.1",
                "docker logs --tail 20 qdrant": ok("starting\n", "out of memory\n"),
                HEALTH: "ok",
            }
        )
        self.runner.on(INSPECT, *(states or (inspected(RUNNING),)))
        self.clock = FakeClock()
        self.asked: list[int] = []
        self.silent_until = 0.0

    def _listening(self, port: int) -> bool:
        self.asked.append(port)
        return self.clock.elapsed >= self.silent_until

    def check(self, application: Application = QDRANT) -> dict[str, t.Any]:
        return ApplicationCheck(application, runner=self.runner, clock=self.clock, listening=self._listening).run()

    def refused(self, application: Application = QDRANT) -> PhoenixError:
        with pytest.raises(PhoenixError) as failure:
            self.check(application)
        return failure.value

    def health(self, *tries: Answer) -> None:
        self.runner.on(HEALTH, *tries)


def test_one_that_works() -> None:
    world = World()
    assert world.check() == {
        "changed": False,
        "name": "qdrant",
        "image": "qdrant/qdrant@sha256:01",
        "started": "T1",
        "tries": 1,
    }
    assert world.asked == [6333, 6334]
    assert world.clock.slept == []
    assert "docker logs" not in " ".join(world.runner.commands)


def test_it_is_waited_for() -> None:
    world = World(inspected(RESTARTING), inspected(RUNNING))
    world.silent_until = 4
    assert world.check()["started"] == "T1"
    assert world.clock.elapsed == 4


def test_the_health_check_is_tried_again() -> None:
    world = World()
    world.health(failed("", 7), failed("", 7), ok("healthy"))
    assert world.check()["tries"] == 3
    assert world.clock.slept == [5, 5]


def test_without_ports_and_health_it_has_to_live_for_a_moment() -> None:
    world = World()
    assert world.check(Application("qdrant"))["tries"] == 0
    assert world.clock.slept == [2.0]


@pytest.mark.parametrize(
    ("tries", "retries", "message"),
    [
        pytest.param(
            [failed("curl: (7) refused\n", 7)],
            3,
            f"`{HEALTH}` failed 3 times, 5 s apart, at last with exit code 7, and said 'curl: (7) refused'",
            id="stderr",
        ),
        pytest.param(
            [failed("", 1), failed("", 22, "one\ntwo\n")],
            2,
            f"`{HEALTH}` failed 2 times, 5 s apart, at last with exit code 22, and said 'two'",
            id="stdout",
        ),
        pytest.param(
            [failed("", 1)], 1, f"`{HEALTH}` failed once, at last with exit code 1, and said nothing", id="silent"
        ),
        pytest.param(
            [PhoenixError("curl did not end within 10 s and was stopped", remedy="")],
            1,
            (
                f"`{HEALTH}` failed once, at last with exit code 124, and said 'curl did not end within "
                f"10 s and was stopped'"
            ),
            id="hangs",
        ),
    ],
)
def test_a_health_check_that_fails(tries: list[Answer], retries: int, message: str) -> None:
    world = World()
    world.health(*tries)
    failure = world.refused(Application("qdrant", [], HEALTH, retries=retries, interval=5, timeout=10))
    assert str(failure) == (
        f"The application qdrant is not healthy: {message}. See log_tail, and `docker logs qdrant` "
        f"inside the container."
    )
    assert failure.code == Code.VERIFICATION
    assert failure.details["log_tail"] == ["starting", "out of memory"]
    assert failure.details["state"] == "running"
    assert len([command for command in world.runner.commands if command == HEALTH]) == retries


@pytest.mark.parametrize(
    ("states", "silent", "reason"),
    [
        pytest.param([inspected(RUNNING)], True, "does not answer at port 6333 after 10 s", id="port"),
        pytest.param(
            [inspected(RESTARTING, 4)],
            False,
            "is restarting (exit code 1, started again 4 times) after 10 s",
            id="restarts",
        ),
        pytest.param(
            [inspected({**RUNNING, "Status": "paused", "Paused": True})],
            False,
            "is paused (exit code 0) after 10 s",
            id="paused",
        ),
        pytest.param([json.dumps([{}])], False, "is not running (exit code 0) after 10 s", id="no state"),
        pytest.param(
            [inspected(RUNNING), inspected({**RUNNING, "StartedAt": "T2"})],
            False,
            "ended while it was checked",
            id="started again",
        ),
        pytest.param(
            [inspected(RUNNING), inspected({**RUNNING, "Status": "exited", "Running": False, "ExitCode": 137})],
            False,
            "ended while it was checked",
            id="ended",
        ),
    ],
)
def test_one_that_does_not_run(states: list[str], silent: bool, reason: str) -> None:
    world = World(*states)
    world.silent_until = 1000 if silent else 0
    failure = world.refused()
    assert failure.reason == f"The application qdrant {reason}"
    assert failure.code == Code.VERIFICATION
    assert failure.details["log_tail"] == ["starting", "out of memory"]


def test_one_that_is_not_there() -> None:
    world = World()
    world.runner.on(INSPECT, failed("No such container", 1))
    failure = world.refused()
    assert str(failure) == (
        "Docker has no container qdrant. Run the role docker_application first, and see `docker ps --all`."
    )
    assert failure.code == Code.VERIFICATION


def test_without_docker() -> None:
    world = World()
    world.runner.on("docker version", failed("docker: No such file", 127))
    assert world.refused().reason == "Docker is not installed"


def test_a_command_that_is_no_list_of_words() -> None:
    world = World()
    failure = world.refused(Application("qdrant", [], "sh -c 'open"))
    assert str(failure) == (
        'command: "sh -c \'open" cannot be split into words: No closing quotation. Close every quote, as in '
        "sh -c 'a | b'."
    )
    assert failure.code == Code.INPUT
    assert world.runner.commands == []


def test_no_shell_takes_the_command_apart() -> None:
    world = World()
    world.runner.on(["sh", "-c", "echo $HOME | cat"], "ok")
    world.check(Application("qdrant", [], "sh -c 'echo $HOME | cat'"))
    assert world.runner.calls[-2].argv == ("sh", "-c", "echo $HOME | cat")


@pytest.fixture
def listener() -> Iterator[Callable[[Callable[[socket.socket], object]], int]]:
    """Makes a server that does one thing with each connection."""
    servers: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(handle: Callable[[socket.socket], object]) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def work() -> None:
            connection, _address = server.accept()
            with connection:
                handle(connection)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        threads.append(thread)
        return int(server.getsockname()[1])

    yield serve
    for server, thread in zip(servers, threads, strict=True):
        thread.join(5)
        server.close()


@pytest.mark.parametrize(
    ("handle", "expected"),
    [
        pytest.param(lambda connection: connection.recv(1), True, id="waits for a request"),
        pytest.param(lambda connection: connection.sendall(b"220 hello"), True, id="greets"),
        pytest.param(lambda _connection: None, False, id="hangs up, as Docker does for nobody"),
    ],
)
def test_who_answers(
    listener: Callable[[Callable[[socket.socket], object]], int],
    handle: Callable[[socket.socket], object],
    expected: bool,
) -> None:
    assert answers(listener(handle)) is expected


def test_a_port_that_nobody_has() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert answers(port) is False
