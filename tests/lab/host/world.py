# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The namespaces that a lab lives in. All its processes are below one control group, so that nothing can outlive it: not
# a daemon, not what a killed `up` had started. With the last process go the mounts, the network and the loop device.

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from ..errors import LabError
from .lab import SOURCE, SOURCE_INSIDE, Lab

INSIDE = Path(SOURCE_INSIDE)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# The lab's own processes are in this leaf: a group that hands its controllers down to nodes can have none itself. LXC
# knows the name, and makes the nodes' groups beside it.
_LEAF = "init.scope"
_NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")


def control_groups(mounts: Path = Path("/proc/self/mounts")) -> Path:
    """Where the host has cgroup2: alone, or beside version 1."""
    for line in mounts.read_text().splitlines():
        _, point, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(point)
    raise LabError(
        "this machine has no cgroup2 file system mounted", "Boot with systemd.unified_cgroup_hierarchy=1 or mount it"
    )


def own_group(groups: Path, process: Path = Path("/proc/self")) -> Path:
    """The control group of this process."""
    for line in (process / "cgroup").read_text().splitlines():
        if line.startswith("0::/"):
            return groups / line.removeprefix("0::/")
    return groups


class World:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._group = control_groups() / f"phoenix-lab-{lab.name}"

    def start(self, argv: Sequence[str], log: Path) -> None:
        """Start the lab's first process in namespaces of its own."""
        with log.open("ab") as output:
            subprocess.Popen(
                # Its group becomes the root that the namespace shows; settle() moves it from there.
                self._joining(self._group, ["unshare", *_NAMESPACES, "--fork", "--propagation", "private", *argv]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_environment(SOURCE),
                start_new_session=True,
            )

    def spawn(self, argv: Sequence[str], log: Path) -> None:
        """A process of the host's own namespaces that dies with the lab."""
        with log.open("ab") as output:
            subprocess.Popen(
                self._within(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **_environment(SOURCE)},
                start_new_session=True,
            )

    @contextlib.contextmanager
    def adopted(self) -> Iterator[None]:
        """Make this process, and whatever it starts, one of the lab's: `down` finds what it leaves when killed."""
        before = own_group(self._group.parent)
        (self._group / _LEAF).mkdir(parents=True, exist_ok=True)
        (self._group / _LEAF / "cgroup.procs").write_text("0")
        try:
            yield
        finally:
            # A `down` that waits for this process shall not kill it.
            (before / "cgroup.procs").write_text("0")

    def settle(self) -> None:
        while pids := self._processes(self._group):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    (self._group / _LEAF / "cgroup.procs").write_text(str(pid))

    @property
    def init(self) -> int | None:
        """The process that is number 1 inside, or None while there is no lab."""
        for pid in [*self._processes(self._group / _LEAF), *self._processes(self._group)]:
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("NSpid:") and line.split()[2:] == ["1"]:
                        return pid
        return None

    def populated(self, group: str) -> bool:
        """Whether anything lives in a group of LXC's."""
        for folder in self._groups(group):
            with contextlib.suppress(OSError):
                if "populated 1" in (folder / "cgroup.events").read_text().splitlines():
                    return True
        return False

    def has(self, group: str, path: str) -> bool:
        """Whether what lives in a group of LXC's sees that path below its root."""
        for folder in self._groups(group):
            for pid in self._processes(folder / _LEAF):
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{pid}/root", path).exists():
                        return True
        return False

    def _groups(self, group: str) -> list[Path]:
        """LXC adds a number when one of that name is in the way."""
        return [self._group / group, *self._group.glob(f"{group}-*")]

    def inside(self, argv: Sequence[str], *, only_network: bool = False) -> list[str]:
        """The command line that runs argv in the lab."""
        init = self.init
        if init is None:
            raise LabError(f"the lab {self.lab.name} does not run", "Start it: scripts/lab up")
        spaces = (
            ["--net"] if only_network else ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]
        )
        return ["nsenter", "--target", str(init), *spaces, "--", *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        only_network: bool = False,
        check: bool = True,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self._within(self.inside(argv, only_network=only_network)),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            env=_environment(INSIDE),
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise LabError(f"{' '.join(argv[:6])} failed in the lab: {(done.stderr or done.stdout).strip()}")
        return done

    def exec(self, argv: Sequence[str]) -> NoReturn:
        """Become argv in the lab, at this terminal."""
        command = self._within(self.inside(argv))
        os.execvpe(command[0], command, _environment(INSIDE, os.environ))

    def end(self, timeout: float = 20) -> bool:
        """Kill whatever lives in it and remove the control groups. Whether there was anything."""
        if not self._group.is_dir():
            return False
        # A killed process may have been about to start another one: repeat until nobody is left.
        deadline = time.monotonic() + timeout
        while pids := self._everybody():
            if time.monotonic() > deadline:
                raise LabError(
                    f"the lab's processes {', '.join(map(str, pids[:8]))} cannot be killed",
                    "Look with ps what they wait for, then run scripts/lab down again",
                )
            (self._group / "cgroup.kill").write_text("1")
            time.sleep(0.02)
        self._remove_groups(deadline)
        return True

    def _within(self, argv: Sequence[str]) -> list[str]:
        """The command line that is one of the lab's processes."""
        leaf = self._group / _LEAF
        return self._joining(leaf if leaf.is_dir() else self._group, argv)

    @staticmethod
    def _joining(group: Path, argv: Sequence[str]) -> list[str]:
        return ["sh", "-c", 'echo 0 >"$0" && exec "$@"', str(group / "cgroup.procs"), *argv]

    def _remove_groups(self, deadline: float) -> None:
        while self._group.is_dir():
            for folder, _, _ in os.walk(self._group, topdown=False):
                # Busy for a moment after its last process has gone.
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
            if self._group.is_dir():
                if time.monotonic() > deadline:
                    raise LabError(f"the control group {self._group} cannot be removed", "Run scripts/lab down again")
                time.sleep(0.02)

    def _everybody(self) -> list[int]:
        pids: list[int] = []
        for folder, _, _ in os.walk(self._group):
            pids += self._processes(Path(folder))
        return pids

    @staticmethod
    def _processes(folder: Path) -> list[int]:
        try:
            return [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]
        except OSError:
            return []


def wait_for(what: str, condition: Callable[[], bool], timeout: float, hint: str = "") -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"{what} within {timeout:g} s", hint)
        time.sleep(0.02)


def python(module: str, *arguments: str) -> list[str]:
    """The command line of a part of the lab that runs in a process of its own on the host."""
    return [sys.executable, "-B", "-m", f"lab.{module}", *arguments]


def _environment(package: Path, base: Mapping[str, str] | None = None) -> dict[str, str]:
    environment = {
        "PATH": PATH,
        "LANG": "C.UTF-8",
        "HOME": "/root",
        "PYTHONPATH": str(package.parent),
    }
    if base and "TERM" in base:
        environment["TERM"] = base["TERM"]
    return environment
