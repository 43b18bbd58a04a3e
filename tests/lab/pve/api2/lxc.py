# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::API2::LXC: the methods of containers. Creating and cloning are in modules of their own.

from __future__ import annotations

import re
from typing import Any

from ..environment import Environment
from ..exceptions import PVEError
from ..firewall import remove_vmfw_conf
from ..guest.abstract_config import Conf, Volume
from ..json_schema import get_standard_option, parse_boolean, parse_size
from ..lxc.config import Config
from ..lxc.config_schema import json_config_properties
from ..rest_handler import Method, Parameters

_NODE = get_standard_option("pve-node")
_VMID = get_standard_option("pve-vmid")
_SNAPNAME = get_standard_option("pve-snapshot-name", optional=1)
_LIST = "/nodes/{node}/lxc"
_PATH = "/nodes/{node}/lxc/{vmid}"
_BASE = {"node": _NODE, "vmid": _VMID}
_AUDIT = ("perm", "/vms/{vmid}", ["VM.Audit"])
_ALLOCATE = ("perm", "/vms/{vmid}", ["VM.Allocate"])
_SUBFOLDERS = (
    "config pending status vncproxy termproxy vncwebsocket spiceproxy migrate clone rrd rrddata firewall"
    " snapshot resize interfaces"
)


def _vmlist(environment: Environment, param: Parameters) -> list[dict[str, Any]]:
    from ..lxc.status import vmstatus  # noqa: PLC0415

    del param
    found = vmstatus(environment.system)
    return [
        status for vmid, status in sorted(found.items()) if environment.check(f"/vms/{vmid}", ["VM.Audit"], noerr=True)
    ]


def _create_vm(environment: Environment, param: Parameters) -> str:
    from .lxc_create import create  # noqa: PLC0415

    return create(environment, param)


def _clone_vm(environment: Environment, param: Parameters) -> str:
    from .lxc_clone import clone  # noqa: PLC0415

    return clone(environment, param)


def _vmdiridx(environment: Environment, param: Parameters) -> list[dict[str, str]]:
    Config(environment.system).load_config(int(param["vmid"]))
    return [{"subdir": name} for name in _SUBFOLDERS.split()]


def _destroy_vm(environment: Environment, param: Parameters) -> str:
    from .. import lxc as container  # noqa: PLC0415
    from ..tools import warn  # noqa: PLC0415

    system = environment.system
    config = Config(system)
    vmid = int(param["vmid"])
    force, purge, unreferenced = (
        bool(parse_boolean(param.get(key, 0))) for key in ("force", "purge", "destroy-unreferenced-disks")
    )

    def checked() -> Conf:
        conf = config.load_config(vmid)
        config.check_protection(conf, f"can't remove CT {vmid}")
        config.check_lock(conf)
        if not force and container.check_running(system, vmid):
            raise PVEError(f"unable to destroy CT {vmid} - container is running")
        return conf

    def work(_upid: str) -> None:
        with config.lock_config(vmid):
            conf = checked()
            if container.check_running(system, vmid):
                warn(f"forced to stop CT {vmid} before destroying!")
                container.vm_stop(system, vmid, kill=True)
            replacement = {"lock": "destroyed"}
            container.destroy_lxc_container(system, vmid, conf, replacement, purge_unreferenced=unreferenced)
            remove_vmfw_conf(system, vmid)
            if purge:
                environment.print(f"purging CT {vmid} from related configurations..")
            config.destroy_config(vmid)

    checked()
    return environment.fork_worker("vzdestroy", str(vmid), work)


def _resize_vm(environment: Environment, param: Parameters) -> str:
    from .. import storage  # noqa: PLC0415

    system = environment.system
    config = Config(system)
    vmid = int(param["vmid"])
    disk, text = param["disk"], param["size"]
    wanted = parse_size(text.removeprefix("+"))
    if wanted is None:
        raise PVEError("invalid size string")

    def checked() -> tuple[Conf, Volume, int]:
        conf = config.load_config(vmid)
        config.check_lock(conf)
        _check_digest(param.get("digest"), conf)
        if environment.user != "root@pam":
            environment.check(f"/vms/{vmid}", ["VM.Config.Disk"])
        volume = config.parse_volume(disk, conf.get(disk) or "")
        volid = volume["volume"]
        owner = storage.parse_volname(system, volid).vmid
        if owner != vmid:
            raise PVEError(f"can't resize mount point owned by another container ({owner})")
        environment.check(f"/storage/{storage.parse_volume_id(volid)[0]}", ["Datastore.AllocateSpace"])
        size = storage.volume_size_info(system, volid)
        goal = size + wanted if text.startswith("+") else wanted
        if goal < size:
            raise PVEError("unable to shrink disk size")
        if goal == size:
            raise PVEError("disk is already at specified size")
        return conf, volume, goal

    def work(_upid: str) -> None:
        with config.lock_config(vmid):
            conf, volume, goal = checked()
            storage.volume_resize(system, volume["volume"], goal)
            conf[disk] = config.print_ct_mountpoint({**volume, "size": goal}, disk == "rootfs")
            config.write_config(vmid, conf)

    checked()
    return environment.fork_worker("resize", str(vmid), work)


