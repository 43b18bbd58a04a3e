# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import functools
import json
import re
import typing as t
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet import Problem
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_model import VLLM
from ansible_collections.phoenix.hypervisor.plugins.module_utils._schema import (
    KEYWORDS,
    NOT_APPLIED,
    at,
    check,
    loads,
    not_applied,
    shown,
)
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.fleet_world import (
    GONE,
    JSON,
    PLACES,
    SCHEMAS,
    edited,
)
from hypothesis import given
from hypothesis import strategies as st

Schema = dict[str, t.Any]
CHECKOUT = Path(__file__).parents[4]
BOTH = pytest.mark.parametrize("schema", [SCHEMAS.lxc, SCHEMAS.hypervisor], ids=["lxc", "hypervisor"])


def said(text: str) -> list[tuple[str, str, str]]:
    return [(problem.path, problem.wrong, problem.instead) for problem in loads(text, "file.json")[1]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('{"a": [1, "b", null, true, 0.5]}', {"a": [1, "b", None, True, 0.5]}, id="every kind"),
        pytest.param("[" * 63 + "]" * 63, json.loads("[" * 63 + "]" * 63), id="as deep as it may be"),
        pytest.param("2048.0", 2048, id="a whole number with a fraction of nothing"),
        pytest.param("-1e3", -1000, id="a whole number with an exponent"),
        pytest.param("-12", -12, id="a negative number"),
        pytest.param("12345678901234567890", 12345678901234567890, id="a number beyond what a float holds"),
    ],
)
def test_read(text: str, expected: object) -> None:
    document, problems = loads(text, "file.json")
    assert (document, problems) == (expected, [])
    assert type(document) is type(expected)


def test_text_that_is_no_json() -> None:
    document, problems = loads('{"a": 1,\n "b": }', "file.json")
    assert document is None
    assert problems == [
        Problem(
            "file.json",
            "$",
            None,
            "it is no JSON at line 2, column 7: Expecting value",
            "Look there for a missing or superfluous comma, quote or bracket.",
        )
    ]


@pytest.mark.parametrize(
    ("text", "shown_as"),
    [("NaN", "NaN"), ("-Infinity", "-Infinity"), ("1e999", "1e999"), ("9" * 5000, "9" * 60 + "...")],
    ids=["NaN", "infinity", "too large", "too long"],
)
def test_numbers_that_are_none(text: str, shown_as: str) -> None:
    assert said(text) == [("$", f"{shown_as} is no number", "Write a number, or leave its key out.")]


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 64 + "1" + "]" * 64, '{"a":' * 64 + "[]" + "}" * 64])
def test_a_text_that_is_nested_too_deeply(text: str) -> None:
    assert said(text) == [("$", "it is nested too deeply", "Write it as the schema describes it.")]


def test_keys_that_are_written_twice() -> None:
    containers = '{"900": {"cores": 1}, "900": {"cores": 1, "cores": 2, "cores": 3}}'
    text = f'{{"lxc_configs": {containers}, "x": [{{"a b": 1, "a b": 1}}]}}'
    wrong = 'the key "%s" is written twice in one object, and only the last one counts'
    remedy = "Remove or rename one of them."
    assert said(text) == [
        ("$.lxc_configs.900", wrong % "900", remedy),
        ("$.lxc_configs.900.cores", wrong % "cores", remedy),
        ('$.x[0]["a b"]', wrong % "a b", remedy),
    ]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
                    | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)))  # fmt: skip
def test_what_json_writes_is_read_again(document: object) -> None:
    assert loads(json.dumps(document), "file.json") == (document, [])


