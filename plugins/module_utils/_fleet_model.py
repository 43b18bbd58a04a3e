# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# From the two JSON documents to a Fleet: every legacy spelling ends here. Only documents without errors come here
# (_fleet_rules.validate), so nothing is checked again. No I/O.

from __future__ import annotations

import graphlib
import re
import typing as t
from collections.abc import Collection, Iterable, Mapping

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet import Container, Fleet, Node
from ansible_collections.phoenix.hypervisor.plugins.module_utils._gpu import parse_assignment
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia import identity_from_name
from ansible_collections.phoenix.hypervisor.plugins.module_utils._yaml_text import VAULT_REFERENCE

Document = Mapping[str, t.Any]

DEFAULT_NODE = "pve1"
# What the playbooks do for a container when its features name it.
FEATURES = ("base_setup", "nvidia", "docker", "vllm")
# As many depths as the playbook containers.yml plays.
DEPTHS = 8

# JSON key -> argument of lxc_container
_OPTIONS = {
    "name": "hostname",
    "cores": "cores",
    "memory_mb": "memory_mb",
    "swap_mb": "swap_mb",
    "unprivileged": "unprivileged",
    "start_at_boot": "onboot",
    "tags": "tags",
}
_STARTUP = (("order", "boot_order"), ("up", "boot_delay"))
_NETWORK = ("name", "bridge", "ip", "gw", "hwaddr", "firewall", "tag", "mtu")
# JSON key -> key of Container.settings
_SETTINGS = {
    "application_script": "application",
    "build_memory_mb": "build_memory_mb",
    "portainer_role": "portainer_role",
    "ports": "ports",
    "health_check": "health_check",
    "firewall": "firewall",
    "tests": "tests",
    "integration_tests": "integration_tests",
    "run_integration_tests": "run_integration_tests",
    "verify": "verify",
    "lxc_options": "lxc_options",
    "id_maps": "id_maps",
    "mount_points": "mount_points",
    "apparmor_profile": "apparmor_profile",
    "apparmor_manages_nesting": "apparmor_manages_nesting",
    "enable_lifecycle_snapshots": "enable_lifecycle_snapshots",
}
VLLM = (
    "model",
    "served_model_name",
    "model_type",
    "port",
    "tensor_parallel_size",
    "gpu_memory_utilization",
    "max_model_len",
    "quantization",
    "trust_remote_code",
    "parameters",
    "args",
)
# group and key of vllm_engine_config -> the setting; what is none of VLLM is an option of vLLM's command line
ENGINE = {
    ("ModelConfig", "model"): "model",
    ("ModelConfig", "trust_remote_code"): "trust_remote_code",
    ("ModelConfig", "max_model_len"): "max_model_len",
    ("ModelConfig", "dtype"): "dtype",
    ("CacheConfig", "quantization"): "quantization",
    ("CacheConfig", "gpu_memory_utilization"): "gpu_memory_utilization",
    ("ParallelConfig", "tensor_parallel_size"): "tensor_parallel_size",
    ("ServerConfig", "port"): "port",
    ("ServerConfig", "served_model_name"): "served_model_name",
    ("ServerConfig", "host"): "host",
}
# JSON key of the hypervisor file -> key of Fleet.settings. A container has a firewall and tests of its own: those of
# the node need other names, or they would look like a default for every container.
_FLEET_SETTINGS = {
    "timezone": "timezone",
    "docker": "docker",
    "samba": "samba",
    "proxmox_storage_ids": "proxmox_storage_ids",
    "mount_point_base": "mount_point_base",
    "proxmox_defaults": "proxmox_defaults",
    "shared_volumes": "shared_volumes",
    "behavior": "behavior",
    "firewall": "node_firewall",
    "tests": "node_tests",
}
_OF_THEIR_OWN = ("cache_dir", "log_dir")
_NVIDIA = ("install", "runfile_url", "cuda_version", "repo_url", "host_repo_url", "install_vllm_libs")


def normalise(lxc: Document, hypervisor: Document) -> Fleet:
    """The fleet that both files describe."""
    nodes = {name: Node(name, node["address"]) for name, node in nodes_of(hypervisor).items()}
    shared = _shared_mounts(hypervisor)
    documents: Mapping[str, Document] = lxc["lxc_configs"]
    containers = {
        int(text): _container(int(text), documents, next(iter(nodes)), shared.get(int(text), []))
        for text in sorted(documents, key=int)
    }
    return Fleet(nodes=nodes, containers=containers, settings=_fleet_settings(lxc, hypervisor))


def nodes_of(hypervisor: Document) -> dict[str, Document]:
    """The nodes by their names, the only one under its default name when the file does not name any."""
    if named := hypervisor.get("nodes"):
        return dict(sorted(named.items()))
    address = hypervisor.get("network", {}).get("interfaces", {}).get("address")
    return {DEFAULT_NODE: {"address": address.partition("/")[0]}} if address else {}