def _check_digest(given: str | None, conf: Conf) -> None:
    if given and given != conf["digest"]:
        raise PVEError("detected modified configuration - file changed by other user? Try again.")


def _template(environment: Environment, param: Parameters) -> None:
    from .. import lxc as container  # noqa: PLC0415

    system = environment.system
    config = Config(system)
    vmid = int(param["vmid"])
    with config.lock_config(vmid):
        conf = config.load_config(vmid)
        config.check_lock(conf)
        if conf["snapshots"]:
            raise PVEError("unable to create template, because CT contains snapshots")
        if config.is_template(conf):
            raise PVEError("you can't convert a template to a template")
        if container.check_running(system, vmid):
            raise PVEError("you can't convert a CT to template if the CT is running")

        def work(_upid: str) -> None:
            container.template_create(system, vmid, conf)
            conf["template"] = 1
            config.write_config(vmid, conf)
            container.update_lxc_config(system, vmid, conf)

        environment.fork_worker("vztemplate", str(vmid), work)


def _vm_feature(environment: Environment, param: Parameters) -> dict[str, Any]:
    from .. import lxc as container  # noqa: PLC0415
    from .. import storage  # noqa: PLC0415

    config = Config(environment.system)
    vmid = int(param["vmid"])
    conf = config.load_config(vmid)
    snapname = param.get("snapname")
    if snapname:
        if snapname not in conf["snapshots"]:
            raise PVEError(f"snapshot '{snapname}' does not exist")
        conf = conf["snapshots"][snapname]
    volumes = [volume["volume"] for _key, volume in config.foreach_volume(conf)]
    available = all(
        storage.volume_has_feature(environment.system, param["feature"], volid, snapname) for volid in volumes
    )
    if param["feature"] == "clone" and snapname is None and container.check_running(environment.system, vmid):
        available = False
    return {"hasFeature": int(available)}


def _interfaces(environment: Environment, param: Parameters) -> list[dict[str, Any]] | None:
    from .. import lxc as container  # noqa: PLC0415

    system = environment.system
    vmid = int(param["vmid"])
    Config(system).load_config(vmid)
    if not container.check_running(system, vmid):
        return None
    result = system.run(["lxc-attach", "-n", str(vmid), "-s", "NETWORK", "--", "ip", "-o", "address", "show"])
    links = system.run(["lxc-attach", "-n", str(vmid), "-s", "NETWORK", "--", "ip", "-o", "link", "show"])
    found: dict[str, dict[str, Any]] = {}
    for name, hwaddr in re.findall(r"^\d+: ([^:@]+)[:@].*link/\w+ (\S+)", links.stdout, re.MULTILINE):
        found[name] = {"name": name, "hwaddr": hwaddr, "hardware-address": hwaddr, "ip-addresses": []}
    for name, family, address in re.findall(r"^\d+: (\S+)\s+(inet6?) (\S+)", result.stdout, re.MULTILINE):
        entry = found.setdefault(name, {"name": name, "ip-addresses": []})
        entry[family] = address
        ip, _slash, prefix = address.partition("/")
        entry["ip-addresses"].append({"ip-address": ip, "ip-address-type": family, "prefix": prefix})
    return list(found.values())


