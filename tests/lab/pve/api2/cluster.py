# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::API2::Cluster: what is in the cluster (of one node), and which id is free.

from __future__ import annotations

import socket
from typing import Any

from .. import cluster, lxc, task_list
from ..environment import Environment
from ..exceptions import ParameterError
from ..json_schema import get_standard_option
from ..rest_handler import Method, Parameters
from . import storage
from .nodes import node_entry

_FIRST_ID = 100
_LAST_ID = 999999999
_AUDIT = ("perm", "/", ["Sys.Audit"])
_COPIED = "name status maxmem mem maxdisk disk diskread diskwrite netin netout uptime cpu lock tags".split()


def _resources(env: Environment, parameters: Parameters) -> list[dict[str, Any]]:
    wanted = parameters.get("type")
    rows: list[dict[str, Any]] = []
    if wanted in (None, "vm"):
        rows += _guests(env)
    if wanted in (None, "node"):
        rows += [node_entry(env, node) for node in cluster.nodes(env.system)]
    if wanted in (None, "storage"):
        rows += _storages(env)
    if wanted in (None, "sdn") and env.check("/sdn/zones/localnetwork", ["SDN.Audit"], noerr=True):
        node = env.system.node
        rows.append(
            {"id": f"sdn/{node}/localnetwork", "sdn": "localnetwork", "node": node, "type": "sdn", "status": "ok"}
        )
    return rows


def _guests(env: Environment) -> list[dict[str, Any]]:
    rows = []
    for vmid, status in sorted(lxc.vmstatus(env.system).items()):
        if not env.check(f"/vms/{vmid}", ["VM.Audit"], noerr=True):
            continue
        row = {key: status[key] for key in _COPIED if status.get(key) is not None}
        rows.append(
            {
                **row,
                "id": f"lxc/{vmid}",
                "vmid": int(vmid),
                "node": env.system.node,
                "type": "lxc",
                "template": int(status.get("template") or 0),
                "maxcpu": status.get("cpus", 0),
                "memhost": 0,
            }
        )
    return rows


def _storages(env: Environment) -> list[dict[str, Any]]:
    node = env.system.node
    return [
        {
            "id": f"storage/{node}/{row['storage']}",
            "storage": row["storage"],
            "node": node,
            "type": "storage",
            "plugintype": row["type"],
            "content": row["content"],
            "shared": row["shared"],
            "status": "available" if row["active"] else "unknown",
            "disk": row.get("used", 0),
            "maxdisk": row.get("total", 0),
        }
        for row in storage.visible_storages(env)
        if row["enabled"]
    ]


def _status(env: Environment, parameters: Parameters) -> list[dict[str, Any]]:
    """A node that is in no cluster: there is no row for the cluster, and so no quorum to read."""
    del parameters
    node = env.system.node
    return [
        {
            "id": f"node/{node}",
            "type": "node",
            "name": node,
            "nodeid": 0,
            "ip": _address(env),
            "local": 1,
            "online": 1,
            "level": "",
        }
    ]


def _address(env: Environment) -> str:
    hosts = env.system.path("etc/hosts")
    for line in hosts.read_text(encoding="utf-8").splitlines() if hosts.exists() else []:
        words = line.partition("#")[0].split()
        if env.system.node in words[1:] and not words[0].startswith(("127.", "::1")):
            return words[0]
    try:
        return socket.gethostbyname(env.system.node)
    except OSError:
        return "127.0.0.1"


def _next_id(env: Environment, parameters: Parameters) -> str:
    used = {vmid for vmid, _, _ in cluster.guests(env.system)}
    if wish := parameters.get("vmid"):
        if int(wish) in used:
            raise ParameterError({"vmid": f"VM {wish} already exists"})
        return str(wish)
    return str(next(vmid for vmid in range(_FIRST_ID, _LAST_ID) if vmid not in used))


def _config_nodes(env: Environment, parameters: Parameters) -> list[dict[str, Any]]:
    """The members that corosync.conf names: none without a cluster."""
    del env, parameters
    return []


def _tasks(env: Environment, parameters: Parameters) -> list[dict[str, Any]]:
    """The last tasks of all nodes, those that run first; only one's own without Sys.Audit."""
    del parameters
    node = env.system.node
    sees_all = env.check(f"/nodes/{node}", ["Sys.Audit"], noerr=True)
    rows = []
    for entry in task_list.update(env.system):
        task = entry.task
        if not sees_all and task.user != env.user:
            continue
        user, _, token = task.user.partition("!")
        row = {
            "upid": entry.upid,
            "node": node,
            "type": task.type,
            "id": task.id,
            "user": user,
            "starttime": task.starttime,
            "saved": str(int(entry.saved)),
        }
        row |= {"tokenid": token} if token else {}
        row |= {"endtime": entry.endtime, "status": entry.status} if entry.endtime is not None else {}
        rows.append(row)
    return rows


METHODS = (
    Method("tasks", "GET", "/cluster/tasks", {}, _tasks, permissions=("user", "all")),
    Method(
        "resources",
        "GET",
        "/cluster/resources",
        {"type": {"type": "string", "optional": 1, "enum": ["vm", "storage", "node", "sdn"]}},
        _resources,
        permissions=("user", "all"),
    ),
    Method("get_status", "GET", "/cluster/status", {}, _status, permissions=_AUDIT, protected=True),
    Method(
        "nextid",
        "GET",
        "/cluster/nextid",
        {"vmid": get_standard_option("pve-vmid", optional=1)},
        _next_id,
        permissions=("user", "all"),
    ),
    Method("nodes", "GET", "/cluster/config/nodes", {}, _config_nodes, permissions=_AUDIT),
)
