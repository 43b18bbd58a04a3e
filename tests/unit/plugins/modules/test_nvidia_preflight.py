# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json
import typing as t

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_node import Request
from ansible_collections.phoenix.hypervisor.plugins.modules import nvidia_preflight


def call(capsys: pytest.CaptureFixture[str], **arguments: t.Any) -> dict[str, t.Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        nvidia_preflight.main()
    result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    return result


def test_failure_has_reason_and_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    result = call(capsys, url="driver.run")
    assert (result["failed"], result["code"]) == (True, 2)
    assert result["msg"] == f"{result['reason']}. {result['remedy']}"


def test_documentation_tells_the_defaults() -> None:
    documented = yaml.safe_load(nvidia_preflight.DOCUMENTATION)["options"]
    fields = {field.name: field.default for field in dataclasses.fields(Request)}
    assert documented.keys() == fields.keys()
    for name, default in fields.items():
        assert documented[name].get("default") == (None if default is dataclasses.MISSING else default)
