# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# A fleet as the two JSON files describe it, with every legacy spelling already turned into the canonical one. Nobody
# further down reads the JSON again. No I/O.

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something wrong in one of the files: where, what it is, and what to write instead."""

    file: str
    path: str
    """A JSON path such as C($.lxc_configs.903.memory_mb)."""
    value: t.Any
    wrong: str
    instead: str

    def __str__(self) -> str:
        return f"{self.file}: {self.path}: {self.wrong}. {self.instead}"


@dataclasses.dataclass(frozen=True)
class Node:
    name: str
    address: str
    """Where ssh finds it."""


@dataclasses.dataclass(frozen=True)
class Container:
    ctid: int
    name: str
    node: str
    is_layer: bool
    snapshot: str | None
    parent: int | None
    ostemplate: str | None
    gpus: tuple[int, ...]
    features: tuple[str, ...]
    options: Mapping[str, t.Any]
    """The arguments of lxc_container that are the container's own (hostname, cores, rootfs, networks, ...)."""
    settings: Mapping[str, t.Any]
    """What roles need beside that (application, vllm, ports, health_check, firewall, verify, ...)."""


@dataclasses.dataclass(frozen=True)
class Fleet:
    nodes: Mapping[str, Node]
    containers: Mapping[int, Container]
    settings: Mapping[str, t.Any]
    """What holds for the whole fleet (nvidia, timezone, cache_dir, docker, ...)."""
