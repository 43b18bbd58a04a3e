# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# How changes come into a container's configuration: first as pending ones, then into effect (update_pct_config and
# vmconfig_apply_pending of PVE::LXC::Config; hotplug.py has the running container's part).

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .. import lxc as container
from .. import storage
from ..exceptions import PVEError
from ..guest.abstract_config import Conf, parse_pending_delete
from ..json_schema import parse_property_string
from ..system import System
from ..tools import split_list, warn
from .config_schema import NETWORK, typed
from .devices import get_device_mode_and_rdev
from .lxc_config import read_bridge_mtu

if TYPE_CHECKING:
    from .config import Config


class Skip(Exception):
    """This change stays pending (PVE's die "skip\\n")."""


def update_pct_config(  # noqa: PLR0917  (PVE's arguments)
    config: Config, vmid: int, conf: Conf, running: bool, param: Conf, delete: Sequence[str], revert: Sequence[str]
) -> dict[str, str]:
    pending = conf.setdefault("pending", {})
    for key in revert:
        pending.pop(key, None)
        config.remove_from_pending_delete(conf, key)

    modified = set()
    for key in delete:
        if key not in conf and key not in pending:
            warn(f"cannot delete '{key}' - not set in current configuration!")
            continue
        modified.add(key)
        _check_delete(config, vmid, conf, key)
        config.add_to_pending_delete(conf, key)

    for key in sorted(param):
        modified.add(key)
        pending[key] = typed(key, _checked(config, vmid, conf, key, param[key]))
        config.remove_from_pending_delete(conf, key)

    config.cleanup_pending(conf)
    errors: dict[str, str] = {}
    if running:
        from .hotplug import vmconfig_hotplug_pending  # noqa: PLC0415

        vmconfig_hotplug_pending(config, vmid, conf, modified, errors)
    else:
        vmconfig_apply_pending(config, vmid, conf, modified, errors)
    return errors


def _check_delete(config: Config, vmid: int, conf: Conf, key: str) -> None:
    if key in ("memory", "rootfs", "ostype"):
        raise PVEError(f"unable to delete required option '{key}'")
    if re.fullmatch(r"(unused|mp)\d+", key):
        config.check_protection(conf, f"can't remove CT {vmid} drive '{key}'")
    if key == "unprivileged":
        raise PVEError(f"unable to delete read-only option: '{key}'")


def _checked(config: Config, vmid: int, conf: Conf, key: str, value: str) -> str:
    """The value to keep, after what only this key's changes need."""
    system = config.system
    if key == "rootfs" or re.fullmatch(r"mp\d+", key):
        config.check_protection(conf, f"can't update CT {vmid} drive '{key}'")
        volume = config.parse_volume(key, value)
        if volume["type"] == "volume":
            _check_content_type(system, volume["volume"])
    elif key == "hookscript":
        _check_hookscript(system, value)
    elif key in ("nameserver", "searchdomain"):
        return " ".join(split_list(value))
    elif key == "unprivileged":
        raise PVEError(f"unable to modify read-only option: '{key}'")
    elif key == "tags":
        return get_unique_tags(value)
    elif re.fullmatch(r"net\d+", key):
        _check_network(system, key, value)
    elif re.fullmatch(r"dev\d+", key):
        get_device_mode_and_rdev(system, config.parse_device(value)["path"])
    return value


def _check_content_type(system: System, volid: str) -> None:
    storeid, _name = storage.parse_volume_id(volid)
    if "rootdir" not in storage.storage_config(storage.config(system), storeid)["content"]:
        raise PVEError(f"storage '{storeid}' does not allow content type 'rootdir' (Container)")


def _check_hookscript(system: System, volid: str) -> None:
    kind = storage.parse_volname(system, volid).vtype
    file = system.path(storage.path(system, volid).lstrip("/"))
    if kind != "snippets":
        raise PVEError(f"'{volid}' is not in the snippets directory")
    if not file.is_file():
        raise PVEError(f"script '{volid}' does not exist")
    executable = 0o111
    if not file.stat().st_mode & executable:
        raise PVEError(f"script '{volid}' is not executable")


