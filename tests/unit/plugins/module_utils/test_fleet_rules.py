# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet import Problem
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_model import normalise
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_rules import validate
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.fleet_world import (
    GONE,
    HYPERVISOR,
    JSON,
    LXC,
    PLACES,
    SCHEMAS,
    Edits,
    container,
    edited,
    findings,
    in_hypervisor,
    in_lxc,
    of,
)
from hypothesis import given
from hypothesis import strategies as st


def chain(length: int) -> dict[str, t.Any]:
    """Layers that are each cloned from the one before."""
    edits: dict[str, t.Any] = {"950": GONE, "951": GONE, "902": GONE}
    for number in range(length):
        origin = {"clone_from_template_ctid": str(99 + number)} if number else {"template": "local:vztmpl/u.tar.zst"}
        edits[str(100 + number)] = container(
            f"c{number}",
            f"10.0.0.{100 + number}",
            f"52:54:00:00:00:{number:02X}",
            is_template=True,
            template_snapshot_name=f"s{number}",
            pct_options=["nesting=1"],
            **origin,
        )
    return edits


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param(
            {"950.memory_mb": "2048"},
            [
                of(
                    "950.memory_mb",
                    "2048",
                    '"2048" stands where a whole number belongs',
                    "Write a whole number, such as 2048.",
                )
            ],
            id="a text for a number",
        ),
        pytest.param(
            {"950.memory_mb": 256},
            [of("950.memory_mb", 256, "256 is too small", "Write 512 or more.")],
            id="too little memory",
        ),
        pytest.param(
            {"950.cores": 9000},
            [of("950.cores", 9000, "9000 is too large", "Write 8192 or less.")],
            id="too many cores",
        ),
        pytest.param(
            {"950.storage_size_gb": 0},
            [of("950.storage_size_gb", 0, "0 is too small", "Write 1 or more.")],
            id="too small a disk",
        ),
        pytest.param(
            {"950.memroy_mb": 2048},
            [of("950.memroy_mb", 2048, "the key is not known here", 'Write "memory_mb".')],
            id="a misspelt key",
        ),
        pytest.param(
            {"950.xyzzy": 1},
            [of("950.xyzzy", 1, "the key is not known here", "Remove it; the configuration reference lists the keys.")],
            id="a key that nothing resembles",
        ),
        pytest.param(
            {"950.network_config.zone": "a"},
            [
                of(
                    "950.network_config.zone",
                    "a",
                    "the key is not known here",
                    'Remove it; the keys here are "name", "bridge", "ip", "gw", "hwaddr", "nameservers", '
                    '"firewall", "tag", "mtu", "type", "parent".',
                )
            ],
            id="a key of a small object",
        ),
        pytest.param(
            {"950.unprivileged": GONE},
            [
                of(
                    "950.unprivileged",
                    None,
                    "the key is missing",
                    'Add "unprivileged": false. Whether root inside is an ordinary user on the node. Never '
                    "changes later, and equals the parent's.",
                )
            ],
            id="a missing key",
        ),
        pytest.param(
            {"lxc.lxc_configs": GONE},
            [
                in_lxc(
                    "lxc_configs", None, "the key is missing", 'Add "lxc_configs". The containers, each under its id.'
                )
            ],
            id="no containers",
        ),
        pytest.param(
            {
                "950": GONE,
                "90": {
                    "name": "vllm",
                    "cores": 2,
                    "memory_mb": 2048,
                    "storage_pool": "lxc-disks",
                    "storage_size_gb": 32,
                    "network_config": {"name": "eth0", "bridge": "vmbr0", "ip": "10.0.0.150/24", "gw": "10.0.0.1"},
                    "mac_address": "52:54:00:67:89:B0",
                    "unprivileged": False,
                    "clone_from_template_ctid": "902",
                    "gpu_assignment": "0",
                    "start_at_boot": True,
                },
            },
            [
                of(
                    "90",
                    "90",
                    '"90" cannot be a key here',
                    'Write it, such as "903". A container\'s id, from 100 to 999999999.',
                )
            ],
            id="an id that is none",
        ),
        pytest.param(
            {"950": []},
            [of("950", "a list", "a list stands where an object belongs", "Write an object.")],
            id="no object at all",
        ),
        pytest.param(
            {"950.features": ["docer"]},
            [of("950.features[0]", "docer", '"docer" is not known here', 'Write "docker".')],
            id="unknown feature",
        ),
        pytest.param(
            {"950.features": ["zfs"]},
            [
                of(
                    "950.features[0]",
                    "zfs",
                    '"zfs" is not known here',
                    'Write one of "base_setup", "docker", "nvidia", "vllm", "portainer", "ollama", '
                    '"python_api_service", "dns_server", "nat_gateway", "step_ca", "traefik", "trusted_ca", '
                    '"step_cli".',
                )
            ],
            id="feature that nothing resembles",
        ),
        pytest.param(
            {"950.features": ["docker", "docker"]},
            [of("950.features[1]", "docker", '"docker" is in the list twice', "Name it once.")],
            id="feature twice",
        ),
        pytest.param(
            {"950.features": 1},
            [
                of(
                    "950.features",
                    1,
                    "1 stands where a list or a text belongs",
                    'Write a list or a text, such as ["base_setup", "docker"].',
                )
            ],
            id="features of neither form",
        ),
        pytest.param(
            {"950.features": "nesting"},
            [
                of(
                    "950.features",
                    "nesting",
                    '"nesting" has not the form that belongs here',
                    'Write it, such as "nesting=1". Flags of Proxmox VE, as in nesting=1. Write them as a list '
                    "into pct_options.",
                )
            ],
            id="legacy features that are none",
        ),
        pytest.param(
            {"950.pct_options": ["nesting=2"]},
            [
                of(
                    "950.pct_options[0]",
                    "nesting=2",
                    '"nesting=2" has not the form that belongs here',
                    'Write it, such as "nesting=1". The name of a flag, and 1 or 0.',
                )
            ],
            id="flag that PVE does not know",
        ),
        pytest.param(
            {"950.vllm_gpu_memory_utilization": 0},
            [of("950.vllm_gpu_memory_utilization", 0, "0 is too small", "Write more than 0.")],
            id="share of no GPU memory",
        ),
        pytest.param(
            {"hypervisor.zfs": {"pools": [{"name": "rpool", "raid_level": "single", "disks": []}]}},
            [in_hypervisor("zfs.pools[0].disks", "a list", "the list is too short", "Write 1 or more entries.")],
            id="empty list",
        ),
        pytest.param(
            {"950.application_script": ""},
            [of("950.application_script", "", '"" is too short', 'Write 1 or more characters, such as "vllm_server".')],
            id="empty text",
        ),
        pytest.param(
            {
                "950.memory_mb": 1,
                "950.ports": ["x", "x", "1:1", "1:1", "1:1", "1:1", "1:1", "1:1", "1:1", "1:1", "1:1", "y"],
                "1000": {},
                "hypervisor.version": 1,
            },
            [
                in_hypervisor("version", 1, "1 stands where a text belongs", 'Write a text, such as "1.0.0".'),
                of("950.memory_mb", 1, "1 is too small", "Write 512 or more."),
                of(
                    "950.ports[0]",
                    "x",
                    '"x" has not the form that belongs here',
                    'Write it, such as "8000:8000". A port of the node, a colon, and the port inside.',
                ),
                of(
                    "950.ports[1]",
                    "x",
                    '"x" has not the form that belongs here',
                    'Write it, such as "8000:8000". A port of the node, a colon, and the port inside.',
                ),
                of("950.ports[1]", "x", '"x" is in the list twice', "Name it once."),
                of("950.ports[3]", "1:1", '"1:1" is in the list twice', "Name it once."),
                of("950.ports[4]", "1:1", '"1:1" is in the list twice', "Name it once."),
                of("950.ports[5]", "1:1", '"1:1" is in the list twice', "Name it once."),
                of("950.ports[6]", "1:1", '"1:1" is in the list twice', "Name it once."),
                of("950.ports[7]", "1:1", '"1:1" is in the list twice', "Name it once."),
                of("950.ports[8]", "1:1", '"1:1" is in the list twice', "Name it once."),
                of("950.ports[9]", "1:1", '"1:1" is in the list twice', "Name it once."),
                of("950.ports[10]", "1:1", '"1:1" is in the list twice', "Name it once."),
                of(
                    "950.ports[11]",
                    "y",
                    '"y" has not the form that belongs here',
                    'Write it, such as "8000:8000". A port of the node, a colon, and the port inside.',
                ),
                of(
                    "1000",
                    None,
                    "it has neither a parent nor a template to be made from",
                    'Add "clone_from_template_ctid" with the id of a layer, or "template" with a container template.',
                ),
                of("1000.cores", None, "the key is missing", 'Add "cores": 4. The number of CPU cores.'),
                of("1000.memory_mb", None, "the key is missing", 'Add "memory_mb": 2048. The memory in MiB.'),
                of(
                    "1000.name",
                    None,
                    "the key is missing",
                    'Add "name": "BaseTemplateDockerGPU". The name: host name, inventory host, and what Proxmox '
                    "VE shows. No two containers share one.",
                ),
                of("1000.network_config", None, "the key is missing", 'Add "network_config". Its network interface.'),
                of(
                    "1000.storage_pool",
                    None,
                    "the key is missing",
                    'Add "storage_pool": "lxc-disks". The Proxmox VE storage of its root file system.',
                ),
                of(
                    "1000.storage_size_gb",
                    None,
                    "the key is missing",
                    'Add "storage_size_gb": 32. The size of its root file system in GiB, at least its parent\'s.',
                ),
                of(
                    "1000.unprivileged",
                    None,
                    "the key is missing",
                    'Add "unprivileged": false. Whether root inside is an ordinary user on the node. Never '
                    "changes later, and equals the parent's.",
                ),
            ],
            id="everything at once, in order",
        ),
        pytest.param(
            {"lxc.lxc_configs": GONE, "hypervisor.network": GONE, "hypervisor.nvidia_driver": GONE},
            [
                in_hypervisor(
                    "nodes",
                    None,
                    "nothing tells the address of the node",
                    'Add "nodes": {"pve1": {"address": "10.0.0.13"}}, or network.interfaces.address.',
                ),
                in_lxc(
                    "lxc_configs", None, "the key is missing", 'Add "lxc_configs". The containers, each under its id.'
                ),
            ],
            id="two files that are none",
        ),
    ],
)
def test_what_the_schemas_refuse(edits: Edits, expected: list[Problem]) -> None:
    found = findings(edits)
    assert found.errors == expected
    assert [problem for problem in found.warnings if problem.path != "$"] == []


