# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


"""The processes of tensor parallelism: one for each GPU, VLLM::Worker_TP<rank>, with a pipe to the engine."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
from typing import Any, NoReturn

from .cuda import CudaError, Device, Driver, LibraryMissing, Memory
from .process import rename


class Worker:
    """It ends when the engine's end of its pipe closes."""

    def __init__(self, driver: Driver, ordinal: int, rank: int) -> None:
        self._channel, other = socket.socketpair()
        if os.fork() == 0:
            self._channel.close()
            _work(driver, ordinal, rank, other)
        other.close()
        self._stream = self._channel.makefile("rw")
        self._ask()

    def memory(self) -> Memory:
        return Memory(*self._ask({"memory": True}))

    def allocate(self, size: int) -> None:
        self._ask({"allocate": size})

    def _ask(self, question: dict[str, int] | None = None) -> list[int]:
        if question:
            self._stream.write(json.dumps(question) + "\n")
            self._stream.flush()
        reply = json.loads(self._stream.readline())
        if "missing" in reply:
            raise LibraryMissing(reply["missing"])
        if "error" in reply:
            raise CudaError(reply["error"])
        return list(reply["values"])


def _work(driver: Driver, ordinal: int, rank: int, channel: socket.socket) -> NoReturn:
    rename(f"VLLM::Worker_TP{rank}")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Nothing else of the engine's: whoever waits for its end must not wait for a worker's.
    os.closerange(3, channel.fileno())
    os.closerange(channel.fileno() + 1, 1024)
    stream = channel.makefile("rw")
    device: Device | None = None
    try:
        device = driver.open(ordinal)
        stream.write(json.dumps({"values": []}) + "\n")
    except LibraryMissing as error:
        stream.write(json.dumps({"missing": str(error)}) + "\n")
    except CudaError as error:
        stream.write(json.dumps({"error": error.code}) + "\n")
    stream.flush()
    while device and (line := stream.readline()):
        question = json.loads(line)
        try:
            if "allocate" in question:
                device.allocate(question["allocate"])
                reply: dict[str, Any] = {"values": []}
            else:
                reply = {"values": list(dataclasses.astuple(device.memory()))}
        except CudaError as error:
            reply = {"error": error.code}
        stream.write(json.dumps(reply) + "\n")
        stream.flush()
    os._exit(0)