vmlist = Method(
    name="vmlist",
    method="GET",
    path=_LIST,
    description="LXC container index (per node).",
    permissions=("user", "all"),
    protected=True,
    parameters={"node": _NODE},
    code=_vmlist,
)
create_vm = Method(
    name="create_vm",
    method="POST",
    path=_LIST,
    description="Create or restore a container.",
    permissions=("user", "all"),
    protected=True,
    parameters=json_config_properties(
        node=_NODE,
        vmid=_VMID,
        ostemplate={"description": "The OS template or backup file.", "type": "string", "maxLength": 255},
        password={
            "optional": 1,
            "type": "string",
            "description": "Sets root password inside container.",
            "minLength": 5,
        },
        storage=get_standard_option("pve-storage-id", description="Default Storage.", default="local", optional=1),
        force={"optional": 1, "type": "boolean", "description": "Allow to overwrite existing container."},
        restore={"optional": 1, "type": "boolean", "description": "Mark this as restore task."},
        unique={"optional": 1, "type": "boolean", "description": "Assign a unique random ethernet address."},
        pool={"optional": 1, "type": "string", "description": "Add the VM to the specified pool."},
        **{
            "ignore-unpack-errors": {
                "optional": 1,
                "type": "boolean",
                "description": "Ignore errors when extracting the template.",
            },
            "ssh-public-keys": {
                "optional": 1,
                "type": "string",
                "description": "Setup public SSH keys (one key per line, OpenSSH format).",
            },
        },
        bwlimit=get_standard_option("bwlimit"),
        start={
            "optional": 1,
            "type": "boolean",
            "default": 0,
            "description": "Start the CT after its creation finished successfully.",
        },
    ),
    code=_create_vm,
)
vmdiridx = Method(
    name="vmdiridx", method="GET", path=_PATH, permissions=("user", "all"), parameters=_BASE, code=_vmdiridx
)
destroy_vm = Method(
    name="destroy_vm",
    method="DELETE",
    path=_PATH,
    description="Destroy the container (also delete all uses files).",
    permissions=_ALLOCATE,
    protected=True,
    parameters={
        **_BASE,
        "force": {"type": "boolean", "description": "Force destroy, even if running.", "default": 0, "optional": 1},
        "purge": {
            "type": "boolean",
            "description": "Remove container from all related configurations."
            " For example, backup jobs, replication jobs or HA."
            " Related ACLs and Firewall entries will *always* be removed.",
            "default": 0,
            "optional": 1,
        },
        "destroy-unreferenced-disks": {
            "type": "boolean",
            "description": "If set, destroy additionally all disks with the VMID from all enabled storages which"
            " are not referenced in the config.",
            "optional": 1,
        },
    },
    code=_destroy_vm,
)
vm_feature = Method(
    name="vm_feature",
    method="GET",
    path=f"{_PATH}/feature",
    description="Check if feature for virtual machine is available.",
    permissions=_AUDIT,
    protected=True,
    parameters={
        **_BASE,
        "feature": {"description": "Feature to check.", "type": "string", "enum": ["snapshot", "clone", "copy"]},
        "snapname": _SNAPNAME,
    },
    code=_vm_feature,
)
template = Method(
    name="template",
    method="POST",
    path=f"{_PATH}/template",
    description="Create a Template.",
    permissions=_ALLOCATE,
    protected=True,
    parameters=_BASE,
    code=_template,
)
clone_vm = Method(
    name="clone_vm",
    method="POST",
    path=f"{_PATH}/clone",
    description="Create a container clone/copy",
    permissions=(
        "and",
        ("perm", "/vms/{vmid}", ["VM.Clone"]),
        (
            "or",
            ("perm", "/vms/{newid}", ["VM.Allocate"]),
            ("perm", "/pool/{pool}", ["VM.Allocate"], "require_param=pool"),
        ),
    ),
    protected=True,
    parameters={
        **_BASE,
        "newid": get_standard_option("pve-vmid", description="VMID for the clone."),
        "hostname": {
            "optional": 1,
            "type": "string",
            "format": "dns-name",
            "description": "Set a hostname for the new CT.",
        },
        "description": {"optional": 1, "type": "string", "description": "Description for the new CT."},
        "pool": {"optional": 1, "type": "string", "description": "Add the new CT to the specified pool."},
        "snapname": _SNAPNAME,
        "storage": get_standard_option("pve-storage-id", description="Target storage for full clone.", optional=1),
        "full": {
            "optional": 1,
            "type": "boolean",
            "description": "Create a full copy of all disks. This is always done when you clone a normal CT."
            " For CT templates, we try to create a linked clone by default.",
        },
        "target": get_standard_option(
            "pve-node", description="Target node. Only allowed if the original VM is on shared storage.", optional=1
        ),
        "bwlimit": get_standard_option("bwlimit"),
    },
    code=_clone_vm,
)
resize_vm = Method(
    name="resize_vm",
    method="PUT",
    path=f"{_PATH}/resize",
    description="Resize a container mount point.",
    permissions=("perm", "/vms/{vmid}", ["VM.Config.Disk"], "any"),
    protected=True,
    parameters={
        **_BASE,
        "disk": {
            "type": "string",
            "description": "The disk you want to resize.",
            "enum": ["rootfs", *(f"mp{n}" for n in range(256))],
        },
        "size": {
            "type": "string",
            "pattern": r"\+?\d+(\.\d+)?[KMGT]?",
            "description": "The new size. With the '+' sign the value is added to the actual size of the volume and"
            " without it, the value is taken as an absolute one. Shrinking disk size is not supported.",
        },
        "digest": get_standard_option("pve-config-digest"),
    },
    code=_resize_vm,
)
ip = Method(
    name="ip",
    method="GET",
    path=f"{_PATH}/interfaces",
    description="Get IP addresses of the specified container interface.",
    permissions=_AUDIT,
    protected=True,
    parameters=_BASE,
    code=_interfaces,
)
METHODS = (vmlist, create_vm, vmdiridx, destroy_vm, vm_feature, template, clone_vm, resize_vm, ip)
