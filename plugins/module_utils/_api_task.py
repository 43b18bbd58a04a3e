# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# The tasks of Proxmox VE: what it starts for a request and finishes on its own.

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Mapping

from ansible_collections.phoenix.hypervisor.plugins.module_utils._api_client import ApiError, Connection, explain
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Clock, Deadline

FIRST_POLL = 0.2
SLOWEST_POLL = 2.0
LOCK_POLL = 1.0
SHOWN_LOG_LINES = 20
_LOG_PAGE = 500

_LOCKED = re.compile(r"CT is locked \((.+)\)")
_LOCK_FILE_BUSY = re.compile(r"can't lock file '.+' - got timeout")
_UPID = re.compile(
    r"UPID:(?P<node>[A-Za-z0-9-]+):(?P<pid>[0-9A-Fa-f]{8}):(?P<pstart>[0-9A-Fa-f]{8,}):(?P<starttime>[0-9A-Fa-f]{8}):"
    r"(?P<type>[^:\s]+):(?P<id>[^:\s]*):(?P<user>[^:\s]+):"
)


@dataclasses.dataclass(frozen=True)
class Upid:
    """The name of a task: C(UPID:node:pid:pstart:starttime:type:id:user:)."""

    text: str
    node: str
    pid: int
    pstart: int
    starttime: int
    type: str
    id: str
    """The container; for a clone its source."""
    user: str
    """With the token's name behind a C(!)."""

    @classmethod
    def parse(cls, text: str) -> Upid:
        found = _UPID.fullmatch(text)
        if found is None:
            raise PhoenixError(
                f"PVE answered {text!r} where the name of a task was expected",
                remedy="Look at the node's task list for what became of the request.",
            )
        return cls(
            text,
            found["node"],
            int(found["pid"], 16),
            int(found["pstart"], 16),
            int(found["starttime"], 16),
            found["type"],
            found["id"],
            found["user"],
        )


class TaskError(PhoenixError):
    """A task that PVE accepted and that then failed."""

    def __init__(self, text: str, upid: Upid, log: list[str], code: Code) -> None:
        code, remedy = explain(text, code)
        super().__init__(text, remedy=remedy, code=code, task=upid.text, task_log=log[-SHOWN_LOG_LINES:])
        # A worker that got no lock says nothing but that; one that had begun says more.
        self.did_nothing = bool(log) and all(line.startswith(("TASK ERROR:", "trying to acquire lock")) for line in log)


