# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.modules import layer_decision
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import FakeNode

ARGUMENTS = {
    "ctid": 902,
    "snapshot": "docker-snapshot",
    "recipe": {"features": ["docker"]},
    "parent": {"ctid": 900, "name": "BaseTemplate", "snapshot": "base-snapshot", "expected": False},
}


def module(**arguments: object) -> AnsibleModule:
    """An AnsibleModule with these parameters, as far as run() looks."""
    options = {**ARGUMENTS, **arguments}
    with patch_module_args(options):
        return AnsibleModule(
            argument_spec={
                "ctid": {"type": "int", "required": True},
                "snapshot": {"type": "str", "default": ""},
                "recipe": {"type": "dict", "default": {}},
                "parent": {"type": "dict", "options": layer_decision.PARENT},
            },
            supports_check_mode=True,
        )


def test_what_is_returned_is_documented(tmp_path: Path) -> None:
    fake = FakeNode(tmp_path)
    fake.conf(900, "hostname: base\n\n[base-snapshot]\nsnaptime: 1\n")
    result = layer_decision.run(module(), fake.node)
    documented = yaml.safe_load(layer_decision.RETURN)
    assert documented.keys() - {"code", "reason", "remedy"} == result.keys() - {"changed"}
    assert (result["changed"], result["exists"]) == (False, False)


def test_a_missing_parent_is_refused_only_for_a_missing_container(tmp_path: Path) -> None:
    fake = FakeNode(tmp_path)
    with pytest.raises(PhoenixError, match="that this container is cloned from does not exist"):
        layer_decision.run(module(), fake.node)
    parent = {"ctid": 900, "snapshot": "base-snapshot", "expected": True}
    assert not layer_decision.run(module(parent=parent), fake.node)["exists"]
    fake.conf(902, "hostname: docker\n")
    assert layer_decision.run(module(), fake.node)["exists"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [({"ctid": 99}, "99"), ({"snapshot": "a.b"}, "a.b")],
    ids=["ctid", "snapshot"],
)
def test_bad_input(tmp_path: Path, arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(PhoenixError, match=reason) as caught:
        layer_decision.run(module(**arguments), FakeNode(tmp_path).node)
    assert caught.value.as_result()["code"] == 2


@pytest.mark.skipif(Path("/etc/pve").exists(), reason="this machine is a Proxmox VE node")
def test_a_machine_that_is_no_node(capsys: pytest.CaptureFixture[str]) -> None:
    with patch_module_args({"ctid": 902}), pytest.raises(SystemExit):
        layer_decision.main()
    assert "it is no Proxmox VE node" in json.loads(capsys.readouterr().out)["reason"]
