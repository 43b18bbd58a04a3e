# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# Plain data as YAML text that Ansible reads and yamllint accepts. PyYAML's fast emitter does not indent lists below
# their key, which yamllint insists on, and its other one takes seconds for a large fleet. No I/O.

from __future__ import annotations

import json
import re
import typing as t
from collections.abc import Iterator, Mapping, Sequence

# Narrower than what YAML allows: everything else is quoted, and that is always right.
PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./@%+=,:~-]*(?: [A-Za-z0-9_./@%+=,:~-]+)*")
WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
TEMPLATE_MARKS = ("{{", "{%", "{#")
# What stands in the place of a secret.
VAULT_REFERENCE = re.compile(r"(?<!\{)\{\{ *vault_\w+ *\}\}(?!\})")


class Template(str):
    """Text that Ansible shall evaluate. Of all other text it evaluates the references to a vault only."""

    __slots__ = ()


def to_yaml(data: Mapping[str, t.Any]) -> str:
    """The data with sorted keys, one value to a line."""
    return "".join(f"{line}\n" for line in _mapping(data, ""))


def _mapping(data: Mapping[str, t.Any], pad: str) -> Iterator[str]:
    for key in sorted(data):
        value = data[key]
        if _is_block(value):
            yield f"{pad}{_text(key)}:"
            yield from _block(value, f"{pad}  ")
        else:
            yield f"{pad}{_text(key)}: {_scalar(value)}"


def _sequence(data: Sequence[t.Any], pad: str) -> Iterator[str]:
    for value in data:
        if _is_block(value):
            first, *others = _block(value, f"{pad}  ")
            yield f"{pad}- {first.lstrip(' ')}"
            yield from others
        else:
            yield f"{pad}- {_scalar(value)}"


def _block(data: t.Any, pad: str) -> Iterator[str]:
    return _mapping(data, pad) if isinstance(data, Mapping) else _sequence(data, pad)


def _is_block(value: t.Any) -> bool:
    return isinstance(value, (Mapping, list, tuple)) and bool(value)


def _scalar(value: t.Any) -> str:
    if isinstance(value, Template):
        return _quoted(value)
    if isinstance(value, str):
        others = VAULT_REFERENCE.sub(" ", value)
        return f"!unsafe {_quoted(value)}" if any(mark in others for mark in TEMPLATE_MARKS) else _text(value)
    if isinstance(value, float):
        return _float(value)
    if value is None or isinstance(value, (bool, int)):
        return json.dumps(value)
    return "{}" if isinstance(value, Mapping) else "[]"


def _text(value: str) -> str:
    plain = PLAIN.fullmatch(value) and ": " not in value and not value.endswith(":") and value.lower() not in WORDS
    return value if plain else _quoted(value)


def _quoted(value: str) -> str:
    # JSON's quoted text is YAML's as well, but for some characters that YAML wants escaped.
    return "".join(char if char.isprintable() else _escaped(char) for char in json.dumps(value, ensure_ascii=False))


def _escaped(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}"


def _float(value: float) -> str:
    # YAML 1.1 takes 1e-05 for text: it wants a point.
    digits, exponent, power = repr(value).partition("e")
    return f"{digits}{'' if '.' in digits else '.0'}{exponent}{power}"
