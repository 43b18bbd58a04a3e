# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import re
import string

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._lxc_config import (
    ConfigFile,
    Section,
    decode_text,
    encode_text,
    format_properties,
    parse_properties,
)
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils import pve_conf
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils import recorded_conf as recorded
from hypothesis import example, given, settings
from hypothesis import strategies as st

# How long an example takes says more about the machine than about the code.
settings.register_profile("phoenix", deadline=None)
settings.load_profile("phoenix")


def parse(text: str) -> ConfigFile:
    return ConfigFile.parse(text.encode("utf-8", "surrogateescape"))


def rendered(config: ConfigFile) -> str:
    return config.render().decode("utf-8", "surrogateescape")


# Files as PVE could hold them, and as people could leave them behind

VALUE = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=12)
WORD = st.text(string.ascii_letters + string.digits + ",=/.:-_ ", min_size=1, max_size=12)
KEY = st.sampled_from(
    ["arch", "cores", "dev0", "dev10", "description", "delete", "hostname", "lock", "memory", "net0", "rootfs", "tags"]
)
RAW_KEY = st.sampled_from(
    ["lxc.mount.entry", "lxc.cgroup2.devices.allow", "lxc.idmap", "lxc.bogus.key", "lxc.rootfs.path", "lxc.net.0.type"]
)
LINE = st.one_of(
    st.builds("{}: {}".format, KEY, WORD),
    st.builds("{}{} {}".format, RAW_KEY, st.sampled_from([":", " =", "="]), WORD),
    st.builds("#{}".format, VALUE),
    st.sampled_from(
        ["", " ", "\t", "garbage line", "memory:", "Memory: 5", "[", "[a]", "[not a name]", "\r", "a: b\r"]
    ),
    st.sampled_from(["[pve:pending]", "[PVE:Pending] ", "[clean]", "[Base-snapshot_1]", "[current]"]),
    VALUE,
)
FILE = st.builds(lambda lines, end: "\n".join(lines) + end, st.lists(LINE, max_size=25), st.sampled_from(["\n", ""]))
MAIN_VALUE = st.text(string.ascii_letters + string.digits + ",=/.:*-_", min_size=1, max_size=10)


@given(st.binary(max_size=300))
@example(b"")
@example(b"\n")
@example(b"\xff\xfe: \x00\r\n[a\n")
def test_any_bytes_survive_parse_and_render(data: bytes) -> None:
    assert ConfigFile.parse(data).render() == data


@given(FILE)
def test_any_file_survives_parse_and_render(text: str) -> None:
    assert rendered(parse(text)) == text


@pytest.mark.parametrize("text", recorded.ALL.values(), ids=recorded.ALL)
def test_every_recorded_file_is_understood_completely(text: str) -> None:
    config = parse(text)
    assert rendered(config) == text
    assert config.dropped == ()


def _as_pve(section: Section) -> tuple[dict[str, str], str, list[tuple[str, str]]]:
    return section.options, section.description, list(section.raw)


def _assert_equal_to_pve(text: str) -> None:
    config, pve = parse(text), pve_conf.parse(text)
    found = [config.main, config.pending, *config.snapshots.values()]
    expected = [pve.main, pve.pending, *pve.snapshots.values()]
    assert [_as_pve(section) for section in found] == [
        (section.options, section.description, section.lxc) for section in expected
    ]
    assert list(config.snapshots) == list(pve.snapshots)
    assert list(config.dropped) == pve.complaints


@given(FILE)
@example("description: one\n#two\ndescription: three\n")
@example("[pve:pending]\nmemory: 1\n[a1]\n[pve:pending]\ncores: 2\n[a1]\narch: i386\n")
@example("delete: memory\n[pve:pending]\ndelete: cores\n[a1]\ndelete: swap\n")
def test_queries_are_what_pve_reads(text: str) -> None:
    _assert_equal_to_pve(text)


@pytest.mark.parametrize("text", recorded.ALL.values(), ids=recorded.ALL)
def test_queries_of_recorded_files_are_what_pve_reads(text: str) -> None:
    _assert_equal_to_pve(text)


# Edits