def test_what_no_role_applies_is_named_once_for_a_file() -> None:
    found = findings(
        {
            "950.apparmor_profile": "unconfined",
            "951.apparmor_profile": "unconfined",
            "951.mount_points": [
                {"host_path": "/a", "container_path": "/a", "owner_uid": 1},
                {"host_path": "/b", "container_path": "/b", "owner_uid": 1},
            ],
            "hypervisor.zfs": {"arc_max_gb": 8},
            "hypervisor.core_paths": {"cache_dir": "/var/cache/p", "log_dir": "/var/log/p"},
        }
    )
    instead = "Bring about in a play of your own what you need of it, or remove it."
    assert found.errors == []
    assert found.warnings == [
        Problem(HYPERVISOR, "$", None, "nothing applies core_paths.log_dir, zfs", instead),
        Problem(LXC, "$", None, "nothing applies apparmor_profile (950, 951), mount_points.owner_uid (951)", instead),
    ]


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param(
            {"950.clone_from_template_ctid": "999"},
            [
                of(
                    "950.clone_from_template_ctid",
                    "999",
                    "there is no container 999",
                    "Add it to lxc_configs, or write the id of a layer: 900, 902.",
                )
            ],
            id="missing parent",
        ),
        pytest.param(
            {
                "900.is_template": False,
                "902.clone_from_template_ctid": GONE,
                "902.is_template": False,
                "950.clone_from_template_ctid": "999",
            },
            [
                of(
                    "902",
                    None,
                    "it has neither a parent nor a template to be made from",
                    'Add "clone_from_template_ctid" with the id of a layer, or "template" with a container template.',
                ),
                of(
                    "950.clone_from_template_ctid",
                    "999",
                    "there is no container 999",
                    "Add it to lxc_configs, or write the id of a layer: there is none yet.",
                ),
                of(
                    "951.clone_from_template_ctid",
                    "902",
                    "its parent 902 is no layer",
                    "Set is_template to true in 902, or write the id of a layer: there is none yet.",
                ),
            ],
            id="missing parent and no layer",
        ),
        pytest.param(
            {"951.clone_from_template_ctid": "950"},
            [
                of(
                    "951.clone_from_template_ctid",
                    "950",
                    "its parent 950 is no layer",
                    "Set is_template to true in 950, or write the id of a layer: 900, 902.",
                )
            ],
            id="parent that is no layer",
        ),
        pytest.param(
            {"950.is_template": False, "951.clone_from_template_ctid": "950"},
            [
                of(
                    "951.clone_from_template_ctid",
                    "950",
                    "its parent 950 is no layer",
                    "Set is_template to true in 950, or write the id of a layer: 900, 902.",
                )
            ],
            id="parent that says it is no layer",
        ),
        pytest.param(
            {"902.template_snapshot_name": GONE},
            [
                of(
                    "902.template_snapshot_name",
                    None,
                    "a layer is sealed under a name, and there is none",
                    'Add "template_snapshot_name": "docker-snapshot" or the like, or set is_template to false.',
                ),
                of(
                    "950.clone_from_template_ctid",
                    "902",
                    "its parent 902 has no snapshot to clone from",
                    "Add template_snapshot_name to 902.",
                ),
                of(
                    "951.clone_from_template_ctid",
                    "902",
                    "its parent 902 has no snapshot to clone from",
                    "Add template_snapshot_name to 902.",
                ),
            ],
            id="layer without snapshot",
        ),
        pytest.param(
            {"950.clone_from_template_ctid": GONE},
            [
                of(
                    "950",
                    None,
                    "it has neither a parent nor a template to be made from",
                    'Add "clone_from_template_ctid" with the id of a layer, or "template" with a container template.',
                )
            ],
            id="neither parent nor template",
        ),
        pytest.param(
            {"950.clone_from_ctid": "900"},
            [
                of(
                    "950.clone_from_ctid",
                    "900",
                    "900 differs from clone_from_template_ctid, which is 902",
                    "Remove clone_from_ctid.",
                )
            ],
            id="two parents",
        ),
        pytest.param(
            {"900.clone_from_template_ctid": "902"},
            [
                of(
                    "900.clone_from_template_ctid",
                    "902",
                    "a circle: 900 -> 902 -> 900, each cloned from the next",
                    "Give one of them another parent, or a template instead of a parent.",
                )
            ],
            id="circle of two",
        ),
        pytest.param(
            {"900.clone_from_ctid": "900"},
            [
                of(
                    "900.clone_from_ctid",
                    "900",
                    "a circle: 900 -> 900, each cloned from the next",
                    "Give one of them another parent, or a template instead of a parent.",
                )
            ],
            id="its own parent",
        ),
        pytest.param(
            {"950.unprivileged": True},
            [
                of(
                    "950.unprivileged",
                    True,
                    "it is unprivileged, its parent 902 is privileged, and a clone cannot change that",
                    "Write false, or change the whole chain.",
                )
            ],
            id="unprivileged under privileged",
        ),
        pytest.param(
            {"900.unprivileged": True},
            [
                of(
                    "902.unprivileged",
                    False,
                    "it is privileged, its parent 900 is unprivileged, and a clone cannot change that",
                    "Write true, or change the whole chain.",
                )
            ],
            id="privileged under unprivileged",
        ),
        pytest.param(
            {"950.storage_size_gb": 31},
            [
                of(
                    "950.storage_size_gb",
                    31,
                    "31 GiB are less than the 32 GiB of its parent 902, and a disk never shrinks",
                    "Write 32 or more.",
                )
            ],
            id="smaller disk",
        ),
        pytest.param(
            {"902.template_snapshot_name": "current"},
            [
                of(
                    "902.template_snapshot_name",
                    "current",
                    "'current' is no name that PVE accepts for a snapshot",
                    "Use 2 to 40 letters, digits, _ and -, a letter first; current and vzdump are reserved.",
                )
            ],
            id="reserved snapshot name",
        ),
        pytest.param(
            {"902.template_snapshot_name": "1st"},
            [
                of(
                    "902.template_snapshot_name",
                    "1st",
                    "'1st' is no name that PVE accepts for a snapshot",
                    "Use 2 to 40 letters, digits, _ and -, a letter first; current and vzdump are reserved.",
                )
            ],
            id="snapshot name that PVE refuses",
        ),
        pytest.param(
            {"902.template_snapshot_name": "base-snapshot"},
            [
                of(
                    "902.template_snapshot_name",
                    "base-snapshot",
                    "layer 900 has the snapshot name 'base-snapshot' as well",
                    "Give every layer a snapshot name of its own.",
                )
            ],
            id="shared snapshot name",
        ),
    ],
)
def test_hierarchy(edits: Edits, expected: list[Problem]) -> None:
    found = findings(edits)
    assert found.errors == expected
    assert found.warnings == []


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param(
            {"950.dependencies": ["951", "999"]},
            [
                of(
                    "950.dependencies[1]",
                    "999",
                    "there is no container 999 to depend on",
                    "Add it to lxc_configs, or remove it from the list.",
                )
            ],
            id="orphan dependency",
        ),
        pytest.param(
            {"950.dependencies": ["951"], "951.dependencies": ["950"]},
            [
                of(
                    "950.dependencies[0]",
                    "951",
                    "a circle: 950 -> 951 -> 950, each waits for the next",
                    "Remove one of these dependencies.",
                )
            ],
            id="circle of dependencies",
        ),
        pytest.param(
            {"950.dependencies": ["950"]},
            [
                of(
                    "950.dependencies[0]",
                    "950",
                    "a circle: 950 -> 950, each waits for the next",
                    "Remove one of these dependencies.",
                )
            ],
            id="depends on itself",
        ),
        pytest.param(
            {"902.dependencies": ["950"]},
            [
                of(
                    "902.dependencies[0]",
                    "950",
                    "a circle: 902 -> 950 -> 902, each waits for the next",
                    "Remove one of these dependencies.",
                )
            ],
            id="depends on what is cloned from it",
        ),
        pytest.param(
            chain(9),
            [
                of(
                    "108.clone_from_template_ctid",
                    "107",
                    "8 containers have to be made before it, one after the other, and at most 7 can be",
                    "Clone it from a layer nearer to the template, or let it depend on less.",
                )
            ],
            id="too deep",
        ),
        pytest.param(chain(8), [], id="as deep as can be"),
    ],
)
def test_dependencies(edits: Edits, expected: list[Problem]) -> None:
    found = findings(edits)
    assert found.errors == expected
    assert found.warnings == []


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param(
            {"902.mount_points": [{"host_path": "/srv", "container_path": "/srv"}]},
            [
                of(
                    "902.mount_points",
                    "a list",
                    "902 is a layer, and with a directory of the node in it, it cannot be sealed",
                    "Mount the directory in the containers that are cloned from the layer.",
                )
            ],
            id="layer with a directory",
        ),
        pytest.param(
            {"hypervisor.shared_volumes": {"models": {"host_path": "/models", "mounts": {"902": "/models"}}}},
            [
                in_hypervisor(
                    "shared_volumes.models.mounts.902",
                    "902",
                    "902 is a layer, and with a directory of the node in it, it cannot be sealed",
                    "Mount the directory in the containers that are cloned from the layer.",
                )
            ],
            id="layer with a shared directory",
        ),
        pytest.param(
            {"hypervisor.shared_volumes": {"models": {"host_path": "/models", "mounts": {"999": "/models"}}}},
            [
                in_hypervisor(
                    "shared_volumes.models.mounts.999",
                    "999",
                    "there is no container 999 to mount it in",
                    "Add it to lxc_configs in lxc.json, or remove it here.",
                )
            ],
            id="shared directory of nobody",
        ),
        pytest.param(
            {
                "950.enable_lifecycle_snapshots": True,
                "950.mount_points": [{"host_path": "/srv", "container_path": "/srv"}],
            },
            [
                of(
                    "950.enable_lifecycle_snapshots",
                    True,
                    "a container with a directory of the node in it ($.lxc_configs.950.mount_points) has no snapshots",
                    "Write false, or remove the directory.",
                )
            ],
            id="snapshots with a directory",
        ),
        pytest.param(
            {
                "950.enable_lifecycle_snapshots": True,
                "hypervisor.shared_volumes": {"models": {"host_path": "/models", "mounts": {"950": "/models"}}},
            },
            [
                of(
                    "950.enable_lifecycle_snapshots",
                    True,
                    "a container with a directory of the node in it ($.shared_volumes.models.mounts.950 of "
                    "hypervisor.json) has no snapshots",
                    "Write false, or remove the directory.",
                )
            ],
            id="snapshots with a shared directory",
        ),
    ],
)
def test_directories_of_the_node(edits: Edits, expected: list[Problem]) -> None:
    found = findings(edits)
    assert found.errors == expected
    assert [problem for problem in found.warnings if problem.path != "$"] == []


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param(
            {"hypervisor.network": GONE},
            [
                in_hypervisor(
                    "nodes",
                    None,
                    "nothing tells the address of the node",
                    'Add "nodes": {"pve1": {"address": "10.0.0.13"}}, or network.interfaces.address.',
                )
            ],
            id="no node",
        ),
        pytest.param(
            {
                "900.node": "pve1",
                "902.node": "pve1",
                "951.node": "pve1",
                "hypervisor.nodes": {"pve1": {"address": "10.0.0.13"}, "pve2": {"address": "10.0.0.14"}},
            },
            [
                of(
                    "950.node",
                    None,
                    "the fleet has several nodes, and the container names none",
                    'Add "node" with one of "pve1", "pve2".',
                )
            ],
            id="several nodes and none named",
        ),
        pytest.param(
            {"950.node": "pve9"},
            [
                of(
                    "950.node",
                    "pve9",
                    'there is no node "pve9"',
                    'Write one of "pve1", or add it to nodes in hypervisor.json.',
                )
            ],
            id="unknown node",
        ),
        pytest.param(
            {
                "900.node": "pve1",
                "902.node": "pve1",
                "950.node": "pve2",
                "951.node": "pve1",
                "hypervisor.nodes": {"pve1": {"address": "10.0.0.13"}, "pve2": {"address": "10.0.0.14"}},
            },
            [
                of(
                    "950.node",
                    "pve2",
                    'it lives on "pve2", its parent 902 on "pve1"',
                    'A clone stays on its parent\'s node: build the layer on "pve2" too, under an id of its own.',
                )
            ],
            id="parent on another node",
        ),
    ],
)
def test_nodes(edits: Edits, expected: list[Problem]) -> None:
    found = findings(edits)
    assert found.errors == expected
    assert found.warnings == []


