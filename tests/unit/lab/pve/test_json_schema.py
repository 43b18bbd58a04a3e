# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.pve.exceptions import ParameterError, PVEError
from lab.pve.json_schema import (
    check_format,
    format_size,
    get_standard_option,
    parse_boolean,
    parse_property_string,
    parse_size,
    print_property_string,
    validate,
)
from lab.pve.lxc.config_schema import DEVICE, FEATURES, MOUNT_POINT, NETWORK, json_config_properties

SET = json_config_properties(vmid=get_standard_option("pve-vmid"))
UNDEFINED = "property is not defined in schema and the schema does not allow additional properties"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        # pct-transcripts 1, 2, 4
        ({"vmid": "abc"}, "vmid: type check ('integer') failed - got 'abc'\n"),
        ({"vmid": "99"}, "vmid: invalid format - value does not look like a valid VM ID\n\n"),
        ({"vmid": "100", "memory": "12"}, "memory: value must have a minimum value of 16\n"),
        (
            {"vmid": "100", "hostname": "bad_host"},
            "hostname: invalid format - value does not look like a valid DNS name\n\n",
        ),
        (
            {"vmid": "100", "dev3": "path=/etc/passwd"},
            (
                "dev3: invalid format - format error\n"
                "dev3.path: invalid format - /etc/passwd is not a valid device path\n\n\n"
            ),
        ),
        (
            {"vmid": "100", "dev3": "path=/dev/fuse,mode=666"},
            "dev3: invalid format - format error\ndev3.mode: value does not match the regex pattern\n\n",
        ),
        (
            {"vmid": "100", "features": "bogus=1"},
            f"features: invalid format - format error\nfeatures.bogus: {UNDEFINED}\n\n",
        ),
        # PVE::JSONSchema
        ({}, "vmid: property is missing and it is not optional\n"),
        ({"vmid": "100", "bogus": "1"}, f"bogus: {UNDEFINED}\n"),
        ({"vmid": "100", "tty": "7"}, "tty: value must have a maximum value of 6\n"),
        ({"vmid": "100", "onboot": "yes"}, "onboot: type check ('boolean') failed - got 'yes'\n"),
        ({"vmid": "100", "cpulimit": "many"}, "cpulimit: type check ('number') failed - got 'many'\n"),
        ({"vmid": "100", "hostname": "h" * 256}, "hostname: value may only be 255 characters long\n"),
        ({"vmid": "100", "hostname": ["a"]}, "hostname: type check ('string') failed - got ARRAY\n"),
        (
            {"vmid": "100", "cmode": "x"},
            "cmode: value 'x' does not have a value in the enumeration 'shell, console, tty'\n",
        ),
        (
            {"vmid": "100", "net0": "bridge=vmbr0"},
            "net0: invalid format - format error\nnet0.name: property is missing and it is not optional\n\n",
        ),
        (
            {"vmid": "100", "net0": "name=eth0,ip=1.2.3.4"},
            (
                "net0: invalid format - format error\n"
                "net0.ip: invalid format - value does not look like a valid ipv4 network configuration\n\n\n"
            ),
        ),
        (
            {"vmid": "100", "mp0": "a:1,mp=/x/../y"},
            (
                "mp0: invalid format - format error\n"
                "mp0.mp: invalid format - /x/../y contains illegal character sequences\n\n\n"
            ),
        ),
    ],
)
def test_pve_says_what_is_wrong(values: dict[str, object], problem: str) -> None:
    with pytest.raises(ParameterError) as refused:
        validate(values, SET)
    assert refused.value.text() == f"400 Parameter verification failed.\n{problem}"


def test_what_is_right_passes() -> None:
    validate({"vmid": 100, "memory": 16, "onboot": True, "tags": "a;b,c d", "cpulimit": "0.5", "net0": "name=e"}, SET)


def test_items_of_an_array_are_checked() -> None:
    schema = {"words": {"type": "array", "items": {"type": "integer"}}}
    with pytest.raises(ParameterError) as refused:
        validate({"words": ["1", "x"]}, schema)
    assert refused.value.errors == {"words[1]": "type check ('integer') failed - got 'x'"}


def test_an_object_has_properties_of_its_own() -> None:
    schema = {"o": {"type": "object", "properties": {"a": {"type": "string", "minLength": 2}}}}
    with pytest.raises(ParameterError) as refused:
        validate({"o": {"a": "x", "b": 1}}, schema)
    assert refused.value.errors == {"o.a": "value must be at least 2 characters long", "o.b": UNDEFINED}
    with pytest.raises(ParameterError) as refused:
        validate({"o": "text"}, schema)
    assert refused.value.errors == {"o": "type check ('object') failed"}


def test_null_is_nothing() -> None:
    validate({"n": None}, {"n": {"type": "null"}})
    validate({"n": {}}, {"n": {"type": "object"}})


def test_further_keys_may_be_allowed() -> None:
    validate({"bogus": "1"}, {}, additional_properties=True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("path=/dev/a,path=/dev/b", "duplicate key in comma-separated list property: path"),
        ("/dev/a,/dev/b", "duplicate key in comma-separated list property: path"),
        ("=x", "missing key in comma-separated list property"),
        ("path=", "missing key in comma-separated list property"),
    ],
)
def test_a_property_string_that_is_none(text: str, problem: str) -> None:
    with pytest.raises(PVEError, match=problem):
        parse_property_string(DEVICE, text)


