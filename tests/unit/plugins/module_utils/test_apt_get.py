# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._apt_get import (
    Apt,
    candidates,
    purge_command,
    source_files,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import FakeClock, FakeRunner

POLICY = """\
proxmox-headers-6.17.2-1-pve:
  Installed: (none)
  Candidate: 6.17.2-1
pve-headers-6.17.2-1-pve:
  Installed: (none)
  Candidate: (none)
"""


def test_what_apt_could_install() -> None:
    runner = FakeRunner({"apt-cache policy -- a b": POLICY})
    assert candidates(["a", "b"], runner) == {"proxmox-headers-6.17.2-1-pve"}


def test_a_purge_elsewhere_asks_nothing() -> None:
    start = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=120"]
    assert purge_command(["a"], simulate=True) == [*start, "--simulate", "purge", "--", "a"]
    assert purge_command(["a"], simulate=False) == [*start, "--yes", "--quiet", "purge", "--", "a"]


def test_the_files_that_name_repositories(tmp_path: Path) -> None:
    folder = tmp_path / "etc/apt/sources.list.d"
    assert source_files(Tree(tmp_path)) == []
    folder.mkdir(parents=True)
    for name in ("b.sources", "a.list", "a.list.save", "x.bak"):
        (folder / name).touch()
    assert source_files(Tree(tmp_path)) == ["/etc/apt/sources.list.d/a.list", "/etc/apt/sources.list.d/b.sources"]
    (tmp_path / "etc/apt/sources.list").touch()
    assert source_files(Tree(tmp_path))[0] == "/etc/apt/sources.list"


def test_lists_are_fetched_strictly_and_within_the_time_that_is_left() -> None:
    clock, runner = FakeClock(), FakeRunner({"apt-get": ""})
    apt = Apt(runner, clock.deadline(60))
    clock.advance(50)
    assert apt.update() == ()
    options = "-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o Acquire::Retries=3"
    command = f"apt-get -y {options} -o DPkg::Lock::Timeout=10 update -o APT::Update::Error-Mode=any"
    assert runner.commands == apt.commands == [command]
    assert runner.calls[0].timeout == 10
