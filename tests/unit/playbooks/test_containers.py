# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import yaml
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_model import DEPTHS

PLAYBOOKS = Path(__file__).parents[3] / "playbooks"


def test_every_depth_that_a_fleet_may_have_is_played() -> None:
    plays = yaml.safe_load((PLAYBOOKS / "containers.yml").read_text())
    waves = [play["vars"]["phoenix_wave"] for play in plays if "vars" in play]
    assert waves == list(range(DEPTHS))
