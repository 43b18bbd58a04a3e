# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes docs/configuration.md from the schemas: cd scripts; python3 -m harness.reference"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = "docs/configuration.md"
SCHEMAS = ("phoenix_lxc_configs", "phoenix_hypervisor_config")

HEAD = """\
<!--
Copyright: (c) 2026, the phoenix.hypervisor contributors
GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later

Generated from the folder schemas by scripts/harness/reference.py: changes in this file are overwritten.
-->

# The two files that describe a fleet

An editor that is told the schema, as the line `$schema` of the
[shipped files](https://github.com/phoenix-hypervisor/phoenix.hypervisor/tree/main/inventories/example/fleet.cfg) does,
shows the same while you write. A *legacy* key or spelling of earlier files is still understood; its description says
what to write instead. What is *not applied* is understood and checked, since earlier files have it, and a warning names
it: it reaches the inventory, and no role makes anything of it. A part of a name in angle brackets is yours to choose.
"""

COLUMNS = "| Key | Type | Limits | Default | Description |\n|---|---|---|---|---|\n"

# How a limit of a schema reads in a table.
LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "minLength": "length at least {}",
    "minItems": "length at least {}",
}

Schema = dict[str, Any]


def reference(root: Path) -> str:
    """The page that belongs to the schemas below this folder."""
    parts = [HEAD]
    for name in SCHEMAS:
        schema = json.loads((root / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
        parts.append(f"## {name}.json\n\n{schema['title']}. {schema['description']}\n")
        parts += [_section(place, described, schema) for place, described in _objects(schema, "", schema)]
    return "\n".join(parts)


def _resolved(schema: Schema, document: Schema) -> Schema:
    if "$ref" not in schema:
        return schema
    _hash, _defs, name = schema["$ref"].split("/")
    return {**document["$defs"][name], **{key: value for key, value in schema.items() if key != "$ref"}}


def _objects(schema: Schema, place: str, document: Schema) -> Iterator[tuple[str, Schema]]:
    """Every object that has keys, after the one that it is in, with the way to it."""
    schema = _resolved(schema, document)
    if "properties" in schema:
        yield place, schema
    for key, value in schema.get("properties", {}).items():
        yield from _objects(value, f"{place}.{key}" if place else key, document)
    if isinstance(others := schema.get("additionalProperties"), dict):
        yield from _objects(others, f"{place}.<name>", document)
    if "items" in schema:
        yield from _objects(schema["items"], f"{place}[]", document)
    for choice in schema.get("anyOf", ()):
        yield from _objects(choice, place, document)


def _section(place: str, schema: Schema, document: Schema) -> str:
    title = f"### `{place}`\n\n{schema['description']}\n\n" if place else ""
    required = schema.get("required", ())
    rows = (_row(key, value, key in required, document) for key, value in schema["properties"].items())
    return f"{title}{COLUMNS}{''.join(rows)}"


def _row(key: str, schema: Schema, required: bool, document: Schema) -> str:
    schema = _resolved(schema, document)
    default = "**required**" if required else _code(schema["default"]) if "default" in schema else ""
    cells = [f"`{key}`", _type(schema, document), _limits(schema, document), default, _description(schema)]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _type(schema: Schema, document: Schema) -> str:
    schema = _resolved(schema, document)
    if "anyOf" in schema:
        return " or ".join(_type(choice, document) for choice in schema["anyOf"])
    kind = schema.get("type", "anything")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array" and "items" in schema:
        return f"list of {_type(schema['items'], document)}"
    if kind == "object" and isinstance(others := schema.get("additionalProperties"), dict):
        return f"object of {_type(others, document)} by name"
    return str(kind)


def _limits(schema: Schema, document: Schema) -> str:
    found = [text.format(schema[key]) for key, text in LIMITS.items() if key in schema]
    if "enum" in schema:
        found.append(", ".join(_code(value) for value in schema["enum"]))
    if "pattern" in schema:
        found.append(f"`{schema['pattern']}`")
    if schema.get("uniqueItems"):
        found.append("none twice")
    if "propertyNames" in schema and "pattern" in schema["propertyNames"]:
        found.append(f"names: `{schema['propertyNames']['pattern']}`")
    inner = [schema["items"]] if "items" in schema else schema.get("anyOf", [])
    if isinstance(others := schema.get("additionalProperties"), dict):
        inner = [others]
    found += [limits for part in inner if (limits := _limits(_resolved(part, document), document))]
    return "; ".join(found)


def _description(schema: Schema) -> str:
    words = ["*Legacy.*"] if schema.get("deprecated") else []
    words += ["*Not applied.*"] if schema.get("x-not-applied") else []
    words.append(schema["description"])
    words += [
        f"*Legacy spelling:* {choice['description']}" for choice in schema.get("anyOf", ()) if choice.get("deprecated")
    ]
    if "examples" in schema:
        words.append(f"Example: {_code(schema['examples'][0])}")
    return " ".join(words)


def _code(value: Any) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def main() -> None:
    root = Path(__file__).resolve().parents[2]
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else root / PAGE
    target.write_text(reference(root), encoding="utf-8")


if __name__ == "__main__":
    main()
