# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The part of YAML in which CDI specifications are written: maps, lists and one-line strings, in blocks, indented by
# four as Go's library does.

from __future__ import annotations

import json
import re
from typing import Any

_STEP = 4
# Anything that YAML would read as something else than this very string is quoted.
_PLAIN = re.compile(r"[A-Za-z0-9/_.-][A-Za-z0-9/_.:=+@,~ -]*")
_OTHER = re.compile(
    r"[-+.]?\d[\d_.,:eExXa-fA-F+-]*|true|false|null|yes|no|on|off|y|n|~|-|---|\.nan|[-+]?\.inf", re.IGNORECASE
)


def dump(document: Any) -> str:
    return "---\n" + "".join(f"{line}\n" for line in _lines(document, 0))


def _lines(value: Any, column: int) -> list[str]:
    pad = " " * column
    lines: list[str] = []
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, dict | list) and item:
                lines += [f"{pad}{_scalar(key)}:", *_lines(item, (column // _STEP + 1) * _STEP)]
            else:
                lines.append(f"{pad}{_scalar(key)}: {_scalar(item)}")
        return lines
    for item in value:
        if isinstance(item, dict) and item:
            inner = _lines(item, column + 2)
            lines += [f"{pad}- {inner[0][column + 2 :]}", *inner[1:]]
        else:
            lines.append(f"{pad}- {_scalar(item)}")
    return lines


def _scalar(value: Any) -> str:
    if isinstance(value, dict | list):
        return "{}" if isinstance(value, dict) else "[]"
    if not isinstance(value, str):
        return json.dumps(value)
    number = re.fullmatch(r"[-+]?[\d_]*\.?\d+([eE][-+]?\d+)?|0[xo][\da-fA-F]+", value)
    word = _OTHER.fullmatch(value) and not re.fullmatch(r"\d+\.\d+\.\d+", value)
    risky = ": " in value or value.endswith((":", " ")) or value.startswith("- ")
    if not _PLAIN.fullmatch(value) or number or word or risky:
        return json.dumps(value, ensure_ascii=False)
    return value


def load(text: str) -> Any:
    """What dump wrote, or JSON, which is YAML as well."""
    if text.lstrip().startswith(("{", "[")):
        return json.loads(text)
    lines = [
        (len(line) - len(line.lstrip()), line.strip())
        for line in text.split("\n")
        if line.strip() and line.strip() != "---" and not line.lstrip().startswith("#")
    ]
    value, rest = _block(lines)
    if rest:
        raise ValueError(f"line {rest[0][1]!r} is not indented as the lines before it")
    return value


_Line = tuple[int, str]


def _block(lines: list[_Line]) -> tuple[Any, list[_Line]]:
    if not lines:
        return None, []
    column = lines[0][0]
    if lines[0][1].startswith("- ") or lines[0][1] == "-":
        return _list(lines, column)
    found: dict[str, Any] = {}
    while lines and lines[0][0] == column:
        match = re.fullmatch(r'("(?:[^"\\]|\\.)*"|[^"].*?):(?: (.*))?', lines[0][1])
        if not match:
            raise ValueError(f"{lines[0][1]!r} is no `key: value`")
        lines = lines[1:]
        key = str(_value(match[1]))
        if match[2] is None:
            nested = bool(lines) and (lines[0][0] > column or (lines[0][0] == column and lines[0][1].startswith("- ")))
            found[key], lines = _block(lines) if nested else (None, lines)
        else:
            found[key] = _value(match[2])
    return found, lines


def _list(lines: list[_Line], column: int) -> tuple[list[Any], list[_Line]]:
    found: list[Any] = []
    while lines and lines[0][0] == column and lines[0][1].startswith("- "):
        text = lines[0][1][2:].lstrip()
        inner = column + len(lines[0][1]) - len(text)
        if re.match(r'("(?:[^"\\]|\\.)*"|[A-Za-z][\w-]*):( |$)', text):
            value, lines = _block([(inner, text), *lines[1:]])
        else:
            value, lines = _value(text), lines[1:]
        found.append(value)
    return found, lines


def _value(text: str) -> Any:
    if text[:1] in {'"', "{", "["}:
        return json.loads(text)
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    try:
        return {"true": True, "false": False, "null": None}[text]
    except KeyError:
        return int(text) if re.fullmatch(r"-?\d+", text) else text
