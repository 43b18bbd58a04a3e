# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import pytest

from lab.host.lab import Lab
from lab.host.nodes import Nodes
from lab.host.world import World


class EndingNode(World):
    """A node that was told to power off: while somebody is asked first, then while its services end, then gone.

    It goes on to the next of these between any two questions.
    """

    def __init__(self, lab: Lab, waited: int, ended: int, last_words: str) -> None:
        # No control groups: there is no such node.
        self.lab = lab
        self._until = (waited, waited + ended)
        self._questions = 0
        self._last_words = last_words
        self.started = False

    def populated(self, group: str) -> bool:
        return self.started or self._questions < self._until[1]

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        only_network: bool = False,
        check: bool = True,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        if argv[0] == "lxc-start":
            self.started = True
            return subprocess.CompletedProcess(argv, 0, "", "")
        asked_first = self._questions < self._until[0]
        gone = self._questions >= self._until[1]
        self._questions += 1
        if gone:
            return subprocess.CompletedProcess(argv, 1, "", "no such container")
        if "busctl" in argv:
            # logind is one of the first that end.
            return subprocess.CompletedProcess(argv, 0 if asked_first else 1, "b true\n" if asked_first else "", "")
        return subprocess.CompletedProcess(argv, 0, "running\n" if asked_first else self._last_words, "")


@pytest.mark.parametrize("ended", range(1, 4))
@pytest.mark.parametrize("waited", range(4))
# What systemd says of itself, and systemctl of a systemd that does not answer any more.
@pytest.mark.parametrize("last_words", ["stopping\n", "unknown\n", "offline\n", ""])
def test_a_node_that_ends_is_never_taken_for_one_that_runs(waited: int, ended: int, last_words: str) -> None:
    lab = Lab()
    world = EndingNode(lab, waited, ended, last_words)
    assert Nodes(lab, world).start(lab.nodes(1)[0])
    assert world.started
