# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What PVE::RESTHandler says about how a command is used (getopt_usage): short for errors, in full for `pct help X`.

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .json_schema import Schema
from .rest_handler import Method

_INDENT = 13
_COLUMNS = 75
_TAB = 8


def usage(method: Method, prefix: str, arguments: Sequence[str], fixed: Collection[str], *, full: bool = False) -> str:
    """`pct set <vmid> [OPTIONS]`, ending in a newline; in full with every option's description."""
    schema = method.parameters
    words = [f"[<{name}>]" if schema[name].get("optional") else f"<{name}>" for name in arguments if name in schema]
    options = _options(schema, [*arguments, *fixed])
    words += [f"--{name} <{rule.get('type', 'string')}>" for name, rule in options if not rule.get("optional")]
    text = f"{prefix} {' '.join(words)}" + (" [OPTIONS]" if options else "") + "\n"
    if not full:
        return text
    text = f"USAGE: {text}"
    if method.description:
        text += f"\n{_wrapped(method.description, 2)}\n\n"
    text += "".join(_described(f"<{name}>", schema[name]) for name in arguments if name in schema and name not in fixed)
    return text + "".join(_described(f"--{name}", rule) for name, rule in options)


def _options(schema: Schema, taken: Collection[str]) -> list[tuple[str, Mapping[str, Any]]]:
    """Sorted; dev0, dev1 … are one: dev[n]."""
    options = []
    for name in sorted(schema):
        numbered = re.fullmatch(r"([a-z]+)(\d+)", name)
        is_many = numbered is not None and f"{numbered[1]}1" in schema and f"{numbered[1]}0" in schema
        if name in taken or (is_many and numbered is not None and numbered[2] != "0"):
            continue
        options.append((f"{numbered[1]}[n]" if is_many and numbered is not None else name, schema[name]))
    return options


def _described(name: str, rule: Mapping[str, Any]) -> str:
    default = f"   (default={rule['default']})" if "default" in rule else ""
    head = f"  {name:<10} {_type_text(rule)}{default}"
    return f"{_unexpand(head)}\n{_wrapped(rule.get('description') or 'no description available', _INDENT)}\n\n"


def _type_text(rule: Mapping[str, Any]) -> str:
    kind = rule.get("type", "string")
    if "format_description" in rule:
        return f"<{rule['format_description']}>"
    if "enum" in rule:
        return f"<{' | '.join(sorted(rule['enum']))}>"
    if "pattern" in rule:
        return str(rule["pattern"])
    if kind in ("integer", "number") and ("minimum" in rule or "maximum" in rule):
        return f"<{kind}> ({rule.get('minimum', '-N')} - {rule.get('maximum', 'N')})"
    if isinstance(rule.get("format"), Mapping):
        return _property_string_text(rule["format"])
    return f"<{kind}>"


def _property_string_text(schema: Schema) -> str:
    def text(name: str, rule: Mapping[str, Any]) -> str:
        kind = "<1|0>" if rule.get("type") == "boolean" else _type_text(rule)
        return f"[{name}=]{kind}" if rule.get("default_key") else f"{name}={kind}"

    default = [name for name, rule in schema.items() if rule.get("default_key")]
    required = [name for name in sorted(schema) if not schema[name].get("optional")]
    order = list(dict.fromkeys([*default, *required, *sorted(schema)]))
    parts = [text(name, schema[name]) for name in order]
    return parts[0] + "".join(
        f" [,{part}]" if schema[name].get("optional") else f",{part}"
        for name, part in zip(order[1:], parts[1:], strict=True)
    )


def _wrapped(text: str, indent: int) -> str:
    lines = textwrap.wrap(text, _COLUMNS, initial_indent=" " * indent, subsequent_indent=" " * indent)
    return "\n".join(_unexpand(line) for line in lines)


def _unexpand(line: str) -> str:
    """Perl's Text::Wrap puts tabs where it can."""
    chunks = [line[start : start + _TAB] for start in range(0, len(line), _TAB)]
    whole = [re.sub("  +$", "\t", chunk) for chunk in chunks[:-1]]
    return "".join(whole) + ("\t" if chunks[-1] == " " * _TAB else chunks[-1])
