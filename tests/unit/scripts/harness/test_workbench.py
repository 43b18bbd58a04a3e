# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.scripts.harness.report import Report
from ansible_collections.phoenix.hypervisor.scripts.harness.workbench import Workbench


def test_tools_see_nothing_of_the_environment_but_what_is_said_to_the_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOENIX_LAB_MIRROR", "http://mirror.example/debian")
    monkeypatch.setenv("ANSIBLE_STRATEGY", "free")
    monkeypatch.setenv("CI", "true")
    environment = Workbench(Report(), *[tmp_path] * 5).environment
    assert environment["PHOENIX_LAB_MIRROR"] == "http://mirror.example/debian"
    assert environment["CI"] == "true"
    assert "ANSIBLE_STRATEGY" not in environment
