# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.pve.cli_handler import NODE, CLIHandler, Command, run_command
from lab.pve.cli_usage import usage
from lab.pve.environment import Environment
from lab.pve.exceptions import ParameterError, PVEError
from lab.pve.getopt import get_options
from lab.pve.json_schema import get_standard_option
from lab.pve.rest_handler import Method
from lab.pve.simulated import SimulatedSystem

SCHEMA: dict[str, dict[str, Any]] = {
    "node": get_standard_option("pve-node"),
    "vmid": get_standard_option("pve-vmid"),
    "memory": {"type": "integer", "optional": 1, "minimum": 16},
    "verbose": {"type": "boolean", "optional": 1},
    "version": {"type": "string", "optional": 1},
    "delete": {"type": "string", "format": "pve-configid-list", "optional": 1},
    "extra-args": get_standard_option("extra-args"),
}


def parse(*words: str, arguments: tuple[str, ...] = ("vmid",)) -> dict[str, Any]:
    return get_options(SCHEMA, words, arguments, ("node",))


@pytest.mark.parametrize(
    ("words", "parameters"),
    [
        (("100", "--memory", "512"), {"vmid": "100", "memory": "512"}),
        (("-memory=512", "100"), {"vmid": "100", "memory": "512"}),
        (("100", "--verbose"), {"vmid": "100", "verbose": 1}),
        (("100", "--verbose", "0"), {"vmid": "100", "verbose": 0}),
        (("100", "--verb", "--MEM", "7"), {"vmid": "100", "verbose": 1, "memory": "7"}),
        (("100", "--delete", "a,b", "--delete", "c"), {"vmid": "100", "delete": "a,b,c"}),
        (("--memory", "-5", "100"), {"vmid": "100", "memory": "-5"}),
    ],
)
def test_options_are_read_as_getopt_does(words: tuple[str, ...], parameters: dict[str, Any]) -> None:
    assert parse(*words) == parameters


def test_what_follows_two_dashes_is_no_option() -> None:
    arguments = ("vmid", "extra-args")
    assert parse("100", "--", "ls", "-la", arguments=arguments) == {"vmid": "100", "extra-args": ["ls", "-la"]}
    assert parse("100", arguments=arguments) == {"vmid": "100", "extra-args": []}
    assert parse("100", arguments=("vmid", "memory", "extra-args")) == {"vmid": "100", "extra-args": []}
    assert parse("100", arguments=("vmid", "memory")) == {"vmid": "100"}
    assert parse("100", "-", arguments=arguments) == {"vmid": "100", "extra-args": ["-"]}


@pytest.mark.parametrize(
    ("words", "complaint", "problem"),
    [
        # pct-transcripts 6: without --
        (("100", "-u"), "Unknown option: u\n", "unable to parse option"),
        (("100", "--bogus", "1", "-x"), "Unknown option: bogus\nUnknown option: x\n", "unable to parse option"),
        (("100", "--ver"), "Option ver is ambiguous (verbose, version)\n", "unable to parse option"),
        (("100", "--memory"), "Option memory requires an argument\n", "unable to parse option"),
        (("100", "--verbose", "maybe"), "", "unable to parse boolean option"),
        ((), "", "not enough arguments"),
        (("100", "101"), "", "too many arguments"),
        (("100", "--node", "pve1"), "Unknown option: node\n", "unable to parse option"),
    ],
)
def test_options_that_cannot_be_read(
    words: tuple[str, ...], complaint: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PVEError) as refused:
        parse(*words)
    assert refused.value.text() == f"400 {problem}\n"
    assert capsys.readouterr().err == complaint


def _run(environment: Environment, param: dict[str, Any]) -> Any:
    if param.get("version") == "die":
        raise PVEError("it died", errno=7)
    if param.get("version") == "refuse":
        raise ParameterError({"version": "no such version"})
    if param.get("version") == "exit":
        sys.exit(9)
    return {**param, "user": environment.user}


def _print(_environment: Environment, result: Any) -> int:
    print(json.dumps(result, sort_keys=True))
    return 3 if result.get("verbose") else 0


def _print_into_nowhere(_environment: Environment, _result: Any) -> None:
    raise BrokenPipeError


do_it = Method("do_it", "GET", "x", SCHEMA, _run, description="Do it, at once.")
count = Method("count", "GET", "x", {}, _run, returns={"user": {"type": "integer"}})

REFUSED = "400 Parameter verification failed."

COMMANDS: dict[str, Command | str] = {
    "do": Command("B", f"{__name__}:do_it", ("vmid",), NODE, _print),
    "done": Command("A", f"{__name__}:do_it", ("vmid", "extra-args"), NODE, _print_into_nowhere),
    "count": Command("B", f"{__name__}:count"),
    "dodo": "do",
}


@pytest.fixture(autouse=True)
def _process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command changes its PATH, and finds this module's methods by name."""
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or sys.modules[do_it.code.__module__])


@pytest.fixture
def system(tmp_path: Path) -> SimulatedSystem:
    return SimulatedSystem(tmp_path, sleep=lambda _seconds: None)


