# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::JSONSchema: the check of parameters and of property strings ("name=eth0,bridge=vmbr0"), in PVE's words.
#
# A schema is a plain dictionary with PVE's keys: type, optional, default, minimum, maximum, minLength, maxLength,
# pattern, enum, format (a name of formats.py, or the schema of a property string), items, properties, default_key.

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from .exceptions import ENOENT, ParameterError, PVEError
from .formats import check_named_format, format_size, parse_size

__all__ = [
    "Schema",
    "check_format",
    "format_size",
    "get_standard_option",
    "parse_boolean",
    "parse_property_string",
    "parse_size",
    "print_property_string",
    "validate",
]

Property = Mapping[str, Any]
Schema = Mapping[str, Property]

_UNDEFINED = "property is not defined in schema and the schema does not allow additional properties"
_NUMBER = re.compile(r"[+-]?(\d+\.\d+|\d+\.|\.\d+|\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)

_STANDARD: dict[str, dict[str, Any]] = {
    "pve-vmid": {
        "description": "The (unique) ID of the VM.",
        "type": "integer",
        "format": "pve-vmid",
        "minimum": 100,
        "maximum": 999999999,
    },
    "pve-node": {"description": "The cluster node name.", "type": "string", "format": "pve-node"},
    "pve-storage-id": {
        "description": "The storage identifier.",
        "type": "string",
        "format": "pve-storage-id",
        "format_description": "storage ID",
    },
    "pve-snapshot-name": {
        "description": "The name of the snapshot.",
        "type": "string",
        "format": "pve-configid",
        "maxLength": 40,
    },
    "pve-config-digest": {
        "description": "Prevent changes if current configuration file has a different digest. "
        "This can be used to prevent concurrent modifications.",
        "type": "string",
        "optional": 1,
        "maxLength": 64,
    },
    "skiplock": {
        "description": "Ignore locks - only root is allowed to use this option.",
        "type": "boolean",
        "optional": 1,
    },
    "extra-args": {
        "description": "Extra arguments as array",
        "type": "array",
        "items": {"type": "string"},
        "optional": 1,
    },
    "bwlimit": {
        "description": "Override I/O bandwidth limit (in KiB/s).",
        "type": "number",
        "optional": 1,
        "minimum": 0,
    },
    "mac-addr": {
        "type": "string",
        "description": "Unicast MAC address.",
        "format_description": "XX:XX:XX:XX:XX:XX",
        "optional": 1,
        "format": "mac-addr",
    },
}


def get_standard_option(name: str, **changes: object) -> dict[str, Any]:
    """One of PVE's standard options, with what a method says differently."""
    return {**_STANDARD[name], **changes}


def parse_boolean(text: object) -> int | None:
    word = str(text).lower()
    if word in ("1", "on", "yes", "true"):
        return 1
    return 0 if word in ("0", "off", "no", "false") else None


def validate(
    values: Mapping[str, Any],
    schema: Schema,
    *,
    additional_properties: bool = False,
    message: str = "Parameter verification failed.",
    errno: int = ENOENT,
) -> None:
    """Raise a ParameterError that names everything in values that the schema refuses."""
    errors: dict[str, str] = {}
    _check_object("", schema, values, additional_properties, errors)
    if errors:
        raise ParameterError(errors, message=message, errno=errno)


def check_format(form: str | Schema, value: str, path: str = "") -> None:
    if isinstance(form, str):
        check_named_format(form, value)
    else:
        parse_property_string(form, value, path)


def parse_property_string(schema: Schema, text: str, path: str = "") -> dict[str, Any]:
    """ "eth0,bridge=vmbr0" as a dictionary; the schema may name a key (default_key) that needs no "key=" of its own."""
    found: dict[str, Any] = {}
    default_seen = False
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not part.strip():
            continue
        if not equals:
            key, value = _default_key(schema), part
            if not key:
                raise PVEError("value without key, but schema does not define a default key")
            if default_seen or found.get(key):
                raise PVEError(f"duplicate key in comma-separated list property: {key}")
            default_seen = True
        elif not key or not value:
            raise PVEError("missing key in comma-separated list property")
        elif key in found:
            raise PVEError(f"duplicate key in comma-separated list property: {key}")
        boolean = schema.get(key, {}).get("type") == "boolean"
        parsed = parse_boolean(value) if boolean else None
        found[key] = value if parsed is None else parsed
    errors: dict[str, str] = {}
    _check_object(path, schema, found, False, errors)
    if errors:
        raise _format_error(errors)
    return found


def print_property_string(values: Mapping[str, Any], schema: Schema, skip: Collection[str] = ()) -> str:
    """The opposite, in PVE's order: the default key, what is required, the rest, each sorted."""
    values = {key: value for key, value in values.items() if key not in skip and value is not None}
    errors: dict[str, str] = {}
    required = {key: rule for key, rule in schema.items() if key not in skip}
    _check_object("", required, _with_printed_sizes(values, schema), False, errors)
    if errors:
        raise _format_error(errors)
    default = _default_key(schema)
    order = [default] if default in values else []
    order += [key for key in sorted(values) if not schema[key].get("optional")]
    order += sorted(values)
    parts = []
    for key in dict.fromkeys(order):
        value = _printed(key, values[key], schema[key])
        parts.append(value if key == default else f"{key}={value}")
    return ",".join(parts)


def _with_printed_sizes(values: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    return {key: _printed(key, value, schema[key]) if key in schema else value for key, value in values.items()}


def _printed(key: str, value: object, rule: Property) -> str:
    if rule.get("format") == "disk-size" and isinstance(value, int):
        return format_size(value)
    if "," in str(value):
        raise PVEError(f"illegal value with commas for {key}")
    return str(value)


def _default_key(schema: Schema) -> str:
    return next((key for key, rule in schema.items() if rule.get("default_key")), "")


def _format_error(errors: Mapping[str, str]) -> PVEError:
    error = PVEError("format error")
    error.errors.update(errors)
    return error


def _check_object(
    path: str, schema: Schema, values: Mapping[str, Any], additional_properties: bool, errors: dict[str, str]
) -> None:
    for key, rule in schema.items():
        _check_property(f"{path}.{key}" if path else key, rule, values.get(key), errors)
    if additional_properties:
        return
    for key in values:
        if key not in schema:
            _add(errors, f"{path}.{key}" if path else key, _UNDEFINED)


def _add(errors: dict[str, str], path: str, problem: str) -> None:
    # The literal backslash is PVE's own: join('\n', …) in single quotes.
    errors[path] = f"{errors[path]}\\n{problem}" if path in errors else problem


def _check_property(path: str, rule: Property, value: Any, errors: dict[str, str]) -> None:
    if value is None:
        if not rule.get("optional") and rule.get("type") != "null":
            _add(errors, path, "property is missing and it is not optional")
        return
    if problem := _type_problem(str(rule.get("type", "any")), value):
        _add(errors, path, problem)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_property(f"{path}[{index}]", rule.get("items", {}), item, errors)
    elif isinstance(value, dict):
        if "properties" in rule:
            _check_object(path, rule["properties"], value, bool(rule.get("additionalProperties")), errors)
    elif problem := _value_problem(rule, str(int(value) if isinstance(value, bool) else value), path):
        _add(errors, path, problem)


def _type_problem(kind: str, value: Any) -> str | None:
    text = str(int(value) if isinstance(value, bool) else value)
    if kind in ("array", "object"):
        fits = isinstance(value, list if kind == "array" else dict)
        return None if fits else f"type check ('{kind}') failed"
    if isinstance(value, list | dict):
        found = "ARRAY" if isinstance(value, list) else "HASH"
        return None if kind == "any" else f"type check ('{kind}') failed - got {found}"
    fits = (
        (kind == "boolean" and text in ("0", "1"))
        or (kind == "integer" and _INTEGER.fullmatch(text) is not None)
        or (kind == "number" and _NUMBER.fullmatch(text) is not None)
        or kind not in ("boolean", "integer", "number")
    )
    return None if fits else f"type check ('{kind}') failed - got '{text}'"


def _value_problem(rule: Property, text: str, path: str) -> str | None:
    if form := rule.get("format"):
        try:
            check_format(form, text, path)
        except PVEError as error:
            return f"invalid format - {error.text()}"
    if (pattern := rule.get("pattern")) and not re.fullmatch(pattern, text, re.ASCII):
        return "value does not match the regex pattern"
    if (longest := rule.get("maxLength")) is not None and len(text) > longest:
        return f"value may only be {longest} characters long"
    if (shortest := rule.get("minLength")) is not None and len(text) < shortest:
        return f"value must be at least {shortest} characters long"
    if _NUMBER.fullmatch(text):
        if (most := rule.get("maximum")) is not None and float(text) > most:
            return f"value must have a maximum value of {most}"
        if (least := rule.get("minimum")) is not None and float(text) < least:
            return f"value must have a minimum value of {least}"
    if (words := rule.get("enum")) and text not in words:
        return f"value '{text}' does not have a value in the enumeration '{', '.join(words)}'"
    return None
