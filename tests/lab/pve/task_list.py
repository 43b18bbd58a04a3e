# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The list of tasks: /var/log/pve/tasks/active (what runs, and what ended last) and index (everything that ended).

from __future__ import annotations

from . import upid as upids
from .system import System
from .tools import lock_file

_MAX_LISTED = 25
_MAX_INDEX = 50_000


class Entry:
    """A line of the list `active`; a task that runs has no end."""

    def __init__(self, upid: str, saved: bool = False, endtime: int | None = None, status: str | None = None) -> None:
        self.upid = upid
        self.saved = saved
        self.endtime = endtime
        self.status = status

    @property
    def task(self) -> upids.Task:
        return upids.decode(self.upid)


def update(system: System, *, started: str | None = None, ended: str | None = None) -> list[Entry]:
    """Bring the list up to date: `started` is new, `ended` is over although its process lives on (the command line)."""
    with lock_file(system, f"/{upids.TASKS}/.active.lock"):
        entries = _read(system)
        if started is not None and all(entry.upid != started for entry in entries):
            entries.append(Entry(started))
        running = [entry for entry in entries if entry.endtime is None and _runs(entry, started, ended)]
        over = sorted(
            (entry for entry in entries if entry not in running), key=lambda entry: entry.task.starttime, reverse=True
        )
        archive = ""
        for entry in over:
            if entry.endtime is None:
                entry.endtime = int(system.time())
                entry.status = upids.read_status(system, entry.upid)
            if not entry.saved:
                archive += f"{entry.upid} {entry.endtime:08X} {entry.status}\n"
                entry.saved = True
        _archive(system, archive)
        listed = running + over[: max(0, _MAX_LISTED - len(running))]
        _write(system, listed)
    return listed


def _runs(entry: Entry, started: str | None, ended: str | None) -> bool:
    return entry.upid != ended and (entry.upid == started or upids.is_running(entry.task))


def _read(system: System) -> list[Entry]:
    try:
        text = system.path(f"{upids.TASKS}/active").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    entries = []
    for line in text.splitlines():
        upid, saved, *rest = line.split(" ", 3)
        entry = Entry(upid, saved == "1")
        if len(rest) == 2:
            entry.endtime, entry.status = int(rest[0], 16), rest[1]
        entries.append(entry)
    return entries


def _write(system: System, entries: list[Entry]) -> None:
    lines = []
    for entry in entries:
        end = "" if entry.endtime is None else f" {entry.endtime:08X} {entry.status}"
        lines.append(f"{entry.upid} {int(entry.saved)}{end}\n")
    path = system.path(f"{upids.TASKS}/active")
    path.write_text("".join(lines), encoding="utf-8")


def _archive(system: System, text: str) -> None:
    if not text:
        return
    path = system.path(f"{upids.TASKS}/index")
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
    if path.stat().st_size > _MAX_INDEX:
        path.rename(path.with_name("index.1"))
