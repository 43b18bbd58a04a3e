# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::UPID: the name of a task, and what its log says about how it ended.

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from .exceptions import PVEError
from .system import System

TASKS = "var/log/pve/tasks"
_UPID = re.compile(
    r"UPID:([a-zA-Z0-9](?:[a-zA-Z0-9\-]*[a-zA-Z0-9])?)"
    r":([0-9A-Fa-f]{8}):([0-9A-Fa-f]{8,9}):([0-9A-Fa-f]{8}):([^:\s/]+):([^:\s/]*):([^:\s/]+):"
)


class Task(NamedTuple):
    node: str
    pid: int
    pstart: int
    starttime: int
    type: str
    id: str
    user: str

    def __str__(self) -> str:
        numbers = f"{self.pid:08X}:{self.pstart:08X}:{self.starttime:08X}"
        return f"UPID:{self.node}:{numbers}:{self.type}:{self.id}:{self.user}:"


def decode(upid: str) -> Task:
    found = _UPID.fullmatch(upid)
    if not found:
        raise PVEError(f"unable to parse worker upid '{upid}'")
    node, pid, pstart, starttime, dtype, identifier, user = found.groups()
    return Task(node, int(pid, 16), int(pstart, 16), int(starttime, 16), dtype, identifier, user)


def log_file(system: System, upid: str) -> Path:
    """The log lies in the folder named as the last digit of the start time."""
    found = _UPID.fullmatch(upid)
    if not found:
        raise PVEError(f"unable to parse worker upid '{upid}'")
    return system.path(f"{TASKS}/{found[4][7]}/{upid}")


def read_status(system: System, upid: str) -> str:
    """ "OK", "WARNINGS: n", or the text of the error."""
    try:
        lines = log_file(system, upid).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"unable to get last line from task log - {error.strerror}"
    last = lines[-1] if lines else ""
    if last == "TASK OK":
        return "OK"
    for prefix in ("TASK ERROR: ", "TASK "):
        if last.startswith(prefix) and (prefix != "TASK " or last.startswith("TASK WARNINGS: ")):
            return last.removeprefix(prefix)
    return "unexpected status"


def is_error(status: str) -> bool:
    return status != "OK" and not re.fullmatch(r"WARNINGS: \d+", status)


def process_start(pid: int) -> int | None:
    """When a process started, in ticks since the boot; None when there is none, or only its remains."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def is_running(task: Task) -> bool:
    return process_start(task.pid) == task.pstart
