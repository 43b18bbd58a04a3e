# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What comes before and after the manager, which has its own tests: the arguments, the way to act, the result.

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.phoenix.hypervisor.plugins.modules import lxc_container
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.api_server import (
    Answer,
    ApiServer,
    make_certificates,
    serving,
)
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.worlds import CREATE, World

Output = pytest.CaptureFixture[str]


def ended(output: Output, arguments: dict[str, t.Any], *, rc: int) -> dict[str, t.Any]:
    """What the module printed when it ended."""
    with patch_module_args(arguments), pytest.raises(SystemExit) as end:
        lxc_container.main()
    assert end.value.code == rc
    return t.cast("dict[str, t.Any]", json.loads(output.readouterr().out))


REFUSED: dict[str, tuple[dict[str, t.Any], str]] = {
    "no-ctid": ({}, "missing required arguments: ctid"),
    "ctid": ({"ctid": "nine"}, "argument 'ctid' is of type"),
    "state": ({"ctid": 900, "state": "up"}, "value of state must be one of: present, started, stopped"),
    "size-with-unit": (
        {"ctid": 900, "rootfs": {"storage": "local-zfs", "size_gb": "32G"}},
        "argument 'size_gb' is of type",
    ),
    "size-of-a-mount-with-unit": (
        {"ctid": 900, "mounts": [{"path": "/data", "storage": "local-zfs", "size_gb": "32G"}]},
        "argument 'size_gb' is of type",
    ),
    "memory-with-unit": ({"ctid": 900, "memory_mb": "2G"}, "argument 'memory_mb' is of type"),
    "features-as-text": ({"ctid": 900, "features": "nesting"}, "dictionary requested"),
    "feature-unknown": ({"ctid": 900, "features": {"nestin": True}}, "Unsupported parameters"),
    "network-as-text": ({"ctid": 900, "networks": ["eth0"]}, "dictionary requested"),
    "network-without-name": ({"ctid": 900, "networks": [{"ip": "dhcp"}]}, "missing required arguments: name"),
    "both-ways": (
        {"ctid": 900, "ostemplate": "local:vztmpl/x.tar.zst", "clone": {"from": 901}},
        "parameters are mutually exclusive: ostemplate|clone",
    ),
    "clone-of-nothing": ({"ctid": 900, "clone": {"snapshot": "s1"}}, "missing required arguments: from"),
    "clone-method": ({"ctid": 900, "clone": {"from": 901, "method": "zfs"}}, "value of method must be one of: auto"),
    "wait": ({"ctid": 900, "wait": "ssh"}, "value of wait must be one of: none, running, booted, network"),
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
    result = ended(capsys, {"ctid": 900, "state": "started", "_ansible_check_mode": check}, rc=1)
    assert result["failed"]
    assert "it is no Proxmox VE node, or its cluster file system is not mounted" in result["reason"]
    assert result["msg"] == f"{result['reason']}. {result['remedy']}"
    assert result["code"] == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"ctid": 99}, "ctid: 99 is not an id that PVE accepts"),
        ({"ctid": 900, "hostname": "bad_host"}, "hostname: 'bad_host' is no valid DNS name"),
    ],
    ids=["ctid", "hostname"],
)
def test_arguments_that_the_manager_refuses(capsys: Output, arguments: dict[str, t.Any], reason: str) -> None:
    result = ended(capsys, arguments, rc=1)
    assert (result["reason"], result["code"]) == (reason, 2)


def body(data: t.Any) -> Answer:
    return Answer(body=json.dumps({"data": data}))


@pytest.fixture
def pve(tmp_path: Path) -> Iterator[tuple[ApiServer, Path]]:
    """An API that knows container 160, over TLS."""
    ca, certificate = make_certificates(tmp_path)
    config = {"digest": "d9", "hostname": "ct", "memory": 600, "unprivileged": 1, "rootfs": "local-zfs:x,size=3G"}
    ct = "/nodes/pve1/lxc/160"
    answers = {
        f"GET {ct}/config?current=1": [body(config)],
        f"GET {ct}/pending": [body([{"key": "features", "pending": "nesting=1"}])],
        f"GET {ct}/status/current": [body({"status": "running"})],
        f"GET {ct}/snapshot": [body([{"name": "current", "description": "You are here!"}])],
    }
    with serving(answers, certificate) as server:
        yield server, ca


def test_a_run_over_the_api(capsys: Output, pve: tuple[ApiServer, Path]) -> None:
    server, ca = pve
    arguments = {
        "ctid": 160,
        "hostname": "ct",
        "memory_mb": 600,
        "state": "started",
        "api_host": "127.0.0.1",
        "api_port": server.port,
        "api_user": "root@pam",
        "api_token_id": "full",
        "api_token_secret": "not-to-be-shown",
        "ca_path": str(ca),
        "node": "pve1",
    }
    result = ended(capsys, arguments, rc=0)
    assert (result["changed"], result["actions"], result["restart_required"]) == (False, [], True)
    assert result["container"]["config"]["memory"] == "600"
    assert {request.method for request in server.requests} == {"GET"}
    assert "not-to-be-shown" not in json.dumps(result)
    assert "warnings" not in result


def test_what_is_returned_is_documented(tmp_path: Path) -> None:
    documented = yaml.safe_load(lxc_container.RETURN)
    result = World(tmp_path).container(**CREATE, state="started")
    about_failures = {"code", "reason", "remedy"}
    everywhere = {"changed", "diff", "warnings"}
    assert documented.keys() - about_failures == result.keys() - everywhere
    assert documented["container"]["sample"].keys() == result["container"].keys()
