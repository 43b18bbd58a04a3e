# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What `up` is asked for, and what the lab that runs was asked for.

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import Any

from ..errors import LabError
from ..gpu import Options as GpuOptions
from .lab import MOST_NODES, Lab

MOST_GPUS = 16
_DRIVER = re.compile(r"\d{3}\.\d{1,3}(\.\d{1,3})?")


@dataclasses.dataclass(frozen=True)
class Wanted:
    nodes: int = 1
    gpus: GpuOptions = dataclasses.field(default_factory=GpuOptions)
    start_delay: float = 0.0

    def check(self) -> None:
        if not 1 <= self.nodes <= MOST_NODES:
            raise LabError(f"--nodes {self.nodes} is not possible", f"A lab has 1 to {MOST_NODES} nodes")
        if not 0 <= self.gpus.count <= MOST_GPUS:
            raise LabError(f"--gpus {self.gpus.count} is not possible", f"A node has 0 to {MOST_GPUS} GPUs")
        if self.gpus.driver and not _DRIVER.fullmatch(self.gpus.driver):
            raise LabError(
                f"--driver {self.gpus.driver!r} is no version of a driver",
                f"Give one like {GpuOptions.driver}, or none",
            )
        if not (math.isfinite(self.start_delay) and self.start_delay >= 0):
            raise LabError(f"--start-delay {self.start_delay:g} is not possible", "Give seconds, 0 or more")


def recorded(lab: Lab, wanted: Wanted) -> str:
    """What is kept of the settings of a lab."""
    return json.dumps({"subnet": str(lab.subnet), **dataclasses.asdict(wanted)})


def differences(record: dict[str, Any], lab: Lab, wanted: Wanted) -> list[str]:
    """How a lab differs from what is wanted. What another version of the lab recorded or did not counts for nothing."""
    had, want = _flat(record), _flat(json.loads(recorded(lab, wanted)))
    return [f"{key} {had[key]}, not {want[key]}" for key in want if key in had and had[key] != want[key]]


def _flat(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in record.items():
        name = f"{prefix}{key.replace('_', '-')}"
        found.update(_flat(value, f"{name} ") if isinstance(value, dict) else {name: value})
    return found
