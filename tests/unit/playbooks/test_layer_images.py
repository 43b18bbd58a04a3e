# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The images that a layer keeps: what its seal leaves there is what its recipe says and its trial has used.

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.phoenix.hypervisor.tests.unit.playbooks.played import CHECKOUT, PLAYBOOKS, play

LATEST = "vllm/vllm-openai:latest"
OWN, CUDA = "own/vllm:1", "nvidia/cuda:12.8.0-base-ubuntu24.04"
ASKED = ["phoenix_layer_images", "phoenix_recipe.images", "vllm_verify_image"]
PLAY = [
    {
        "hosts": "BaseTemplate",
        "gather_facts": False,
        "vars_files": [str(PLAYBOOKS / "vars/container.yml"), str(PLAYBOOKS / "vars/roles.yml")],
        "tasks": [
            {
                "ansible.builtin.copy": {"dest": "{{ answer }}", "mode": "0644", "content": "{{ found | to_json }}"},
                "delegate_to": "localhost",
                "connection": "local",
                "vars": {"found": [f"{{{{ {name} }}}}" for name in ASKED]},
            }
        ],
    }
]


@pytest.mark.parametrize(
    ("features", "verify", "kept", "tried"),
    [
        pytest.param(["vllm"], {"images": [OWN, CUDA]}, [OWN, CUDA], OWN, id="named"),
        pytest.param(["vllm"], {"images": []}, [LATEST], LATEST, id="none is named"),
        pytest.param(["vllm"], {"test_port": 8010}, [LATEST], LATEST, id="only a port is named"),
        pytest.param(["docker"], {"images": [CUDA]}, [CUDA], CUDA, id="without vLLM"),
        pytest.param(["docker"], {}, [], LATEST, id="nothing without vLLM"),
    ],
)
def test_a_layer_keeps_what_was_tried_in_it(
    tmp_path: Path, features: list[str], verify: dict[str, Any], kept: list[str], tried: str
) -> None:
    (tmp_path / "play.yml").write_text(json.dumps(PLAY))
    said = {"answer": str(tmp_path / "answer"), "phoenix_features": features, "phoenix_verify": verify}
    done = play(tmp_path, "-i", CHECKOUT / "inventories/lab", f"-e{json.dumps(said)}", tmp_path / "play.yml")
    assert done.returncode == 0, done.stdout
    # The recipe of a fleet that names its images is as it has always been, so that nothing of it becomes stale.
    assert json.loads((tmp_path / "answer").read_text()) == [kept, kept, tried]


def test_the_seal_keeps_the_images_of_the_recipe() -> None:
    tasks = yaml.safe_load((PLAYBOOKS / "tasks/build.yml").read_text())
    (seal,) = (task["vars"] for task in tasks if "lxc_layer_images" in task.get("vars", {}))
    assert seal["lxc_layer_images"] == "{{ phoenix_layer_images }}"