@pytest.mark.parametrize(
    ("schema", "value", "wrong", "instead"),
    [
        ({"type": "integer"}, "x", '"x" stands where a whole number belongs', "Write a whole number."),
        ({"type": "integer"}, 1.5, "1.5 stands where a whole number belongs", "Write a whole number."),
        ({"type": "integer"}, True, "true stands where a whole number belongs", "Write a whole number."),
        ({"type": "number"}, False, "false stands where a number belongs", "Write a number."),
        ({"type": "boolean", "examples": [True]}, "no", '"no" stands where true or false belongs',
         "Write true or false, such as true."),
        ({"type": ["string", "null"]}, {}, "an object stands where a text or null belongs", "Write a text or null."),
        ({"type": "string"}, ["x"], "a list stands where a text belongs", "Write a text."),
        ({"type": "string"}, None, "null stands where a text belongs", "Write a text."),
        ({"type": "null"}, 0, "0 stands where null belongs", "Write null."),
        ({"minimum": 5}, 4, "4 is too small", "Write 5 or more."),
        ({"maximum": 5}, 6, "6 is too large", "Write 5 or less."),
        ({"exclusiveMinimum": 0}, 0, "0 is too small", "Write more than 0."),
        ({"minLength": 1}, "", '"" is too short', "Write 1 or more characters."),
        ({"minItems": 1}, [], "the list is too short", "Write 1 or more entries."),
        ({"pattern": "^a$", "description": "One letter.", "examples": ["a"]}, "b",
         '"b" has not the form that belongs here', 'Write it, such as "a". One letter.'),
        ({"pattern": "^a$"}, "a\n", '"a\\n" has not the form that belongs here', "Write it."),
        ({"enum": [0, 1]}, True, "true is not known here", "Write one of 0, 1."),
        ({"enum": [["a"], {"b": 1}]}, {"b": 2}, "an object is not known here", 'Write one of ["a"], {"b": 1}.'),
        ({"enum": ["docker", "nvidia"]}, "doker", '"doker" is not known here', 'Write "docker".'),
        ({"pattern": "^a$"}, "x" * 99, f'"{"x" * 56}... has not the form that belongs here', "Write it."),
    ],
)  # fmt: skip
def test_messages(schema: Schema, value: object, wrong: str, instead: str) -> None:
    (problem,) = check(value, schema, "file.json")
    assert (problem.file, problem.path, problem.wrong, problem.instead) == ("file.json", "$", wrong, instead)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, 5.0),
        ({"type": "number"}, 5),
        ({"minimum": 5, "maximum": 5, "exclusiveMinimum": 4}, 5),
        ({"minimum": 5, "minLength": 3, "minItems": 2, "pattern": "^a$", "uniqueItems": True}, None),
        ({"minimum": 5, "exclusiveMinimum": 5, "maximum": 0}, True),
        ({"properties": {"a": {}}, "required": ["a"], "additionalProperties": False, "propertyNames": {}}, []),
        ({"items": {"type": "null"}}, {}),
        ({"minItems": 1, "minLength": 1}, [0]),
        ({"minLength": 1}, "a"),
        ({"uniqueItems": True}, [1, True, 0, False, "1", [1], [True], {"a": 1}, {"a": True}]),
        ({"uniqueItems": False}, [1, 1]),
        ({"enum": [1]}, 1.0),
        ({"additionalProperties": True}, {"a": 1}),
        ({"anyOf": [{"type": "string", "minLength": 2}, {"type": "string", "pattern": "^a$"}]}, "a"),
    ],
)
def test_what_is_fine(schema: Schema, value: object) -> None:
    assert check(value, schema, "file.json") == []
    jsonschema.validate(value, schema)


def test_a_key_of_a_list_of_known_ones() -> None:
    schema = {"properties": {"a": {}, "b": {}}, "additionalProperties": False}
    (problem,) = check({"zzz": [1]}, schema, "file.json")
    assert (problem.path, problem.value) == ("$.zzz", "a list")
    assert problem.instead == 'Remove it; the keys here are "a", "b".'


def test_a_missing_key_is_shown_as_it_is_written_where_it_refers_to() -> None:
    schema = {"properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a", "b"], "$defs": {"a": {"examples": ["é"]}}}
    assert [problem.instead for problem in check({}, schema, "file.json")] == ['Add "a": "é".', 'Add "b".']


def test_paths() -> None:
    assert at(at(at("$", "a-b"), 0), 'c "d"') == '$.a-b[0]["c \\"d\\""]'
    assert shown("é") == '"é"'


def nodes(schema: Schema) -> Iterator[Schema]:
    """Every schema within a schema."""
    yield schema
    for keyword, value in schema.items():
        if keyword in ("properties", "$defs"):
            for member in value.values():
                yield from nodes(member)
        elif keyword == "anyOf":
            for member in value:
                yield from nodes(member)
        elif keyword in ("items", "propertyNames", "additionalProperties") and isinstance(value, dict):
            yield from nodes(value)


@BOTH
def test_the_schemas_are_schemas(schema: Schema) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    assert {"$schema", "$id", "title", "description"} <= schema.keys()


@BOTH
def test_the_schemas_use_nothing_that_is_not_checked(schema: Schema) -> None:
    for node in nodes(schema):
        assert node.keys() <= KEYWORDS, node
        # The check matches from end to end, editors only where a pattern says so.
        assert "pattern" not in node or (node["pattern"][0], node["pattern"][-1]) == ("^", "$"), node
        # A branch is chosen by its type, and a name by its form.
        assert all("type" in branch for branch in node.get("anyOf", ())), node
        assert "pattern" in node.get("propertyNames", {"pattern": ""}), node


@BOTH
def test_every_key_is_described_and_every_example_and_default_is_fine(schema: Schema) -> None:
    for node in nodes(schema):
        for name, member in node.get("properties", {}).items():
            assert member["description"].endswith("."), name
            assert {"$ref", "type", "anyOf", NOT_APPLIED} & member.keys(), name
        for example in [*node.get("examples", ()), *([node["default"]] if "default" in node else [])]:
            assert check(example, {**node, "$defs": schema["$defs"]}, "file.json") == []


