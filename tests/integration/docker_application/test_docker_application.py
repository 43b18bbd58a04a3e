# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The role docker_application on a container of the lab, and the firewall of that container.

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from integration.boxes import UBUNTU, Box
from lab.smoke.running import RunningLab

SECRET = "a-very-secret-word"
QDRANT: dict[str, Any] = {
    "docker_application_name": "qdrant",
    "docker_application_image": "qdrant/qdrant:v1.15.4",
    "docker_application_ports": ["6333:6333", "6334:6334"],
    "docker_application_volumes": ["/qdrant/storage:/qdrant/storage"],
    "docker_application_environment": {"QDRANT__LOG_LEVEL": "INFO", "QDRANT__SERVICE__HTTP_PORT": 6333},
    "docker_application_secrets": {"QDRANT__SERVICE__API_KEY": SECRET},
    "docker_application_health": {"command": "curl -sf http://localhost:6333/healthz", "retries": 5, "interval": 1},
}
NOTHING: dict[str, Any] = {"docker_application_name": "idle", "docker_application_image": "busybox:latest"}
# Stands for the specification that the NVIDIA Container Toolkit writes.
CDI = {
    "cdiVersion": "0.6.0",
    "kind": "nvidia.com/gpu",
    "devices": [{"name": name, "containerEdits": {"env": [f"SEEN={name}"]}} for name in ("all", "1")],
}


@pytest.fixture(scope="module")
def bare(lab: RunningLab) -> Iterator[Box]:
    one = Box(lab, 164).create()
    yield one
    one.destroy()


@pytest.fixture(scope="module")
def box(bare: Box) -> Box:
    bare.converged("lxc_base")
    bare.converged("lxc_docker", lxc_docker_daemon_settings={"features": {"cdi": True}})
    bare.run(f"mkdir -p /etc/cdi; echo '{json.dumps(CDI)}' >/etc/cdi/nvidia.json")
    return bare


def variables(box: Box, name: str = "qdrant") -> list[str]:
    found: list[str] = json.loads(box.run(f"docker inspect -f '{{{{json .Config.Env}}}}' {name}"))
    return found


def test_check_mode_predicts_where_nothing_is(bare: Box) -> None:
    assert bare.converged("docker_application", "--check", **QDRANT).changes == ["Have the image of the application"]


def test_qdrant(box: Box) -> None:
    played = box.converged("docker_application", "-vvv", "--diff", **QDRANT)
    assert played.changes == ["Have the image of the application", "Run it"]
    assert SECRET not in played.output
    assert box.converged("docker_application", **QDRANT).changes == []
    assert box.converged("docker_application", "--check", **QDRANT).changes == []
    said = box.run("docker inspect -f '{{.Config.Image}} {{.HostConfig.RestartPolicy.Name}}' qdrant")
    assert said.startswith("qdrant/qdrant@sha256:")
    assert said.endswith("unless-stopped\n")
    assert {f"QDRANT__SERVICE__API_KEY={SECRET}", "QDRANT__SERVICE__HTTP_PORT=6333"} <= set(variables(box))
    assert json.loads(box.run("cat /etc/phoenix-hypervisor/qdrant-image.json"))["image"] == said.split()[0]


def test_verify_changes_nothing(box: Box) -> None:
    before = box.run("docker inspect qdrant")
    assert box.converged("docker_application", tasks_from="verify", **QDRANT).changes == []
    assert box.converged("docker_application", "--check", tasks_from="verify", **QDRANT).changes == []
    assert box.run("docker inspect qdrant") == before


def test_a_changed_setting_replaces_it_and_nothing_else_does(box: Box) -> None:
    changes: list[dict[str, Any]] = [
        {"docker_application_ports": ["6333:6333"]},
        {"docker_application_environment": {"QDRANT__LOG_LEVEL": "DEBUG"}},
        {"docker_application_secrets": {}},
        {"docker_application_volumes": ["qdrant_storage:/qdrant/storage:ro"]},
        {"docker_application_command": ["--quiet"]},
        # Also what is no longer asked for is noticed.
        {"docker_application_command": []},
    ]
    settings = QDRANT
    for change in changes:
        settings = {**settings, **change}
        before = box.run("docker inspect -f '{{.Id}}' qdrant")
        if "docker_application_ports" in change:
            assert box.converged("docker_application", "--check", **settings).changes == ["Run it"]
            assert box.run("docker inspect -f '{{.Id}}' qdrant") == before
        assert box.converged("docker_application", **settings).changes == ["Run it"], change
        assert box.run("docker inspect -f '{{.Id}}' qdrant") != before
    assert box.converged("docker_application", **settings).changes == []
    assert box.converged("docker_application", **QDRANT).changes == ["Run it"]


def test_what_is_stored_outlives_the_container(box: Box) -> None:
    box.run("curl -sf -X PUT -d '{}' http://localhost:6333/collections/kept; docker rm -f qdrant")
    assert box.converged("docker_application", **QDRANT).changes == ["Run it"]
    assert '"kept"' in box.run("curl -sf http://localhost:6333/collections")


