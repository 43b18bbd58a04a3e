# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.registry.services import portainer, qdrant

from .conftest import TESTS, free_port

PROGRAM = """
import sys
from lab.registry.services.qdrant import answer
from lab.registry.services.web import serve
serve(answer, {int(sys.argv[1]): None})
"""


def test_portainer_remembers_its_administrator(tmp_path: Path) -> None:
    server = portainer.Server(tmp_path)
    user = {"Username": "admin", "Password": "a long password"}
    assert server.answer("GET", "/api/users/admin/check", b"")[0] == 404
    assert server.answer("POST", "/api/users/admin/init", json.dumps(user).encode())[1] == {
        "Id": 1,
        "Username": "admin",
        "Role": 1,
    }
    again = portainer.Server(tmp_path)
    assert again.answer("GET", "/api/users/admin/check", b"")[0] == 204
    assert again.answer("POST", "/api/users/admin/init", json.dumps(user).encode())[0] == 409
    assert again.answer("POST", "/api/auth", json.dumps(user).encode())[0] == 200
    assert again.answer("POST", "/api/auth", b"{}")[0] == 422


def test_portainer_keeps_environments(tmp_path: Path) -> None:
    server = portainer.Server(tmp_path)
    assert server.answer("POST", "/api/endpoints", b"form")[0] == 200
    answer = portainer.Server(tmp_path).answer("GET", "/api/endpoints", b"")
    assert [endpoint["Id"] for endpoint in answer[1]] == [1]  # type: ignore[attr-defined]


def test_portainer_closes_when_nobody_makes_an_account_in_time(tmp_path: Path) -> None:
    seconds = 0.0
    server = portainer.Server(tmp_path, now=lambda: seconds)
    user = json.dumps({"Username": "admin", "Password": "a long password"}).encode()
    seconds = portainer.ADMINISTRATOR_TIMEOUT - 1
    assert server.answer("GET", "/api/users/admin/check", b"")[0] == 404
    seconds += 1
    for method, path in (("GET", "/api/system/status"), ("GET", "/api/users/admin/check")):
        code, _value, headers = server.answer(method, path, b"")
        assert (code, headers["redirect-reason"]) == (303, "AdminInitTimeout")
    assert server.answer("POST", "/api/users/admin/init", user)[0] == 303
    assert [server.answer("GET", path, b"")[0] for path in ("/api/status", "/")] == [200, 200]
    # Another start opens it, and with an account it stays open.
    again = portainer.Server(tmp_path, now=lambda: seconds)
    assert again.answer("POST", "/api/users/admin/init", user)[0] == 200
    again.expire()
    assert again.answer("GET", "/api/users/admin/check", b"")[0] == 204


def test_portainers_time_can_be_made_to_pass(tmp_path: Path) -> None:
    server = portainer.Server(tmp_path)
    assert server.answer("GET", "/api/system/status", b"")[0] == 200
    server.expire()
    assert server.answer("GET", "/api/system/status", b"")[0] == 303


@pytest.mark.parametrize("path", ["/api/status", "/api/system/status"])
def test_portainer_status(tmp_path: Path, path: str) -> None:
    code, value, _ = portainer.Server(tmp_path).answer("GET", path, b"")
    assert (code, value["Version"]) == (200, "2.33.1")  # type: ignore[index]


def test_portainer_pages(tmp_path: Path) -> None:
    server = portainer.Server(tmp_path)
    assert server.answer("GET", "/", b"")[2] == {"Content-Type": "text/html; charset=utf-8"}
    assert server.answer("GET", "/api/nope", b"")[0] == 404


def test_portainer_agent() -> None:
    code, body, headers = portainer.agent("GET", "/ping", b"")
    assert (code, body, headers["Portainer-Agent"]) == (204, None, "2.33.1")
    assert portainer.agent("GET", "/containers/json", b"")[0] == 403


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/healthz", "healthz check passed"),
        ("/livez", "livez check passed"),
        ("/readyz", "all shards are ready"),
    ],
)
def test_qdrant_health(path: str, text: str) -> None:
    assert qdrant.answer("GET", path, b"") == (200, text, {})


def test_qdrant_collections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(qdrant, "STORAGE", tmp_path)
    vectors = b'{"vectors": {"size": 4}}'
    assert qdrant.answer("GET", "/collections/a", b"")[0] == 404
    assert qdrant.answer("PUT", "/collections/a", vectors)[0] == 200
    found = qdrant.answer("GET", "/collections/a", b"")[1]
    assert found["result"]["config"]["params"] == {"vectors": {"size": 4}}  # type: ignore[index]
    assert qdrant.answer("GET", "/collections", b"")[1]["result"] == {"collections": [{"name": "a"}]}  # type: ignore[index]
    assert qdrant.answer("DELETE", "/collections/a", b"")[0] == 200
    assert qdrant.answer("GET", "/nope", b"")[0] == 404


def test_web_server_serves_until_it_is_asked_to_end() -> None:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(port)], env={"PYTHONPATH": str(TESTS)})
    try:
        end = time.monotonic() + 10
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request("GET", "/healthz")
                break
            except ConnectionRefusedError:
                connection.close()
                assert time.monotonic() < end
                time.sleep(0.05)
        reply = connection.getresponse()
        assert (reply.status, reply.read(), reply.headers["Content-Type"]) == (
            200,
            b"healthz check passed",
            "text/plain",
        )
        connection.close()
        process.terminate()
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()
