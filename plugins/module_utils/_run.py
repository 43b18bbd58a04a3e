# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import signal
import subprocess
import time
import typing as t
from collections.abc import Callable, Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_GRACE_SECONDS = 15.0

# Whatever the caller's session exports must not reach pct (it hands its environment into the container) nor change
# the language of the messages that are recognised here.
CLEAN_ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}


@dataclasses.dataclass(frozen=True)
class Completed:
    """What a command left behind."""

    argv: tuple[str, ...]
    rc: int
    stdout: str = ""
    stderr: str = ""

    @property
    def ok(self) -> bool:
        return self.rc == 0

    @property
    def command(self) -> str:
        return shlex.join(self.argv)

    @property
    def last_line(self) -> str:
        """What it said last, or how it ended if it said nothing."""
        lines = (self.stderr.strip() or self.stdout.strip()).splitlines()
        return lines[-1].strip() if lines else f"exit code {self.rc}"


class Runner(t.Protocol):
    """Runs one argv to its end. Tests hand in their own."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: t.IO[bytes] | None = None,
        timeout: float | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Completed: ...


class Process(subprocess.Popen[bytes]):
    """A command that is ended together with its children."""

    def end(self, grace: float = _GRACE_SECONDS) -> tuple[bytes, bytes]:
        """pct hands a TERM on to its worker, which then cleans up; a KILL alone would leave that running."""
        so_far: tuple[bytes, bytes] = (b"", b"")
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 1.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            try:
                return self.communicate(timeout=patience)
            except subprocess.TimeoutExpired as error:
                so_far = (error.stdout or b"", error.stderr or b"")
        return so_far


def run(
    argv: Sequence[str],
    *,
    stdin: t.IO[bytes] | None = None,
    timeout: float | None = None,
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Run argv without a shell, in a clean environment; a command that overstays is ended with all its children."""
    command = tuple(argv)
    try:
        process = Process(
            command,
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=CLEAN_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    except OSError as error:
        return Completed(command, 127, stderr=f"{command[0]}: {error.strerror}")
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        stdout, stderr = process.end()
        raise PhoenixError(
            f"{shlex.join(command)} did not end within {timeout:g} s and was stopped",
            remedy="See what it waited for in the output below, or raise the timeout.",
            stdout=_text(stdout),
            stderr=_text(stderr),
        ) from None
    return Completed(command, process.returncode, _text(stdout), _text(stderr))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


@dataclasses.dataclass(frozen=True)
class Clock:
    """Time as the waiting loops see it. Tests hand in one that does not sleep."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def deadline(self, seconds: float) -> Deadline:
        return Deadline(self, self.now() + seconds)


@dataclasses.dataclass(frozen=True)
class Deadline:
    clock: Clock
    at: float

    @property
    def left(self) -> float:
        return self.at - self.clock.now()

    def pause(self, seconds: float) -> bool:
        """Sleep, but never past the deadline; False when there is no time left to sleep."""
        left = self.left
        if left <= 0:
            return False
        self.clock.sleep(min(seconds, left))
        return True
