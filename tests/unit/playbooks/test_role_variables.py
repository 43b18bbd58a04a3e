# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A variable that the playbooks set cannot be left out, so they repeat the default of the role. It has to stay the same.

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).parents[3]
_FALLBACK = re.compile(r"default\((?P<value>(?:[^()]|'[^']*')*)\)\s*}}\s*$")
_WORDS = {"true": True, "false": False}


def repeated() -> Iterator[tuple[str, Any]]:
    """The variables of roles that the playbooks set, with what they are when the inventory says nothing."""
    tasks = yaml.safe_load((CHECKOUT / "playbooks/tasks/build.yml").read_text())
    places = [yaml.safe_load((CHECKOUT / "playbooks/vars/roles.yml").read_text())]
    places += [task["vars"] for task in tasks if "vars" in task]
    for variables in places:
        for name, template in variables.items():
            if not name.startswith(("phoenix_", "__")) and (found := _FALLBACK.search(str(template))):
                text = found["value"]
                yield name, _WORDS[text] if text in _WORDS else ast.literal_eval(text)


def defaults(name: str) -> dict[str, Any]:
    roles = [role for role in (CHECKOUT / "roles").iterdir() if name.startswith(f"{role.name}_")]
    # lxc_container_x belongs to lxc_container, should there ever be a role lxc.
    role = max(roles, key=lambda found: len(found.name))
    read: dict[str, Any] = yaml.safe_load((role / "defaults/main.yml").read_text())
    return read


@pytest.mark.parametrize(("name", "value"), [pytest.param(*pair, id=pair[0]) for pair in repeated()])
def test_what_a_playbook_falls_back_to_is_the_default_of_the_role(name: str, value: Any) -> None:
    known = defaults(name)
    # Without a default the role asks for it, and the playbook may give an empty one.
    assert known.get(name, value) == value


def test_nothing_is_left_out_by_a_placeholder() -> None:
    # Ansible leaves out arguments of modules, not variables: the placeholder would reach the server's command line.
    assert "omit" not in re.sub("#.*", "", (CHECKOUT / "playbooks/vars/roles.yml").read_text())
