# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A lab as its user has it: by scripts/lab.

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from lab.host.lab import Lab

SCRIPT = Path(__file__).resolve().parents[3] / "scripts/lab"


class RunningLab:
    def __init__(self, name: str, subnet: str) -> None:
        self.lab = Lab.named(name, subnet)
        self._command = [str(SCRIPT), "--name", name, "--subnet", subnet]

    def run(self, *words: str, check: bool = True, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self._command, *words],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def up(self, *options: str) -> str:
        return self.run("up", *options).stdout

    def down(self) -> str:
        return self.run("down").stdout

    def killed_up(self, seconds: float) -> None:
        """`up` as it is when its terminal, or its machine, goes away in the middle."""
        process = subprocess.Popen(
            [*self._command, "up"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(seconds)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def exec(self, *command: str, node: str = "pve1", check: bool = True, timeout: float = 120) -> str:
        return self.run("exec", node, "--", *command, check=check, timeout=timeout).stdout

    def shell(self, script: str, node: str = "pve1") -> str:
        return self.exec("sh", "-ec", script, node=node)

    def reboot(self, node: str = "pve1") -> None:
        boot_id = ("cat", "/proc/sys/kernel/random/boot_id")
        before = self.exec(*boot_id, node=node)
        self.exec("systemctl", "reboot", node=node, check=False)
        deadline = time.monotonic() + 60
        while (after := self.exec(*boot_id, node=node, check=False)) in ("", before):
            assert time.monotonic() < deadline, f"{node} did not reboot: {before!r} {after!r}"
            time.sleep(0.1)
        self.up()

    def inside(self, ctid: int, *command: str) -> str:
        return self.exec("pct", "exec", str(ctid), "--", *command)

    def calls(self, node: str = "pve1") -> list[dict[str, object]]:
        """What of the stand-in was called on the node so far."""
        text = self.shell("cat /var/log/phoenix-lab/calls.jsonl 2>/dev/null || true", node=node)
        return [json.loads(line) for line in text.splitlines()]


def lab_for_tests(name: str, subnet: str) -> Iterator[RunningLab]:
    """A lab while tests run. PHOENIX_LAB_TEST_NAME and PHOENIX_LAB_TEST_SUBNET take another one, for example one that
    runs already; PHOENIX_LAB_KEEP=1 leaves it running, to look at and to run single tests again at once."""
    running = RunningLab(
        os.environ.get("PHOENIX_LAB_TEST_NAME", name), os.environ.get("PHOENIX_LAB_TEST_SUBNET", subnet)
    )
    running.up()
    yield running
    if not os.environ.get("PHOENIX_LAB_KEEP"):
        running.down()


def traces(lab: Lab) -> dict[str, list[str]]:
    """Everything on this machine that a lab could leave behind."""

    def lines(*command: str) -> list[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()

    groups: list[str] = []
    for folder, _, _ in os.walk("/sys/fs/cgroup"):
        if "phoenix-lab" in folder:
            groups.append(folder)
    return {
        "mounts": [line for line in lines("cat", "/proc/self/mounts") if str(lab.folder) in line],
        "links": [line for line in lines("ip", "-oneline", "link") if lab.interface in line],
        "routes": [line for line in lines("ip", "route") if str(lab.subnet.network_address) in line],
        "loops": [line for line in lines("losetup", "--list", "--noheadings") if str(lab.folder) in line],
        "processes": processes(lab),
        "cgroups": [folder for folder in groups if folder.split("phoenix-lab-")[1].split("/")[0] == lab.name],
        "files": [str(lab.folder)] * lab.folder.exists(),
    }


def processes(lab: Lab) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            group = (folder / "cgroup").read_text()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        # Without a command line it is dead, and waits for its parent.
        if command and any(
            line.split("::")[-1].split("/")[1:2] == [f"phoenix-lab-{lab.name}"] for line in group.splitlines()
        ):
            found.append(f"{folder.name} {command}")
    return found
