# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The stand-in of pct against everything that was recorded of the real one. Without a lab on a simulated node; with
# PHOENIX_LAB_EXEC="scripts/lab exec pve1 --" on that node of a running lab.

from __future__ import annotations

from pathlib import Path

import pytest

from lab.contract.changes import CHANGES
from lab.contract.not_imitated import IN_A_LAB, NEVER, NOT_PLAYED, ON_SOME_HOSTS, WITHOUT_A_LAB
from lab.contract.report import Verdict, judge, new_player, unknown_entries
from lab.contract.transcript import Case, Section, read_sections

SECTIONS = {section.number: section for section in read_sections()}
CASES = [case for section in SECTIONS.values() for case in section.cases]


class Replays:
    """Each section is played once, when the first of its cases is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._verdicts: dict[str, Verdict] = {}
        self._failures: dict[int, str] = {}

    def verdict(self, case: Case) -> Verdict:
        if case.name not in self._verdicts and case.section not in self._failures:
            self._play(SECTIONS[case.section])
        if case.section in self._failures:
            pytest.fail(self._failures[case.section], pytrace=False)
        return self._verdicts[case.name]

    def _play(self, section: Section) -> None:
        folder = self._folder / str(section.number)
        folder.mkdir()
        try:
            self._verdicts |= {verdict.case.name: verdict for verdict in judge(section, new_player(folder))}
        except RuntimeError as error:
            self._failures[section.number] = str(error)


@pytest.fixture(scope="module")
def replays(tmp_path_factory: pytest.TempPathFactory) -> Replays:
    return Replays(tmp_path_factory.mktemp("replays"))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_pct_does_what_was_recorded(case: Case, replays: Replays) -> None:
    if problem := replays.verdict(case).problem:
        pytest.fail(problem, pytrace=False)


@pytest.mark.parametrize("table", [NEVER, WITHOUT_A_LAB, NOT_PLAYED, IN_A_LAB, ON_SOME_HOSTS, CHANGES])
def test_the_tables_name_recorded_cases(table: dict[str, object]) -> None:
    assert unknown_entries(table, SECTIONS.values()) == []


def test_no_case_is_excused_twice() -> None:
    assert NEVER.keys().isdisjoint(WITHOUT_A_LAB.keys() | NOT_PLAYED.keys() | IN_A_LAB.keys() | ON_SOME_HOSTS.keys())
    assert WITHOUT_A_LAB.keys().isdisjoint(NOT_PLAYED)
    assert IN_A_LAB.keys().isdisjoint(ON_SOME_HOSTS)
