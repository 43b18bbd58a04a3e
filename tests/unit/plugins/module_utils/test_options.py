# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._lxc_config import parse_properties
from ansible_collections.phoenix.hypervisor.plugins.module_utils._options import (
    FEATURES,
    Resize,
    bind_mounts,
    changes,
    creation_options,
    size_in_bytes,
    static_addresses,
)
from hypothesis import given
from hypothesis import strategies as st

# pct-transcripts 3, "final config"
CONFIG = {
    "arch": "amd64",
    "cores": "2",
    "features": "nesting=1",
    "hostname": "base2",
    "memory": "641",
    "net0": "name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:48:AC:F9,ip=10.10.10.110/24,type=veth",
    "ostype": "debian",
    "rootfs": "local-zfs:subvol-100-disk-0,size=2G",
    "swap": "0",
    "unprivileged": "1",
}
ETH0 = {"name": "eth0", "bridge": "vmbr0", "ip": "10.10.10.110/24", "gw": "10.10.10.1"}
MAC = "hwaddr=BC:24:11:48:AC:F9"

Case = tuple[dict[str, t.Any], dict[str, str], dict[str, str], tuple[str, ...]]

# arguments, what differs from CONFIG, what is set, what is deleted
CHANGES: dict[str, Case] = {
    "nothing-asked": ({}, {}, {}, ()),
    "none-is-not-asked": ({"hostname": None, "networks": None, "features": None, "mounts": None}, {}, {}, ()),
    "same": ({"hostname": "base2", "cores": 2, "memory_mb": 641, "swap_mb": 0}, {}, {}, ()),
    "plain": (
        {"hostname": "new", "cores": 4, "memory_mb": 2048, "swap_mb": 512},
        {},
        {"hostname": "new", "cores": "4", "memory": "2048", "swap": "512"},
        (),
    ),
    "onboot-absent-is-off": ({"onboot": False}, {}, {}, ()),
    "onboot-on": ({"onboot": True}, {}, {"onboot": "1"}, ()),
    "onboot-off": ({"onboot": False}, {"onboot": "1"}, {"onboot": "0"}, ()),
    "tags-are-a-set": ({"tags": ["gpu", "ai"]}, {"tags": "ai;gpu"}, {}, ()),
    "tags-with-commas": ({"tags": ["gpu", "ai"]}, {"tags": "ai, gpu"}, {}, ()),
    "tags-new": ({"tags": ["gpu", "ai"]}, {"tags": "ai"}, {"tags": "gpu;ai"}, ()),
    "tags-gone": ({"tags": []}, {"tags": "ai"}, {}, ("tags",)),
    "tags-still-none": ({"tags": []}, {}, {}, ()),
    "startup-order-of-parts": ({"startup": "order=3,up=5"}, {"startup": "up=5,order=3"}, {}, ()),
    "startup-short": ({"startup": "3"}, {"startup": "order=3"}, {}, ()),
    "startup-new": ({"startup": "order=4"}, {"startup": "order=3"}, {"startup": "order=4"}, ()),
    "startup-gone": ({"startup": ""}, {"startup": "order=3"}, {}, ("startup",)),
    "nameservers": ({"nameserver": ["1.1.1.1", "9.9.9.9"]}, {}, {"nameserver": "1.1.1.1 9.9.9.9"}, ()),
    "nameservers-same": ({"nameserver": ["1.1.1.1", "9.9.9.9"]}, {"nameserver": "1.1.1.1,9.9.9.9"}, {}, ()),
    "nameservers-have-an-order": (
        {"nameserver": ["9.9.9.9", "1.1.1.1"]},
        {"nameserver": "1.1.1.1 9.9.9.9"},
        {"nameserver": "9.9.9.9 1.1.1.1"},
        (),
    ),
    "searchdomain-gone": ({"searchdomain": []}, {"searchdomain": "lan"}, {}, ("searchdomain",)),
    "description-newline": ({"description": "first\nsecond"}, {"description": "first\nsecond\n"}, {}, ()),
    "description-new": ({"description": "new"}, {"description": "old\n"}, {"description": "new"}, ()),
    "description-gone": ({"description": ""}, {"description": "old\n"}, {}, ("description",)),
    "network-same": ({"networks": [ETH0]}, {}, {}, ()),
    "network-defaults-said": ({"networks": [{**ETH0, "firewall": False, "link_down": False}]}, {}, {}, ()),
    "network-mac-in-small": ({"networks": [{**ETH0, "hwaddr": "bc:24:11:48:ac:f9"}]}, {}, {}, ()),
    "network-one-value": (
        {"networks": [{**ETH0, "firewall": True, "tag": 5, "mtu": 1400, "rate": 12.5}]},
        {},
        {
            "net0": f"name=eth0,bridge=vmbr0,firewall=1,gw=10.10.10.1,{MAC},ip=10.10.10.110/24,mtu=1400,rate=12.5,"
            "tag=5,type=veth"
        },
        (),
    ),
    "network-rate-of-a-whole-number": (
        {"networks": [{**ETH0, "rate": 10.0}]},
        {"net0": f"{CONFIG['net0']},rate=10"},
        {},
        (),
    ),
    "network-reset": (
        {"networks": [ETH0]},
        {"net0": f"{CONFIG['net0']},firewall=1,tag=5"},
        {"net0": CONFIG["net0"]},
        (),
    ),
    "network-unknown-sub-key-stays": (
        {"networks": [{**ETH0, "ip": "dhcp", "gw": None}]},
        {"net0": f"{CONFIG['net0']},trunks=3;4"},
        {"net0": f"name=eth0,bridge=vmbr0,{MAC},ip=dhcp,trunks=3;4,type=veth"},
        (),
    ),
    "network-other-mac": (
        {"networks": [{**ETH0, "hwaddr": "52:54:00:00:00:01"}]},
        {},
        {"net0": CONFIG["net0"].replace("BC:24:11:48:AC:F9", "52:54:00:00:00:01")},
        (),
    ),
    "network-removed": ({"networks": [ETH0]}, {"net1": "name=eth1,bridge=vmbr1,type=veth"}, {}, ("net1",)),
    "network-all-removed": ({"networks": []}, {}, {}, ("net0",)),
    "network-added": (
        {"networks": [ETH0, {"name": "eth1", "bridge": "vmbr1", "ip": "dhcp"}]},
        {},
        {"net1": "name=eth1,bridge=vmbr1,ip=dhcp"},
        (),
    ),
    "network-found-by-its-name": (
        {"networks": [{"name": "eth1", "bridge": "vmbr1", "ip": "dhcp"}, ETH0]},
        {"net3": "name=eth1,bridge=vmbr1,ip=dhcp,type=veth"},
        {},
        (),
    ),
    "network-replaced": (
        {"networks": [{"name": "lan0", "bridge": "vmbr0"}]},
        {},
        {"net1": "name=lan0,bridge=vmbr0"},
        ("net0",),
    ),
    "features-same": ({"features": {"nesting": True, "keyctl": None, "fuse": False}}, {}, {}, ()),
    "features-merged": ({"features": {"nesting": True, "keyctl": True}}, {}, {"features": "nesting=1,keyctl=1"}, ()),
    "features-known-flag-goes": (
        {"features": {"keyctl": True}},
        {"features": "nesting=1,keyctl=1"},
        {"features": "keyctl=1"},
        (),
    ),
    "features-unknown-flag-stays": (
        {"features": {"fuse": True}},
        {"features": "nesting=1,idmap=7"},
        {"features": "idmap=7,fuse=1"},
        (),
    ),
    "features-all-gone": ({"features": {}}, {}, {}, ("features",)),
    "features-still-none": ({"features": {}}, {"features": ""}, {}, ()),
    "features-zero-is-none": ({"features": {"nesting": True}}, {"features": "nesting=1,keyctl=0"}, {}, ()),
    "features-mount": (
        {"features": {"mount": ["nfs", "cifs"]}},
        {"features": "mount=nfs"},
        {"features": "mount=nfs;cifs"},
        (),
    ),
    "mount-new-volume": (
        {"mounts": [{"path": "/data", "storage": "local-zfs", "size_gb": 8, "backup": True}]},
        {},
        {"mp0": "local-zfs:8,mp=/data,backup=1"},
        (),
    ),
    "mount-new-directory": (
        {"mounts": [{"path": "/srv", "source": "/srv/models", "read_only": True}]},
        {"mp0": "local-zfs:subvol-100-disk-1,mp=/data,size=8G"},
        {"mp1": "/srv/models,mp=/srv,ro=1"},
        (),
    ),
    "mount-same": (
        {"mounts": [{"path": "/data", "storage": "local-zfs", "size_gb": 8, "read_only": False}]},
        {"mp3": "local-zfs:subvol-100-disk-1,acl=1,mp=/data,size=8G"},
        {},
        (),
    ),
    "mount-read-only": (
        {"mounts": [{"path": "/data", "storage": "local-zfs", "size_gb": 8, "read_only": True}]},
        {"mp3": "local-zfs:subvol-100-disk-1,acl=1,mp=/data,size=8G"},
        {"mp3": "local-zfs:subvol-100-disk-1,acl=1,mp=/data,size=8G,ro=1"},
        (),
    ),
    "mount-writable-again": (
        {"mounts": [{"path": "/data", "storage": "local-zfs", "size_gb": 8, "read_only": False}]},
        {"mp3": "local-zfs:subvol-100-disk-1,mp=/data,ro=1,size=8G"},
        {"mp3": "local-zfs:subvol-100-disk-1,mp=/data,size=8G"},
        (),
    ),
    "mount-other-directory": (
        {"mounts": [{"path": "/srv", "source": "/srv/b"}]},
        {"mp0": "/srv/a,mp=/srv"},
        {"mp0": "/srv/b,mp=/srv"},
        (),
    ),
    "mount-never-removed": ({"mounts": []}, {"mp0": "local-zfs:subvol-100-disk-1,mp=/data,size=8G"}, {}, ()),
}


