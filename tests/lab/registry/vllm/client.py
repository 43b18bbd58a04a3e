# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The API server's end of the engine: requests go in, tokens come out, and its death is noticed."""

from __future__ import annotations

import dataclasses
import json
import queue
import socket
import threading
import uuid
from collections.abc import Iterator


class EngineDead(Exception):
    pass


@dataclasses.dataclass(frozen=True)
class Token:
    text: str
    # None: more tokens follow.
    finish: str | None


class EngineClient:
    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._requests: dict[str, queue.Queue[Token | None]] = {}
        self._finish: dict[str, str] = {}
        self._reader: threading.Thread | None = None
        self._stream = channel.makefile("r")
        self.dead = threading.Event()
        # Requests that were running when the engine died.
        self.lost = 0
        self.totals = {"prompt": 0, "generation": 0, "success": 0}

    def wait_ready(self) -> bool:
        """False: the engine ended before it was ready."""
        line = self._stream.readline()
        if not line:
            return False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return True

    @property
    def running(self) -> int:
        return len(self._requests)

    def generate(self, prompt: str, prompt_tokens: int, max_tokens: int, ignore_eos: bool) -> Iterator[Token]:
        identifier = uuid.uuid4().hex
        tokens: queue.Queue[Token | None] = queue.Queue()
        with self._lock:
            if self.dead.is_set():
                raise EngineDead
            self._requests[identifier] = tokens
            request = {"id": identifier, "prompt": prompt, "max_tokens": max_tokens, "ignore_eos": ignore_eos}
            self._channel.sendall(json.dumps(request).encode() + b"\n")
        # Counted when the engine hands over the first token: a request that waits moves no counter.
        uncounted = prompt_tokens
        try:
            while token := tokens.get():
                if token.text:
                    self.totals["prompt"] += uncounted
                    self.totals["generation"] += 1
                    uncounted = 0
                yield token
                if token.finish:
                    self.totals["success"] += token.finish != "abort"
                    return
            raise EngineDead
        finally:
            self._requests.pop(identifier, None)
            self._finish.pop(identifier, None)

    def abort(self) -> int:
        """Every request ends now, with what it has so far."""
        with self._lock:
            waiting = list(self._requests.values())
        for tokens in waiting:
            tokens.put(Token("", "abort"))
        return len(waiting)

    def _read(self) -> None:
        for line in self._stream:
            message = json.loads(line)
            identifier = message["id"]
            if "finish" in message:
                self._finish[identifier] = message["finish"]
            elif tokens := self._requests.get(identifier):
                tokens.put(Token(message["token"], self._finish.get(identifier) if message["last"] else None))
        with self._lock:
            waiting = list(self._requests.values())
            self.lost = len(waiting)
            self.dead.set()
        for tokens in waiting:
            tokens.put(None)
