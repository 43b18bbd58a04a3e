# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What holds for every scenario. Molecule gives it to each of them, so that pytest is started at all.

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from testinfra.host import Host


def test_the_scenario_has_tests_of_its_own() -> None:
    assert list(Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]).glob("test_*.py"))


def test_there_is_a_fleet(fleet: dict[str, dict[str, Any]]) -> None:
    assert fleet


def test_the_node_is_a_node(node: Host) -> None:
    assert node.file("/etc/pve/lxc").is_directory
