# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Pending changes of a running container: what takes effect at once (vmconfig_hotplug_pending of PVE::LXC::Config).

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .. import lxc as container
from ..exceptions import PVEError
from ..guest.abstract_config import Conf, parse_pending_delete
from . import cgroup
from .update import Skip, apply_pending_mountpoint, delete_unused, selected

if TYPE_CHECKING:
    from .config import Config

FASTPLUG = frozenset("description onboot startup protection hostname hookscript cores tags lock".split())
"""Only written; nothing of the running container needs them before its next start."""


def vmconfig_hotplug_pending(
    config: Config, vmid: int, conf: Conf, selection: set[str] | None, errors: dict[str, str]
) -> None:
    pending = conf["pending"]
    for key in selected(pending, selection):
        if key in FASTPLUG:
            conf[key] = pending.pop(key)

    for key in selected(parse_pending_delete(pending.get("delete")), selection):
        try:
            _hot_delete(config, vmid, conf, key)
        except Skip:
            continue
        except PVEError as error:
            errors[key] = f"unable to hotplug {key}: {error.text()}"
        else:
            conf.pop(key, None)
            config.remove_from_pending_delete(conf, key)

    memory_done = False
    for key in selected(pending, selection):
        try:
            if key in ("memory", "swap"):
                # There is only memory, and memory with swap: both change together.
                if not memory_done:
                    _hot_memory(config, vmid, pending)
                memory_done = True
            else:
                _hot_change(config, vmid, conf, key)
        except Skip:
            continue
        except PVEError as error:
            errors[key] = f"unable to hotplug {key}: {error.text()}"
        else:
            conf[key] = pending.pop(key)


def _hot_delete(config: Config, vmid: int, conf: Conf, key: str) -> None:
    if key in FASTPLUG:
        return
    if re.fullmatch(r"unused\d+", key):
        delete_unused(config, vmid, conf, key)
    elif key == "swap":
        cgroup.change_memory_limit(config.system, vmid, memory=None, swap=0)
    elif key == "cpulimit":
        cgroup.change_cpu_quota(config.system, vmid, None)
    elif key == "cpuunits":
        cgroup.change_cpu_shares(config.system, vmid, None)
    elif found := re.fullmatch(r"net(\d)", key):
        container.delete_net(config.system, vmid, int(found[1]))
    else:
        raise Skip


def _hot_memory(config: Config, vmid: int, pending: Conf) -> None:
    memory = int(pending["memory"]) if "memory" in pending else None
    swap = int(pending["swap"]) if "swap" in pending else None
    cgroup.change_memory_limit(config.system, vmid, memory, swap)


def _hot_change(config: Config, vmid: int, conf: Conf, key: str) -> None:
    """Leaves the value to be kept in the pending section."""
    pending = conf["pending"]
    value = pending[key]
    if key == "cpulimit":
        cgroup.change_cpu_quota(config.system, vmid, float(value))
    elif key == "cpuunits":
        cgroup.change_cpu_shares(config.system, vmid, int(value))
    elif found := re.fullmatch(r"net(\d+)", key):
        network = config.parse_lxc_network(value)
        pending[key] = config.print_lxc_network(network)
        container.update_net(config.system, vmid, conf, key, network, int(found[1]))
    elif re.fullmatch(r"mp\d+", key):
        if key in conf:
            raise Skip
        apply_pending_mountpoint(config, vmid, conf, key, running=True)
    elif re.fullmatch(r"dev\d+", key):
        if key in conf:
            raise Skip
        container.device_passthrough_hotplug(config.system, vmid, conf, config.parse_device(value))
    else:
        raise Skip
