# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The two forms in which PVE writes a container's network into it: ifupdown's /etc/network/interfaces, which keeps what
# its owner wrote, and one file for each interface for systemd-networkd.

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_MARK = re.compile(r"^# --- (?:BEGIN|END) PVE ---")
_OTHER_SECTION = re.compile(r"^\s*(?:mapping\s|allow-|source\s|source-directory\s)")
_OWN = ("address", "netmask", "gateway", "broadcast")
_LOOPBACK = "auto lo\niface lo inet loopback\niface lo inet6 loopback\n\n"


class Interface(NamedTuple):
    name: str
    ip: str | None = None
    gw: str | None = None
    ip6: str | None = None
    gw6: str | None = None

    @property
    def is_set(self) -> bool:
        return any((self.ip, self.gw, self.ip6, self.gw6))

    def address(self, family: str) -> str | None:
        return self.ip if family == "inet" else self.ip6

    def gateway(self, family: str) -> str | None:
        return self.gw if family == "inet" else self.gw6

    def needs_route(self, family: str) -> bool:
        """The gateway is not in the network of the address."""
        address, gateway = self.address(family), self.gateway(family)
        if not address or not gateway or "/" not in address:
            return False
        host = ipaddress.ip_address(gateway)
        return host not in ipaddress.ip_interface(address).network and not host.is_link_local


def parse_interface(network: Mapping[str, Any]) -> Interface:
    return Interface(str(network["name"]), *(network.get(key) for key in ("ip", "gw", "ip6", "gw6")))


def rewrite_interfaces(old: str, interfaces: Sequence[Interface]) -> str:
    return _Rewriter({interface.name: interface for interface in interfaces if interface.is_set}).rewrite(old)


class _Rewriter:
    def __init__(self, interfaces: Mapping[str, Interface]) -> None:
        self.interfaces = interfaces
        self.text = ""
        self.auto: set[str] = set()
        self.done: set[tuple[str, str]] = set()
        # The section being read: the interface, inet or inet6, and what is kept of it.
        self.section: tuple[str, str, list[str]] | None = None

    def rewrite(self, old: str) -> str:
        for line in old.splitlines():
            self._read(line)
        self._print_section()
        separated = not self.text or self.text.endswith("\n\n")
        for name in sorted(self.interfaces):
            for family in ("inet", "inet6"):
                if (name, family) in self.done or self.interfaces[name].address(family) is None:
                    continue
                if not separated:
                    self.text += "\n"
                    separated = True
                self.section = (name, family, [])
                self._print_section()
        return self.text if "lo" in self.auto else _LOOPBACK + self.text

    def _read(self, line: str) -> None:
        if _MARK.match(line):
            if self.section:
                self.section[2].append(line)
        elif line.startswith("#"):
            self.text += f"{line}\n"
        elif not line.strip():
            if self.section:
                self._print_section()
            else:
                self.text += f"{line}\n"
        elif found := re.fullmatch(r"\s*iface\s+(\S+)\s+(inet6?)\s+(\S+)\s*", line):
            self._print_section()
            if found[1] in self.interfaces:
                self.section = (found[1], found[2], [])
            else:
                self.text += f"{line}\n"
        elif found := re.fullmatch(r"\s*auto\s*(.*)", line):
            self.auto.update(found[1].split())
            self._print_section()
            self.text += f"{line}\n"
        elif _OTHER_SECTION.match(line):
            self._print_section()
            self.text += f"{line}\n"
        elif self.section and re.match(r"\s*\S+\s", line):
            if line.split(maxsplit=1)[0] not in _OWN:
                self.section[2].append(line.strip())
        else:
            self.text += f"{line}\n"

    def _print_section(self) -> None:
        if not self.section:
            return
        name, family, attributes = self.section
        self.section = None
        interface = self.interfaces[name]
        if name not in self.auto:
            self.text += f"auto {name}\n"
            self.auto.add(name)
        self.done.add((name, family))
        address = interface.address(family)
        if address is None:
            return
        if "/" not in address:
            self.text += f"iface {name} {family} {address}\n\n"
            return
        lines = [f"iface {name} {family} static", f"\taddress {address}"]
        gateway = interface.gateway(family)
        if gateway and interface.needs_route(family):
            lines += _gateway_scripts(name, gateway)
        elif gateway:
            lines.append(f"\tgateway {gateway}")
        lines += [f"\t{attribute}" for attribute in _without_marked(attributes)]
        self.text += "\n".join(lines) + "\n\n"


def _gateway_scripts(name: str, gateway: str) -> list[str]:
    return [
        "# --- BEGIN PVE ---",
        f"\tpost-up ip route add {gateway} dev {name}",
        f"\tpost-up ip route add default via {gateway} dev {name}",
        f"\tpre-down ip route del default via {gateway} dev {name}",
        f"\tpre-down ip route del {gateway} dev {name}",
        "# --- END PVE ---",
    ]


def _without_marked(attributes: Sequence[str]) -> list[str]:
    kept = []
    keep = True
    for line in attributes:
        if _MARK.match(line):
            keep = "END" in line
        elif keep:
            kept.append(line)
    return kept


def networkd_file(interface: Interface) -> str:
    lines = ["[Match]", f"Name = {interface.name}", "", "[Network]"]
    lines.append(f"Description = Interface {interface.name} autoconfigured by PVE")
    routes: list[str] = []
    dhcp = 0
    accept = "false"
    for bit, family in ((1, "inet"), (2, "inet6")):
        address = interface.address(family)
        if address == "dhcp":
            dhcp |= bit
            accept = "true" if family == "inet6" else accept
        elif address == "auto":
            accept = "true"
        elif address not in (None, "manual"):
            lines.append(f"Address = {address}")
        if gateway := interface.gateway(family):
            accept = "false" if family == "inet6" else accept
            lines.append(f"Gateway = {gateway}")
            if interface.needs_route(family):
                routes += ["", "[Route]", f"Destination = {gateway}/{32 if family == 'inet' else 128}", "Scope = link"]
    lines += [f"DHCP = {('no', 'ipv4', 'ipv6', 'yes')[dhcp]}", f"IPv6AcceptRA = {accept}", *routes]
    return "\n".join(lines) + "\n"
