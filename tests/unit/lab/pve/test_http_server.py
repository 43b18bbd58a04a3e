# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.pve import authentication
from lab.pve.simulated import SimulatedSystem

SECRET = "00000000-0000-4000-8000-000000000010"
ROOT = {"Authorization": f"PVEAPIToken=root@pam!full={SECRET}"}
NOBODY = {"Authorization": f"PVEAPIToken=bob@pve!none={SECRET}"}
USERS = "user:root@pam:1:0::::::\ntoken:root@pam!full:0:0::\nuser:bob@pve:1:0::::::\ntoken:bob@pve!none:0:1::\n"
PROGRAM = Path(__file__).with_name("echo_server.py")
TESTS = Path(__file__).parents[3]


class Server:
    def __init__(self, folder: Path, *options: str, port: int = 0) -> None:
        self.system = SimulatedSystem(folder)
        self.system.prepare("")
        (folder / "etc/pve/user.cfg").write_text(USERS, encoding="utf-8")
        tokens = f"root@pam!full {SECRET}\nbob@pve!none {SECRET}\n"
        (folder / "etc/pve/priv/token.cfg").write_text(tokens, encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": str(TESTS)}
        command = [sys.executable, str(PROGRAM), str(folder), str(port), *options]
        self._log = (folder / "server.log").open("w", encoding="utf-8")
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=self._log, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._log.close()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def touch(self, name: str) -> None:
        file = self.system.path(name)
        file.parent.mkdir(exist_ok=True)
        file.touch()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def ask(
        self,
        verb: str,
        path: str,
        headers: Mapping[str, str] = ROOT,
        body: str | None = None,
        connection: http.client.HTTPConnection | None = None,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        with contextlib.closing(self.connect()) as own:
            used = connection or own
            used.request(verb, f"/api2/json{path}", body, dict(headers))
            response = used.getresponse()
            return response, response.read()

    def data(self, verb: str, path: str, headers: Mapping[str, str] = ROOT, body: str | None = None) -> Any:
        response, text = self.ask(verb, path, headers, body)
        assert response.status == 200, text
        return json.loads(text)["data"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("node"))
    yield server
    server.stop()


def names(response: http.client.HTTPResponse) -> list[str]:
    return [name for name, _ in response.getheaders()]


def test_headers_are_pves_in_pves_order(server: Server) -> None:
    # api-transcripts 1
    response, _ = server.ask("GET", "/version")
    assert names(response) == (
        "Cache-Control Connection Date Pragma Server Content-Length Content-Type Expires".split()
    )
    assert response.headers["Connection"] == "Keep-Alive"
    assert response.headers["Server"] == "pve-api-daemon/3.0"
    assert response.headers["Content-Type"] == "application/json;charset=UTF-8"
    assert response.headers["Date"] == response.headers["Expires"]


def test_answers_of_the_daemon_have_two_connection_headers(server: Server) -> None:
    response, text = server.ask("GET", "/nothing")
    assert response.headers.get_all("Connection") == ["close", "Keep-Alive"]
    assert text == b'{"data":null}'


def test_a_connection_is_kept(server: Server) -> None:
    with contextlib.closing(server.connect()) as connection:
        connection.auto_open = 1
        server.ask("GET", "/version", connection=connection)
        first = connection.sock
        server.ask("GET", "/version", connection=connection)
        assert connection.sock is first is not None
        response, _ = server.ask("GET", "/fail?text=x", connection=connection)
        assert response.headers.get_all("Connection") == ["close"]


def test_a_client_can_ask_for_the_end(server: Server) -> None:
    response, _ = server.ask("GET", "/version", {**ROOT, "Connection": "close"})
    assert response.headers.get_all("Connection") == ["close"]


@pytest.mark.parametrize(
    ("path", "status", "reason", "body"),
    [
        pytest.param("/fail?text=one%0Atwo", 500, "one", {"data": None, "message": "one\ntwo\n"}, id="the first line"),
        pytest.param("/fail?text=%C3%A4", 500, "ä", {"data": None, "message": "ä\n"}, id="UTF-8 in the status line"),
        pytest.param(
            "/fail-with-errors",
            500,
            "format error",
            {
                "data": None,
                "message": "format error\n",
                "errors": {"volume": "property is missing and it is not optional"},
            },
            id="errors beside a 500",
        ),
        pytest.param(
            "/refuse",
            400,
            "Parameter verification failed.",
            {
                "data": None,
                "message": "Parameter verification failed.\n",
                "errors": {"name": "invalid format - no\n"},
            },
            id="parameters",
        ),
        pytest.param(
            "/echo/x?bogus=1",
            400,
            "Parameter verification failed.",
            {
                "data": None,
                "message": "Parameter verification failed.\n",
                "errors": {
                    "bogus": "property is not defined in schema and the schema does not allow additional properties"
                },
            },
            id="unknown parameter",
        ),
        pytest.param(
            "/nosuch",
            501,
            "Method 'GET /nosuch' not implemented",
            {"data": None, "message": "Method 'GET /nosuch' not implemented"},
            id="no such path",
        ),
        pytest.param(
            "/bug",
            500,
            "ZeroDivisionError: integer division or modulo by zero",
            {"data": None, "message": "ZeroDivisionError: integer division or modulo by zero\n"},
            id="a fault of the stand-in",
        ),
    ],
)
def test_failures(server: Server, path: str, status: int, reason: str, body: dict[str, Any]) -> None:
    response, text = server.ask("GET", path)
    assert (response.status, response.reason.encode("latin-1").decode()) == (status, reason)
    assert json.loads(text) == body
    assert response.headers["Connection"] == "close"


def test_missing_rights(server: Server) -> None:
    response, text = server.ask("GET", "/vms/101", NOBODY)
    assert (response.status, response.reason) == (403, "Permission check failed (/vms/101, VM.Audit)")
    assert json.loads(text)["message"] == "Permission check failed (/vms/101, VM.Audit)\n"


@pytest.mark.parametrize(
    ("verb", "path", "reason"),
    [
        pytest.param("PATCH", "/api2/json/version", "method 'PATCH' not available", id="verb"),
        pytest.param("GET", "/api2/html/version", "no such uri", id="style"),
        pytest.param("GET", "/index.html", "no such file '/index.html'", id="not the API"),
    ],
)
def test_what_is_no_request_of_the_api(server: Server, verb: str, path: str, reason: str) -> None:
    with contextlib.closing(server.connect()) as connection:
        connection.request(verb, path, headers=ROOT)
        response = connection.getresponse()
        assert (response.status, response.reason, response.read()) == (501, reason, b"")
        assert "Content-Type" not in names(response)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        pytest.param({}, "No ticket", id="nothing"),
        pytest.param({"Authorization": "Bearer x"}, "No ticket", id="another scheme"),
        pytest.param({"Authorization": "PVEAPIToken=x"}, "Authentication failed!", id="malformed token"),
        pytest.param({"Authorization": "PVEAPIToken root@pam!full=x"}, "Authentication failed!", id="wrong secret"),
        pytest.param({"Cookie": "PVEAuthCookie=x"}, "permission denied - invalid PVE ticket", id="no ticket"),
    ],
)
def test_who_is_not_known_waits(server: Server, headers: dict[str, str], reason: str) -> None:
    began = time.monotonic()
    response, text = server.ask("GET", "/version", headers)
    assert time.monotonic() - began >= 0.2
    assert (response.status, response.reason, text) == (401, reason, b"")
    assert names(response) == "Cache-Control Connection Date Pragma Server Expires".split()


