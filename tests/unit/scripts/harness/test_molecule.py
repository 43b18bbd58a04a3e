# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.scripts.harness.molecule import NODE, chosen, not_played
from ansible_collections.phoenix.hypervisor.scripts.harness.report import HarnessError

PLAYED = """\
DETAILS
default > create: Executed: Skipped (Skipping, instances already created.)

snapshot > side_effect: Executed: Successful
snapshot > converge: Executed: Successful
snapshot > idempotence: Executed: Successful
snapshot > verify: Executed: Successful
snapshot > cleanup: Executed: Successful
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("snapshot", "default", "container", "proxmox", "shared"):
        (tmp_path / name).mkdir()
        if name != "shared":
            (tmp_path / name / "molecule.yml").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("names", "environment", "scenarios"),
    [
        pytest.param([], {}, ["container", "snapshot"], id="all, without the lab and what is for a real node"),
        pytest.param([], {NODE: ""}, ["container", "snapshot"], id="a variable that is empty"),
        pytest.param([], {NODE: "192.0.2.10"}, ["container", "proxmox", "snapshot"], id="all, and a real node"),
        pytest.param(["proxmox"], {NODE: "192.0.2.10"}, ["proxmox"], id="only the real node"),
        pytest.param(["snapshot", "container"], {}, ["snapshot", "container"], id="in the order that they are named"),
    ],
)
def test_the_scenarios_that_are_run(
    folder: Path, names: list[str], environment: dict[str, str], scenarios: list[str]
) -> None:
    assert chosen(folder, names, environment) == scenarios


def test_what_takes_longest_begins_first(folder: Path) -> None:
    for name in ("vllm", "hierarchy"):
        (folder / name).mkdir()
        (folder / name / "molecule.yml").touch()
    assert chosen(folder, [], {}) == ["hierarchy", "vllm", "container", "snapshot"]


def test_that_one_is_skipped_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen(folder, [], {})
    assert "proxmox is skipped: it is for a real node, and PHOENIX_PROXMOX_HOST is not set" in capsys.readouterr().out


def test_one_for_a_real_node_is_refused_without_it(folder: Path) -> None:
    with pytest.raises(HarnessError, match=r"^proxmox is for a real node: set PHOENIX_PROXMOX_HOST, "):
        chosen(folder, ["proxmox"], {})


def test_a_scenario_that_does_not_exist_is_refused(folder: Path) -> None:
    said = r"^no such scenario: default, vllm\. There are: container, proxmox, snapshot$"
    with pytest.raises(HarnessError, match=said):
        chosen(folder, ["default", "container", "vllm"], {})


def test_a_scenario_that_was_played_is_not_complained_of() -> None:
    assert not not_played("snapshot", PLAYED)


@pytest.mark.parametrize(
    ("output", "missing"),
    [
        pytest.param("", "molecule does not report as played: converge, idempotence, verify", id="nothing"),
        pytest.param(PLAYED.replace("verify", "syntax"), "molecule does not report as played: verify", id="no verify"),
        pytest.param(
            PLAYED.replace("converge: Executed: Successful", "converge: Executed: Missing playbook"),
            "molecule does not report as played: converge",
            id="no playbook",
        ),
        pytest.param(
            PLAYED.replace("snapshot >", "container >"),
            "molecule does not report as played: converge, idempotence, verify",
            id="another scenario",
        ),
    ],
)
def test_a_step_that_molecule_passed_over_is_complained_of(output: str, missing: str) -> None:
    assert not_played("snapshot", output) == missing
