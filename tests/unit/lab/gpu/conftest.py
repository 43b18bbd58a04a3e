# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from lab.gpu import elf
from lab.gpu.kernel import Machine, create

REAL_DEVICES = """\
Character devices:
  1 mem
  5 /dev/tty
195 nvidia
235 aux
511 nvidia-uvm

Block devices:
  7 loop
"""
FIELDS = {"version": "580.76.05", "license": "Dual MIT/GPL"}


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node whose kernel and files lie below one root, as they do in the node itself; no driver is loaded."""
    create(tmp_path, Machine(driver=""), real_devices=REAL_DEVICES)
    (tmp_path / "usr/lib/modules/6.14.11-4-pve/kernel/drivers/gpu/drm/nouveau").mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "dev").mkdir()
    return tmp_path


@pytest.fixture
def driver(node: Path) -> Path:
    """The same with a driver on its disk."""
    folder = node / "usr/lib/modules/6.14.11-4-pve/updates/dkms"
    folder.mkdir(parents=True)
    for name in ("nvidia", "nvidia-modeset", "nvidia-drm", "nvidia-uvm"):
        (folder / f"{name}.ko").write_bytes(elf.module({**FIELDS, "vermagic": "6.14.11-4-pve SMP"}))
    return node
