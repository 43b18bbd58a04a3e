# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# What a layer was made from, as one fingerprint, and how it is kept in the description of the layer's snapshot.

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing as t
from collections.abc import Mapping

from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import Snapshot

# Sixteen hexadecimal digits are short enough to read aloud and long enough never to meet their double in a fleet.
_DIGITS = 16
_MARK = "phoenix: "


def fingerprint(recipe: Mapping[str, t.Any], parent: str = "") -> str:
    """The hash of everything that decides what a layer contains, and of the layer it was cloned from."""
    text = json.dumps({"recipe": recipe, "parent": parent}, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def describe(description: str, metadata: Mapping[str, t.Any]) -> str:
    """A snapshot's description: the line for people first, since listsnapshot shows no other, the data after it."""
    human = description.strip("\n")
    if not metadata:
        return human
    data = json.dumps(metadata, sort_keys=True, separators=(", ", ": "), ensure_ascii=False)
    return f"{human}\n{_MARK}{data}"


def read_description(text: str) -> tuple[str, dict[str, t.Any]]:
    """What describe wrote, or somebody else: the text for people and the data."""
    human = []
    metadata: dict[str, t.Any] = {}
    for line in text.strip("\n").split("\n"):
        data = _data(line.removeprefix(_MARK)) if line.startswith(_MARK) else None
        if data is None:
            human.append(line)
        else:
            metadata = data
    return "\n".join(human).strip("\n"), metadata


def snapshot_facts(snapshot: Snapshot) -> dict[str, t.Any]:
    """A snapshot as modules return it."""
    description, metadata = read_description(snapshot.description)
    return {**dataclasses.asdict(snapshot), "description": description, "metadata": metadata}


def _data(text: str) -> dict[str, t.Any] | None:
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None