@pytest.mark.parametrize(("arguments", "differing", "options", "delete"), CHANGES.values(), ids=CHANGES)
def test_changes(
    arguments: dict[str, t.Any], differing: dict[str, str], options: dict[str, str], delete: tuple[str, ...]
) -> None:
    found = changes({"ctid": 100, **arguments}, {**CONFIG, **differing})
    assert found.options == options
    assert found.delete == delete
    assert found.resize == ()
    assert bool(found) is bool(options or delete)


SIZES = {
    "smaller-unit": ("512M", 1, (Resize("rootfs", "512M", 1),)),
    "half": ("1.5G", 2, (Resize("rootfs", "1.5G", 2),)),
    "larger": ("32G", 100, (Resize("rootfs", "32G", 100),)),
    "same": ("32G", 32, ()),
    "same-in-megabytes": ("2048M", 2, ()),
    "same-in-terabytes": ("1T", 1024, ()),
    "same-in-kilobytes": ("1048576K", 1, ()),
    "same-in-bytes": ("1073741824", 1, ()),
    "none-known": ("", 4, (Resize("rootfs", "", 4),)),
}


@pytest.mark.parametrize(("before", "size_gb", "resize"), SIZES.values(), ids=SIZES)
def test_the_root_file_system_grows(before: str, size_gb: int, resize: tuple[Resize, ...]) -> None:
    volume = "local-zfs:subvol-100-disk-0"
    config = {**CONFIG, "rootfs": f"{volume},size={before}" if before else volume}
    found = changes({"ctid": 100, "rootfs": {"storage": "local-zfs", "size_gb": size_gb}}, config)
    assert found.resize == resize
    assert (found.options, found.delete) == ({}, ())


