# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventories that people start from follow the collection's own advice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._pinned_image import MOVING, Reference

CHECKOUT = Path(__file__).parents[3]


def containers(name: str) -> dict[str, Any]:
    file = CHECKOUT / "inventories" / name / "fleet.cfg/phoenix_lxc_configs.json"
    found: dict[str, Any] = json.loads(file.read_text())["lxc_configs"]
    return found


def images(name: str) -> set[str]:
    return {image for config in containers(name).values() for image in config.get("verify", {}).get("images", [])}


@pytest.mark.parametrize("name", ["example", "lab"])
def test_images_are_pinned_to_a_version(name: str) -> None:
    assert not [image for image in images(name) if Reference.parse(image).tag in MOVING]


@pytest.mark.parametrize("name", ["example", "lab"])
def test_systemd_runs_in_every_container(name: str) -> None:
    """What is played in the lab is what people start from: without nesting, systemd-networkd may not start."""
    assert [ctid for ctid, config in containers(name).items() if "nesting=1" not in config["pct_options"]] == []
