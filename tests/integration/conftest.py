# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The roles on a lab of their own. PHOENIX_LAB_KEEP=1 leaves it running, PHOENIX_LAB_TEST_NAME and
# PHOENIX_LAB_TEST_SUBNET take another one, for example one that runs already.

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lab.smoke.running import RunningLab

NAME = os.environ.get("PHOENIX_LAB_TEST_NAME", "roles")
SUBNET = os.environ.get("PHOENIX_LAB_TEST_SUBNET", "10.99.79.0/24")


@pytest.fixture(scope="session")
def lab() -> Iterator[RunningLab]:
    running = RunningLab(NAME, SUBNET)
    running.up()
    yield running
    if not os.environ.get("PHOENIX_LAB_KEEP"):
        running.down()
