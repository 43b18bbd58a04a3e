# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab.pve import authentication, user_config
from lab.pve.api2.access import METHODS
from lab.pve.api_call import Router, call, merge
from lab.pve.cli import pveum
from lab.pve.exceptions import ParameterError, PermissionDenied, PVEError
from lab.pve.rest_environment import RestEnvironment
from lab.pve.simulated import SimulatedSystem

ROUTER = Router(METHODS)


@pytest.fixture
def system(tmp_path: Path) -> SimulatedSystem:
    system = SimulatedSystem(tmp_path)
    system.prepare("")
    return system


def ask(system: SimulatedSystem, verb: str, path: str, user: str = "root@pam", /, **sent: str) -> Any:
    method, parameters = ROUTER.find(verb, path)
    return call(RestEnvironment(system, "priv", user), method, merge(parameters, sent))


def test_a_token_is_set_up_and_taken_away(system: SimulatedSystem) -> None:
    ask(system, "POST", "/access/users", userid="ansible@pve", comment="runs plays")
    made = ask(system, "POST", "/access/users/ansible@pve/token/lab", privsep="1", comment="of the lab")
    assert made["full-tokenid"] == "ansible@pve!lab"
    assert made["info"] == {"expire": 0, "privsep": 1, "comment": "of the lab"}
    token = f"ansible@pve!lab={made['value']}"
    assert authentication.verify_token(system, token) == "ansible@pve!lab"
    ask(system, "PUT", "/access/acl", path="/vms", roles="PVEVMAdmin", users="ansible@pve", tokens="ansible@pve!lab")
    env = RestEnvironment(system, "priv", "ansible@pve!lab")
    assert env.check("/vms/101", ["VM.Allocate"], noerr=True)
    ask(system, "PUT", "/access/acl", path="/vms", roles="PVEVMAdmin", tokens="ansible@pve!lab", delete="1")
    assert not env.check("/vms/101", ["VM.Allocate"], noerr=True)
    ask(system, "PUT", "/access/users/ansible@pve/token/lab", privsep="0")
    assert env.check("/vms/101", ["VM.Allocate"], noerr=True)
    assert ask(system, "GET", "/access/users/ansible@pve/token/lab") == {
        "expire": 0,
        "privsep": 0,
        "comment": "of the lab",
    }
    ask(system, "DELETE", "/access/users/ansible@pve/token/lab")
    with pytest.raises(authentication.NotAuthenticated):
        authentication.verify_token(system, token)
    assert user_config.load_tokens(system) == {}


def test_a_user_goes_with_all_that_was_given_to_him(system: SimulatedSystem) -> None:
    ask(system, "POST", "/access/users", userid="gone@pve", password="a long secret")
    ask(system, "POST", "/access/users/gone@pve/token/one")
    ask(system, "PUT", "/access/acl", path="/", roles="PVEAdmin", users="gone@pve", tokens="gone@pve!one")
    authentication.check_password(system, "gone@pve", "a long secret")
    ask(system, "PUT", "/access/users/gone@pve", enable="0", email="x@lab")
    assert ask(system, "GET", "/access/users/gone@pve") == {
        "enable": 0,
        "expire": 0,
        "email": "x@lab",
        "groups": [],
        "tokens": {"one": {"expire": 0, "privsep": 1}},
    }
    ask(system, "DELETE", "/access/users/gone@pve")
    assert [row["userid"] for row in ask(system, "GET", "/access/users")] == ["root@pam"]
    assert ask(system, "GET", "/access/acl") == []


