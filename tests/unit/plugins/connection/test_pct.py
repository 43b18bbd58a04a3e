# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import collections.abc as c
import itertools
import json
import os
import pathlib
import re
import shlex
import typing as t

import pytest
import yaml
from ansible.plugins.connection import ssh
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.connection.pct_world import World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

WAYS = {
    "ssh": {"ansible_user": "root"},
    "sudo": {"ansible_user": "admin"},
    "local": {"phoenix_node": "localhost", "phoenix_node_sudo": False},
    "pct": {"phoenix_method": "pct"},
}
NAMES = {
    "plain": "plain",
    "spaces": "with  two spaces ",
    "quotes": "single ' double \" both '\"'",
    "non-ascii": "汉语 äöü",
    "shell": "$HOME `id` $(id) * ; & | > !x",
    "newline": "one\ntwo",
    "backslash": "a\\b\\n",
    "leading dash": "-rf",
    "longest": "x" * 255,
}
BINARY = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> c.Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    yield made
    made.stop()


@pytest.fixture
def room(world: World, request: pytest.FixtureRequest) -> pathlib.Path:
    """A directory of this test's own in the container."""
    made = world.root / "home" / re.sub(r"\W", "_", request.node.name)
    made.mkdir()
    return made


every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


# Commands


@every_way
@pytest.mark.parametrize("code", [0, 1, 2, 100, 126, 127, 254, 255])
def test_exit_codes_are_the_commands_own(world: World, way: dict[str, t.Any], code: int) -> None:
    # pct-transcripts 6: exit codes
    answer = world.call("exec", way, command=f"exit {code}")
    assert (answer["rc"], answer["stdout"], answer["stderr"]) == (code, "", "")


@every_way
def test_a_killed_command_is_a_failed_command(world: World, way: dict[str, t.Any]) -> None:
    # pct-transcripts 6: killed by signal
    assert world.call("exec", way, command="kill -9 $$")["rc"] == 137


@every_way
def test_output_and_errors_stay_apart(world: World, way: dict[str, t.Any]) -> None:
    answer = world.call("exec", way, command="echo out; echo err >&2; tty; exit 255")
    assert (answer["rc"], answer["stdout"], answer["stderr"]) == (255, "out\nnot a tty\n", "err\n")


@every_way
def test_stdin_and_stdout_are_binary_safe(world: World, way: dict[str, t.Any]) -> None:
    answer = world.call("exec", way, command="cat", stdin=BINARY.decode("latin-1"))
    assert answer["stdout"].encode("latin-1") == BINARY


@every_way
def test_a_command_without_input_reads_an_end_of_file(world: World, way: dict[str, t.Any]) -> None:
    assert world.call("exec", way, command="cat")["rc"] == 0


def test_a_command_may_leave_its_input_unread(world: World) -> None:
    answer = world.call("exec", {}, command="exit 3", stdin="x" * 3_000_000)
    assert answer["rc"] == 3


@every_way
def test_nothing_but_the_container_expands_a_command(world: World, way: dict[str, t.Any]) -> None:
    # pct-transcripts 6: is there a shell / glob expansion
    text = "|".join(NAMES.values())
    answer = world.call("exec", way, command=shlex.join(["printf", "%s", text]))
    assert answer["stdout"].encode("latin-1").decode() == text


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40))
def test_any_text_reaches_the_command_as_it_is(world: World, text: str) -> None:
    answer = world.call("exec", {}, command=shlex.join(["printf", "%s", text]))
    assert answer["stdout"].encode("latin-1").decode() == text


@every_way
def test_the_environment_is_the_containers(world: World, way: dict[str, t.Any]) -> None:
    # pct-transcripts 6: environment with --keep-env 0
    answer = world.call("exec", way, command="env; pwd")
    lines = answer["stdout"].splitlines()
    assert {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "container=lxc",
        "USER=root",
        "LOGNAME=root",
        f"HOME={world.root}/home",
    } <= set(lines)
    assert not [line for line in lines if line.startswith(("LEAKS", "LC_ALL", "NODE_USER"))]
    assert lines[-1] == f"{world.root}/home"


def become_with(world: World, password: str | None) -> dict[str, t.Any]:
    program = str(world.root / "bin" / "container-sudo")
    return {"become_user": "someone", "become_pass": password, "become_exe": program}


