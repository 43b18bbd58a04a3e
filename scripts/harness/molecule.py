# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scenarios in the folder molecule: one lab, and each scenario a check."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path

from .lab import as_root
from .report import HarnessError, say
from .workbench import Workbench

# This one is no scenario: it makes the lab of all.
LAB = "default"

# For a real node: its variables begin so, and without the first one there is none.
REAL = "proxmox"
VARIABLES = "PHOENIX_PROXMOX_"
NODE = f"{VARIABLES}HOST"

# Molecule passes over a step whose file it does not find.
STEPS = ("converge", "idempotence", "verify")


def run(bench: Workbench, arguments: list[str]) -> None:
    wanted = chosen(bench.tree / "molecule", arguments)
    # Everything else of the environment is kept from the tools.
    node = {name: value for name, value in os.environ.items() if name.startswith(VARIABLES)}
    # Only the lab needs root, and its playbook takes care of that.
    as_root(bench)
    if not bench.check("lab", _molecule(bench, "create", LAB)):
        return
    try:
        for name in wanted:
            bench.check(
                name,
                [*_molecule(bench, "test", name), "--destroy=never"],
                env=node,
                complaint=functools.partial(not_played, name),
            )
    finally:
        bench.check("lab's end", _molecule(bench, "destroy", LAB))


def chosen(folder: Path, names: list[str], environment: Mapping[str, str] = os.environ) -> list[str]:
    """The scenarios that are named, or all that can be played."""
    there = sorted(path.parent.name for path in folder.glob("*/molecule.yml") if path.parent.name != LAB)
    if unknown := [name for name in names if name not in there]:
        raise HarnessError(f"no such scenario: {', '.join(unknown)}. There are: {', '.join(there)}")
    if environment.get(NODE):
        return names or there
    if REAL in names:
        raise HarnessError(f"{REAL} is for a real node: set {NODE}, and what else molecule/README.md lists for it")
    if not names and REAL in there:
        say(f"{REAL} is skipped: it is for a real node, and {NODE} is not set")
    return names or [name for name in there if name != REAL]


def not_played(name: str, output: str) -> str:
    missing = [step for step in STEPS if f"{name} > {step}: Executed: Successful" not in output]
    return f"molecule does not report as played: {', '.join(missing)}" if missing else ""


def _molecule(bench: Workbench, command: str, scenario: str) -> list[str]:
    # The base configuration is found by itself only in a clone.
    base = bench.tree / ".config/molecule/config.yml"
    return [bench.tool("molecule"), "--base-config", str(base), command, "--scenario-name", scenario]
