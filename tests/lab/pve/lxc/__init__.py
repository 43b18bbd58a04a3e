# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::LXC. The operations lie in the modules beside this one; what others call is found here by PVE's name, and loaded
# only when it is used: `pct config` needs none of them.

from __future__ import annotations

import importlib
from typing import Any

_PLACES = {
    **dict.fromkeys(("check_running", "find_lxc_pid", "vm_start", "vm_stop", "vm_reboot"), "runtime"),
    **dict.fromkeys(
        (
            "alloc_disk",
            "copy_volume",
            "create_disks",
            "delete_mountpoint_volume",
            "destroy_disks",
            "destroy_lxc_container",
            "rescan",
            "template_create",
        ),
        "volumes",
    ),
    **dict.fromkeys(("mount_all", "umount_all"), "mounts"),
    **dict.fromkeys(("mountpoint_hotplug", "device_passthrough_hotplug", "update_net", "delete_net"), "live"),
    "update_lxc_config": "lxc_config",
    "vmstatus": "status",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_PLACES[name]}", __name__), name)