def test_roles(system: SimulatedSystem) -> None:
    ask(system, "POST", "/access/roles", roleid="Own", privs="VM.Audit,VM.Clone")
    ask(system, "PUT", "/access/roles/Own", privs="VM.Snapshot", append="1")
    assert ask(system, "GET", "/access/roles/Own") == {"VM.Audit": 1, "VM.Clone": 1, "VM.Snapshot": 1}
    row = {"roleid": "Own", "privs": "VM.Audit,VM.Clone,VM.Snapshot", "special": 0}
    assert row in ask(system, "GET", "/access/roles")
    ask(system, "DELETE", "/access/roles/Own")
    with pytest.raises(PVEError, match="role 'Own' does not exist"):
        ask(system, "GET", "/access/roles/Own")


@pytest.mark.parametrize(
    ("verb", "path", "sent", "text"),
    [
        pytest.param("POST", "/access/users", {"userid": "root@pam"}, "already exists", id="user twice"),
        pytest.param("GET", "/access/users/x@pve", {}, "no such user ('x@pve')", id="no user"),
        pytest.param("GET", "/access/users/root@pam/token/xy", {}, "no such token 'xy'", id="no token"),
        pytest.param("POST", "/access/roles", {"roleid": "PVEAdmin"}, "already exists", id="role twice"),
        pytest.param("DELETE", "/access/roles/PVEAdmin", {}, "auto-generated role", id="built-in role"),
        pytest.param("POST", "/access/roles", {"roleid": "X", "privs": "No.Such"}, "invalid privilege", id="privilege"),
        pytest.param("PUT", "/access/acl", {"path": "/", "roles": "No", "users": "root@pam"}, "role 'No'", id="role"),
        pytest.param(
            "PUT", "/access/acl", {"path": "/", "roles": "PVEAdmin", "users": "x@pve"}, "x@pve", id="acl user"
        ),
        pytest.param("PUT", "/access/acl", {"path": "/", "roles": "PVEAdmin", "groups": "x"}, "group", id="acl group"),
        pytest.param(
            "PUT", "/access/acl", {"path": "/", "roles": "PVEAdmin", "tokens": "root@pam!xy"}, "token", id="acl token"
        ),
        pytest.param(
            "PUT", "/access/password", {"userid": "root@pam", "password": "12345678"}, "'pam'", id="password of pam"
        ),
    ],
)
def test_refusals(system: SimulatedSystem, verb: str, path: str, sent: dict[str, str], text: str) -> None:
    before = user_config.load(system)
    with pytest.raises(PVEError) as error:
        ask(system, verb, path, **sent)
    assert text in error.value.message
    assert user_config.load(system) == before


@pytest.mark.parametrize(
    ("verb", "path", "sent", "parameter"),
    [
        pytest.param("POST", "/access/users", {"userid": "x"}, "userid", id="no realm"),
        pytest.param("POST", "/access/users/root@pam/token/x", {}, "tokenid", id="short name of a token"),
        pytest.param(
            "PUT", "/access/acl", {"path": "/a b", "roles": "PVEAdmin", "users": "root@pam"}, "path", id="path"
        ),
        pytest.param("PUT", "/access/acl", {"path": "/", "roles": "PVEAdmin"}, "users", id="nobody"),
        pytest.param("PUT", "/access/acl", {"path": "/"}, "roles", id="no role"),
    ],
)
def test_bad_parameters(system: SimulatedSystem, verb: str, path: str, sent: dict[str, str], parameter: str) -> None:
    with pytest.raises(ParameterError) as error:
        ask(system, verb, path, **sent)
    assert parameter in error.value.errors


def test_a_second_token_of_one_name(system: SimulatedSystem) -> None:
    ask(system, "POST", "/access/users/root@pam/token/full", privsep="0")
    with pytest.raises(ParameterError) as error:
        ask(system, "POST", "/access/users/root@pam/token/full")
    assert error.value.errors == {"tokenid": "Token already exists."}


