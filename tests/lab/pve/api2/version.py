# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::API2: /version and the indexes. The node says that it is the version which everything was recorded from.

from __future__ import annotations

from ..environment import Environment
from ..json_schema import get_standard_option
from ..rest_handler import Method, Parameters

VERSION = "9.2.11"
RELEASE = "9.2"
REPOSITORY_ID = "14a22df35955d97d"
PVE_MANAGER = f"pve-manager/{VERSION}/{REPOSITORY_ID}"

_ANYBODY = ("user", "all")


def _version(env: Environment, parameters: Parameters) -> dict[str, str]:
    del env, parameters
    return {"version": VERSION, "release": RELEASE, "repoid": REPOSITORY_ID}


def index(path: str, *names: str, key: str = "subdir") -> Method:
    """An index: it needs no right, and shows the names below it."""

    def code(env: Environment, parameters: Parameters) -> list[dict[str, str]]:
        del env, parameters
        return [{key: name} for name in names]

    parameters = {"node": get_standard_option("pve-node")} if "{node}" in path else {}
    return Method("index", "GET", path, parameters, code, permissions=_ANYBODY)


METHODS = (
    index("/", "access", "cluster", "nodes", "version"),
    index("/nodes/{node}", "lxc", "network", "status", "storage", "tasks", "version", key="name"),
    Method("version", "GET", "/version", {}, _version, permissions=_ANYBODY),
    Method(
        "version",
        "GET",
        "/nodes/{node}/version",
        {"node": get_standard_option("pve-node")},
        _version,
        permissions=_ANYBODY,
    ),
)
