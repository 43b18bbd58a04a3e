# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# What PVE would refuse of lxc_container's arguments. It looks at most of them only after a clone was copied. No I/O.

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import invalid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._options import Arguments

_DNS_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DNS_NAME = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*")
_MAC = re.compile(r"[0-9a-fA-F][02468aceACE](?::[0-9a-fA-F]{2}){5}")
# A key may have options before it, and a comment after it.
_SSH_KEY = re.compile(r"(?:[^\n]* )?(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[\w@.-]+ [A-Za-z0-9+/]+={0,2}(?: [^\n]*)?")
_STARTUP = re.compile(r"(?:(?:order=)?\d+|(?:up|down)=\d+)(?:,(?:order|up|down)=\d+)*")


def check_arguments(arguments: Arguments) -> None:
    """Refuse what PVE would refuse, with the remedy."""
    hostname = arguments.get("hostname")
    if hostname is not None and (len(hostname) > 255 or not _DNS_NAME.fullmatch(hostname)):
        raise invalid("hostname", hostname, "is no valid DNS name",
                      "Use letters, digits and hyphens, labels of at most 63 characters.")  # fmt: skip
    for key, least in (("cores", 1), ("memory_mb", 16), ("swap_mb", 0)):
        value = arguments.get(key)
        if value is not None and value < least:
            raise invalid(key, value, "is too small", f"Use {least} or more.")
    for tag in arguments.get("tags") or ():
        if not re.fullmatch(r"[a-zA-Z0-9_][a-zA-Z0-9_+.-]*", tag):
            raise invalid("tags", tag, "is no tag that PVE accepts", "Use letters, digits and the characters _ + . -")
    startup = arguments.get("startup")
    if startup and not _STARTUP.fullmatch(startup):
        raise invalid("startup", startup, "is no start order that PVE accepts",
                      "Write it as order=3,up=5,down=60; each part can be left out.")  # fmt: skip
    for server in arguments.get("nameserver") or ():
        if not _is_address(server):
            raise invalid("nameserver", server, "is no address", "Write the name server's IP address.")
    for key in arguments.get("ssh_public_keys") or ():
        if not _SSH_KEY.fullmatch(key):
            raise invalid("ssh_public_keys", key, "is no line of a file of public keys",
                          "Write the line of the file .pub, such as ssh-ed25519 AAAA... me.")  # fmt: skip
    for domain in arguments.get("searchdomain") or ():
        if not _DNS_NAME.fullmatch(domain):
            raise invalid("searchdomain", domain, "is no valid DNS name", "Write a domain such as example.com.")
    for kind in (arguments.get("features") or {}).get("mount") or ():
        if not re.fullmatch(r"[a-zA-Z0-9_.]+", kind):
            raise invalid("features.mount", kind, "is no file system type", "Write one type per entry, such as nfs.")
    _check_networks(arguments.get("networks") or ())
    _check_mounts(arguments.get("mounts") or ())
    rootfs = arguments.get("rootfs") or {}
    _check_size("rootfs.size_gb", rootfs.get("size_gb"))


def _check_networks(networks: Sequence[Arguments]) -> None:
    names = [network["name"] for network in networks]
    for network in networks:
        name = network["name"]
        if not re.fullmatch(r"[\w.-]{1,15}", name, re.ASCII):
            raise invalid("networks.name", name, "is no name for an interface",
                          "Use at most 15 letters, digits and the characters _ . -, such as eth0.")  # fmt: skip
        if names.count(name) > 1:
            raise invalid("networks.name", name, "is named twice", "Give every interface its own name.")
        for key, gateway, family in (("ip", "gw", 4), ("ip6", "gw6", 6)):
            _check_address(f"networks.{key}", network.get(key), family)
            _check_gateway(f"networks.{gateway}", network.get(gateway), family)
        hwaddr = network.get("hwaddr")
        if hwaddr is not None and not _MAC.fullmatch(hwaddr):
            raise invalid("networks.hwaddr", hwaddr, "is no unicast MAC address",
                          "Write six pairs such as 52:54:00:AA:BB:CC; the second digit is even.")  # fmt: skip
        tag = network.get("tag")
        if tag is not None and not 1 <= tag <= 4094:
            raise invalid("networks.tag", tag, "is no VLAN id", "Use a number from 1 to 4094.")
        mtu = network.get("mtu")
        if mtu is not None and not 64 <= mtu <= 65535:
            raise invalid("networks.mtu", mtu, "is no size that PVE accepts", "Use a number from 64 to 65535.")


def _check_address(key: str, value: str | None, family: int) -> None:
    words = ("dhcp", "manual") if family == 4 else ("dhcp", "manual", "auto")
    if value is None or value in words:
        return
    example = "10.0.0.201/24" if family == 4 else "fd00::201/64"
    try:
        address = ipaddress.ip_interface(value)
    except ValueError:
        raise invalid(key, value, "is no address", f"Write one of {', '.join(words)}, or {example}.") from None
    if address.version != family:
        raise invalid(key, value, f"is no IPv{family} address", f"Write an address such as {example}.")
    if not re.search(r"/\d+$", value):
        raise invalid(key, value, "has no prefix length", f"Write the network's prefix behind it, as in {example}.")


def _check_gateway(key: str, value: str | None, family: int) -> None:
    if value is None:
        return
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise invalid(key, value, "is no address", "Write the gateway's address without a prefix.") from None
    if address.version != family:
        raise invalid(key, value, f"is no IPv{family} address", "Write the gateway of the same family.")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _check_mounts(mounts: Sequence[Arguments]) -> None:
    paths = [mount["path"] for mount in mounts]
    for mount in mounts:
        path = mount["path"]
        if not path.startswith("/") or path == "/" or "," in path:
            raise invalid("mounts.path", path, "is no place to mount at", "Write an absolute path other than /.")
        if paths.count(path) > 1:
            raise invalid("mounts.path", path, "is named twice", "Mount one thing at each path.")
        source = mount.get("source")
        of_volume = [mount.get(key) is not None for key in ("storage", "size_gb")]
        if any(of_volume) if source is not None else not all(of_volume):
            raise invalid("mounts", path, "needs either source, or storage and size_gb",
                          "Give source for a directory of the node, storage and size_gb for a volume.")  # fmt: skip
        if source is not None and (not source.startswith("/") or "," in source):
            raise invalid("mounts.source", source, "is no directory of the node", "Write an absolute path.")
        _check_size("mounts.size_gb", mount.get("size_gb"))


def _check_size(key: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise invalid(key, value, "is too small", "Use 1 or more, in GiB.")
