# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Options of a command as PVE reads them: Getopt::Long (with "-" and "--" as prefix), then the positional arguments
# (get_options of PVE::JSONSchema).

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import Any

from .exceptions import ENOENT, PVEError
from .json_schema import Schema, parse_boolean

EXTRA_ARGS = "extra-args"

_BAD_REQUEST = 400


def get_options(
    schema: Schema, words: Sequence[str], arguments: Sequence[str], fixed: Collection[str]
) -> dict[str, Any]:
    """The parameters of a command: its options, and what stands at the places of its arguments."""
    names = [name for name in schema if name not in fixed]
    found = _Getopt(schema, names).parse(words)
    options = found.options
    _take_arguments(schema, options, found.rest, arguments)
    for name, value in options.items():
        rule = schema.get(name, {})
        if isinstance(value, list) and _is_list(rule):
            options[name] = ",".join(value)
        elif rule.get("type") == "boolean":
            options[name] = 1 if value == "" else parse_boolean(value)
            if options[name] is None:
                raise PVEError("unable to parse boolean option", _BAD_REQUEST, ENOENT)
    return options


def _is_list(rule: Any) -> bool:
    return isinstance(rule.get("format"), str) and "-list" in rule["format"]


def _take_arguments(schema: Schema, options: dict[str, Any], rest: list[str], arguments: Sequence[str]) -> None:
    for index, name in enumerate(arguments):
        if name == EXTRA_ARGS:
            options[EXTRA_ARGS], rest = rest, []
        elif rest:
            options[name] = rest.pop(0)
        else:
            if any(not schema[left].get("optional") for left in arguments[index:] if left in schema):
                raise PVEError("not enough arguments", _BAD_REQUEST, ENOENT)
            if arguments[-1] == EXTRA_ARGS:
                options[EXTRA_ARGS] = []
            break
    if rest:
        raise PVEError("too many arguments", _BAD_REQUEST, ENOENT)


class _Getopt:
    """Perl's Getopt::Long: options anywhere, abbreviations, case ignored, a value after "=" or as the next word."""

    def __init__(self, schema: Schema, names: Sequence[str]) -> None:
        self.schema = schema
        self.names = names
        self.options: dict[str, Any] = {}
        self.rest: list[str] = []
        self.failed = False

    def parse(self, words: Sequence[str]) -> _Getopt:
        left = list(words)
        while left:
            word = left.pop(0)
            if word == "--":
                self.rest += left
                break
            if word.startswith("-") and word != "-":
                self._option(word[2:] if word.startswith("--") else word[1:], left)
            else:
                self.rest.append(word)
        if self.failed:
            raise PVEError("unable to parse option", _BAD_REQUEST, ENOENT)
        return self

    def _option(self, text: str, left: list[str]) -> None:
        given, equals, value = text.partition("=")
        name = self._full_name(given)
        if name is None:
            return
        rule = self.schema[name]
        if equals:
            self._store(name, value)
        elif rule.get("type") == "boolean":
            self._store(name, left.pop(0) if left and not (left[0].startswith("-") and left[0] != "-") else "")
        elif left:
            self._store(name, left.pop(0))
        else:
            self._complain(f"Option {given} requires an argument")

    def _full_name(self, given: str) -> str | None:
        hits = [name for name in self.names if name == given]
        hits = hits or [name for name in self.names if name.lower() == given.lower()]
        hits = hits or sorted(name for name in self.names if given and name.lower().startswith(given.lower()))
        if len(hits) == 1:
            return hits[0]
        self._complain(f"Option {given} is ambiguous ({', '.join(hits)})" if hits else f"Unknown option: {given}")
        return None

    def _store(self, name: str, value: str) -> None:
        if _is_list(self.schema[name]) or self.schema[name].get("type") == "array":
            self.options.setdefault(name, []).append(value)
        else:
            self.options[name] = value

    def _complain(self, problem: str) -> None:
        print(problem, file=sys.stderr)
        self.failed = True
