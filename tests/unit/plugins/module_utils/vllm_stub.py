# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A server that answers as a test tells it to, by the shapes that were recorded of the real one.

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import typing as t
from collections.abc import Iterator

MODEL = "tiny"
CHAT: dict[str, t.Any] = {
    "model": MODEL,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello!"}, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 17, "completion_tokens": 16, "total_tokens": 33},
}
MODELS: dict[str, t.Any] = {"object": "list", "data": [{"id": MODEL, "max_model_len": 2048}]}
Answers = dict[str, tuple[int, t.Any]]
GOOD: Answers = {"/health": (200, b""), "/v1/models": (200, MODELS), "/v1/chat/completions": (200, CHAT)}
# An answer that does not come.
SILENCE = (0, None)


@contextlib.contextmanager
def serving(answers: Answers) -> Iterator[tuple[int, list[tuple[str, t.Any, str]]]]:
    """The port, and what was asked: path, body, key."""
    asked: list[tuple[str, t.Any, str]] = []
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: t.Any) -> None:
            asked.append((self.path, body, self.headers.get("Authorization", "")))
            status, content = answers.get(self.path, (404, {"detail": "Not Found"}))
            if not status:
                over.wait(5)
                return
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1], asked
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


class Time:
    """A clock that runs only when somebody sleeps."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds
