# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.pve.cli import pvesh
from lab.pve.cli.text_output import parse_options, render
from lab.pve.exceptions import PVEError
from lab.pve.simulated import SimulatedSystem


@pytest.fixture
def system(tmp_path: Path) -> SimulatedSystem:
    system = SimulatedSystem(tmp_path)
    system.prepare("zfspool: local-zfs\n\tpool rpool/data\n\tmountpoint /rpool/data\n")
    (tmp_path / "etc/pve/nodes/pve1/lxc/100.conf").write_text(
        "arch: amd64\nhostname: base\nmemory: 512\nostype: debian\n"
        "rootfs: local-zfs:subvol-100-disk-0,size=1G\nswap: 0\n",
        encoding="utf-8",
    )
    return system


def test_json(system: SimulatedSystem, capsys: pytest.CaptureFixture[str]) -> None:
    assert pvesh.main(["get", "/version", "--output-format", "json"], system) == 0
    assert capsys.readouterr().out == '{"release":"9.2","repoid":"14a22df35955d97d","version":"9.2.11"}\n'
    assert pvesh.main(["get", "/version", "--output-format=json-pretty"], system) == 0
    assert capsys.readouterr().out == (
        '{\n   "release" : "9.2",\n   "repoid" : "14a22df35955d97d",\n   "version" : "9.2.11"\n}\n'
    )


def test_containers_are_read_and_changed(system: SimulatedSystem, capsys: pytest.CaptureFixture[str]) -> None:
    assert pvesh.main(["set", "/nodes/pve1/lxc/100/config", "--memory", "600"], system) == 0
    assert capsys.readouterr().out == ""
    assert pvesh.main(["get", "nodes/pve1/lxc/100/config", "--output-format", "json"], system) == 0
    assert json.loads(capsys.readouterr().out)["memory"] == 600
    assert pvesh.main(["get", "/cluster/resources", "--type", "vm", "--output-format", "json"], system) == 0
    assert [row["vmid"] for row in json.loads(capsys.readouterr().out)] == [100]
    assert pvesh.main(["get", "/cluster/nextid"], system) == 0
    assert capsys.readouterr().out == "101\n"
    assert pvesh.main(["get", "/cluster/nextid", "--quiet"], system) == 0
    assert capsys.readouterr().out == ""


def test_tables(system: SimulatedSystem, capsys: pytest.CaptureFixture[str]) -> None:
    assert pvesh.main(["get", "/version"], system) == 0
    assert capsys.readouterr().out == (
        "┌─────────┬──────────────────┐\n"
        "│ key     │ value            │\n"
        "╞═════════╪══════════════════╡\n"
        "│ release │ 9.2              │\n"
        "├─────────┼──────────────────┤\n"
        "│ repoid  │ 14a22df35955d97d │\n"
        "├─────────┼──────────────────┤\n"
        "│ version │ 9.2.11           │\n"
        "└─────────┴──────────────────┘\n"
    )


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        pytest.param([], 255, "ERROR: no command specified", id="nothing"),
        pytest.param(["fly", "/"], 255, "ERROR: unknown command 'fly'", id="command"),
        pytest.param(["get"], 255, "400 not enough arguments", id="no path"),
        pytest.param(["get", "/nosuch"], 255, "No 'get' handler defined for '/nosuch'", id="path"),
        pytest.param(["create", "/version"], 255, "No 'create' handler defined for '/version'", id="verb"),
        pytest.param(["get", "/version", "extra"], 2, "400 too many arguments", id="too many"),
        pytest.param(["get", "/version", "--output-format", "xml"], 2, "enumeration 'text, json", id="format"),
        pytest.param(["ls", "/nosuch"], 2, "501 no such resource '/nosuch'", id="ls"),
        pytest.param(
            ["get", "/cluster/nextid", "--vmid", "x"], 2, "400 Parameter verification failed.\nvmid: ", id="parameter"
        ),
        pytest.param(
            ["get", "/nodes/pve1/lxc/999/config"],
            2,
            "Configuration file 'nodes/pve1/lxc/999.conf' does not exist",
            id="no container",
        ),
    ],
)
def test_failures(
    system: SimulatedSystem, capsys: pytest.CaptureFixture[str], words: list[str], status: int, text: str
) -> None:
    assert pvesh.main(words, system) == status
    assert text in capsys.readouterr().err


def test_what_there_is(system: SimulatedSystem, capsys: pytest.CaptureFixture[str]) -> None:
    assert pvesh.main(["ls", "/access"], system) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "-rw--        acl" in lines
    assert "Dr-c-        users" in lines
    assert pvesh.main(["usage", "/access/acl"], system) == 0
    assert "USAGE: pvesh set /access/acl --path <string>" in capsys.readouterr().out
    assert pvesh.main(["help"], system) == 0
    assert "pvesh get <api_path>" in capsys.readouterr().out


def test_calls_are_logged_and_can_be_slow(tmp_path: Path, system: SimulatedSystem) -> None:
    slept: list[float] = []
    slow = SimulatedSystem(tmp_path, sleep=slept.append)
    slow.path("etc/phoenix-lab").mkdir()
    slow.path("etc/phoenix-lab/start-delay").write_text("0.45\n", encoding="ascii")
    assert pvesh.main(["get", "/nosuch"], slow) == 255
    assert slept == [0.45]
    (line,) = system.path("var/log/phoenix-lab/calls.jsonl").read_text(encoding="utf-8").splitlines()
    entry = json.loads(line)
    assert (entry["command"], entry["argv"], entry["rc"]) == ("pvesh", ["get", "/nosuch"], 255)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        pytest.param(["--a", "1", "-b", "2"], {"a": "1", "b": "2"}, id="values"),
        pytest.param(["--a=1=2"], {"a": "1=2"}, id="equals sign"),
        pytest.param(["--flag", "--a", "-1"], {"flag": "1", "a": "-1"}, id="flag, negative number"),
        pytest.param(["--a", "1", "--a", "2"], {"a": "1\0002"}, id="twice"),
    ],
)
def test_options(words: list[str], options: dict[str, str]) -> None:
    assert parse_options(words) == options


def test_options_are_all_there_is() -> None:
    with pytest.raises(PVEError, match="too many arguments: x"):
        parse_options(["--a", "1", "x"])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param(None, "", id="nothing"),
        pytest.param("x", "x\n", id="text"),
        pytest.param(["a", 1], "a\n1\n", id="list"),
        pytest.param([], "", id="empty"),
        pytest.param(
            {"a": [1]},
            "┌─────┬───────┐\n│ key │ value │\n╞═════╪═══════╡\n│ a   │ [1]   │\n└─────┴───────┘\n",
            id="nested",
        ),
    ],
)
def test_render(data: object, text: str) -> None:
    assert render(data) == text
