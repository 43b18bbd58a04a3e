# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet import Container, Fleet, Node
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_model import (
    all_features,
    cycles,
    depths,
    descendants,
    normalise,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._option_checks import check_arguments
from ansible_collections.phoenix.hypervisor.plugins.module_utils._schema import NOT_APPLIED
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.fleet_world import (
    GONE,
    RUNFILE,
    SCHEMAS,
    Edits,
    edited,
    findings,
)
from hypothesis import given
from hypothesis import strategies as st


def fleet(edits: Edits) -> Fleet:
    assert findings(edits).errors == []
    return normalise(*edited(edits))


def test_a_layer() -> None:
    assert fleet({"900.features": ["base_setup"], "900.pct_options": [], "900.boot_order": 0}).containers[
        900
    ] == Container(
        ctid=900,
        name="BaseTemplate",
        node="pve1",
        is_layer=True,
        snapshot="base-snapshot",
        parent=None,
        ostemplate="local:vztmpl/ubuntu.tar.zst",
        gpus=(),
        features=("base_setup",),
        options={
            "hostname": "BaseTemplate",
            "cores": 2,
            "memory_mb": 2048,
            "unprivileged": False,
            "rootfs": {"storage": "lxc-disks", "size_gb": 32},
            "networks": [
                {
                    "name": "eth0",
                    "bridge": "vmbr0",
                    "ip": "10.0.0.200/24",
                    "gw": "10.0.0.1",
                    "hwaddr": "52:54:00:AA:BB:CC",
                }
            ],
            "features": {},
            "startup": "order=0",
        },
        settings={},
    )


def test_the_memory_to_build_with_is_no_option_of_the_container() -> None:
    layer = fleet({"902.build_memory_mb": 16384}).containers[902]
    assert (layer.options["memory_mb"], layer.settings) == (2048, {"build_memory_mb": 16384})


def test_a_clone_has_no_ostemplate() -> None:
    application = fleet({"950.template": "local:vztmpl/other.tar.zst"}).containers[950]
    assert (application.parent, application.ostemplate, application.is_layer) == (902, None, False)
    assert (application.snapshot, application.gpus, application.options["onboot"]) == (None, (0,), True)


@pytest.mark.parametrize(
    ("edits", "key", "expected"),
    [
        ({"951.pct_options": ["nesting=1", "keyctl=0"]}, "features", {"nesting": True, "keyctl": False}),
        ({"951.pct_options": ["mount=nfs;cifs"]}, "features", {"mount": ["nfs", "cifs"]}),
        ({"951.features": "nesting=1, keyctl=1"}, "features", {"nesting": True, "keyctl": True}),
        ({"951.features": ""}, "features", {}),
        ({"951.features": "nesting=0", "951.pct_options": ["nesting=1"]}, "features", {"nesting": True}),
        ({"951.features": ["docker"]}, "features", None),
        ({"951.boot_order": 3, "951.boot_delay": 5}, "startup", "order=3,up=5"),
        ({"951.boot_delay": 5}, "startup", "up=5"),
        ({"951.network_config.nameservers": ["8.8.8.8"]}, "nameserver", ["8.8.8.8"]),
        ({"951.network_config.nameservers": "8.8.8.8, 1.1.1.1;9.9.9.9"}, "nameserver",
         ["8.8.8.8", "1.1.1.1", "9.9.9.9"]),
        ({}, "nameserver", None),
        ({"951.swap_mb": 0}, "swap_mb", 0),
        ({"951.tags": ["a"]}, "tags", ["a"]),
        ({}, "mounts", None),
    ],
)  # fmt: skip
def test_options(edits: Edits, key: str, expected: object) -> None:
    assert fleet(edits).containers[951].options.get(key) == expected


NETWORK = {"name": "eth0", "bridge": "vmbr0", "ip": "10.0.0.151/24", "gw": "10.0.0.1", "hwaddr": "52:54:00:67:89:B1"}


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ({}, NETWORK),
        ({"951.network_config.ip": GONE, "951.static_ip": "10.0.0.5/24"}, {**NETWORK, "ip": "10.0.0.5/24"}),
        ({"951.mac_address": GONE, "951.network_config.hwaddr": "52:54:00:00:00:01"},
         {**NETWORK, "hwaddr": "52:54:00:00:00:01"}),
        ({"951.mac_address": GONE}, {key: NETWORK[key] for key in NETWORK if key != "hwaddr"}),
        ({"951.firewall": {"enabled": True}}, {**NETWORK, "firewall": True}),
        ({"951.firewall": {"enabled": False}}, NETWORK),
        ({"951.firewall": {"enabled": True}, "951.network_config.firewall": False}, {**NETWORK, "firewall": False}),
        ({"951.network_config.tag": 5, "951.network_config.mtu": 9000, "951.network_config.type": "veth"},
         {**NETWORK, "tag": 5, "mtu": 9000}),
    ],
)  # fmt: skip
def test_networks(edits: Edits, expected: object) -> None:
    assert fleet(edits).containers[951].options["networks"] == [expected]