@pytest.mark.parametrize(
    "edits",
    [
        pytest.param({}, id="what the base is"),
        pytest.param({"950.features": "nesting=1,keyctl=1"}, id="legacy features"),
        pytest.param({"950.features": "", "950.pct_options": ["nesting=1"]}, id="no legacy features"),
        pytest.param({"950.clone_from_ctid": "902"}, id="both parent keys alike"),
        pytest.param({"hypervisor.nodes": {"pve1": {"address": "pve1.example.com"}}}, id="nodes by host name"),
        pytest.param(
            {
                "900.node": "pve2",
                "902.node": "pve2",
                "950.node": "pve2",
                "951.node": "pve2",
                "hypervisor.nodes": {"pve1": {"address": "one.example.com"}, "pve2": {"address": "two.example.com"}},
            },
            id="two nodes by host names",
        ),
    ],
)
def test_nothing_is_wrong_with(edits: Edits) -> None:
    found = findings(edits)
    assert (found.errors, found.warnings) == ([], [])


def test_a_problem_is_one_line() -> None:
    (problem,) = findings({"950.memory_mb": 256}).errors
    assert str(problem) == "lxc.json: $.lxc_configs.950.memory_mb: 256 is too small. Write 512 or more."


def test_one_mistake_does_not_hide_another() -> None:
    found = findings(
        {
            "950.memory_mb": "2048",
            "950.storage_size_gb": 16,
            "951.name": "vllm",
            "951.ports": ["80"],
            "902.is_template": "yes",
            "hypervisor.nvidia_driver.cuda_version": "13.1",
        }
    )
    assert [(problem.file, problem.path) for problem in found.errors] == [
        (HYPERVISOR, "$.nvidia_driver.cuda_version"),
        (LXC, "$.lxc_configs.902.is_template"),
        (LXC, "$.lxc_configs.950.memory_mb"),
        (LXC, "$.lxc_configs.950.storage_size_gb"),
        (LXC, "$.lxc_configs.951.name"),
        (LXC, "$.lxc_configs.951.ports[0]"),
    ]


