# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What the tests of both NVIDIA roles need: a role run on a running lab, and what the run said.

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import typing as t
from collections.abc import Iterator
from pathlib import Path

from lab.smoke.running import RunningLab

VERSION = "580.76.05"
NEWER = "580.159.04"
CUDA = "https://developer.download.nvidia.com/compute/cuda/repos"
CTID = 110
_RECAP = re.compile(
    r"^(?P<host>\S+) +: ok=\d+ +changed=(?P<changed>\d+) +unreachable=(?P<unreachable>\d+) +failed=(?P<failed>\d+)",
    re.MULTILINE,
)


def runfile(version: str) -> str:
    return f"https://us.download.nvidia.com/XFree86/Linux-x86_64/{version}/NVIDIA-Linux-x86_64-{version}.run"


@dataclasses.dataclass(frozen=True)
class Played:
    """What a play did on its host."""

    changed: int
    failed: bool
    output: str

    @property
    def words(self) -> str:
        """The output on one line: messages are folded where the terminal ends."""
        return " ".join(self.output.split())


class Roles:
    """Plays roles against a lab of its own, which is bare when it comes up."""

    def __init__(self, lab: RunningLab, folder: Path) -> None:
        self.lab = lab
        self._folder = folder
        subnet = lab.lab.subnet
        login = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(lab.lab.ssh_key),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={lab.lab.known_hosts} -o ConnectTimeout=10",
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        inside = {"ansible_connection": "phoenix.hypervisor.pct", "phoenix_ctid": CTID, "phoenix_node": str(subnet[10])}
        self._inventory = folder / "hosts.json"
        self._inventory.write_text(
            json.dumps(
                {
                    "all": {"vars": login},
                    "nodes": {"hosts": {"pve1": {"ansible_host": str(subnet[10])}}},
                    "containers": {"hosts": {"gpu": inside}},
                }
            )
        )

    def play(self, tasks: list[dict[str, t.Any]], host: str, *options: str) -> Played:
        playbook = self._folder / "playbook.json"
        playbook.write_text(json.dumps([{"hosts": host, "gather_facts": False, "tasks": tasks}]))
        done = subprocess.run(
            ["ansible-playbook", "-i", str(self._inventory), *options, str(playbook)],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "ANSIBLE_PIPELINING": "1", "ANSIBLE_NOCOLOR": "1"},
            timeout=600,
            check=False,
        )
        output = done.stdout + done.stderr
        recap = {found["host"]: found for found in _RECAP.finditer(output)}.get(host)
        assert recap, output
        assert recap["unreachable"] == "0", output
        return Played(int(recap["changed"]), recap["failed"] != "0", output)

    def task(self, module: str, host: str = "pve1", *options: str, **arguments: t.Any) -> Played:
        return self.play([{f"phoenix.hypervisor.{module}": arguments}], host, *options)

    def role(self, name: str, host: str, variables: dict[str, t.Any], *options: str, start: str = "main") -> Played:
        include = {"name": f"phoenix.hypervisor.{name}", "tasks_from": start}
        return self.play([{"ansible.builtin.include_role": include, "vars": variables}], host, *options)

    def node(self, *options: str, version: str = VERSION, start: str = "main", **variables: t.Any) -> Played:
        defaults = {
            "hypervisor_nvidia_runfile_url": runfile(version),
            "hypervisor_nvidia_cuda": True,
            "hypervisor_nvidia_cuda_repo_url": f"{CUDA}/debian13/x86_64/",
        }
        named = {f"hypervisor_nvidia_{name}": value for name, value in variables.items()}
        return self.role("hypervisor_nvidia", "pve1", defaults | named, *options, start=start)

    def container(self, *options: str, version: str = VERSION, start: str = "main", **variables: t.Any) -> Played:
        defaults = {
            "lxc_nvidia_node": "pve1",
            "lxc_nvidia_ctid": CTID,
            "lxc_nvidia_gpus": "0,1",
            "lxc_nvidia_runfile_url": runfile(version),
        }
        named = {f"lxc_nvidia_{name}": value for name, value in variables.items()}
        return self.role("lxc_nvidia", "gpu", defaults | named, *options, start=start)

    def create(self) -> None:
        subnet = self.lab.lab.subnet
        network = {"name": "eth0", "bridge": "vmbr0", "ip": f"{subnet[CTID]}/24", "gw": str(subnet[1])}
        made = self.task(
            "lxc_container",
            ctid=CTID,
            state="started",
            wait="network",
            hostname="gpu",
            ostemplate="local:vztmpl/ubuntu-24.04-standard_24.04-2_amd64.tar.zst",
            rootfs={"storage": "lab", "size_gb": 8},
            memory_mb=1024,
            networks=[network],
            unprivileged=False,
            features={"nesting": True},
        )
        assert not made.failed, made.output

    def destroy(self) -> None:
        self.lab.run("exec", "pve1", "--", "pct", "destroy", str(CTID), "--force", "1", check=False)

    def bare(self) -> None:
        """The lab as new, and its node without a driver."""
        self.lab.run("reset", *BareLab.OPTIONS)

    def gpu(self, *switches: str) -> None:
        self.lab.run("gpu", "pve1", *switches)


class BareLab(RunningLab):
    """A lab whose node has GPUs and no driver."""

    OPTIONS = ("--driver", "none")

    def up(self, *options: str) -> str:
        return super().up(*(options or self.OPTIONS))


def bare_lab() -> Iterator[RunningLab]:
    """One for all tests of a folder. PHOENIX_LAB_KEEP=1 leaves it running."""
    name = os.environ.get("PHOENIX_LAB_TEST_NAME", "test")
    running = BareLab(name, os.environ.get("PHOENIX_LAB_TEST_SUBNET", "10.99.77.0/24"))
    running.up()
    yield running
    if not os.environ.get("PHOENIX_LAB_KEEP"):
        running.down()
