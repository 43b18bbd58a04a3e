# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# Has apt read one file of sources, with some patience: just after boot an apt that runs on its own holds the lock, and
# NVIDIA's servers change a repository in several steps, in between which its parts do not fit together.

from __future__ import annotations

import re
from collections.abc import Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed, Deadline, Runner

_LOCKED = re.compile(r"Could not get lock|is another process using it|Unable to lock")
_PASSING = re.compile(
    r"File has unexpected size|Hash Sum mismatch|Mirror sync in progress|Temporary failure resolving"
    r"|Could not resolve|Connection (?:failed|timed out|reset)|Could not connect"
)
_ATTEMPTS = 3
_PAUSE = 3.0


def read_source(path: str, runner: Runner, deadline: Deadline) -> None:
    """Fetch the lists of that one file of sources, and fail on the least doubt about them."""
    done = _patiently(
        [
            "apt-get", "--quiet", "update",
            "-o", f"Dir::Etc::sourcelist={path}", "-o", "Dir::Etc::sourceparts=-",
            "-o", "APT::Get::List-Cleanup=0", "-o", "APT::Update::Error-Mode=any",
        ],
        runner,
        deadline,
    )  # fmt: skip
    if not done.ok:
        raise PhoenixError(
            f"apt cannot read the repository in {path}: {_complaints(done)}",
            remedy="See that the address is right and that the machine reaches it (`apt-get update`), and run again. "
            "The sources are as they were before.",
            stdout=done.stdout,
            stderr=done.stderr,
        )


def _patiently(argv: Sequence[str], runner: Runner, deadline: Deadline) -> Completed:
    attempts = 0
    while True:
        done = runner(argv, timeout=max(deadline.left, 1))
        said = done.stdout + done.stderr
        locked = _LOCKED.search(said)
        attempts += 0 if locked else 1
        passing = locked or (_PASSING.search(said) and attempts < _ATTEMPTS)
        if done.ok or not passing or not deadline.pause(_PAUSE):
            return done


def _complaints(done: Completed) -> str:
    """apt's own words about what went wrong, on one line."""
    lines = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "Err:", "W:"))]
    return " ".join(dict.fromkeys(errors or lines[-1:])) or f"exit code {done.rc}"
