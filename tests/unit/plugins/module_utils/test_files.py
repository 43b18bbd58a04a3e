# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._files import replace
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import full_disk


def test_a_file_is_made_with_its_folder_and_mode(tmp_path: Path) -> None:
    place = tmp_path / "etc/docker/daemon.json"
    for mode in (0o644, 0o600):
        replace(place, f"{mode}", mode=mode)
        assert (place.read_text(), place.stat().st_mode & 0o777) == (f"{mode}", mode)
    assert list(place.parent.iterdir()) == [place]


def test_a_full_disk_leaves_what_was_there_and_names_the_file(tmp_path: Path) -> None:
    place = tmp_path / "daemon.json"
    place.write_text("before")
    with pytest.raises(OSError, match="File too large") as caught, full_disk():
        replace(place, "after")
    assert caught.value.filename == str(place)
    assert place.read_text() == "before"
    assert list(tmp_path.iterdir()) == [place]
