# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A web server on this machine that answers as a test tells it.

from __future__ import annotations

import contextlib
import http.server
import threading
import typing as t
from collections.abc import Callable, Iterator

from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.nvidia_world import VERSION

TYPE = "application/octet-stream"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = t.cast("Server", self.server)
        server.requests.append((self.path, self.headers.get("Range", "")))
        answers = server.answers[self.path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        answer(self)

    def log_message(self, format: str, *args: object) -> None:
        pass


Answer = Callable[[Handler], None]


class Server(http.server.ThreadingHTTPServer):
    """Answers each path by its list of answers, the last of them for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[tuple[str, str]] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def gives(self, *answers: Answer, path: str = f"/NVIDIA-Linux-x86_64-{VERSION}.run") -> str:
        self.answers[path] = list(answers)
        return self.url(path)


def answer(
    data: bytes,
    *,
    status: int = 200,
    kind: str = TYPE,
    length: int | None = None,
    headers: dict[str, str] | None = None,
    before: Callable[[], object] = lambda: None,
) -> Answer:
    def send(handler: Handler) -> None:
        before()
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        if length != -1:
            handler.send_header("Content-Length", str(len(data) if length is None else length))
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    return send


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
