# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.nvidia_lab import Roles, bare_lab
from lab.smoke.running import RunningLab


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    yield from bare_lab()


@pytest.fixture(scope="module")
def roles(lab: RunningLab, tmp_path_factory: pytest.TempPathFactory) -> Roles:
    return Roles(lab, Path(tmp_path_factory.mktemp("roles")))
