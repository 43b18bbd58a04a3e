# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# The two documents as the rules look at them: without what the schemas refuse, so that one mistake does not hide the
# others, and a rule never stumbles over a text where a number belongs. No I/O.

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet import Problem
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_model import nodes_of, parent_of
from ansible_collections.phoenix.hypervisor.plugins.module_utils._schema import at

PARENT_KEYS = ("clone_from_template_ctid", "clone_from_ctid")
CONTAINERS = "$.lxc_configs"
_SOME = 10
_NODES = ("$.nodes", "$.network")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A container in the file."""

    file: str
    ctid: int
    path: str
    raw: Mapping[str, t.Any]
    """As it is written."""
    fit: Mapping[str, t.Any]
    """Without what the schema refuses."""

    def at(self, *keys: str | int) -> str:
        path = self.path
        for key in keys:
            path = at(path, key)
        return path

    def problem(self, keys: Sequence[str | int], value: object, wrong: str, instead: str) -> Problem:
        return Problem(self.file, self.at(*keys), value, wrong, instead)

    @property
    def parent(self) -> int | None:
        return parent_of(self.fit)

    @property
    def parent_key(self) -> str:
        return next((key for key in PARENT_KEYS if key in self.fit), PARENT_KEYS[0])

    @property
    def is_layer(self) -> bool:
        return self.fit.get("is_template") is True


@dataclasses.dataclass(frozen=True)
class View:
    """Both files."""

    lxc_file: str
    hypervisor_file: str
    lxc: Mapping[str, t.Any]
    hypervisor: Mapping[str, t.Any]
    containers: Mapping[int, Entry]
    nodes: Mapping[str, Mapping[str, t.Any]]
    """The nodes by their names; the only one under its default name when the file does not name any."""
    written: Collection[str]
    """The ids in the containers' file, those of refused containers too."""
    nodes_are_refused: bool
    """Whether the schema refuses something about the nodes, so that it says nothing that some seem to be missing."""

    def parent(self, entry: Entry) -> Entry | None:
        return None if entry.parent is None else self.containers.get(entry.parent)

    def node_of(self, entry: Entry) -> str | None:
        if "node" in entry.raw:
            return entry.fit.get("node")
        return next(iter(self.nodes)) if len(self.nodes) == 1 else None

    def layers(self) -> list[Entry]:
        return [entry for entry in self.containers.values() if entry.is_layer]

    def at_boot(self) -> list[Entry]:
        return [entry for entry in self.containers.values() if entry.fit.get("start_at_boot") is True]

    def shared_mounts(self) -> Iterator[tuple[str, int, str]]:
        """Of every shared directory: its JSON path, the container, and where it is inside."""
        for name, volume in self.hypervisor.get("shared_volumes", {}).items():
            for text, path in volume.get("mounts", {}).items():
                yield at(at(at("$.shared_volumes", name), "mounts"), text), int(text), path


Rule = Callable[[View], Iterator[Problem]]


def build(lxc: object, hypervisor: object, names: tuple[str, str], refused: tuple[set[str], set[str]]) -> View:
    """The view of two documents, given the JSON paths of what their schemas refuse of them."""
    of_lxc, of_hypervisor = _without(lxc, refused[0]), _without(hypervisor, refused[1])
    raw = lxc.get("lxc_configs") if isinstance(lxc, dict) else None
    written = raw if isinstance(raw, dict) else {}
    containers = {
        int(text): Entry(names[0], int(text), at(CONTAINERS, text), written[text], fit)
        for text, fit in sorted(of_lxc.get("lxc_configs", {}).items(), key=lambda item: int(item[0]))
    }
    nodes_are_refused = any(path == "$" or path.startswith(_NODES) for path in refused[1])
    return View(*names, of_lxc, of_hypervisor, containers, nodes_of(of_hypervisor), written, nodes_are_refused)


def _without(document: object, refused: set[str]) -> dict[str, t.Any]:
    if not isinstance(document, dict) or "$" in refused:
        return {}
    if not refused:
        return document
    # Inside a list nothing can be left out without moving the rest, so the whole list is.
    lists = {path[: index.start()] for path in refused for index in re.finditer(r"\[\d+\]", path)}
    return _kept(document, "$", refused | lists)


def _kept(value: dict[str, t.Any], path: str, refused: set[str]) -> dict[str, t.Any]:
    return {
        key: _kept(member, below, refused) if isinstance(member, dict) else member
        for key, member in value.items()
        if (below := at(path, key)) not in refused
    }


def refusal(key: str, check: Callable[[t.Any], object], value: object) -> tuple[str, str] | None:
    """What a check of arguments says against a value, as a problem's two texts; the key is what it calls the value."""
    try:
        check(value)
    except PhoenixError as error:
        return error.reason.removeprefix(f"{key}: "), error.remedy
    return None


def some(words: Sequence[str], separator: str) -> str:
    """A list for a message, cut where it becomes too long to read."""
    return separator.join([*words[:_SOME], *(["..."] if words[_SOME:] else [])])
