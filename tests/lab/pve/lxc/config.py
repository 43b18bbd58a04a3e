# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::LXC::Config: a container's configuration, its mount points, networks and devices.

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..exceptions import PVEError
from ..guest.abstract_config import AbstractConfig, Conf, Volume
from ..json_schema import parse_property_string, parse_size, print_property_string
from .config_file import parse_pct_config, print_pct_config
from .config_schema import CONFIG, DEVICE, FEATURES, MAX_MOUNT_POINTS, MOUNT_POINT, NETWORK, ROOTFS, UNUSED

LOCK_DIR = "/run/lock/lxc"

NEW_DISK = re.compile(r"([^:\s]+):(\d+(?:\.\d+)?)")
""" "local-zfs:2": a volume to be made, of so many GiB."""

VOLUME_ID = re.compile(r"([A-Za-z][A-Za-z0-9\-_.]*[A-Za-z0-9]):(.+)")

_VOLUME_KEYS = ("rootfs", *(f"mp{n}" for n in range(MAX_MOUNT_POINTS)))


class Config(AbstractConfig):
    guest_type = "CT"

    def cfs_config_path(self, vmid: int, node: str | None = None) -> str:
        return f"nodes/{node or self.system.node}/lxc/{vmid}.conf"

    def config_file_lock(self, vmid: int) -> str:
        return f"{LOCK_DIR}/pve-config-{vmid}.lock"

    def parse_config(self, path: str, data: bytes) -> Conf:
        name = path.rpartition("/")[2]
        return parse_pct_config(int(name.removesuffix(".conf")), data)

    def print_config(self, conf: Conf) -> bytes:
        used = set(self.get_vm_volumes(conf))
        gone = [key for key in conf if key.startswith("unused") and conf[key] in used]
        for key in ("snapstate", *gone):
            conf.pop(key, None)
        return print_pct_config(conf)

    def option_exists(self, name: str) -> bool:
        return name in CONFIG

    # Mount points

    def valid_volume_keys(self) -> Sequence[str]:
        return _VOLUME_KEYS

    def parse_volume(self, key: str, text: str) -> Volume:
        if key == "rootfs":
            return {**self._parse_mount_point(ROOTFS, text), "mp": "/"}
        if re.fullmatch(r"mp\d+", key):
            return self._parse_mount_point(MOUNT_POINT, text)
        if re.fullmatch(r"unused\d+", key):
            return self._parse_mount_point(UNUSED, text)
        raise PVEError(f"parse_volume - unknown type: {key}")

    def _parse_mount_point(self, schema: Mapping[str, Any], text: str) -> Volume:
        volume = parse_property_string(schema, text)
        if "size" in volume:
            volume["size"] = parse_size(volume["size"])
        volume["type"] = self.classify_mountpoint(volume["volume"])
        return volume

    def classify_mountpoint(self, volume: str) -> str:
        if not volume.startswith("/"):
            return "volume"
        return "device" if volume.startswith("/dev/") else "bind"

    def print_volume(self, key: str, volume: Volume) -> str:
        if key.startswith("unused"):
            return print_property_string(volume, UNUSED, set(volume) - {"volume"})
        return self.print_ct_mountpoint(volume, key == "rootfs")

    def print_ct_mountpoint(self, volume: Volume, nomp: bool = False) -> str:
        return print_property_string(volume, MOUNT_POINT, ("type", "mp") if nomp else ("type",))

    def get_vm_volumes(self, conf: Conf, excluded: str | None = None) -> list[str]:
        return [
            volume["volume"]
            for key, volume in self.foreach_volume(conf)
            if key != excluded and volume["type"] == "volume" and VOLUME_ID.fullmatch(volume["volume"])
        ]

    def is_volume_in_use(
        self, conf: Conf, volid: str, include_snapshots: bool = False, include_pending: bool = False
    ) -> bool:
        sections = [conf]
        if include_snapshots:
            sections += conf.get("snapshots", {}).values()
        if include_pending:
            sections.append(conf.get("pending", {}))
        return any(
            volume["type"] == "volume" and volume["volume"] == volid
            for section in sections
            for _key, volume in self.foreach_volume(section)
        )

    def is_volume_in_use_by_snapshots(self, conf: Conf, volid: str) -> bool:
        return any(self.is_volume_in_use(section, volid) for section in conf.get("snapshots", {}).values())

    # Networks, devices, features

    def parse_lxc_network(self, text: str | None) -> dict[str, Any]:
        """As PVE: always a veth, with a new hardware address when it has none."""
        if not text:
            return {}
        network = parse_property_string(NETWORK, text)
        network["type"] = "veth"
        if not network.get("hwaddr"):
            network["hwaddr"] = self.system.random_hwaddr()
        return network

    def print_lxc_network(self, network: Mapping[str, Any]) -> str:
        return print_property_string(network, NETWORK)

    def parse_device(self, text: str) -> dict[str, Any]:
        device = parse_property_string(DEVICE, text)
        if "path" not in device:
            raise PVEError("Path has to be defined")
        return device

    def print_device(self, device: Mapping[str, Any]) -> str:
        return print_property_string(device, DEVICE)

    def foreach_passthrough_device(self, conf: Conf) -> list[tuple[str, dict[str, Any]]]:
        keys = sorted((key for key in conf if re.fullmatch(r"dev\d+", key)), key=lambda key: int(key[3:]))
        return [(key, self.parse_device(conf[key])) for key in keys]

    def parse_features(self, text: str | None) -> dict[str, Any]:
        return parse_property_string(FEATURES, text) if text else {}

    # What a key means when it is not there

    def default(self, conf: Conf, key: str) -> Any:
        return conf.get(key, CONFIG[key].get("default"))

    # Changes (update.py and hotplug.py; imported when they are needed)

    def update_pct_config(  # noqa: PLR0917  (PVE's arguments)
        self, vmid: int, conf: Conf, running: bool, param: Conf, delete: Sequence[str], revert: Sequence[str]
    ) -> dict[str, str]:
        """pct set: into the pending section, and from there into effect as far as it can. What failed, by key."""
        from .update import update_pct_config  # noqa: PLC0415

        return update_pct_config(self, vmid, conf, running, param, delete, revert)

    def vmconfig_apply_pending(self, vmid: int, conf: Conf, selection: set[str] | None, errors: dict[str, str]) -> None:
        """Put pending changes into effect for a container that does not run: those of selection, or all of them."""
        from .update import vmconfig_apply_pending  # noqa: PLC0415

        vmconfig_apply_pending(self, vmid, conf, selection, errors)
