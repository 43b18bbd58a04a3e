# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# What the containers of a fleet need of their node, looked at before anything is changed, and told in the words of the
# JSON files. Reads files only.

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Iterator, Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError, invalid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node, Storage
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_state import device_ids
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree

_IN_FILE = "in phoenix_lxc_configs.json"


@dataclasses.dataclass(frozen=True)
class Needs:
    """What one container needs of its node."""

    ctid: int
    name: str
    storage: str = ""
    volume_storages: Sequence[str] = ()
    ostemplate: str = ""
    """Empty for what is cloned."""
    anew: bool = False
    """An existing one may be removed and made from its template again."""
    sources: Sequence[str] = ()
    gpus: Sequence[int] = ()


class Lacking(PhoenixError):
    """What the node does not have, each thing on a line of its own."""

    def __init__(self, found: Sequence[tuple[Needs, PhoenixError]], node_name: str) -> None:
        super().__init__(
            f"{node_name} does not have what its containers need",
            remedy="Nothing was changed.",
            code=Code.INPUT,
            problems=[
                {"ctid": needs.ctid, "name": needs.name, "reason": problem.reason, "remedy": problem.remedy}
                for needs, problem in found
            ],
        )
        self._lines = [f"- {needs.ctid} {needs.name}: {problem}" for needs, problem in found]

    def __str__(self) -> str:
        return "\n".join([f"{self.reason}:", *self._lines, self.remedy])


def check(node: Node, containers: Sequence[Needs]) -> dict[str, t.Any]:
    """Raise for everything that the containers need and the node does not have."""
    present = _Present(node)
    found = [(needs, problem) for needs in containers for problem in present.problems(needs)]
    if found:
        # Where there is no Proxmox VE, that is what is wrong.
        node.check_is_pve()
        raise Lacking(found, node.name)
    return {"changed": False, "problems": []}


class _Present:
    """What the node has."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._storages = node.storages()
        self._ctids = frozenset(node.ctids())
        self._gpus = gpus_of(node)

    def problems(self, needs: Needs) -> Iterator[PhoenixError]:
        if needs.storage:
            yield from self._storage("storage_pool", needs.storage)
        for name in dict.fromkeys(needs.volume_storages):
            yield from self._storage("volumes[].pool", name)
        if needs.ostemplate and (needs.anew or needs.ctid not in self._ctids):
            yield from self._template(needs.ostemplate)
        for source in dict.fromkeys(needs.sources):
            if not self._node.path(source).is_dir():
                yield invalid("mount_points[].host_path or shared_volumes", source,
                              f"is no directory of {self._node.name}",
                              f"Make it there: `mkdir -p {source}`, or correct the path.")  # fmt: skip
        for gpu in needs.gpus:
            if self._gpus is not None and gpu not in self._gpus:
                yield invalid("gpu_assignment", gpu, f"is no GPU of {self._node.name}, which has {_listed(self._gpus)}",
                              f"Correct it {_IN_FILE}.")  # fmt: skip

    def _storage(self, key: str, name: str) -> Iterator[PhoenixError]:
        have = [known.name for known in self._storages.values() if not _storage_problem(known, self._node.name)]
        if name not in self._storages:
            yield invalid(key, name, f"is no storage of {self._node.name}, whose containers can lie on {_listed(have)}",
                          f"Correct it {_IN_FILE}.")  # fmt: skip
        elif problem := _storage_problem(self._storages[name], self._node.name, key, _listed(have)):
            yield problem

    def _template(self, ostemplate: str) -> Iterator[PhoenixError]:
        name, colon, volume = ostemplate.partition(":")
        if not ostemplate.startswith("/") and (not colon or name not in self._storages):
            have = [known.name for known in self._storages.values() if "vztmpl" in known.content]
            yield invalid("template", ostemplate,
                          f"names no storage of {self._node.name}, whose templates can lie on {_listed(have)}",
                          f"Write STORAGE:vztmpl/FILE or an absolute path {_IN_FILE}.")  # fmt: skip
            return
        tarball = self._node.template_file(ostemplate)
        if tarball and not (path := self._node.path(tarball)).is_file():
            beside = _listed(sorted(found.name for found in path.parent.glob("*.tar.*")))
            fetch = f"Download it: `pveam update`, `pveam download {name} {volume.removeprefix('vztmpl/')}`"
            remedy = "Put it there" if ostemplate.startswith("/") else fetch
            yield invalid("template", ostemplate,
                          f"is not on {self._node.name}: /{path.parent.relative_to(self._node.root)} has {beside}",
                          f"{remedy}, or correct it {_IN_FILE}.")  # fmt: skip


def _storage_problem(storage: Storage, node_name: str, key: str = "", have: str = "") -> PhoenixError | None:
    """Why a container of that node cannot lie on it."""
    name, options = storage.name, storage.options
    other = f"containers of {node_name} can lie on {have}"
    # A flag that stands alone is set.
    if options.get("disable", "0") != "0":
        return invalid(key, name, f"is disabled; {other}",
                       f"Enable it: `pvesm set {name} --disable 0`, or correct it {_IN_FILE}.")  # fmt: skip
    nodes = options.get("nodes", node_name).split(",")
    if node_name not in nodes:
        return invalid(key, name, f"is a storage of {', '.join(nodes)} only; {other}",
                       f"Give it to {node_name}, too: `pvesm set {name} --nodes {','.join([*nodes, node_name])}`, "
                       f"or correct it {_IN_FILE}.")  # fmt: skip
    if "rootdir" not in storage.content:
        content = ",".join([*sorted(storage.content), "rootdir"])
        return invalid(key, name, f"may not hold containers (content rootdir); {other}",
                       f"Allow it: `pvesm set {name} --content {content}`, or correct it {_IN_FILE}.")  # fmt: skip
    return None


def gpus_of(node: Node) -> tuple[int, ...] | None:
    """The GPUs that the driver lists, or that it will list once it is there. None when nobody can tell."""
    if listed := tuple(gpu.index for gpu in node.gpus()):
        return listed
    tree = Tree(node.root)
    return tuple(range(len(device_ids(tree)))) if tree.names("sys/bus/pci/devices") else None


def _listed(names: Sequence[object]) -> str:
    return ", ".join(map(str, names)) or "none"