def test_a_key_is_needed_without_a_default_key() -> None:
    with pytest.raises(PVEError, match="value without key, but schema does not define a default key"):
        parse_property_string(FEATURES, "nesting")


def test_booleans_of_a_property_string_are_numbers() -> None:
    assert parse_property_string(FEATURES, "nesting=yes,keyctl=off") == {"nesting": 1, "keyctl": 0}
    with pytest.raises(PVEError) as refused:
        parse_property_string(FEATURES, "nesting=maybe")
    assert refused.value.errors == {"nesting": "type check ('boolean') failed - got 'maybe'"}


def test_the_order_of_a_property_string() -> None:
    # pct-transcripts 1: how net0 and mp0 are stored
    network = {
        "ip": "10.10.10.101/24",
        "bridge": "vmbr0",
        "type": "veth",
        "name": "eth0",
        "hwaddr": "BC:24:11:8E:CE:B8",
        "gw": "10.10.10.1",
    }
    assert (
        print_property_string(network, NETWORK)
        == "name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:8E:CE:B8,ip=10.10.10.101/24,type=veth"
    )
    volume = {"size": 1 << 30, "mp": "/data", "volume": "local-zfs:subvol-101-disk-1", "type": "volume"}
    text = "local-zfs:subvol-101-disk-1,mp=/data,size=1G"
    assert print_property_string(volume, MOUNT_POINT, ("type",)) == text


def test_what_cannot_be_printed() -> None:
    with pytest.raises(PVEError, match="illegal value with commas for volume"):
        print_property_string({"volume": "/a,b", "mp": "/x"}, MOUNT_POINT)
    # api-transcripts 10: resize of a mount point that is not there
    with pytest.raises(PVEError) as refused:
        print_property_string({"volume": "/a"}, MOUNT_POINT)
    assert refused.value.code == 500
    assert refused.value.text() == "format error\nmp: property is missing and it is not optional\n"


_WORD = st.from_regex(r"[a-z][a-z0-9.]{0,9}", fullmatch=True)


@given(
    st.fixed_dictionaries(
        {"name": _WORD},
        optional={
            "bridge": _WORD,
            "mtu": st.integers(64, 65535).map(str),
            "firewall": st.sampled_from([0, 1]),
            "tag": st.integers(1, 4094).map(str),
            "ip": st.sampled_from(["dhcp", "10.0.0.1/24"]),
            "ip6": st.sampled_from(["auto", "fd00::1/64"]),
        },
    )
)
def test_a_property_string_is_read_as_it_was_written(network: dict[str, object]) -> None:
    assert parse_property_string(NETWORK, print_property_string(network, NETWORK)) == network


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1G", 1 << 30),
        ("1.5K", 1536),
        ("8", 8),
        ("2T", 2 << 40),
        ("3MiB", 3 << 20),
        ("iB", None),
        ("3iB", None),
        ("x", None),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    assert parse_size(text) == size


@given(st.integers(0, 1 << 50))
def test_a_size_is_read_as_it_was_written(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("form", "good", "bad", "problem"),
    [
        ("pve-configid", "ab", "a", "invalid configuration ID 'a'"),
        ("pve-storage-id", "ab", "a", "storage ID 'a' cannot be shorter than 2 characters"),
        ("pve-storage-id", "a-b", "a-", "storage ID 'a-' contains illegal characters"),
        ("pve-node", "pve1", "pve_1", "value does not look like a valid node name"),
        ("mac-addr", "BC:24:11:00:00:01", "BD:24:11:00:00:01", "value does not look like a valid unicast MAC address"),
        ("ipv4", "1.2.3.4", "1.2.3.256", "value does not look like a valid IPv4 address"),
        ("ipv6", "fe80::1", "fe80:::1", "value does not look like a valid IPv6 address"),
        ("ipv6", "::", "name", "value does not look like a valid IPv6 address"),
        ("ip", "::1", "x", "value does not look like a valid IP address"),
        ("CIDRv4", "1.2.3.4/8", "1.2.3.4/7", "value does not look like a valid IPv4 CIDR network"),
        ("CIDR", "fd00::/64", "fd00::/129", "value does not look like a valid CIDR network"),
        ("lxc-ip-with-ll-iface", "fe80::1%eth0", "fe80::1%", "value does not look like a valid IP address"),
        ("disk-size", "8G", "8X", "value does not look like a valid disk size: 8X"),
        ("pve-startup-order", "order=1,up=3", "now", "unable to parse startup options"),
        ("pve-volume-id", "local:x", "local", "unable to parse volume ID 'local'"),
        ("pve-ct-timezone", "Europe/Berlin", "Mars", "invalid time zone 'Mars'"),
        ("pve-tag-list", "a;b c,d", "a;-", "invalid characters in tag"),
        ("dns-name-list", "a.b,c", "a..b", "value does not look like a valid DNS name"),
        ("pve-node-opt", "", "a_b", "value does not look like a valid node name"),
    ],
)
def test_formats(form: str, good: str, bad: str, problem: str) -> None:
    check_format(form, good)
    with pytest.raises(PVEError) as refused:
        check_format(form, bad)
    assert refused.value.message == problem


@pytest.mark.parametrize(("text", "truth"), [("1", 1), ("On", 1), ("no", 0), ("false", 0), ("2", None)])
def test_booleans(text: str, truth: int | None) -> None:
    assert parse_boolean(text) == truth
