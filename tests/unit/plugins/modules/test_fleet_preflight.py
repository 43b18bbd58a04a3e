# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_preflight import Needs
from ansible_collections.phoenix.hypervisor.plugins.modules import fleet_preflight


def call(capsys: pytest.CaptureFixture[str], *, rc: int, **arguments: t.Any) -> dict[str, t.Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
        fleet_preflight.main()
    assert ended.value.code == rc
    result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.mark.parametrize("check_mode", [False, True], ids=["run", "check"])
def test_nothing_is_needed(capsys: pytest.CaptureFixture[str], check_mode: bool) -> None:
    containers = [{"ctid": 960, "name": "leaf"}]
    result = call(capsys, rc=0, containers=containers, _ansible_check_mode=check_mode)
    assert (result["changed"], result["problems"]) == (False, [])


@pytest.mark.skipif(Path("/etc/pve").exists(), reason="this machine is a Proxmox VE node")
@pytest.mark.parametrize("check_mode", [False, True], ids=["run", "check"])
def test_a_failure_has_reason_and_remedy(capsys: pytest.CaptureFixture[str], check_mode: bool) -> None:
    containers = [{"ctid": 960, "name": "leaf", "storage": "lxc-disks"}]
    result = call(capsys, rc=1, containers=containers, _ansible_check_mode=check_mode)
    assert "it is no Proxmox VE node" in result["reason"]
    assert result["msg"] == f"{result['reason']}. {result['remedy']}"


def test_what_is_asked_for_is_documented() -> None:
    documented = yaml.safe_load(fleet_preflight.DOCUMENTATION)["options"]["containers"]["suboptions"]
    fields = {field.name: field.default for field in dataclasses.fields(Needs)}
    assert list(documented) == list(fleet_preflight.CONTAINER) == list(fields)
    for name, default in fields.items():
        expected = {"required": True} if default is dataclasses.MISSING else {"default": default}
        given = {key: documented[name].get(key) for key in expected}
        assert {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()} == expected