MARKED = {
    "properties": {
        "dead": {NOT_APPLIED: True},
        "alive": {"properties": {"dead": {NOT_APPLIED: True}, "alive": {}}},
        "list": {"items": {"$ref": "#/$defs/member"}},
    },
    "$defs": {"member": {"properties": {"dead": {NOT_APPLIED: True}}}},
    "additionalProperties": {"properties": {"dead": {NOT_APPLIED: True}}},
}


@pytest.mark.parametrize(
    ("document", "ways"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"alive": {"alive": {"dead": 1}}}, [], id="nothing that is known there"),
        pytest.param({"dead": {"dead": 1}}, [("dead",)], id="at the top, and nothing below it"),
        pytest.param({"alive": {"dead": None}}, [("alive", "dead")], id="below"),
        pytest.param({"list": [{"dead": 1}, {}]}, [("list", "dead")], id="in a list"),
        pytest.param({"any": {"dead": 1}}, [("any", "dead")], id="under any name"),
        pytest.param([1], [], id="no object"),
    ],
)
def test_what_no_role_applies(document: object, ways: list[tuple[str, ...]]) -> None:
    assert list(not_applied(document, MARKED)) == ways


@BOTH
def test_what_is_not_marked_is_used_somewhere(schema: Schema) -> None:
    sources = [*CHECKOUT.glob("plugins/module_utils/_[!s]*.py"), *CHECKOUT.glob("playbooks/**/*.yml")]
    text = "\n".join(path.read_text() for path in [*sources, *CHECKOUT.glob("roles/**/*.yml")])
    dead = {name for node in alive(schema, schema) for name in node.get("properties", {})} - {"$schema"}
    dead -= set(re.findall(r"\w+", text)) | {f"vllm_{name}" for name in VLLM}
    assert not dead


def alive(node: Schema, root: Schema) -> Iterator[Schema]:
    """The parts of a schema that are not marked, without what is marked below them."""
    node = {**root["$defs"][node["$ref"].removeprefix("#/$defs/")], **node} if "$ref" in node else node
    if node.get(NOT_APPLIED):
        return
    properties = {name: member for name, member in node.get("properties", {}).items() if not member.get(NOT_APPLIED)}
    yield {**node, "properties": properties}
    others = [node[key] for key in ("items", "additionalProperties") if isinstance(node.get(key), dict)]
    for member in (*properties.values(), *others, *node.get("anyOf", ())):
        yield from alive(member, root)


@BOTH
def test_what_is_closed_stays_closed(schema: Schema) -> None:
    assert all("additionalProperties" in node for node in nodes(schema) if "properties" in node)


@pytest.mark.parametrize(
    "place",
    [
        "clone_from_ctid",
        "static_ip",
        "zfs_volumes",
        "vllm_engine_config",
        "run_integration_tests",
        "integration_tests",
    ],
)
def test_older_spellings_of_a_container_are_marked(place: str) -> None:
    assert SCHEMAS.lxc["$defs"]["container"]["properties"][place]["deprecated"] is True


def test_older_spellings_elsewhere_are_marked() -> None:
    lxc, hypervisor = SCHEMAS.lxc["properties"], SCHEMAS.hypervisor["properties"]
    older = [lxc[f"nvidia_{key}"] for key in ("driver_version", "repo_url", "runfile_url")]
    older += [
        hypervisor["nvidia"],
        hypervisor["zfs"]["properties"]["arc_max"],
        hypervisor["nfs"]["properties"]["shares"],
    ]
    older += [SCHEMAS.lxc["$defs"]["container"]["properties"]["features"]["anyOf"][1]]
    assert all(schema["deprecated"] for schema in older)


def reference(document: object, schema: Schema) -> set[str]:
    """The JSON paths of what the jsonschema package finds."""
    errors = jsonschema.Draft202012Validator(schema).iter_errors(document)
    return {functools.reduce(at, error.absolute_path, "$") for error in errors}


def _within(path: str, other: str) -> bool:
    return path == other or path.startswith((f"{other}.", f"{other}["))


@given(st.dictionaries(st.sampled_from(PLACES), JSON | st.just(GONE), min_size=1, max_size=3))
def test_the_jsonschema_package_finds_the_same(edits: dict[str, object]) -> None:
    try:
        documents = edited(edits)
    except (KeyError, TypeError, AttributeError):
        return  # one edit has taken away what the other one changes
    for document, schema in zip(documents, (SCHEMAS.lxc, SCHEMAS.hypervisor), strict=True):
        found = {problem.path for problem in check(document, schema, "file.json")}
        expected = reference(document, schema)
        # Ours may say it of the key, where the package says it of the object that has or lacks the key.
        assert all(any(_within(path, other) for other in expected) for path in found), (found, expected)
        assert all(any(_within(path, other) for path in found) for other in expected), (found, expected)
