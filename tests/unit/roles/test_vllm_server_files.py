# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What the role vllm_server writes, and what it refuses.

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.phoenix.hypervisor.tests.unit.playbooks.played import CHECKOUT, play

ROLE = CHECKOUT / "roles/vllm_server"
FILES = ("compose.yaml", "phoenix-vllm.service", "phoenix-vllm-watch.service", "phoenix-vllm-watch.timer")
IMAGE = {"image": "vllm/vllm-openai@sha256:1", "reference": "vllm/vllm-openai:v0.25.1"}


def played(folder: Path, tasks: list[dict[str, Any]], **variables: Any) -> str:
    playbook = folder / "play.json"
    start = {"hosts": "localhost", "gather_facts": False, "vars_files": [str(ROLE / "defaults/main.yml")]}
    playbook.write_text(json.dumps([{**start, "tasks": tasks}]))
    settings = json.dumps({"vllm_server_model": "a/b", **variables})
    done = play(folder, "--inventory", "localhost,", "--connection", "local", "-e", settings, playbook)
    return done.stdout + done.stderr


def written(folder: Path, **variables: Any) -> dict[str, str]:
    template = {"src": f"{ROLE}/templates/{{{{ item }}}}.j2", "dest": f"{folder}/{{{{ item }}}}", "mode": "0644"}
    tasks = [{"ansible.builtin.template": template, "loop": FILES}]
    output = played(folder, tasks, __vllm_server_image=IMAGE, **variables)
    assert " failed=0 " in output, output
    return {name: (folder / name).read_text() for name in FILES}


def environment(compose: str) -> dict[str, str]:
    found: dict[str, str] = yaml.safe_load(compose)["services"]["vllm"]["environment"]
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return written(tmp_path_factory.mktemp("files"), vllm_server_start_timeout=1200)


def test_nothing_waits_at_boot_until_the_model_is_loaded(files: dict[str, str]) -> None:
    """While a job waits, the whole system counts as starting, and so does whoever waits for it to be up."""
    unit = files["phoenix-vllm.service"]
    assert "\nType=exec\n" in unit
    assert "ExecStartPost" not in unit
    assert "1200" not in unit


def test_the_watch_lets_a_server_start_for_as_long_as_it_may_take(files: dict[str, str]) -> None:
    """And the minute longer in which the role says why it is not ready."""
    assert "--start-timeout 1260 " in files["phoenix-vllm-watch.service"].replace("\n", " ")


def test_the_engine_may_take_as_long_as_the_server(files: dict[str, str], tmp_path: Path) -> None:
    """It loads the weights, and downloads them before, against a time of its own."""
    assert environment(files["compose.yaml"])["VLLM_ENGINE_READY_TIMEOUT_S"] == "1200"
    own = {"VLLM_ENGINE_READY_TIMEOUT_S": "60"}
    assert environment(written(tmp_path, vllm_server_environment=own)["compose.yaml"]) == {
        "VLLM_NO_USAGE_STATS": "1",
        **own,
    }


def test_the_watch_comes_with_the_server_and_may_be_left_out(files: dict[str, str]) -> None:
    """The timer asks for it, not the server's unit: a server is not restarted because its watch is switched off."""
    assert "phoenix-vllm-watch" not in files["phoenix-vllm.service"]
    timer = files["phoenix-vllm-watch.timer"]
    assert "\nWantedBy=phoenix-vllm.service\n" in timer
    assert re.findall(r"^On\w+=(\d+)$", timer, re.MULTILINE) == ["60", "60"]


@pytest.mark.parametrize(("seconds", "said"), [(0, ""), (-1, "vllm_server_watch_interval: -1 is no time. ")])
def test_the_interval_of_the_watch(tmp_path: Path, seconds: int, said: str) -> None:
    role = {"name": "phoenix.hypervisor.vllm_server", "tasks_from": "preflight"}
    output = played(tmp_path, [{"ansible.builtin.import_role": role}], vllm_server_watch_interval=seconds)
    assert (" failed=0 " in output) == (not said), output
    assert said in output