def test_a_health_check_that_fails(box: Box) -> None:
    broken = {
        **QDRANT,
        "docker_application_health": {"command": "sh -c 'echo $0 no; exit 3'", "retries": 2, "interval": 1},
    }
    message = box.refused("docker_application", tasks_from="verify", **broken)
    assert message.startswith(
        "The application qdrant is not healthy: `sh -c 'echo $0 no; exit 3'` failed 2 times, 1 s "
        "apart, at last with exit "
        "code 3, and said 'sh no'. See log_tail"
    )


def test_one_that_ends_at_once(box: Box) -> None:
    one = {**NOTHING, "docker_application_command": ["sh", "-c", "echo $WORD; exit 7"], "docker_application_timeout": 5}
    played = box.role("docker_application", docker_application_secrets={"WORD": SECRET}, **one)
    assert played.failed
    assert played.message.startswith("The application idle ")
    assert "exit code 7" in played.output
    assert SECRET not in played.output
    box.run("docker rm -f idle")


def test_a_port_that_is_taken(box: Box) -> None:
    """What Docker says shows, though a secret hides the task's result."""
    message = box.refused(
        "docker_application",
        docker_application_ports=["6333:80"],
        docker_application_secrets={"WORD": SECRET},
        docker_application_command=["sleep", "1000"],
        **NOTHING,
    )
    assert message.startswith("docker_application_name: Docker does not run idle: ")
    assert "6333" in message
    assert SECRET not in message
    box.run("docker rm -f idle")


@pytest.mark.parametrize(("gpus", "seen"), [(True, "all"), ([1], "1"), (["nvidia.com/gpu=1"], "1")], ids=str)
def test_gpus(box: Box, gpus: object, seen: str) -> None:
    idle = {**NOTHING, "docker_application_command": ["sleep", "1000"]}
    box.run("docker rm -f idle", check=False)
    box.converged("docker_application", docker_application_gpus=gpus, **idle)
    assert box.converged("docker_application", docker_application_gpus=gpus, **idle).changes == []
    assert f"SEEN={seen}" in box.run("docker exec idle cat /proc/1/environ").split("\0")
    assert box.converged("docker_application", **idle).changes == ["Run it"]
    assert "SEEN=" not in box.run("docker exec idle cat /proc/1/environ")
    box.run("docker rm -f idle")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"docker_application_name": "a b"}, 'docker_application_name: "a b" is no name for a Docker container. '),
        ({"docker_application_ports": ["80:65536"]}, 'docker_application_ports: ["80:65536"] has one that is no pair'),
        (
            {"docker_application_ports": ["80:80", "80:81/tcp"]},
            'docker_application_ports: ["80:80", "80:81/tcp"] names a port of the host twice. ',
        ),
        ({"docker_application_volumes": ["data"]}, 'docker_application_volumes: ["data"] has one that is no volume. '),
        (
            {"docker_application_environment": {"DEBUG": True}},
            'docker_application_environment: {"DEBUG": true} has a value that is no text and no number. ',
        ),
        (
            {"docker_application_environment": {"QDRANT__SERVICE__API_KEY": "x"}},
            ('docker_application_environment: ["QDRANT__SERVICE__API_KEY"] stands in '
             'docker_application_secrets as well. '),
        ),
        ({"docker_application_gpus": "all"}, 'docker_application_gpus: "all" is no choice of GPUs. '),
        ({"docker_application_health": {"retries": 2}}, 'docker_application_health: {"retries": 2} has no command. '),
        ({"docker_application_secrets": {"KEY": ""}}, "docker_application_secrets: one of KEY is no text, is empty"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_is_refused(box: Box, change: dict[str, Any], message: str) -> None:
    before = box.run("docker ps --quiet --no-trunc")
    assert box.refused("docker_application", **{**QDRANT, **change}).startswith(message)
    assert box.run("docker ps --quiet --no-trunc") == before


def test_the_firewall_of_the_container(box: Box) -> None:
    """By the role lxc_container, before the container is started."""
    rule = {"type": "in", "action": "ACCEPT", "source": "10.99.0.0/16", "proto": "tcp", "port": "6333,6334"}
    role = {
        "ansible.builtin.import_role": {"name": "phoenix.hypervisor.lxc_container"},
        "vars": {
            "lxc_container_ctid": box.ctid,
            "lxc_container_ostemplate": UBUNTU,
            "lxc_container_firewall": {"enabled": True, "rules": [rule]},
        },
    }
    same = {"ctid": box.ctid, "enabled": True, "rules": [rule]}
    box.node(
        role,
        {"phoenix.hypervisor.lxc_firewall": same, "register": "made"},
        {"ansible.builtin.assert": {"that": "made is not changed"}},
    )
    file = f"/etc/pve/firewall/{box.ctid}.fw"
    assert box.lab.exec("cat", file) == (
        "[OPTIONS]\n\nenable: 1\n\n[RULES]\n\nIN ACCEPT -source 10.99.0.0/16 -p tcp -dport 6333,6334 # phoenix:\n"
    )
    box.node({"phoenix.hypervisor.lxc_firewall": {"ctid": box.ctid, "enabled": False}})
    assert box.lab.exec("cat", file) == "[OPTIONS]\n\nenable: 0\n\n[RULES]\n\n"
