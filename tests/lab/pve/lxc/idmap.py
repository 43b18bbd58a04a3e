# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Which user of the node is which user of the container.

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..exceptions import PVEError
from ..guest.abstract_config import Conf
from ..system import System

_DEFAULT = (("u", 0, 100000, 65536), ("g", 0, 100000, 65536))


class IdMap(NamedTuple):
    entries: Sequence[tuple[str, int, int, int]] = ()
    """u or g, the first id in the container, on the node, how many."""

    @property
    def root(self) -> tuple[int, int]:
        return self.to_host("u", 0), self.to_host("g", 0)

    def to_host(self, kind: str, number: int) -> int:
        for entry_kind, inside, outside, count in self.entries:
            if entry_kind == kind and inside <= number < inside + count:
                return outside - inside + number
        return number

    def command(self) -> list[str]:
        """What a command must begin with to run as the container's root."""
        if not self.entries:
            return []
        maps = [word for entry in self.entries for word in ("-m", ":".join(str(part) for part in entry))]
        return ["lxc-usernsexec", *maps, "--"]

    def chown(self, system: System, path: Path, uid: int = 0, gid: int = 0) -> None:
        if self.entries:
            system.chown(path, self.to_host("u", uid), self.to_host("g", gid))


def parse_id_maps(conf: Conf) -> IdMap:
    entries = []
    for key, value in conf.get("lxc", []):
        if key != "lxc.idmap":
            continue
        found = re.fullmatch(r"([ug])\s+(\d+)\s+(\d+)\s+(\d+)\s*", value)
        if not found:
            raise PVEError(f"failed to parse idmap: {value}")
        entries.append((found[1], int(found[2]), int(found[3]), int(found[4])))
    if not entries and str(conf.get("unprivileged", "0")) == "1":
        return IdMap(_DEFAULT)
    return IdMap(tuple(entries))
