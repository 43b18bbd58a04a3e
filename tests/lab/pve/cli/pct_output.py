# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# How pct prints results (the output functions of PVE::CLI::pct, and those of PVE::GuestHelpers).

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..environment import Environment
from ..tools import encode_text

Result = Sequence[Mapping[str, Any]]


def print_list(_environment: Environment, guests: Result) -> None:
    """Nothing at all without containers, not even the header."""
    rows = sorted(guests, key=lambda guest: int(guest["vmid"]))
    lines = [(str(guest["vmid"]), guest["status"], guest.get("lock") or "", guest["name"]) for guest in rows]
    for vmid, status, lock, name in [("VMID", "Status", "Lock", "Name"), *lines] if lines else []:
        print(f"{vmid:<10} {status:<10} {lock:<12} {name:<20}")


def print_config(_environment: Environment, conf: Mapping[str, Any]) -> None:
    for key in sorted(conf):
        if key not in ("digest", "lxc"):
            print(f"{key}: {_shown(key, conf[key])}")
    for key, value in conf.get("lxc", []):
        print(f"{key}: {value}")


def print_pending(_environment: Environment, items: Result) -> None:
    for item in sorted(items, key=lambda item: str(item["key"])):
        key = item["key"]
        if key == "digest":
            continue
        if "value" in item:
            print(f"{'del' if item.get('delete') else 'cur'} {key}: {_shown(key, item['value'])}")
        if "pending" in item and not ("value" in item and item.get("delete")):
            print(f"new {key}: {_shown(key, item['pending'])}")


def _shown(key: str, value: object) -> str:
    return encode_text(str(value)) if key == "description" else str(value)


def print_snapshot_tree(_environment: Environment, snapshots: Result) -> None:
    by_name = {snapshot["name"]: snapshot for snapshot in snapshots}
    children: dict[str | None, list[str]] = {}
    for snapshot in snapshots:
        parent = snapshot.get("parent")
        children.setdefault(parent if parent in by_name else None, []).append(snapshot["name"])

    def show(name: str, prefix: str) -> None:
        snapshot = by_name[name]
        description = str(snapshot.get("description") or "no-description").split("\n", 1)[0]
        taken = ""
        if "snaptime" in snapshot:
            taken = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(snapshot["snaptime"])))
        print(f"{prefix} {name:<{max(30 - len(prefix), 0)}} {taken:<23} {description}")
        for child in in_time(name):
            show(child, f" {prefix}")

    def in_time(parent: str | None) -> list[str]:
        """By age; "current" has none and comes last."""
        return sorted(children.get(parent, []), key=lambda name: float(by_name[name].get("snaptime", "inf")))

    for root in in_time(None):
        show(root, "`->")
