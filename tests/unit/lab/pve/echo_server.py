# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program: the API server with a few methods of its own, for test_http_server.py. Its port goes to stdout."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from lab.pve.api2.access import METHODS as ACCESS
from lab.pve.api2.version import METHODS as VERSION
from lab.pve.environment import Environment
from lab.pve.exceptions import ParameterError, PVEError
from lab.pve.http_server import ApiServer
from lab.pve.rest_environment import RestEnvironment
from lab.pve.rest_handler import Method, Parameters
from lab.pve.simulated import SimulatedSystem

ANYBODY = ("user", "all")


def total(env: Environment, parameters: Parameters) -> list[int]:
    del parameters
    assert isinstance(env, RestEnvironment)
    env.result_attribs["total"] = 7
    return [1, 2]


def fail(env: Environment, parameters: Parameters) -> None:
    raise PVEError(str(parameters["text"]))


def fail_with_errors(env: Environment, parameters: Parameters) -> None:
    error = PVEError("format error")
    error.errors = {"volume": "property is missing and it is not optional"}
    raise error


def refuse(env: Environment, parameters: Parameters) -> None:
    raise ParameterError({"name": "invalid format - no\n"})


def wait(env: Environment, parameters: Parameters) -> None:
    while not env.system.path(str(parameters["file"])).exists():
        time.sleep(0.02)


def task(env: Environment, parameters: Parameters) -> str:
    return env.fork_worker("vztest", "101", lambda _upid: wait(env, parameters))


def method(verb: str, path: str, code: Any, *names: str, **more: Any) -> Method:
    schema = {name: {"type": "string", "optional": 1} for name in names}
    return Method("m", verb, path, schema, code, **{"permissions": ANYBODY, **more})


METHODS = (
    method("GET", "/echo/{name}", lambda env, sent: {**sent, "user": env.user}, "name", "text", "count"),
    method("POST", "/echo/{name}", lambda env, sent: sent, "name", "text", "count", "list", protected=True),
    method("DELETE", "/echo/{name}", lambda env, sent: sent, "name", "text"),
    method("GET", "/large", lambda env, sent: "x" * 5000),
    method("GET", "/nothing", lambda env, sent: None, protected=True),
    method("GET", "/total", total),
    method("GET", "/fail", fail, "text", protected=True),
    method("GET", "/fail-with-errors", fail_with_errors),
    method("GET", "/refuse", refuse),
    method("GET", "/bug", lambda env, sent: 1 // 0),
    method("GET", "/vms/{vmid}", lambda env, sent: 1, "vmid", permissions=("perm", "/vms/{vmid}", ["VM.Audit"])),
    method("GET", "/wait", wait, "file"),
    method("POST", "/task", task, "file", protected=True),
)

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    port = int(sys.argv[2])
    certificate = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    system = SimulatedSystem(folder)
    with ApiServer(
        system,
        (*METHODS, *ACCESS, *VERSION),
        RestEnvironment,
        address=("127.0.0.1", port),
        certificate=certificate,
        refusal_delay=0.2,
    ) as server:
        print(server.port, flush=True)
        server.serve_forever(poll_interval=0.05)
