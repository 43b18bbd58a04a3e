# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::API2::Storage: the storages of the node, and what lies on them.

from __future__ import annotations

from typing import Any

from .. import storage
from ..environment import Environment
from ..exceptions import PermissionDenied
from ..json_schema import get_standard_option, parse_boolean
from ..rest_handler import Method, Parameters

_SEE = ["Datastore.Audit", "Datastore.AllocateSpace"]
_NODE = {"node": get_standard_option("pve-node")}
_STORAGE = {**_NODE, "storage": get_standard_option("pve-storage-id")}


def visible_storages(env: Environment) -> list[dict[str, Any]]:
    """The storages that the caller may see, with what is in them."""
    rows = []
    for name, settings in sorted(storage.config(env.system).items()):
        if env.check(f"/storage/{name}", _SEE, any_of=True, noerr=True) and _is_here(env, settings):
            rows.append(_describe(env, name, settings))
    return rows


def _is_here(env: Environment, settings: dict[str, Any]) -> bool:
    nodes = settings.get("nodes")
    return nodes is None or env.system.node in str(nodes).replace(",", " ").split()


def _describe(env: Environment, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    enabled = str(settings.get("disable", "0")) != "1"
    sizes = storage.plugin(env.system, name).status() if enabled and settings["type"] in storage.PLUGINS else None
    row: dict[str, Any] = {
        "storage": name,
        "type": settings["type"],
        "content": ",".join(sorted(settings["content"])),
        "shared": int(settings.get("shared", 0)),
        "enabled": int(enabled),
        "active": int(sizes is not None),
    }
    if sizes:
        total, available, used = sizes
        row |= {"total": total, "avail": available, "used": used}
        row["used_fraction"] = used / total if total else 0
    return row


def _list(env: Environment, parameters: Parameters) -> list[dict[str, Any]]:
    rows = visible_storages(env)
    if "storage" in parameters:
        storage.storage_config(storage.config(env.system), parameters["storage"])
        rows = [row for row in rows if row["storage"] == parameters["storage"]]
    if wanted := set(str(parameters.get("content", "")).replace(",", " ").split()):
        rows = [row for row in rows if wanted & set(row["content"].split(","))]
    if parse_boolean(parameters.get("enabled", 0)):
        rows = [row for row in rows if row["enabled"]]
    return rows


def _status(env: Environment, parameters: Parameters) -> dict[str, Any]:
    name = str(parameters["storage"])
    settings = storage.storage_config(storage.config(env.system), name)
    return {key: value for key, value in _describe(env, name, settings).items() if key != "storage"}


def _content(env: Environment, parameters: Parameters) -> list[dict[str, Any]]:
    """Templates are for everybody who may see the storage; a guest's volume for who may see the guest."""
    name = str(parameters["storage"])
    vmid = int(parameters["vmid"]) if "vmid" in parameters else None
    rows = []
    for row in storage.volume_list(env.system, name, vmid, parameters.get("content")):
        owner = row.get("vmid")
        if owner is not None and not (
            env.check(f"/vms/{owner}", ["VM.Audit"], noerr=True)
            or env.check(f"/storage/{name}", ["Datastore.Allocate"], noerr=True)
        ):
            continue
        rows.append(row)
    return rows


def _configured(env: Environment, parameters: Parameters) -> list[dict[str, Any]]:
    wanted = parameters.get("type")
    return [
        _settings(name, settings)
        for name, settings in sorted(storage.config(env.system).items())
        if wanted in (None, settings["type"]) and env.check(f"/storage/{name}", ["Datastore.Audit"], noerr=True)
    ]


def _one_configured(env: Environment, parameters: Parameters) -> dict[str, Any]:
    name = str(parameters["storage"])
    if not env.check(f"/storage/{name}", ["Datastore.Allocate"], noerr=True):
        raise PermissionDenied(f"/storage/{name}, Datastore.Allocate")
    return _settings(name, storage.storage_config(storage.config(env.system), name))


def _settings(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {"storage": name, **settings, "content": ",".join(sorted(settings["content"]))}


_TEXT = {"type": "string", "optional": 1}
_BOOLEAN = {"type": "boolean", "optional": 1}
_MAY_SEE = ("perm", "/storage/{storage}", _SEE, "any")

METHODS = (
    Method(
        "index",
        "GET",
        "/nodes/{node}/storage",
        {
            **_NODE,
            "storage": get_standard_option("pve-storage-id", optional=1),
            "content": _TEXT,
            "enabled": _BOOLEAN,
            "target": get_standard_option("pve-node", optional=1),
            "format": _BOOLEAN,
        },
        _list,
        permissions=("user", "all"),
        protected=True,
    ),
    Method(
        "read_status",
        "GET",
        "/nodes/{node}/storage/{storage}/status",
        _STORAGE,
        _status,
        permissions=_MAY_SEE,
        protected=True,
    ),
    Method(
        "index",
        "GET",
        "/nodes/{node}/storage/{storage}/content",
        {**_STORAGE, "content": _TEXT, "vmid": get_standard_option("pve-vmid", optional=1)},
        _content,
        permissions=_MAY_SEE,
        protected=True,
    ),
    Method("index", "GET", "/storage", {"type": _TEXT}, _configured, permissions=("user", "all")),
    Method(
        "read",
        "GET",
        "/storage/{storage}",
        {"storage": get_standard_option("pve-storage-id")},
        _one_configured,
        permissions=("user", "all"),
    ),
)
