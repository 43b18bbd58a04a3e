# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Changes of a running container: networks, mount points, devices.

from __future__ import annotations

from typing import Any

from ..exceptions import PVEError
from ..guest.abstract_config import Conf, Volume
from ..system import System
from .config import Config
from .devices import get_device_mode_and_rdev
from .hooks import make_device
from .idmap import parse_id_maps
from .lxc_config import read_bridge_mtu
from .mounts import volume_path
from .rootfs import Rootfs
from .runtime import find_lxc_pid
from .setup import Setup


def update_net(  # noqa: PLR0917 - PVE's arguments
    system: System, vmid: int, conf: Conf, key: str, network: dict[str, Any], index: int
) -> None:
    """Bring the interface netN of the container to what `network` says."""
    if network["type"] != "veth":
        raise PVEError(f"cannot update interface of type {network['type']}")
    mtu = read_bridge_mtu(system, network.get("bridge"))
    old = Config(system).parse_lxc_network(conf[key]) if key in conf else {}
    replaced = any(old.get(name) != network.get(name) for name in ("hwaddr", "name"))
    if replaced and old:
        system.lxc.unplug_network(vmid, index)
    if replaced:
        system.lxc.plug_network(vmid, index, {**network, "mtu": network.get("mtu") or mtu})
    elif old.get("bridge") != network.get("bridge"):
        system.lxc.change_bridge(vmid, index, str(network["bridge"]))
    if replaced or any(old.get(name) != network.get(name) for name in ("ip", "gw", "ip6", "gw6")):
        system.lxc.configure_network(vmid, old, network)
        _write_network_files(system, vmid, {**conf, key: Config(system).print_lxc_network(network)})


def delete_net(system: System, vmid: int, index: int) -> None:
    system.lxc.unplug_network(vmid, index)


def mountpoint_hotplug(system: System, vmid: int, conf: Conf, key: str, volume: Volume) -> None:
    del key
    find_lxc_pid(system, vmid)
    source = volume_path(system, volume)
    ids = parse_id_maps(conf)
    system.lxc.add_mount(vmid, source, volume["mp"], ids.root, readonly=bool(int(volume.get("ro", 0))))


def device_passthrough_hotplug(system: System, vmid: int, conf: Conf, device: dict[str, Any]) -> None:
    found = get_device_mode_and_rdev(system, device.get("path"))
    kind, major, minor = found
    ids = parse_id_maps(conf)
    system.lxc.add_device(vmid, device["path"], lambda: make_device(system, vmid, device, ids))
    rights = "r" if int(device.get("deny-write", 0)) else "rw"
    system.lxc.allow_device(vmid, f"{kind} {major}:{minor} {rights}")


def _write_network_files(system: System, vmid: int, conf: Conf) -> None:
    root = system.lxc.root_path(vmid)
    setup = Setup.of_running(system, conf, Rootfs(system, root, parse_id_maps(conf)))
    setup.plugin.setup_network(conf)
