# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# docs/requirements.md names, for each requirement, what does it and what tests it. Here: that all of it is there.

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

COLLECTION = Path(__file__).parents[3]
PAGE = COLLECTION / "docs/requirements.md"
ROLES = COLLECTION / "roles"
# How many rows each table has: the seeds by their numbers, then the pitfalls and the failures.
ROWS = {"000": 77, "001": 63, "002": 39, "003": 35, "004": 28, "P": 50, "F": 15}
SCENARIOS = {
    "api",
    "applications",
    "container",
    "docker",
    "gpu_passthrough",
    "hierarchy",
    "runfile",
    "snapshot",
    "unprivileged",
    "vllm",
}


class Row(NamedTuple):
    number: str
    said: str
    done: str
    tests: str


def rows() -> list[Row]:
    found = []
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and re.match(r"\d{3}\.\d+$|[PF]\d+$", cells[0]):
            found.append(Row(cells[0], *cells[-3:]))
    return found


def references(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@functools.cache
def functions_of_tests() -> dict[str, set[str]]:
    """The functions of each test file, those of classes behind the class."""
    found = {}
    for path in sorted((COLLECTION / "tests").rglob("test_*.py")):
        names = set()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.ClassDef):
                names |= {f"{node.name}::{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
        found[str(path.relative_to(COLLECTION))] = {name for name in names if name.split("::")[-1].startswith("test_")}
    return found


@functools.cache
def tasks(path: Path) -> set[str]:
    def named(entries: object) -> set[str]:
        names = set()
        for entry in entries if isinstance(entries, list) else ():
            names.add(str(entry.get("name")))
            for key in ("tasks", "block", "rescue", "always"):
                names |= named(entry.get(key))
        return names

    return named(yaml.safe_load(path.read_text())) if path.exists() else set()


def is_test(reference: str) -> bool:
    return "::" in reference or reference.startswith("molecule: ")


def missing(reference: str) -> str:
    """What of a reference is not there, or nothing."""
    before, _colon, task = reference.partition(": ")
    if before == "molecule":
        return "" if task in SCENARIOS else f"there is no scenario {task}"
    if "::" in reference:
        file, _colons, function = reference.partition("::")
        holders = [
            path for path, names in functions_of_tests().items() if path.endswith(f"/{file}") and function in names
        ]
        return "" if len(holders) == 1 else f"{len(holders)} test files have {reference}"
    if task:
        role, _slash, name = before.partition("/")
        path = COLLECTION / before if before.endswith(".yml") else ROLES / role / "tasks" / f"{name}.yml"
        return "" if task in tasks(path) else f"{path.relative_to(COLLECTION)} has no task {task}"
    if re.fullmatch(r"_\w+\.py", reference):
        path = COLLECTION / "plugins/module_utils" / reference
    elif "/" in reference:
        path = COLLECTION / reference
    else:
        path = COLLECTION / f"plugins/modules/{reference}.py"
    return "" if path.exists() else f"there is no {path.relative_to(COLLECTION)}"


def test_every_sentence_pitfall_and_failure_has_its_row() -> None:
    numbers = [
        f"{group}.{index}" if group.isdigit() else f"{group}{index}"
        for group, count in ROWS.items()
        for index in range(1, count + 1)
    ]
    assert [row.number for row in rows()] == numbers


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.number)
def test_a_row_names_what_is_there(row: Row) -> None:
    found = references(row.done) + references(row.tests)
    assert [said for said in map(missing, found) if said] == []


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.number)
def test_a_row_has_a_test_or_says_why_not(row: Row) -> None:
    assert row.said
    assert not any(is_test(reference) for reference in references(row.done))
    if row.done.startswith("out of scope: "):
        assert (references(row.done), row.tests) == ([], "-")
        assert row.number.startswith(("P", "F")), "a seed's sentence is done, or something else instead"
    else:
        assert row.done
        tests = references(row.tests)
        assert tests
        assert [reference for reference in tests if not is_test(reference)] == []


def test_what_is_open_is_a_row_of_the_page() -> None:
    known = {row.number for row in rows()}
    text = PAGE.read_text().partition("\n## What is open\n")[2]
    open_rows = re.findall(r"\b\d{3}\.\d+\b|\b[PF]\d+\b", text)
    assert [number for number in open_rows if number not in known] == []


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("molecule: nothing", "there is no scenario nothing"),
        ("test_errors.py::test_nothing", "0 test files have test_errors.py::test_nothing"),
        ("test_runfile.py::test_bare_node", "0 test files have test_runfile.py::test_bare_node"),
        ("lxc_base/packages: Nothing", "roles/lxc_base/tasks/packages.yml has no task Nothing"),
        ("lxc_base/nothing: Nothing", "roles/lxc_base/tasks/nothing.yml has no task Nothing"),
        ("playbooks/site.yml: Nothing", "playbooks/site.yml has no task Nothing"),
        ("_nothing.py", "there is no plugins/module_utils/_nothing.py"),
        ("nothing", "there is no plugins/modules/nothing.py"),
        ("roles/lxc_base/nothing", "there is no roles/lxc_base/nothing"),
    ],
)
def test_a_reference_to_nothing_is_found(reference: str, said: str) -> None:
    assert missing(reference) == said
