# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What pvesh and pveum have in common: their options, and their tables with frames (PVE::CLIFormatter).

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..exceptions import PVEError


def parse_options(words: list[str]) -> dict[str, Any]:
    """--name value, --name=value, -name value; a name that comes twice is a list for PVE; a lone flag is 1."""
    options: dict[str, Any] = {}
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if not word.startswith("-") or word == "-":
            raise PVEError(f"too many arguments: {word}", 400)
        name, mark, value = word.lstrip("-").partition("=")
        if not mark:
            follows = position < len(words) and not words[position].startswith("--")
            value = words[position] if follows else "1"
            position += int(follows)
        options[name] = f"{options[name]}\0{value}" if name in options else value
    return options


def render(data: Any) -> str:
    if data is None:
        return ""
    if isinstance(data, dict):
        return table(("key", "value"), [(key, _text(value)) for key, value in sorted(data.items())])
    if isinstance(data, list) and data and all(isinstance(row, dict) for row in data):
        columns = sorted({key for row in data for key in row})
        return table(columns, [tuple(_text(row.get(column, "")) for column in columns) for row in data])
    if isinstance(data, list):
        return "".join(f"{_text(item)}\n" for item in data)
    return f"{_text(data)}\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Framed, with a double line below the heading."""
    if not rows:
        return ""
    widths = [max(len(column), *(len(row[place]) for row in rows)) for place, column in enumerate(columns)]
    cells = [" │ ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in [columns, *rows]]
    lines = [_rule("┌┬┐", "─", widths), f"│ {cells[0]} │", _rule("╞╪╡", "═", widths)]
    for number, cell in enumerate(cells[1:]):
        if number:
            lines.append(_rule("├┼┤", "─", widths))
        lines.append(f"│ {cell} │")
    lines.append(_rule("└┴┘", "─", widths))
    return "\n".join(lines) + "\n"


def _rule(corners: str, line: str, widths: Sequence[int]) -> str:
    return corners[0] + corners[1].join(line * (width + 2) for width in widths) + corners[2]


def _text(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return str(value)
