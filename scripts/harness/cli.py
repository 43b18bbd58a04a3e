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


# A part runs its checks on the workbench; the list holds the arguments after `--`.
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

# These run only when they are named: they are too long for every run.
ON_REQUEST = {"roles", "molecule"}

# Those that can do a part of their work, and what follows -- is then: pytest's arguments, or scenarios.
SELECTIVE = {"unit", "lab", "roles", "molecule"}

DESCRIPTION = f"""\
Run the tests of this checkout: all parts, or those that are named ({", ".join(PARTS)}).
The parts roles and molecule run only when they are named.
What follows -- goes to pytest, or names scenarios: scripts/test unit -- -k gpu, scripts/test molecule -- container

Everything needed is set up on the first run, below $XDG_CACHE_HOME (default: ~/.cache) in phoenix-hypervisor;
that folder can be removed at any time. Later runs need no network. Nothing is written into the checkout.
"""


def parse(argv: list[str]) -> tuple[list[str], list[str]]:
    """The parts to run, and the arguments of the one part that takes some."""
    words, arguments = _split(argv)
    parser = argparse.ArgumentParser(
        prog="scripts/test", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="part")
    parts = parser.parse_args(words).parts or [name for name in PARTS if name not in ON_REQUEST]
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)}. There are: {', '.join(PARTS)}")
    if arguments and not (len(parts) == 1 and SELECTIVE.issuperset(parts)):
        parser.error(f"arguments after -- are for one part: name {', '.join(sorted(SELECTIVE))}, alone, before them")
    return parts, arguments


def main(argv: list[str]) -> int:
    parts, arguments = parse(argv)
    report = Report()
    try:
        with Workbench.prepare(CHECKOUT, report) as bench:
            for part in parts:
                with report.part(part):
                    PARTS[part](bench, arguments)
    except HarnessError as error:
        report.failed_check("preparation", str(error))
    except KeyboardInterrupt:
        report.failed_check("run", "interrupted")
    return report.close()


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in argv:
        return argv, []
    at = argv.index("--")
    return argv[:at], argv[at + 1 :]
