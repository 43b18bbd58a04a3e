# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What the role does with a server in which nobody made an account in time, against the lab's stand-in of Portainer.

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.tests.unit.playbooks.played import play

TESTS = Path(__file__).parents[2]
PASSWORD = "a-very-secret-word"
# Another start is another server over the same data.
PROGRAM = """
import signal
import ssl
import sys
from pathlib import Path
from lab.registry.services.portainer import Server
from lab.registry.services.web import serve

port, folder = int(sys.argv[1]), Path(sys.argv[2])
servers = [Server(folder)]
signal.signal(signal.SIGUSR1, lambda *_: servers[-1].expire())
signal.signal(signal.SIGUSR2, lambda *_: servers.append(Server(folder)))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
elsewhere = 303, None, {"Location": "/login"}
serve(lambda *request: elsewhere if (folder / "proxy").exists() else servers[-1].answer(*request), {port: context})
"""


class Portainer:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.docker = folder / "bin/docker"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        certificate = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
        certificate += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
        subprocess.run(certificate, check=True, capture_output=True)
        argv = [sys.executable, "-c", PROGRAM, str(self.port), str(folder)]
        self.process = subprocess.Popen(argv, env={"PYTHONPATH": str(TESTS)})
        self.docker.parent.mkdir()
        self.docker.write_text(f'#!/bin/sh\necho "$@" >>{folder}/commands\nkill -USR2 {self.process.pid}\n')
        self.docker.chmod(0o755)
        self._wait(200)

    def _wait(self, status: int) -> None:
        """Until that is what it answers: signals take their time."""
        end = time.monotonic() + 15
        while self._status() != status:
            assert self.process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)

    def _status(self) -> int:
        context = ssl.create_default_context(cafile=str(self.folder / "cert.pem"))
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=5, context=context)
        try:
            connection.request("GET", "/api/system/status")
            return connection.getresponse().status
        except ConnectionRefusedError:
            return 0
        finally:
            connection.close()

    def expire(self) -> None:
        self.process.send_signal(signal.SIGUSR1)
        self._wait(303)

    @property
    def commands(self) -> list[str]:
        file = self.folder / "commands"
        return file.read_text().splitlines() if file.exists() else []

    def play(self, tasks_from: str, **variables: t.Any) -> str:
        variables = {"portainer_server_port": self.port, "portainer_timeout": 2, **variables}
        role = {"name": "phoenix.hypervisor.portainer", "tasks_from": tasks_from}
        path = f"{self.docker.parent}:/usr/local/bin:/usr/bin:/bin"
        (self.folder / "play.yml").write_text(
            json.dumps(
                [
                    {
                        "hosts": "localhost",
                        "gather_facts": False,
                        "environment": {"PATH": path},
                        "vars": {"portainer_role": "server", **variables},
                        "tasks": [{"ansible.builtin.include_role": role}],
                    }
                ]
            )
        )
        done = play(self.folder, self.folder / "play.yml")
        return " ".join(done.stdout.split()) + f" exit {done.returncode}"


@pytest.fixture
def portainer(tmp_path: Path) -> Iterator[Portainer]:
    one = Portainer(tmp_path)
    yield one
    one.process.kill()
    one.process.wait()


def test_a_server_that_has_closed_is_up_and_the_way_out_is_named(portainer: Portainer) -> None:
    portainer.expire()
    closed = portainer.play("verify")
    assert closed.endswith("exit 0")
    assert "Portainer is up, but has closed: nobody made its first account" in closed
    assert "changed=0" in closed


def test_another_redirection_is_a_failure(portainer: Portainer) -> None:
    (portainer.folder / "proxy").touch()
    assert portainer.play("verify").endswith("exit 2")


def test_a_closed_server_is_started_again_once_and_gets_its_account(portainer: Portainer) -> None:
    portainer.expire()
    made = portainer.play("account", portainer_admin_password=PASSWORD)
    assert made.endswith("exit 0")
    assert "changed=2" in made
    assert PASSWORD not in made
    again = portainer.play("account", portainer_admin_password=PASSWORD)
    assert "changed=0" in again
    assert portainer.commands == ["restart portainer"]
    assert "but has closed" not in portainer.play("verify")


def test_a_server_that_is_open_is_not_started_again(portainer: Portainer) -> None:
    assert "changed=1" in portainer.play("account", portainer_admin_password=PASSWORD)
    assert portainer.commands == []
