# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import socket
import typing as t

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._vllm_server import check_port
from ansible_collections.phoenix.hypervisor.plugins.modules import vllm_trial
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import FakeRunner

TOKEN = "hf_secret"


def request(**given: t.Any) -> t.Any:
    options = yaml.safe_load(vllm_trial.DOCUMENTATION)["options"]
    params = {name: option.get("default") for name, option in options.items()}
    assert all(name in params for name in given)
    return vllm_trial.request_of({**params, "image": "vllm/vllm-openai:v0.25.1", "model": "Qwen/Qwen2.5-0.5B", **given})


def test_the_options_of_seed_001() -> None:
    found = request()
    assert (found.runtime, found.gpus, found.ipc, found.port) == ("nvidia", "all", "host", 8000)
    assert found.command == ["--model", "Qwen/Qwen2.5-0.5B", "--served-model-name", "Qwen/Qwen2.5-0.5B"]
    assert (found.environment, found.secrets, found.model_directory, found.expected_gpus) == ({}, {}, "", 1)


OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


@pytest.mark.parametrize(
    ("given", "environment", "directory"),
    [
        ({"offline": True}, OFFLINE, ""),
        ({"model": "/models/tiny"}, OFFLINE, "/models/tiny"),
        ({"offline": True, "environment": {"HF_HUB_OFFLINE": 0}}, {**OFFLINE, "HF_HUB_OFFLINE": "0"}, ""),
    ],
    ids=["asked for", "a directory needs no network", "what the user says counts"],
)
def test_without_a_network(given: dict[str, t.Any], environment: dict[str, str], directory: str) -> None:
    found = request(**given)
    assert (found.environment, found.model_directory) == (environment, directory)


def test_a_model_over_several_gpus() -> None:
    found = request(tensor_parallel_size=2, served_model_name="tiny", args=["--enforce-eager"])
    assert found.expected_gpus == 2
    assert found.command[2:] == ["--served-model-name", "tiny", "--tensor-parallel-size", "2", "--enforce-eager"]


def test_a_token_is_no_argument_and_no_variable_of_the_users() -> None:
    found = request(hf_token=TOKEN)
    assert found.secrets == {"HF_TOKEN": TOKEN}
    assert TOKEN not in " ".join(found.command)
    assert TOKEN not in str(found.environment)


def test_check_mode_starts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with patch_module_args({"image": "i", "model": "m", "_ansible_check_mode": True}), pytest.raises(SystemExit):
        vllm_trial.main()
    found = json.loads(capsys.readouterr().out)
    assert (found["changed"], found["skipped_reason"]) == (False, "Nothing is started in check mode.")


def test_a_port_that_somebody_has() -> None:
    holder = FakeRunner({"ss": 'LISTEN 0 5 0.0.0.0:1 users:(("python3",pid=7,fd=3))\n'})
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PhoenixError) as caught:
            check_port(port, holder)
        assert caught.value.reason == f"test port: {port} is taken by python3"
        assert (caught.value.code, caught.value.details["problem"]) == (Code.VERIFICATION, "port-taken")
        with pytest.raises(PhoenixError, match="is taken by somebody"):
            check_port(port, FakeRunner({"ss": ""}))
    check_port(port, FakeRunner())
