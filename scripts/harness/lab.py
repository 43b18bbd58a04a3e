# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab itself: its stand-ins against what was recorded, then a real lab in use."""

from __future__ import annotations

import os
import subprocess

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
    if os.geteuid() == 0:
        return []
    sudo = ["sudo", "--non-interactive"]
    try:
        allowed = subprocess.run([*sudo, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        allowed = False
    if not allowed:
        raise HarnessError("a lab needs root: sudo scripts/test lab, or name the other parts")
    settings = {**bench.environment, "PYTHONPATH": f"{bench.root}:{bench.collections}:{bench.tree / 'tests'}"}
    return [*sudo, "env", *(f"{name}={value}" for name, value in settings.items())]
