# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What phoenix_rebuild takes, and what it removes, really run: the playbooks refuse before they reach a node.

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.phoenix.hypervisor.tests.unit.playbooks.played import CHECKOUT, PLAYBOOKS, play

NAMED = "(there are: BaseTemplate, BaseTemplateDocker, BaseTemplateDockerGPU, BaseTemplateGPU, BaseTemplateVLLM)"


def first_play(tmp_path: Path, answer: str) -> subprocess.CompletedProcess[str]:
    # Only what is refused by itself is of interest, and no node is there that the rest could ask.
    lines = (PLAYBOOKS / "before.yml").read_text().partition("    - name: The node has what its containers need")[0]
    (tmp_path / "vars").symlink_to(PLAYBOOKS / "vars")
    (tmp_path / "before.yml").write_text(lines)
    answers = f"--extra-vars=phoenix_rebuild={answer}"
    return play(tmp_path, "-i", CHECKOUT / "inventories/lab", answers, tmp_path / "before.yml")


@pytest.mark.parametrize("answer", ["", "stale", "901", "'BaseTemplate, 902,stale'"])
def test_layers_by_name_and_id_and_all_that_are_stale(tmp_path: Path, answer: str) -> None:
    done = first_play(tmp_path, answer)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("answer", ["vllmQwen3Coder", "952", "BaseTemplat", "901,nobody"])
def test_anything_else_is_refused(tmp_path: Path, answer: str) -> None:
    done = first_play(tmp_path, answer)
    said = " ".join(done.stdout.split())
    assert done.returncode == 2
    assert f'phoenix_rebuild: "{answer.rpartition(",")[2]}" is no layer.' in said.replace("\\", "")
    assert NAMED in said


PARENT = {"phoenix_parent": {"ctid": 900, "name": "base", "snapshot": "base-snapshot"}}
BASE_IS_DECIDED = {"hosts": "base", "gather_facts": False, "tasks": [{"set_fact": {"phoenix_decision": {}}}]}


def removal(tmp_path: Path, *options: str, plays: list[dict[str, Any]], **variables: Any) -> str:
    """What the tasks of depth.yml from the refusal to the removal say, which is replaced by a word."""
    block = next(task for task in yaml.safe_load((PLAYBOOKS / "depth.yml").read_text())[0]["tasks"] if "block" in task)
    at = [task["name"] for task in block["block"]].index("Remove a layer that is made anew")
    removed = {"debug": {"msg": "it is removed"}, "when": block["block"][at]["when"]}
    sealed = variables.pop("sealed")
    book = {
        "hosts": "docker",
        "gather_facts": False,
        "vars_files": [str(PLAYBOOKS / "vars/container.yml")],
        "vars": {
            "phoenix_ctid": 902,
            "phoenix_is_layer": True,
            "phoenix_features": [],
            "phoenix_decision": {"exists": True, "prepared": True, "stale": "", "parent_sealed": sealed},
            **variables,
        },
        "tasks": [block["block"][at - 1], removed],
    }
    (tmp_path / "depth.yml").write_text(json.dumps([*plays, book]))
    return " ".join(play(tmp_path, "-i", "base,docker,", *options, tmp_path / "depth.yml").stdout.split())


@pytest.mark.parametrize(
    ("options", "plays", "variables"),
    [
        ([], [], {"sealed": True, **PARENT}),
        ([], [], {"sealed": True}),
        (["--check"], [BASE_IS_DECIDED], {"sealed": False, **PARENT}),
    ],
    ids=["its parent is sealed", "it has none", "its parent would be sealed"],
)
def test_a_layer_is_removed_to_be_made_anew(
    tmp_path: Path, options: list[str], plays: list[dict[str, Any]], variables: dict[str, Any]
) -> None:
    said = removal(tmp_path, "--extra-vars=phoenix_rebuild=docker", *options, plays=plays, **variables)
    assert "it is removed" in said
    assert "failed=0" in said


@pytest.mark.parametrize(
    ("options", "plays"),
    [([], []), ([], [BASE_IS_DECIDED]), (["--check"], [])],
    ids=["its parent is left out", "its parent was not sealed", "its parent would be left out"],
)
def test_nothing_is_removed_that_could_not_be_cloned_again(
    tmp_path: Path, options: list[str], plays: list[dict[str, Any]]
) -> None:
    said = removal(tmp_path, "--extra-vars=phoenix_rebuild=docker", *options, plays=plays, sealed=False, **PARENT)
    assert "it is removed" not in said
    assert "902 docker is not removed: 900 base, the layer that it is cloned from, is not sealed." in said


def test_a_layer_that_nobody_makes_anew_needs_no_parent(tmp_path: Path) -> None:
    said = removal(tmp_path, plays=[], sealed=False, **PARENT)
    assert "it is removed" not in said
    assert "failed=0" in said
