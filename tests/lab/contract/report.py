# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The contract suite's verdicts: case by case for the tests, and counted for the documentation.

from __future__ import annotations

import dataclasses
import difflib
import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from .changes import Change, change_of
from .compare import differences
from .not_imitated import ON_SOME_HOSTS, reasons
from .replay import LabPlayer, Player, SimulatedPlayer, replay
from .transcript import Case, Outcome, Section


@dataclasses.dataclass(frozen=True)
class Verdict:
    case: Case
    # None: not played.
    got: Outcome | None
    # Why the table lets the case differ, if it does.
    reason: str | None = None
    # Why it is not compared in full, if it is not.
    change: Change | None = None

    @property
    def differences(self) -> list[tuple[str, str, str]]:
        if self.got is None:
            return [("played", "", "not at all")]
        return differences(self.case, self.got, unordered=self.change is not None and self.change.unordered)

    @property
    def equal(self) -> bool:
        return not self.differences

    @property
    def problem(self) -> str:
        """What has to be done about this case; nothing if it is equal, or known not to be."""
        if self.equal:
            stale = self.reason is not None and self.case.name not in ON_SOME_HOSTS
            return f"{self.case.name} is equal: take it out of not_imitated.py" if stale else ""
        return f"{self.case.name}: not as recorded\n{self.explanation()}" if self.reason is None else ""

    def explanation(self) -> str:
        lines = [f"# {self.case.command}"]
        for what, recorded, replayed in self.differences:
            texts = (recorded.splitlines(), replayed.splitlines())
            lines += difflib.unified_diff(*texts, f"{what} (recorded)", f"{what} (replayed)", lineterm="", n=2)
        return "\n".join(lines)


def new_player(folder: Path) -> Player:
    """A node of a running lab, if PHOENIX_LAB_EXEC says how a command runs there (scripts/lab exec pve1 --); otherwise
    a simulated one below the (new) folder."""
    command = shlex.split(os.environ.get("PHOENIX_LAB_EXEC", ""))
    return LabPlayer(command) if command else SimulatedPlayer(folder)


def judge(section: Section, player: Player) -> list[Verdict]:
    known = reasons(real=player.real)
    return [
        Verdict(case, got, known.get(case.name), change_of(case, real=player.real))
        for case, got in replay(section, player)
    ]


def unknown_entries(table: Mapping[str, object], sections: Iterable[Section]) -> list[str]:
    """Entries of a table for which there is no recorded case."""
    return sorted(table.keys() - {case.name for section in sections for case in section.cases})


def as_markdown(judged: Mapping[Section, list[Verdict]]) -> str:
    lines = ["| Section | Cases | As recorded | In part | Not imitated |", "| --- | ---: | ---: | ---: | ---: |"]
    total = [0, 0, 0, 0]
    for section, verdicts in judged.items():
        row = [
            len(verdicts),
            sum(v.equal and v.change is None for v in verdicts),
            sum(v.equal and v.change is not None for v in verdicts),
            sum(not v.equal for v in verdicts),
        ]
        total = [sum(pair) for pair in zip(total, row, strict=True)]
        lines.append(f"| {section.number}. {section.title} | {' | '.join(map(str, row))} |")
    lines.append(f"| All | {' | '.join(map(str, total))} |")
    every = [verdict for verdicts in judged.values() for verdict in verdicts]
    lines += _table("In part", [(v, v.change.reason) for v in every if v.equal and v.change is not None])
    lines += _table("Not imitated", [(v, v.reason or "a fault of the stand-in") for v in every if not v.equal])
    return "\n".join(lines) + "\n"


def _table(heading: str, rows: Iterable[tuple[Verdict, str]]) -> list[str]:
    cells = [f"| {_cell(verdict.case.name)} | {_cell(why)} |" for verdict, why in rows]
    return ["", f"| {heading} | Why |", "| --- | --- |", *cells]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