Edit = tuple[str, ...]
EDITS = st.one_of(
    st.tuples(st.just("set"), KEY.filter(lambda key: key not in ("delete", "description")), MAIN_VALUE),
    st.tuples(st.just("delete"), KEY),
    st.tuples(st.just("raw-add"), st.sampled_from(["lxc.mount.entry", "lxc.cgroup2.devices.allow"]), MAIN_VALUE),
    st.tuples(st.just("raw-remove"), RAW_KEY, MAIN_VALUE),
)


def _apply(config: ConfigFile, edit: Edit) -> ConfigFile:
    match edit:
        case ("set", key, value):
            return config.with_option(key, value)
        case ("delete", key):
            return config.without_option(key)
        case ("raw-add", key, value):
            return config.with_raw(add=[(key, value)])
        case ("raw-remove", key, value):
            return config.with_raw(remove=[(key, value)])
    raise AssertionError(edit)


def _main_and_sections(text: str) -> tuple[list[str], list[str]]:
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if pve_conf.parse(line).snapshots or re.fullmatch(r"\[pve:pending\]\s*", line, re.ASCII | re.IGNORECASE):
            return lines[:number], lines[number:]
    return lines, []


def _owned(edit: Edit, line: str) -> bool:
    """Whether a line of the main part belongs to an edit."""
    section = pve_conf.parse(line).main
    if edit[0] in ("set", "delete"):
        if edit[1] == "description":
            return line.startswith("description:") and bool(section.description)
        return edit[1] in section.options
    return any(entry == tuple(edit[1:]) for entry in section.lxc)


def _others(edit: Edit, lines: list[str]) -> list[str]:
    others = [line for line in lines if not _owned(edit, line)]
    # A file that is empty has one empty line, or none.
    return [] if others == [""] else others


@given(FILE, EDITS)
@example("memory: 1\n#d\nmemory: 2\n[a1]\nmemory: 3\n", ("set", "memory", "4"))
@example("[a1]\nmemory: 3\n", ("set", "memory", "4"))
@example("\n\n[pve:pending]\ncores: 3", ("raw-add", "lxc.mount.entry", "x"))
def test_an_edit_changes_only_its_own_lines(text: str, edit: Edit) -> None:
    edited = rendered(_apply(parse(text), edit))
    main, sections = _main_and_sections(text)
    new_main, new_sections = _main_and_sections(edited)
    assert new_sections == sections
    assert _others(edit, new_main) == _others(edit, main)


@given(FILE, EDITS)
def test_an_edit_has_the_effect_that_pve_reads(text: str, edit: Edit) -> None:
    edited = rendered(_apply(parse(text), edit))
    before, after = pve_conf.parse(text), pve_conf.parse(edited)
    assert after.pending == before.pending
    assert after.snapshots == before.snapshots
    expected = before.main
    match edit:
        case ("set", key, value):
            expected.options[key] = value
        case ("delete", key):
            expected.options.pop(key, None)
        case ("raw-add", key, value):
            expected.lxc.append((key, value))
        case ("raw-remove", key, value):
            expected.lxc = [entry for entry in expected.lxc if entry != (key, value)]
    assert after.main.options == expected.options
    assert after.main.lxc == expected.lxc


@given(FILE, EDITS)
def test_an_edit_twice_is_the_edit_once(text: str, edit: Edit) -> None:
    if edit[0] != "raw-add":
        once = _apply(parse(text), edit)
        assert rendered(_apply(once, edit)) == rendered(once)


def test_an_option_that_has_the_value_already_leaves_the_file_alone() -> None:
    config = parse("memory:   512 \n")
    assert config.with_option("memory", "512") is config


