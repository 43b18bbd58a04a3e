# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json


@dataclasses.dataclass(frozen=True)
class Options:
    """What a node's GPUs are like when it is made; hardware.py knows the models."""

    count: int = 2
    driver: str = "580.76.05"
    """The version that is loaded at a boot as long as the node has no driver of its own on disk; empty is none."""
    model: str = "rtx-5060-ti"

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))
