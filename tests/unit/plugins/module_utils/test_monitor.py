# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import socket
import struct
import threading
import uuid
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._monitor import LxcMonitor

REQUEST = struct.Struct("@iiP")
ANSWER = struct.Struct("@iiP")

Respond = Callable[[socket.socket, int, bytes], None]


class FakeLxc:
    """The monitor of container 100, as LXC's commands.c speaks."""

    def __init__(self, respond: Respond) -> None:
        self.path = f"/phoenix-test-{uuid.uuid4()}"
        self.requests: list[tuple[int, bytes]] = []
        self.senders: list[int] = []
        self._respond = respond
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._listener.bind(f"\0{self.path}/100/command")
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        header, control, _flags, _address = connection.recvmsg(REQUEST.size, socket.CMSG_SPACE(12))
        for level, kind, data in control:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS)
            self.senders.append(struct.unpack("3i", data)[0])
        command, length, _pointer = REQUEST.unpack(header)
        payload = b""
        while len(payload) < length:
            payload += connection.recv(length - len(payload))
        self.requests.append((command, payload))
        self._respond(connection, command, payload)


@pytest.fixture
def lxc() -> Iterator[Callable[[Respond], FakeLxc]]:
    begun: list[FakeLxc] = []

    def begin(respond: Respond) -> FakeLxc:
        begun.append(FakeLxc(respond))
        return begun[-1]

    yield begin
    for server in begun:
        server.close()


def answers(ret: int, data: bytes = b"", pointer: int = 0) -> Respond:
    def respond(connection: socket.socket, _command: int, _payload: bytes) -> None:
        connection.sendall(ANSWER.pack(ret, len(data), pointer) + data)

    return respond


def in_small_pieces(data: bytes) -> Respond:
    def respond(connection: socket.socket, _command: int, _payload: bytes) -> None:
        whole = ANSWER.pack(0, len(data), 0) + data
        for number in range(0, len(whole), 5):
            connection.sendall(whole[number : number + 5])

    return respond


def hang_up_early(connection: socket.socket, _command: int, _payload: bytes) -> None:
    connection.sendall(ANSWER.pack(0, 100, 0) + b"only this")


def test_the_pid_of_init_comes_in_the_pointer(lxc: Callable[[Respond], FakeLxc]) -> None:
    server = lxc(answers(0, pointer=929))
    assert LxcMonitor(server.path).init_pid(100) == 929
    assert server.requests == [(4, b"")]
    assert server.senders == [os.getpid()]


@pytest.mark.parametrize("pointer", [0, (1 << 64) - 1])
def test_no_pid(lxc: Callable[[Respond], FakeLxc], pointer: int) -> None:
    assert LxcMonitor(lxc(answers(0, pointer=pointer)).path).init_pid(100) is None


def test_a_configuration_item_has_one_value_per_line(lxc: Callable[[Respond], FakeLxc]) -> None:
    # pct-transcripts 11: the monitor (running) answered ['a', 'c 195:0 rw'].
    server = lxc(answers(0, b"a\nc 195:0 rw\n\0"))
    assert LxcMonitor(server.path).config_item(100, "lxc.cgroup2.devices.allow") == ("a", "c 195:0 rw")
    assert server.requests == [(7, b"lxc.cgroup2.devices.allow\0")]


def test_an_answer_that_arrives_in_pieces(lxc: Callable[[Respond], FakeLxc]) -> None:
    server = lxc(in_small_pieces(b"c 195:* rwm\n" * 50 + b"\0"))
    assert LxcMonitor(server.path).config_item(100, "lxc.mount.entry") == ("c 195:* rwm",) * 50


@pytest.mark.parametrize(
    "respond",
    [answers(-1), answers(-22, b""), hang_up_early, lambda _connection, _command, _payload: None],
    ids=["refused", "invalid", "cut-short", "no-answer"],
)
def test_a_configuration_item_that_cannot_be_had(lxc: Callable[[Respond], FakeLxc], respond: Respond) -> None:
    assert LxcMonitor(lxc(respond).path).config_item(100, "lxc.nonsense") is None


def test_a_container_that_does_not_run_has_no_monitor(lxc: Callable[[Respond], FakeLxc]) -> None:
    monitor = LxcMonitor(lxc(answers(0, pointer=929)).path)
    assert monitor.init_pid(101) is None
    assert monitor.config_item(101, "lxc.uts.name") is None


def test_the_path_of_pve() -> None:
    # `grep /proc/net/unix`: @/var/lib/lxc/100/command.
    assert LxcMonitor().init_pid(999_999_999) is None
