# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._option_checks import check_arguments
from hypothesis import given
from hypothesis import strategies as st


def network(**properties: t.Any) -> dict[str, t.Any]:
    return {"networks": [{"name": "eth0", **properties}]}


def mount(**properties: t.Any) -> dict[str, t.Any]:
    return {"mounts": [{"path": "/data", **properties}]}


_SPELLING = "Use letters, digits and hyphens, labels of at most 63 characters."
_MAC = "Write six pairs such as 52:54:00:AA:BB:CC; the second digit is even."
_ONE_OR_OTHER = "Give source for a directory of the node, storage and size_gb for a volume."
_PLACE = "Write an absolute path other than /."
_WHICH = "'/data' needs either source, or storage and size_gb"
_ORDER = "Write it as order=3,up=5,down=60; each part can be left out."

REFUSED: dict[str, tuple[dict[str, t.Any], str]] = {
    "key-of-a-file-that-is-not-public": (
        {"ssh_public_keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]},
        (
            "ssh_public_keys: '-----BEGIN OPENSSH PRIVATE KEY-----' is no line of a file of public keys. "
            "Write the line of the file .pub, such as ssh-ed25519 AAAA... me."
        ),
    ),
    "two-keys-in-one": (
        {"ssh_public_keys": ["ssh-rsa AAAA\nssh-rsa AAAA"]},
        (
            "ssh_public_keys: 'ssh-rsa AAAA\\nssh-rsa AAAA' is no line of a file of public keys. "
            "Write the line of the file .pub, such as ssh-ed25519 AAAA... me."
        ),
    ),
    # pct-transcripts 1: "create: bad hostname"
    "hostname-underscore": ({"hostname": "bad_host"}, f"hostname: 'bad_host' is no valid DNS name. {_SPELLING}"),
    "hostname-empty": ({"hostname": ""}, f"hostname: '' is no valid DNS name. {_SPELLING}"),
    "hostname-hyphen": ({"hostname": "-a"}, f"hostname: '-a' is no valid DNS name. {_SPELLING}"),
    "hostname-newline": ({"hostname": "a\n"}, f"hostname: 'a\\n' is no valid DNS name. {_SPELLING}"),
    "hostname-label": ({"hostname": "a" * 64}, f"hostname: '{'a' * 64}' is no valid DNS name. {_SPELLING}"),
    "hostname-long": ({"hostname": "a." * 128 + "a"}, f"hostname: '{'a.' * 128}a' is no valid DNS name. {_SPELLING}"),
    # pct-transcripts 2: "memory too small"
    "memory": ({"memory_mb": 12}, "memory_mb: 12 is too small. Use 16 or more."),
    "cores": ({"cores": 0}, "cores: 0 is too small. Use 1 or more."),
    "swap": ({"swap_mb": -1}, "swap_mb: -1 is too small. Use 0 or more."),
    "tag": (
        {"tags": ["ok", "not ok"]},
        "tags: 'not ok' is no tag that PVE accepts. Use letters, digits and the characters _ + . -",
    ),
    "tag-first": (
        {"tags": ["-x"]},
        "tags: '-x' is no tag that PVE accepts. Use letters, digits and the characters _ + . -",
    ),
    "startup": ({"startup": "third"}, f"startup: 'third' is no start order that PVE accepts. {_ORDER}"),
    "nameserver": ({"nameserver": ["dns"]}, "nameserver: 'dns' is no address. Write the name server's IP address."),
    "searchdomain": (
        {"searchdomain": ["a_b"]},
        "searchdomain: 'a_b' is no valid DNS name. Write a domain such as example.com.",
    ),
    "feature-mount": (
        {"features": {"mount": ["nfs,keyctl=1"]}},
        "features.mount: 'nfs,keyctl=1' is no file system type. Write one type per entry, such as nfs.",
    ),
    "rootfs-size": ({"rootfs": {"size_gb": 0}}, "rootfs.size_gb: 0 is too small. Use 1 or more, in GiB."),
    "ip-without-prefix": (
        network(ip="10.0.0.201"),
        "networks.ip: '10.0.0.201' has no prefix length. Write the network's prefix behind it, as in 10.0.0.201/24.",
    ),
    "ip-netmask": (
        network(ip="10.0.0.201/255.255.255.0"),
        (
            "networks.ip: '10.0.0.201/255.255.255.0' has no prefix length. "
            "Write the network's prefix behind it, as in 10.0.0.201/24."
        ),
    ),
    "ip-of-version-6": (
        network(ip="fd00::1/64"),
        "networks.ip: 'fd00::1/64' is no IPv4 address. Write an address such as 10.0.0.201/24.",
    ),
    "ip-of-version-6-without-prefix": (
        network(ip="fd00::1"),
        "networks.ip: 'fd00::1' is no IPv4 address. Write an address such as 10.0.0.201/24.",
    ),
    "ip-prefix-too-long": (
        network(ip="10.0.0.1/33"),
        "networks.ip: '10.0.0.1/33' is no address. Write one of dhcp, manual, or 10.0.0.201/24.",
    ),
    "ip-auto": (network(ip="auto"), "networks.ip: 'auto' is no address. Write one of dhcp, manual, or 10.0.0.201/24."),
    "ip6-without-prefix": (
        network(ip6="fd00::1"),
        "networks.ip6: 'fd00::1' has no prefix length. Write the network's prefix behind it, as in fd00::201/64.",
    ),
    "ip6-of-version-4": (
        network(ip6="10.0.0.1/24"),
        "networks.ip6: '10.0.0.1/24' is no IPv6 address. Write an address such as fd00::201/64.",
    ),
    "ip6-nonsense": (
        network(ip6="x"),
        "networks.ip6: 'x' is no address. Write one of dhcp, manual, auto, or fd00::201/64.",
    ),
    "gw-with-prefix": (
        network(gw="10.0.0.1/24"),
        "networks.gw: '10.0.0.1/24' is no address. Write the gateway's address without a prefix.",
    ),
    "gw-of-version-6": (
        network(gw="fd00::1"),
        "networks.gw: 'fd00::1' is no IPv4 address. Write the gateway of the same family.",
    ),
    "gw6-of-version-4": (
        network(gw6="10.0.0.1"),
        "networks.gw6: '10.0.0.1' is no IPv6 address. Write the gateway of the same family.",
    ),
    "mac-multicast": (
        network(hwaddr="53:54:00:AA:BB:CC"),
        f"networks.hwaddr: '53:54:00:AA:BB:CC' is no unicast MAC address. {_MAC}",
    ),
    "mac-short": (
        network(hwaddr="52:54:00:AA:BB"),
        f"networks.hwaddr: '52:54:00:AA:BB' is no unicast MAC address. {_MAC}",
    ),
    "mac-hyphens": (
        network(hwaddr="52-54-00-AA-BB-CC"),
        f"networks.hwaddr: '52-54-00-AA-BB-CC' is no unicast MAC address. {_MAC}",
    ),
    "vlan-0": (network(tag=0), "networks.tag: 0 is no VLAN id. Use a number from 1 to 4094."),
    "vlan-4095": (network(tag=4095), "networks.tag: 4095 is no VLAN id. Use a number from 1 to 4094."),
    "mtu": (network(mtu=63), "networks.mtu: 63 is no size that PVE accepts. Use a number from 64 to 65535."),
    "interface": (
        {"networks": [{"name": "eth0,ip=dhcp"}]},
        (
            "networks.name: 'eth0,ip=dhcp' is no name for an interface. "
            "Use at most 15 letters, digits and the characters _ . -, such as eth0."
        ),
    ),
    "interface-twice": (
        {"networks": [{"name": "eth0"}, {"name": "eth1"}, {"name": "eth0"}]},
        "networks.name: 'eth0' is named twice. Give every interface its own name.",
    ),
    "mount-without-source": (mount(), f"mounts: {_WHICH}. {_ONE_OR_OTHER}"),
    "mount-storage-only": (mount(storage="local-zfs"), f"mounts: {_WHICH}. {_ONE_OR_OTHER}"),
    "mount-size-only": (mount(size_gb=8), f"mounts: {_WHICH}. {_ONE_OR_OTHER}"),
    "mount-both": (mount(source="/srv", storage="local-zfs", size_gb=8), f"mounts: {_WHICH}. {_ONE_OR_OTHER}"),
    "mount-source-and-size": (mount(source="/srv", size_gb=8), f"mounts: {_WHICH}. {_ONE_OR_OTHER}"),
    "mount-size": (mount(storage="x", size_gb=0), "mounts.size_gb: 0 is too small. Use 1 or more, in GiB."),
    "mount-source": (
        mount(source="local-zfs:1"),
        "mounts.source: 'local-zfs:1' is no directory of the node. Write an absolute path.",
    ),
    "mount-source-comma": (
        mount(source="/srv,ro=0"),
        "mounts.source: '/srv,ro=0' is no directory of the node. Write an absolute path.",
    ),
    "mount-path": ({"mounts": [{"path": "data"}]}, f"mounts.path: 'data' is no place to mount at. {_PLACE}"),
    "mount-root": ({"mounts": [{"path": "/"}]}, f"mounts.path: '/' is no place to mount at. {_PLACE}"),
    "mount-comma": ({"mounts": [{"path": "/a,b"}]}, f"mounts.path: '/a,b' is no place to mount at. {_PLACE}"),
    "mount-twice": (
        {"mounts": [{"path": "/a", "source": "/x"}, {"path": "/a", "source": "/y"}]},
        "mounts.path: '/a' is named twice. Mount one thing at each path.",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_with_the_remedy(arguments: dict[str, t.Any], message: str) -> None:
    with pytest.raises(PhoenixError) as raised:
        check_arguments(arguments)
    assert str(raised.value) == message
    assert raised.value.code is Code.INPUT


ACCEPTED: dict[str, dict[str, t.Any]] = {
    "keys": {
        "ssh_public_keys": [
            "ssh-ed25519 AAAAC3Nz me@home, for work",
            'from="10.0.0.0/8",no-pty ecdsa-sha2-nistp256 AAAAE2Vj==',
            "sk-ssh-ed25519@openssh.com AAAAGnNr",
        ]
    },
    "nothing": {},
    "all-none": dict.fromkeys(
        "hostname cores memory_mb swap_mb tags startup nameserver searchdomain features networks mounts rootfs".split()
    ),
    "numbers": {"cores": 1, "memory_mb": 16, "swap_mb": 0, "rootfs": {"storage": "local-zfs", "size_gb": 1}},
    "hostname": {"hostname": "vllmQwen3Coder.example.com"},
    "tags": {"tags": ["gpu", "A_b+c.d-e", "_x", "9"]},
    "startup": {"startup": "order=3,up=5,down=60"},
    "startup-short": {"startup": "3"},
    "startup-up": {"startup": "up=5"},
    "startup-none": {"startup": ""},
    "names": {"nameserver": ["1.1.1.1", "fd00::53"], "searchdomain": ["lan", "example.com"]},
    "features": {"features": {"nesting": True, "mount": ["nfs", "cifs"]}},
    "ip-dhcp": network(ip="dhcp", ip6="auto"),
    "ip-manual": network(ip="manual", ip6="manual"),
    "ip": network(ip="10.0.0.201/24", gw="10.0.0.1", ip6="fd00::201/64", gw6="fd00::1"),
    "mac": network(hwaddr="bc:24:11:48:ac:f9", tag=4094, mtu=1500),
    "tag": network(tag=1),
    "volume": mount(storage="local-zfs", size_gb=8),
    "directory": mount(source="/srv/models"),
}


@pytest.mark.parametrize("arguments", ACCEPTED.values(), ids=ACCEPTED)
def test_good_input_is_accepted(arguments: dict[str, t.Any]) -> None:
    check_arguments(arguments)


@given(st.ip_addresses(), st.integers(0, 32))
def test_every_address_with_its_prefix_belongs_into_one_of_the_families(address: t.Any, prefix: int) -> None:
    right, wrong = ("ip", "ip6") if address.version == 4 else ("ip6", "ip")
    check_arguments(network(**{right: f"{address}/{prefix}"}))
    with pytest.raises(PhoenixError, match=r"is no IPv[46] address"):
        check_arguments(network(**{wrong: f"{address}/{prefix}"}))


@given(st.text(max_size=20))
def test_no_text_breaks_out_of_its_property(text: str) -> None:
    """A comma in a value would be the next property of the option."""
    for arguments in (network(ip=text), network(gw=text), network(hwaddr=text), {"networks": [{"name": text}]}):
        try:
            check_arguments(arguments)
        except PhoenixError:
            continue
        assert "," not in text