@every_way
@pytest.mark.parametrize("password", [None, "se cret"], ids=["no password", "password"])
@pytest.mark.parametrize("stdin", [None, "in"], ids=["no input", "input"])
def test_become_acts_in_the_container(
    world: World, way: dict[str, t.Any], password: str | None, stdin: str | None
) -> None:
    become = become_with(world, password)
    answer = world.call("exec", way, command="cat; echo out" if stdin else "echo out", become=become, stdin=stdin)
    assert (answer["rc"], answer["stdout"]) == (0, f"{stdin or ''}out\n")


def test_a_wrong_become_password_is_named(world: World) -> None:
    answer = world.call("exec", {}, command="echo out", become=become_with(world, "wrong"))
    assert answer["message"] == "Incorrect sudo password"


@pytest.mark.parametrize(("password", "expected"), [(None, False), ("se cret", True)], ids=["no password", "password"])
def test_a_terminal_is_asked_for_only_to_type_a_password(world: World, password: str | None, expected: bool) -> None:
    before = len(world.ssh_log())
    world.call("exec", {}, command="true", become=become_with(world, password))
    assert (" -tt " in "\n".join(world.ssh_log()[before:])) is expected


# The way to the container


def test_all_containers_of_a_node_share_one_connection(world: World) -> None:
    before = len(world.ssh_log())
    node = {"phoenix_node": "pve1", "ansible_port": 2222, "ansible_user": "root"}
    for ctid in (100, 102):
        world.call("exec", node | {"phoenix_ctid": ctid, "ansible_host": f"10.0.0.{ctid}"}, command="true")
    log = world.ssh_log()[before:]
    control_paths = {re.search(r"ControlPath=\S+", line)[0] for line in log}  # type: ignore[index]
    assert len(log) == 2
    assert len(control_paths) == 1
    assert all("-o Port=2222 " in line and '-o User="root"' in line and " pve1 /bin/sh -c " in line for line in log)
    assert not any("10.0.0" in line for line in log)


def test_reset_closes_the_connection_to_the_node(world: World) -> None:
    before = len(world.ssh_log())
    world.call("reset", {})
    assert [re.search(r"-O \w+ \w+$", line)[0] for line in world.ssh_log()[before:]] == [  # type: ignore[index]
        "-O check pve1",
        "-O stop pve1",
    ]


def test_on_the_node_itself_there_is_no_ssh(world: World) -> None:
    before = len(world.ssh_log())
    for way in (WAYS["local"], {"phoenix_node_local": True, "phoenix_node_sudo": False}):
        assert world.call("exec", way, command="echo here")["stdout"] == "here\n"
    assert len(world.ssh_log()) == before


def test_on_the_node_itself_there_is_nothing_to_reset(world: World) -> None:
    # A node whose name a shell would run.
    program = world.root / "bin" / "tripwire"
    program.write_text(f"#!/bin/sh\ntouch {world.root}/tripped\n")
    program.chmod(0o755)
    world.call("reset", {"phoenix_node": "tripwire", "phoenix_node_local": True})
    assert not (world.root / "tripped").exists()


