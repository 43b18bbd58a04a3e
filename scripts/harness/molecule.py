# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scenarios in the folder molecule, side by side on two labs, and each scenario a check."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
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

# What takes longest begins first, so that no lab is idle at the end.
LONGEST = ("hierarchy", "vllm", "docker", "unprivileged", "applications")

# Those that a run of everything plays, as long as the longest. The others look closer at what hierarchy builds, too.
EVERY_TIME = ("hierarchy", "unprivileged", "gpu_passthrough", "runfile", "api", "snapshot", "container")


@dataclasses.dataclass(frozen=True)
class Lane:
    """Scenarios one after the other, on a lab of their own."""

    lab: str
    network: str

    def play(self, bench: Workbench, scenarios: deque[str]) -> None:
        environment = {
            # Everything else of the environment is kept from the tools.
            **{name: value for name, value in os.environ.items() if name.startswith(VARIABLES)},
            "MOLECULE_EPHEMERAL_DIRECTORY": str(bench.output / self.lab),
            "PHOENIX_MOLECULE_LAB": self.lab,
            "PHOENIX_MOLECULE_NETWORK": self.network,
        }
        if not bench.check(f"lab {self.lab}", _molecule(bench, "create", LAB), env=environment):
            return
        try:
            for name in _taken(scenarios):
                bench.check(
                    name,
                    [*_molecule(bench, "test", name), "--destroy=never"],
                    env=environment,
                    complaint=functools.partial(not_played, name),
                )
        finally:
            bench.check(f"end of lab {self.lab}", _molecule(bench, "destroy", LAB), env=environment)


LANES = (Lane("molecule", "10.99.66"), Lane("molecule2", "10.99.67"))


def run(bench: Workbench, arguments: list[str]) -> None:
    scenarios = deque(chosen(bench.tree / "molecule", arguments))
    # Only the lab needs root, and its playbook takes care of that.
    as_root(bench)
    lanes = LANES[: len(scenarios)]
    with ThreadPoolExecutor(len(lanes)) as pool:
        try:
            for played in [pool.submit(lane.play, bench, scenarios) for lane in lanes]:
                played.result()
        finally:
            scenarios.clear()


def chosen(folder: Path, names: list[str], environment: Mapping[str, str] | None = None) -> list[str]:
    """The scenarios that are named, or all that can be played."""
    there = sorted(path.parent.name for path in folder.glob("*/molecule.yml") if path.parent.name != LAB)
    if unknown := [name for name in names if name not in there]:
        raise HarnessError(f"no such scenario: {', '.join(unknown)}. There are: {', '.join(there)}")
    if (os.environ if environment is None else environment).get(NODE):
        return names or there
    if REAL in names:
        raise HarnessError(f"{REAL} is for a real node: set {NODE}, and what else molecule/README.md lists for it")
    if not names and REAL in there:
        say(f"{REAL} is skipped: it is for a real node, and {NODE} is not set")
    return names or sorted((name for name in there if name != REAL), key=_by_length)


def _taken(scenarios: deque[str]) -> Iterator[str]:
    while True:
        try:
            # Asking first whether there is one would be a race.
            yield scenarios.popleft()
        except IndexError:
            return


def _by_length(name: str) -> int:
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


def not_played(name: str, output: str) -> str:
    missing = [step for step in STEPS if f"{name} > {step}: Executed: Successful" not in output]
    return f"molecule does not report as played: {', '.join(missing)}" if missing else ""


def _molecule(bench: Workbench, command: str, scenario: str) -> list[str]:
    # The base configuration is found by itself only in a clone.
    base = bench.tree / ".config/molecule/config.yml"
    return [bench.tool("molecule"), "--base-config", str(base), command, "--scenario-name", scenario]
