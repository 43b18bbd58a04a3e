# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Every module ends with a reason and a remedy, also where it is the system that refuses something.

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.modules import lxc_container

MODULES = sorted(path for path in Path(lxc_container.__file__).parent.glob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_module_fails_in_a_way_of_its_own(module: Path) -> None:
    text = module.read_text()
    assert text.count("with reporting(module.fail_json):") == 1
    assert "fail_json(**" not in text