def test_mounts_from_everywhere() -> None:
    volume = {"name": "data", "pool": "fast", "size_gb": 5, "mount_point": "/data"}
    bind = {"host_path": "/srv", "container_path": "/srv", "owner_uid": 1000}
    container = fleet(
        {
            "951.volumes": [volume],
            "951.zfs_volumes": [{**volume, "mount_point": "/older"}],
            "951.mount_points": [bind],
            "hypervisor.shared_volumes": {
                "b": {"host_path": "/b", "mounts": {"951": "/inside/b"}},
                "a": {"host_path": "/a", "mounts": {"951": "/inside/a", "950": "/a"}},
            },
        }
    ).containers[951]
    assert container.options["mounts"] == [
        {"path": "/data", "storage": "fast", "size_gb": 5},
        {"path": "/older", "storage": "fast", "size_gb": 5},
        {"path": "/srv", "source": "/srv"},
        {"path": "/inside/a", "source": "/a"},
        {"path": "/inside/b", "source": "/b"},
    ]
    assert container.settings["mount_points"] == [bind]


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ({"951.application_script": "nginx"}, {"application": "nginx"}),
        ({"951.dependencies": ["950"]}, {"dependencies": [950]}),
        ({"951.dependencies": []}, {"dependencies": []}),
        ({"951.ports": ["80:80"], "951.portainer_role": "agent"}, {"ports": ["80:80"], "portainer_role": "agent"}),
        ({"951.traefik_service": {"a": 1}, "951.bootstrap_ca_url": "x"}, {}),
        ({"951.vllm_model": "m", "951.vllm_port": 1, "951.vllm_quantization": None, "951.vllm_parameters": {"a": 1}},
         {"vllm": {"model": "m", "port": 1, "parameters": {"a": 1}}}),
        ({"951.vllm_engine_config": {
            "ModelConfig": {"model": "m", "dtype": "auto", "trust_remote_code": False},
            "CacheConfig": {"quantization": "awq"},
            "ServerConfig": {"host": "0.0.0.0", "port": 8000}}, "951.vllm_parameters": {"host": "127.0.0.1"}},
         {"vllm": {"model": "m", "port": 8000, "quantization": "awq", "trust_remote_code": False,
                   "parameters": {"dtype": "auto", "host": "127.0.0.1"}}}),
    ],
)  # fmt: skip
def test_settings(edits: Edits, expected: object) -> None:
    assert fleet(edits).containers[951].settings == expected


def test_older_features_and_parent() -> None:
    container = fleet(
        {"951.features": "nesting=1", "951.clone_from_template_ctid": GONE, "951.clone_from_ctid": "900"}
    ).containers[951]
    assert (container.features, container.parent, container.gpus) == ((), 900, ())


def test_every_key_of_a_container_has_a_place() -> None:
    """A key that is neither used nor described as not used would be lost without a word."""
    properties = SCHEMAS.lxc["$defs"]["container"]["properties"]
    lxc, hypervisor = edited({})
    before = normalise(lxc, hypervisor)
    samples: dict[str, t.Any] = {
        "clone_from_ctid": None,  # an older spelling of what is there already
        "node": None,
        "static_ip": None,
        "firewall": {"enabled": True},
        "health_check": {"command": "true"},
        "verify": {"test_port": 1},
        "tests": {"all": []},
        "vllm_engine_config": {"ServerConfig": {"port": 1}},
        "volumes": [{"name": "a", "pool": "b", "size_gb": 1, "mount_point": "/c"}],
        "zfs_volumes": [{"name": "a", "pool": "b", "size_gb": 1, "mount_point": "/c"}],
        "mount_points": [{"host_path": "/a", "container_path": "/b"}],
        "id_maps": [{"type": "u", "host_id": 1, "container_id": 1, "size": 1}],
        "integration_tests": [{"name": "a"}],
        "network_config": {"name": "eth1", "bridge": "vmbr1"},
        "template": None,
        "unprivileged": True,
        "is_template": True,
        "start_at_boot": True,
        "cores": 9,
    }
    for key, schema in properties.items():
        sample = samples.get(key, schema.get("examples", [None])[0])
        if sample is None or schema.get(NOT_APPLIED):
            continue
        lxc["lxc_configs"]["951"] = {**edited({})[0]["lxc_configs"]["951"], key: sample}
        if sample != edited({})[0]["lxc_configs"]["951"].get(key):
            assert normalise(lxc, hypervisor) != before, key