def test_a_mounted_volume_grows() -> None:
    config = {**CONFIG, "mp0": "local-zfs:subvol-100-disk-1,mp=/data,size=8G"}
    found = changes({"ctid": 100, "mounts": [{"path": "/data", "storage": "local-zfs", "size_gb": 9}]}, config)
    assert found.resize == (Resize("mp0", "8G", 9),)
    assert found


VOLUME = {"mp0": "local-zfs:subvol-100-disk-1,mp=/data,size=1T"}
_GROWS = "A volume grows and never shrinks: name its size or more."
REFUSED: dict[str, tuple[dict[str, t.Any], dict[str, str], str]] = {
    "rootfs-shrinks": (
        {"rootfs": {"size_gb": 1}},
        {"rootfs": "local-zfs:subvol-100-disk-0,size=1.5G"},
        f"rootfs.size_gb: 1 is less than the 1.5G that rootfs has. {_GROWS}",
    ),
    "mount-shrinks": (
        {"mounts": [{"path": "/data", "storage": "local-zfs", "size_gb": 1023}]},
        VOLUME,
        f"mp0.size_gb: 1023 is less than the 1T that mp0 has. {_GROWS}",
    ),
    "rootfs-moves": (
        {"rootfs": {"storage": "fast"}},
        {},
        (
            "rootfs.storage: 'fast' is not where rootfs is, which is local-zfs. "
            "Move it with `pct move-volume 100 rootfs fast`, or correct the argument."
        ),
    ),
    "mount-moves": (
        {"mounts": [{"path": "/data", "storage": "fast", "size_gb": 1024}]},
        VOLUME,
        (
            "mp0.storage: 'fast' is not where mp0 is, which is local-zfs. "
            "Move it with `pct move-volume 100 mp0 fast`, or correct the argument."
        ),
    ),
    "volume-becomes-directory": (
        {"mounts": [{"path": "/data", "source": "/srv"}]},
        VOLUME,
        (
            "mounts.path: '/data' has the volume local-zfs:subvol-100-disk-1 (mp0) and cannot become a directory. "
            "Correct the argument, or take the mount away first (`pct set 100 --delete mp0`)."
        ),
    ),
    "directory-becomes-volume": (
        {"mounts": [{"path": "/data", "storage": "local-zfs", "size_gb": 1}]},
        {"mp0": "/srv,mp=/data"},
        (
            "mounts.path: '/data' has the directory /srv (mp0) and cannot become a volume. "
            "Correct the argument, or take the mount away first (`pct set 100 --delete mp0`)."
        ),
    ),
}


