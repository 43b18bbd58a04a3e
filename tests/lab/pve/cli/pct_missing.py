# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Commands of pct that the stand-in names in its usage text, as pct does, and cannot do.

from __future__ import annotations

from typing import Any, NoReturn

from ..environment import Environment
from ..exceptions import PVEError
from ..json_schema import get_standard_option
from ..rest_handler import Method, Parameters

_TEXT = {"type": "string"}
_MAYBE = {"type": "string", "optional": 1}
_NODE = get_standard_option("pve-node")
_VMID = get_standard_option("pve-vmid")


def _missing(name: str, description: str, **parameters: dict[str, Any]) -> Method:
    def refuse(_environment: Environment, _param: Parameters) -> NoReturn:
        raise PVEError(f"the lab's stand-in of Proxmox VE does not imitate '{name}'")

    schema = {key.replace("_", "-"): rule for key, rule in parameters.items()}
    return Method(name=name, method="POST", path=name, parameters=schema, code=refuse, description=description)


restore = _missing(
    "restore", "Create or restore a container.", node=_NODE, vmid=_VMID, ostemplate=_TEXT, storage=_MAYBE, force=_MAYBE
)
migrate = _missing(
    "migrate",
    "Migrate the container to another node. Creates a new migration task.",
    node=_NODE,
    vmid=_VMID,
    target=_TEXT,
    restart=_MAYBE,
    timeout=_MAYBE,
)
move_volume = _missing(
    "move_volume",
    "Move a rootfs-/mp-volume to a different storage or to a different container.",
    node=_NODE,
    vmid=_VMID,
    volume=_TEXT,
    storage=_MAYBE,
    target_vmid=_MAYBE,
    target_volume=_MAYBE,
    delete=_MAYBE,
)
remote_migrate = _missing(
    "remote_migrate_vm",
    "Migrate container to a remote cluster. Creates a new migration task. EXPERIMENTAL feature!",
    node=_NODE,
    vmid=_VMID,
    target_vmid=_MAYBE,
    target_endpoint=_TEXT,
    target_bridge=_TEXT,
    target_storage=_TEXT,
    online=_MAYBE,
)
console = _missing("console", "Launch a console for the specified container.", vmid=_VMID, escape=_MAYBE)
rescan = _missing(
    "rescan", "Rescan all storages and update disk sizes and unused disk images.", vmid=_MAYBE, dryrun=_MAYBE
)