def test_a_failed_login_has_a_body(server: Server) -> None:
    # api-transcripts 3
    response, text = server.ask("POST", "/access/ticket", {}, "username=root@pam&password=wrong")
    assert (response.status, response.reason) == (401, "authentication failure")
    assert json.loads(text) == {"data": None, "message": "authentication failure\n"}


def test_tickets_need_the_csrf_token_to_write(server: Server) -> None:
    ticket = authentication.make_ticket(server.system, "root@pam")
    cookie = {"Cookie": f"a=b; PVEAuthCookie={urllib.parse.quote(ticket, safe='')}"}
    assert server.data("GET", "/echo/x", cookie)["user"] == "root@pam"
    response, text = server.ask("POST", "/echo/x", cookie)
    assert (response.status, response.reason, text) == (401, "Permission denied - invalid csrf token", b"")
    csrf = authentication.make_csrf_token(server.system, "root@pam")
    assert server.data("POST", "/echo/x", {**cookie, "CSRFPreventionToken": csrf}) == {"name": "x"}


def test_parameters_come_from_everywhere(server: Server) -> None:
    form = {**ROOT, "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
    sent = server.data("POST", "/echo/a%20b?count=2", form, "text=%C3%A4+%25&list=1&list=2")
    assert sent == {"name": "a b", "count": "2", "text": "ä %", "list": "1\x002"}
    typed = {**ROOT, "Content-Type": "application/json"}
    sent = server.data("POST", "/echo/x", typed, '{"text": "t", "count": 3, "list": true}')
    assert sent == {"name": "x", "text": "t", "count": "3", "list": "1"}
    assert server.data("DELETE", "/echo/x?text=y") == {"name": "x", "text": "y"}


@pytest.mark.parametrize(
    ("verb", "headers", "body", "reason"),
    [
        pytest.param("GET", {}, "a=b", "Unexpected content for method 'GET'", id="body of a GET"),
        pytest.param("POST", {"Content-Type": "application/json"}, "[", "unable to parse the body as JSON", id="JSON"),
        pytest.param("POST", {}, "x" * 600_000, "for data too large", id="too large"),
    ],
)
def test_bodies_that_are_refused(server: Server, verb: str, headers: dict[str, str], body: str, reason: str) -> None:
    try:
        response, _ = server.ask(verb, "/echo/x", {**ROOT, **headers}, body)
    except (BrokenPipeError, ConnectionResetError):
        # It need not be read to the end before it is refused.
        assert len(body) > 500_000
        return
    assert (response.status, response.reason) == (501, reason)


def test_a_name_in_the_path_cannot_be_sent_again(server: Server) -> None:
    response, text = server.ask("POST", "/echo/x", ROOT, "name=y")
    assert response.status == 400
    assert json.loads(text)["errors"] == {"name": "duplicate parameter (already defined in URI)"}


def test_what_stands_beside_the_data(server: Server) -> None:
    _, text = server.ask("GET", "/total")
    assert json.loads(text) == {"data": [1, 2], "total": 7}


def test_large_answers_are_compressed_for_who_takes_it(server: Server) -> None:
    response, text = server.ask("GET", "/large", {**ROOT, "Accept-Encoding": "gzip, deflate"})
    assert response.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(text))["data"] == "x" * 5000
    response, text = server.ask("GET", "/large")
    assert "Content-Encoding" not in names(response)
    assert len(text) > 5000


