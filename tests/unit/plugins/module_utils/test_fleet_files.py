# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_files import load

COLLECTION = Path(__file__).parents[4]
SCHEMAS = COLLECTION / "schemas"
JSON = COLLECTION / "inventories/example/fleet.cfg"
LXC = JSON / "phoenix_lxc_configs.json"
HYPERVISOR = JSON / "phoenix_hypervisor_config.json"
ONE = "the fleet has 1 problem, and nothing was written:\n"
GONE = "cannot be read: No such file or directory. Name a file that can be read."
NO_JSON = "Look there for a missing or superfluous comma, quote or bracket."


def refused(lxc: Path, hypervisor: Path = HYPERVISOR, schemas: Path = SCHEMAS) -> PhoenixError:
    with pytest.raises(PhoenixError) as raised:
        load(lxc, hypervisor, schemas)
    assert raised.value.code == Code.INPUT
    return raised.value


@pytest.mark.parametrize("fleet", ["example", "lab"])
def test_the_shipped_fleets_are_without_fault(fleet: str) -> None:
    folder = COLLECTION / "inventories" / fleet / "fleet.cfg"
    found, warnings = load(folder / LXC.name, folder / HYPERVISOR.name, SCHEMAS)
    assert warnings == []
    assert list(found.containers) == [900, 901, 902, 903, 920, 950, 952]
    assert list(found.nodes) == ["pve1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            b'{\n  "lxc_configs": {\n    "900": {},\n  }\n}\n',
            f"it is no JSON at line 3, column 14: Illegal trailing comma before end of object. {NO_JSON}",
        ),
        (b"", f"it is no JSON at line 1, column 1: Expecting value. {NO_JSON}"),
        (b'{"name": "caf\xe9"}', "byte 14 is no UTF-8. Save the file as UTF-8."),
        (b'{"cores": NaN}', "NaN is no number. Write a number, or leave its key out."),
        (b"[" * 200_000, "it is nested too deeply. Write it as the schema describes it."),
    ],
    ids=["a comma too many", "empty", "Latin-1", "NaN", "very deep"],
)
def test_a_file_that_is_no_json(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "phoenix_lxc_configs.json"
    path.write_bytes(text)
    found = str(refused(path))
    # Before Python 3.13 a comma too many was the place after it.
    older = "line 4, column 3: Expecting property name enclosed in double quotes"
    newer = "line 3, column 14: Illegal trailing comma before end of object"
    assert found.replace(older, newer) == f"{ONE}- phoenix_lxc_configs.json: $: {message}"


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "phoenix_lxc_configs.json"
    path.write_bytes(b"\xef\xbb\xbf" + LXC.read_bytes())
    assert load(path, HYPERVISOR, SCHEMAS) == load(LXC, HYPERVISOR, SCHEMAS)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    assert str(refused(path)) == f"{ONE}- none.json: $: {path} {GONE}"


def test_a_folder_where_a_file_should_be(tmp_path: Path) -> None:
    wrong = f"{tmp_path} cannot be read: Is a directory. Name a file that can be read."
    assert str(refused(tmp_path)) == f"{ONE}- {tmp_path.name}: $: {wrong}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "phoenix_lxc_configs.json"
    path.write_text("{}")
    path.chmod(0)
    wrong = f"{path} cannot be read: Permission denied. Name a file that can be read."
    assert str(refused(path)) == f"{ONE}- {path.name}: $: {wrong}"


def test_both_files_that_are_no_json(tmp_path: Path) -> None:
    lines = str(refused(tmp_path / "one.json", tmp_path / "two.json")).splitlines()
    assert lines == [
        "the fleet has 2 problems, and nothing was written:",
        f"- one.json: $: {tmp_path}/one.json {GONE}",
        f"- two.json: $: {tmp_path}/two.json {GONE}",
    ]


@pytest.mark.parametrize("missing", ["phoenix_lxc_configs.schema.json", "phoenix_hypervisor_config.schema.json"])
def test_a_folder_without_the_schemas(tmp_path: Path, missing: str) -> None:
    schemas = tmp_path / "schemas"
    shutil.copytree(SCHEMAS, schemas)
    (schemas / missing).unlink()
    assert refused(LXC, schemas=schemas).reason == (
        f"schemas: '{schemas}' is not the folder schemas of this collection: "
        f"{schemas}/{missing} cannot be read: No such file or directory"
    )


def test_a_key_that_is_there_twice(tmp_path: Path) -> None:
    path = tmp_path / "phoenix_lxc_configs.json"
    container = json.dumps(json.loads(LXC.read_text())["lxc_configs"]["900"])
    rules = '{"firewall": {"enabled": true, "rules": [{"type": "in", "type": "in", "action": "ACCEPT"}]},'
    path.write_text(f'{{"lxc_configs": {{"900": {container}, "900": {rules} {container[1:]}}}}}')
    hypervisor = tmp_path / "phoenix_hypervisor_config.json"
    hypervisor.write_text('{"nodes": {"pve1": {"address": "10.0.0.13"}}}')
    problems = refused(path, hypervisor).details["problems"]
    assert problems == [
        {
            "file": "phoenix_lxc_configs.json",
            "path": place,
            "value": None,
            "wrong": f'the key "{key}" is written twice in one object, and only the last one counts',
            "instead": "Remove or rename one of them.",
        }
        for place, key in (
            ("$.lxc_configs.900", "900"),
            ("$.lxc_configs.900.firewall.rules[0].type", "type"),
        )
    ]


def test_what_is_no_object_is_a_problem_of_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "phoenix_lxc_configs.json"
    path.write_text("[]")
    problems = refused(path).details["problems"]
    assert ("phoenix_lxc_configs.json", "$") in [(problem["file"], problem["path"]) for problem in problems]
