# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What phoenix_rebuild takes, really run: the playbook refuses before it reaches a node.

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
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
