# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What status.yml shows, from what layer_info is documented to return.

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.phoenix.hypervisor.plugins.modules import layer_info
from ansible_collections.phoenix.hypervisor.tests.unit.playbooks.played import PLAYBOOKS, play

SAMPLES = {name: value["sample"] for name, value in yaml.safe_load(layer_info.RETURN).items() if "sample" in value}


def shown(tmp_path: Path, **snapshot: Any) -> str:
    layer = SAMPLES["containers"]["900"]
    layer["snapshots"] = [{"name": "base-snapshot", "metadata": {}, "state": "", **snapshot}]
    status = {"phoenix_status": {"containers": {"900": layer}, "node": SAMPLES["node"]}}
    (tmp_path / "templates").symlink_to(PLAYBOOKS / "templates")
    show = yaml.safe_load((PLAYBOOKS / "status.yml").read_text())[0]["tasks"][-1]
    play_book = [{"hosts": "all", "gather_facts": False, "vars": status, "tasks": [show]}]
    (tmp_path / "status.yml").write_text(json.dumps(play_book))
    done = play(tmp_path, "-i", "pve1,", tmp_path / "status.yml")
    assert done.returncode == 0, done.stdout
    return next(line.strip(" -,'\"") for line in done.stdout.splitlines() if "900 BaseTemplate" in line)


@pytest.mark.parametrize(
    ("snapshot", "told"),
    [
        ({}, "snapshot base-snapshot"),
        ({"metadata": {"fingerprint": "4f6a"}}, "sealed as base-snapshot"),
        ({"metadata": {"fingerprint": "4f6a"}, "state": "prepare"}, "snapshot base-snapshot (incomplete)"),
    ],
    ids=["by hand", "sealed", "incomplete"],
)
def test_what_is_told_of_a_snapshot(tmp_path: Path, snapshot: dict[str, Any], told: str) -> None:
    assert shown(tmp_path, **snapshot) == f"900 BaseTemplate: running, {told}"
