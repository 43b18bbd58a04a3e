# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
import typing as t

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import Snapshot
from ansible_collections.phoenix.hypervisor.plugins.module_utils._lxc_config import decode_text, encode_text
from ansible_collections.phoenix.hypervisor.plugins.module_utils._recipe import (
    describe,
    fingerprint,
    read_description,
    snapshot_facts,
)
from hypothesis import given
from hypothesis import strategies as st

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=8,
)
recipes = st.dictionaries(st.text(max_size=8), json_values, max_size=5)
lines = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=20)
texts = st.lists(lines.filter(lambda line: not line.startswith("phoenix: ")), max_size=4).map("\n".join)


def test_a_fingerprint_stays_the_same_for_ever() -> None:
    """A new way to compute it would make every layer of every fleet stale."""
    assert fingerprint({"features": ["docker", "nvidia"], "driver": "580.105.08"}, "4f6a1c22d09be731") == (
        "41ac9f6213412c14"
    )


@given(recipes, st.text(max_size=16))
def test_a_fingerprint_is_short_and_blind_to_the_order_of_keys(recipe: dict[str, t.Any], parent: str) -> None:
    backwards = dict(reversed(recipe.items()))
    assert re.fullmatch(r"[0-9a-f]{16}", fingerprint(recipe, parent))
    assert fingerprint(backwards, parent) == fingerprint(recipe, parent)


@given(recipes, recipes)
def test_other_recipes_have_other_fingerprints(one: dict[str, t.Any], other: dict[str, t.Any]) -> None:
    # True equals 1 for Python, but not for a recipe.
    assert (fingerprint(one) == fingerprint(other)) is (repr_of(one) == repr_of(other))


def repr_of(value: t.Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key!r}:{repr_of(value[key])}" for key in sorted(value)) + "}"
    return "[" + ",".join(map(repr_of, value)) + "]" if isinstance(value, list) else repr(value)


def test_the_parent_counts() -> None:
    assert len({fingerprint({}), fingerprint({}, "a"), fingerprint({}, "b"), fingerprint({"a": 1}, "a")}) == 4


@pytest.mark.parametrize(
    ("description", "metadata", "text"),
    [
        ("Ubuntu with the base set-up", {}, "Ubuntu with the base set-up"),
        ("line\n", {}, "line"),
        ("", {}, ""),
        ("Sealed", {"b": 1, "a": "ä"}, 'Sealed\nphoenix: {"a": "ä", "b": 1}'),
        ("", {"a": [True, None]}, '\nphoenix: {"a": [true, null]}'),
    ],
    ids=["plain", "newline", "nothing", "both", "metadata"],
)
def test_describe(description: str, metadata: dict[str, t.Any], text: str) -> None:
    assert describe(description, metadata) == text


@pytest.mark.parametrize(
    ("text", "description", "metadata"),
    [
        ("", "", {}),
        ("after live1\n", "after live1", {}),
        ('one\ntwo\nphoenix: {"a": 1}\n', "one\ntwo", {"a": 1}),
        ('phoenix: {"a": 1}\nbelow\n', "below", {"a": 1}),
        ("phoenix: {broken\n", "phoenix: {broken", {}),
        ("phoenix: [1]\n", "phoenix: [1]", {}),
        ("phoenix: rises\n", "phoenix: rises", {}),
        (' phoenix: {"a": 1}\n', ' phoenix: {"a": 1}', {}),
    ],
    ids=["nothing", "somebody-elses", "both", "order", "broken", "a-list", "a-text", "not-at-the-start"],
)
def test_read_description(text: str, description: str, metadata: dict[str, t.Any]) -> None:
    assert read_description(text) == (description, metadata)


@given(texts, recipes)
def test_description_and_metadata_come_back_from_the_file(description: str, metadata: dict[str, t.Any]) -> None:
    """As PVE keeps a description: line by line behind a #, encoded, and with a newline at its end."""
    stored = [encode_text(line) for line in describe(description, metadata).split("\n")]
    assert all(re.fullmatch(r"[ -~]*", line) for line in stored)
    read = "".join(decode_text(line) + "\n" for line in stored)
    assert read_description(read) == (description.strip("\n"), metadata)


def test_a_snapshot_as_modules_return_it() -> None:
    text = describe("sealed", {"fingerprint": "4f6a"})
    assert snapshot_facts(Snapshot("base-snapshot", text + "\n", "first", 1795164487)) == {
        "name": "base-snapshot",
        "description": "sealed",
        "metadata": {"fingerprint": "4f6a"},
        "parent": "first",
        "time": 1795164487,
        "state": "",
    }
