# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::API2::Network: the network interfaces of the node. Only read: the lab's network is made from outside.

from __future__ import annotations

import re
from typing import Any

from ..environment import Environment
from ..exceptions import ParameterError
from ..json_schema import get_standard_option
from ..rest_handler import Method, Parameters
from ..system import System

_TYPES = [
    "bridge",
    "bond",
    "eth",
    "alias",
    "vlan",
    "fabric",
    "unknown",
    "any_bridge",
    "any_local_bridge",
    "include_sdn",
]
_BRIDGES = ("any_bridge", "any_local_bridge", "include_sdn")


def interfaces(system: System) -> list[dict[str, Any]]:
    """What there is, and what /etc/network/interfaces says about it."""
    configured = _configured(system)
    folder = system.path("sys/class/net")
    present = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    rows = []
    for priority, name in enumerate(sorted(present | set(configured)), start=2):
        settings = configured.get(name, {})
        if name == "lo" or name.startswith(("veth", "fwbr", "fwln", "fwpr", "tap")):
            continue
        row = {"iface": name, "priority": priority, "families": ["inet"], "method": "manual", "method6": "manual"}
        row |= settings
        row["type"] = "bridge" if _is_bridge(system, name) or "bridge_ports" in settings else _kind(name)
        if name in present:
            row |= {"active": 1, "exists": 1}
        rows.append(row)
    return rows


def _is_bridge(system: System, name: str) -> bool:
    return system.path(f"sys/class/net/{name}/bridge").exists()


def _kind(name: str) -> str:
    if re.fullmatch(r"(eth|en|nic|wl)\w+", name):
        return "eth"
    if re.fullmatch(r"bond\d+", name):
        return "bond"
    return "vlan" if "." in name else "unknown"


def _configured(system: System) -> dict[str, dict[str, Any]]:
    file = system.path("etc/network/interfaces")
    found: dict[str, dict[str, Any]] = {}
    current: dict[str, Any] = {}
    automatic: set[str] = set()
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] in ("auto", "allow-hotplug"):
            automatic |= set(words[1:])
        elif words[0] == "iface" and len(words) >= 4 and words[2] == "inet":
            current = found.setdefault(words[1], {})
            current["method"] = words[3]
        elif words[0] == "address":
            address, _, prefix = words[1].partition("/")
            current |= {"address": address, "netmask": prefix, "cidr": words[1]} if prefix else {"address": address}
        elif words[0] in ("gateway", "bridge-ports", "bridge-stp", "bridge-fd"):
            current[words[0].replace("-", "_")] = " ".join(words[1:])
    for name in automatic & set(found):
        found[name]["autostart"] = 1
    return found


def _list(env: Environment, parameters: Parameters) -> list[dict[str, Any]]:
    """Bridges only those that the caller may use: a container's network is to be one of them."""
    wanted = parameters.get("type")
    rows = []
    for row in interfaces(env.system):
        if wanted in _BRIDGES:
            path = f"/sdn/zones/localnetwork/{row['iface']}"
            allowed = env.check(path, ["SDN.Audit", "SDN.Use"], any_of=True, noerr=True)
            if row["type"] != "bridge" or not allowed:
                continue
        elif wanted is not None and row["type"] != wanted:
            continue
        rows.append(row)
    return rows


def _show(env: Environment, parameters: Parameters) -> dict[str, Any]:
    for row in interfaces(env.system):
        if row["iface"] == parameters["iface"]:
            return {key: value for key, value in row.items() if key != "iface"}
    raise ParameterError({"iface": "interface does not exist"})


METHODS = (
    Method(
        "index",
        "GET",
        "/nodes/{node}/network",
        {
            "node": get_standard_option("pve-node"),
            "type": {"type": "string", "optional": 1, "enum": _TYPES},
        },
        _list,
        permissions=("user", "all"),
    ),
    Method(
        "network_config",
        "GET",
        "/nodes/{node}/network/{iface}",
        {"node": get_standard_option("pve-node"), "iface": {"type": "string", "minLength": 2, "maxLength": 20}},
        _show,
        permissions=("perm", "/nodes/{node}", ["Sys.Audit"]),
    ),
)
