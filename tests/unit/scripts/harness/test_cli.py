# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.scripts.harness.cli import parse
from ansible_collections.phoenix.hypervisor.scripts.harness.molecule import EVERY_TIME, chosen

EVERYTHING = ["lint", "sanity", "unit", "inventory", "build", "lab", "molecule"]
SCENARIOS = Path(__file__).parents[4] / "molecule"


@pytest.mark.parametrize(
    ("words", "runs"),
    [
        pytest.param(["lint", "unit"], [("lint", []), ("unit", [])], id="parts"),
        pytest.param(["unit", "--", "-k", "gpu"], [("unit", ["-k", "gpu"])], id="pytest's arguments"),
        pytest.param(["molecule"], [("molecule", [])], id="all scenarios"),
        pytest.param(["molecule", "api", "docker"], [("molecule", ["api", "docker"])], id="scenarios"),
        pytest.param(["molecule", "--", "api"], [("molecule", ["api"])], id="scenarios after the arguments' mark"),
        pytest.param(["molecule", "lint"], [("molecule", []), ("lint", [])], id="a part after the scenarios"),
    ],
)
def test_what_is_named_is_run(words: list[str], runs: list[tuple[str, list[str]]]) -> None:
    assert parse(words) == runs


def test_without_a_name_everything_is_run_but_what_takes_too_long() -> None:
    runs = dict(parse([]))
    assert list(runs) == EVERYTHING
    assert runs.pop("molecule") == list(EVERY_TIME)
    assert not any(runs.values())


def test_the_scenarios_of_every_run_are_there() -> None:
    chosen(SCENARIOS, list(EVERY_TIME), {})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["lnit"], "no such part: lnit. There are: lint, ", id="no part"),
        pytest.param(["lint", "--", "-k"], "arguments after -- are for one part", id="a part that takes none"),
        pytest.param(["unit", "lab", "--", "-k"], "arguments after -- are for one part", id="two parts"),
        pytest.param(["lint", "molecule", "api"], "no such part: api", id="scenarios beside other parts"),
    ],
)
def test_what_cannot_be_run_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        parse(words)
    assert said in capsys.readouterr().err
