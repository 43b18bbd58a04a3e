# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# Whether a container that was just started can be worked in: asked inside of it.

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._package_hosts import LOOKUP_SECONDS, package_hosts
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Clock, Completed, Deadline, Runner
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import run as run_command
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree

LOCKS = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
)
_BOOTED = ("running", "degraded")
_PAUSE = 0.2

Holder = Callable[[Path], int]


def lock_holder(path: Path) -> int:
    """The process that holds a lock of apt or dpkg; 0 if none does. Nothing is locked by asking."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return 0
    try:
        asked = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _whence, _start, _length, pid = struct.unpack("hhqqi", fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    finally:
        os.close(descriptor)
    return int(pid) if kind != fcntl.F_UNLCK else 0


class GuestReady:
    """Waits until the system has booted, names resolve, and nobody else installs packages."""

    def __init__(
        self,
        *,
        timeout: float,
        hosts: tuple[str, ...] = (),
        root: Path = Path("/"),
        runner: Runner = run_command,
        clock: Clock | None = None,
        holder: Holder = lock_holder,
    ) -> None:
        self.root, self.runner, self.holder = root, runner, holder
        self.timeout = timeout
        self.hosts = hosts
        self.deadline: Deadline = (clock or Clock()).deadline(timeout)

    def run(self) -> str:
        """systemd's word for the state of the system."""
        state = self._wait(self._boot)
        self._wait(self._names)
        self._wait(self._locks)
        return state

    def _wait(self, probe: Callable[[], tuple[str, PhoenixError | None]]) -> str:
        while True:
            answer, problem = probe()
            if problem is None:
                return answer
            if not self.deadline.pause(_PAUSE):
                raise problem

    def _ask(self, *argv: str, timeout: float = 10) -> Completed:
        """A question that is not answered in time has no answer yet."""
        try:
            return self.runner(argv, timeout=max(min(timeout, self.deadline.left), 1))
        except PhoenixError:
            return Completed(argv, 124)

    def _boot(self) -> tuple[str, PhoenixError | None]:
        state = self._ask("systemctl", "is-system-running").stdout.strip()
        if state in _BOOTED:
            return state, None
        jobs = self._ask("systemctl", "list-jobs", "--no-legend").stdout
        waiting = ", ".join(line.split()[1] for line in jobs.splitlines() if len(line.split()) > 1)
        return state, PhoenixError(
            f"the container has not booted within {self.timeout:g} s: systemd says {state or 'nothing'!r}"
            + (f", and these jobs wait: {waiting}" if waiting else ""),
            remedy="See `systemctl list-jobs` and `journalctl -b` in the container.",
            code=Code.POWER,
        )

    def _names(self) -> tuple[str, PhoenixError | None]:
        for host in self.hosts or package_hosts(Tree(self.root)):
            if not self._ask("getent", "ahosts", host, timeout=LOOKUP_SECONDS).ok:
                return host, PhoenixError(
                    f"{host} does not resolve in the container within {self.timeout:g} s",
                    remedy="See its nameservers (`pct config`, /etc/resolv.conf) and whether they answer.",
                )
        return "", None

    def _locks(self) -> tuple[str, PhoenixError | None]:
        for path in LOCKS:
            pid = self.holder(self.root / path.lstrip("/"))
            if pid:
                return path, PhoenixError(
                    f"{path} is still locked after {self.timeout:g} s, by {self._name(pid)} (process {pid})",
                    remedy="Let it finish, or stop it. The lock files themselves must stay.",
                )
        return "", None

    def _name(self, pid: int) -> str:
        try:
            return (self.root / f"proc/{pid}/comm").read_text().strip()
        except OSError:
            return "another program"
