# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::API2::Nodes: the nodes and how they are.
#
# What pvestatd would report is read from /proc at once. A machine without it shows its nodes as "unknown", as PVE does
# when pvestatd does not run.

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
from typing import Any

from .. import cluster
from ..environment import Environment
from ..json_schema import get_standard_option
from ..rest_handler import Method, Parameters
from ..system import System
from .version import PVE_MANAGER

_NODE = {"node": get_standard_option("pve-node")}


def fingerprint(system: System, node: str) -> str | None:
    """SHA-256 of the certificate of a node's API."""
    file = system.path(f"etc/pve/nodes/{node}/pve-ssl.pem")
    if not file.exists():
        return None
    text = file.read_text(encoding="ascii", errors="replace")
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERTIFICATE-----") :])).hexdigest()
    return ":".join(digest[position : position + 2].upper() for position in range(0, len(digest), 2))


def node_entry(env: Environment, node: str) -> dict[str, Any]:
    """One row of the list of nodes; the numbers only for who may see them."""
    system = env.system
    entry: dict[str, Any] = {"id": f"node/{node}", "node": node, "type": "node", "status": "unknown"}
    if node == system.node and system.path("proc/uptime").exists():
        entry["status"] = "online"
        if env.check(f"/nodes/{node}", ["Sys.Audit"], noerr=True):
            memory, (total, used, _) = _memory(system), shutil.disk_usage(system.path(""))
            entry |= {
                "level": "",
                "uptime": _uptime(system),
                "cpu": 0,
                "maxcpu": os.cpu_count() or 1,
                "mem": memory["used"],
                "maxmem": memory["total"],
                "disk": used,
                "maxdisk": total,
            }
    return entry


def _list(env: Environment, parameters: Parameters) -> list[dict[str, Any]]:
    del parameters
    rows = []
    for node in cluster.nodes(env.system):
        row = node_entry(env, node)
        if digest := fingerprint(env.system, node):
            row["ssl_fingerprint"] = digest
        rows.append(row)
    return rows


def _status(env: Environment, parameters: Parameters) -> dict[str, Any]:
    del parameters
    system = env.system
    total, used, free = shutil.disk_usage(system.path(""))
    cores = os.cpu_count() or 1
    kernel = os.uname()
    return {
        "uptime": _uptime(system),
        "loadavg": _words(system, "proc/loadavg", "0.00 0.00 0.00")[:3],
        "kversion": f"{kernel.sysname} {kernel.release} {kernel.version}",
        "current-kernel": {
            "sysname": kernel.sysname,
            "release": kernel.release,
            "version": kernel.version,
            "machine": kernel.machine,
        },
        "pveversion": PVE_MANAGER,
        "cpu": 0,
        "wait": 0,
        "idle": 0,
        "cpuinfo": {"cpus": cores, "cores": cores, "sockets": 1, "model": kernel.machine},
        "memory": _memory(system),
        "swap": _memory(system, "Swap"),
        "rootfs": {"total": total, "used": used, "free": total - used, "avail": free},
        "boot-info": {"mode": "efi", "secureboot": 0},
    }


def _words(system: System, name: str, default: str) -> list[str]:
    file = system.path(name)
    return (file.read_text(encoding="ascii") if file.exists() else default).split()


def _uptime(system: System) -> int:
    return int(float(_words(system, "proc/uptime", "0")[0]))


def _memory(system: System, kind: str = "Mem") -> dict[str, int]:
    file = system.path("proc/meminfo")
    lines = file.read_text(encoding="ascii").splitlines() if file.exists() else []
    values = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    total = values.get(f"{kind}Total", 0)
    free = values.get("MemAvailable" if kind == "Mem" else f"{kind}Free", 0)
    return {"total": total, "used": total - free, "free": free}


METHODS = (
    Method("index", "GET", "/nodes", {}, _list, permissions=("user", "all")),
    Method(
        "status",
        "GET",
        "/nodes/{node}/status",
        _NODE,
        _status,
        permissions=("perm", "/nodes/{node}", ["Sys.Audit"]),
        protected=True,
    ),
)
