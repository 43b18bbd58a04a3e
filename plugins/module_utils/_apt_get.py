# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# apt by its command line: every apt command of the collection is written here.

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._apt_errors import (
    Refusal,
    because_of,
    complaints,
    outdated_key,
    refusals,
    remedy,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed, Deadline, Runner
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree

SOURCES = "/etc/apt/sources.list"
SOURCES_FOLDER = "/etc/apt/sources.list.d"

# What a person typed into a file stays, and nobody is asked: there is nobody.
_OPTIONS = (
    "-y",
    "-o", "Dpkg::Options::=--force-confdef",
    "-o", "Dpkg::Options::=--force-confold",
    "-o", "Acquire::Retries=3",
)  # fmt: skip
_INSTALL = ("install", "--no-install-recommends", "--allow-downgrades", "--allow-change-held-packages")
# Without it apt says that all is well where it goes on with lists of some time ago.
_STRICT = ("-o", "APT::Update::Error-Mode=any")
# Never a question, and some patience with an apt that runs on its own just after boot.
_ELSEWHERE = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=120")

_LOCKED = re.compile(r"Could not get lock|is another process using it|Unable to lock")
_PASSING = re.compile(
    r"File has unexpected size|Hash Sum mismatch|Mirror sync in progress|Temporary failure resolving"
    r"|Could not resolve|Connection (?:failed|timed out|reset)|Could not connect"
)
_ATTEMPTS = 3
_PAUSE = 3.0


def source_files(tree: Tree) -> list[str]:
    """The files that tell apt its repositories."""
    names = [name for name in tree.names(SOURCES_FOLDER) if name.endswith((".list", ".sources"))]
    return [path for path in (SOURCES, *(f"{SOURCES_FOLDER}/{name}" for name in names)) if tree.exists(path)]


def candidates(names: Sequence[str], runner: Runner) -> set[str]:
    """Those of the packages that apt could install."""
    policy = runner(["apt-cache", "policy", "--", *names], timeout=120).stdout
    return set(re.findall(r"^(\S+):\n.*\n\s+Candidate: [^(\s]", policy, re.MULTILINE))


def would_install(names: Sequence[str], runner: Runner) -> set[str]:
    """What apt would install with these packages, them included; as far as it is known where apt cannot tell."""
    done = runner(["apt-get", "-s", *_OPTIONS, *_INSTALL, "--", *names], timeout=120)
    return {*names, *re.findall(r"^Inst (\S+)", done.stdout, re.MULTILINE)}


def purge_command(packages: Sequence[str], *, simulate: bool) -> list[str]:
    """For a runner whose environment is not ours, as in a container."""
    return [*_ELSEWHERE, *(("--simulate",) if simulate else ("--yes", "--quiet")), "purge", "--", *packages]


class Apt:
    """apt of this machine until a deadline."""

    def __init__(self, runner: Runner, deadline: Deadline, tree: Tree | None = None) -> None:
        self._runner, self._deadline = runner, deadline
        self._tree = tree or Tree(Path("/"))
        self.commands: list[str] = []
        """The commands that were run and change something, as they could be typed."""

    def update(self) -> tuple[Refusal, ...]:
        """Fetch all lists. Repositories that let nobody in are told, since what is needed may come from others."""
        done = self._update()
        self.commands.append(done.command)
        if done.ok:
            return ()
        refused = self._refusals(done)
        if not refused:
            raise self._failure(done)
        return refused

    def read_source(self, path: str) -> None:
        """Fetch the lists of that one file of sources, and fail on the least doubt about them."""
        done = self._update(
            "-o", f"Dir::Etc::sourcelist={path}", "-o", "Dir::Etc::sourceparts=-", "-o", "APT::Get::List-Cleanup=0"
        )  # fmt: skip
        if not done.ok:
            raise PhoenixError(
                f"apt cannot read the repository in {path}: {complaints(done)}",
                remedy=outdated_key(done.stdout + done.stderr)
                or "See that the address is right and that the machine reaches it (`apt-get update`), and run "
                "again. The sources are as they were before.",
                stdout=done.stdout,
                stderr=done.stderr,
            )

    def offers(self, names: Sequence[str]) -> str:
        return self._runner(["apt-cache", "madison", *names]).stdout

    def simulate(self, words: Sequence[str]) -> str:
        """What an installation would do."""
        return self._checked(["apt-get", "-s", *_OPTIONS, *_INSTALL, *words]).stdout

    def install(self, words: Sequence[str]) -> None:
        self.commands.append(self._checked(self._get(*_INSTALL, *words)).command)

    def hold(self, names: Sequence[str]) -> None:
        self.commands.append(self._checked(["apt-mark", "hold", *names]).command)

    def _get(self, *words: str) -> list[str]:
        return ["apt-get", *_OPTIONS, "-o", f"DPkg::Lock::Timeout={max(1, int(self._deadline.left))}", *words]

    def _update(self, *options: str) -> Completed:
        """With some patience: the lists' lock has no timeout of its own, and repositories change in several steps."""
        attempts = 0
        while True:
            done = self._run(self._get("update", *options, *_STRICT))
            said = done.stdout + done.stderr
            locked = _LOCKED.search(said)
            attempts += 0 if locked else 1
            passing = locked or (_PASSING.search(said) and attempts < _ATTEMPTS)
            if done.ok or not passing or not self._deadline.pause(_PAUSE):
                return done

    def _checked(self, argv: Sequence[str]) -> Completed:
        done = self._run(argv)
        if not done.ok:
            raise self._failure(done)
        return done

    def _run(self, argv: Sequence[str]) -> Completed:
        return self._runner(argv, timeout=max(1.0, self._deadline.left))

    def _refusals(self, done: Completed) -> tuple[Refusal, ...]:
        sources = {path: self._tree.text(path) for path in source_files(self._tree)}
        return refusals(f"{done.stdout}\n{done.stderr}", sources)

    def _failure(self, done: Completed) -> PhoenixError:
        error = PhoenixError(
            f"{' '.join(done.argv[:2])} failed: {complaints(done)}",
            remedy=remedy(f"{done.stdout}\n{done.stderr}")
            or "Run the command below in the container, correct what it says, and run again.",
            command=done.command,
            stdout=done.stdout[-4000:],
            stderr=done.stderr[-4000:],
        )
        refused = self._refusals(done)
        return because_of(refused, error) if refused else error
