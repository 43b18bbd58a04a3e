# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::RPCEnvironment: who calls, through what, on which machine.

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from .system import System


class Environment(Protocol):
    """Implemented by rest_environment.py, for the command line and for the API."""

    type: str  # 'cli' (workers run in the foreground), 'priv' (pvedaemon) or 'pub' (pveproxy)
    user: str  # root@pam, or user@realm!token
    system: System

    def fork_worker(self, dtype: str, identifier: str | None, function: Callable[[str], None]) -> str:
        """Run function(upid) as a task; returns the UPID. On the command line it runs in the foreground, and a failure
        there ends in the exit status (upid_exit)."""
        ...

    def warn(self, message: str) -> None:
        """PVE::RESTEnvironment::log_warn: "WARN: …" in the task's log (stdout on the command line), counted."""
        ...

    def print(self, text: str) -> None:
        """What the running task says (its log; stdout on the command line)."""
        ...

    def check(self, path: str, privileges: list[str], *, any_of: bool = False, noerr: bool = False) -> bool: ...
