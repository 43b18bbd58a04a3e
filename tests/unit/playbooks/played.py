# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import ansible_collections.phoenix.hypervisor as collection
import yaml

CHECKOUT = Path(__file__).parents[3]
PLAYBOOKS = CHECKOUT / "playbooks"


def load(name: str) -> list[dict[str, Any]]:
    """A file of the folder playbooks."""
    found: list[dict[str, Any]] = yaml.safe_load((PLAYBOOKS / name).read_text())
    return found


def play(home: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """ansible-playbook, really run, with nothing of the one who runs the tests."""
    return subprocess.run(
        [Path(sysconfig.get_path("scripts")) / "ansible-playbook", *words],
        capture_output=True,
        text=True,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_HOME": str(home / "ansible"),
            "ANSIBLE_COLLECTIONS_PATH": str(Path(next(iter(collection.__path__))).parents[2]),
            "ANSIBLE_NOCOLOR": "1",
        },
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
