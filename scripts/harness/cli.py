# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from . import build, inventory, lab, lint, molecule, sanity, unit
from .report import HarnessError, Report
from .workbench import Workbench

CHECKOUT = Path(__file__).resolve().parents[2]


# A part runs its checks on the workbench; the list holds pytest's arguments, or the names of scenarios.
PARTS: dict[str, Callable[[Workbench, list[str]], None]] = {
    "lint": lint.run,
    "sanity": sanity.run,
    "unit": unit.run,
    "inventory": inventory.run,
    "build": build.run,
    "lab": lab.run,
    "roles": lab.run_roles,
    "molecule": molecule.run,
}

# Too long for every run.
ON_REQUEST = {"roles"}

# What a part gets in a run of everything.
SHORT = {"molecule": list(molecule.EVERY_TIME)}

# Those that can do a part of their work.
SELECTIVE = {"unit", "lab", "roles", "molecule"}

DESCRIPTION = f"""\
Run the tests of this checkout: all parts, or those that are named ({", ".join(PARTS)}).
The part roles runs only when it is named, and molecule plays all of its scenarios only then.
What follows -- goes to pytest: scripts/test unit -- -k gpu
Scenarios are named after their part: scripts/test molecule container snapshot

Everything needed is set up on the first run, below $XDG_CACHE_HOME (default: ~/.cache) in phoenix-hypervisor;
that folder can be removed at any time. Later runs need no network. Nothing is written into the checkout.
"""


def parse(argv: list[str]) -> list[tuple[str, list[str]]]:
    """The parts to run, each with its arguments."""
    words, arguments = _split(argv)
    parser = argparse.ArgumentParser(
        prog="scripts/test", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="part")
    parts = parser.parse_args(words).parts
    if not parts and not arguments:
        return [(name, SHORT.get(name, [])) for name in PARTS if name not in ON_REQUEST]
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)}. There are: {', '.join(PARTS)}")
    if arguments and not (len(parts) == 1 and SELECTIVE.issuperset(parts)):
        parser.error(f"arguments after -- are for one part: name {', '.join(sorted(SELECTIVE))}, alone, before them")
    return [(part, arguments) for part in parts]


def main(argv: list[str]) -> int:
    runs = parse(argv)
    report = Report()
    try:
        with Workbench.prepare(CHECKOUT, report) as bench:
            for part, arguments in runs:
                with report.part(part):
                    PARTS[part](bench, arguments)
    except HarnessError as error:
        report.failed_check("preparation", str(error))
    except KeyboardInterrupt:
        report.failed_check("run", "interrupted")
    return report.close()


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    if "--" in argv:
        at = argv.index("--")
        return argv[:at], argv[at + 1 :]
    if argv[:1] == ["molecule"] and PARTS.keys().isdisjoint(argv[1:]) and not any(word[:1] == "-" for word in argv):
        return argv[:1], argv[1:]
    return argv, []
