# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The schema of a container's configuration: every key, and its property strings ($confdesc of PVE::LXC::Config).

from __future__ import annotations

import re
from typing import Any

from ..exceptions import PVEError
from ..json_schema import check_format, get_standard_option, parse_boolean

MAX_MOUNT_POINTS = 256
MAX_DEVICES = 256
MAX_NETWORKS = 32

_MOUNT_OPTION = "(?:discard|lazytime|noatime|nodev|noexec|nosuid)"
_IDMAP = "[ug]:[0-9]+:[0-9]+:[1-9][0-9]*"


def _flag(description: str = "", **more: object) -> dict[str, Any]:
    return {"type": "boolean", "optional": 1, "description": description, **more}


def _text(description: str = "", **more: object) -> dict[str, Any]:
    return {"type": "string", "optional": 1, "description": description, **more}


def _integer(description: str, minimum: int, maximum: int | None = None, **more: object) -> dict[str, Any]:
    limits = {"minimum": minimum} if maximum is None else {"minimum": minimum, "maximum": maximum}
    return {"type": "integer", "optional": 1, "description": description, **limits, **more}


ROOTFS: dict[str, dict[str, Any]] = {
    "volume": {"type": "string", "default_key": 1, "format": "pve-lxc-mp-string", "format_description": "volume"},
    "size": _text("Volume size (read only value).", format="disk-size", format_description="DiskSize"),
    "acl": _flag(),
    "mountoptions": _text(format_description="opt[;opt...]", pattern=f"{_MOUNT_OPTION}(;{_MOUNT_OPTION})*"),
    "idmap": _text(pattern=f"passthrough|{_IDMAP}(?:;{_IDMAP})*"),
    "ro": _flag("Read-only mount point"),
    "quota": _flag(),
    "replicate": _flag(default=1),
    "shared": _flag(default=0),
}

MOUNT_POINT: dict[str, dict[str, Any]] = {
    **ROOTFS,
    "backup": _flag(),
    "mp": {"type": "string", "format": "pve-lxc-mp-string", "format_description": "Path"},
    "keepattrs": _flag(default=0),
}

UNUSED: dict[str, dict[str, Any]] = {
    "volume": {"type": "string", "default_key": 1, "format": "pve-volume-id", "format_description": "volume"}
}

FEATURES: dict[str, dict[str, Any]] = {
    "mount": _text(format_description="fstype;fstype;...", pattern="[a-zA-Z0-9_; ]+"),
    "nesting": _flag(default=0),
    "keyctl": _flag(default=0),
    "fuse": _flag(default=0),
    "mknod": _flag(default=0),
    "force_rw_sys": _flag(default=0),
}

NETWORK: dict[str, dict[str, Any]] = {
    "type": _text(enum=["veth"]),
    "name": {"type": "string", "pattern": r"[-_.\w]+", "format_description": "string"},
    "bridge": _text(pattern=r"[-_.\w]+", format_description="bridge"),
    "hwaddr": get_standard_option("mac-addr"),
    "mtu": _integer("", 64, 65535),
    "ip": _text(format="pve-ipv4-config", format_description="(IPv4/CIDR|dhcp|manual)"),
    "gw": _text(format="ipv4", format_description="GatewayIPv4"),
    "ip6": _text(format="pve-ipv6-config", format_description="(IPv6/CIDR|auto|dhcp|manual)"),
    "gw6": _text(format="ipv6", format_description="GatewayIPv6"),
    "firewall": _flag(),
    "tag": _integer("", 1, 4094),
    "trunks": _text(pattern=r"\d+(?:;\d+)*", format_description="vlanid[;vlanid...]"),
    "rate": {"type": "number", "optional": 1, "format_description": "mbps"},
    "link_down": _flag(),
    "host-managed": _flag(),
}

DEVICE: dict[str, dict[str, Any]] = {
    "path": _text(default_key=1, format="pve-lxc-dev-string", format_description="Path"),
    "mode": _text(pattern="0[0-7]{3}", format_description="Octal access mode"),
    "uid": _integer("", 0),
    "gid": _integer("", 0),
    "deny-write": _flag(default=0),
}

