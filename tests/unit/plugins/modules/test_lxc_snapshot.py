# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What comes before and after the manager, which has its own tests: the arguments, the way to act, the result.

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.phoenix.hypervisor.plugins.modules import lxc_snapshot
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.api_server import (
    Answer,
    make_certificates,
    serving,
)
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.worlds import World

Output = pytest.CaptureFixture[str]


def ended(output: Output, arguments: dict[str, t.Any], *, rc: int) -> dict[str, t.Any]:
    """What the module printed when it ended."""
    with patch_module_args(arguments), pytest.raises(SystemExit) as end:
        lxc_snapshot.main()
    assert end.value.code == rc
    return t.cast("dict[str, t.Any]", json.loads(output.readouterr().out))


REFUSED: dict[str, tuple[dict[str, t.Any], str]] = {
    "no-ctid": ({"name": "s1"}, "missing required arguments: ctid"),
    "no-name": ({"ctid": 900}, "missing required arguments: name"),
    "ctid": ({"ctid": "nine", "name": "s1"}, "argument 'ctid' is of type"),
    "state": ({"ctid": 900, "name": "s1", "state": "rollback"}, "value of state must be one of: present, absent"),
    "power": ({"ctid": 900, "name": "s1", "power": "off"}, "value of power must be one of: keep, cycle"),
    "metadata": ({"ctid": 900, "name": "s1", "metadata": ["a"]}, "argument 'metadata' is of type"),
    "replace": ({"ctid": 900, "name": "s1", "replace": "maybe"}, "argument 'replace' is of type"),
    "timeout": ({"ctid": 900, "name": "s1", "timeout": "5m"}, "argument 'timeout' is of type"),
    "unknown": ({"ctid": 900, "name": "s1", "force": True}, "Unsupported parameters"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("check", [False, True], ids=["run", "check"])
def test_arguments_that_ansible_refuses(capsys: Output, check: bool, arguments: dict[str, t.Any], message: str) -> None:
    result = ended(capsys, {**arguments, "_ansible_check_mode": check}, rc=1)
    assert result["failed"]
    assert message in result["msg"]


@pytest.mark.skipif(Path("/etc/pve").exists(), reason="this machine is a Proxmox VE node")
@pytest.mark.parametrize("check", [False, True], ids=["run", "check"])
def test_a_machine_that_is_no_node(capsys: Output, check: bool) -> None:
    result = ended(capsys, {"ctid": 900, "name": "s1", "_ansible_check_mode": check}, rc=1)
    assert "it is no Proxmox VE node, or its cluster file system is not mounted" in result["reason"]
    assert result["msg"] == f"{result['reason']}. {result['remedy']}"
    assert result["code"] == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"ctid": 99, "name": "s1"}, "ctid: 99 is not an id that PVE accepts"),
        ({"ctid": 900, "name": "1st"}, "name: '1st' is no name that PVE accepts for a snapshot"),
    ],
    ids=["ctid", "name"],
)
def test_arguments_that_the_manager_refuses(capsys: Output, arguments: dict[str, t.Any], reason: str) -> None:
    result = ended(capsys, arguments, rc=1)
    assert (result["reason"], result["code"]) == (reason, 2)


def body(data: t.Any) -> Answer:
    return Answer(body=json.dumps({"data": data}))


def test_a_run_over_the_api(capsys: Output, tmp_path: Path) -> None:
    ca, certificate = make_certificates(tmp_path)
    ct = "/nodes/pve1/lxc/160"
    answers = {
        f"GET {ct}/config?current=1": [body({"digest": "d9", "hostname": "ct"})],
        f"GET {ct}/pending": [body([])],
        f"GET {ct}/status/current": [body({"status": "stopped"})],
        f"GET {ct}/snapshot": [body([{"name": "s1", "snaptime": 1, "description": 'x\nphoenix: {"a": 1}\n'}])],
    }
    with serving(answers, certificate) as pve:
        arguments = {
            "ctid": 160,
            "name": "s1",
            "metadata": {"a": 1},
            "api_host": "127.0.0.1",
            "api_port": pve.port,
            "api_user": "root@pam",
            "api_token_id": "full",
            "api_token_secret": "not-to-be-shown",
            "ca_path": str(ca),
            "node": "pve1",
        }
        result = ended(capsys, arguments, rc=0)
    assert (result["changed"], result["actions"], result["running"]) == (False, [], False)
    assert result["snapshot"] == {
        "name": "s1",
        "description": "x",
        "metadata": {"a": 1},
        "parent": "",
        "time": 1,
        "state": "",
    }
    assert {request.method for request in pve.requests} == {"GET"}
    assert "not-to-be-shown" not in json.dumps(result)


def test_what_is_returned_is_documented(tmp_path: Path) -> None:
    documented = yaml.safe_load(lxc_snapshot.RETURN)
    result = World(tmp_path).snapshot(ctid=900, name="s2")
    about_failures = {"code", "reason", "remedy"}
    everywhere = {"changed", "diff"}
    assert documented.keys() - about_failures == result.keys() - everywhere
    assert documented["snapshot"]["sample"].keys() == result["snapshot"].keys()
