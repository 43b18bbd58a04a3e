# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What README.md says of an inventory that somebody wrote by hand, word by word; only the node's address is the lab's.

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.smoke.running import RunningLab
from lab.smoke.test_containers import UBUNTU, Container

README = Path(__file__).parents[3].joinpath("README.md").read_text()
NODE = "192.0.2.10"


@pytest.fixture
def base(lab: RunningLab) -> Iterator[Container]:
    container = Container(lab, 900)
    container.create(UBUNTU, "lab", "--hostname", "BaseTemplate", "--unprivileged", "0")
    container.start()
    yield container
    container.destroy()


class Reader:
    def __init__(self, lab: RunningLab, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PRIVATE_KEY_FILE": str(lab.lab.ssh_key),
            "ANSIBLE_SSH_COMMON_ARGS": f"-o UserKnownHostsFile={lab.lab.known_hosts} -o ConnectTimeout=10",
        }
        text = re.search(r"```yaml\n# inventory\.yml\n(.*?)```", README, re.DOTALL)
        assert text
        (folder / "inventory.yml").write_text(text[1].replace(NODE, str(lab.lab.subnet[10])))

    def run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def test_its_inventory_and_what_it_does_with_it(lab: RunningLab, base: Container, tmp_path: Path) -> None:
    reader = Reader(lab, tmp_path)
    lines = re.findall(r"^(ansible\S* -i inventory\.yml .*)$", README, re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        done = reader.run(shlex.split(line))
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        expected = "VERSION_CODENAME=noble" if "os-release" in line else "BaseTemplate"
        assert expected in done.stdout, f"{line}\n{done.stdout}"


def test_a_playbook_says_which_inventory_it_needs(lab: RunningLab, tmp_path: Path) -> None:
    done = Reader(lab, tmp_path).run(["ansible-playbook", "-i", "inventory.yml", "phoenix.hypervisor.containers"])
    assert done.returncode != 0
    told = " ".join(done.stdout.split())
    assert "BaseTemplate: no variable says what this container shall be (phoenix_node_name is missing)." in told
    assert "ansible-playbook phoenix.hypervisor.inventory" in told