@dataclasses.dataclass(frozen=True)
class Tasks:
    """Acts on the containers of one node: sends what starts a task, waits for it and reads what it said."""

    connection: Connection
    node_name: str
    clock: Clock

    def wait(self, upid: Upid, deadline: Deadline, *, timeout: float, code: Code) -> list[str]:
        """Return the warnings once the task has ended well."""
        interval = FIRST_POLL
        while True:
            status = self._status(upid, deadline)
            if status.get("status") == "stopped":
                return self._outcome(upid, str(status.get("exitstatus") or "unexpected status"), code)
            if not deadline.pause(interval):
                raise PhoenixError(
                    f"{upid.type} of {upid.id} was not done after {timeout:g} s; the task goes on",
                    remedy=f"Watch it (pvesh get /nodes/{upid.node}/tasks/{upid.text}/status) until it has ended "
                    "before running again, or raise the timeout.",
                    code=code,
                    task=upid.text,
                )
            interval = min(interval * 1.5, SLOWEST_POLL)

    def _status(self, upid: Upid, deadline: Deadline) -> dict[str, t.Any]:
        """The state of the task; a proxy that restarts meanwhile is waited for, the task does not need it."""
        while True:
            try:
                status: dict[str, t.Any] = self.connection.call(
                    "get", ("nodes", upid.node, "tasks", upid.text, "status")
                )
            except ApiError as error:
                if error.unreachable and deadline.pause(SLOWEST_POLL):
                    continue
                lost = ApiError(
                    f"{upid.type} of {upid.id} was started, but its end could not be seen: {error.reason}",
                    remedy=f"{error.remedy} The task goes on meanwhile: look at it before running again.",
                    code=error.code,
                    status=error.status,
                    outcome_unknown=True,
                    **{**error.details, "task": upid.text},
                )
                raise lost from None
            return status

    def _outcome(self, upid: Upid, text: str, code: Code) -> list[str]:
        if text == "OK":
            return []
        try:
            log = self.log(upid)
        except ApiError:
            # What the task said last matters more than that its log cannot be read.
            log = []
        if not text.startswith("WARNINGS:"):
            raise TaskError(text, upid, log, code)
        warnings = [line.removeprefix("WARN:").strip() for line in log if line.startswith("WARN:")]
        return warnings or [f"{upid.type} of {upid.id} ended with {text}"]

    def log(self, upid: Upid) -> list[str]:
        lines: list[str] = []
        while True:
            page = self.connection.call(
                "get",
                ("nodes", upid.node, "tasks", upid.text, "log"),
                {"start": len(lines), "limit": _LOG_PAGE},
            )
            lines += [str(line.get("t", "")) for line in page]
            if len(page) < _LOG_PAGE:
                return lines

    def active(self) -> list[Upid]:
        """What runs on the node now, as far as the token may see it: its own, with Sys.Audit those of others."""
        rows = self.connection.call("get", ("nodes", self.node_name, "tasks"), {"source": "active"})
        return [Upid.parse(row["upid"]) for row in rows]

    def act(
        self,
        locked_ctid: int,
        method: t.Literal["post", "put", "delete"],
        path: tuple[str | int, ...],
        params: Mapping[str, t.Any] | None = None,
        *,
        timeout: float,
        code: Code = Code.GENERAL,
        patience: float = 0.0,
        repeat_task: bool = True,
    ) -> list[str]:
        """Ask for something and see it through; return the warnings.

        What PVE refused because of a lock, before it did anything, is asked for again until the time is over. A task
        that PVE accepts then has its own time.
        """
        waiting = self.clock.deadline(timeout)
        while True:
            try:
                answer = self.connection.call(method, ("nodes", self.node_name, "lxc", *path), params, code=code)
                if answer is None:
                    return []
                longest = timeout + patience
                return self.wait(Upid.parse(str(answer)), self.clock.deadline(longest), timeout=longest, code=code)
            except (ApiError, TaskError) as error:
                lock = _lock_in_the_way(error)
                if lock is None or (isinstance(error, TaskError) and not (repeat_task and error.did_nothing)):
                    raise
            self._wait_until_free(locked_ctid, lock, waiting, timeout=timeout, code=code)

    def wait_unlocked(self, ctid: int, *, timeout: float) -> None:
        if lock := self._lock_of(ctid):
            self._wait_until_free(ctid, lock, self.clock.deadline(timeout), timeout=timeout, code=Code.GENERAL)

    def _wait_until_free(self, ctid: int, lock: str, deadline: Deadline, *, timeout: float, code: Code) -> None:
        """Return when another attempt makes sense. A lock file cannot be seen; PVE itself waits for it."""
        while deadline.pause(LOCK_POLL):
            if not lock or not self._lock_of(ctid):
                return
        holders = [upid for upid in self.active() if upid.id == str(ctid)]
        what = f"is locked ({lock})" if lock else "is locked (by its lock file)"
        if holders:
            who = "; ".join(f"{upid.type} of {upid.user} is at work on it ({upid.text})" for upid in holders)
            remedy = "Wait for that task to end and run again, or raise the timeout."
        else:
            who = "no running task on it can be seen"
            remedy = f"Tasks of others are seen with Sys.Audit on /nodes/{self.node_name} only: look for what holds it."
            if lock:
                remedy += f" If nothing works on it any more, take the lock away on the node: pct unlock {ctid}."
        raise PhoenixError(
            f"ctid: {ctid} {what} and was not freed within {timeout:g} s: {who}",
            remedy=remedy,
            code=code,
            lock=lock,
            holders=[upid.text for upid in holders],
        )

    def _lock_of(self, ctid: int) -> str:
        try:
            config = self.connection.call("get", ("nodes", self.node_name, "lxc", ctid, "config"), {"current": 1})
        except ApiError as error:
            if error.code is Code.NO_CONTAINER:
                # A creation that fails takes away what it made, its lock with it.
                return ""
            raise
        return str(config.get("lock", ""))


def _lock_in_the_way(error: ApiError | TaskError) -> str | None:
    """The lock that PVE names; empty for the lock file; None when the failure is another one."""
    if _LOCK_FILE_BUSY.match(error.reason):
        return ""
    found = _LOCKED.match(error.reason)
    return found.group(1) if found else None
