# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small web server for the stubs of applications, on one port or several, plain or with TLS."""

from __future__ import annotations

import http.server
import json
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

# method, path, body → status, body (None: no body), more headers
Answer = tuple[int, object, dict[str, str]]
Handler = Callable[[str, str, bytes], Answer]


def serve(handler: Handler, ports: dict[int, ssl.SSLContext | None]) -> NoReturn:
    """Until SIGTERM or SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    for port, context in ports.items():
        server = http.server.ThreadingHTTPServer(("0.0.0.0", port), _requests(handler))
        server.daemon_threads = True
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    while True:
        # Not signal.pause(): a signal just before it would be noticed with the next one only.
        time.sleep(1)


def self_signed(folder: Path, name: str) -> ssl.SSLContext:
    """Made at the first start and kept, as the real ones do."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    if not certificate.exists():
        folder.mkdir(parents=True, exist_ok=True)
        argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1825", "-subj", f"/CN={name}"]
        argv += ["-config", "/etc/ssl/stub.cnf", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(argv, check=True, stderr=subprocess.DEVNULL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _requests(handler: Handler) -> type[http.server.BaseHTTPRequestHandler]:
    class Requests(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith("do_"):
                return self._handle
            raise AttributeError(name)

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            code, value, headers = handler(self.command, self.path.partition("?")[0], body)
            data = b"" if value is None else value.encode() if isinstance(value, str) else json.dumps(value).encode()
            kind = "text/plain" if isinstance(value, str) else "application/json"
            self.send_response(code)
            for key, text in ({"Content-Type": kind} | headers).items():
                self.send_header(key, text)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else data)

        def log_message(self, format: str, *args: object) -> None:
            """The applications log no requests either."""

    return Requests
