# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What a role documents is what it has.

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = sorted(path for path in (Path(__file__).parents[3] / "roles").iterdir() if path.is_dir())
TYPES = {
    "str": str, "path": str, "bool": bool, "int": int, "float": (int, float), "list": list, "dict": dict, "raw": object,
}  # fmt: skip

each_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.exists() else None


def entry_points(role: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load(role / "meta/argument_specs.yml")["argument_specs"]
    return found


def every_option(options: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, option in options.items():
        yield path + name, option
        yield from every_option(option.get("options") or {}, f"{path}{name}.")


@each_role
def test_every_entry_point_is_documented(role: Path) -> None:
    for name, entry in entry_points(role).items():
        for key in ("short_description", "description", "author", "version_added"):
            assert entry.get(key), f"{name}: {key}"
        assert list((role / "tasks").glob(f"{name}.y*ml")), f"there is no tasks/{name}.yml"


@each_role
def test_every_option_is_documented(role: Path) -> None:
    for entry in entry_points(role).values():
        for name, option in every_option(entry.get("options") or {}):
            assert option.get("description"), name
            assert option.get("type") in TYPES, name
            if option["type"] == "list":
                assert option.get("elements") in TYPES, name
            if "default" in option and option["default"] is not None:
                assert isinstance(option["default"], TYPES[option["type"]]), name


@each_role
def test_options_are_named_after_their_role(role: Path) -> None:
    names = [name for entry in entry_points(role).values() for name in entry.get("options") or {}]
    assert [name for name in names if not name.startswith(f"{role.name}_")] == []


@each_role
def test_the_defaults_are_the_documented_ones(role: Path) -> None:
    options: dict[str, dict[str, Any]] = {}
    for entry in entry_points(role).values():
        for name, option in (entry.get("options") or {}).items():
            known = options.setdefault(name, option)
            assert known.get("default") == option.get("default"), f"{name} differs between entry points"
    documented = {name: option["default"] for name, option in options.items() if "default" in option}
    defaults = load(role / "defaults/main.yml") or {}
    own = {name: value for name, value in defaults.items() if not name.startswith("__")}
    assert own == documented
    assert [name for name in documented if options[name].get("required")] == []


@each_role
def test_every_option_is_used(role: Path) -> None:
    folders = ("tasks", "handlers", "templates", "vars")
    files = [path for folder in folders for path in sorted((role / folder).rglob("*")) if path.is_file()]
    text = "\n".join(path.read_text() for path in files)
    names = {name for entry in entry_points(role).values() for name in entry.get("options") or {}}
    assert sorted(name for name in names if not re.search(rf"\b{name}\b", text)) == []


@each_role
def test_the_readme_leads_to_the_options(role: Path) -> None:
    readme = (role / "README.md").read_text()
    assert f"phoenix.hypervisor.{role.name}" in readme
    assert "meta/argument_specs.yml" in readme


@each_role
def test_the_role_says_what_it_needs(role: Path) -> None:
    info = load(role / "meta/main.yml")["galaxy_info"]
    for key in ("author", "description", "license", "min_ansible_version", "platforms"):
        assert info.get(key), key


@each_role
def test_the_preflight_comes_first(role: Path) -> None:
    """Bad input is refused before anything is changed."""
    if (role / "tasks/preflight.yml").exists():
        first = load(role / "tasks/main.yml")[0]
        assert "preflight.yml" in str([value for key, value in first.items() if key.startswith("ansible.builtin.i")])