def test_options_are_what_lxc_container_takes() -> None:
    for container in fleet({"950.features": "nesting=1", "950.boot_order": 1, "950.boot_delay": 2}).containers.values():
        check_arguments(container.options)


def test_nodes() -> None:
    assert fleet({}).nodes == {"pve1": Node("pve1", "10.0.0.13")}
    nodes = {"b": {"address": "b.example.com"}, "a": {"address": "10.0.0.9", "memory_mb": 4096}}
    edits = {"hypervisor.nodes": nodes, **{f"{ctid}.node": "b" for ctid in ("900", "902", "950", "951")}}
    several = fleet(edits)
    assert list(several.nodes.values()) == [Node("a", "10.0.0.9"), Node("b", "b.example.com")]
    assert {container.node for container in several.containers.values()} == {"b"}


OLDER = {"hypervisor.nvidia_driver": GONE}


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ({}, {"runfile_url": RUNFILE, "cuda_version": "12.8", "version": "580.76.05"}),
        (OLDER, None),
        ({**OLDER, "lxc.nvidia_driver_version": "570.26"}, {"version": "570.26"}),
        ({**OLDER, "lxc.nvidia_runfile_url": RUNFILE, "lxc.nvidia_repo_url": "https://example.com/"},
         {"runfile_url": RUNFILE, "repo_url": "https://example.com/", "version": "580.76.05"}),
        ({**OLDER, "hypervisor.nvidia": {"driver_version": "570.26"}}, {"version": "570.26"}),
        ({"hypervisor.nvidia_driver": {"install": True, "version": "570.26"}}, {"install": True, "version": "570.26"}),
        ({"hypervisor.nvidia_driver": {"install": False}}, {"install": False}),
    ],
)  # fmt: skip
def test_nvidia(edits: Edits, expected: object) -> None:
    assert fleet(edits).settings.get("nvidia") == expected


@pytest.mark.parametrize(
    ("edits", "key", "expected"),
    [
        ({"hypervisor.timezone": "UTC"}, "timezone", "UTC"),
        ({"hypervisor.core_paths": {"cache_dir": "/c", "log_dir": "/l"}}, "cache_dir", "/c"),
        ({"hypervisor.core_paths": {"cache_dir": "/c", "log_dir": "/l"}}, "core_paths", None),
        ({"hypervisor.core_paths": {"hf_token_file": "/t"}}, "core_paths", {"hf_token_file": "/t"}),
        ({"hypervisor.zfs": {"arc_max": "34359738368"}}, "zfs", {"arc_max_gb": 32}),
        ({"hypervisor.zfs": {"arc_max": "1"}}, "zfs", {"arc_max_gb": 1}),
        ({"hypervisor.zfs": {"arc_max": "1", "arc_max_gb": 8}}, "zfs", {"arc_max_gb": 8}),
        ({"hypervisor.zfs": {"pools": []}}, "zfs", {"pools": []}),
        ({"hypervisor.nfs": {"exports": [{"path": "/a"}], "shares": [{"path": "/b"}]}}, "nfs",
         {"exports": [{"path": "/a"}, {"path": "/b"}]}),
        ({"hypervisor.users": {"username": "me", "password_hash": "$6$abcdefgh$0123456789"}}, "users",
         {"username": "me"}),
        ({"hypervisor.users": {"password_hash": "{{ vault_hash }}"}}, "users", {"password_hash": "{{ vault_hash }}"}),
        ({"hypervisor.firewall": {"enabled": True}}, "node_firewall", {"enabled": True}),
        ({"hypervisor.tests": {"a": []}}, "node_tests", {"a": []}),
        ({"hypervisor.network.interfaces.dns_nameservers": "8.8.8.8 1.1.1.1"}, "network",
         {"interfaces": {"name": "vmbr0", "address": "10.0.0.13/24", "dns_nameservers": ["8.8.8.8", "1.1.1.1"]}}),
        ({"hypervisor.network": {"nfs_server": "10.0.0.1"}, "hypervisor.nodes": {"pve1": {"address": "pve1"}}},
         "network", {"nfs_server": "10.0.0.1"}),
        ({"hypervisor.network": GONE, "hypervisor.nodes": {"pve1": {"address": "pve1"}}}, "network", None),
        ({"hypervisor.vms": [1], "hypervisor.vm_defaults": {"a": 1}}, "vms", None),
    ],
)  # fmt: skip
def test_fleet_settings(edits: Edits, key: str, expected: object) -> None:
    assert fleet(edits).settings.get(key) == expected


