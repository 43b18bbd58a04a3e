# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# From a path to its method and through PVE's checks to its result: what pveproxy and pvesh have in common
# (PVE::RESTHandler::find_handler, PVE::HTTPServer::rest_handler).

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from . import access_control
from .environment import Environment
from .exceptions import NotImplementedHere, ParameterError, PVEError
from .rest_handler import Method, Parameters


@dataclasses.dataclass
class _Branch:
    names: dict[str, _Branch] = dataclasses.field(default_factory=dict)
    variable: tuple[str, _Branch] | None = None
    methods: dict[str, Method] = dataclasses.field(default_factory=dict)


class Router:
    """All methods by their paths; a fixed name in a path counts before a variable."""

    def __init__(self, methods: Iterable[Method]) -> None:
        self._root = _Branch()
        for method in methods:
            branch = self._root
            for part in _parts(method.path):
                branch = self._grow(branch, part)
            branch.methods.setdefault(method.method, method)

    @staticmethod
    def _grow(branch: _Branch, part: str) -> _Branch:
        if not part.startswith("{"):
            return branch.names.setdefault(part, _Branch())
        if branch.variable is None:
            branch.variable = (part.strip("{}"), _Branch())
        return branch.variable[1]

    def find(self, verb: str, path: str) -> tuple[Method, Parameters]:
        """The method, and the parameters that the path itself carries."""
        found = self._walk(path)
        if found is None or verb not in found[0].methods:
            raise NotImplementedHere(f"Method '{verb} {path}' not implemented")
        return found[0].methods[verb], found[1]

    def children(self, path: str) -> list[str]:
        """The fixed names below a path; a variable one is shown as PVE writes it."""
        found = self._walk(path)
        if found is None:
            raise NotImplementedHere(f"no such resource '{path}'")
        branch = found[0]
        return [*branch.names, *([f"{{{branch.variable[0]}}}"] if branch.variable else [])]

    def verbs(self, path: str) -> set[str]:
        found = self._walk(path)
        return set(found[0].methods) if found else set()

    def _walk(self, path: str) -> tuple[_Branch, Parameters] | None:
        branch = self._root
        parameters: Parameters = {}
        for part in _parts(path):
            if part in branch.names:
                branch = branch.names[part]
            elif branch.variable is not None:
                name, branch = branch.variable
                parameters[name] = part
            else:
                return None
        return branch, parameters


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def merge(uri_parameters: Mapping[str, Any], sent: Mapping[str, Any]) -> Parameters:
    if twice := {name: "duplicate parameter (already defined in URI)" for name in sent if name in uri_parameters}:
        raise ParameterError(twice)
    return {**uri_parameters, **sent}


def call(env: Environment, method: Method, parameters: Parameters) -> Any:
    """The caller's rights first, then the node, then the parameters: as PVE, which therefore says 403 rather than that
    something does not exist."""
    access_control.check_method(env.system, method, env.user, parameters)
    if "{node}" in method.path:
        _check_node(env, str(parameters["node"]))
    return method.handle(env, parameters)


def _check_node(env: Environment, node: str) -> None:
    """Requests for other nodes are passed on by PVE; here every node stands alone, so no other has an address."""
    if node not in (env.system.node, "localhost"):
        raise PVEError(
            f"hostname lookup '{node}' failed - failed to get address info for: {node}: "
            "Temporary failure in name resolution"
        )
