# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Recorded cases that the stand-in does not imitate, and why. A case that is here and is equal fails the suite as well.

from __future__ import annotations

_PMXCFS = "pmxcfs, the file system of /etc/pve, is a plain folder in the lab"

# Neither without a lab nor in one.
NEVER: dict[str, str] = {
    "2/mode/owner of the conf files, and what chmod / rename / symlink do on pmxcfs": _PMXCFS,
    "2/temp file in /tmp then mv across file systems (what ansible's atomic_move would fall back to)": _PMXCFS,
    "2/xattr / setfattr on pmxcfs": _PMXCFS,
    "2/largest file pmxcfs accepts": _PMXCFS,
    "3/what the generated runtime config holds (written at start only, or at pct set of a stopped CT)": (
        "sizes of generated files, and in a lab the lines that a nested container needs"
    ),
    "5/clone --storage other (zfs -> btrfs / dir)": "the order of a Perl hash: here alone mp0 before rootfs",
    "6/environment (caller's env is kept by default)": "the recording's own shell, and Perl's locale warnings",
    "8/start: returns before or after init has booted?": "a unit of the recorded container had failed",
    "8/start, immediately shutdown with small timeout (init not ready)": "a race inside LXC",
    "8/privileged CT: raw mount without devices.allow, then with": "needs the driver of /dev/zfs",
}
# Real in a lab: only the simulated node has no kernel behind it.
WITHOUT_A_LAB: dict[str, str] = {
    (
        "3/open the passed device inside: cgroup says no (no devices.allow line), "
        "unprivileged default is allow-all + userns"
    ): "opens a device",
}
# Not even tried without a lab, for the sake of the machine.
NOT_PLAYED: dict[str, str] = {
    "7/push onto full disk (2G rootfs): silent truncation?": "writes 3 GiB",
    "7/push of a non-sparse file bigger than the space left": "mounts a file system in the container",
}
# Equal on the simulated node only.
IN_A_LAB: dict[str, str] = {
    "3/lxc-info -c (asks the running monitor)": "AppArmor does not confine nested containers",
    "5/inside the clone: hostname files, machine-id, ssh keys": "the search domain of the lab, and its template",
}
# On some hosts only: a kernel that gives the memory controller to cgroup1 has no limits for nested containers.
ON_SOME_HOSTS: dict[str, str] = dict.fromkeys(
    (
        "2/wrong type and garbage: set",
        "3/memory hot",
        "3/cores hot?",
        (
            "3/open the passed device inside: cgroup says no (no devices.allow line), "
            "unprivileged default is allow-all + userns"
        ),
        "11/ground truth: mountinfo of init; effective devices are a BPF program (not readable as a file)",
    ),
    "needs the host's cgroup2 controllers",
)


def reasons(*, real: bool) -> dict[str, str]:
    return NEVER | (IN_A_LAB | ON_SOME_HOSTS if real else WITHOUT_A_LAB | NOT_PLAYED)
