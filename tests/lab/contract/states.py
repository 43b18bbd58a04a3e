# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What a section starts from, and what was done by hand between its cases (recordings/pct-state): the recordings are cut
# out of one long session, and each section has to run alone.

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

STATES = Path(__file__).parent / "recordings" / "pct-state"


@dataclasses.dataclass(frozen=True)
class Run:
    """Lines for a shell; one that fails ends the replay."""

    script: str


@dataclasses.dataclass(frozen=True)
class WriteFile:
    path: str
    text: str


Step = Run | WriteFile


@dataclasses.dataclass(frozen=True)
class State:
    first: tuple[Step, ...]
    # By the title of the case that they precede.
    before: dict[str, tuple[Step, ...]]


def parse(text: str) -> State:
    _, *blocks = re.split(r"^### (.+)\n", text, flags=re.MULTILINE)
    steps: dict[str | None, list[Step]] = {None: []}
    case: str | None = None
    for heading, body in zip(blocks[::2], blocks[1::2], strict=True):
        kind, _, argument = heading.partition(" ")
        if kind == "before":
            case = argument
            steps[case] = []
        elif kind == "file":
            steps[case].append(WriteFile(argument, body))
        elif kind == "run":
            steps[case].append(Run(body))
        else:
            raise ValueError(f"'### {heading}' is none of: before <title>, file <path>, run")
    return State(tuple(steps.pop(None)), {str(title): tuple(done) for title, done in steps.items()})


def read_state(section: int, folder: Path = STATES) -> State:
    (path,) = folder.glob(f"{section:02}-*.txt")
    return parse(path.read_text("utf-8"))