@pytest.mark.parametrize(
    ("before", "key", "value", "after"),
    [
        pytest.param("arch: a\nswap: 0\n", "memory", "5", "arch: a\nmemory: 5\nswap: 0\n", id="between"),
        pytest.param("arch: a\nswap: 0\n", "tags", "x", "arch: a\nswap: 0\ntags: x\n", id="last-key"),
        pytest.param("swap: 0\n", "arch", "a", "arch: a\nswap: 0\n", id="first-key"),
        pytest.param(
            "arch: a\nlxc.idmap: u\n", "cores", "1", "arch: a\ncores: 1\nlxc.idmap: u\n", id="above-the-raw-lines"
        ),
        pytest.param("#d\nlxc.idmap: u\n", "cores", "1", "#d\ncores: 1\nlxc.idmap: u\n", id="behind-the-description"),
        pytest.param("#d\n", "cores", "1", "#d\ncores: 1\n", id="only-a-description"),
        pytest.param("", "cores", "1", "cores: 1\n", id="empty-file"),
        pytest.param("#d", "cores", "1", "#d\ncores: 1", id="no-newline-at-the-end"),
        pytest.param(
            "a: 1\n\n[s1]\ncores: 2\n", "cores", "1", "a: 1\ncores: 1\n\n[s1]\ncores: 2\n", id="snapshot-has-it"
        ),
        pytest.param("m: 1\nb: 2\nm: 3\n", "m", "3", "b: 2\nm: 3\n", id="duplicates-become-one"),
    ],
)
def test_where_an_option_is_put(before: str, key: str, value: str, after: str) -> None:
    assert rendered(parse(before).with_option(key, value)) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("a: 1\n", "a: 1\nlxc.idmap: u\n", id="main-only"),
        pytest.param("a: 1\n\n[s1]\nb: 2\n", "a: 1\nlxc.idmap: u\n\n[s1]\nb: 2\n", id="above-a-snapshot"),
        pytest.param(
            "a: 1\n\n[pve:pending]\nb: 2\n", "a: 1\nlxc.idmap: u\n\n[pve:pending]\nb: 2\n", id="above-pending"
        ),
        pytest.param("[s1]\nb: 2\n", "lxc.idmap: u\n[s1]\nb: 2\n", id="no-main-part"),
        pytest.param("", "lxc.idmap: u\n", id="empty-file"),
        pytest.param("a: 1", "a: 1\nlxc.idmap: u", id="no-newline-at-the-end"),
    ],
)
def test_where_raw_lines_are_put(before: str, after: str) -> None:
    assert rendered(parse(before).with_raw(add=[("lxc.idmap", "u")])) == after


def test_raw_lines_are_removed_in_either_form_and_only_from_the_main_part() -> None:
    text = "lxc.idmap: u\nlxc.idmap = u\nlxc.idmap: v\n\n[s1]\nlxc.idmap: u\n"
    assert rendered(parse(text).with_raw(remove=[("lxc.idmap", "u")])) == "lxc.idmap: v\n\n[s1]\nlxc.idmap: u\n"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("memory", ""),
        ("memory", " 5"),
        ("memory", "5\ncores: 1"),
        ("memory", "5\n"),
        ("Memory", "5"),
        ("delete", "memory"),
        ("lxc.idmap", "u"),
    ],
)
def test_an_option_that_pve_would_not_read_back_is_refused(key: str, value: str) -> None:
    with pytest.raises(ValueError, match="not a line that PVE would read back as it was meant"):
        parse("").with_option(key, value)


@pytest.mark.parametrize(
    ("key", "value"), [("lxc.bogus.key", "1"), ("lxc.rootfs.path", "/x"), ("lxc.idmap", "u\nx: y")]
)
def test_a_raw_line_that_pve_would_drop_is_refused(key: str, value: str) -> None:
    with pytest.raises(ValueError, match="not a line that PVE would read back as it was meant"):
        parse("").with_raw(add=[(key, value)])


# What PVE did, and what an edit of ours does


def test_our_edit_is_what_pct_set_wrote_but_for_the_equals_sign() -> None:
    # pct-transcripts 2: '=' became ':' when PVE wrote the file; what we do not own stays as it was.
    edited = parse(recorded.RAW_APPENDED).with_option("memory", "2048").with_option("cores", "1")
    assert "lxc.mount.entry = /dev/nvidia-uvm" in rendered(edited)
    assert rendered(edited).replace("lxc.mount.entry = ", "lxc.mount.entry: ") == recorded.RAW_REWRITTEN


