# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::API2::LXC::Snapshot.

from __future__ import annotations

from typing import Any

from ..environment import Environment
from ..exceptions import ENOENT, PVEError
from ..json_schema import get_standard_option, parse_boolean
from ..lxc.config import Config
from ..rest_handler import Method, Parameters

_NODE = get_standard_option("pve-node")
_VMID = get_standard_option("pve-vmid")
_SNAPNAME = get_standard_option("pve-snapshot-name")
_DESCRIPTION = {"optional": 1, "type": "string", "description": "A textual description or comment."}
_PATH = "/nodes/{node}/lxc/{vmid}/snapshot"
_ONE = f"{_PATH}/{{snapname}}"
_BASE = {"node": _NODE, "vmid": _VMID}
_NAMED = {**_BASE, "snapname": _SNAPNAME}


def _snapshot_list(environment: Environment, param: Parameters) -> list[dict[str, Any]]:
    from .. import lxc as container  # noqa: PLC0415

    vmid = int(param["vmid"])
    conf = Config(environment.system).load_config(vmid)
    found: list[dict[str, Any]] = []
    for name, section in conf["snapshots"].items():
        item: dict[str, Any] = {"name": name, "snaptime": int(section.get("snaptime") or 0)}
        item["description"] = section.get("description") or ""
        item.update({key: section[key] for key in ("parent", "snapstate") if section.get(key)})
        found.append(item)
    running = int(container.check_running(environment.system, vmid))
    current = {"name": "current", "digest": conf["digest"], "running": running, "description": "You are here!"}
    if "parent" in conf:
        current["parent"] = conf["parent"]
    return [*found, current]


def _snapshot(environment: Environment, param: Parameters) -> str:
    vmid, snapname = int(param["vmid"]), param["snapname"]
    if snapname in ("current", "vzdump"):
        raise PVEError(f"unable to use snapshot name '{snapname}' (reserved name)", errno=ENOENT)

    def work(_upid: str) -> None:
        _snapshots(environment).create(vmid, snapname, param.get("description"))

    return environment.fork_worker("vzsnapshot", str(vmid), work)


def _delsnapshot(environment: Environment, param: Parameters) -> str:
    vmid = int(param["vmid"])

    def work(_upid: str) -> None:
        force = bool(parse_boolean(param.get("force", 0)))
        _snapshots(environment).delete(vmid, param["snapname"], force=force)

    return environment.fork_worker("vzdelsnapshot", str(vmid), work)


def _rollback(environment: Environment, param: Parameters) -> str:
    vmid = int(param["vmid"])

    def work(_upid: str) -> None:
        _snapshots(environment).rollback(vmid, param["snapname"])
        if parse_boolean(param.get("start", 0)):
            from .lxc_status import vm_start  # noqa: PLC0415

            vm_start.code(environment, {"node": param.get("node"), "vmid": vmid})

    return environment.fork_worker("vzrollback", str(vmid), work)


def _snapshots(environment: Environment) -> Any:
    from ..guest.snapshots import Snapshots  # noqa: PLC0415

    return Snapshots(Config(environment.system))


def _index(_environment: Environment, _param: Parameters) -> list[dict[str, str]]:
    return [{"cmd": "rollback"}, {"cmd": "config"}]


def _get_config(environment: Environment, param: Parameters) -> dict[str, Any]:
    conf = Config(environment.system).load_config(int(param["vmid"]))
    section = _section(conf, param["snapname"])
    section.pop("lxc", None)
    return section


def _update_config(environment: Environment, param: Parameters) -> None:
    if "description" not in param:
        return
    config = Config(environment.system)
    vmid = int(param["vmid"])
    with config.lock_config(vmid):
        conf = config.load_config(vmid)
        config.check_lock(conf)
        _section(conf, param["snapname"])["description"] = param["description"]
        config.write_config(vmid, conf)


def _section(conf: dict[str, Any], snapname: str) -> dict[str, Any]:
    section: dict[str, Any] | None = conf["snapshots"].get(snapname)
    if section is None:
        raise PVEError(f"snapshot '{snapname}' does not exist")
    return section


_READ = ("perm", "/vms/{vmid}", ["VM.Audit"])
_WRITE = ("perm", "/vms/{vmid}", ["VM.Snapshot"])

snapshot_list = Method(
    name="list",
    method="GET",
    path=_PATH,
    description="List all snapshots.",
    permissions=_READ,
    protected=True,
    parameters=_BASE,
    code=_snapshot_list,
)
snapshot = Method(
    name="snapshot",
    method="POST",
    path=_PATH,
    description="Snapshot a container.",
    permissions=_WRITE,
    protected=True,
    parameters={**_NAMED, "description": _DESCRIPTION},
    code=_snapshot,
)
delsnapshot = Method(
    name="delsnapshot",
    method="DELETE",
    path=_ONE,
    description="Delete a LXC snapshot.",
    permissions=_WRITE,
    protected=True,
    parameters={
        **_NAMED,
        "force": {
            "optional": 1,
            "type": "boolean",
            "description": "For removal from config file, even if removing disk snapshots fails.",
        },
    },
    code=_delsnapshot,
)
snapshot_cmd_idx = Method(
    name="snapshot_cmd_idx",
    method="GET",
    path=_ONE,
    permissions=("user", "all"),
    parameters=_NAMED,
    code=_index,
)
rollback = Method(
    name="rollback",
    method="POST",
    path=f"{_ONE}/rollback",
    description="Rollback LXC state to specified snapshot.",
    permissions=("perm", "/vms/{vmid}", ["VM.Snapshot", "VM.Snapshot.Rollback"], "any"),
    protected=True,
    parameters={
        **_NAMED,
        "start": {
            "type": "boolean",
            "description": "Whether the container should get started after rolling back successfully",
            "optional": 1,
            "default": 0,
        },
    },
    code=_rollback,
)
get_snapshot_config = Method(
    name="get_snapshot_config",
    method="GET",
    path=f"{_ONE}/config",
    description="Get snapshot configuration",
    permissions=("perm", "/vms/{vmid}", ["VM.Snapshot", "VM.Snapshot.Rollback", "VM.Audit"], "any"),
    parameters=_NAMED,
    code=_get_config,
)
update_snapshot_config = Method(
    name="update_snapshot_config",
    method="PUT",
    path=f"{_ONE}/config",
    description="Update snapshot metadata.",
    permissions=_WRITE,
    protected=True,
    parameters={**_NAMED, "description": _DESCRIPTION},
    code=_update_config,
)
METHODS = (
    snapshot_list,
    snapshot,
    delsnapshot,
    snapshot_cmd_idx,
    rollback,
    get_snapshot_config,
    update_snapshot_config,
)
