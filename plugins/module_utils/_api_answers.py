# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# What the API answers about a container, in the words of the collection.

from __future__ import annotations

import ipaddress
import re
import typing as t
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import Snapshot, SnapshotConfig

_NOT_SETTINGS = frozenset({"digest", "lxc"})


def settings(data: Mapping[str, t.Any]) -> dict[str, str]:
    return {key: str(value) for key, value in data.items() if key not in _NOT_SETTINGS}


def raw_lines(data: Mapping[str, t.Any]) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in data.get("lxc", ()))


def snapshot_config(data: Mapping[str, t.Any]) -> SnapshotConfig:
    return SnapshotConfig(settings(data), raw_lines(data))


def snapshot(row: Mapping[str, t.Any]) -> Snapshot:
    return Snapshot(
        name=row["name"],
        description=row.get("description", ""),
        parent=row.get("parent", ""),
        time=int(row.get("snaptime", 0)),
        state=row.get("snapstate", ""),
    )


def volumes(config: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in config.items() if re.fullmatch(r"rootfs|mp\d+", key)}


class LazyConfigs(Mapping[str, SnapshotConfig]):
    """The snapshots' configurations, each asked for when it is looked at."""

    def __init__(self, names: Sequence[str], load: Callable[[str], SnapshotConfig]) -> None:
        self._names = names
        self._load = load
        self._loaded: dict[str, SnapshotConfig] = {}

    def __getitem__(self, name: str) -> SnapshotConfig:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def own_addresses(interfaces: Iterable[Mapping[str, t.Any]]) -> list[str]:
    found = [
        ipaddress.ip_address(entry["ip-address"])
        for interface in interfaces
        for entry in interface.get("ip-addresses") or ()
    ]
    return [str(address) for address in found if not address.is_loopback and not address.is_link_local]
