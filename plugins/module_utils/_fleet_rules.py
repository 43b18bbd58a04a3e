# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# What both files have to fulfil beyond their schemas. validate finds everything in one go. No I/O.

from __future__ import annotations

import dataclasses
import itertools
import re
import typing as t
from collections.abc import Iterator, Mapping

from ansible_collections.phoenix.hypervisor.plugins.module_utils import (
    _fleet_gpu_rules,
    _fleet_network_rules,
    _fleet_secrets,
    _schema,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet import Problem
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_model import (
    DEPTHS,
    FEATURES,
    around,
    cycles,
    feature_flags,
    levels,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_view import (
    CONTAINERS,
    PARENT_KEYS,
    Entry,
    Rule,
    View,
    build,
    refusal,
    some,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import check_snapshot_name

# Of the distributions that Proxmox VE has templates of.
_NO_SYSTEMD = re.compile("alpine|devuan")


@dataclasses.dataclass(frozen=True)
class Schemas:
    lxc: Mapping[str, t.Any]
    hypervisor: Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Findings:
    errors: list[Problem]
    warnings: list[Problem]


def validate(lxc: object, hypervisor: object, schemas: Schemas, names: tuple[str, str]) -> Findings:
    """All errors and warnings of both files, whose names go into the messages."""
    refused = (
        _schema.check(lxc, schemas.lxc, names[0]),
        _schema.check(hypervisor, schemas.hypervisor, names[1]),
    )
    paths = ({problem.path for problem in refused[0]}, {problem.path for problem in refused[1]})
    view = build(lxc, hypervisor, names, paths)
    secrets = dict(
        itertools.chain(
            _fleet_secrets.clear_text(lxc, names[0], paths[0]),
            _fleet_secrets.clear_text(hypervisor, names[1], paths[1]),
        )
    )
    found = [problem for rule in ERRORS for problem in rule(view)]
    # A rule knows more about a value than the schema does, and of a secret nothing else is said, least of all itself.
    known = {(problem.file, problem.path) for problem in secrets}
    found = [problem for problem in found if (problem.file, problem.path) not in known]
    known |= {(problem.file, problem.path) for problem in found}
    rest = [problem for part in refused for problem in part if (problem.file, problem.path) not in known]
    warnings = [problem for rule in WARNINGS for problem in rule(view)]
    warnings += _not_applied(names[0], view.lxc, schemas.lxc)
    warnings += _not_applied(names[1], view.hypervisor, schemas.hypervisor)
    return Findings(
        *(
            sorted((_fleet_secrets.without(problem, secrets.values()) for problem in problems), key=_place)
            for problems in ([*rest, *found, *secrets], warnings)
        )
    )


def _place(problem: Problem) -> tuple[t.Any, ...]:
    parts = re.split(r"(\d+)", problem.path)
    return problem.file, [(int(part), "") if part.isdigit() else (-1, part) for part in parts], problem.wrong


def _not_applied(file: str, document: Mapping[str, t.Any], schema: Mapping[str, t.Any]) -> Iterator[Problem]:
    """One for a file: a fleet that came from the first scripts has many."""
    places: dict[str, dict[str, None]] = {}
    for way in _schema.not_applied(document, schema):
        of_container = way[0] == "lxc_configs"
        ctids = places.setdefault(".".join(way[2:] if of_container else way), {})
        ctids |= {way[1]: None} if of_container else {}
    if places:
        found = (f"{key} ({some(list(ctids), ', ')})" if ctids else key for key, ctids in sorted(places.items()))
        yield Problem(file, "$", None, f"nothing applies {', '.join(found)}",
                      "Bring about in a play of your own what you need of it, or remove it.")  # fmt: skip


def parents_exist(view: View) -> Iterator[Problem]:
    for entry in view.containers.values():
        if entry.parent is None:
            if not any(key in entry.raw for key in (*PARENT_KEYS, "template")):
                yield entry.problem((), None, "it has neither a parent nor a template to be made from",
                                    'Add "clone_from_template_ctid" with the id of a layer, or "template" with a '
                                    "container template.")  # fmt: skip
        elif entry.parent not in view.containers and not _is_written(view, entry.parent):
            yield entry.problem((entry.parent_key,), str(entry.parent), f"there is no container {entry.parent}",
                                f"Add it to lxc_configs, or write the id of a layer: {_layers(view)}.")  # fmt: skip


def _is_written(view: View, ctid: int) -> bool:
    """Whether a container is in the file, even if the schema refuses all of it."""
    return str(ctid) in view.written


def _layers(view: View) -> str:
    return some([str(entry.ctid) for entry in view.layers()], ", ") or "there is none yet"


def one_parent_key(view: View) -> Iterator[Problem]:
    for entry in view.containers.values():
        wanted, older = (entry.fit.get(key) for key in PARENT_KEYS)
        if wanted and older and wanted != older:
            yield entry.problem((PARENT_KEYS[1],), older, f"{older} differs from {PARENT_KEYS[0]}, which is {wanted}",
                                f"Remove {PARENT_KEYS[1]}.")  # fmt: skip


def parents_are_layers(view: View) -> Iterator[Problem]:
    for entry in view.containers.values():
        parent = view.parent(entry)
        if parent is None:
            continue
        if "is_template" not in parent.raw or parent.fit.get("is_template") is False:
            yield entry.problem((entry.parent_key,), str(parent.ctid), f"its parent {parent.ctid} is no layer",
                                f"Set is_template to true in {parent.ctid}, or write the id of a layer: "
                                f"{_layers(view)}.")  # fmt: skip
        elif "template_snapshot_name" not in parent.raw:
            yield entry.problem((entry.parent_key,), str(parent.ctid),
                                f"its parent {parent.ctid} has no snapshot to clone from",
                                f"Add template_snapshot_name to {parent.ctid}.")  # fmt: skip


def layers_are_sealed(view: View) -> Iterator[Problem]:
    for entry in view.layers():
        if "template_snapshot_name" not in entry.raw:
            yield entry.problem(("template_snapshot_name",), None, "a layer is sealed under a name, and there is none",
                                'Add "template_snapshot_name": "docker-snapshot" or the like, or set is_template '
                                "to false.")  # fmt: skip


def snapshot_names(view: View) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for entry in view.containers.values():
        name = entry.raw.get("template_snapshot_name")
        if not isinstance(name, str):
            continue
        if said := refusal("name", check_snapshot_name, name):
            yield entry.problem(("template_snapshot_name",), name, *said)
        elif name in first:
            yield entry.problem(("template_snapshot_name",), name,
                                f"layer {first[name]} has the snapshot name {name!r} as well",
                                "Give every layer a snapshot name of its own.")  # fmt: skip
        first.setdefault(name, entry.ctid)


def no_circles(view: View) -> Iterator[Problem]:
    parents = {entry.ctid: [entry.parent] for entry in view.containers.values() if entry.parent is not None}
    for circle in cycles(parents):
        entry = view.containers[circle[0]]
        yield entry.problem((entry.parent_key,), str(entry.parent),
                            f"a circle: {around(circle)}, each cloned from the next",
                            "Give one of them another parent, or a template instead of a parent.")  # fmt: skip


def dependencies(view: View) -> Iterator[Problem]:
    needed = {
        entry.ctid: [int(text) for text in entry.fit.get("dependencies", ())] for entry in view.containers.values()
    }
    for ctid, others in needed.items():
        for index, other in enumerate(others):
            if other not in view.containers and not _is_written(view, other):
                yield view.containers[ctid].problem(("dependencies", index), str(other),
                                                    f"there is no container {other} to depend on",
                                                    "Add it to lxc_configs, or remove it from the list.")  # fmt: skip
    before = {ctid: {*needed[ctid], *_parent(view, ctid)} for ctid in needed}
    circles = cycles(before)
    for circle in circles:
        edges = zip(circle, [*circle[1:], circle[0]], strict=True)
        # A circle of parents alone is no_circles' to report.
        waiting = next(((ctid, other) for ctid, other in edges if other in needed[ctid]), None)
        if waiting is not None:
            ctid, other = waiting
            yield view.containers[ctid].problem(("dependencies", needed[ctid].index(other)), str(other),
                                                f"a circle: {around(circle)}, each waits for the next",
                                                "Remove one of these dependencies.")  # fmt: skip
    if not circles:
        yield from _too_deep(view, before)


def _too_deep(view: View, before: dict[int, set[int]]) -> Iterator[Problem]:
    known = {ctid: others & before.keys() for ctid, others in before.items()}
    for ctid, level in levels(known).items():
        if level == DEPTHS:
            entry = view.containers[ctid]
            key = "dependencies" if "dependencies" in entry.raw else entry.parent_key
            yield entry.problem((key,), entry.raw.get(key),
                                f"{level} containers have to be made before it, one after the other, and at most "
                                f"{DEPTHS - 1} can be",
                                "Clone it from a layer nearer to the template, or let it depend on less.")  # fmt: skip


def _parent(view: View, ctid: int) -> tuple[int, ...]:
    parent = view.containers[ctid].parent
    return () if parent is None else (parent,)


def same_privilege(view: View) -> Iterator[Problem]:
    for entry in view.containers.values():
        parent = view.parent(entry)
        own = entry.fit.get("unprivileged")
        others = None if parent is None else parent.fit.get("unprivileged")
        if parent is not None and own is not None and others is not None and own != others:
            words = {True: "unprivileged", False: "privileged"}
            yield entry.problem(("unprivileged",), own,
                                f"it is {words[own]}, its parent {parent.ctid} is {words[others]}, and a clone cannot "
                                "change that", f"Write {str(others).lower()}, or change the whole chain.")  # fmt: skip


def disks_never_shrink(view: View) -> Iterator[Problem]:
    for entry in view.containers.values():
        parent = view.parent(entry)
        size = entry.fit.get("storage_size_gb")
        least = None if parent is None else parent.fit.get("storage_size_gb")
        if parent is not None and size is not None and least is not None and size < least:
            yield entry.problem(("storage_size_gb",), size,
                                f"{size} GiB are less than the {least} GiB of its parent {parent.ctid}, and a disk "
                                "never shrinks", f"Write {least} or more.")  # fmt: skip


def no_binds_where_snapshots_are(view: View) -> Iterator[Problem]:
    shared = list(view.shared_mounts())
    for entry in view.containers.values():
        places = [path for path, ctid, _inside in shared if ctid == entry.ctid]
        own = bool(entry.fit.get("mount_points"))
        if entry.is_layer:
            wrong = f"{entry.ctid} is a layer, and with a directory of the node in it, it cannot be sealed"
            instead = "Mount the directory in the containers that are cloned from the layer."
            if own:
                yield entry.problem(("mount_points",), "a list", wrong, instead)
            for path in places:
                yield Problem(view.hypervisor_file, path, str(entry.ctid), wrong, instead)
        elif entry.fit.get("enable_lifecycle_snapshots") is True and (own or places):
            source = entry.at("mount_points") if own else f"{places[0]} of {view.hypervisor_file}"
            yield entry.problem(("enable_lifecycle_snapshots",), True,
                                f"a container with a directory of the node in it ({source}) has no snapshots",
                                "Write false, or remove the directory.")  # fmt: skip


def shared_mounts_exist(view: View) -> Iterator[Problem]:
    for path, ctid, _inside in view.shared_mounts():
        if ctid not in view.containers and not _is_written(view, ctid):
            yield Problem(view.hypervisor_file, path, str(ctid), f"there is no container {ctid} to mount it in",
                          f"Add it to lxc_configs in {view.lxc_file}, or remove it here.")  # fmt: skip


def nodes_are_known(view: View) -> Iterator[Problem]:
    if not view.nodes and not view.nodes_are_refused:
        yield Problem(view.hypervisor_file, "$.nodes", None, "nothing tells the address of the node",
                      'Add "nodes": {"pve1": {"address": "10.0.0.13"}}, or network.interfaces.address.')  # fmt: skip
    if not view.nodes:
        return
    names = ", ".join(f'"{name}"' for name in view.nodes)
    for entry in view.containers.values():
        node = entry.fit.get("node")
        if "node" not in entry.raw and len(view.nodes) > 1:
            yield entry.problem(("node",), None, "the fleet has several nodes, and the container names none",
                                f'Add "node" with one of {names}.')  # fmt: skip
        elif node is not None and node not in view.nodes:
            yield entry.problem(("node",), node, f'there is no node "{node}"',
                                f"Write one of {names}, or add it to nodes in {view.hypervisor_file}.")  # fmt: skip


def parents_are_near(view: View) -> Iterator[Problem]:
    for entry in view.containers.values():
        parent = view.parent(entry)
        own = view.node_of(entry)
        others = None if parent is None else view.node_of(parent)
        if parent is not None and own and others and own != others and {own, others} <= set(view.nodes):
            key = "node" if "node" in entry.raw else entry.parent_key
            yield entry.problem((key,), entry.fit.get(key),
                                f'it lives on "{own}", its parent {parent.ctid} on "{others}"',
                                f"A clone stays on its parent's node: build the layer on \"{own}\" too, "
                                "under an id of its own.")  # fmt: skip


def features_are_known(view: View) -> Iterator[Problem]:
    for entry in view.containers.values():
        features = entry.fit.get("features")
        known = {*FEATURES, *(["portainer"] if entry.fit.get("portainer_role") in ("server", "agent") else [])}
        for index, feature in enumerate(features if isinstance(features, list) else ()):
            if feature not in known:
                yield entry.problem(("features", index), feature, f'nothing is done for the feature "{feature}"',
                                    f"The playbooks know {', '.join(FEATURES)}; give the container a play of your "
                                    "own, or remove it.")  # fmt: skip


def systemd_has_nesting(view: View) -> Iterator[Problem]:
    """One for all: what Proxmox VE itself warns of at every start of such a container."""
    found = [str(entry.ctid) for entry in view.containers.values() if _lacks_nesting(entry)]
    if found:
        yield Problem(view.lxc_file, CONTAINERS, None,
                      f"{some(found, ', ')} {'have' if found[1:] else 'has'} no nesting, without which systemd "
                      "confines no service: systemd-networkd, and with it the network, may not start",
                      'Add "nesting=1" to pct_options.')  # fmt: skip


def _lacks_nesting(entry: Entry) -> bool:
    flags, template = feature_flags(entry.fit), entry.fit.get("template", "")
    refused = "pct_options" in entry.raw and "pct_options" not in entry.fit
    # A clone of which nothing is said has what its parent has.
    unknown = flags is None and (entry.parent is not None or not template)
    return not refused and not unknown and not _NO_SYSTEMD.search(template) and not (flags or {}).get("nesting")


ERRORS: tuple[Rule, ...] = (
    parents_exist,
    one_parent_key,
    parents_are_layers,
    layers_are_sealed,
    snapshot_names,
    no_circles,
    dependencies,
    same_privilege,
    disks_never_shrink,
    no_binds_where_snapshots_are,
    shared_mounts_exist,
    nodes_are_known,
    parents_are_near,
    *_fleet_network_rules.ERRORS,
    *_fleet_gpu_rules.ERRORS,
)
WARNINGS: tuple[Rule, ...] = (
    features_are_known,
    systemd_has_nesting,
    *_fleet_network_rules.WARNINGS,
    *_fleet_gpu_rules.WARNINGS,
)