@pytest.mark.parametrize(("arguments", "differing", "message"), REFUSED.values(), ids=REFUSED)
def test_what_would_lose_data_is_refused(arguments: dict[str, t.Any], differing: dict[str, str], message: str) -> None:
    with pytest.raises(PhoenixError) as raised:
        changes({"ctid": 100, **arguments}, {**CONFIG, **differing})
    assert str(raised.value) == message
    assert raised.value.code is Code.INPUT


CREATION: dict[str, tuple[dict[str, t.Any], dict[str, str]]] = {
    "unprivileged-said": ({"unprivileged": True}, {"unprivileged": "1"}),
    "unprivileged-by-default": ({"unprivileged": None}, {"unprivileged": "1"}),
    "privileged": ({"unprivileged": False}, {"unprivileged": "0"}),
    "rootfs": ({"rootfs": {"storage": "local-zfs", "size_gb": 32}}, {"unprivileged": "1", "rootfs": "local-zfs:32"}),
    "rootfs-default-size": ({"rootfs": {"storage": "local-zfs"}}, {"unprivileged": "1", "rootfs": "local-zfs:4"}),
    "pve-defaults-are-not-repeated": ({"memory_mb": 512, "swap_mb": 512, "onboot": False}, {"unprivileged": "1"}),
    "everything": (
        {
            "hostname": "a",
            "cores": 2,
            "memory_mb": 1024,
            "networks": [ETH0],
            "features": {"nesting": True},
            "mounts": [{"path": "/data", "storage": "local-zfs", "size_gb": 8}],
            "tags": ["x"],
            "description": "one\ntwo",
        },
        {
            "unprivileged": "1",
            "hostname": "a",
            "cores": "2",
            "memory": "1024",
            "net0": "name=eth0,bridge=vmbr0,gw=10.10.10.1,ip=10.10.10.110/24",
            "features": "nesting=1",
            "mp0": "local-zfs:8,mp=/data",
            "tags": "x",
            "description": "one\ntwo",
        },
    ),
}


@pytest.mark.parametrize(("arguments", "options"), CREATION.values(), ids=CREATION)
def test_creation_options(arguments: dict[str, t.Any], options: dict[str, str]) -> None:
    assert creation_options({"ctid": 100, **arguments}) == options


@pytest.mark.parametrize(
    ("text", "size"),
    [("512M", 512 * 2**20), ("1.5G", 3 * 2**29), ("1T", 2**40), ("7K", 7168), ("12", 12), ("", 0), ("big", 0)],
)
def test_size_in_bytes(text: str, size: int) -> None:
    assert size_in_bytes(text) == size


def test_static_addresses() -> None:
    options = {**CONFIG, "net1": "name=eth1,ip=dhcp,ip6=fd00::1/64", "net2": "name=eth2", "nett": "ip=1.1.1.1/8"}
    assert static_addresses(options) == {"net0.ip": "10.10.10.110/24", "net1.ip6": "fd00::1/64"}


def test_bind_mounts() -> None:
    options = {**CONFIG, **VOLUME, "mp1": "/srv,mp=/srv", "mp2": "volume=/x,mp=/y"}
    assert bind_mounts(options) == {"mp1": "/srv", "mp2": "/x"}


# Properties

