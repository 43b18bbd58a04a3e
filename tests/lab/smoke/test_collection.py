# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The collection against the lab: what the lab is for.

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.smoke.running import RunningLab

PLAYBOOK = Path(__file__).with_name("playbook.yml")
_RECAP = re.compile(r"pve1 +: ok=(\d+) +changed=(\d+) +unreachable=0 +failed=0")


class Playbook:
    def __init__(self, lab: RunningLab, folder: Path) -> None:
        self.lab = lab
        subnet = lab.lab.subnet
        login = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(lab.lab.ssh_key),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={lab.lab.known_hosts} -o ConnectTimeout=10",
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        node = str(subnet[10])
        inside = {"ansible_connection": "phoenix.hypervisor.pct", "phoenix_ctid": 110, "phoenix_node": node}
        addresses = {"address": str(subnet[110]), "clone_address": str(subnet[111]), "gateway": str(subnet[1])}
        inventory = {
            "nodes": {"hosts": {"pve1": {"ansible_host": node, **addresses, **login}}},
            "containers": {"hosts": {"smoke": {**inside, **login}}},
        }
        self.inventory = folder / "hosts.json"
        self.inventory.write_text(json.dumps(inventory))

    def run(self, *options: str) -> tuple[int, str]:
        """The count of changes, and the output."""
        done = subprocess.run(
            ["ansible-playbook", "-i", self.inventory, *options, PLAYBOOK],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "ANSIBLE_PIPELINING": "1", "ANSIBLE_NOCOLOR": "1"},
            timeout=300,
            check=False,
        )
        recap = _RECAP.search(done.stdout)
        assert done.returncode == 0, done.stdout + done.stderr
        assert recap, done.stdout + done.stderr
        return int(recap[2]), done.stdout


def everything(lab: RunningLab) -> str:
    """A hash of the node's files and its containers', but for what runs writes of itself."""
    unwatched = ("*/var/log", "*/var/lib/systemd", "*/var/cache", "*/tmp", "*/run", "/etc/phoenix-lab")
    find = ["find", "/etc", "/root", "/rpool", "/usr/local", "/var/lib/lxc", "("]
    for number, pattern in enumerate(unwatched):
        find += [*(["-o"] if number else []), "-path", pattern]
    listing = lab.exec(*find, ")", "-prune", "-o", "-printf", "%p %y %m %U %G %s %T@\\n")
    return hashlib.sha256("\n".join(sorted(listing.splitlines())).encode()).hexdigest()


@pytest.fixture
def playbook(lab: RunningLab, tmp_path: Path) -> Iterator[Playbook]:
    yield Playbook(lab, tmp_path)
    for ctid in ("111", "110"):
        lab.run("exec", "pve1", "--", "pct", "destroy", ctid, "--force", "1", check=False)


def test_the_collection_builds_containers_and_finds_them_built(lab: RunningLab, playbook: Playbook) -> None:
    changed, _ = playbook.run()
    assert changed == 6
    calls = len(lab.calls())
    changed, output = playbook.run()
    assert (changed, lab.calls()[calls:]) == (0, []), output


def test_check_mode_says_what_will_change_and_writes_nothing(lab: RunningLab, playbook: Playbook) -> None:
    playbook.run()
    lab.exec("pct", "set", "110", "--memory", "768")
    before = everything(lab)
    changed, _ = playbook.run("--check", "--diff")
    assert changed == 1
    assert everything(lab) == before
    assert playbook.run()[0] == 1
