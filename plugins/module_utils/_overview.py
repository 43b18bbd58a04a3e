# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# Everything that playbooks decide from, in one read of a node and without a single process started.

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Collection, Mapping

from ansible_collections.phoenix.hypervisor.plugins.module_utils import _gpu
from ansible_collections.phoenix.hypervisor.plugins.module_utils._lxc_config import ConfigFile
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node, as_guest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_state import version_on_disk
from ansible_collections.phoenix.hypervisor.plugins.module_utils._recipe import snapshot_facts
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree


def overview(node: Node, ctids: Collection[int] | None) -> dict[str, t.Any]:
    """The node, and its containers or those of them that were named."""
    node.check_is_pve()
    running = node.running_ctids()
    drivers = node.char_majors()
    containers = {}
    for ctid in node.ctids():
        if ctids is None or ctid in ctids:
            config = node.config_file(ctid)
            # Somebody may have destroyed it since the directory was listed.
            if config is not None:
                containers[str(ctid)] = _container(node, ctid, config, drivers, running=ctid in running)
    return {"containers": containers, "node": _node(node)}


def _container(
    node: Node, ctid: int, config: ConfigFile, drivers: Mapping[int, str], *, running: bool
) -> dict[str, t.Any]:
    guest = as_guest(ctid, config, running=running)
    lines = _gpu.gpu_lines(config, drivers)
    inside = node.running_devices(ctid) if running else {}
    return {
        "ctid": ctid,
        "name": guest.config.get("hostname", f"CT{ctid}"),
        "running": running,
        "lock": guest.lock,
        "unprivileged": guest.unprivileged,
        "is_pve_template": guest.is_pve_template,
        "restart_required": guest.restart_required,
        "config": dict(guest.config),
        "raw": [f"{key}: {value}" for key, value in guest.raw],
        "pending": dict(guest.pending),
        "pending_delete": sorted(guest.pending_delete),
        "dropped_lines": list(config.dropped),
        "digest": guest.digest,
        "snapshots": [snapshot_facts(snapshot) for snapshot in sorted(guest.snapshots.values(), key=lambda s: s.time)],
        "gpus": _gpu.assigned_indices(lines),
        "gpu_lines": lines,
        "running_gpus": _gpu.assigned_indices(path for path, device in inside.items() if device.is_char),
    }


def _node(node: Node) -> dict[str, t.Any]:
    return {
        "name": node.name,
        "kernel": node.kernel,
        "pve_version": node.package_version("pve-manager"),
        "driver": {"loaded": node.driver_loaded(), "on_disk": version_on_disk(Tree(node.root), node.kernel)},
        "gpus": [dataclasses.asdict(gpu) for gpu in node.gpus()],
        "devices": [dataclasses.asdict(device) for device in node.device_nodes().values()],
        "majors": {name: major for major, name in node.char_majors().items() if re.match(r"nvidia", name)},
        "storages": {
            name: {"type": storage.type, "content": sorted(storage.content)}
            for name, storage in node.storages().items()
        },
    }
