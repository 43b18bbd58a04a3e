# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::RESTHandler: every operation is a method with a path and a schema. The command line (cli_handler.py), pvesh and
# the HTTP server all call the same ones.

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .environment import Environment
from .json_schema import validate

Parameters = dict[str, Any]
Schema = Mapping[str, Mapping[str, Any]]


class Method(NamedTuple):
    """One operation. `path` has PVE's form: /nodes/{node}/lxc/{vmid}/config."""

    name: str
    method: str
    path: str
    parameters: Schema
    code: Callable[[Environment, Parameters], Any]
    # PVE's check expression, e.g. ("perm", "/vms/{vmid}", ["VM.Audit"]); None is for what the code checks itself.
    permissions: Any = None
    # Handled by pvedaemon as root (True) or by pveproxy itself.
    protected: bool = False
    # What the schema says about further keys than those in parameters.
    additional_properties: bool = False
    description: str = ""
    # The schema of the object that is returned, which only the command line checks.
    returns: Schema | None = None

    def handle(self, environment: Environment, parameters: Parameters, *, verify_result: bool = False) -> Any:
        """Check the parameters and run the method."""
        validate(parameters, self.parameters, additional_properties=self.additional_properties)
        result = self.code(environment, parameters)
        if verify_result and self.returns is not None:
            message = "Result verification failed"
            validate(result, self.returns, additional_properties=True, message=message, errno=255)
        return result
