# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What comes before the manager, which has its own tests: the arguments, and the machine that is no node.

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.phoenix.hypervisor.plugins.module_utils._passthrough import Passthrough, Request
from ansible_collections.phoenix.hypervisor.plugins.module_utils._pct import Pct
from ansible_collections.phoenix.hypervisor.plugins.modules import lxc_gpu_passthrough
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.fake_pct import FakePct
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import CONF, FakeNode


def failure(capsys: pytest.CaptureFixture[str], arguments: dict[str, t.Any]) -> dict[str, t.Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
        lxc_gpu_passthrough.main()
    assert ended.value.code == 1
    result = json.loads(capsys.readouterr().out)
    assert result["failed"]
    return t.cast("dict[str, t.Any]", result)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gpus": "0"}, "missing required arguments: ctid"),
        ({"ctid": 901}, "missing required arguments: gpus"),
        ({"ctid": "nine", "gpus": 0}, "argument 'ctid' is of type"),
        (
            {"ctid": 901, "gpus": 0, "method": "vfio"},
            "value of method must be one of: auto, dev, raw, got: vfio",
        ),
        ({"ctid": 901, "gpus": 0, "capabilities": ["a"]}, "Elements value for option 'capabilities' is of type"),
        ({"ctid": 901, "gpus": 0, "driver_libraries": "maybe"}, "argument 'driver_libraries' is of type"),
        ({"ctid": 901, "gpus": 0, "vfio": True}, "Unsupported parameters"),
    ],
    ids=["no ctid", "no gpus", "ctid", "method", "capabilities", "driver_libraries", "unknown"],
)
@pytest.mark.parametrize("check_mode", [False, True], ids=["run", "check"])
def test_arguments_that_ansible_refuses(
    capsys: pytest.CaptureFixture[str], arguments: dict[str, t.Any], message: str, check_mode: bool
) -> None:
    assert message in failure(capsys, {**arguments, "_ansible_check_mode": check_mode})["msg"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"ctid": 99, "gpus": "none"}, "ctid: 99 is not an id that PVE accepts"),
        ({"ctid": 901, "gpus": "-1"}, "gpus: '-1' has '-1' where a GPU index belongs"),
        ({"ctid": 901, "gpus": [0, -1]}, "gpus: [0, -1] has '-1' where a GPU index belongs"),
        ({"ctid": 901, "gpus": "0,0"}, "gpus: '0,0' names GPU 0 twice"),
        ({"ctid": 901, "gpus": ""}, "gpus: '' has '' where a GPU index belongs"),
        ({"ctid": 901, "gpus": None}, "gpus: None has 'None' where a GPU index belongs"),
    ],
    ids=["ctid", "negative", "negative in a list", "twice", "empty", "null"],
)
def test_arguments_that_we_refuse(capsys: pytest.CaptureFixture[str], arguments: dict[str, t.Any], reason: str) -> None:
    result = failure(capsys, arguments)
    assert result["reason"] == reason
    assert result["code"] == 2
    assert result["msg"] == f"{reason}. {result['remedy']}"


@pytest.mark.skipif(Path("/etc/pve").exists(), reason="this machine is a Proxmox VE node")
def test_a_machine_that_is_no_node(capsys: pytest.CaptureFixture[str]) -> None:
    result = failure(capsys, {"ctid": 901, "gpus": 0})
    assert "it is no Proxmox VE node, or its cluster file system is not mounted" in result["reason"]
    assert result["remedy"].startswith("Run the task on a Proxmox VE node as root")
    assert result["code"] == 1


def test_what_is_returned_is_documented(tmp_path: Path) -> None:
    documented = yaml.safe_load(lxc_gpu_passthrough.RETURN)
    fake = FakeNode(tmp_path)
    fake.conf(901, CONF)
    request = Request(901, "none", "raw", None, driver_libraries=False, restart=True, timeout=1)
    result = Passthrough(fake.node, Pct(fake.node, FakePct(fake)), request, check_mode=False).run()
    of_success = {key for key, value in documented.items() if value["returned"] == "success"}
    assert of_success == result.keys() - {"changed", "diff"}
