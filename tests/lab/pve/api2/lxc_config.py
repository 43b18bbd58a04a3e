# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::API2::LXC::Config: a container's configuration over the command line and the API alike.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..environment import Environment
from ..exceptions import ENOENT, ParameterError, PVEError
from ..guest.abstract_config import Conf, parse_pending_delete
from ..json_schema import get_standard_option, parse_boolean
from ..lxc.config import Config
from ..lxc.config_schema import json_config_properties
from ..rest_handler import Method, Parameters

_NODE = get_standard_option("pve-node")
_VMID = get_standard_option("pve-vmid")
_CONFIG_PATH = "/nodes/{node}/lxc/{vmid}/config"


def _vm_config(environment: Environment, param: Parameters) -> Conf:
    config = Config(environment.system)
    vmid = int(param["vmid"])
    current = bool(parse_boolean(param.get("current", 0)))
    if param.get("snapshot"):
        if current:
            problem = "cannot use 'snapshot' parameter with 'current'"
            raise ParameterError({"snapshot": problem, "current": problem})
        return config.load_snapshot_config(vmid, param["snapshot"])
    return config.load_current_config(vmid, current)


vm_config = Method(
    name="vm_config",
    method="GET",
    path=_CONFIG_PATH,
    description="Get container configuration.",
    permissions=("perm", "/vms/{vmid}", ["VM.Audit"]),
    parameters={
        "node": _NODE,
        "vmid": _VMID,
        "current": {
            "description": "Get current values (instead of pending values).",
            "optional": 1,
            "default": 0,
            "type": "boolean",
        },
        "snapshot": get_standard_option(
            "pve-snapshot-name", description="Fetch config values from given snapshot.", optional=1
        ),
    },
    returns=json_config_properties(lxc={"type": "array", "optional": 1}, digest={"type": "string"}),
    code=_vm_config,
)


def _update_vm(environment: Environment, param: Parameters) -> None:
    system = environment.system
    options = {key: value for key, value in param.items() if key not in ("node", "vmid", "digest")}
    if not options:
        raise PVEError("no options specified", errno=ENOENT)
    vmid = int(param["vmid"])
    delete = _names(options.pop("delete", None))
    revert = _names(options.pop("revert", None))
    config = Config(system)
    with config.lock_config(vmid):
        conf = config.load_config(vmid)
        config.check_lock(conf)
        _assert_if_modified(param.get("digest"), conf["digest"])
        _check_permissions(environment, vmid, conf, gone=delete)
        _check_permissions(environment, vmid, conf, gone=revert)
        _check_contradictions(config, options, delete, revert)
        _check_permissions(environment, vmid, conf, new=options)
        if "cpuunits" in options:
            from ..lxc.cgroup import clamp_cpu_shares  # noqa: PLC0415

            options["cpuunits"] = clamp_cpu_shares(int(options["cpuunits"]))
        from .. import lxc as container  # noqa: PLC0415

        running = container.check_running(system, vmid)
        errors = config.update_pct_config(vmid, conf, running, options, delete, revert)
        if errors:
            raise ParameterError(errors)
        config.write_config(vmid, conf)
        container.update_lxc_config(system, vmid, config.load_config(vmid))


def _names(text: str | None) -> list[str]:
    from ..tools import split_list  # noqa: PLC0415

    return split_list(text)


def _assert_if_modified(given: str | None, found: str) -> None:
    if given and given != found:
        raise PVEError("detected modified configuration - file changed by other user? Try again.")


def _check_permissions(
    environment: Environment, vmid: int, conf: Conf, *, new: Conf | None = None, gone: Sequence[str] = ()
) -> None:
    if environment.user == "root@pam":
        return
    from ..access_control import check_ct_modify_config_perm  # noqa: PLC0415

    unprivileged = bool(conf.get("unprivileged"))
    check_ct_modify_config_perm(environment, vmid, old=conf, new=new or {}, delete=gone, unprivileged=unprivileged)


def _check_contradictions(config: Config, options: Conf, delete: list[str], revert: list[str]) -> None:
    for name in revert:
        if not config.option_exists(name):
            raise ParameterError({"revert": f"unknown option '{name}'"})
        if name in options:
            raise ParameterError({"revert": f"you can't use '-{name}' and '-revert {name}' at the same time"})
    for name in delete:
        if not config.option_exists(name):
            raise ParameterError({"delete": f"unknown option '{name}'"})
        if name in options:
            # The missing quote is PVE's own.
            raise ParameterError({"delete": f"you can't use '-{name}' and -delete {name}' at the same time"})
        if name in revert:
            raise ParameterError({"delete": f"you can't use '-delete {name}' and '-revert {name}' at the same time"})


update_vm = Method(
    name="update_vm",
    method="PUT",
    path=_CONFIG_PATH,
    description="Set container options.",
    protected=True,
    permissions=(
        "perm",
        "/vms/{vmid}",
        ["VM.Config.Disk", "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options"],
        "any",
    ),
    parameters=json_config_properties(
        node=_NODE,
        vmid=_VMID,
        delete={
            "type": "string",
            "format": "pve-configid-list",
            "description": "A list of settings you want to delete.",
            "optional": 1,
        },
        revert={
            "type": "string",
            "format": "pve-configid-list",
            "description": "Revert a pending change.",
            "optional": 1,
        },
        digest={
            "type": "string",
            "description": "Prevent changes if current configuration file has different SHA1 digest. "
            "This can be used to prevent concurrent modifications.",
            "maxLength": 40,
            "optional": 1,
        },
    ),
    code=_update_vm,
)


def _vm_pending(environment: Environment, param: Parameters) -> list[dict[str, Any]]:
    """PVE::GuestHelpers::config_with_pending_array: raw lines do not show."""
    conf = Config(environment.system).load_config(int(param["vmid"]))
    pending = conf.pop("pending")
    deleted = {key: 2 if force else 1 for key, force in parse_pending_delete(pending.pop("delete", None)).items()}
    items: list[dict[str, Any]] = []
    for key in dict.fromkeys([*conf, *pending, *deleted]):
        if isinstance(conf.get(key), list | dict):
            continue
        item = {"key": key, "value": conf.get(key), "pending": pending.get(key), "delete": deleted.get(key)}
        items.append({name: value for name, value in item.items() if value is not None})
    return items


vm_pending = Method(
    name="vm_pending",
    method="GET",
    path="/nodes/{node}/lxc/{vmid}/pending",
    description="Get container configuration, including pending changes.",
    permissions=("perm", "/vms/{vmid}", ["VM.Audit"]),
    parameters={"node": _NODE, "vmid": _VMID},
    code=_vm_pending,
)

METHODS = (vm_config, update_vm, vm_pending)
