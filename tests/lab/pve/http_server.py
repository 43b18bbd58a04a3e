# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# pveproxy and pvedaemon in one: PVE's API over HTTPS on port 8006 (PVE::APIServer::AnyEvent, PVE::HTTPServer).
#
# Every connection is a process of its own: a request that waits (10 s for a container's lock) holds nobody up, and a
# worker that is forked for a task has no threads to fear.

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import socket
import socketserver
import ssl
import sys
import time
import traceback
import urllib.parse
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from . import api_call, authentication, http_formatter
from .call_log import log_call
from .environment import Environment
from .exceptions import PVEError
from .http_formatter import Response
from .rest_handler import Method, Parameters
from .system import System

PORT = 8006
CERTIFICATE = "etc/pve/local/pve-ssl.pem"
KEY = "etc/pve/local/pve-ssl.key"
# PVE answers who it does not know this late.
REFUSAL_DELAY = 3.0

_METHODS = frozenset({"GET", "POST", "PUT", "DELETE"})
_STYLES = frozenset({"json", "extjs"})
_WITH_BODY = frozenset({"POST", "PUT"})
_LARGEST_BODY = 512 * 1024

EnvironmentOf = Callable[[System, str, str], Environment]


class ApiServer(socketserver.ForkingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    request_queue_size = 128
    max_children = 256
    # Connections end when their clients leave; tasks outlive them and the server.
    block_on_close = False

    def __init__(
        self,
        system: System,
        methods: Iterable[Method],
        environment: EnvironmentOf,
        *,
        address: tuple[str, int] = ("", PORT),
        certificate: Path | None,
        key: Path | None = None,
        refusal_delay: float = REFUSAL_DELAY,
    ) -> None:
        """Without a certificate it speaks plain HTTP (for tests)."""
        self.system = system
        self.router = api_call.Router(methods)
        self.environment = environment
        self.refusal_delay = refusal_delay
        self.tls: ssl.SSLContext | None = None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate, key)
        super().__init__(address, ApiHandler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the process of the connection."""
        # Else the port would stay taken for as long as this client stays.
        self.socket.close()
        connection: socket.socket = request
        if self.tls:
            connection.settimeout(ApiHandler.timeout)
            connection = self.tls.wrap_socket(connection, server_side=True)

        def close_in_worker() -> None:
            # A worker is forked twice.
            if connection.fileno() >= 0:
                os.close(connection.detach())

        os.register_at_fork(after_in_child=close_in_worker)
        ApiHandler(connection, client_address, self)
        if isinstance(connection, ssl.SSLSocket):
            # A client that reads up to the end has to be told that this is the end.
            with contextlib.suppress(OSError):
                connection.settimeout(2)
                connection.unwrap()
        connection.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up, or spoke no TLS, is no news."""
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()


class ApiHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    server: ApiServer

    def handle_one_request(self) -> None:
        try:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
        except (TimeoutError, ConnectionError):
            self.close_connection = True
            return
        self._answer()
        _reap()

    def _answer(self) -> None:
        began = time.monotonic()
        path, _, query = self.path.partition("?")
        path = urllib.parse.unquote(path)
        user, response = "", None
        try:
            style, path = self._split(path)
            user = self._authenticate(path)
            response = self._serve(style, path, user, self._parameters(query))
        except _Refused as refusal:
            response = refusal.response
        self._send(response)
        log_call(
            self.server.system,
            "api",
            [self.command, path],
            rc=int(response.status),
            seconds=time.monotonic() - began,
            user=user or None,
        )

    def _split(self, path: str) -> tuple[str, str]:
        """The style of the answer and the path below it, of /api2/<style>/<path>."""
        if self.command not in _METHODS:
            raise _Refused(http_formatter.bare(HTTPStatus.NOT_IMPLEMENTED, f"method '{self.command}' not available"))
        found = re.fullmatch(r"/api2/(\w+)(/.*)?", path)
        if found is None:
            raise _Refused(http_formatter.bare(HTTPStatus.NOT_IMPLEMENTED, f"no such file '{path}'"))
        if found[1] not in _STYLES:
            raise _Refused(http_formatter.bare(HTTPStatus.NOT_IMPLEMENTED, "no such uri"))
        return found[1], (found[2] or "/").rstrip("/") or "/"

    def _authenticate(self, path: str) -> str:
        """The caller; nobody ("") where PVE asks for none."""
        if path == "/access/ticket" or (self.command, path) == ("GET", "/access/domains"):
            return ""
        system = self.server.system
        authorization = self.headers.get("Authorization", "")
        ticket = _value(self.headers.get("Cookie", ""), "PVEAuthCookie") or _value(authorization, "PVEAuthCookie")
        try:
            if ticket:
                user = authentication.verify_ticket(system, urllib.parse.unquote(ticket))
                if self.command != "GET":
                    authentication.verify_csrf_token(system, user, self.headers.get("CSRFPreventionToken", ""))
                return user
            if token := _value(authorization, "PVEAPIToken"):
                return authentication.verify_token(system, token)
            raise authentication.NotAuthenticated("No ticket")
        except authentication.NotAuthenticated as error:
            raise _Refused(http_formatter.bare(error.code, error.message, delay=self.server.refusal_delay)) from None

    def _parameters(self, query: str) -> Parameters:
        length = int(self.headers.get("Content-Length") or 0)
        parameters: Parameters = {}
        if length and self.command not in _WITH_BODY:
            raise _Refused(
                http_formatter.bare(HTTPStatus.NOT_IMPLEMENTED, f"Unexpected content for method '{self.command}'")
            )
        if length > _LARGEST_BODY:
            raise _Refused(http_formatter.bare(HTTPStatus.NOT_IMPLEMENTED, "for data too large"))
        if length:
            body = self.rfile.read(length).decode(errors="replace")
            media_type = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            parameters = _decode_json(body) if media_type == "application/json" else _decode_form(body)
        return {**parameters, **_decode_form(query)}

    def _serve(self, style: str, path: str, user: str, sent: Parameters) -> Response:
        system = self.server.system
        try:
            method, uri_parameters = self.server.router.find(self.command, path)
            parameters = api_call.merge(uri_parameters, sent)
            env = self.server.environment(system, "priv" if method.protected else "pub", user)
            data = api_call.call(env, method, parameters)
            attributes = getattr(env, "result_attribs", {})
            return http_formatter.success(data, attributes, style=style, proxied=method.protected)
        except PVEError as error:
            refused = isinstance(error, authentication.NotAuthenticated)
            return http_formatter.failure(error, style=style, delay=self.server.refusal_delay if refused else 0.0)
        except Exception as error:  # noqa: BLE001 - a fault of the stand-in is the client's 500, as a Perl die is
            traceback.print_exc()
            return http_formatter.failure(PVEError(f"{type(error).__name__}: {error}"), style=style)

    def _send(self, response: Response) -> None:
        if response.status >= HTTPStatus.BAD_REQUEST:
            self.close_connection = True
        self.server.system.sleep(response.delay)
        self.wfile.write(
            http_formatter.encode(
                response,
                now=self.server.system.time(),
                keep_alive=not self.close_connection,
                accepts_gzip="gzip" in self.headers.get("Accept-Encoding", ""),
            )
        )
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are in the log of calls."""


class _Refused(Exception):
    """Answered before any method was looked for."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.reason)
        self.response = response


def _value(header: str, name: str) -> str:
    """What a cookie or an Authorization header says: name=value, or name value."""
    found = re.search(rf"(?:^|[\s;]){name}(?:=|\s+)([^;]*)", header)
    return found[1].strip() if found else ""


def _decode_form(text: str) -> Parameters:
    parameters: Parameters = {}
    for name, value in urllib.parse.parse_qsl(text, keep_blank_values=True, max_num_fields=1000):
        # A name that comes twice is a list for PVE, which separates its items so.
        parameters[name] = f"{parameters[name]}\0{value}" if name in parameters else value
    return parameters


def _decode_json(text: str) -> Parameters:
    try:
        sent = json.loads(text)
    except ValueError:
        sent = None
    if not isinstance(sent, dict):
        raise _Refused(http_formatter.bare(HTTPStatus.NOT_IMPLEMENTED, "unable to parse the body as JSON"))
    return {
        name: value if isinstance(value, (str, list, dict)) else str(int(value) if isinstance(value, bool) else value)
        for name, value in sent.items()
        if value is not None
    }


def _reap() -> None:
    """Workers that have ended; none is waited for."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