def test_a_container_that_is_refused_as_a_whole_is_not_missing() -> None:
    found = findings(
        {
            "902": [],
            "951.dependencies": ["902"],
            "hypervisor.shared_volumes": {"models": {"host_path": "/models", "mounts": {"902": "/models"}}},
        }
    )
    assert [problem.path for problem in found.errors] == ["$.lxc_configs.902"]


def test_nodes_that_are_refused_are_not_missing() -> None:
    assert [problem.path for problem in findings({"hypervisor.nodes": [], "hypervisor.network": 1}).errors] == [
        "$.network",
        "$.nodes",
    ]


@pytest.mark.parametrize("document", [None, [], "text", {"lxc_configs": []}], ids=str)
def test_a_document_of_another_kind(document: object) -> None:
    found = validate(document, document, SCHEMAS, (LXC, HYPERVISOR))
    assert {problem.file for problem in found.errors} == {LXC, HYPERVISOR}


@given(st.dictionaries(st.sampled_from(PLACES), JSON | st.just(GONE), min_size=1, max_size=3))
def test_whatever_stands_somewhere_is_answered_with_problems_in_order(edits: dict[str, object]) -> None:
    try:
        lxc, hypervisor = edited(edits)
    except (KeyError, TypeError, AttributeError):
        return  # one edit has taken away what the other one changes
    found = validate(lxc, hypervisor, SCHEMAS, (LXC, HYPERVISOR))
    files = [problem.file for problem in found.errors]
    assert files == sorted(files)
    assert all(problem.path.startswith("$") and problem.wrong and problem.instead for problem in found.errors)
    if not found.errors:
        normalise(lxc, hypervisor)