def _check_network(system: System, key: str, value: str) -> None:
    network = parse_property_string(NETWORK, value)
    if mtu := network.get("mtu"):
        bridge_mtu = read_bridge_mtu(system, network.get("bridge"))
        if int(mtu) > bridge_mtu:
            raise PVEError(f"{key}: MTU size '{mtu}' is bigger than bridge MTU '{bridge_mtu}'")
    if network.get("link_down") != 1 and network.get("host-managed") and network.get("ip6") == "auto":
        raise PVEError(f"{key}: SLAAC is not supported for host-managed network configuration.")


def get_unique_tags(text: str) -> str:
    """PVE::GuestHelpers: in lower case, sorted, each once."""
    return ";".join(sorted({tag.lower() for tag in split_list(text)}))


def vmconfig_apply_pending(
    config: Config, vmid: int, conf: Conf, selection: set[str] | None, errors: dict[str, str]
) -> None:
    pending = conf.setdefault("pending", {})

    def failed(key: str, error: PVEError) -> None:
        errors[key] = f"unable to apply pending change {key} : {error.text()}"
        warn(errors[key].rstrip("\n"))

    for key in selected(parse_pending_delete(pending.get("delete")), selection):
        try:
            _apply_delete(config, vmid, conf, key)
        except PVEError as error:
            failed(key, error)
        else:
            conf.pop(key, None)
            config.remove_from_pending_delete(conf, key)

    config.cleanup_pending(conf)

    for key in selected(pending, selection):
        try:
            if re.fullmatch(r"mp\d+", key):
                apply_pending_mountpoint(config, vmid, conf, key, running=False)
            elif re.fullmatch(r"net\d+", key):
                pending[key] = config.print_lxc_network(config.parse_lxc_network(pending[key]))
        except PVEError as error:
            failed(key, error)
        else:
            conf[key] = pending.pop(key)


def selected(keys: Conf | dict[str, bool], selection: set[str] | None) -> list[str]:
    return [key for key in sorted(keys) if key != "delete" and (selection is None or key in selection)]


def _apply_delete(config: Config, vmid: int, conf: Conf, key: str) -> None:
    if re.fullmatch(r"mp\d+", key):
        volume = config.parse_volume(key, conf[key])
        # PVE asks about the whole value, not the volume, so it is never found in use.
        if volume["type"] == "volume" and not config.is_volume_in_use(conf, conf[key], True, True):
            config.add_unused_volume(conf, volume["volume"])
    elif re.fullmatch(r"unused\d+", key):
        delete_unused(config, vmid, conf, key)


def delete_unused(config: Config, vmid: int, conf: Conf, key: str) -> None:
    if not config.is_volume_in_use(conf, conf[key], True, True):
        container.delete_mountpoint_volume(config.system, vmid, conf[key])


def apply_pending_mountpoint(config: Config, vmid: int, conf: Conf, key: str, *, running: bool) -> None:
    """Make the volume that is asked for, or look up the size of one that is there; what was there becomes unused."""
    pending = conf["pending"]
    original = pending[key]
    volume = config.parse_volume(key, original)
    old = conf.get(key)
    from .config import NEW_DISK  # noqa: PLC0415

    if volume["type"] == "volume" and NEW_DISK.fullmatch(volume["volume"]):
        made = container.create_disks(config.system, vmid, {key: original}, conf, pending=True)
        if running:
            try:
                container.mountpoint_hotplug(config.system, vmid, conf, key, config.parse_volume(key, pending[key]))
            except PVEError:
                container.destroy_disks(config.system, made)
                pending[key] = original
                raise
    else:
        if running and old is not None:
            raise Skip
        if volume["type"] == "volume":
            _rescan_volume(config.system, volume)
        if running:
            container.mountpoint_hotplug(config.system, vmid, conf, key, volume)
        pending[key] = config.print_ct_mountpoint(volume)
    if old is not None:
        before = config.parse_volume(key, old)
        if before["type"] == "volume" and not config.is_volume_in_use(conf, old, True, True):
            config.add_unused_volume(conf, before["volume"])


def _rescan_volume(system: System, volume: Conf) -> None:
    try:
        volume["size"] = storage.volume_size_info(system, volume["volume"])
    except PVEError as error:
        warn(f"Could not rescan volume size - {error.message}\n")
