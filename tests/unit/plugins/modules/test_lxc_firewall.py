# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.phoenix.hypervisor.plugins.module_utils._container_firewall import ContainerFirewall
from ansible_collections.phoenix.hypervisor.plugins.modules import lxc_firewall
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import FakeNode


def run(capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        lxc_firewall.main()
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ctid": 952}, "missing required arguments: enabled"),
        (
            {"ctid": 952, "enabled": True, "rules": [{"type": "in"}]},
            "missing required arguments: action found in rules",
        ),
        (
            {"ctid": 952, "enabled": True, "rules": [{"type": "in", "action": "DROP", "dport": "1"}]},
            (
                "Unsupported parameters for (basic.py) module: rules.dport. Supported parameters include: action, "
                "comment, dest, port, proto, source, type."
            ),
        ),
    ],
    ids=["enabled", "action", "unknown"],
)
def test_arguments(capsys: pytest.CaptureFixture[str], arguments: dict[str, Any], message: str) -> None:
    assert message in run(capsys, **arguments)["msg"]


def test_a_container_that_cannot_be(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, ctid=12, enabled=True)
    assert result["failed"]
    assert result["code"] == 2
    assert result["reason"].startswith("ctid: 12 ")


@pytest.mark.skipif(Path("/etc/pve").exists(), reason="this machine is a Proxmox VE node")
@pytest.mark.parametrize("check_mode", [False, True], ids=["run", "check"])
def test_a_machine_that_is_no_node(capsys: pytest.CaptureFixture[str], check_mode: bool) -> None:
    result = run(capsys, ctid=952, enabled=True, _ansible_check_mode=check_mode)
    assert "it is no Proxmox VE node, or its cluster file system is not mounted" in result["reason"]
    assert result["code"] == 1


def test_what_is_returned_is_documented(tmp_path: Path) -> None:
    fake = FakeNode(tmp_path)
    fake.conf(952)
    result = ContainerFirewall(fake.node, 952, enabled=True, rules=[]).run()
    about_failures = {"code", "reason", "remedy"}
    assert yaml.safe_load(lxc_firewall.RETURN).keys() - about_failures == result.keys() - {
        "changed",
        "diff",
        "warnings",
    }


def test_the_rules_are_those_of_the_fleet() -> None:
    """The playbooks hand the rules of the JSON on as they are."""
    schema = json.loads((Path(__file__).parents[4] / "schemas/phoenix_lxc_configs.schema.json").read_text())
    options = yaml.safe_load(lxc_firewall.DOCUMENTATION)["options"]
    assert options["rules"]["suboptions"].keys() == schema["$defs"]["firewall_rule"]["properties"].keys()
    firewall = schema["$defs"]["container"]["properties"]["firewall"]["properties"]
    assert options.keys() - {"ctid"} == firewall.keys()
