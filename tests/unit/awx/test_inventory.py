# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# An inventory means the same after its way through AWX, which takes what ansible-inventory exports, and gives it to a
# job as the answer of a script.

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import ansible_collections.phoenix.hypervisor as collection

TREE = Path(__file__).parents[3]
ROOT = Path(next(iter(collection.__path__))).parents[2]


def run(program: str, *arguments: object) -> str:
    return subprocess.run(
        [Path(sysconfig.get_path("scripts")) / program, *map(str, arguments)],
        env={
            **{name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ},
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT),
            "ANSIBLE_NOCOLOR": "true",
            "LC_ALL": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_inventory_survives_awx(tmp_path: Path) -> None:
    source = TREE / "inventories/example/hosts.yml"
    exported = tmp_path / "exported.json"
    exported.write_text(run("ansible-inventory", f"--inventory={source}", "--list", "--export"))
    script = tmp_path / "hosts"
    script.write_text(f"#!/bin/sh\ncat {exported}\n")
    script.chmod(0o755)
    for inventory in (source, script):
        answer = run(
            "ansible", f"--inventory={inventory}", "--connection=local", "vllmQwen3Coder", "--module-name=debug",
            "--args=msg={{ phoenix_node }}/{{ phoenix_ctid }}/{{ groups.phoenix_layers | length }}",
        )  # fmt: skip
        assert "10.0.0.13/950/5" in answer
