# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Most of _nvidia_state is held by test_runfile; here is what layer_info alone uses.

from __future__ import annotations

from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_state import version_on_disk
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.nvidia_world import (
    KERNEL,
    VERSION,
    World,
    elf_module,
    write,
)

OTHER_KERNEL = "6.14.8-2-pve"


def test_the_module_that_dkms_installed_for_the_kernel(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.dkms(VERSION, KERNEL)
    assert version_on_disk(Tree(world.root), KERNEL) == VERSION
    assert version_on_disk(Tree(world.root), OTHER_KERNEL) == ""


def test_a_module_that_dkms_knows_nothing_of(tmp_path: Path) -> None:
    write(tmp_path, f"lib/modules/{KERNEL}/updates/nvidia.ko", elf_module({"version": VERSION, "license": "NVIDIA"}))
    assert version_on_disk(Tree(tmp_path), KERNEL) == VERSION


def test_a_compressed_module_is_not_asked_for_by_a_process(tmp_path: Path) -> None:
    write(tmp_path, f"lib/modules/{KERNEL}/updates/nvidia.ko.zst", b"\x28\xb5\x2f\xfd")
    assert version_on_disk(Tree(tmp_path), KERNEL) == ""
