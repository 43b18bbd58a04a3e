# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The modules that run inside containers: their arguments, and that what they return is documented.

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker_config import DockerConfig
from ansible_collections.phoenix.hypervisor.plugins.module_utils._package_groups import PackageGroups
from ansible_collections.phoenix.hypervisor.plugins.modules import (
    apt_packages,
    docker_check,
    docker_config,
    guest_ready,
)
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import FakeRunner

ABOUT_FAILURES = {"code", "reason", "remedy"}


def run(module: t.Any, capsys: pytest.CaptureFixture[str], **arguments: object) -> dict[str, t.Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    return result


def documented(module: t.Any) -> set[str]:
    return set(yaml.safe_load(module.RETURN)) - ABOUT_FAILURES


def test_apt_packages(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(apt_packages, capsys)
    assert not result["changed"]
    assert documented(apt_packages) == result.keys() - {"changed", "diff", "invocation"}
    result = run(apt_packages, capsys, held=[{"packages": []}])
    assert (result["failed"], result["code"]) == (True, 2)
    assert PackageGroups(runner=FakeRunner()).run().keys() == {"changed", "packages", "commands", "diff"}


def test_docker_config(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = DockerConfig({}, nvidia=False, root=tmp_path, runner=FakeRunner()).run()
    assert documented(docker_config) == result.keys() - {"changed", "diff"}
    result = run(docker_config, capsys, _ansible_check_mode=True)
    assert documented(docker_config) <= result.keys()


def test_docker_check(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(docker_check, capsys, _ansible_check_mode=True)
    assert not result.get("failed")
    assert not result["changed"]
    assert {"assigned", "version", "storage_driver", "cgroup_driver", "runtimes", "gpus", "nvidia_smi"} == documented(
        docker_check
    )


def test_guest_ready(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(guest_ready, capsys, timeout=0, hosts=["name.invalid"])
    assert result["failed"]
    assert result["code"] in (1, 6)
    assert documented(guest_ready) == {"system_state"}
