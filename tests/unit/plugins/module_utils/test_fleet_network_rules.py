# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet import Problem
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.fleet_world import (
    GONE,
    Edits,
    findings,
    in_hypervisor,
    of,
)


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param(
            {"950.name": "Basetemplate"},
            [
                of(
                    "950.name",
                    "Basetemplate",
                    'container 900 is named "Basetemplate" as well',
                    "Give every container and node a name of its own.",
                )
            ],
            id="duplicate name",
        ),
        pytest.param(
            {"950.name": "pve1"},
            [
                of(
                    "950.name",
                    "pve1",
                    'node "pve1" is named "pve1" as well',
                    "Give every container and node a name of its own.",
                )
            ],
            id="name of a node",
        ),
        pytest.param(
            {"950.name": "all"},
            [of("950.name", "all", '"all" means something else in an inventory', "Choose another name.")],
            id="name with a meaning",
        ),
        pytest.param(
            {"hypervisor.nodes": {"localhost": {"address": "10.0.0.13"}}},
            [
                in_hypervisor(
                    "nodes.localhost",
                    "localhost",
                    '"localhost" means something else in an inventory',
                    "Choose another name.",
                )
            ],
            id="node's name with a meaning",
        ),
        pytest.param(
            {"950.name": "my_app"},
            [
                of(
                    "950.name",
                    "my_app",
                    "'my_app' is no valid DNS name",
                    "Use letters, digits and hyphens, labels of at most 63 characters.",
                )
            ],
            id="name that is no DNS name",
        ),
        pytest.param(
            {"950.network_config.ip": "10.0.0.202/16"},
            [
                of(
                    "950.network_config.ip",
                    "10.0.0.202/16",
                    "container 902 has the address 10.0.0.202 as well",
                    "Give every container and node an address of its own.",
                )
            ],
            id="duplicate address",
        ),
        pytest.param(
            {"950.network_config.ip": "10.0.0.13/24"},
            [
                of(
                    "950.network_config.ip",
                    "10.0.0.13/24",
                    'node "pve1" has the address 10.0.0.13 as well',
                    "Give every container and node an address of its own.",
                )
            ],
            id="address of the node",
        ),
        pytest.param(
            {"950.network_config.ip": GONE, "950.static_ip": "10.0.0.202/24"},
            [
                of(
                    "950.static_ip",
                    "10.0.0.202/24",
                    "container 902 has the address 10.0.0.202 as well",
                    "Give every container and node an address of its own.",
                )
            ],
            id="address in the legacy key",
        ),
        pytest.param(
            {
                "900.node": "pve1",
                "902.node": "pve1",
                "950.node": "pve1",
                "951.node": "pve1",
                "hypervisor.nodes": {"pve1": {"address": "10.0.0.13"}, "pve2": {"address": "10.0.0.13"}},
            },
            [
                in_hypervisor(
                    "nodes.pve2.address",
                    "10.0.0.13",
                    'node "pve1" has the address 10.0.0.13 as well',
                    "Give every container and node an address of its own.",
                )
            ],
            id="two nodes at one address",
        ),
        pytest.param(
            {"950.network_config.ip": "10.0.0.150"},
            [
                of(
                    "950.network_config.ip",
                    "10.0.0.150",
                    "'10.0.0.150' has no prefix length",
                    "Write the network's prefix behind it, as in 10.0.0.201/24.",
                )
            ],
            id="address without prefix",
        ),
        pytest.param(
            {"950.network_config.ip": "10.0.0.300/24"},
            [
                of(
                    "950.network_config.ip",
                    "10.0.0.300/24",
                    "'10.0.0.300/24' is no address",
                    "Write one of dhcp, manual, or 10.0.0.201/24.",
                )
            ],
            id="address that is none",
        ),
        pytest.param(
            {"950.network_config.gw": "10.0.0.1/24"},
            [
                of(
                    "950.network_config.gw",
                    "10.0.0.1/24",
                    "'10.0.0.1/24' is no address",
                    "Write the gateway's address without a prefix.",
                )
            ],
            id="gateway that is none",
        ),
        pytest.param(
            {"950.network_config.nameservers": ["dns"]},
            [
                of(
                    "950.network_config.nameservers[0]",
                    "dns",
                    "'dns' is no address",
                    "Write the name server's IP address.",
                )
            ],
            id="name server that is none",
        ),
        pytest.param(
            {"950.network_config.nameservers": "8.8.8.8, dns"},
            [
                of(
                    "950.network_config.nameservers",
                    "dns",
                    "'dns' is no address",
                    "Write the name server's IP address.",
                )
            ],
            id="name server that is none, in one text",
        ),
        pytest.param(
            {"hypervisor.network.interfaces.address": "10.0.0.300/24"},
            [
                in_hypervisor(
                    "network.interfaces.address",
                    "10.0.0.300/24",
                    "'10.0.0.300/24' is no address",
                    "Write one of dhcp, manual, or 10.0.0.201/24.",
                )
            ],
            id="address of the node that is none",
        ),
        pytest.param(
            {"950.static_ip": "10.0.0.151/24"},
            [
                of(
                    "950.static_ip",
                    "10.0.0.151/24",
                    "10.0.0.151/24 differs from network_config.ip, which is 10.0.0.150/24",
                    "Remove one of the two.",
                )
            ],
            id="two addresses",
        ),
        pytest.param(
            {"950.mac_address": "52:54:00:aa:bb:cc"},
            [
                of(
                    "950.mac_address",
                    "52:54:00:aa:bb:cc",
                    "container 900 has the MAC address 52:54:00:aa:bb:cc as well",
                    "Give every container a MAC address of its own, or leave it out.",
                )
            ],
            id="duplicate MAC address",
        ),
        pytest.param(
            {"950.mac_address": GONE, "950.network_config.hwaddr": "52:54:00:aa:bb:cc"},
            [
                of(
                    "950.network_config.hwaddr",
                    "52:54:00:aa:bb:cc",
                    "container 900 has the MAC address 52:54:00:aa:bb:cc as well",
                    "Give every container a MAC address of its own, or leave it out.",
                )
            ],
            id="duplicate MAC address elsewhere",
        ),
        pytest.param(
            {"950.mac_address": "53:54:00:AA:BB:CC"},
            [
                of(
                    "950.mac_address",
                    "53:54:00:AA:BB:CC",
                    "'53:54:00:AA:BB:CC' is no unicast MAC address",
                    "Write six pairs such as 52:54:00:AA:BB:CC; the second digit is even.",
                )
            ],
            id="MAC address that is none",
        ),
        pytest.param(
            {"950.network_config.hwaddr": "52:54:00:67:89:B9"},
            [
                of(
                    "950.mac_address",
                    "52:54:00:67:89:B0",
                    "52:54:00:67:89:B0 differs from network_config.hwaddr, which is 52:54:00:67:89:B9",
                    "Remove one of the two.",
                )
            ],
            id="two MAC addresses",
        ),
    ],
)
def test_names_and_addresses(edits: Edits, expected: list[Problem]) -> None:
    found = findings(edits)
    assert found.errors == expected
    assert found.warnings == []


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param(
            {
                "950.volumes": [
                    {"name": "data", "pool": "lxc-disks", "size_gb": 5, "mount_point": "/data"},
                    {"name": "data", "pool": "lxc-disks", "size_gb": 5, "mount_point": "/data"},
                ]
            },
            [
                of(
                    "950.volumes[1].mount_point",
                    "/data",
                    "$.lxc_configs.950.volumes[0].mount_point is mounted at /data as well",
                    "Mount one thing at each place.",
                )
            ],
            id="mounted twice",
        ),
        pytest.param(
            {
                "950.volumes": [{"name": "data", "pool": "lxc-disks", "size_gb": 5, "mount_point": "/data"}],
                "hypervisor.shared_volumes": {"models": {"host_path": "/models", "mounts": {"950": "/data"}}},
            },
            [
                in_hypervisor(
                    "shared_volumes.models.mounts.950",
                    "/data",
                    "$.lxc_configs.950.volumes[0].mount_point is mounted at /data as well",
                    "Mount one thing at each place.",
                )
            ],
            id="mounted twice from two files",
        ),
        pytest.param(
            {
                "hypervisor.shared_volumes": {
                    "a": {"host_path": "/models", "mounts": {"950": "/models"}},
                    "b": {"host_path": "/models", "mounts": {"950": "/models"}},
                }
            },
            [
                in_hypervisor(
                    "shared_volumes.b.mounts.950",
                    "/models",
                    "$.shared_volumes.a.mounts.950 of hypervisor.json is mounted at /models as well",
                    "Mount one thing at each place.",
                )
            ],
            id="shared twice at one place",
        ),
        pytest.param(
            {"950.volumes": [{"name": "data", "pool": "lxc-disks", "size_gb": 5, "mount_point": "/"}]},
            [
                of(
                    "950.volumes[0].mount_point",
                    "/",
                    "'/' is no place to mount at",
                    "Write an absolute path other than /.",
                )
            ],
            id="mounted at the root",
        ),
    ],
)
def test_mounts(edits: Edits, expected: list[Problem]) -> None:
    found = findings(edits)
    assert found.errors == expected
    assert found.warnings == []


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param(
            {"950.network_config.gw": "10.1.0.1"},
            [
                of(
                    "950.network_config.gw",
                    "10.1.0.1",
                    "10.1.0.1 is not in 10.0.0.0/24, the network of the address 10.0.0.150/24",
                    "Write a gateway of that network, or correct the address or its prefix.",
                )
            ],
            id="gateway elsewhere",
        ),
    ],
)
def test_gateways(edits: Edits, expected: list[Problem]) -> None:
    found = findings(edits)
    assert found.warnings == expected
    assert found.errors == []


@pytest.mark.parametrize(
    "edits",
    [
        pytest.param({"950.network_config.ip": "dhcp", "951.network_config.ip": "dhcp"}, id="dhcp twice"),
        pytest.param({"950.mac_address": GONE, "951.mac_address": GONE}, id="no MAC address"),
        pytest.param(
            {"950.network_config.hwaddr": "52:54:00:67:89:b0", "950.static_ip": "10.0.0.150/24"},
            id="equal addresses in both keys",
        ),
        pytest.param({"950.network_config.nameservers": "8.8.8.8 1.1.1.1"}, id="name servers in one text"),
    ],
)
def test_nothing_is_wrong_with(edits: Edits) -> None:
    found = findings(edits)
    assert (found.errors, found.warnings) == ([], [])
