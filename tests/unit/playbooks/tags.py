# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The tags of playbooks and tasks, and other words of theirs, as they are written.

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml


class Loader(yaml.SafeLoader):
    """With Ansible's own tags."""


Loader.add_multi_constructor("!", lambda _loader, _tag, _node: "")


def tags_of(node: Any) -> Iterator[str]:
    return words_of(node, "tags")


def words_of(node: Any, key: str) -> Iterator[str]:
    """What stands at that key of plays, blocks and tasks, as one word or a list of them."""
    if isinstance(node, dict):
        words = node.get(key, [])
        yield from words if isinstance(words, list) else [words]
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from words_of(value, key)
