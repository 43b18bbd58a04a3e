# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The formats of PVE::JSONSchema (register_format): what a string may look like, and PVE's words when it does not.

from __future__ import annotations

import re
from collections.abc import Callable

from .exceptions import PVEError
from .tools import split_list

Check = Callable[[str], object]

_OCTET = "(?:25[0-5]|(?:2[0-4]|1[0-9]|[1-9])?[0-9])"
_IPV4 = rf"(?:{_OCTET}\.){{3}}{_OCTET}"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_UNITS = {"K": 1, "M": 2, "G": 3, "T": 4}

CONFIGID = r"[A-Za-z][A-Za-z0-9_-]+"
TAG = r"[A-Za-z0-9_][A-Za-z0-9_\-+.]*"


def _matches(pattern: str, problem: str) -> Check:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise PVEError(problem.replace("{value}", value))
        return value

    return check


def is_ipv4(value: str) -> bool:
    return re.fullmatch(_IPV4, value) is not None


def is_ipv6(value: str) -> bool:
    if not re.fullmatch(r"[0-9a-fA-F:.]+", value):
        return False
    import ipaddress  # noqa: PLC0415  (a `pct status` starts without it)

    try:
        ipaddress.IPv6Address(value)
    except ValueError:
        return False
    return True


def _is_cidr(value: str, is_address: Callable[[str], bool], longest: int) -> bool:
    address, slash, length = value.partition("/")
    shortest = 8
    return (
        bool(slash)
        and is_address(address)
        and length.isascii()
        and length.isdigit()
        and shortest <= int(length) <= longest
    )


def is_cidrv4(value: str) -> bool:
    return _is_cidr(value, is_ipv4, 32)


def is_cidrv6(value: str) -> bool:
    return _is_cidr(value, is_ipv6, 128)


def _is(test: Callable[[str], bool], what: str) -> Check:
    def check(value: str) -> str:
        if not test(value):
            raise PVEError(f"value does not look like a valid {what}")
        return value

    return check


def _is_ip_with_ll_iface(value: str) -> bool:
    if link_local := re.fullmatch(r"(fe80:[^%]+)%(.*)", value):
        address, interface = link_local.groups()
        if is_ipv6(address) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{1,20}([:.]\d+)?", interface, re.ASCII):
            return True
    return is_ipv4(value) or is_ipv6(value)


def _storage_id(value: str) -> str:
    shortest = 2
    if len(value) < shortest:
        raise PVEError(f"storage ID '{value}' cannot be shorter than 2 characters")
    return str(
        _matches(r"[A-Za-z][A-Za-z0-9\-_.]*[A-Za-z0-9]", "storage ID '{value}' contains illegal characters")(value)
    )


def _disk_size(value: str) -> str:
    if parse_size(value) is None:
        raise PVEError(f"value does not look like a valid disk size: {value}")
    return value


def _mount_point(value: str) -> str:
    if re.search(r"/\.\.?/|/\.\.?$|^\.\./", value):
        raise PVEError(f"{value} contains illegal character sequences")
    return value


def _device(value: str) -> str:
    if re.search(r"/\.\.?(?:/|$)", value) or not value.startswith("/dev/"):
        raise PVEError(f"{value} is not a valid device path")
    return value


def _timezone(value: str) -> str:
    if value not in ("host", "UTC") and not re.fullmatch(r"[A-Z][A-Za-z_]+(/[A-Za-z_\-]+)+", value):
        raise PVEError(f"invalid time zone '{value}'")
    return value


def _startup_order(value: str) -> str:
    if not value or any(not re.fullmatch(r"\s*|(order=)?\d+|(up|down)=\d+", part) for part in value.split(",")):
        raise PVEError("unable to parse startup options")
    return value


def _volume_id(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9\-_.]*[A-Za-z0-9]:.+", value):
        raise PVEError(f"unable to parse volume ID '{value}'")
    return value


FORMATS: dict[str, Check] = {
    "string": lambda value: value,
    "urlencoded": _matches(r"[-%a-zA-Z0-9_.!~*'()]*", "invalid urlencoded string: {value}"),
    "pve-configid": _matches(CONFIGID, "invalid configuration ID '{value}'"),
    "pve-storage-id": _storage_id,
    "pve-bridge-id": _matches(r"[-_.\w]+", "invalid bridge ID '{value}'"),
    "pve-vmid": _matches("[1-9][0-9]{2,8}", "value does not look like a valid VM ID"),
    "pve-node": _matches(_LABEL, "value does not look like a valid node name"),
    "pve-poolid": _matches(r"[A-Za-z0-9.\-_]+(/[A-Za-z0-9.\-_]+)*", "value does not look like a valid pool name"),
    "pve-iface": _matches(r"[A-Za-z][A-Za-z0-9_]{1,20}([:.]\d+)?", "invalid network interface name '{value}'"),
    "pve-tag": _matches(TAG, "invalid characters in tag"),
    "pve-startup-order": _startup_order,
    "pve-volume-id": _volume_id,
    "pve-ct-timezone": _timezone,
    "pve-lxc-mp-string": _mount_point,
    "pve-lxc-dev-string": _device,
    "mac-addr": _matches(
        r"[A-Fa-f0-9][02468aceACE](?::[A-Fa-f0-9]{2}){5}", "value does not look like a valid unicast MAC address"
    ),
    "ipv4": _is(is_ipv4, "IPv4 address"),
    "ipv6": _is(is_ipv6, "IPv6 address"),
    "ip": _is(lambda value: is_ipv4(value) or is_ipv6(value), "IP address"),
    "lxc-ip-with-ll-iface": _is(_is_ip_with_ll_iface, "IP address"),
    "CIDRv4": _is(is_cidrv4, "IPv4 CIDR network"),
    "CIDRv6": _is(is_cidrv6, "IPv6 CIDR network"),
    "CIDR": _is(lambda value: is_cidrv4(value) or is_cidrv6(value), "CIDR network"),
    "pve-ipv4-config": _is(lambda value: value in ("dhcp", "manual") or is_cidrv4(value), "ipv4 network configuration"),
    "pve-ipv6-config": _is(
        lambda value: value in ("auto", "dhcp", "manual") or is_cidrv6(value), "ipv6 network configuration"
    ),
    "dns-name": _matches(rf"({_LABEL}\.)*{_LABEL}", "value does not look like a valid DNS name"),
    "disk-size": _disk_size,
}


def check_named_format(name: str, value: str) -> None:
    """A format by its name; "-list" of it is a comma, semicolon or blank separated list, "-opt" may be empty."""
    base, dash, kind = name.rpartition("-")
    if dash and kind == "list":
        for part in split_list(value):
            FORMATS[base](part)
    elif not (dash and kind == "opt" and not value):
        FORMATS[base if dash and kind == "opt" else name](value)


def parse_size(text: str) -> int | None:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT])?(?:iB)?", text, re.ASCII)
    if not found or (text.endswith("iB") and not found[2]):
        return None
    return int(float(found[1]) * 1024 ** _UNITS.get(found[2] or "", 0))


def format_size(size: int) -> str:
    for unit in ("", "K", "M", "G"):
        if size % 1024 or not size:
            return f"{size}{unit}"
        size //= 1024
    return f"{size}T"