@pytest.mark.parametrize(
    ("edits", "unknown"),
    [
        pytest.param({"950.features": ["base_setup", "nvidia", "docker", "vllm"]}, [], id="known"),
        pytest.param({"950.features": "nesting=1"}, [], id="flags of PVE"),
        pytest.param({"950.features": ["docker", "ollama"]}, [("950.features[1]", "ollama")], id="unknown"),
        pytest.param({"950.features": ["portainer"]}, [("950.features[0]", "portainer")], id="portainer as nothing"),
        pytest.param({"950.features": ["portainer"], "950.portainer_role": "agent"}, [], id="portainer by its role"),
    ],
)
def test_a_feature_for_which_nothing_is_done_is_named(edits: Edits, unknown: list[tuple[str, str]]) -> None:
    found = findings(edits)
    assert found.errors == []
    assert [problem for problem in found.warnings if ".features" in problem.path] == [
        of(
            path,
            feature,
            f'nothing is done for the feature "{feature}"',
            "The playbooks know base_setup, nvidia, docker, vllm; give the container a play of your own, or remove it.",
        )
        for path, feature in unknown
    ]


@pytest.mark.parametrize(
    ("edits", "lacking"),
    [
        pytest.param({}, "", id="clones inherit it"),
        pytest.param({"900.pct_options": GONE}, "900 has", id="a template's default is none, and clones say nothing"),
        pytest.param({"900.pct_options": []}, "900 has", id="an empty list"),
        pytest.param({"900.pct_options": ["keyctl=1"]}, "900 has", id="other flags"),
        pytest.param({"950.pct_options": [], "951.pct_options": ["nesting=0"]}, "950, 951 have", id="taken away"),
        pytest.param({"950.features": ""}, "950 has", id="an older spelling of none"),
        pytest.param({"900.pct_options": GONE, "900.features": "nesting=1"}, "", id="the older spelling"),
        pytest.param({"950.features": ["docker"]}, "", id="features of another kind"),
        pytest.param({"900.pct_options": [], "900.template": "local:vztmpl/alpine-3.22.tar.xz"}, "", id="no systemd"),
        pytest.param({"900.pct_options": ["what"]}, "", id="refused"),
    ],
)
def test_systemd_needs_nesting(edits: Edits, lacking: str) -> None:
    assert [problem for problem in findings(edits).warnings if "nesting" in problem.wrong] == [
        in_lxc(
            "lxc_configs",
            None,
            f"{lacking} no nesting, without which systemd confines no service: systemd-networkd, and with it the "
            "network, may not start",
            'Add "nesting=1" to pct_options.',
        )
        for _once in lacking[:1]
    ]