words = st.text("abcdefghij0123456789", min_size=1, max_size=8)
macs = st.sampled_from(["BC:24:11:48:AC:F9", "bc:24:11:48:ac:f9", "52:54:00:00:00:01", None])
switches = st.sampled_from([True, False, None])
networks = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["eth0", "eth1", "lan0"]),
            "bridge": st.sampled_from(["vmbr0", "vmbr1"]),
            "ip": st.sampled_from(["dhcp", "10.10.10.110/24", None]),
            "hwaddr": macs,
            "firewall": switches,
            "tag": st.sampled_from([None, 5]),
            "rate": st.sampled_from([None, 1.0, 2.5]),
        }
    ),
    max_size=3,
    unique_by=lambda network: network["name"],
)
mounts = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"path": st.sampled_from(["/a", "/b"]), "storage": st.just("local-zfs"), "size_gb": st.just(8)},
            optional={"read_only": switches, "backup": switches},
        ),
        st.fixed_dictionaries({"path": st.sampled_from(["/c"]), "source": st.just("/srv")}),
    ),
    max_size=3,
    unique_by=lambda mount: mount["path"],
)
asked = st.fixed_dictionaries(
    {"ctid": st.just(100)},
    optional={
        "hostname": words,
        "cores": st.integers(1, 8),
        "memory_mb": st.sampled_from([512, 1024]),
        "onboot": switches,
        "startup": st.sampled_from(["", "3", "order=3", "up=5,order=3"]),
        "tags": st.lists(words, max_size=3),
        "nameserver": st.lists(st.sampled_from(["1.1.1.1", "9.9.9.9"]), max_size=2),
        "description": st.text(max_size=10).filter(lambda text: "\r" not in text),
        "networks": networks,
        "features": st.dictionaries(st.sampled_from([flag for flag in FEATURES if flag != "mount"]), switches),
        "mounts": mounts,
    },
)
held = st.fixed_dictionaries(
    {"rootfs": st.just("local-zfs:subvol-100-disk-0,size=2G")},
    optional={
        "hostname": words,
        "memory": st.sampled_from(["512", "641"]),
        "onboot": st.sampled_from(["0", "1"]),
        "startup": st.sampled_from(["order=3", "up=5"]),
        "tags": st.sampled_from(["a", "a;b", "b, a"]),
        "description": st.sampled_from(["x\n", "two\nlines\n"]),
        "features": st.sampled_from(["nesting=1", "keyctl=1,nesting=1,idmap=7", "nesting=0", "mount=nfs"]),
        "net0": st.just(CONFIG["net0"]),
        "net4": st.just("name=eth1,bridge=vmbr1,hwaddr=52:54:00:00:00:02,firewall=1,trunks=3,type=veth"),
        "mp2": st.just("local-zfs:subvol-100-disk-1,acl=1,mp=/a,ro=1,size=8G"),
    },
)


def applied(found: t.Any, config: dict[str, str]) -> dict[str, str]:
    """What PVE makes of the changes."""
    after = {**{key: value for key, value in config.items() if key not in found.delete}, **found.options}
    for key, value in after.items():
        if key.startswith("mp"):
            after[key] = value.replace("local-zfs:8,", "local-zfs:subvol-100-disk-9,size=8G,")
    return after


@given(asked, held)
def test_what_was_changed_needs_no_change(arguments: dict[str, t.Any], config: dict[str, str]) -> None:
    first = changes(arguments, config)
    assert not first.options.keys() & set(first.delete)
    assert not changes(arguments, applied(first, config))


@given(asked)
def test_what_was_created_needs_no_change(arguments: dict[str, t.Any]) -> None:
    options = creation_options(arguments)
    defaults = {"memory": "512", "swap": "512", "rootfs": "local-zfs:subvol-100-disk-0,size=2G"}
    created = {
        **defaults,
        **{key: value.replace("local-zfs:8,", "local-zfs:x,size=8G,") for key, value in options.items()},
    }
    assert not changes(arguments, created)


@given(networks, held)
def test_a_mac_changes_only_by_the_argument(asked_for: list[dict[str, t.Any]], config: dict[str, str]) -> None:
    found = changes({"networks": asked_for}, config)
    for network in asked_for:
        before = {
            properties["name"]: properties.get("hwaddr")
            for key, value in config.items()
            if key.startswith("net")
            for properties in [parse_properties(value)]
        }
        after = {
            properties["name"]: properties.get("hwaddr")
            for key, value in applied(found, config).items()
            if key.startswith("net")
            for properties in [parse_properties(value)]
        }
        expected = network["hwaddr"] or before.get(network["name"])
        assert (after[network["name"]] or "").upper() == (expected or "").upper()


@given(asked, held)
def test_volumes_are_never_taken_away(arguments: dict[str, t.Any], config: dict[str, str]) -> None:
    found = changes(arguments, config)
    assert not [key for key in found.delete if key.startswith(("mp", "rootfs"))]
    volumes = {key: value.partition(",")[0] for key, value in config.items() if key.startswith(("mp", "rootfs"))}
    after = applied(found, config)
    assert {key: after[key].partition(",")[0] for key in volumes} == volumes
