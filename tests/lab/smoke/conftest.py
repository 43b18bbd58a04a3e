# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# These tests run a lab of their own, beside any other one. PHOENIX_LAB_KEEP=1 leaves it running, to look at and to run
# single tests again at once.

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lab.smoke.running import RunningLab

SUBNET = os.environ.get("PHOENIX_LAB_TEST_SUBNET", "10.99.77.0/24")


@pytest.fixture(scope="session")
def lab() -> Iterator[RunningLab]:
    running = RunningLab("test", SUBNET)
    running.up()
    yield running
    if not os.environ.get("PHOENIX_LAB_KEEP"):
        running.down()
