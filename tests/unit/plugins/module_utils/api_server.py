# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two stand-ins for the Proxmox VE API: one behind real TLS and real HTTP, and one in place of proxmoxer."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import http.server
import ipaddress
import ssl
import threading
import time
import typing as t
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from proxmoxer.core import ResourceException

JSON = "application/json;charset=UTF-8"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the server sends: the status line as recorded, and the body (none: empty and without a type)."""

    status: int = 200
    reason: str = "OK"
    body: str = ""
    content_type: str = JSON
    delay: float = 0.0
    dropped: bool = False


@dataclasses.dataclass(frozen=True)
class Request:
    method: str
    path: str
    form: dict[str, str]
    authorization: str


class ApiServer(http.server.ThreadingHTTPServer):
    """Answers from a table C({"GET /path?query": answers}); what is not in it is 501, as in PVE."""

    daemon_threads = True

    def __init__(self, answers: dict[str, list[Answer]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.requests: list[Request] = []
        self.connections = 0

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def answer(self, method: str, path: str) -> Answer:
        waiting = self.answers.get(f"{method} {path}")
        if not waiting:
            text = f"Method '{method} {path}' not implemented"
            return Answer(501, text, f'{{"message":"{text}","data":null}}')
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        """A client that gave up is no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ApiServer

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        path = self.path.removeprefix("/api2/json")
        form = dict(urllib.parse.parse_qsl(body, keep_blank_values=True))
        self.server.requests.append(Request(self.command, path, form, self.headers.get("Authorization", "")))
        answer = self.server.answer(self.command, path)
        time.sleep(answer.delay)
        if answer.dropped:
            self.close_connection = True
            return
        data = answer.body.encode()
        head = [f"HTTP/1.1 {answer.status} {answer.reason}", f"Content-Length: {len(data)}"]
        if data:
            head.append(f"Content-Type: {answer.content_type}")
        if answer.status >= 400:
            head.append("Connection: close")
            self.close_connection = True
        # PVE puts UTF-8 into the status line, which send_response would refuse.
        self.wfile.write("\r\n".join([*head, "", ""]).encode() + data)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

    def log_message(self, format: str, *args: t.Any) -> None:
        """Quiet."""


@contextmanager
def serving(answers: dict[str, list[Answer]], certificate: Path | None) -> Iterator[ApiServer]:
    """The server in a thread; without a certificate it speaks plain HTTP."""
    server = ApiServer(answers)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def make_certificates(folder: Path) -> tuple[Path, Path]:
    """A certificate authority like the one PVE makes for a cluster, and a node's certificate (with its key) from it."""
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Proxmox Virtual Environment")])
    node_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pve1")])
    ca_key, node_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = _certificate(ca_name, ca_name, ca_key.public_key()).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    ca = ca.add_extension(
        x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        ),
        critical=True,
    )
    ca = ca.add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
    node = _certificate(node_name, ca_name, node_key.public_key()).add_extension(
        x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
    )
    node = node.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    ca_file, node_file = folder / "pve-root-ca.pem", folder / "pve-ssl.pem"
    ca_file.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    key = node_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    node_file.write_bytes(key + node.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return ca_file, node_file


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
    )


def refused(status: int, content: str, errors: t.Any = None) -> ResourceException:
    """What proxmoxer raises for an answer from 400 on."""
    return ResourceException(status, "as http.client calls it", content, errors)


class FakePve:
    """In place of proxmoxer.ProxmoxAPI: answers from a table and remembers what was asked.

    C({"GET nodes/pve1/lxc/101/config?current=1": [answer, ...]}): the last answer stays, an exception is raised.
    """

    def __init__(self, answers: dict[str, list[t.Any]]) -> None:
        self.answers = {key: list(values) for key, values in answers.items()}
        self.asked: list[str] = []
        self.sent: list[dict[str, t.Any]] = []

    def get(self, *path: str, **params: t.Any) -> t.Any:
        query = "&".join(f"{key}={value}" for key, value in params.items())
        return self._answer(f"GET {'/'.join(path)}{'?' if query else ''}{query}")

    def post(self, *path: str, **params: t.Any) -> t.Any:
        return self._write("POST", path, params)

    def put(self, *path: str, **params: t.Any) -> t.Any:
        return self._write("PUT", path, params)

    def delete(self, *path: str, **params: t.Any) -> t.Any:
        return self._write("DELETE", path, params)

    @property
    def writes(self) -> list[str]:
        return [request for request in self.asked if not request.startswith("GET ")]

    def _write(self, method: str, path: tuple[str, ...], params: dict[str, t.Any]) -> t.Any:
        self.sent.append(params)
        return self._answer(f"{method} {'/'.join(path)}")

    def _answer(self, request: str) -> t.Any:
        self.asked.append(request)
        if request not in self.answers:
            raise AssertionError(f"nobody expected {request}")
        waiting = self.answers[request]
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(answer, Exception):
            raise answer
        return copy.deepcopy(answer)
