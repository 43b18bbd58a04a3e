# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::CLI::pvesm, as far as it only shows: status, list, path.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import storage
from ..api2.storage import METHODS
from ..cli_handler import NODE, Command, run_command
from ..environment import Environment
from ..rest_handler import Method, Parameters
from ..system import System

_KIB = 1024


def _method(path: str) -> Method:
    return next(method for method in METHODS if method.path == path)


def _path(environment: Environment, param: Parameters) -> None:
    environment.print(storage.path(environment.system, param["volume"]))


status = _method("/nodes/{node}/storage")
content = _method("/nodes/{node}/storage/{storage}/content")
path_ = Method(
    name="path",
    method="GET",
    path="/path",
    description="Get filesystem path for specified volume",
    parameters={"volume": {"description": "Volume identifier", "type": "string", "format": "pve-volume-id"}},
    code=_path,
)


def print_status(environment: Environment, rows: list[dict[str, Any]]) -> None:
    width = max((len(row["storage"]) for row in rows), default=0) + 1
    heads = ("Total (KiB)", "Used (KiB)", "Available (KiB)")
    sizes = " ".join(f"{head:>15}" for head in heads)
    environment.print(f"{'Name':<{width}} {'Type':>10} {'Status':>10} {sizes} {'%':>8}")
    for row in sorted(rows, key=lambda row: str(row["storage"])):
        total, used, available = (int(row.get(key, 0)) for key in ("total", "used", "avail"))
        state = "active" if row["active"] else "inactive"
        share = f"{used * 100 / total if total else 0: 7.2f}%"
        if not row["enabled"]:
            state, share = "disabled", f"{'N/A':>8}"
        numbers = " ".join(f"{number // _KIB:>15}" for number in (total, used, available))
        environment.print(f"{row['storage']:<{width}} {row['type']:>10} {state:>10} {numbers} {share}")


def print_content(environment: Environment, rows: list[dict[str, Any]]) -> None:
    width = max((len(row["volid"]) for row in rows), default=0)
    digits = len(str(max((int(row["size"]) for row in rows), default=0)))
    environment.print(f"{'Volid':<{width}} {'Format':<7} {'Type':<9} {'Size':>{digits}} VMID")
    guests = [row for row in rows if row.get("vmid")]
    others = sorted((row for row in rows if not row.get("vmid")), key=lambda row: str(row["format"]))
    for row in [*guests, *others]:
        owner = f" {row['vmid']}" if row.get("vmid") else ""
        size = f"{row['size']:>{digits}}"
        environment.print(f"{row['volid']:<{width}} {row['format']:<7} {row['content']:<9} {size}{owner}")


COMMANDS: dict[str, Command | str] = {
    "status": Command("PVE::API2::Storage::Status", f"{__name__}:status", (), NODE, print_status),
    "list": Command("PVE::API2::Storage::Content", f"{__name__}:content", ("storage",), NODE, print_content),
    "path": Command("PVE::CLI::pvesm", f"{__name__}:path_", ("volume",)),
}


def main(argv: Sequence[str] | None = None, system: System | None = None) -> int:
    return run_command("pvesm", COMMANDS, argv, system)
