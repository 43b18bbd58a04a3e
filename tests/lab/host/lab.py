# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# One lab: its name, its network, and where everything of it lies.

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import json
import os
import re
from pathlib import Path
from typing import Any

from ..errors import LabError

SOURCE = Path(__file__).resolve().parents[1]
# Where SOURCE is seen inside the lab, as a Python package below its parent.
SOURCE_INSIDE = "/usr/share/phoenix-lab/lab"

DEFAULT_NAME = "lab"
DEFAULT_SUBNET = "10.99.0.0/24"
MOST_NODES = 8

_NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")
_PRIVATE = [ipaddress.IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]


@dataclasses.dataclass(frozen=True)
class Node:
    name: str
    address: str
    hwaddr: str


@dataclasses.dataclass(frozen=True)
class Lab:
    name: str = DEFAULT_NAME
    subnet: ipaddress.IPv4Network = dataclasses.field(default_factory=lambda: ipaddress.IPv4Network(DEFAULT_SUBNET))
    state_root: Path = Path("/var/lib/phoenix-lab")
    cache: Path = Path("/var/cache/phoenix-lab")

    @classmethod
    def named(cls, name: str, subnet: str | None = None) -> Lab:
        """The lab of that name; one that runs keeps its subnet when none is given."""
        if not _NAME.fullmatch(name):
            raise LabError(
                f"--name {name!r} is no name for a lab",
                "It has up to 20 small letters, digits and hyphens, a letter first",
            )
        if subnet is None:
            subnet = (cls(name).settings() or {}).get("subnet") or DEFAULT_SUBNET
        try:
            network = ipaddress.IPv4Network(subnet)
        except ValueError as error:
            raise LabError(f"--subnet {subnet!r}: {error}", "Give a private IPv4 network like 10.99.0.0/24") from error
        if network.prefixlen != 24 or not any(network.subnet_of(private) for private in _PRIVATE):
            raise LabError(f"--subnet {subnet} is no private /24 network", "Give one like 10.99.0.0/24")
        return cls(name, network)

    @property
    def folder(self) -> Path:
        return self.state_root / self.name

    @property
    def pool(self) -> Path:
        return self.folder / "pool.img"

    @property
    def record(self) -> Path:
        """What the lab was started with. It is there from the end of the first `up` to the begin of `down`."""
        return self.folder / "lab.json"

    def settings(self) -> dict[str, Any] | None:
        """What of it was recorded, or None as long as it has never been up."""
        try:
            record = json.loads(self.record.read_text())
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) and isinstance(record.get("nodes"), int) else None

    @property
    def sockets(self) -> Path:
        """Where a process of the host and the lab's services meet."""
        return self.folder / "run"

    @property
    def ssh_key(self) -> Path:
        return self.folder / "ssh/id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "ssh/known_hosts"

    @property
    def lock(self) -> Path:
        return self.state_root / f".{self.name}.lock"

    @property
    def interface(self) -> str:
        """The host's end of the cable into the lab; the kernel allows 15 characters."""
        if len(self.name) <= 11:
            return f"phx-{self.name}"
        return f"phx-{self.name[:5]}-{hashlib.sha256(self.name.encode()).hexdigest()[:5]}"

    @property
    def gateway(self) -> str:
        return str(self.subnet[1])

    @property
    def host_address(self) -> str:
        return str(self.subnet[254])

    def hwaddr(self, last: int) -> str:
        """Fixed, so that a lab made anew is not looked for at the old one's addresses."""
        network = self.subnet.network_address.packed
        return f"bc:24:{network[1]:02x}:{network[2]:02x}:ff:{last:02x}"

    def node(self, name: str) -> Node:
        count = (self.settings() or {"nodes": MOST_NODES})["nodes"]
        known = {node.name: node for node in self.nodes(count)}
        if name not in known:
            raise LabError(f"the lab {self.name} has no node {name!r}", f"It has {', '.join(known)}")
        return known[name]

    def nodes(self, count: int) -> list[Node]:
        return [Node(f"pve{n}", str(self.subnet[9 + n]), self.hwaddr(9 + n)) for n in range(1, count + 1)]


def owner() -> tuple[int, int] | None:
    """Who shall be able to use the lab's key: the user behind sudo."""
    uid, gid = os.environ.get("SUDO_UID"), os.environ.get("SUDO_GID")
    return (int(uid), int(gid)) if uid and gid else None