LXC_ACCESS = (
    "lxc-attach: 100: ../src/lxc/tools/lxc_attach.c: lxc_attach_main: 349 You lack access to /home/x/.local/share/lxc"
)
CLOSED_DOORS = {
    "stopped": (
        {"phoenix_ctid": 101},
        "AnsibleConnectionFailure",
        "Container 101 on node pve1 is not running. Start it: pct start 101",
    ),
    "stopped, by pct": (
        {"phoenix_ctid": 101, "phoenix_method": "pct"},
        "AnsibleConnectionFailure",
        "Container 101 on node pve1 is not running. Start it: pct start 101",
    ),
    "missing": (
        {"phoenix_ctid": 999},
        "AnsibleConnectionFailure",
        "There is no container 999 on node pve1. Check phoenix_ctid and phoenix_node.",
    ),
    "missing, by pct": (
        {"phoenix_ctid": 999, "phoenix_method": "pct"},
        "AnsibleConnectionFailure",
        "There is no container 999 on node pve1. Check phoenix_ctid and phoenix_node.",
    ),
    "stopped, by sudo": (
        {"phoenix_ctid": 101, "ansible_user": "admin"},
        "AnsibleConnectionFailure",
        "Container 101 on node pve1 is not running. Start it: pct start 101",
    ),
    "stopped, on the node itself": (
        {"phoenix_ctid": 101, "phoenix_node": "localhost", "phoenix_node_sudo": False},
        "AnsibleConnectionFailure",
        "Container 101 on node localhost is not running. Start it: pct start 101",
    ),
    "sudo asks for a password": (
        {"ansible_user": "guest"},
        "AnsibleAuthenticationFailure",
        (
            "Failed to authenticate: The user on node pve1 may not run lxc-attach with sudo. "
            "Allow that without a password, or log in as root: sudo: a password is required"
        ),
    ),
    "neither root nor sudo": (
        {"ansible_user": "guest", "phoenix_node_sudo": False},
        "AnsibleAuthenticationFailure",
        (
            "Failed to authenticate: The user on node pve1 may not enter containers. Log in as root, "
            f"or set phoenix_node_sudo if the user has sudo there: {LXC_ACCESS}"
        ),
    ),
    "no node": (
        {"phoenix_node": "desktop", "ansible_user": "root"},
        "AnsibleConnectionFailure",
        "Node desktop has no command lxc-attach. phoenix_node must name a Proxmox VE node: ",
    ),
    "no node, by pct": (
        {"phoenix_node": "desktop", "ansible_user": "root", "phoenix_method": "pct"},
        "AnsibleConnectionFailure",
        "Node desktop has no command pct. phoenix_node must name a Proxmox VE node: ",
    ),
    "node is down": (
        {"phoenix_node": "down"},
        "AnsibleConnectionFailure",
        "Failed to connect to the host via ssh: ssh: connect to host down port 22: No route to host",
    ),
    "ctid out of range": (
        {"phoenix_ctid": 99},
        "AnsibleError",
        "phoenix_ctid: 99 is not an id that PVE accepts. Use a number from 100 to 999999999.",
    ),
    "no ctid": (
        {"phoenix_ctid": None},
        "AnsibleError",
        "A container needs phoenix_ctid and phoenix_node in the inventory",
    ),
}


@pytest.mark.parametrize("case", CLOSED_DOORS.values(), ids=CLOSED_DOORS.keys())
@pytest.mark.parametrize("op", ["exec", "exec with input", "put_file", "fetch_file"])
def test_a_container_that_cannot_be_entered(
    world: World, tmp_path: pathlib.Path, op: str, case: tuple[dict[str, t.Any], str, str]
) -> None:
    variables, kind, message = case
    source = tmp_path / "source"
    source.write_bytes(b"x" * 300_000)
    calls: dict[str, dict[str, t.Any]] = {
        "exec": {"command": "true"},
        "exec with input": {"command": "cat", "stdin": "x" * 300_000},
        "put_file": {"args": [str(source), "/x"]},
        "fetch_file": {"args": ["/x", str(tmp_path / "x")]},
    }
    answer = world.call(op.split(maxsplit=1)[0], variables, **calls[op])
    assert answer["error"] == kind
    text = answer["message"]
    if op in {"exec with input", "put_file"} and variables.get("phoenix_node") == "down":
        assert "No route to host" in text
    else:
        assert text.startswith(message)
    assert list(tmp_path.iterdir()) == [source]


OWN_WORDS = [
    "lxc-attach: 100: ../src/lxc/attach.c: get_attach_context: 406 Connection refused - Failed to get init pid",
    "container '100' not running!",
    "Configuration file 'nodes/pve1/lxc/100.conf' does not exist",
    "sudo: a password is required",
    "sh: 1: lxc-attach: not found",
]


@every_way
@pytest.mark.parametrize("words", OWN_WORDS)
@pytest.mark.parametrize("code", [0, 1, 255])
def test_what_a_command_says_does_not_close_the_container(
    world: World, way: dict[str, t.Any], words: str, code: int
) -> None:
    answer = world.call("exec", way, command=f"echo {shlex.quote(words)} >&2; exit {code}")
    assert (answer["rc"], answer["stderr"]) == (code, f"{words}\n")


