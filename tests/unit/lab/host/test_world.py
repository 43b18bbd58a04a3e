# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import LabError
from lab.host.images import need_space
from lab.host.world import own_group


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("0::/user.slice/user-0.slice/session-1.scope\n", "groups/user.slice/user-0.slice/session-1.scope"),
        ("9:name=systemd:/x\n8:pids:/y\n0::/\n", "groups"),
        ("8:pids:/y\n", "groups"),
    ],
    ids=["pure", "hybrid", "version 1"],
)
def test_own_group(tmp_path: Path, text: str, group: str) -> None:
    (tmp_path / "cgroup").write_text(text)
    assert own_group(tmp_path / "groups", tmp_path) == tmp_path / group


def test_a_full_disk_is_seen_before_anything_is_made(tmp_path: Path) -> None:
    need_space(tmp_path, 1)
    with pytest.raises(LabError, match=rf"GB are free in {tmp_path}, and the lab needs 1000000000\.0 GB there"):
        need_space(tmp_path, 10**18)