def test_pve_rewriting_its_own_file_changes_nothing() -> None:
    # The model that the other tests compare with writes, to the letter, what the real PVE wrote.
    for name, text in recorded.ALL.items():
        if name not in ("RAW_APPENDED", "COMMENTS"):
            assert pve_conf.write(pve_conf.parse(text)) == text, name
    assert pve_conf.write(pve_conf.parse(recorded.COMMENTS)) == recorded.COMMENTS_REWRITTEN


def test_adding_a_device_is_what_pct_set_wrote() -> None:
    # pct-transcripts 4: `pct set 101 -dev1 /dev/fuse --mp1 ...` of a container with a snapshot.
    base = parse(recorded.SNAPSHOT).with_raw(
        remove=[("lxc.mount.entry", "/dev/nvidiactl dev/nvidiactl none bind,optional,create=file")]
    )
    edited = base.with_option("dev1", "/dev/fuse").with_option("mp1", "local-zfs:subvol-101-disk-2,mp=/extra,size=1G")
    fuse = "lxc.mount.entry: /dev/fuse dev/fuse none bind,optional,create=file\n"
    assert rendered(edited) == recorded.CHANGED_SINCE.replace(fuse, "", 1)


def test_pending_changes_and_deletions() -> None:
    # pct-transcripts 3: a deletion and a new value of one key can stand there together.
    config = parse(recorded.PENDING)
    assert config.pending_delete == {"dev0"}
    assert config.pending.options == {
        "delete": "dev0",
        "dev0": "path=/dev/nvidia0,mode=0660",
        "features": "nesting=1,keyctl=1",
    }
    assert config.main.options["features"] == "nesting=1"


@pytest.mark.parametrize(
    ("value", "keys"),
    [("mp0,dev0", {"mp0", "dev0"}), ("!mp0;dev0 net1", {"mp0", "dev0", "net1"}), ("dev0,,", {"dev0"})],
)
def test_deletions_in_every_form_that_pve_reads(value: str, keys: set[str]) -> None:
    assert parse(f"[pve:pending]\ndelete: {value}\n").pending_delete == keys


def test_without_pending_changes_there_is_nothing_pending() -> None:
    config = parse(recorded.CREATED)
    assert (config.pending.options, config.pending_delete, config.pending.lines) == ({}, frozenset(), ())


def test_snapshots_with_their_own_description_and_lines() -> None:
    # pct-transcripts 4: the section is a full copy with its own description.
    section = parse(recorded.SNAPSHOT).snapshots["clean"]
    assert section.description == "golden: state\n2nd line 105%\n"
    assert section.options["snaptime"] == "1795164487"
    assert section.raw[0] == ("lxc.cgroup2.devices.allow", "c 195:* rwm")
    assert len(section.raw) == 3


def test_an_edit_of_a_file_with_snapshots_leaves_them_alone() -> None:
    edited = rendered(parse(recorded.SNAPSHOT).with_option("memory", "4096").without_option("dev0"))
    assert edited.partition("\n[clean]\n")[2] == recorded.SNAPSHOT.partition("\n[clean]\n")[2]


def test_comments_in_the_middle_belong_to_the_description_and_the_last_duplicate_counts() -> None:
    # pct-transcripts 2: comments anywhere become the description; duplicate key: last wins.
    config = parse(recorded.COMMENTS)
    assert config.main.options["cores"] == "2"
    assert config.main.description.endswith("tail \\ ä\n trailing comment in the middle\n")
    assert config.main.description == parse(recorded.COMMENTS_REWRITTEN).main.description


@pytest.mark.parametrize(
    "line",
    ["lxc.bogus.key: 1", "garbage line", "lxc.rootfs.path: /x", "lxc.rootfs.options: ro", "delete: memory", "memory:"],
)
def test_lines_that_pve_loses_at_its_next_write_are_named(line: str) -> None:
    # pct-transcripts 2: "unable to parse config", and the line was gone after `pct set`.
    assert parse(f"arch: amd64\n{line}\n").dropped == (line,)