def test_what_holds_for_the_fleet_is_no_default_of_a_container() -> None:
    everything = fleet(
        {
            "951.firewall": {"enabled": True},
            "951.tests": {"a": []},
            "hypervisor.firewall": {"enabled": True},
            "hypervisor.tests": {"a": []},
        }
    )
    assert not everything.settings.keys() & everything.containers[951].settings.keys()


def made(parents: dict[int, int | None], needed: dict[int, list[int]] | None = None) -> Fleet:
    def one(ctid: int, parent: int | None) -> Container:
        settings = {"dependencies": needed[ctid]} if needed and ctid in needed else {}
        return Container(ctid, f"c{ctid}", "pve1", True, None, parent, None, (), (), {}, settings)

    return Fleet({}, {ctid: one(ctid, parent) for ctid, parent in parents.items()}, {})


@st.composite
def forests(draw: st.DrawFn) -> dict[int, int | None]:
    ctids = draw(st.lists(st.integers(100, 999), unique=True, min_size=1, max_size=20))
    parents: dict[int, int | None] = {}
    for index, ctid in enumerate(ctids):
        parents[ctid] = draw(st.none() | st.sampled_from(ctids[:index])) if index else None
    return dict(draw(st.permutations(sorted(parents.items()))))


def ancestors(parents: dict[int, int | None], ctid: int) -> set[int]:
    parent = parents[ctid]
    return set() if parent is None else {parent, *ancestors(parents, parent)}


@given(forests())
def test_depth_and_descendants_agree(parents: dict[int, int | None]) -> None:
    fleet = made(parents)
    found = depths(fleet)
    for ctid, parent in parents.items():
        assert found[ctid] == (0 if parent is None else found[parent] + 1)
        assert descendants(fleet, ctid) == sorted(other for other in parents if ctid in ancestors(parents, other))
    assert cycles({ctid: [parent] for ctid, parent in parents.items() if parent is not None}) == []


def test_what_a_container_depends_on_is_made_before_it() -> None:
    fleet = made({900: None, 901: 900, 953: 900, 956: 900}, {956: [953], 953: [901]})
    assert depths(fleet) == {900: 0, 901: 1, 953: 2, 956: 3}


def test_a_parent_of_another_fleet_counts_as_none() -> None:
    fleet = made({200: 999, 100: 200}, {100: [998]})
    assert depths(fleet) == {200: 0, 100: 1}
    assert all_features(fleet, 200) == []


def test_features_are_those_of_the_layers_below_and_its_own() -> None:
    found = fleet({"900.features": ["base_setup"], "902.features": ["base_setup", "docker"], "951.features": ["vllm"]})
    assert all_features(found, 951) == ["base_setup", "docker", "vllm"]


@given(forests(), st.data())
def test_a_circle_is_named_once_from_its_smallest_member(parents: dict[int, int | None], data: st.DataObject) -> None:
    bottom = data.draw(st.sampled_from(sorted(parents)))
    line = [bottom]
    while (above := parents[line[-1]]) is not None:
        line.append(above)
    parents[line[-1]] = bottom
    (circle,) = cycles({ctid: [parent] for ctid, parent in parents.items() if parent is not None})
    assert sorted(circle) == sorted(line)
    assert circle[0] == min(line)
    assert [parents[member] for member in circle] == [*circle[1:], circle[0]]


def test_circles_that_share_nothing_are_all_named() -> None:
    assert cycles({5: [6], 6: [5], 1: [3], 3: [2], 2: [1, 4], 7: [7]}) == [[1, 3, 2], [5, 6], [7]]


def test_an_order_that_does_not_exist() -> None:
    with pytest.raises(PhoenixError) as caught:
        depths(made({100: 101, 101: None, 102: None}, {101: [100]}))
    assert caught.value.reason == "containers wait for each other in a circle: 100 -> 101 -> 100"
    assert (
        caught.value.remedy == "Give one of them another parent (clone_from_template_ctid), or take away a dependency."
    )
