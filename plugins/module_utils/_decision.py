# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# What there is to do for one container of the hierarchy: decided once, from the node's files, before anything is done.

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import Guest, Snapshot, check_complete
from ansible_collections.phoenix.hypervisor.plugins.module_utils._recipe import fingerprint, read_description


@dataclasses.dataclass(frozen=True)
class Parent:
    """The sealed layer that a container is cloned from."""

    ctid: int
    name: str
    snapshot: str


@dataclasses.dataclass(frozen=True)
class Decision:
    exists: bool
    running: bool
    # A layer whose snapshot is there, and complete.
    prepared: bool
    # Why a prepared layer is not what the configuration asks for now.
    stale: str
    # Whether it could be cloned now; true where there is nothing to clone.
    parent_sealed: bool
    # What its snapshot is going to say.
    metadata: Mapping[str, str]


def decide(
    guest: Guest | None, snapshot: str, recipe: Mapping[str, t.Any], parent: Parent | None, source: Guest | None
) -> Decision:
    """`snapshot` is empty for an application. `source` is the parent as it is, if there is one."""
    taken = guest.snapshots.get(snapshot) if guest and snapshot else None
    if guest and taken:
        check_complete(guest, snapshot)
    origin = _sealed(parent, source)
    sealed = parent is None or origin is not None
    # What a parent that is not sealed is going to be, nobody knows: nothing is stale for that.
    inherited = _said(origin, "fingerprint") if sealed else _said(taken, "parent")
    wanted = fingerprint(recipe, inherited)
    metadata = {"fingerprint": wanted, "parent": inherited}
    return Decision(
        exists=guest is not None,
        running=guest is not None and guest.running,
        prepared=taken is not None,
        stale=_stale(taken, wanted, inherited) if taken else "",
        parent_sealed=sealed,
        metadata=metadata,
    )


def check_parent(parent: Parent, source: Guest | None, *, expected: bool) -> None:
    """Refuse to begin what would fail at the clone. `expected`: the parent is going to be built first, in this run."""
    if expected or _sealed(parent, source) is not None:
        return
    if source is not None and parent.snapshot in source.snapshots:
        check_complete(source, parent.snapshot)
    what = "does not exist" if source is None else f"has no snapshot {parent.snapshot}"
    raise PhoenixError(
        f"the layer {parent.ctid} ({parent.name}) that this container is cloned from {what}",
        remedy=f"Build it first: leave out --limit, or name {parent.name} there, too.",
        code=Code.NO_CONTAINER if source is None else Code.SNAPSHOT,
    )


def _sealed(parent: Parent | None, source: Guest | None) -> Snapshot | None:
    """The snapshot that can be cloned; PVE clones no incomplete one."""
    snapshot = source.snapshots.get(parent.snapshot) if parent and source else None
    return snapshot if snapshot and not snapshot.state else None


def _said(snapshot: Snapshot | None, key: str) -> str:
    return str(read_description(snapshot.description)[1].get(key, "")) if snapshot else ""


def _stale(taken: Snapshot, wanted: str, inherited: str) -> str:
    sealed = _said(taken, "fingerprint")
    if not sealed:
        # Somebody else's snapshot, or one of before there were fingerprints: prepared is prepared.
        return ""
    if _said(taken, "parent") != inherited:
        return "its parent was sealed anew since"
    return "" if sealed == wanted else "the configuration asks for something else now"
