# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The stand-in of PVE's API against everything that was recorded of the real one, over HTTPS on a simulated node.

from __future__ import annotations

import pytest

from lab.contract.api_not_imitated import DIFFERENT, NOT_SENT
from lab.contract.api_recordings import ApiCase, read_cases
from lab.contract.api_replay import Replay

CASES = read_cases()


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Case → how its answer differs; the whole recording is played once."""
    replay = Replay(tmp_path_factory.mktemp("api"))
    replay.play()
    return replay.problems


@pytest.mark.parametrize("case", [case for case in CASES if case.name not in NOT_SENT], ids=lambda case: case.name)
def test_answer_is_the_recorded_one(case: ApiCase, problems: dict[str, str]) -> None:
    problem = problems[case.name]
    if case.name in DIFFERENT:
        assert problem, "it is equal now: take it out of api_not_imitated.py"
    else:
        assert not problem, problem


def test_the_tables_name_recorded_cases_once() -> None:
    names = {case.name for case in CASES}
    assert len(names) == len(CASES)
    assert NOT_SENT.keys() | DIFFERENT.keys() <= names
    assert not NOT_SENT.keys() & DIFFERENT.keys()