@pytest.mark.parametrize(
    "line",
    [
        "lxc.cgroup.devices.allow: c 195:* rwm",
        "lxc.aa_profile: unconfined",
        "lxc.limit.nofile: 5",
        "lxc.hook.pre-start: /root/h.sh",
        "lxc.hook.mount: /root/m.sh",
        "lxc.idmap: u 0 100000 65536",
        "lxc.environment.runtime: A=b",
        "lxc.network.ipv4.gateway: 10.0.0.1",
        "bogus: 1",
        "memory: lots",
    ],
)
def test_lines_that_pve_keeps_are_not_named(line: str) -> None:
    # pct-transcripts 2: special raw keys, unknown plain keys and ill-typed values are warned about and kept.
    assert parse(f"arch: amd64\n{line}\n").dropped == ()


# Descriptions


@pytest.mark.parametrize(
    ("plain", "stored"),
    [
        # pct-transcripts 1, 2 and 4, to the letter.
        ("second: 100% a=b #hash ä €", "second%3A 100%25 a=b #hash %C3%A4 %E2%82%AC"),
        ("# managed by ansible", "# managed by ansible"),
        ("key: value 100%", "key%3A value 100%25"),
        ("", ""),
        ("tail \\ ä", "tail \\ %C3%A4"),
        ("golden: state", "golden%3A state"),
        ("2nd line 105%", "2nd line 105%25"),
        ("a\tb\x7f~", "a%09b%7F~"),
    ],
)
def test_description_lines_as_recorded(plain: str, stored: str) -> None:
    assert encode_text(plain) == stored
    assert decode_text(stored) == plain


@given(st.text())
def test_encoding_is_pves_and_is_taken_back_by_decoding(text: str) -> None:
    assert encode_text(text) == pve_conf.encode(text)
    assert decode_text(encode_text(text)) == text


@given(st.text("0123456789abcdefABCDEF%gé \n", max_size=20))
def test_decoding_is_pves(text: str) -> None:
    assert decode_text(text) == pve_conf.decode(text)


def test_recorded_description() -> None:
    # pct-transcripts 2: "encoding in the file".
    assert parse(recorded.DESCRIBED).main.description == "# managed by ansible\nkey: value 100%\n\ntail \\ ä\n"


def test_no_description() -> None:
    assert parse(recorded.DEFAULTS).main.description == ""


# Digest and property strings


def test_the_digest_is_the_recorded_one() -> None:
    # pct-transcripts 2: `sha1sum` of the very file that `--digest` was compared with.
    text = recorded.RAW_REWRITTEN.replace("features: nesting=1\n", "features: nesting=1,keyctl=1\n")
    assert parse(text).digest == "5c995eeee67007fc0129a9f1b9c55e2de420196a"


@given(st.binary(max_size=100))
def test_the_digest_is_the_sha1_of_the_bytes(data: bytes) -> None:
    assert ConfigFile.parse(data).digest == hashlib.sha1(data).hexdigest()


@pytest.mark.parametrize(
    ("text", "default_key", "properties"),
    [
        ("name=eth0,bridge=vmbr0,ip=dhcp", "", {"name": "eth0", "bridge": "vmbr0", "ip": "dhcp"}),
        ("/dev/fuse", "path", {"path": "/dev/fuse"}),
        ("path=/dev/fuse,mode=0666", "path", {"path": "/dev/fuse", "mode": "0666"}),
        (
            "local-zfs:subvol-1,mp=/data,size=1G",
            "volume",
            {"volume": "local-zfs:subvol-1", "mp": "/data", "size": "1G"},
        ),
        (" a = 1 , b = x=y ", "", {"a": "1", "b": "x=y"}),
        ("lost,a=1", "", {"a": "1"}),
        ("a=1,,", "path", {"a": "1"}),
        ("", "path", {}),
    ],
)
def test_property_strings(text: str, default_key: str, properties: dict[str, str]) -> None:
    assert parse_properties(text, default_key) == properties


@given(st.dictionaries(st.text(string.ascii_lowercase, min_size=1), st.text(string.ascii_letters + "/:=.", max_size=8)))
def test_property_strings_round_trip(properties: dict[str, str]) -> None:
    assert parse_properties(format_properties(properties)) == properties


def test_the_default_key_comes_first_and_bare() -> None:
    assert format_properties({"mode": "0666", "path": "/dev/fuse"}, "path") == "/dev/fuse,mode=0666"
