# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest

from lab.pve.api2 import methods
from lab.pve.cli.pct import COMMANDS
from lab.pve.cli_handler import Command


def test_each_path_has_one_method_of_a_kind() -> None:
    served = [(method.method, method.path) for method in methods.all_methods()]
    assert methods.ALL_METHODS is methods.all_methods()
    assert len(served) == len(set(served))


def test_what_stands_in_a_path_is_a_parameter() -> None:
    missing = {
        method.path: set(re.findall(r"{([^}]+)}", method.path)) - set(method.parameters)
        for method in methods.ALL_METHODS
    }
    assert not {path: names for path, names in missing.items() if names}


def test_nothing_else_is_there() -> None:
    with pytest.raises(AttributeError):
        _ = methods.NOTHING


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if isinstance(command, Command)])
def test_every_command_of_pct_has_its_method(name: str) -> None:
    command = COMMANDS[name]
    assert isinstance(command, Command)
    parameters = command.load().parameters
    assert set(command.arguments) | set(command.fixed) <= set(parameters)
