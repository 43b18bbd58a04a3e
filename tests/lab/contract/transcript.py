# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Reads the recorded transcripts of the real pct (recordings/pct), as they were written: Markdown, one section per file.

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

RECORDINGS = Path(__file__).parent / "recordings" / "pct"

_SECTION = re.compile(r"## (\d+)\. (.+)\n")
_CASE = re.compile(
    r"^\*\*(?P<title>[^\n]+)\*\*\n\n```\n# (?P<body>.*?--- rc=(?P<rc>\d+))\n```$", re.DOTALL | re.MULTILINE
)
# Only at the start of a line, and only once each: an output can hold "--- " of its own.
_STREAMS = re.compile(
    r"(?P<command>.*?\n)(?:--- stdout\n(?P<stdout>.*?))?(?:^--- stderr\n(?P<stderr>.*?))?--- rc=\d+",
    re.DOTALL | re.MULTILINE,
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    stdout: str
    stderr: str
    rc: int


@dataclasses.dataclass(frozen=True)
class Case:
    section: int
    title: str
    command: str
    expected: Outcome

    @property
    def name(self) -> str:
        return f"{self.section}/{self.title}"


@dataclasses.dataclass(frozen=True)
class Section:
    number: int
    title: str
    cases: tuple[Case, ...]


def parse(text: str) -> Section:
    """One section. Raises ValueError for a text with cases that this parser would skip."""
    heading = _SECTION.match(text)
    if heading is None:
        raise ValueError("no heading '## <number>. <title>' at the start")
    number = int(heading[1])
    cases = tuple(_case(number, match) for match in _CASE.finditer(text))
    written = len(re.findall(r"^```$", text, re.MULTILINE)) // 2
    if len(cases) != written:
        raise ValueError(f"section {number} has {written} fenced blocks, of which {len(cases)} are cases")
    return Section(number, heading[2], cases)


def _case(section: int, match: re.Match[str]) -> Case:
    streams = _STREAMS.fullmatch(match["body"])
    if streams is None:
        raise ValueError(f"section {section}, {match['title']}: not '# command', streams, '--- rc=N'")
    outcome = Outcome(streams["stdout"] or "", streams["stderr"] or "", int(match["rc"]))
    return Case(section, match["title"], streams["command"].rstrip("\n"), outcome)


def read_sections(folder: Path = RECORDINGS) -> list[Section]:
    return [parse(path.read_text("utf-8")) for path in sorted(folder.glob("*.txt"))]
