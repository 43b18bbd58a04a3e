# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Containers of the lab's node, and the collection's roles on them as a playbook has them.

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from lab.smoke.running import RunningLab

UBUNTU = "local:vztmpl/ubuntu-24.04-standard_24.04-2_amd64.tar.zst"
RUNFILE = "https://us.download.nvidia.com/XFree86/Linux-x86_64/580.76.05/NVIDIA-Linux-x86_64-580.76.05.run"
_RECAP = re.compile(r"^(\S+) +: ok=\d+ +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Played:
    output: str
    changed: int
    failed: bool

    @property
    def changes(self) -> list[str]:
        """The names of the tasks that changed something."""
        blocks = re.split(r"^(?:TASK|RUNNING HANDLER) \[(?:\S+ : )?(.*?)\] \**$", self.output, flags=re.MULTILINE)
        return [name for name, text in zip(blocks[1::2], blocks[2::2], strict=True) if "\nchanged: [" in text]

    @property
    def message(self) -> str:
        """What the failed task says."""
        found = re.search(r'"msg": "((?:[^"\\]|\\.)*)"', self.output)
        return str(json.loads(f'"{found[1]}"')) if found else ""


class Box:
    """A container of the lab."""

    def __init__(self, lab: RunningLab, ctid: int) -> None:
        self.lab, self.ctid = lab, ctid
        self.address = str(lab.lab.subnet[ctid % 256])

    def create(self, *, unprivileged: bool = False) -> Box:
        net = f"name=eth0,bridge=vmbr0,ip={self.address}/24,gw={self.lab.lab.gateway}"
        self.destroy()
        self.lab.exec(
            "pct", "create", str(self.ctid), UBUNTU, "--rootfs", "lab:8", "--memory", "1024", "--net0", net,
            "--features", "nesting=1", "--unprivileged", str(int(unprivileged)), "--hostname", f"c{self.ctid}",
        )  # fmt: skip
        self.node({"phoenix.hypervisor.lxc_container": {"ctid": self.ctid, "state": "started", "wait": "network"}})
        return self

    def gpus(self, *gpus: int) -> None:
        """Give it GPUs and the driver's libraries."""
        self.node(
            {"phoenix.hypervisor.lxc_gpu_passthrough": {"ctid": self.ctid, "gpus": list(gpus)}},
            {"phoenix.hypervisor.lxc_container": {"ctid": self.ctid, "state": "restarted", "wait": "network"}},
            {"phoenix.hypervisor.nvidia_runfile": {"ctid": self.ctid, "url": RUNFILE}},
        )

    def run(self, script: str, *, check: bool = True) -> str:
        return self.lab.exec("pct", "exec", str(self.ctid), "--", "sh", "-ec", script, check=check)

    def destroy(self) -> None:
        self.lab.exec("pct", "destroy", str(self.ctid), "--force", "1", check=False)

    def node(self, *tasks: dict[str, Any]) -> None:
        played = _play(self, "nodes", {"tasks": list(tasks)}, {}, ())
        assert not played.failed, played.output

    def role(self, name: str, *options: str, tasks_from: str = "main", **variables: Any) -> Played:
        task = {"ansible.builtin.import_role": {"name": f"phoenix.hypervisor.{name}", "tasks_from": tasks_from}}
        return _play(self, "containers", {"tasks": [task]}, variables, options)

    def converged(self, name: str, *options: str, tasks_from: str = "main", **variables: Any) -> Played:
        played = self.role(name, *options, tasks_from=tasks_from, **variables)
        assert not played.failed, played.output
        return played

    def refused(self, name: str, *options: str, tasks_from: str = "main", **variables: Any) -> str:
        played = self.role(name, *options, tasks_from=tasks_from, **variables)
        assert played.failed, played.output
        return played.message


def _play(box: Box, group: str, play: dict[str, Any], variables: dict[str, Any], options: tuple[str, ...]) -> Played:
    lab = box.lab.lab
    login = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(lab.ssh_key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={lab.known_hosts} -o ConnectTimeout=10",
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    node = str(lab.subnet[10])
    inside = {"ansible_connection": "phoenix.hypervisor.pct", "phoenix_ctid": box.ctid, "phoenix_node": node}
    inventory = {
        "nodes": {"hosts": {"pve1": {"ansible_host": node, **login}}},
        "containers": {"hosts": {f"c{box.ctid}": {**inside, **login}}},
    }
    with tempfile.TemporaryDirectory() as folder:
        hosts, playbook = Path(folder) / "hosts.json", Path(folder) / "play.json"
        hosts.write_text(json.dumps(inventory))
        playbook.write_text(json.dumps([{"hosts": group, "gather_facts": False, **play}]))
        done = subprocess.run(
            ["ansible-playbook", "-i", hosts, "-e", json.dumps(variables), *options, playbook],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={
                **os.environ,
                "ANSIBLE_PIPELINING": "1",
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            },
            timeout=400,
            check=False,
        )
    recap = _RECAP.search(done.stdout)
    assert recap, done.stdout + done.stderr
    return Played(done.stdout + done.stderr, int(recap[2]), done.returncode != 0)
