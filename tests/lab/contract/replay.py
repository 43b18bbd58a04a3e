# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Plays recorded shell lines: on a simulated node below a folder, or on a node of a running lab.

from __future__ import annotations

import grp
import os
import pwd
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from lab.pve.simulated_paths import map_paths

from . import simulated_node
from .changes import as_played
from .not_imitated import NOT_PLAYED
from .states import Run, Step, read_state
from .transcript import Case, Outcome, Section

_TIMEOUT = 300
# They know themselves where a path of the node lies, or get one of the container.
_OPAQUE = frozenset({"pct", "lxc-attach"})
_CHECKOUT = Path(__file__).parents[3]
_LAB_NODE = Path(__file__).parent / "lab_node"
_PROLOGUE = """\
export TZ=UTC LANG=C.UTF-8 COPY_DELAY=3 PATH=/root/replay:$PATH
mkdir -p /root/tests
cd /root/tests
"""


class Player(Protocol):
    # Whether containers, devices and mounts are real.
    real: bool

    def run(self, script: str) -> Outcome: ...

    def write(self, path: str, text: str) -> None: ...


class SimulatedPlayer:
    """Lines have the node's paths: those on the line itself are moved below the root, and back in what is said."""

    real = False

    def __init__(self, folder: Path) -> None:
        self.root = folder / "node"
        self.programs = folder / "bin"
        simulated_node.build(self.root, self.programs)
        self.environment = simulated_node.environment(self.root, self.programs)

    def run(self, script: str) -> Outcome:
        # From a file, not by -c: a line that looks for a process would find itself. By a function, as the recorded
        # lines that set PATH still have to find pct.
        line = self.root.parent / "line"
        mapped = map_paths(script, str(self.root), opaque=_OPAQUE)
        line.write_text(f'pct() {{ {self.programs}/pct "$@"; }}\n{mapped}', encoding="utf-8")
        done = _execute(["/bin/bash", "--norc", str(line)], self.environment, self.root / "root/tests")
        return Outcome(self._recorded(done.stdout), self._recorded(done.stderr), done.rc)

    def write(self, path: str, text: str) -> None:
        (self.root / path.lstrip("/")).write_text(text, encoding="utf-8")

    def _recorded(self, text: str) -> str:
        if os.getuid():
            # Everything below the root belongs to whoever runs the tests.
            owner = f"{pwd.getpwuid(os.getuid()).pw_name} +{grp.getgrgid(os.getgid()).gr_name}"
            text = re.sub(rf"\b{owner}\b", "root root", text)
            text = re.sub(r"^uid=.*", "uid=0(root) gid=0(root) groups=0(root)", text, flags=re.MULTILINE)
        return text.replace(str(self.root), "")


class LabPlayer:
    """A node of a running lab, through the lab's own command."""

    real = True

    def __init__(self, command: Sequence[str]) -> None:
        """`command` runs the words that follow it on the node, e.g. scripts/lab exec pve1 --."""
        self.command = list(command)
        self.mounts: list[str] = []
        for script in ("clean.sh", "prepare.sh"):
            _succeed(self.run((_LAB_NODE / script).read_text("utf-8")), f"{script} on the node")
        for path, source in (
            ("/root/replay/sleep", _LAB_NODE / "sleep"),
            ("/root/replay/zfs", _LAB_NODE / "zfs"),
            ("/root/rc.py", _LAB_NODE / "running_config.py"),
            ("/root/monitor.py", _CHECKOUT / "plugins/module_utils/_monitor.py"),
        ):
            self.write(path, source.read_text("utf-8"))
        self.mounts = self.run("cat /etc/phoenix-lab/container-mounts").stdout.splitlines()

    def run(self, script: str) -> Outcome:
        done = _execute([*self.command, "bash", "--norc", "-c", _PROLOGUE + script], dict(os.environ), Path.cwd())
        return Outcome(self._recorded(done.stdout), done.stderr, done.rc)

    def _recorded(self, text: str) -> str:
        """Without the mounts that the lab gives to every container."""
        for mount in self.mounts:
            text = text.replace(f", '{mount}'", "").replace(f"\n{mount}\n", "\n")
        return text

    def write(self, path: str, text: str) -> None:
        done = subprocess.run(
            [*self.command, "tee", path], input=text, text=True, capture_output=True, check=False, timeout=_TIMEOUT
        )
        _succeed(Outcome(done.stdout, done.stderr, done.returncode), f"writing {path}")


def replay(section: Section, player: Player) -> list[tuple[Case, Outcome | None]]:
    """All cases of a section as they are played, in their order, from the state that it starts from; without an outcome
    what is not played."""
    state = read_state(section.number)
    titles = {case.title for case in section.cases}
    if unknown := state.before.keys() - titles:
        raise ValueError(f"the state of section {section.number} names cases that it has not: {sorted(unknown)}")
    _prepare(state.first, player, f"section {section.number}")
    played: list[tuple[Case, Outcome | None]] = []
    for case in section.cases:
        _prepare(state.before.get(case.title, ()), player, case.name)
        skipped = case.name in NOT_PLAYED and not player.real
        line = as_played(case, real=player.real)
        played.append((line, None if skipped else player.run(line.command)))
    return played


def _prepare(steps: Sequence[Step], player: Player, what: str) -> None:
    for step in steps:
        if isinstance(step, Run):
            _succeed(player.run(f"set -e\n{step.script}"), f"the state before {what}")
        else:
            player.write(step.path, step.text)


def _succeed(done: Outcome, what: str) -> None:
    if done.rc:
        raise RuntimeError(f"{what} failed with {done.rc}:\n{done.stdout}{done.stderr}")


def _execute(argv: Sequence[str], environment: Mapping[str, str], folder: Path) -> Outcome:
    process = subprocess.Popen(
        list(argv),
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=_TIMEOUT)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return Outcome(stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"), process.returncode)
