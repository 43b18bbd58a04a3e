# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Every method that the API serves, from PVE::API2's modules.

from __future__ import annotations

import functools
import importlib

from ..rest_handler import Method

_MODULES = (
    "version", "access", "cluster", "network", "nodes", "storage", "tasks",
    "lxc", "lxc_config", "lxc_snapshot", "lxc_status",
)  # fmt: skip


@functools.cache
def all_methods() -> tuple[Method, ...]:
    """Only the server and pvesh need all of them; a command of pct imports its own."""
    modules = [importlib.import_module(f".{name}", __package__) for name in _MODULES]
    return tuple(method for module in modules for method in module.METHODS)


def __getattr__(name: str) -> tuple[Method, ...]:
    if name == "ALL_METHODS":
        return all_methods()
    raise AttributeError(name)
