# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.phoenix.hypervisor.plugins.modules import application_check


@pytest.mark.parametrize("check_mode", [False, True], ids=["run", "check"])
def test_a_command_that_cannot_be_and_a_secret(capsys: pytest.CaptureFixture[str], check_mode: bool) -> None:
    arguments = {
        "name": "qdrant",
        "command": "curl -H 'key: a-secret-word",
        "secrets": {"API_KEY": "a-secret-word"},
        "_ansible_check_mode": check_mode,
    }
    with patch_module_args(arguments), pytest.raises(SystemExit):
        application_check.main()
    output = capsys.readouterr().out
    result = json.loads(output)
    assert result["code"] == 2
    assert result["reason"].startswith('command: "curl -H \'key: ********" cannot be split into words')
    assert "a-secret-word" not in output


def test_what_is_returned_is_documented() -> None:
    documented = yaml.safe_load(application_check.RETURN)
    returned = [name for name, value in documented.items() if value["returned"] == "success"]
    assert returned == ["name", "image", "started", "tries"]
