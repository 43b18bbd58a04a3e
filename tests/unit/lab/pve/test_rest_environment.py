# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import lab
from lab.pve import task_list, upid
from lab.pve.exceptions import PVEError
from lab.pve.rest_environment import RestEnvironment
from lab.pve.simulated import SimulatedSystem


@pytest.fixture
def system(tmp_path: Path) -> SimulatedSystem:
    system = SimulatedSystem(tmp_path, now=lambda: 1_795_164_487.0)
    system.prepare("")
    return system


def _log(system: SimulatedSystem, name: str) -> str:
    return upid.log_file(system, name).read_text()


def test_upid_round_trip() -> None:
    text = "UPID:pve1:00001CD5:0002C85C:6B000BBC:vzstart:205:root@pam!full:"

    assert str(upid.decode(text)) == text
    assert upid.decode(text).user == "root@pam!full"
    with pytest.raises(PVEError, match="unable to parse worker upid 'garbage'"):
        upid.decode("garbage")


def test_log_lies_in_the_folder_of_the_last_digit_of_the_start(system: SimulatedSystem) -> None:
    name = "UPID:pve1:00001CD5:0002C85C:6B000BBC:vzstart:205:root@pam:"

    assert upid.log_file(system, name).parent.name == "C"


def test_success_on_the_command_line(system: SimulatedSystem, capsys: pytest.CaptureFixture[str]) -> None:
    env = RestEnvironment(system, "cli", "root@pam")
    name = env.fork_worker("vzstart", "100", lambda _upid: env.print("hello"))

    assert capsys.readouterr() == ("hello\n", "")
    assert _log(system, name) == "hello\nTASK OK\n"
    assert upid.read_status(system, name) == "OK"
    assert f"{name} 6B000BC7 OK\n".replace("6B000BC7", f"{1_795_164_487:08X}") == (
        system.path("var/log/pve/tasks/index").read_text()
    )
    assert system.path("var/log/pve/tasks/active").read_text() == f"{name} 1 {1_795_164_487:08X} OK\n"


def test_a_failure_is_the_only_thing_on_stderr(system: SimulatedSystem, capsys: pytest.CaptureFixture[str]) -> None:
    env = RestEnvironment(system, "cli", "root@pam")

    def work(_upid: str) -> None:
        print("what a program says", file=sys.stderr)
        raise PVEError("it broke\nin two lines")

    name = env.fork_worker("vzstart", "100", work)

    assert capsys.readouterr() == ("what a program says\n", "it broke in two lines\n")
    assert _log(system, name) == "what a program says\n\nTASK ERROR: it broke in two lines\n"
    assert upid.read_status(system, name) == "it broke in two lines"


def test_warnings_are_counted(system: SimulatedSystem, capsys: pytest.CaptureFixture[str]) -> None:
    env = RestEnvironment(system, "cli", "root@pam")
    name = env.fork_worker("vzcreate", "100", lambda _upid: env.warn("mind this"))

    assert capsys.readouterr() == ("WARN: mind this\n", "Task finished with 1 warning(s)!\n")
    assert upid.read_status(system, name) == "WARNINGS: 1"
    assert not upid.is_error("WARNINGS: 1")


def test_the_list_keeps_25_tasks_and_the_index_all(system: SimulatedSystem) -> None:
    env = RestEnvironment(system, "cli", "root@pam")
    for number in range(30):
        env.fork_worker("vzstart", str(number), lambda _upid: None)

    assert len(task_list.update(system)) == 25
    assert len(system.path("var/log/pve/tasks/index").read_text().splitlines()) == 30


_BACKGROUND = """
import sys, time
from pathlib import Path
from lab.pve.rest_environment import RestEnvironment
from lab.pve.simulated import SimulatedSystem
from lab.pve import task_list, upid
system = SimulatedSystem(Path(sys.argv[1]))
env = RestEnvironment(system, "priv", "root@pam!full")
def work(_upid):
    env.print("begun")
    time.sleep(0.3)
    raise RuntimeError("unforeseen")
name = env.fork_worker("vzclone", "101", work)
print(upid.is_running(upid.decode(name)), [entry.endtime for entry in task_list.update(system)])
while upid.is_running(upid.decode(name)):
    time.sleep(0.02)
print(upid.log_file(system, name).read_text(), upid.decode(name).user, task_list.update(system)[0].status)
"""


# In a process of its own: pytest has threads, which must not be forked.
def test_a_task_of_the_api_runs_in_the_background(system: SimulatedSystem) -> None:
    command = [sys.executable, "-c", _BACKGROUND, str(system.root)]
    environment = {"PYTHONPATH": str(Path(lab.__file__).parent.parent), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)

    assert done.stdout == (
        "True [None]\nbegun\nTASK ERROR: RuntimeError: unforeseen\n root@pam!full RuntimeError: unforeseen\n"
    )
