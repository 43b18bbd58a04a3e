# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.pve import task_list, upid
from lab.pve.api2.tasks import METHODS
from lab.pve.api_call import Router, call, merge
from lab.pve.exceptions import ParameterError, PermissionDenied, PVEError
from lab.pve.rest_environment import RestEnvironment
from lab.pve.simulated import SimulatedSystem

ROUTER = Router(METHODS)
UNKNOWN = "UPID:pve1:00000001:00000001:6B001501:vzstart:100:root@pam:"
USERS = """\
user:bob@pve:1:0::::::
token:bob@pve!tk:0:0::
user:sees@pve:1:0::::::
user:rules@pve:1:0::::::
acl:1:/nodes:sees@pve:PVEAuditor:
acl:1:/nodes:rules@pve:Administrator:
"""


@pytest.fixture
def system(tmp_path: Path) -> SimulatedSystem:
    system = SimulatedSystem(tmp_path, sleep=lambda _seconds: None)
    system.prepare("")
    (tmp_path / "etc/pve/user.cfg").write_text(USERS, encoding="utf-8")
    return system


def ask(system: SimulatedSystem, verb: str, path: str, user: str = "root@pam", **sent: str) -> tuple[Any, Any]:
    """The data, and what stands beside it."""
    method, parameters = ROUTER.find(verb, f"/nodes/pve1/tasks{path}")
    env = RestEnvironment(system, "priv", user)
    return call(env, method, merge(parameters, sent)), env.result_attribs


def run(system: SimulatedSystem, dtype: str, vmid: str, user: str = "root@pam!full", problem: str = "") -> str:
    def work(_upid: str) -> None:
        print("first line")
        if problem:
            raise PVEError(problem)

    return RestEnvironment(system, "cli", user).fork_worker(dtype, vmid, work)


def test_how_a_task_ended_and_what_it_said(system: SimulatedSystem) -> None:
    name = run(system, "vzsnapshot", "100", problem="CT is locked (disk)")
    task = upid.decode(name)
    # api-transcripts 6
    assert ask(system, "GET", f"/{name}/status")[0] == {
        "upid": name,
        "node": "pve1",
        "pid": task.pid,
        "pstart": task.pstart,
        "starttime": task.starttime,
        "type": "vzsnapshot",
        "id": "100",
        "user": "root@pam",
        "tokenid": "full",
        "status": "running",
    }
    assert ask(system, "GET", f"/{name}/log")[0][0] == {"n": 1, "t": "first line"}
    lines, beside = ask(system, "GET", f"/{name}/log", start="1", limit="1")
    assert len(lines) == 1
    assert beside["total"] >= 2
    assert len(ask(system, "GET", f"/{name}/log", limit="0")[0]) == beside["total"]


def test_a_worker_of_another_process_has_ended(system: SimulatedSystem) -> None:
    name = UNKNOWN.replace("00000001:00000001", "7FFFFFFF:00000001")
    file = upid.log_file(system, name)
    file.parent.mkdir(parents=True)
    file.write_text("WARN: x\nTASK WARNINGS: 1\n", encoding="utf-8")
    status, _ = ask(system, "GET", f"/{name}/status")
    assert (status["status"], status["exitstatus"]) == ("stopped", "WARNINGS: 1")
    assert "tokenid" not in status


def test_tasks_that_are_none(system: SimulatedSystem) -> None:
    # api-transcripts 6
    with pytest.raises(ParameterError) as error:
        ask(system, "GET", f"/{UNKNOWN}/status")
    assert error.value.errors == {"upid": "no such task"}
    with pytest.raises(ParameterError) as error:
        ask(system, "GET", "/garbage/status")
    assert error.value.errors == {"upid": "unable to parse worker upid"}
    lines, beside = ask(system, "GET", f"/{UNKNOWN}/log")
    assert (lines, beside) == ([{"n": 1, "t": "unable to open file - No such file or directory"}], {"total": 1})


def test_the_list(system: SimulatedSystem) -> None:
    first = run(system, "vzstart", "100")
    second = run(system, "vzstop", "101", "bob@pve!tk", problem="no")
    rows, beside = ask(system, "GET", "")
    assert {row["upid"] for row in rows} == {first, second}
    assert beside == {"total": 2}
    by_name = {row["upid"]: row for row in rows}
    assert (by_name[first]["status"], by_name[second]["status"]) == ("OK", "no")
    for sent, found in (
        ({"vmid": "101"}, second),
        ({"errors": "1"}, second),
        ({"typefilter": "vzstart"}, first),
        ({"userfilter": "bob"}, second),
    ):
        assert [row["upid"] for row in ask(system, "GET", "", **sent)[0]] == [found], sent
    assert ask(system, "GET", "", since="4000000000") == ([], {})
    assert ask(system, "GET", "", until="1") == ([], {})
    assert len(ask(system, "GET", "", limit="1")[0]) == 1
    assert [row["upid"] for row in ask(system, "GET", "", "bob@pve")[0]] == [second]
    assert len(ask(system, "GET", "", "sees@pve")[0]) == 2


def test_others_need_a_right(system: SimulatedSystem) -> None:
    name = run(system, "vzstart", "100")
    own = run(system, "vzstart", "100", "bob@pve!tk")
    for what in ("status", "log"):
        with pytest.raises(PermissionDenied) as error:
            ask(system, "GET", f"/{name}/{what}", "bob@pve!tk")
        assert error.value.message == "Permission check failed (/nodes/pve1, Sys.Audit)"
        ask(system, "GET", f"/{own}/{what}", "bob@pve!tk")
        ask(system, "GET", f"/{name}/{what}", "sees@pve")
    with pytest.raises(PermissionDenied, match=r"Sys\.Modify"):
        ask(system, "DELETE", f"/{name}", "sees@pve")


@pytest.mark.parametrize("listens", [True, False], ids=["ends", "has to be killed"])
def test_a_task_is_stopped(system: SimulatedSystem, listens: bool) -> None:
    ignore = "" if listens else "signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    code = f"import signal, sys, time; {ignore}print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        name = str(upid.Task("pve1", worker.pid, upid.process_start(worker.pid) or 0, 1, "vzclone", "100", "root@pam"))
        task_list.update(system, started=name)
        (row,) = ask(system, "GET", "", source="active")[0]
        assert (row["upid"], row["status"], row["user"], row["saved"]) == (name, "RUNNING", "root@pam", "0")
        assert ask(system, "DELETE", f"/{name}", "rules@pve")[0] is None
        assert worker.wait(20) == -(signal.SIGTERM if listens else signal.SIGKILL)
    assert ask(system, "GET", "", source="active")[0] == []
    assert upid.process_start(os.getpid())