CONFIG: dict[str, dict[str, Any]] = {
    "lock": _text(
        "Lock/unlock the container.",
        enum=[
            "backup",
            "create",
            "destroyed",
            "disk",
            "fstrim",
            "migrate",
            "mounted",
            "rollback",
            "snapshot",
            "snapshot-delete",
        ],
    ),
    "onboot": _flag("Specifies whether a container will be started during system bootup.", default=0),
    "startup": _text("Startup and shutdown behavior.", format="pve-startup-order"),
    "template": _flag("Enable/disable Template.", default=0),
    "arch": _text(
        "OS architecture type.", enum=["amd64", "i386", "arm64", "armhf", "riscv32", "riscv64"], default="amd64"
    ),
    "ostype": _text(
        "OS type.",
        enum=[
            "debian",
            "devuan",
            "ubuntu",
            "centos",
            "fedora",
            "opensuse",
            "archlinux",
            "alpine",
            "gentoo",
            "nixos",
            "unmanaged",
        ],
    ),
    "console": _flag("Attach a console device (/dev/console) to the container.", default=1),
    "tty": _integer("Specify the number of tty available to the container", 0, 6, default=2),
    "cores": _integer("The number of cores assigned to the container.", 1, 8192),
    "cpulimit": {
        "type": "number",
        "optional": 1,
        "description": "Limit of CPU usage.",
        "minimum": 0,
        "maximum": 8192,
        "default": 0,
    },
    "cpuunits": _integer("CPU weight for a container.", 0, 500000),
    "memory": _integer("Amount of RAM for the container in MB.", 16, default=512),
    "swap": _integer("Amount of SWAP for the container in MB.", 0, default=512),
    "hostname": _text("Set a host name for the container.", format="dns-name", maxLength=255),
    "description": _text("Description for the Container.", maxLength=1024 * 8),
    "searchdomain": _text("Sets DNS search domains for a container.", format="dns-name-list"),
    "nameserver": _text("Sets DNS server IP address for a container.", format="lxc-ip-with-ll-iface-list"),
    "timezone": _text("Time zone to use in the container.", format="pve-ct-timezone"),
    "rootfs": _text("Use volume as container root.", format=ROOTFS),
    "parent": _text("Parent snapshot name.", format="pve-configid", maxLength=40),
    "snaptime": _integer("Timestamp for snapshots.", 0),
    "cmode": _text("Console mode.", enum=["shell", "console", "tty"], default="tty"),
    "entrypoint": _text("Command to run as init.", pattern=r"[^\x00-\x08\x0a-\x1F\x7F]+", default="/sbin/init"),
    "protection": _flag("Sets the protection flag of the container.", default=0),
    "unprivileged": _flag("Makes the container run as unprivileged user.", default=0),
    "features": _text("Allow containers access to advanced features.", format=FEATURES),
    "env": _text(pattern=r"\w+=[^\x00-\x08\x0a-\x1F\x7F]*(?:\0\w+=[^\x00-\x08\x0a-\x1F\x7F]*)*"),
    "hookscript": _text(
        "Script that will be executed during various steps in the containers lifetime.", format="pve-volume-id"
    ),
    "tags": _text("Tags of the Container. This is only meta information.", format="pve-tag-list"),
    "debug": _flag("Try to be more verbose.", default=0),
    **{
        f"net{n}": _text("Specifies network interfaces for the container.", format=NETWORK) for n in range(MAX_NETWORKS)
    },
    **{f"mp{n}": _text("Use volume as container mount point.", format=MOUNT_POINT) for n in range(MAX_MOUNT_POINTS)},
    **{f"unused{n}": _text("Reference to unused volumes.", format=UNUSED) for n in range(MAX_MOUNT_POINTS)},
    **{f"dev{n}": _text("Device to pass through to the container", format=DEVICE) for n in range(MAX_DEVICES)},
}


def json_config_properties(**properties: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The parameters of create and set: the configuration's keys, and what the method adds or says differently."""
    shared = {key: rule for key, rule in CONFIG.items() if key not in ("parent", "snaptime")}
    return {**shared, **properties}


def check_type(key: str, value: str) -> str | int:
    """The value of a line of the file, as its type; what it raises is only a warning to a reader of the file."""
    rule = CONFIG.get(key)
    if rule is None:
        raise PVEError(f"unknown setting '{key}'")
    if re.search(r"[\n\r]", value):
        raise PVEError("property contains a line feed")
    kind = rule["type"]
    if kind == "string":
        if "format" in rule:
            check_format(rule["format"], value)
        return value
    if kind == "boolean" and (truth := parse_boolean(value)) is not None:
        return truth
    if kind == "integer" and value.isascii() and value.isdigit():
        return int(value)
    if kind == "number" and re.fullmatch(r"\d+(\.\d+)?", value, re.ASCII):
        return value
    raise PVEError(f"type check ('{kind}') failed - got '{value}'")


def typed(key: str, value: str | int) -> str | int:
    """A parameter as the file's reader would give it: 1 for a boolean, a number for an integer."""
    try:
        return check_type(key, str(value)) if CONFIG[key]["type"] in ("boolean", "integer") else value
    except PVEError:
        return value
