# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The roles on a lab of their own.

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.smoke.running import RunningLab, lab_for_tests


@pytest.fixture(scope="session")
def lab() -> Iterator[RunningLab]:
    yield from lab_for_tests("roles", "10.99.79.0/24")
