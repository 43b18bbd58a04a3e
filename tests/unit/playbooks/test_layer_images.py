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


HELLO = "hello-world:latest"


def fleet(features: list[str], verify: dict[str, Any], *inherited: str) -> dict[str, Any]:
    """What the inventory says of a layer."""
    return {
        "phoenix_features": features,
        "phoenix_all_features": ["base_setup", *inherited, *features],
        "phoenix_gpus": "0,1" if "nvidia" in inherited else "none",
        "phoenix_verify": verify,
    }


@pytest.mark.parametrize(
    ("layer", "kept", "tried"),
    [
        pytest.param(fleet(["vllm"], {"images": [OWN, CUDA]}, "docker", "nvidia"), [OWN, CUDA], OWN, id="named"),
        pytest.param(fleet(["vllm"], {"images": [OWN]}, "docker", "nvidia"), [OWN, CUDA], OWN, id="one is named"),
        pytest.param(fleet(["vllm"], {"images": []}, "docker", "nvidia"), [LATEST, CUDA], LATEST, id="none is named"),
        pytest.param(fleet(["vllm"], {"test_port": 8010}, "docker"), [LATEST, HELLO], LATEST, id="a port is named"),
        pytest.param(fleet(["docker"], {"images": [CUDA]}, "nvidia"), [CUDA], CUDA, id="without vLLM"),
        pytest.param(fleet(["docker"], {}), [HELLO], LATEST, id="without a GPU"),
        pytest.param(fleet([], {}, "docker"), [HELLO], LATEST, id="what is inherited"),
        pytest.param(fleet([], {}, "nvidia"), [], LATEST, id="nothing without Docker"),
    ],
)
def test_a_layer_keeps_what_was_tried_in_it(tmp_path: Path, layer: dict[str, Any], kept: list[str], tried: str) -> None:
    (tmp_path / "play.yml").write_text(json.dumps(PLAY))
    said = {"answer": str(tmp_path / "answer"), **layer}
    done = play(tmp_path, "-i", CHECKOUT / "inventories/lab", f"-e{json.dumps(said)}", tmp_path / "play.yml")
    assert done.returncode == 0, done.stdout
    assert json.loads((tmp_path / "answer").read_text()) == [kept, kept, tried]


def test_without_a_gpu_it_is_the_image_that_the_role_runs() -> None:
    defaults = yaml.safe_load((CHECKOUT / "roles/lxc_docker/defaults/main.yml").read_text())
    assert defaults["lxc_docker_test_image"] == HELLO


def test_the_seal_keeps_the_images_of_the_recipe() -> None:
    tasks = yaml.safe_load((PLAYBOOKS / "tasks/build.yml").read_text())
    (seal,) = (task["vars"] for task in tasks if "lxc_layer_images" in task.get("vars", {}))
    assert seal["lxc_layer_images"] == "{{ phoenix_layer_images }}"
