# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.phoenix.hypervisor.plugins.module_utils._runfile import Request
from ansible_collections.phoenix.hypervisor.plugins.modules import nvidia_runfile
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.nvidia_world import VERSION, runfile

NAME = f"NVIDIA-Linux-x86_64-{VERSION}.run"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / NAME
    path.write_bytes(runfile())
    return path


def call(capsys: pytest.CaptureFixture[str], **arguments: t.Any) -> dict[str, t.Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        nvidia_runfile.main()
    result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    return result


def test_cached_path(capsys: pytest.CaptureFixture[str], file: Path, tmp_path: Path) -> None:
    result = call(capsys, state="cached", path=str(file), cache_dir=str(tmp_path / "cache"))
    assert (result["changed"], result["version"], result["path"]) == (False, VERSION, str(file))
    assert result["sha256"] == hashlib.sha256(runfile()).hexdigest()


def test_failure_has_reason_and_remedy(capsys: pytest.CaptureFixture[str], file: Path, tmp_path: Path) -> None:
    result = call(capsys, state="cached", path=str(file), version="580.142", cache_dir=str(tmp_path / "cache"))
    assert (result["failed"], result["code"]) == (True, 2)
    assert result["msg"] == f"{result['reason']}. {result['remedy']}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"state": "installed"}, "state is installed but any of the following are missing: url, path"),
        ({"state": "cached"}, "state is cached but any of the following are missing: url, path"),
        ({"url": "https://h/x.run", "path": "/x.run"}, "parameters are mutually exclusive: url|path"),
    ],
)
def test_arguments(capsys: pytest.CaptureFixture[str], arguments: dict[str, t.Any], message: str) -> None:
    assert call(capsys, **arguments)["msg"] == message


def test_documentation_tells_the_defaults() -> None:
    documented = yaml.safe_load(nvidia_runfile.DOCUMENTATION)["options"]
    fields = {field.name: field.default for field in dataclasses.fields(Request)}
    assert documented.keys() == fields.keys()
    for name, default in fields.items():
        told = documented[name].get("default")
        assert (tuple(told) if isinstance(told, list) else told) == default
