# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests set: how long everything takes, and what goes wrong (the package's docstring lists the names)."""

from __future__ import annotations

import os
import time
from pathlib import Path

# The recorded first start took 40 s.
DEFAULT_SCALE = 0.075


def time_scale() -> float:
    return float(os.environ.get("VLLM_LAB_TIME_SCALE") or DEFAULT_SCALE)


def is_on(fault: str) -> bool:
    if fault in os.environ.get("VLLM_LAB_FAULTS", "").split(","):
        return True
    return Path(os.environ.get("VLLM_LAB_FOLDER") or "/tmp/vllm-lab", fault).exists()


class Timeline:
    """Passes through the recorded times of a start, scaled. A fork goes on with the same one."""

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self._started = time.monotonic()

    def until(self, seconds: float) -> None:
        rest = self._started + seconds * self.scale - time.monotonic()
        if rest > 0:
            time.sleep(rest)

    def wait(self, seconds: float) -> None:
        time.sleep(seconds * self.scale)