def parent_of(document: Document) -> int | None:
    text = document.get("clone_from_template_ctid") or document.get("clone_from_ctid")
    return int(text) if text else None


def vllm_settings(document: Document) -> dict[str, t.Any]:
    """vLLM's settings in one shape, from the vllm_ keys and the older vllm_engine_config."""
    settings: dict[str, t.Any] = {}
    parameters: dict[str, t.Any] = {}
    for (group, key), name in ENGINE.items():
        value = document.get("vllm_engine_config", {}).get(group, {}).get(key)
        if value is not None:
            (settings if name in VLLM else parameters)[name] = value
    for name in VLLM:
        if (value := document.get(f"vllm_{name}")) is not None:
            settings[name] = value
    if parameters:
        settings["parameters"] = {**parameters, **settings.get("parameters", {})}
    return {name: settings[name] for name in VLLM if name in settings}


def addresses(value: str | Iterable[str]) -> list[str]:
    """A list of addresses, which older files write as one text."""
    return [word for word in re.split(r"[,;\s]+", value) if word] if isinstance(value, str) else list(value)


def runfile_version(url: str) -> str | None:
    """The driver version that the name of a runfile tells (D3)."""
    named = identity_from_name(url)
    return named.version if named else None


def descendants(fleet: Fleet, ctid: int) -> list[int]:
    """The containers that are cloned from it, and those that are cloned from these."""
    children = [child.ctid for child in fleet.containers.values() if child.parent == ctid]
    return sorted([*children, *(below for child in children for below in descendants(fleet, child))])


def depths(fleet: Fleet) -> dict[int, int]:
    """How many containers are made before each, one after the other: what it is cloned from, what it depends on."""
    before: dict[int, set[int]] = {}
    for container in fleet.containers.values():
        parent = set() if container.parent is None else {container.parent}
        needed = parent | set(container.settings.get("dependencies", ()))
        before[container.ctid] = needed & fleet.containers.keys()
    try:
        return levels(before)
    except graphlib.CycleError:
        raise _circle(before) from None


def levels(before: Mapping[int, Collection[int]]) -> dict[int, int]:
    """How long the longest way is to each, given what comes directly before it."""
    found: dict[int, int] = {}
    for node in graphlib.TopologicalSorter(before).static_order():
        found[node] = max((found[other] + 1 for other in before[node]), default=0)
    return found


def all_features(fleet: Fleet, ctid: int) -> list[str]:
    """The features of a container and of the layers that it is made from, the lowest layer's first."""
    container = fleet.containers[ctid]
    parent = container.parent
    below = [] if parent is None or parent not in fleet.containers else all_features(fleet, parent)
    return [*below, *(feature for feature in container.features if feature not in below)]


def _circle(before: Mapping[int, Collection[int]]) -> PhoenixError:
    return PhoenixError(
        "containers wait for each other in a circle: " + "; ".join(around(circle) for circle in cycles(before)),
        remedy="Give one of them another parent (clone_from_template_ctid), or take away a dependency.",
        code=Code.INPUT,
    )


def around(circle: list[int]) -> str:
    return " -> ".join(str(member) for member in (*circle, circle[0]))


def cycles(edges: Mapping[int, Collection[int]]) -> list[list[int]]:
    """The circles that the edges make, each named once, from its smallest member along the edges."""
    graph = {node: set(targets) for node, targets in edges.items()}
    found = []
    while True:
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            circle = error.args[1][:0:-1]
            start = circle.index(min(circle))
            circle = circle[start:] + circle[:start]
            found.append(circle)
            for node, target in zip(circle, circle[1:] + circle[:1], strict=True):
                graph[node].discard(target)
        else:
            return sorted(found)


def _container(ctid: int, documents: Mapping[str, Document], only_node: str, shared: list[dict[str, str]]) -> Container:
    document = documents[str(ctid)]
    parent = parent_of(document)
    assignment = parse_assignment(document.get("gpu_assignment", "none"))
    features = document.get("features", [])
    return Container(
        ctid=ctid,
        name=document["name"],
        node=document.get("node", only_node),
        is_layer=document.get("is_template", False),
        snapshot=document.get("template_snapshot_name"),
        parent=parent,
        ostemplate=document.get("template") if parent is None else None,
        gpus=tuple(assignment) if not isinstance(assignment, str) else (),
        features=() if isinstance(features, str) else tuple(features),
        options=_options(document, shared),
        settings=_settings(document),
    )


def _options(document: Document, shared: list[dict[str, str]]) -> dict[str, t.Any]:
    options = {argument: document[key] for key, argument in _OPTIONS.items() if key in document}
    options["rootfs"] = {"storage": document["storage_pool"], "size_gb": document["storage_size_gb"]}
    options["networks"] = [_network(document)]
    if (servers := document["network_config"].get("nameservers")) is not None:
        options["nameserver"] = addresses(servers)
    if (flags := feature_flags(document)) is not None:
        options["features"] = flags
    if startup := [f"{word}={document[key]}" for word, key in _STARTUP if key in document]:
        options["startup"] = ",".join(startup)
    if mounts := [*_volumes(document), *_binds(document), *shared]:
        options["mounts"] = mounts
    return options


