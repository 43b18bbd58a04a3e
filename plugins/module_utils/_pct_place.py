# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# Whether what a container is about to use is there on the node.

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import invalid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node, Storage


def check_place(node: Node, *, storages: Sequence[str], bridges: Sequence[str], ostemplate: str | None) -> None:
    known = node.storages()
    for name in storages:
        _check_storage(name, known)
    for bridge in bridges:
        if not node.has_bridge(bridge):
            raise invalid("bridge", bridge, f"does not exist on node {node.name}",
                          "Create the bridge in /etc/network/interfaces, or name an existing one.")  # fmt: skip
    if ostemplate is not None:
        _check_template(node, ostemplate, known)


def _check_storage(name: str, known: Mapping[str, Storage]) -> None:
    if name not in known:
        raise invalid("storage", name, "is not a storage of this node",
                      f"Use one of: {', '.join(sorted(known))}.")  # fmt: skip
    if "rootdir" not in known[name].content:
        able = sorted(storage.name for storage in known.values() if "rootdir" in storage.content)
        raise invalid("storage", name, "is not allowed to hold containers (content rootdir)",
                      f"Use one of: {', '.join(able) or 'none so far'}, or add rootdir to its content.")  # fmt: skip


def _check_template(node: Node, ostemplate: str, known: Mapping[str, Storage]) -> None:
    storage, colon, _volume = ostemplate.partition(":")
    if not ostemplate.startswith("/") and (not colon or storage not in known):
        raise invalid("ostemplate", ostemplate, "names no storage of this node",
                      f"Write STORAGE:vztmpl/FILE (storages: {', '.join(known)}) or an absolute path.")  # fmt: skip
    tarball = node.template_file(ostemplate)
    if tarball and not node.path(tarball).is_file():
        raise invalid("ostemplate", ostemplate, f"is not there: {tarball} does not exist on {node.name}",
                      "Download it (`pveam update`, `pveam available`, `pveam download`), "
                      "or correct the name.")  # fmt: skip
