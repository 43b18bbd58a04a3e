# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What is not played or not compared exactly as it was recorded, and why. The rest of such a case is compared.

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from .transcript import Case


@dataclasses.dataclass(frozen=True)
class Change:
    reason: str
    # A part of the line, and what is played in its place.
    old: str = ""
    new: str = ""
    # Lines of the recorded output that go with it.
    dropped: str | None = None
    # Which of two processes says something first is chance.
    unordered: bool = False
    # Played as recorded in a lab.
    simulated_only: bool = False


_MOUNTS = "the kernel's mount table of the recorded machine"

CHANGES: Mapping[str, Change] = {
    "3/mp0 hot-plug": Change(
        "the file system of a pool of the lab is btrfs",
        "findmnt /data",
        "test -d /data",
        dropped=r"TARGET .*|/data .*",
    ),
    "3/start time of the container from outside: init pid, its start time, cgroup": Change(
        _MOUNTS,
        "ps -o lstart= -p $P; grep -c . /proc/$P/mountinfo; grep nvidia /proc/$P/mountinfo; ",
        dropped=r"Fri Nov 20 08:31:13 2026|44|233 305 .*",
    ),
    "3/reboot applies pending + raw lines": Change(
        _MOUNTS, "grep nvidia /proc/$(lxc-info -n 100 -pH)/mountinfo; ", dropped=r"\d+ \d+ \d+:\d+ /.*"
    ),
    "5/inside the clone: hostname files, machine-id, ssh keys": Change(
        "a user cannot give files away",
        "; ls -la /var/lib/lxc/201/rootfs/data",
        dropped=r"total \d+|drwx.*",
        simulated_only=True,
    ),
    "6/cwd, umask, ulimit, user, groups": Change(
        "limits, cgroup and profile of the recorded container",
        "ulimit -n; id; cat /proc/self/cgroup; cat /proc/self/attr/current",
        "id",
        dropped=r"1024|0::/\.lxc|unconfined",
    ),
    "8/pct set bad raw line makes start fail: what is printed": Change(
        "the debug log of the recorded version of LXC",
        "; pct start 103 --debug 1 2>&1 | tail -25",
        dropped=r"(?:INFO|NOTICE|DEBUG|ERROR|WARN) .*|startup for container '103' failed(?=\n\Z)",
    ),
    "8/state + leftovers after failed start": Change(
        "systemd's times and the debug log of the recorded version of LXC",
        "systemctl status pve-container@103 --no-pager | tail -8; ",
        dropped=r" +(?:Main PID|Mem peak|CPU): .*||Nov 20 .*|oups/.*|lxc-start 103 2026.*",
    ),
    "8/mount entry with absolute target (leading slash)": Change(
        _MOUNTS, "grep fuse /proc/$(lxc-info -n 103 -pH)/mountinfo; ", dropped=r"\d+ \d+ \d+:\d+ /.*"
    ),
    "9/pct set during pct clone of the same CT (lock: disk on source)": Change(
        "two commands print at the same time; the lock comes a moment before the target's file",
        "'^lock: disk' /etc/pve/lxc/103.conf && break",
        "'^lock: disk' /etc/pve/lxc/103.conf && grep -qs '^swap' /etc/pve/lxc/298.conf && break",
        unordered=True,
    ),
    "9/two clones of the same source at the same time": Change(
        "which of the two is first is chance; in the recording it was the second",
        "pct clone 103 296 & A=",
        "(until grep -q '^lock: disk' /etc/pve/lxc/103.conf; do sleep 1; done; pct clone 103 296) & A=",
        unordered=True,
    ),
    "11/ground truth: mountinfo of init; effective devices are a BPF program (not readable as a file)": Change(
        _MOUNTS,
        "P=$(lxc-info -n 100 -pH); awk '{print $5,$9,$10}' /proc/$P/mountinfo | grep ' /dev\\|^/dev' | head -20; ",
        dropped=r"/dev.*",
    ),
}


def as_played(case: Case, *, real: bool) -> Case:
    """The case with the line that is played, and what of the recording it can say."""
    change = change_of(case, real=real)
    if change is None:
        return case
    if change.old not in case.command:
        raise ValueError(f"{case.name}: the recorded line has no {change.old!r}")
    stdout = case.expected.stdout
    if change.dropped is not None:
        stdout = re.sub(rf"^(?:{change.dropped})(?:\n|\Z)", "", stdout, flags=re.MULTILINE)
    return dataclasses.replace(
        case,
        command=case.command.replace(change.old, change.new),
        expected=dataclasses.replace(case.expected, stdout=stdout),
    )


def change_of(case: Case, *, real: bool) -> Change | None:
    change = CHANGES.get(case.name)
    return None if change is None or (real and change.simulated_only) else change
