# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.pve.exceptions import PVEError
from lab.pve.lxc.config_file import parse_pct_config, print_pct_config
from lab.pve.lxc.config_schema import check_type, typed

# pct-transcripts 2 and 4: everything that a file can hold
FILE = """\
## managed by ansible
#key%3A value 100%25
#
#tail \\ %C3%A4
arch: amd64
cores: 1
memory: 1024
parent: clean
rootfs: local-zfs:subvol-101-disk-0,size=2G
unprivileged: 1
lxc.cgroup2.devices.allow: c 195:* rwm
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file

[pve:pending]
delete: dev0
features: nesting=1,keyctl=1

[clean]
#golden%3A state
memory: 512
snaptime: 1795164487
lxc.cgroup2.devices.allow: c 195:* rwm

[halfway]
snapstate: prepare
snaptime: 1
"""


def test_a_file_is_read() -> None:
    conf = parse_pct_config(101, FILE.encode())
    assert conf["description"] == "# managed by ansible\nkey: value 100%\n\ntail \\ ä\n"
    assert (conf["memory"], conf["unprivileged"], conf["arch"]) == (1024, 1, "amd64")
    assert [key for key, _value in conf["lxc"]] == ["lxc.cgroup2.devices.allow", "lxc.mount.entry", "lxc.mount.entry"]
    assert conf["pending"] == {"delete": "dev0", "features": "nesting=1,keyctl=1"}
    assert conf["snapshots"]["clean"]["snaptime"] == 1795164487
    assert conf["snapshots"]["halfway"] == {"snapstate": "prepare", "snaptime": 1}
    assert conf["digest"] == hashlib.sha1(FILE.encode()).hexdigest()


def test_a_file_is_written_as_it_was_read() -> None:
    assert print_pct_config(parse_pct_config(101, FILE.encode())).decode() == FILE


def test_a_write_tidies() -> None:
    # pct-transcripts 2: comments anywhere become the description; duplicate key: last wins; "=" becomes ":"
    before = "# one\nswap: 1\n\ncores: 1\nlxc.mount.entry = a b none bind\n# two\ncores: 2\ndescription: three\n"
    after = "# one\n# two\n#three\ncores: 2\nswap: 1\nlxc.mount.entry: a b none bind\n"
    assert print_pct_config(parse_pct_config(101, before.encode())).decode() == after


@pytest.mark.parametrize(
    ("line", "warning", "written"),
    [
        # pct-transcripts 2: unknown / invalid lines written by hand into the file
        ("lxc.bogus.key: 1", "unable to parse config: lxc.bogus.key: 1", ""),
        ("bogus: 1", "unable to parse value of 'bogus' - unknown setting 'bogus'", "bogus: 1\n"),
        (
            "memory: lots",
            "unable to parse value of 'memory' - type check ('integer') failed - got 'lots'",
            "memory: lots\n",
        ),
        ("garbage line", "unable to parse config: garbage line", ""),
        ("lxc.rootfs.path: /x", "lxc.rootfs.path: lxc.rootfs.path is auto generated from rootfs", ""),
        (
            "lxc.cgroup.devices.allow: a",
            "lxc.cgroup.devices.allow is deprecated, this will be a hard error in the future!",
            "lxc.cgroup.devices.allow: a\n",
        ),
        (
            "lxc.aa_profile: unconfined",
            "lxc.aa_profile is deprecated and was renamed to lxc.apparmor.profile",
            "lxc.aa_profile: unconfined\n",
        ),
        (
            "lxc.limit.nofile: 5",
            "lxc.limit.nofile: lxc.limit.* was renamed to lxc.prlimit.*",
            "lxc.limit.nofile: 5\n",
        ),
        ("delete: dev0", "property 'delete' is only allowed in [pve:pending]", ""),
        ("lxc.idmap: u 0 100000 65536", "", "lxc.idmap: u 0 100000 65536\n"),
        ("lxc.prlimit.nofile: 5", "", "lxc.prlimit.nofile: 5\n"),
        ("lxc.environment.runtime: A=1", "", "lxc.environment.runtime: A=1\n"),
        ("onboot: yes", "", "onboot: 1\n"),
        ("snapstate: delete", "", ""),
    ],
)
def test_what_pve_says_of_a_line(line: str, warning: str, written: str, capsys: pytest.CaptureFixture[str]) -> None:
    conf = parse_pct_config(101, f"{line}\n".encode())
    assert capsys.readouterr().err == (f"vm 101 - {warning}\n" if warning else "")
    assert print_pct_config(conf).decode() == written


def test_a_strict_reader_refuses() -> None:
    with pytest.raises(PVEError, match="vm 101 - unable to parse config: garbage"):
        parse_pct_config(101, b"garbage\n", strict=True)


def test_environment_lines_are_one_key() -> None:
    text = "lxc.environment.runtime: A=1\nlxc.environment.runtime: B=2\n"
    conf = parse_pct_config(101, text.encode())
    assert conf["env"] == "A=1\0B=2"
    assert print_pct_config(conf).decode() == text


def test_a_newline_in_a_value_is_never_written() -> None:
    with pytest.raises(PVEError, match="detected invalid newline inside property 'hostname'"):
        print_pct_config({"hostname": "a\nb"})


_CONF = st.fixed_dictionaries(
    {},
    optional={
        "memory": st.integers(16, 9999),
        "onboot": st.sampled_from([0, 1]),
        "hostname": st.from_regex(r"[a-z]{1,9}", fullmatch=True),
        "cpulimit": st.sampled_from(["0.5", "2"]),
        "description": st.text(max_size=30)
        .map(lambda text: text.rstrip("\n") + "\n")
        .filter(lambda text: text != "\n"),
        "lxc": st.lists(st.sampled_from([["lxc.mount.entry", "a b none bind"], ["lxc.cgroup2.x", "y"]]), min_size=1),
    },
)


@given(_CONF, _CONF, st.dictionaries(st.from_regex(r"[a-z][a-z0-9_-]{1,9}", fullmatch=True), _CONF, max_size=3))
def test_what_is_written_is_read_again(
    main: dict[str, object], pending: dict[str, object], snapshots: dict[str, dict[str, object]]
) -> None:
    conf = {**main, "pending": pending, "snapshots": snapshots}
    data = print_pct_config(conf)
    again = parse_pct_config(101, data)
    again.pop("digest")
    assert again == conf
    assert print_pct_config(again) == data


@given(st.binary(max_size=200))
def test_any_bytes_can_be_read_and_are_stable_once_written(data: bytes) -> None:
    written = print_pct_config(parse_pct_config(101, data))
    assert print_pct_config(parse_pct_config(101, written)) == written


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("onboot", "on", 1),
        ("onboot", "No", 0),
        ("memory", "512", 512),
        ("cpulimit", "1.5", "1.5"),
        ("lock", "foo", "foo"),
    ],
)
def test_types(key: str, value: str, kept: object) -> None:
    assert check_type(key, value) == kept


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("x", "1", "unknown setting 'x'"),
        ("hostname", "a\r", "property contains a line feed"),
        ("onboot", "2", "type check ('boolean') failed - got '2'"),
        ("cpulimit", "x", "type check ('number') failed - got 'x'"),
    ],
)
def test_values_of_the_wrong_type(key: str, value: str, problem: str) -> None:
    with pytest.raises(PVEError) as refused:
        check_type(key, value)
    assert refused.value.message == problem


def test_a_parameter_gets_the_type_of_the_file() -> None:
    assert (typed("onboot", "1"), typed("memory", "512"), typed("hostname", "512")) == (1, 512, "512")
    assert typed("memory", "-1") == "-1"
