# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab itself: its stand-ins against what was recorded, then a real lab in use."""

from __future__ import annotations

import os
import subprocess
import sys

from .report import HarnessError
from .suite import run_pytest
from .workbench import Workbench


def run(bench: Workbench, arguments: list[str]) -> None:
    if arguments:
        run_pytest(bench, "lab", arguments, prefix=as_root(bench))
        return
    run_pytest(bench, "contract", ["tests/lab/contract"], spread=True)
    run_pytest(bench, "smoke", ["tests/lab/smoke"], prefix=as_root(bench))


def run_roles(bench: Workbench, arguments: list[str]) -> None:
    """The roles, in containers of a lab."""
    # Installing packages may take longer than any other test does.
    patient = ["-o", "faulthandler_timeout=1200"]
    run_pytest(bench, "roles", [*patient, *(arguments or ["tests/integration"])], prefix=as_root(bench))


def as_root(bench: Workbench) -> list[str]:
    """What to put before a command that works with a lab."""
    prefix = root_prefix("sudo scripts/test lab, or name the other parts")
    settings = {**bench.environment, "PYTHONPATH": f"{bench.root}:{bench.collections}:{bench.tree / 'tests'}"}
    return prefix and [*prefix, "env", *(f"{name}={value}" for name, value in settings.items())]


def root_prefix(instead: str, *, is_root: bool | None = None) -> list[str]:
    """What makes root of whoever this is; a password is asked for where somebody can type it."""
    if os.geteuid() == 0 if is_root is None else is_root:
        return []
    silent = ["sudo", "--non-interactive"]
    try:
        allowed = not subprocess.run([*silent, "true"], stderr=subprocess.DEVNULL, check=False).returncode
        if not allowed and sys.stdin.isatty():
            allowed = not subprocess.run(["sudo", "--validate"], check=False).returncode
    except OSError:
        allowed = False
    if not allowed:
        raise HarnessError(f"a lab needs root: {instead}")
    return silent