def test_logging_in(system: SimulatedSystem) -> None:
    ask(system, "POST", "/access/users", userid="carol@pve", password="a long secret")
    login = ask(system, "POST", "/access/ticket", "", username="carol", realm="pve", password="a long secret")
    assert login["username"] == "carol@pve"
    assert authentication.verify_ticket(system, login["ticket"]) == "carol@pve"
    authentication.verify_csrf_token(system, "carol@pve", login["CSRFPreventionToken"])
    assert login["cap"]["vms"] == {}
    renewed = ask(system, "POST", "/access/ticket", "", username="carol@pve", password=login["ticket"])
    assert authentication.verify_ticket(system, renewed["ticket"]) == "carol@pve"
    with pytest.raises(authentication.NotAuthenticated, match="authentication failure"):
        ask(system, "POST", "/access/ticket", "", username="root@pam", password=login["ticket"])


def test_who_sees_what(system: SimulatedSystem) -> None:
    for name in ("dave@pve", "erin@pve"):
        ask(system, "POST", "/access/users", userid=name)
    ask(system, "POST", "/access/users/dave@pve/token/own", privsep="0")
    assert [row["userid"] for row in ask(system, "GET", "/access/users", "dave@pve!own")] == ["dave@pve"]
    assert ask(system, "GET", "/access/users/dave@pve", "dave@pve")["enable"] == 1
    with pytest.raises(PermissionDenied):
        ask(system, "GET", "/access/users/erin@pve", "dave@pve")
    with pytest.raises(PermissionDenied):
        ask(system, "POST", "/access/users", "dave@pve", userid="frank@pve")
    with pytest.raises(PermissionDenied, match=r"/access, Sys\.Audit"):
        ask(system, "GET", "/access/permissions", "dave@pve", userid="erin@pve")
    assert ask(system, "GET", "/access/permissions", "dave@pve") == {}
    assert ask(system, "GET", "/access/permissions", path="/vms/1")["/vms/1"]["VM.Audit"] == 1


# pveum


def test_pveum_sets_a_token_up(system: SimulatedSystem, capsys: pytest.CaptureFixture[str]) -> None:
    assert pveum.main(["user", "add", "ansible@pve"], system) == 0
    assert pveum.main(["aclmod", "/vms", "-user", "ansible@pve", "-role", "PVEVMAdmin"], system) == 0
    line = ["user", "token", "add", "ansible@pve", "lab", "--privsep", "0", "--output-format", "json"]
    assert pveum.main(line, system) == 0
    made = json.loads(capsys.readouterr().out)
    assert authentication.verify_token(system, f"ansible@pve!lab={made['value']}") == "ansible@pve!lab"
    assert RestEnvironment(system, "cli", "ansible@pve!lab").check("/vms/100", ["VM.Clone"], noerr=True)
    assert pveum.main(["user", "token", "remove", "ansible@pve", "lab"], system) == 0
    assert pveum.main(["user", "token", "list", "ansible@pve", "--output-format", "json-pretty"], system) == 0
    assert capsys.readouterr().out == "[]\n"
    log = system.path("var/log/phoenix-lab/calls.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(log[0])["argv"] == ["user", "add", "ansible@pve"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        pytest.param(["user", "fly"], "unknown command 'user fly'", id="unknown"),
        pytest.param(["user", "add"], "400 not enough arguments", id="too few"),
        pytest.param(["user", "add", "a@pve", "b"], "400 too many arguments", id="too many"),
        pytest.param(["user", "delete", "x@pve"], "no such user ('x@pve')", id="refused"),
        pytest.param(["user", "add", "x@pve", "--nosuch", "1"], "nosuch: property is not defined", id="option"),
    ],
)
def test_pveum_fails(system: SimulatedSystem, capsys: pytest.CaptureFixture[str], words: list[str], text: str) -> None:
    assert pveum.main(words, system) == 255
    assert text in capsys.readouterr().err


def test_pveum_lists_in_a_frame(system: SimulatedSystem, capsys: pytest.CaptureFixture[str]) -> None:
    assert pveum.main(["user", "list"], system) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("┌")
    assert lines[1].split(" │ ")[0] == "│ enable"
    assert "root@pam" in lines[3]
