# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# pct status.

from __future__ import annotations

from ..environment import Environment
from ..json_schema import get_standard_option
from ..lxc.config import Config
from ..rest_handler import Method, Parameters


def _status(environment: Environment, param: Parameters) -> None:
    vmid = int(param["vmid"])
    Config(environment.system).load_config(vmid)
    if not param.get("verbose"):
        print(f"status: {'running' if environment.system.lxc.running(vmid) else 'stopped'}")
        return
    from .. import lxc as container  # noqa: PLC0415  (the plain status starts without it)

    found = container.vmstatus(environment.system, vmid)[vmid]
    for key in sorted(found):
        if key != "cpu" and found[key] is not None:
            print(f"{key}: {found[key]}")


status = Method(
    name="status",
    method="GET",
    path="status",
    description="Show CT status.",
    parameters={
        "vmid": get_standard_option("pve-vmid"),
        "verbose": {"description": "Verbose output format", "type": "boolean", "optional": 1},
    },
    code=_status,
)
