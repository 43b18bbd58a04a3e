# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The lab's network: one bridge inside, and a cable from it to the host, on which nothing is forwarded.

from __future__ import annotations

import ipaddress
import json
import subprocess
from pathlib import Path
from typing import Any, NoReturn

from ..errors import LabError
from .lab import Lab
from .world import World

BRIDGE = "lan"


def check_free(lab: Lab) -> None:
    """Refuse a subnet that the host already reaches in another way."""
    for route in _routes("root", lab):
        _refuse(lab, route)
    # A larger network behind a router is left only for as long as the lab is there; a neighbour would be lost.
    for route in _routes("match", lab):
        if "gateway" not in route and route.get("dst") != "default":
            _refuse(lab, route)
    for route in json.loads(_ip("-json", "-4", "route", "show") or "[]"):
        if (gateway := route.get("gateway")) and ipaddress.ip_address(gateway) in lab.subnet:
            _refuse(lab, route)


def _routes(kind: str, lab: Lab) -> list[dict[str, Any]]:
    routes: list[dict[str, Any]] = json.loads(_ip("-json", "route", "show", kind, str(lab.subnet)) or "[]")
    return [route for route in routes if route.get("dev") != lab.interface]


def _refuse(lab: Lab, route: dict[str, Any]) -> NoReturn:
    raise LabError(
        f"--subnet {lab.subnet} is in use on this machine: {route.get('dst')} is reached by {route.get('dev')}",
        "Give the lab another one, for example --subnet 10.98.7.0/24",
    )


def connect(lab: Lab, world: World) -> None:
    inside = [
        f"link add {BRIDGE} address {lab.hwaddr(1)} type bridge forward_delay 0 stp_state 0",
        f"address add {lab.gateway}/{lab.subnet.prefixlen} dev {BRIDGE}",
        f"link set {BRIDGE} up",
    ]
    world.run(["ip", "-batch", "-"], stdin="\n".join(inside) + "\n", only_network=True)
    init = world.init
    _ip(
        "link",
        "add",
        lab.interface,
        "address",
        lab.hwaddr(254),
        "type",
        "veth",
        "peer",
        "name",
        "host",
        "netns",
        str(init),
    )
    _forward_nothing(lab.interface)
    world.run(["ip", "link", "set", "host", "master", BRIDGE, "up"], only_network=True)
    _ip("address", "add", f"{lab.host_address}/{lab.subnet.prefixlen}", "dev", lab.interface)
    _ip("link", "set", lab.interface, "up")


def _forward_nothing(interface: str) -> None:
    """The machine may be a router, as every one with Docker is; for what comes out of the lab it is none."""
    for family in ("ipv4", "ipv6"):
        setting = Path(f"/proc/sys/net/{family}/conf/{interface}/forwarding")
        # A kernel without IPv6 has no such setting.
        if setting.is_file() and setting.read_text().strip() != "0":
            setting.write_text("0")


def disconnect(lab: Lab) -> None:
    """Take the cable away, should it have outlived its other end."""
    if lab.interface in _ip("-oneline", "link", "show"):
        subprocess.run(["ip", "link", "delete", lab.interface], capture_output=True, check=False)


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
