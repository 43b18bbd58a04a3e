# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.scripts.harness.lab import root_prefix
from ansible_collections.phoenix.hypervisor.scripts.harness.report import HarnessError


def has_sudo(folder: Path, monkeypatch: pytest.MonkeyPatch, *, status: int) -> None:
    program = folder / "sudo"
    program.write_text(f"#!/bin/sh\nexit {status}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_root_needs_nothing() -> None:
    assert root_prefix("sudo scripts/demo", is_root=True) == []


def test_sudo_without_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has_sudo(tmp_path, monkeypatch, status=0)
    assert root_prefix("sudo scripts/demo", is_root=False) == ["sudo", "--non-interactive"]


def test_nobody_who_may_be_root_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has_sudo(tmp_path, monkeypatch, status=1)
    with pytest.raises(HarnessError, match=r"^a lab needs root: sudo scripts/demo$"):
        root_prefix("sudo scripts/demo", is_root=False)


def test_without_sudo_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HarnessError, match=r"^a lab needs root: sudo scripts/demo$"):
        root_prefix("sudo scripts/demo", is_root=False)