def test_the_style_of_extjs(server: Server) -> None:
    with contextlib.closing(server.connect()) as connection:
        connection.request("GET", "/api2/extjs/fail?text=no", headers=ROOT)
        response = connection.getresponse()
        assert response.status == 200
        assert json.loads(response.read()) == {"data": None, "message": "no\n", "success": 0, "status": 500}
        connection.request("GET", "/api2/extjs/total", headers=ROOT)
        assert json.loads(connection.getresponse().read()) == {"data": [1, 2], "total": 7, "success": 1}


def test_nobody_waits_for_another_request(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(contextlib.closing(server.connect())) for _ in range(5)]
        for connection in slow:
            connection.request("GET", "/api2/json/wait?file=tmp/go-on", headers=ROOT)
        assert server.data("GET", "/version")["release"] == "9.2"
        server.touch("tmp/go-on")
        assert {connection.getresponse().status for connection in slow} == {200}


def test_a_task_outlives_the_request_and_its_connection(server: Server) -> None:
    with contextlib.closing(server.connect()) as connection:
        connection.request("POST", "/api2/json/task", "file=tmp/end", ROOT)
        upid = json.loads(connection.getresponse().read())["data"]
    server.touch("tmp/end")
    log = server.system.path(f"var/log/pve/tasks/{upid.split(':')[4][-1]}/{upid}")
    deadline = time.monotonic() + 20
    while not log.exists() or "TASK OK" not in log.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_port_is_free_again_while_a_client_stays(tmp_path: Path) -> None:
    first = Server(tmp_path)
    with contextlib.closing(first.connect()) as connection:
        assert first.ask("GET", "/version", connection=connection)[0].status == 200
        first.stop()
        second = Server(tmp_path, port=first.port)
        try:
            assert first.ask("GET", "/version", connection=connection)[0].status == 200
            assert second.data("GET", "/version")["release"] == "9.2"
        finally:
            second.stop()


def test_every_request_is_logged(server: Server) -> None:
    server.data("GET", "/echo/logged", ROOT)
    server.ask("GET", "/echo/refused", {})
    file = server.system.path("var/log/phoenix-lab/calls.jsonl")
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    by_path = {line["argv"][1]: line for line in lines if line["command"] == "api"}
    assert by_path["/echo/logged"]["argv"] == ["GET", "/echo/logged"]
    assert (by_path["/echo/logged"]["rc"], by_path["/echo/logged"]["user"]) == (200, "root@pam!full")
    assert (by_path["/echo/refused"]["rc"], by_path["/echo/refused"]["user"]) == (401, None)


def test_garbage_does_not_stop_it(server: Server) -> None:
    with contextlib.closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as connection:
        connection.sendall(b"\x16\x03\x01 no HTTP at all\r\n\r\n")
        connection.recv(1000)
    assert server.data("GET", "/version")["release"] == "9.2"


def test_tls(tmp_path: Path) -> None:
    certificate = tmp_path / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=pve1"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"]
    subprocess.run([*command.split(), *map(str, files)], check=True, capture_output=True)
    certificate.write_text((tmp_path / "cert.pem").read_text() + (tmp_path / "key.pem").read_text())
    server = Server(tmp_path / "node", str(certificate))
    try:
        context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        with contextlib.closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                stranger.recv(1000)
        for headers, status in ((ROOT, 200), ({}, 401)):
            connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=20, context=context)
            with contextlib.closing(connection):
                connection.request("GET", "/api2/json/version", headers=headers)
                response = connection.getresponse()
                # Without its length the body ends with the connection, which TLS has to say.
                response.read()
                assert response.status == status
    finally:
        server.stop()