@pytest.mark.parametrize(
    ("words", "code", "err"),
    [
        (("do", "100", "--verbose"), 3, ""),
        (("dodo", "100"), 0, ""),
        (
            ("cou",),
            255,
            "400 Result verification failed\nuser: type check ('integer') failed - got 'root@pam'\nx count \n",
        ),
        (("do", "100", "--version", "die"), 7, "it died\n"),
        (
            ("do", "100", "--version", "refuse"),
            255,
            f"{REFUSED}\nversion: no such version\nx do <vmid> [OPTIONS]\n",
        ),
        (("do", "100", "--version", "exit"), 9, ""),
        (
            ("do", "abc"),
            2,
            f"{REFUSED}\nvmid: type check ('integer') failed - got 'abc'\nx do <vmid> [OPTIONS]\n",
        ),
        (("do", "100", "-z"), 2, "Unknown option: z\n400 unable to parse option\nx do <vmid> [OPTIONS]\n"),
    ],
)
def test_a_command_ends(
    system: SimulatedSystem, words: tuple[str, ...], code: int, err: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert CLIHandler("x", COMMANDS, system).run(words) == code
    assert capsys.readouterr().err == err


USAGE = """\
USAGE: x <COMMAND> [ARGS] [OPTIONS]

       x done <vmid> [<extra-args>] [OPTIONS]

       x count 
       x do <vmid> [OPTIONS]

       x help [<extra-args>] [OPTIONS]
"""  # noqa: W291  (PVE's own blank)


@pytest.mark.parametrize(
    ("words", "problem"),
    [((), "no command specified"), (("frob",), "unknown command 'x frob'"), (("d",), "unknown command 'x d'")],
)
def test_no_such_command(
    system: SimulatedSystem, words: tuple[str, ...], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # pct-transcripts 1: no arguments, unknown command
    assert CLIHandler("x", COMMANDS, system).run(words) == 255
    assert capsys.readouterr().err == f"ERROR: {problem}\n{USAGE}"


HELP = """\
USAGE: x do <vmid> [OPTIONS]

  Do it, at once.

  <vmid>     <integer> (100 - 999999999)
\t     The (unique) ID of the VM.

  --delete   <string>
\t     no description available

  --extra-args <array>
\t     Extra arguments as array

  --memory   <integer> (16 - N)
\t     no description available

  --verbose  <boolean>
\t     no description available

  --version  <string>
\t     no description available


"""


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (("help",), USAGE),
        (("help", "do"), HELP),
        (("help", "do", "--verbose", "0"), "USAGE: x do <vmid> [OPTIONS]\n\n"),
    ],
)
def test_help(system: SimulatedSystem, words: tuple[str, ...], out: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert CLIHandler("x", COMMANDS, system).run(words) == 0
    assert capsys.readouterr().out == out


def test_help_has_options_of_its_own(system: SimulatedSystem, capsys: pytest.CaptureFixture[str]) -> None:
    assert CLIHandler("x", COMMANDS, system).run(["help", "--bogus"]) == 2
    error = "Unknown option: bogus\n400 unable to parse option\nx help [<extra-args>] [OPTIONS]\n"
    assert capsys.readouterr().err == error


def test_many_options_of_one_kind_are_one_line() -> None:
    properties = {"a": {"type": "string", "default_key": 1}, "b": {"type": "boolean", "optional": 1}}
    schema: dict[str, dict[str, Any]] = {
        "dev0": {"type": "string", "format": properties, "optional": 1},
        "dev1": {"type": "string", "format": properties, "optional": 1},
        "level": {"type": "string", "enum": ["b", "a"], "default": "a", "optional": 1},
        "shape": {"type": "string", "pattern": "[a-z]+"},
        "size": {"type": "string", "format_description": "DiskSize", "optional": 1},
    }
    text = usage(Method("m", "GET", "x", schema, _run), "x m", (), (), full=True)
    assert text.splitlines() == [
        "USAGE: x m --shape <string> [OPTIONS]",
        "  --dev[n]   [a=]<string> [,b=<1|0>]",
        "\t     no description available",
        "",
        "  --level    <a | b>   (default=a)",
        "\t     no description available",
        "",
        "  --shape    [a-z]+",
        "\t     no description available",
        "",
        "  --size     <DiskSize>",
        "\t     no description available",
        "",
    ]


def test_a_call_is_logged_and_can_cost_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clock = [1000.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    system = SimulatedSystem(tmp_path, now=lambda: clock[0], sleep=sleep)
    delay = system.path("etc/phoenix-lab/start-delay")
    delay.parent.mkdir(parents=True)
    delay.write_text("0.45\n")
    assert run_command("x", COMMANDS, ["do", "100"], system) == 0
    assert json.loads(capsys.readouterr().out) == {"node": "pve1", "user": "root@pam", "vmid": "100"}
    line = json.loads(system.path("var/log/phoenix-lab/calls.jsonl").read_text())
    call = {"command": "x", "argv": ["do", "100"], "rc": 0, "seconds": 0.45, "user": "root@pam"}
    assert line == {"time": 1000.45, **call}


def test_nobody_reads_the_output(system: SimulatedSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # pct-transcripts 3: pct pending 100 | tail -4
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert CLIHandler("x", COMMANDS, system).run(["done", "100"]) == 141
    monkeypatch.setattr(sys, "stdout", io.StringIO())
