# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# How a clone is made, and everything that PVE would only refuse, or silently copy, half-way.

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils import _gpu, _options
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError, invalid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import (
    Guest,
    Guests,
    SnapshotConfig,
    check_nothing_dropped,
    no_container,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._lxc_config import parse_properties
from ansible_collections.phoenix.hypervisor.plugins.module_utils._options import Arguments


@dataclasses.dataclass(frozen=True)
class ClonePlan:
    source: Guest
    snapshot: str | None
    config: Mapping[str, str]
    """The options that the clone starts out with."""
    full: bool
    hostname: str | None
    storage: str | None
    gpu_keys: tuple[str, ...]
    """The GPU lines that the clone inherits and has to lose."""
    timeout: float

    @property
    def description(self) -> str:
        return f"{self.source.ctid}@{self.snapshot}" if self.snapshot else str(self.source.ctid)


class Cloning:
    def __init__(self, guests: Guests) -> None:
        self._guests = guests

    def plan(self, arguments: Arguments, timeout: float) -> ClonePlan:
        """How the clone will be made; everything that stands in its way is found here."""
        asked = arguments["clone"]
        source = self._guests.read(asked["from"])
        if source is None:
            raise _missing_source(asked["from"], self._guests)
        check_nothing_dropped(source.ctid, source.dropped)
        snapshot = asked.get("snapshot")
        effective = _effective(source, snapshot)
        full = self._is_full(asked["method"], source)
        _check_source(source, snapshot, effective, full)
        _check_arguments(arguments, source, effective.config)
        storage = _target_storage(arguments, effective.config)
        if storage and not full:
            raise invalid("clone.storage", storage, f"is not where the volumes of container {source.ctid} are, and a "
                          "linked clone shares them", "Leave the storage out, or use method: full.")  # fmt: skip
        return ClonePlan(
            source=source,
            snapshot=snapshot,
            config=_inherited(effective.config, storage),
            full=full,
            hostname=arguments.get("hostname"),
            storage=storage,
            # The drivers of a node that is reached over the API are unknown; the static major is not.
            gpu_keys=tuple(key for key, _value in _gpu.gpu_entries(effective.config, effective.raw, {})),
            timeout=timeout,
        )

    def clone(self, plan: ClonePlan, ctid: int) -> Sequence[str]:
        return self._guests.clone(
            plan.source.ctid,
            ctid,
            snapshot=plan.snapshot,
            full=plan.full,
            hostname=plan.hostname,
            storage=plan.storage,
            timeout=plan.timeout,
        )

    def _is_full(self, method: str, source: Guest) -> bool:
        if method == "cow":
            raise invalid("clone.method", method, "is not available in this version",
                          "Use full (a copy), or linked from a PVE template.")  # fmt: skip
        if method == "linked" and not source.is_pve_template:
            raise invalid("clone.method", method, f"needs a PVE template, and container {source.ctid} is none",
                          "Use full, or convert the source (`pct template`; it can then never be started "
                          "or snapshotted again).")  # fmt: skip
        return method == "full" or not source.is_pve_template


def _missing_source(ctid: int, guests: Guests) -> PhoenixError:
    missing = no_container(ctid, guests.node_name, guests.owner_of(ctid))
    return PhoenixError(
        f"clone.from: {missing.reason.removeprefix('ctid: ')}",
        remedy="Make the source first, or correct the id.",
        code=missing.code,
    )


def _effective(source: Guest, snapshot: str | None) -> SnapshotConfig:
    if snapshot is None:
        # PVE copies what is effective: what waits for a restart of the source is not in the clone.
        return SnapshotConfig(source.config, source.raw)
    if snapshot not in source.snapshots:
        raise PhoenixError(
            f"clone.snapshot: container {source.ctid} has no snapshot {snapshot!r}",
            remedy=f"It has: {', '.join(sorted(source.snapshots)) or 'none'}. "
            "Seal the source first (phoenix.hypervisor.lxc_snapshot), or correct the name.",
            code=Code.SNAPSHOT,
        )
    if state := source.snapshots[snapshot].state:
        raise PhoenixError(
            f"clone.snapshot: snapshot {snapshot!r} of container {source.ctid} is incomplete (snapstate: {state})",
            remedy=f"Delete it (`pct delsnapshot {source.ctid} {snapshot} --force 1`) and take it again.",
            code=Code.SNAPSHOT,
        )
    return source.snapshot_configs[snapshot]


def _check_source(source: Guest, snapshot: str | None, effective: SnapshotConfig, full: bool) -> None:
    if source.running and snapshot is None and full:
        raise PhoenixError(
            f"clone.from: container {source.ctid} is running, and PVE copies a running container only from a snapshot",
            remedy="Name one of its snapshots in clone.snapshot, or stop it.",
            code=Code.POWER,
        )
    for key, directory in _options.bind_mounts(effective.config).items():
        raise PhoenixError(
            f"clone.from: container {source.ctid} has a bind mount ({key}: {directory}), which PVE does not clone",
            remedy=f"Remove {key} from the source and give the directory to the clone with mounts.",
            code=Code.INPUT,
        )


def _check_arguments(arguments: Arguments, source: Guest, config: Mapping[str, str]) -> None:
    unprivileged = arguments.get("unprivileged")
    has = config.get("unprivileged") == "1"
    if unprivileged is not None and unprivileged != has:
        raise PhoenixError(
            f"unprivileged: {str(unprivileged).lower()!r} cannot be had by a clone, container {source.ctid} is "
            f"{'un' if has else ''}privileged and PVE copies that",
            remedy="Clone from a container of the other kind, or make this one from a template (ostemplate).",
            code=Code.INPUT,
        )
    fixed = _options.static_addresses(config)
    if fixed and arguments.get("networks") is None:
        key, address = next(iter(fixed.items()))
        raise PhoenixError(
            f"networks is missing: the clone would take over the address {address} ({key}) of container {source.ctid}",
            remedy="Give networks with the clone's own address.",
            code=Code.INPUT,
        )


def _inherited(config: Mapping[str, str], storage: str | None) -> dict[str, str]:
    """What PVE copies; the MAC addresses are made anew, and the volumes on another storage if one is named."""
    dropped = ("lock", "parent", "template", "snaptime", "snapstate")
    copied = {}
    for key, value in config.items():
        if key in dropped or re.fullmatch(r"unused\d+", key):
            continue
        copied[key] = value
        if re.fullmatch(r"net\d+", key):
            copied[key] = re.sub(r",hwaddr=[^,]*", "", value)
        elif storage and re.fullmatch(r"rootfs|mp\d+", key):
            copied[key] = re.sub(r"^[^:/,]+:", f"{storage}:", value)
    return copied


def _target_storage(arguments: Arguments, config: Mapping[str, str]) -> str | None:
    """The storage to name, None when the volumes stay where the source has them."""
    asked: str | None = arguments["clone"].get("storage") or (arguments.get("rootfs") or {}).get("storage")
    volume = parse_properties(config.get("rootfs", ""), "volume").get("volume", "")
    return asked if asked and asked != volume.partition(":")[0] else None
