# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# The rules about names, addresses and places: what two of a fleet cannot share, and what PVE refuses. No I/O.

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet import Problem
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_model import addresses as addresses_in
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_view import Entry, Rule, View, refusal
from ansible_collections.phoenix.hypervisor.plugins.module_utils._option_checks import check_arguments
from ansible_collections.phoenix.hypervisor.plugins.module_utils._schema import at

_MEANT_BY_ANSIBLE = ("all", "ungrouped", "localhost")


def names(view: View) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for node in view.nodes:
        if node.casefold() in _MEANT_BY_ANSIBLE:
            yield Problem(view.hypervisor_file, at("$.nodes", node), node, *_means_something_else(node))
        first.setdefault(node.casefold(), f'node "{node}"')
    for entry in view.containers.values():
        name = entry.raw.get("name")
        if not isinstance(name, str):
            continue
        folded = name.casefold()
        if said := refusal("hostname", check_arguments, {"hostname": name}):
            yield entry.problem(("name",), name, *said)
        elif folded in _MEANT_BY_ANSIBLE:
            yield entry.problem(("name",), name, *_means_something_else(name))
        elif folded in first:
            yield entry.problem(("name",), name, f'{first[folded]} is named "{name}" as well',
                                "Give every container and node a name of its own.")  # fmt: skip
        first.setdefault(folded, f"container {entry.ctid}")


def _means_something_else(name: str) -> tuple[str, str]:
    return f'"{name}" means something else in an inventory', "Choose another name."


def interfaces(view: View) -> Iterator[Problem]:
    """What PVE refuses of an interface, in its own words for lxc_container."""
    for entry in view.containers.values():
        for keys, value in _written(entry):
            argument = {"static_ip": "ip", "mac_address": "hwaddr"}.get(keys[-1], keys[-1])
            network = {"name": "eth0", argument: value}
            if said := refusal(f"networks.{argument}", check_arguments, {"networks": [network]}):
                yield entry.problem(keys, value, *said)


def _written(entry: Entry) -> Iterator[tuple[tuple[str, ...], str]]:
    network = entry.raw.get("network_config")
    for key in ("ip", "gw", "hwaddr"):
        if isinstance(network, dict) and isinstance(network.get(key), str):
            yield ("network_config", key), network[key]
    for key in ("static_ip", "mac_address"):
        if isinstance(entry.raw.get(key), str):
            yield (key,), entry.raw[key]


def node_address(view: View) -> Iterator[Problem]:
    address = view.hypervisor.get("network", {}).get("interfaces", {}).get("address")
    network = {"name": "eth0", "ip": address}
    if said := refusal("networks.ip", check_arguments, {"networks": [network]}):
        yield Problem(view.hypervisor_file, "$.network.interfaces.address", address, *said)


def name_servers(view: View) -> Iterator[Problem]:
    for entry in view.containers.values():
        servers = entry.fit.get("network_config", {}).get("nameservers", ())
        for index, server in enumerate(addresses_in(servers)):
            if said := refusal("nameserver", check_arguments, {"nameserver": [server]}):
                place = () if isinstance(servers, str) else (index,)
                yield entry.problem(("network_config", "nameservers", *place), server, *said)


def one_place(view: View) -> Iterator[Problem]:
    """The address and the MAC address can be written in two places each."""
    for entry in view.containers.values():
        network = entry.fit.get("network_config", {})
        for older, key, same in (("static_ip", "ip", str), ("mac_address", "hwaddr", str.casefold)):
            one, other = entry.fit.get(older), network.get(key)
            if one and other and same(one) != same(other):
                yield entry.problem((older,), one, f"{one} differs from network_config.{key}, which is {other}",
                                    "Remove one of the two.")  # fmt: skip


def addresses(view: View) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for name, node in view.nodes.items():
        address = _address(node.get("address", ""))
        if address in first:
            yield Problem(view.hypervisor_file, at(at("$.nodes", name), "address"), node["address"],
                          f"{first[address]} has the address {address} as well",
                          "Give every container and node an address of its own.")  # fmt: skip
        elif address:
            first[address] = f'node "{name}"'
    bridge = _address(view.hypervisor.get("network", {}).get("interfaces", {}).get("address", ""))
    if bridge:
        first.setdefault(bridge, "the node's bridge (network.interfaces.address)")
    for entry in view.containers.values():
        keys, text = _ip(entry)
        address = _address(text)
        if address in first:
            yield entry.problem(keys, text, f"{first[address]} has the address {address} as well",
                                "Give every container and node an address of its own.")  # fmt: skip
        elif address:
            first[address] = f"container {entry.ctid}"


def _ip(entry: Entry) -> tuple[tuple[str, ...], str]:
    written = entry.fit.get("network_config", {}).get("ip")
    return (("network_config", "ip"), written) if written else (("static_ip",), entry.fit.get("static_ip", ""))


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_interface(text).ip)
    except ValueError:
        return None


def mac_addresses(view: View) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for entry in view.containers.values():
        network = entry.fit.get("network_config", {})
        keys: tuple[str, ...] = ("mac_address",) if "mac_address" in entry.fit else ("network_config", "hwaddr")
        text = entry.fit.get("mac_address") or network.get("hwaddr")
        if not text:
            continue
        if text.casefold() in first:
            yield entry.problem(keys, text, f"container {first[text.casefold()]} has the MAC address {text} as well",
                                "Give every container a MAC address of its own, or leave it out.")  # fmt: skip
        first.setdefault(text.casefold(), entry.ctid)


def mount_paths(view: View) -> Iterator[Problem]:
    shared: dict[int, list[tuple[str, str, str]]] = {}
    for path, ctid, inside in view.shared_mounts():
        shared.setdefault(ctid, []).append((view.hypervisor_file, path, inside))
    for entry in view.containers.values():
        first: dict[str, str] = {}
        for file, path, inside in (*_mounts(entry), *shared.get(entry.ctid, ())):
            if said := refusal("mounts.path", check_arguments, {"mounts": [{"path": inside, "source": "/"}]}):
                yield Problem(file, path, inside, *said)
            elif inside in first:
                yield Problem(file, path, inside, f"{first[inside]} is mounted at {inside} as well",
                              "Mount one thing at each place.")  # fmt: skip
            first.setdefault(inside, path if file == entry.file else f"{path} of {file}")


def _mounts(entry: Entry) -> Iterator[tuple[str, str, str]]:
    for key, inside in (("volumes", "mount_point"), ("zfs_volumes", "mount_point"), ("mount_points", "container_path")):
        for index, mount in enumerate(entry.fit.get(key, ())):
            yield entry.file, entry.at(key, index, inside), mount[inside]


def gateways(view: View) -> Iterator[Problem]:
    for entry in view.containers.values():
        gateway = entry.fit.get("network_config", {}).get("gw", "")
        _keys, text = _ip(entry)
        try:
            network = ipaddress.ip_interface(text).network
            outside = ipaddress.ip_address(gateway) not in network
        except ValueError:
            continue
        if outside:
            yield entry.problem(("network_config", "gw"), gateway,
                                f"{gateway} is not in {network}, the network of the address {text}",
                                "Write a gateway of that network, or correct the address or its prefix.")  # fmt: skip


ERRORS: tuple[Rule, ...] = (
    names,
    interfaces,
    node_address,
    name_servers,
    one_place,
    addresses,
    mac_addresses,
    mount_paths,
)
WARNINGS: tuple[Rule, ...] = (gateways,)