def _network(document: Document) -> dict[str, t.Any]:
    written = {
        "ip": document.get("static_ip"),
        # Without the interface's own switch PVE does not filter, whatever the container's rules say.
        "firewall": document.get("firewall", {}).get("enabled") or None,
        **document["network_config"],
    }
    if "mac_address" in document:
        written["hwaddr"] = document["mac_address"]
    return {key: written[key] for key in _NETWORK if written.get(key) is not None}


def feature_flags(document: Document) -> dict[str, t.Any] | None:
    """PVE's feature flags as lxc_container takes them, or None when the file says nothing about them."""
    legacy = document.get("features")
    texts = [*(legacy.split(",") if isinstance(legacy, str) else ()), *document.get("pct_options", ())]
    if not texts and "pct_options" not in document and not isinstance(legacy, str):
        return None
    flags: dict[str, t.Any] = {}
    for name, _equals, value in (text.strip().partition("=") for text in texts if text):
        flags[name] = value.split(";") if name == "mount" else value == "1"
    return flags


def _volumes(document: Document) -> list[dict[str, t.Any]]:
    return [
        {"path": volume["mount_point"], "storage": volume["pool"], "size_gb": volume["size_gb"]}
        for key in ("volumes", "zfs_volumes")
        for volume in document.get(key, ())
    ]


def _binds(document: Document) -> list[dict[str, str]]:
    return [
        {"path": mount["container_path"], "source": mount["host_path"]} for mount in document.get("mount_points", ())
    ]


def _shared_mounts(hypervisor: Document) -> dict[int, list[dict[str, str]]]:
    mounts: dict[int, list[dict[str, str]]] = {}
    for _name, volume in sorted(hypervisor.get("shared_volumes", {}).items()):
        for text, path in volume["mounts"].items():
            mounts.setdefault(int(text), []).append({"path": path, "source": volume["host_path"]})
    return mounts


def _settings(document: Document) -> dict[str, t.Any]:
    settings = {name: document[key] for key, name in _SETTINGS.items() if key in document}
    if "dependencies" in document:
        settings["dependencies"] = [int(text) for text in document["dependencies"]]
    if vllm := vllm_settings(document):
        settings["vllm"] = vllm
    return settings


def _fleet_settings(lxc: Document, hypervisor: Document) -> dict[str, t.Any]:
    settings = {name: hypervisor[key] for key, name in _FLEET_SETTINGS.items() if key in hypervisor}
    if nvidia := _nvidia(lxc, hypervisor):
        settings["nvidia"] = nvidia
    paths = hypervisor.get("core_paths", {})
    settings |= {name: paths[name] for name in _OF_THEIR_OWN if name in paths}
    if others := {name: path for name, path in paths.items() if name not in _OF_THEIR_OWN}:
        settings["core_paths"] = others
    if "network" in hypervisor:
        settings["network"] = _fleet_network(hypervisor["network"])
    if "users" in hypervisor:
        users = hypervisor["users"]
        # A hash can be attacked offline, so only a reference to a vault goes any further.
        settings["users"] = {
            key: users[key] for key in users if key != "password_hash" or VAULT_REFERENCE.fullmatch(users[key].strip())
        }
    if "zfs" in hypervisor:
        zfs = {key: value for key, value in hypervisor["zfs"].items() if key != "arc_max"}
        if "arc_max" in hypervisor["zfs"]:
            zfs.setdefault("arc_max_gb", max(1, int(hypervisor["zfs"]["arc_max"]) >> 30))
        settings["zfs"] = zfs
    if "nfs" in hypervisor:
        nfs = hypervisor["nfs"]
        settings["nfs"] = {"exports": [*nfs.get("exports", ()), *nfs.get("shares", ())]}
    return settings


def _nvidia(lxc: Document, hypervisor: Document) -> dict[str, t.Any]:
    """Everything about the driver; its version is what the runfile's name tells (D3)."""
    written = {
        "repo_url": lxc.get("nvidia_repo_url"),
        "runfile_url": lxc.get("nvidia_runfile_url"),
        **hypervisor.get("nvidia", {}),
        **hypervisor.get("nvidia_driver", {}),
    }
    nvidia = {key: written[key] for key in _NVIDIA if written.get(key) is not None}
    version = (
        runfile_version(nvidia.get("runfile_url", ""))
        or written.get("version")
        or written.get("driver_version")
        or lxc.get("nvidia_driver_version")
    )
    return {**nvidia, "version": version} if version else nvidia


def _fleet_network(network: Document) -> dict[str, t.Any]:
    interfaces = dict(network.get("interfaces", {}))
    if "dns_nameservers" in interfaces:
        interfaces["dns_nameservers"] = addresses(interfaces["dns_nameservers"])
    return {**network, **({"interfaces": interfaces} if interfaces else {})}
