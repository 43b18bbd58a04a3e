# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# JSON text and its check against a JSON Schema: the part of draft 2020-12 that our two schemas use, with messages for
# the person who wrote the file. The jsonschema package takes seconds for a fleet of 500 containers. No I/O.

from __future__ import annotations

import difflib
import functools
import json
import math
import re
import typing as t
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet import Problem

Schema = Mapping[str, t.Any]

_DEEPEST = 64
_LISTABLE = 12
_LONGEST = 60
_TYPES: Mapping[str, str] = {
    "object": "an object",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def loads(text: str, file: str) -> tuple[t.Any, list[Problem]]:
    """The document in a JSON text, and what is wrong with the text itself; None when it cannot be read at all."""
    # The objects themselves are kept beside their ids, so that no other one can get the same id.
    twice: dict[tuple[int, str], dict[str, t.Any]] = {}

    def paired(pairs: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
        found: dict[str, t.Any] = {}
        for key, value in pairs:
            if key in found:
                twice[id(found), key] = found
            found[key] = value
        return found

    deep = Problem(file, "$", None, "it is nested too deeply", "Write it as the schema describes it.")
    try:
        document = json.loads(
            text, object_pairs_hook=paired, parse_float=_number, parse_int=_number, parse_constant=_number
        )
    except json.JSONDecodeError as error:
        wrong = f"it is no JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        instead = "Look there for a missing or superfluous comma, quote or bracket."
        return None, [Problem(file, "$", None, wrong, instead)]
    except _NoNumberError as error:
        return None, [Problem(file, "$", None, f"{error} is no number", "Write a number, or leave its key out.")]
    except RecursionError:
        return None, [deep]
    if _is_too_deep(document):
        return None, [deep]
    return document, list(_repeated(document, twice, file, "$"))


def _is_too_deep(document: object) -> bool:
    """Whether looking through a document could exhaust the stack."""
    level = [document]
    for _depth in range(_DEEPEST):
        dicts = [value for value in level if isinstance(value, dict)]
        lists = [value for value in level if isinstance(value, list)]
        level = [member for value in dicts for member in value.values()] + [m for value in lists for m in value]
    return bool(level)


def _repeated(value: object, twice: Collection[tuple[int, str]], file: str, path: str) -> Iterator[Problem]:
    if not twice:
        return
    if isinstance(value, list):
        for index, member in enumerate(value):
            yield from _repeated(member, twice, file, at(path, index))
    if isinstance(value, dict):
        for key, member in value.items():
            if (id(value), key) in twice:
                yield Problem(file, at(path, key), None, f"the key {json.dumps(key)} is written twice in one object, "
                              "and only the last one counts", "Remove or rename one of them.")  # fmt: skip
            yield from _repeated(member, twice, file, at(path, key))


class _NoNumberError(Exception):
    """NaN, Infinity, or a number too large for any use."""


def _number(text: str) -> float:
    """JSON has one kind of number: 2048.0 is the whole number 2048."""
    value = float(text)
    if not math.isfinite(value):
        raise _NoNumberError(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")
    if not value.is_integer():
        return value
    return int(text) if text.lstrip("-").isdigit() else int(value)


def at(path: str, key: str | int) -> str:
    """The JSON path of a key or an index below a path."""
    return path + (f"[{key}]" if isinstance(key, int) else _step(key))


@functools.lru_cache(maxsize=4096)
def _step(key: str) -> str:
    return f".{key}" if re.fullmatch(r"[\w$-]+", key) else f"[{json.dumps(key)}]"


def shown(value: object) -> str:
    """A value as the file has it, but no longer than a line."""
    if isinstance(value, (dict, list)):
        return _TYPES["object" if isinstance(value, dict) else "array"]
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def check(document: object, schema: Schema, file: str) -> list[Problem]:
    """Everything in which a document departs from its schema."""
    checker = _Checker(schema, file)
    checker.check(document, schema, "$")
    return checker.problems


def not_applied(document: object, schema: Schema) -> Iterator[tuple[str, ...]]:
    """The ways, key by key and without the indices of lists, to what a document says and no role applies."""
    return _not_applied(document, schema, schema)


def _not_applied(value: object, schema: Schema, root: Schema) -> Iterator[tuple[str, ...]]:
    if "$ref" in schema:
        yield from _not_applied(value, _resolved(root, schema["$ref"]), root)
    if isinstance(value, list):
        for member in value:
            yield from _not_applied(member, schema.get("items", {}), root)
    if isinstance(value, dict):
        for key, member in value.items():
            below = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            if isinstance(below, Mapping) and below.get(NOT_APPLIED):
                yield (key,)
            elif isinstance(below, Mapping):
                yield from ((key, *way) for way in _not_applied(member, below, root))


class _Checker:
    def __init__(self, root: Schema, file: str) -> None:
        self._root = root
        self._file = file
        self.problems: list[Problem] = []

    def check(self, value: object, schema: Schema, path: str) -> None:
        if "type" in schema and not _is_of(value, schema["type"]):
            self._wrong_type(value, _listed(schema["type"]), schema, path)
            return
        for keyword, expected in schema.items():
            if test := _TESTS.get(keyword):
                test(self, value, expected, schema, path)

    def _add(self, path: str, value: object, wrong: str, instead: str) -> None:
        kept = shown(value) if isinstance(value, (dict, list)) else value
        self.problems.append(Problem(self._file, path, kept, wrong, instead))

    def _wrong_type(self, value: object, types: Sequence[str], schema: Schema, path: str) -> None:
        wanted = " or ".join(_TYPES[name] for name in types)
        self._add(path, value, f"{shown(value)} stands where {wanted} belongs", f"Write {wanted}{_such_as(schema)}.")

    def _reference(self, value: object, expected: str, _schema: Schema, path: str) -> None:
        self.check(value, _resolved(self._root, expected), path)

    def _properties(self, value: object, expected: Mapping[str, Schema], _schema: Schema, path: str) -> None:
        if isinstance(value, dict):
            for key, member in value.items():
                if key in expected:
                    self.check(member, expected[key], path + _step(key))

    def _required(self, value: object, expected: Sequence[str], schema: Schema, path: str) -> None:
        if isinstance(value, dict):
            for key in expected:
                if key not in value:
                    about = self._about(schema.get("properties", {}).get(key, {}))
                    example = f": {json.dumps(about['examples'][0], ensure_ascii=False)}" if "examples" in about else ""
                    self._add(at(path, key), None, "the key is missing",
                              f"Add {json.dumps(key)}{example}.{_description(about)}")  # fmt: skip

    def _about(self, schema: Schema) -> Schema:
        return {**_resolved(self._root, schema["$ref"]), **schema} if "$ref" in schema else schema

    def _additional(self, value: object, expected: bool | Schema, schema: Schema, path: str) -> None:
        if not isinstance(value, dict):
            return
        known = schema.get("properties", {})
        for key, member in value.items():
            if key in known:
                continue
            if isinstance(expected, Mapping):
                self.check(member, expected, path + _step(key))
            elif not expected:
                self._add(at(path, key), member, "the key is not known here", _for_unknown(key, list(known)))

    def _property_names(self, value: object, expected: Schema, _schema: Schema, path: str) -> None:
        if isinstance(value, dict):
            for key in value:
                if not _fits(key, expected["pattern"]):
                    self._add(at(path, key), key, f"{shown(key)} cannot be a key here",
                              f"Write it{_such_as(expected)}.{_description(expected)}")  # fmt: skip

    def _items(self, value: object, expected: Schema, _schema: Schema, path: str) -> None:
        if isinstance(value, list):
            for index, member in enumerate(value):
                self.check(member, expected, f"{path}[{index}]")

    def _any_of(self, value: object, expected: Sequence[Schema], schema: Schema, path: str) -> None:
        fitting = [branch for branch in expected if _is_of(value, branch["type"])]
        before = len(self.problems)
        for branch in fitting:
            del self.problems[before:]
            self.check(value, branch, path)
            if len(self.problems) == before:
                return
        if not fitting:
            types = [name for branch in expected for name in _listed(branch["type"])]
            self._wrong_type(value, types, schema, path)

    def _enum(self, value: object, expected: Sequence[t.Any], _schema: Schema, path: str) -> None:
        if _comparable(value) not in map(_comparable, expected):
            close = difflib.get_close_matches(value, map(str, expected), n=1) if isinstance(value, str) else []
            choices = ", ".join(json.dumps(choice) for choice in close or expected)
            self._add(path, value, f"{shown(value)} is not known here",
                      f"Write {choices}." if close else f"Write one of {choices}.")  # fmt: skip

    def _pattern(self, value: object, expected: str, schema: Schema, path: str) -> None:
        if isinstance(value, str) and not _fits(value, expected):
            self._add(path, value, f"{shown(value)} has not the form that belongs here",
                      f"Write it{_such_as(schema)}.{_description(schema)}")  # fmt: skip

    def _min_length(self, value: object, expected: int, schema: Schema, path: str) -> None:
        if isinstance(value, str) and len(value) < expected:
            self._add(path, value, f"{shown(value)} is too short",
                      f"Write {expected} or more characters{_such_as(schema)}.")  # fmt: skip

    def _min_items(self, value: object, expected: int, _schema: Schema, path: str) -> None:
        if isinstance(value, list) and len(value) < expected:
            self._add(path, value, "the list is too short", f"Write {expected} or more entries.")

    def _unique_items(self, value: object, expected: bool, _schema: Schema, path: str) -> None:
        if expected and isinstance(value, list):
            seen = set()
            for index, member in enumerate(value):
                if (comparable := _comparable(member)) in seen:
                    self._add(at(path, index), member, f"{shown(member)} is in the list twice", "Name it once.")
                seen.add(comparable)

    def _minimum(self, value: object, expected: float, _schema: Schema, path: str) -> None:
        if _is_number(value) and value < expected:
            self._add(path, value, f"{shown(value)} is too small", f"Write {expected} or more.")

    def _exclusive_minimum(self, value: object, expected: float, _schema: Schema, path: str) -> None:
        if _is_number(value) and value <= expected:
            self._add(path, value, f"{shown(value)} is too small", f"Write more than {expected}.")

    def _maximum(self, value: object, expected: float, _schema: Schema, path: str) -> None:
        if _is_number(value) and value > expected:
            self._add(path, value, f"{shown(value)} is too large", f"Write {expected} or less.")


_TESTS: Mapping[str, Callable[[_Checker, t.Any, t.Any, Schema, str], None]] = {
    "$ref": _Checker._reference,
    "properties": _Checker._properties,
    "required": _Checker._required,
    "additionalProperties": _Checker._additional,
    "propertyNames": _Checker._property_names,
    "items": _Checker._items,
    "anyOf": _Checker._any_of,
    "enum": _Checker._enum,
    "pattern": _Checker._pattern,
    "minLength": _Checker._min_length,
    "minItems": _Checker._min_items,
    "uniqueItems": _Checker._unique_items,
    "minimum": _Checker._minimum,
    "exclusiveMinimum": _Checker._exclusive_minimum,
    "maximum": _Checker._maximum,
}
# What is understood and checked, because files of the first scripts have it, but of which no role makes anything.
NOT_APPLIED = "x-not-applied"
ANNOTATIONS = frozenset(
    ("$schema", "$id", "$defs", "title", "description", "examples", "default", "deprecated", NOT_APPLIED)
)
KEYWORDS = ANNOTATIONS | {"type"} | _TESTS.keys()


def _resolved(root: Schema, reference: str) -> Schema:
    schema: Schema = root["$defs"][reference.removeprefix("#/$defs/")]
    return schema


def _listed(types: str | Sequence[str]) -> Sequence[str]:
    return [types] if isinstance(types, str) else types


def _is_of(value: object, types: str | Sequence[str]) -> bool:
    return any(_IS_OF[name](value) for name in _listed(types))


def _is_number(value: object) -> t.TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_IS_OF: Mapping[str, Callable[[object], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def _fits(text: str, pattern: str) -> bool:
    # Our patterns are anchored; Python's $ alone would let a line break pass at the end.
    return re.fullmatch(pattern, text) is not None


def _comparable(value: object) -> Hashable:
    """Equal where JSON says equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return frozenset((key, _comparable(member)) for key, member in value.items())
    if isinstance(value, list):
        return tuple(_comparable(member) for member in value)
    return (isinstance(value, bool), value)


def _such_as(schema: Schema) -> str:
    return f", such as {json.dumps(schema['examples'][0], ensure_ascii=False)}" if "examples" in schema else ""


def _description(schema: Schema) -> str:
    return f" {schema['description']}" if "description" in schema else ""


def _for_unknown(key: str, known: Sequence[str]) -> str:
    if close := difflib.get_close_matches(key, known, n=1):
        return f"Write {json.dumps(close[0])}."
    if len(known) <= _LISTABLE:
        return f"Remove it; the keys here are {', '.join(json.dumps(name) for name in known)}."
    return "Remove it; the configuration reference lists the keys."
