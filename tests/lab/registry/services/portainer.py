# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stubs of Portainer's server (9443 with TLS, 9000, 8000) and of its agent (9001 with TLS), as far as a set-up
asks them. To the server's process SIGUSR1 says that the time is over in which an administrator had to be made."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .web import Answer, self_signed, serve

VERSION = "2.33.1"
DATA = Path("/data")
# Without an administrator the real one closes then, until it is started again.
ADMINISTRATOR_TIMEOUT = 300.0
# What it answers nevertheless.
OPEN = {"/api/status", "/api/settings/public"}
AGENT = {"Portainer-Agent": VERSION, "Portainer-Agent-API-Version": "2", "Portainer-Agent-Platform": "1"}


class Server:
    """What was set is kept in /data, so that it outlives the container as the real one's database does."""

    def __init__(self, data: Path = DATA, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._end: float | None = now() + ADMINISTRATOR_TIMEOUT
        self._closed = False
        self._file = data / "portainer.db"
        self._state = json.loads(self._file.read_text()) if self._file.exists() else {"admin": None, "endpoints": []}

    def expire(self) -> None:
        if self._end is not None:
            self._end = None
            self._closed = not self._state["admin"]

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        if self._end is not None and self._now() >= self._end:
            self.expire()
        if self._closed and path.startswith("/api") and path not in OPEN:
            return 303, _message("Administrator initialization timeout"), {"redirect-reason": "AdminInitTimeout"}
        if path in {"/api/status", "/api/system/status"}:
            return 200, {"Version": VERSION, "InstanceID": "299ab403-70a8-4c05-92f7-bf7a994d50df"}, {}
        if path == "/api/users/admin/check":
            return (
                (204, None, {})
                if self._state["admin"]
                else (404, _message("No administrator account found inside the database"), {})
            )
        if (method, path) == ("POST", "/api/users/admin/init"):
            return self._init(json.loads(body))
        if (method, path) == ("POST", "/api/auth"):
            same = json.loads(body) == self._state["admin"]
            return (200, {"jwt": "stub.jwt.token"}, {}) if same else (422, _message("Invalid credentials"), {})
        if path == "/api/endpoints":
            return self._endpoints(method, body)
        if path == "/":
            return 200, "<!doctype html><title>Portainer</title>", {"Content-Type": "text/html; charset=utf-8"}
        return 404, _message("Not found"), {}

    def _init(self, user: dict[str, str]) -> Answer:
        if self._state["admin"]:
            return 409, _message("Unable to create administrator user"), {}
        self._state["admin"] = {"Username": user["Username"], "Password": user["Password"]}
        self._save()
        return 200, {"Id": 1, "Username": user["Username"], "Role": 1}, {}

    def _endpoints(self, method: str, body: bytes) -> Answer:
        if method == "GET":
            return 200, self._state["endpoints"], {}
        # A multipart form in real life; the stub keeps that something was registered.
        endpoint = {"Id": len(self._state["endpoints"]) + 1, "Type": 2, "Status": 1, "Size": len(body)}
        self._state["endpoints"].append(endpoint)
        self._save()
        return 200, endpoint, {}

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(self._state))


def agent(method: str, path: str, body: bytes) -> Answer:
    if path == "/ping":
        return 204, None, AGENT
    return 403, _message("Unauthorized"), AGENT


def _message(text: str) -> dict[str, str]:
    return {"message": text, "details": text}


def main(role: str) -> None:
    if role == "agent":
        print(
            "INF starting Agent API server | api_version=2.33.1 server_addr=0.0.0.0 server_port=9001 use_tls=true",
            flush=True,
        )
        serve(agent, {9001: self_signed(Path("/tmp/certs"), "localhost")})
    print("INF starting HTTPS server | bind_address=:9443\nINF starting HTTP server | bind_address=:9000", flush=True)
    server = Server()
    signal.signal(signal.SIGUSR1, lambda *_: server.expire())
    serve(server.answer, {9443: self_signed(DATA / "certs", "localhost"), 9000: None, 8000: None})


if __name__ == "__main__":
    main(sys.argv[1])
