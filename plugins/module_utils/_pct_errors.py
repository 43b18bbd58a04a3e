# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# What pct says when it fails, and what to do about it. Its exit code means nothing but zero or not.

from __future__ import annotations

import re
import typing as t

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed

# Both are said before pct has done anything, so that the call can simply be made again.
_OBSTACLES = re.compile(r"^(?:CT is locked \([a-z-]+\)|can't lock file '[^']+' - got timeout)", re.MULTILINE)


class Known(t.NamedTuple):
    pattern: str
    code: Code
    remedy: str


_KNOWN = (
    Known(
        r"Configuration file '.*' does not exist",
        Code.NO_CONTAINER,
        "Create the container first, or correct the id.",
    ),
    Known(
        r"no quorum\?|/etc/pve/.*Permission denied",
        Code.GENERAL,
        "Bring the cluster back to quorum (`pvecm status` shows it).",
    ),
    Known(
        r"snapshot feature is not available",
        Code.SNAPSHOT,
        "Remove bind mounts (mpN), or move the volumes to ZFS, btrfs, LVM-thin or RBD.",
    ),
    Known(
        r"snapshot name '.*' already used",
        Code.SNAPSHOT,
        "Choose another name, or set replace: true.",
    ),
    Known(
        r"snapshot '.*' does not exist",
        Code.SNAPSHOT,
        "Correct the name; `pct listsnapshot` shows what there is.",
    ),
    Known(
        r"is not most recent snapshot",
        Code.SNAPSHOT,
        "Delete the newer snapshots first.",
    ),
    Known(
        r"snapshot has dependent clones",
        Code.SNAPSHOT,
        "Destroy the clones first; then run `pct unlock` on the source.",
    ),
    Known(
        r"Device \S+ does not exist|is not a device",
        Code.POWER,
        "Load the driver on the node so that the device exists, or take the device out of the container "
        "(phoenix.hypervisor.lxc_gpu_passthrough).",
    ),
    Known(
        r"Linked clone feature for .* is not available",
        Code.INPUT,
        "Use method: full, or convert the source with `pct template`.",
    ),
    Known(
        r"already exists on node",
        Code.INPUT,
        "Use a free id, or manage the existing container.",
    ),
    Known(
        r"container is running",
        Code.POWER,
        "Stop the container first.",
    ),
    Known(
        r"protection mode enabled",
        Code.INPUT,
        "Take the protection off the container (`pct set {ctid} --protection 0`).",
    ),
    Known(
        r"detected modified configuration",
        Code.GENERAL,
        "This command changed nothing. Run again: the decision is then made on the new content.",
    ),
)


def explain_warning(ctid: int, said: str) -> str:
    """A warning of PVE, which knows neither which container it is about nor what it is good for."""
    if re.fullmatch(r"Systemd \d+ detected\. You may need to enable nesting\.", said):
        return (
            f"Container {ctid} has no nesting, without which services that sandbox themselves (PrivateTmp, "
            f"ProtectSystem and the like) may fail to start under its {said.partition(' detected')[0].lower()}. If it "
            'has such services, give it "pct_options": ["nesting=1"] in phoenix_lxc_configs.json (features of '
            "lxc_container)."
        )
    return f"Container {ctid}: {said}"


def obstacle_in(done: Completed) -> str:
    """The lock that pct met, in its own words, or nothing."""
    found = _OBSTACLES.search(done.stderr)
    return found[0] if found else ""


def explain(done: Completed) -> PhoenixError:
    """The failure of a pct command."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    refused = [line for line in lines if re.match(r"[a-z][a-z0-9._-]*: ", line)]
    if refused and any(line.startswith("400 Parameter verification failed") for line in lines):
        return PhoenixError(
            f"PVE refused the value of {'; '.join(refused)}",
            remedy="Correct that option. This command changed nothing.",
            code=Code.INPUT,
            command=done.command,
        )
    text = done.stderr.strip() or done.stdout.strip() or f"it exited with {done.rc} and said nothing"
    said = [line for line in text.splitlines() if not line.startswith("pct ")]
    known = next((entry for entry in _KNOWN if re.search(entry.pattern, text)), None)
    return PhoenixError(
        f"`pct {' '.join(done.argv[1:3])}` failed: {(said or [text])[-1]}",
        remedy=known.remedy.format(ctid=done.argv[2]) if known else "See the command and its output in this result.",
        code=known.code if known else Code.GENERAL,
        command=done.command,
        stdout=done.stdout,
        stderr=done.stderr,
    )
