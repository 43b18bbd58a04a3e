# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::API2::Tasks: what runs and what ran, how it ended, what it said.

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

from .. import task_list, upid
from ..environment import Environment
from ..exceptions import ParameterError, PVEError
from ..json_schema import get_standard_option, parse_boolean
from ..rest_handler import Method, Parameters
from ..system import System
from ..task_list import Entry

_LIMIT = 50
# How long DELETE waits for a worker to end before it kills it.
_PATIENCE = 10.0
_POLL = 0.1


def _list(env: Environment, parameters: Parameters) -> list[dict[str, Any]]:
    """The newest first; only one's own without Sys.Audit on the node."""
    sees_all = env.check(f"/nodes/{env.system.node}", ["Sys.Audit"], noerr=True)
    source = parameters.get("source", "archive")
    rows = []
    for entry in _entries(env.system, source):
        own = _owner(entry.task.user) == _owner(env.user)
        if (sees_all or own) and _is_wanted(entry, parameters):
            rows.append(_row(entry))
    start, limit = int(parameters.get("start", 0)), int(parameters.get("limit", _LIMIT))
    if rows:
        _set_total(env, len(rows))
    return rows[start : start + limit]


def _entries(system: System, source: str) -> Iterator[Entry]:
    active = task_list.update(system)
    if source != "archive":
        yield from (entry for entry in active if entry.endtime is None)
    if source != "active":
        file = system.path(f"{upid.TASKS}/index")
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
        for line in reversed(lines):
            name, end, status = line.split(" ", 2)
            yield Entry(name, saved=True, endtime=int(end, 16), status=status)


def _is_wanted(entry: Entry, parameters: Parameters) -> bool:
    task = entry.task
    return (
        ("vmid" not in parameters or task.id == str(parameters["vmid"]))
        and ("typefilter" not in parameters or task.type == parameters["typefilter"])
        and str(parameters.get("userfilter", "")) in task.user
        and task.starttime >= int(parameters.get("since", 0))
        and ("until" not in parameters or task.starttime <= int(parameters["until"]))
        and not (parse_boolean(parameters.get("errors", 0)) and not upid.is_error(entry.status or "OK"))
    )


def _row(entry: Entry) -> dict[str, Any]:
    row = _describe(entry.upid)
    if entry.endtime is None:
        row.pop("tokenid", None)
        return {**row, "user": entry.task.user, "status": "RUNNING", "saved": "0"}
    return {**row, "endtime": entry.endtime, "status": entry.status}


def _describe(name: str) -> dict[str, Any]:
    task = upid.decode(name)
    user, _, token = task.user.partition("!")
    row: dict[str, Any] = {
        "upid": name,
        "node": task.node,
        "pid": task.pid,
        "pstart": task.pstart,
        "starttime": task.starttime,
        "type": task.type,
        "id": task.id,
        "user": user,
    }
    return {**row, "tokenid": token} if token else row


def _status(env: Environment, parameters: Parameters) -> dict[str, Any]:
    name, task = _decode(parameters)
    _check_reader(env, task)
    if not upid.log_file(env.system, name).exists():
        raise ParameterError({"upid": "no such task"})
    if upid.is_running(task):
        return {**_describe(name), "status": "running"}
    return {**_describe(name), "status": "stopped", "exitstatus": upid.read_status(env.system, name)}


def _log(env: Environment, parameters: Parameters) -> list[dict[str, Any]]:
    name, task = _decode(parameters)
    _check_reader(env, task)
    try:
        text = upid.log_file(env.system, name).read_text(encoding="utf-8", errors="replace")
        lines = text.splitlines()
    except OSError as error:
        lines = [f"unable to open file - {error.strerror}"]
    _set_total(env, len(lines))
    start, limit = int(parameters.get("start", 0)), int(parameters.get("limit", _LIMIT))
    numbered = [{"n": number, "t": line} for number, line in enumerate(lines, start=1)]
    return numbered[start : start + limit if limit else None]


def _stop(env: Environment, parameters: Parameters) -> None:
    """Interrupt the worker, and wait for its end; one that does not listen is killed."""
    _, task = _decode(parameters)
    if _owner(task.user) != _owner(env.user):
        env.check(f"/nodes/{env.system.node}", ["Sys.Modify"])
    waited = 0.0
    for number in (signal.SIGTERM, signal.SIGKILL):
        if upid.is_running(task):
            # A worker leads a group of its own, with the programs that it runs; a task of the command line does not.
            for send in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError):
                    send(task.pid, number)
        while upid.is_running(task) and waited < _PATIENCE:
            env.system.sleep(_POLL)
            waited += _POLL
    task_list.update(env.system)


def _decode(parameters: Parameters) -> tuple[str, upid.Task]:
    name = str(parameters["upid"])
    try:
        return name, upid.decode(name)
    except PVEError:
        raise ParameterError({"upid": "unable to parse worker upid"}) from None


def _check_reader(env: Environment, task: upid.Task) -> None:
    if _owner(task.user) != _owner(env.user):
        env.check(f"/nodes/{env.system.node}", ["Sys.Audit"])


def _owner(user: str) -> str:
    return user.partition("!")[0]


def _set_total(env: Environment, total: int) -> None:
    getattr(env, "result_attribs", {})["total"] = total


_ANYBODY = ("user", "all")
_NODE = {"node": get_standard_option("pve-node")}
_TASK = {**_NODE, "upid": {"type": "string"}}
_NUMBER = {"type": "integer", "optional": 1, "minimum": 0}
_TEXT = {"type": "string", "optional": 1}
_PATH = "/nodes/{node}/tasks"

METHODS = (
    Method(
        name="node_tasks",
        method="GET",
        path=_PATH,
        parameters={
            **_NODE,
            "start": _NUMBER,
            "limit": _NUMBER,
            "since": _NUMBER,
            "until": _NUMBER,
            "userfilter": _TEXT,
            "typefilter": _TEXT,
            "vmid": get_standard_option("pve-vmid", optional=1),
            "errors": {"type": "boolean", "optional": 1},
            "source": {"type": "string", "optional": 1, "enum": ["archive", "active", "all"]},
        },
        code=_list,
        permissions=_ANYBODY,
    ),
    Method(
        name="read_task_status",
        method="GET",
        path=f"{_PATH}/{{upid}}/status",
        parameters=_TASK,
        code=_status,
        permissions=_ANYBODY,
        protected=True,
    ),
    Method(
        name="read_task_log",
        method="GET",
        path=f"{_PATH}/{{upid}}/log",
        parameters={**_TASK, "start": _NUMBER, "limit": _NUMBER},
        code=_log,
        permissions=_ANYBODY,
        protected=True,
    ),
    Method(
        name="stop_task",
        method="DELETE",
        path=f"{_PATH}/{{upid}}",
        parameters=_TASK,
        code=_stop,
        permissions=_ANYBODY,
        protected=True,
    ),
)
