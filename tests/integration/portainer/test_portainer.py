# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The role portainer on a container of the lab.

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from integration.boxes import Box
from lab.smoke.running import RunningLab

PASSWORD = "a-very-secret-word"
SERVER: dict[str, Any] = {"portainer_role": "server", "portainer_admin_password": PASSWORD}


@pytest.fixture(scope="module")
def bare(lab: RunningLab) -> Iterator[Box]:
    one = Box(lab, 163).create()
    yield one
    one.destroy()


@pytest.fixture(scope="module")
def box(bare: Box) -> Box:
    bare.converged("lxc_docker")
    return bare


def test_check_mode_predicts_where_nothing_is(bare: Box) -> None:
    assert bare.converged("portainer").changes == []
    assert bare.converged("portainer", "--check", **SERVER).changes == ["Have the image of Portainer"]


def test_the_server(box: Box) -> None:
    played = box.converged("portainer", "-v", **SERVER)
    assert played.changes == ["Have the image of Portainer", "Run it", "Make it"]
    assert PASSWORD not in played.output
    assert box.converged("portainer", **SERVER).changes == []
    assert box.converged("portainer", "--check", **SERVER).changes == []
    assert box.run("docker inspect -f '{{.Config.Image}} {{.HostConfig.RestartPolicy.Name}}' portainer").startswith(
        "portainer/portainer-ce@sha256:"
    )
    assert box.converged("portainer", portainer_server_port=9500, **SERVER).changes == ["Run it"]


def test_a_server_that_nobody_opened_in_time(box: Box) -> None:
    box.run("docker rm -f portainer; docker volume rm portainer_data")
    # The lab's stand-in takes the signal for the end of the five minutes.
    assert "but has closed" not in box.converged("portainer", portainer_role="server").output
    box.run("docker kill --signal USR1 portainer")
    closed = box.converged("portainer", tasks_from="verify", portainer_role="server")
    assert closed.changes == []
    assert "Portainer is up, but has closed: nobody made its first account" in " ".join(closed.output.split())
    assert box.converged("portainer", portainer_role="server").changes == []
    assert box.converged("portainer", **SERVER).changes == ["Restart it", "Make it"]
    assert box.converged("portainer", **SERVER).changes == []


def test_the_agent(box: Box) -> None:
    agent = {"portainer_role": "agent", "portainer_agent_secret": PASSWORD}
    box.run("docker rm -f portainer")
    assert PASSWORD not in box.converged("portainer", "-v", **agent).output
    assert box.converged("portainer", **agent).changes == []
    assert box.converged("portainer", tasks_from="verify", **agent).changes == []


def test_an_agent_without_a_secret_is_warned_about_when_it_is_made(box: Box) -> None:
    box.run("docker rm -f portainer")
    warning = "WARNING: Portainer's agent has no secret"
    assert warning in box.converged("portainer", portainer_role="agent").output
    assert warning not in box.converged("portainer", portainer_role="agent").output
    secret = {"portainer_role": "agent", "portainer_agent_secret": PASSWORD}
    played = box.converged("portainer", **secret)
    assert (played.changes, warning in played.output) == (["Run it"], False)


def test_the_server_has_the_secret_of_its_agents(box: Box) -> None:
    box.run("docker rm -f portainer")
    assert PASSWORD not in box.converged("portainer", "-v", portainer_agent_secret=PASSWORD, **SERVER).output
    assert f"AGENT_SECRET={PASSWORD}" in box.run("docker inspect -f '{{json .Config.Env}}' portainer")


def test_a_short_password_is_refused(box: Box) -> None:
    message = box.refused("portainer", portainer_role="server", portainer_admin_password="short")
    assert message.startswith("portainer_admin_password: it is shorter than Portainer accepts.")
