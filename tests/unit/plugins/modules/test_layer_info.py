# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.phoenix.hypervisor.plugins.module_utils._overview import overview
from ansible_collections.phoenix.hypervisor.plugins.modules import layer_info
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import FakeNode


def test_ids_that_are_no_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    with patch_module_args({"ctids": ["BaseTemplate"]}), pytest.raises(SystemExit):
        layer_info.main()
    assert "Elements value for option 'ctids' is of type" in json.loads(capsys.readouterr().out)["msg"]


@pytest.mark.skipif(Path("/etc/pve").exists(), reason="this machine is a Proxmox VE node")
@pytest.mark.parametrize("check_mode", [False, True], ids=["run", "check"])
def test_a_machine_that_is_no_node(capsys: pytest.CaptureFixture[str], check_mode: bool) -> None:
    with patch_module_args({"_ansible_check_mode": check_mode}), pytest.raises(SystemExit) as ended:
        layer_info.main()
    assert ended.value.code == 1
    result = json.loads(capsys.readouterr().out)
    assert result["failed"]
    assert "it is no Proxmox VE node, or its cluster file system is not mounted" in result["reason"]
    assert result["code"] == 1


def test_what_is_returned_is_documented(tmp_path: Path) -> None:
    documented = yaml.safe_load(layer_info.RETURN)
    fake = FakeNode(tmp_path)
    fake.nvidia()
    fake.gpu(0)
    fake.conf(900, "hostname: BaseTemplate\n\n[base-snapshot]\nsnaptime: 1\n")
    result = overview(fake.node, None)
    about_failures = {"code", "reason", "remedy"}
    assert documented.keys() - about_failures == result.keys()
    node, container = result["node"], result["containers"]["900"]
    of_container = documented["containers"]["sample"]["900"]
    of_node = documented["node"]["sample"]
    assert of_container.keys() == container.keys()
    assert of_container["snapshots"][0].keys() == container["snapshots"][0].keys()
    assert of_node.keys() == node.keys()
    assert of_node["gpus"][0].keys() == node["gpus"][0].keys()
    assert of_node["devices"][0].keys() == node["devices"][0].keys()