def test_the_ssh_plugin_finds_each_of_its_options(world: World) -> None:
    answer = world.call("options", {})
    of_ssh = set(yaml.safe_load(ssh.DOCUMENTATION)["options"])
    of_transfers = {name for name in of_ssh if name.startswith(("sftp_", "scp_"))} | {"ssh_transfer_method"}
    assert set(answer["options"]) == of_ssh - of_transfers - {"remote_user"} | {
        "ctid",
        "method",
        "node_local",
        "node_sudo",
        "node_user",
    }
    assert answer["pipelining"] is True


# Files


@every_way
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_files_of_any_name_go_both_ways(
    world: World, room: pathlib.Path, tmp_path: pathlib.Path, way: dict[str, t.Any], name: str
) -> None:
    here, inside, back = tmp_path / name, room / name, tmp_path / "back" / name
    here.write_bytes(BINARY)
    back.parent.mkdir()
    assert world.call("put_file", way, args=[str(here), str(inside)])["rc"] == 0
    assert inside.read_bytes() == BINARY
    assert world.call("fetch_file", way, args=[str(inside), str(back)])["rc"] == 0
    assert back.read_bytes() == BINARY
    assert [list(directory.iterdir()) for directory in (room, back.parent)] == [[inside], [back]]


@pytest.mark.parametrize("size", [0, 1, 65536, 1_048_577])
def test_files_of_any_size_go_both_ways(world: World, room: pathlib.Path, tmp_path: pathlib.Path, size: int) -> None:
    content = (b"0123456789abcde\n" * (size // 16 + 1))[:size]
    (tmp_path / "here").write_bytes(content)
    world.call("put_file", {}, args=[str(tmp_path / "here"), str(room / "inside")])
    world.call("fetch_file", {}, args=[str(room / "inside"), str(tmp_path / "back")])
    assert (room / "inside").read_bytes() == (tmp_path / "back").read_bytes() == content


@pytest.mark.parametrize("name", ["-dash", "plain"])
def test_a_relative_path_starts_at_home(world: World, tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / "here").write_bytes(BINARY)
    inside = world.root / "home" / name
    assert world.call("put_file", {}, args=[str(tmp_path / "here"), name])["rc"] == 0
    assert world.call("fetch_file", {}, args=[name, str(tmp_path / "back")])["rc"] == 0
    assert inside.read_bytes() == (tmp_path / "back").read_bytes() == BINARY


@pytest.mark.parametrize("way", [{}, WAYS["local"]], ids=["ssh", "local"])
def test_a_large_file_does_not_pass_through_memory(
    world: World, room: pathlib.Path, tmp_path: pathlib.Path, way: dict[str, t.Any]
) -> None:
    size = 200 << 20
    with (tmp_path / "here").open("wb") as file:
        file.truncate(size)
    before = world.call("exec", way, command="true")["peak_kb"]
    world.call("put_file", way, args=[str(tmp_path / "here"), str(room / "inside")])
    after = world.call("fetch_file", way, args=[str(room / "inside"), str(tmp_path / "back")])["peak_kb"]
    assert (room / "inside").stat().st_size == (tmp_path / "back").stat().st_size == size
    assert after - before < 32 << 10


def test_a_file_that_is_replaced_keeps_its_owner_and_mode(
    world: World, room: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    # pct-transcripts 7: push onto existing file keeps its mode
    (tmp_path / "here").write_text("new")
    inside = room / "inside"
    inside.write_text("old")
    owner = 1234 if os.geteuid() == 0 else os.geteuid()
    os.chown(inside, owner, -1)
    inside.chmod(0o4711)
    world.call("put_file", {}, args=[str(tmp_path / "here"), str(inside)])
    assert inside.read_text() == "new"
    assert (inside.stat().st_uid, inside.stat().st_mode & 0o7777) == (owner, 0o4711)


REFUSED_PUTS = {
    "missing directory": ({}, "no/such/dir", r"cannot create .*/no/such/\.\w+\.part"),
    "directory": ({}, ".", r"it is a directory"),
    "full disk": ({"phoenix_ctid": 103}, "full", r"cat: (write error|standard output): File too large"),
    "truncated on the way": (
        {"phoenix_ctid": 104},
        "lossy",
        r"of 10240 bytes 100 arrived, with another checksum",
    ),
}


@pytest.mark.parametrize("case", REFUSED_PUTS.values(), ids=REFUSED_PUTS.keys())
def test_a_file_that_cannot_be_written_leaves_nothing(
    world: World, room: pathlib.Path, tmp_path: pathlib.Path, case: tuple[dict[str, t.Any], str, str]
) -> None:
    variables, name, reason = case
    (tmp_path / "here").write_bytes(BINARY)
    (room / "full").write_text("as it was")
    answer = world.call("put_file", variables, args=[str(tmp_path / "here"), f"{room}/{name}"])
    ctid = variables.get("phoenix_ctid", 100)
    prefix = re.escape(f"Cannot write {room}/{name} in container {ctid} on node pve1: ")
    assert answer["error"] == "AnsibleError"
    assert re.match(prefix + ".*" + reason, answer["message"], re.DOTALL)
    assert {path.name: path.read_text() for path in room.iterdir()} == {"full": "as it was"}


def test_a_file_to_send_must_exist(world: World) -> None:
    answer = world.call("put_file", {}, args=["/no/such/file", "/x"])
    assert answer["error"] == "AnsibleFileNotFound"
    assert answer["message"].startswith("/no/such/file does not exist on this machine")


REFUSED_FETCHES = {
    "missing": ({}, "none", r"cannot (read|open) .*none|.*No such file"),
    "directory": ({}, ".", r"it is a directory"),
    "truncated on the way": ({"phoenix_ctid": 104}, "file", r"another checksum arrived than was sent"),
}


@pytest.mark.parametrize("case", REFUSED_FETCHES.values(), ids=REFUSED_FETCHES.keys())
def test_a_file_that_cannot_be_read_changes_nothing_here(
    world: World, room: pathlib.Path, tmp_path: pathlib.Path, case: tuple[dict[str, t.Any], str, str]
) -> None:
    variables, name, reason = case
    (room / "file").write_bytes(BINARY)
    (tmp_path / "back").write_text("as it was")
    answer = world.call("fetch_file", variables, args=[f"{room}/{name}", str(tmp_path / "back")])
    ctid = variables.get("phoenix_ctid", 100)
    prefix = re.escape(f"Cannot read {room}/{name} in container {ctid} on node pve1: ")
    assert answer["error"] == "AnsibleError"
    assert re.match(prefix + ".*" + reason, answer["message"], re.DOTALL)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"back": "as it was"}


def test_a_file_that_says_it_is_empty_is_read_to_its_end(world: World, tmp_path: pathlib.Path) -> None:
    world.call("fetch_file", {}, args=["/proc/version", str(tmp_path / "back")])
    assert (tmp_path / "back").read_text() == pathlib.Path("/proc/version").read_text()


def test_a_file_that_breaks_off_is_not_taken_for_all_of_it(world: World, tmp_path: pathlib.Path) -> None:
    answer = world.call("fetch_file", {}, args=["/proc/self/mem", str(tmp_path / "back")])
    assert answer["message"].startswith("Cannot read /proc/self/mem in container 100 on node pve1: cat: ")
    assert list(tmp_path.iterdir()) == []


# Ansible as a whole


HOSTS = {
    "pipelined": {"ansible_pipelining": True},
    "unpipelined": {"ansible_pipelining": False},
    "by_sudo": {"ansible_user": "admin", "ansible_pipelining": False},
    "by_pct": {"phoenix_method": "pct", "ansible_pipelining": False},
    "local": {"phoenix_node": "localhost", "phoenix_node_sudo": False, "ansible_pipelining": False},
}


@pytest.fixture(scope="module")
def played(world: World) -> dict[tuple[str, str], tuple[str, t.Any]]:
    """Ansible's own rules for connection plugins, and what people do with them, in one run."""
    (world.root / "src 汉语").mkdir()
    (world.root / "src 汉语" / "汉语.txt").write_text("汉语\n")
    (world.root / "script.sh").write_text('#!/bin/sh\necho "script $1"; exit 4\n')
    inside = f"{world.root}/home/{{{{ inventory_hostname }}}} 汉语"
    tasks: list[dict[str, t.Any]] = [
        {"name": "ping", "ping": {}},
        {"name": "raw", "raw": "echo 汉语; echo err >&2"},
        {"name": "raw 255", "raw": "exit 255", "ignore_errors": True},
        {"name": "directory", "file": {"path": inside, "state": "directory"}},
        {"name": "copy", "copy": {"src": f"{world.root}/src 汉语/汉语.txt", "dest": f"{inside}/汉语.txt"}},
        {"name": "copy again", "copy": {"src": f"{world.root}/src 汉语/汉语.txt", "dest": f"{inside}/汉语.txt"}},
        {"name": "fetch", "fetch": {"src": f"{inside}/汉语.txt", "dest": f"{world.root}/fetched/"}},
        {"name": "script", "script": f"{world.root}/script.sh 'a b'", "ignore_errors": True},
        {"name": "async", "command": "echo later", "async": 20, "poll": 1},
        {"name": "become root", "command": "id -u", "become": True},
        {"meta": "reset_connection"},
        {"name": "wait", "wait_for_connection": {"timeout": 5}},
        {"name": "delegated", "raw": "echo $HOME", "delegate_to": "stopped", "ignore_unreachable": True},
    ]
    unreachable = [{"name": "gone", "ping": {}}]
    inventory = {
        "all": {
            "vars": {
                "ansible_connection": "phoenix.hypervisor.pct",
                "ansible_user": "root",
                "phoenix_node": "pve1",
                "phoenix_ctid": 100,
            },
            "children": {
                "open": {"hosts": {name: {"ansible_host": "192.0.2.1"} | more for name, more in HOSTS.items()}},
                "closed": {"hosts": {"stopped": {"phoenix_ctid": 101}, "missing": {"phoenix_ctid": 999}}},
            },
        }
    }
    results = world.play(
        inventory,
        [
            {"hosts": "open", "gather_facts": False, "strategy": "free", "tasks": tasks},
            {"hosts": "closed", "gather_facts": False, "tasks": unreachable},
        ],
    )
    return {(host, task): (status, result) for host, task, status, result in results}


@pytest.mark.parametrize("host", HOSTS)
def test_ansible_works_in_a_container(played: dict[tuple[str, str], t.Any], world: World, host: str) -> None:
    def result(task: str, status: str = "ok") -> t.Any:
        came_to, answer = played[host, task]
        assert came_to == status, answer
        return answer

    assert result("ping")["ping"] == "pong"
    assert (result("raw")["stdout"], result("raw")["stderr"]) == ("汉语\n", "err\n")
    assert result("raw 255", "failed")["rc"] == 255
    assert result("copy")["changed"] is True
    assert result("copy again")["changed"] is False
    assert pathlib.Path(result("fetch")["dest"]).read_text() == "汉语\n"
    assert (result("script", "failed")["rc"], result("script", "failed")["stdout"]) == (4, "script a b\n")
    assert result("async")["stdout"] == "later"
    # Already root in the container, so nothing there has to know sudo.
    assert result("become root")["stdout"] == str(os.geteuid())
    assert result("wait")["changed"] is False
    assert "Container 101 on node pve1 is not running" in result("delegated", "unreachable")["msg"]


@pytest.mark.parametrize(("host", "message"), [("stopped", "is not running"), ("missing", "There is no container 999")])
def test_a_closed_container_is_unreachable(played: dict[tuple[str, str], t.Any], host: str, message: str) -> None:
    status, result = played[host, "gone"]
    assert status == "unreachable"
    assert message in result["msg"]


def test_ansible_doc_shows_the_plugin_with_the_options_of_ssh(world: World) -> None:
    done = world.ansible("doc", "-t", "connection", "--json", "phoenix.hypervisor.pct")
    documentation = json.loads(done.stdout)["phoenix.hypervisor.pct"]["doc"]
    options = documentation["options"]
    assert {"ctid", "host", "private_key_file", "pipelining", "ssh_args", "timeout"} <= set(options)
    assert [names["name"] for names in options["host"]["vars"]] == ["phoenix_node"]
    specifiers = itertools.chain(options.values(), *(o.get(k, ()) for o in options.values() for k in ("vars", "env")))
    assert "O(remote_user)" not in done.stdout
    assert not [specifier for specifier in specifiers if "version_added" in specifier]
