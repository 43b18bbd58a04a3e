# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP as uvicorn speaks it. The socket is bound early and listens late, so that everybody is refused until the start "
"is over."""

from __future__ import annotations

import email.utils
import hmac
import http
import http.server
import socket
import socketserver
from collections.abc import Callable, Sequence
from typing import Any

from .api import Api, Reply, Request
from .console import Console
from .shapes import dumps

GUARDED = ("/v1", "/v2", "/inference")
UNAUTHORIZED = Reply(401, dumps({"error": "Unauthorized"}).encode(), vary=False)


def bind(host: str | None, port: int) -> socket.socket:
    """Before anything else that takes long; an address in use is noticed here only when somebody listens on it."""
    family = socket.AF_INET6 if host and ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((host or "0.0.0.0", port))
    return bound


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    request_queue_size = 2048

    def __init__(self, bound: socket.socket, api: Api, keys: Sequence[str], console: Console) -> None:
        super().__init__(bound.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = bound
        self.api = api
        self.keys = keys
        self.console = console

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nothing to report."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def _handle(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        path = self.path.partition("?")[0]
        request = Request(self.command, path, {key.lower(): value for key, value in self.headers.items()}, body)
        reply = self.server.api.answer(request) if self._may(request) else UNAUTHORIZED
        peer = f"{self.client_address[0]}:{self.client_address[1]}"
        phrase = http.HTTPStatus(reply.code).phrase
        self.server.console.uvicorn(f'{peer} - "{self.command} {self.path} HTTP/1.1" {reply.code} {phrase}')
        if reply.events is None:
            self._send(reply)
        else:
            self._stream(reply)

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Of http.server's do_GET and so on, there is one for every method."""
        if name.startswith("do_"):
            return self._handle
        raise AttributeError(name)

    def _may(self, request: Request) -> bool:
        if not self.server.keys or not request.path.startswith(GUARDED) or request.method == "OPTIONS":
            return True
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and any(
            hmac.compare_digest(given.encode(), key.encode()) for key in self.server.keys
        )

    def _head(self, reply: Reply, length: str) -> bytes:
        lines = [
            f"HTTP/1.1 {reply.code} {http.HTTPStatus(reply.code).phrase}",
            f"date: {email.utils.formatdate(usegmt=True)}",
            "server: uvicorn",
        ]
        lines += [f"{name}: {value}" for name, value in reply.headers]
        lines.append(length)
        if reply.content_type:
            lines.append(f"content-type: {reply.content_type}")
        if reply.vary:
            lines.append("vary: Origin")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def _send(self, reply: Reply) -> None:
        body = b"" if self.command == "HEAD" else reply.body
        self.wfile.write(self._head(reply, f"content-length: {len(reply.body)}") + body)

    def _stream(self, reply: Reply) -> None:
        self.wfile.write(self._head(reply, "transfer-encoding: chunked"))
        for event in reply.events or ():
            data = event.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Requests are logged as uvicorn does; what http.server says itself is not."""
