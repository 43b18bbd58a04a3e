# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::RESTEnvironment: runs tasks. On the command line a task runs in the foreground, its output on stdout and in its
# log; the API's run in a process of their own.

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TextIO, cast

from . import task_list
from . import upid as upids
from .exceptions import PVEError
from .system import System

upid_read_status = upids.read_status
_INTERRUPTS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


class RestEnvironment:
    def __init__(self, system: System, type: str, user: str) -> None:
        self.system = system
        self.type = type
        self.user = user
        self.result_attribs: dict[str, Any] = {}
        self._warnings = 0

    def fork_worker(self, dtype: str, identifier: str | None, function: Callable[[str], None]) -> str:
        if self.type == "cli":
            return self._run_in_foreground(dtype, identifier, function)
        return self._run_in_background(dtype, identifier, function)

    def warn(self, message: str) -> None:
        print(f"WARN: {message.rstrip()}", file=sys.stderr, flush=True)
        self._warnings += 1

    def print(self, text: str) -> None:
        print(text, flush=True)

    def check(self, path: str, privileges: list[str], *, any_of: bool = False, noerr: bool = False) -> bool:
        if self.user == "root@pam":
            return True
        from . import access_control  # noqa: PLC0415 - root's commands do without it

        return access_control.check(self.system, self.user, path, privileges, any_of=any_of, noerr=noerr)

    def _run_in_foreground(self, dtype: str, identifier: str | None, function: Callable[[str], None]) -> str:
        upid = self._name(dtype, identifier)
        path = upids.log_file(self.system, upid)
        path.parent.mkdir(parents=True, exist_ok=True)
        outer = self._warnings
        self._warnings = 0
        with path.open("a", encoding="utf-8") as log:
            task_list.update(self.system, started=upid)
            tee = cast(TextIO, _Tee(sys.stdout, log))
            with contextlib.redirect_stdout(tee), contextlib.redirect_stderr(tee), interruptible():
                error = self._call(function, upid)
            end = self._end(error)
            log.write(end if end == "TASK OK\n" else f"\n{end}")
        sys.stdout.flush()
        if error is not None:
            print(error, file=sys.stderr, flush=True)
        elif self._warnings:
            print(f"Task finished with {self._warnings} warning(s)!", file=sys.stderr, flush=True)
        self._warnings += outer
        task_list.update(self.system, ended=upid)
        return upid

    def _run_in_background(self, dtype: str, identifier: str | None, function: Callable[[str], None]) -> str:
        """Two forks: the worker is nobody's child, so that nothing has to collect it."""
        source, sink = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            os.close(source)
            if os.fork() != 0:
                os._exit(0)
            self._work(dtype, identifier, function, sink)
        os.close(sink)
        os.waitpid(child, 0)
        with os.fdopen(source, "r", encoding="utf-8") as pipe:
            answer = pipe.read()
        if not answer:
            raise PVEError("got no worker upid - start worker failed")
        if answer.startswith("ERROR: "):
            raise PVEError(f"starting worker failed: {answer.removeprefix('ERROR: ')}")
        return answer

    def _work(self, dtype: str, identifier: str | None, function: Callable[[str], None], pipe: int) -> None:
        """The worker's life; it never returns."""
        status = 1
        try:
            os.setsid()
            upid = self._name(dtype, identifier)
            path = upids.log_file(self.system, upid)
            path.parent.mkdir(parents=True, exist_ok=True)
            _redirect(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640))
            self._warnings = 0
            task_list.update(self.system, started=upid)
            os.write(pipe, upid.encode())
            os.close(pipe)
            pipe = -1
            with interruptible():
                error = self._call(function, upid)
            print(self._end(error), end="", flush=True)
            task_list.update(self.system, ended=upid)
            status = 0 if error is None else 255
        except BaseException as error:  # noqa: BLE001 - whoever waits at the pipe must get an answer
            if pipe >= 0:
                os.write(pipe, f"ERROR: {error}".encode())
        finally:
            os._exit(status)

    def _call(self, function: Callable[[str], None], upid: str) -> str | None:
        """What went wrong, on one line."""
        try:
            function(upid)
        except PVEError as error:
            return error.text().rstrip("\n").replace("\n", " ")
        except Exception as error:  # noqa: BLE001 - a task ends with a status whatever happens
            return f"{type(error).__name__}: {error}".replace("\n", " ")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
        return None

    def _end(self, error: str | None) -> str:
        if error is not None:
            return f"TASK ERROR: {error}\n"
        return f"TASK WARNINGS: {self._warnings}\n" if self._warnings else "TASK OK\n"

    def _name(self, dtype: str, identifier: str | None) -> str:
        pid = os.getpid()
        start = upids.process_start(pid) or 0
        now = int(self.system.time())
        return str(upids.Task(self.system.node, pid, start, now, dtype, identifier or "", self.user))


def setup_cli_env(system: System) -> RestEnvironment:
    return RestEnvironment(system, "cli", "root@pam")


class _Tee:
    """A task's stdout and stderr: both on the terminal's stdout and in the log."""

    def __init__(self, terminal: TextIO, log: TextIO) -> None:
        self._targets = (terminal, log)

    def write(self, text: str) -> int:
        for target in self._targets:
            target.write(text)
        return len(text)

    def flush(self) -> None:
        for target in self._targets:
            target.flush()

    def fileno(self) -> int:
        return self._targets[0].fileno()

    def isatty(self) -> bool:
        return False


def _redirect(log: int) -> None:
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(empty)
    os.close(log)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="surrogateescape", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="surrogateescape", buffering=1, closefd=False)


@contextlib.contextmanager
def interruptible(message: str = "received interrupt") -> Iterator[None]:
    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise PVEError(message)

    try:
        before = {number: signal.signal(number, interrupt) for number in _INTERRUPTS}
    except ValueError:
        # Not the main thread: nobody can interrupt it.
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
