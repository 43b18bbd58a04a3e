# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def said() -> str:
    """What the run said in which the application failed."""
    return (Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "applications.log").read_text()


@pytest.fixture
def address(fleet):
    return lambda name: fleet[name]["phoenix_container"]["networks"][0]["ip"].partition("/")[0]


def asked(host, url: str) -> str:
    return host.check_output("curl -sk -o /dev/null -w '%%{http_code}' %s", url)


@pytest.mark.parametrize(
    ("ctid", "name", "image"),
    [
        pytest.param(181, "qdrant", "qdrant/qdrant", id="the application"),
        pytest.param(181, "portainer", "portainer/agent", id="Portainer's agent"),
        pytest.param(182, "portainer", "portainer/portainer-ce", id="Portainer's server"),
    ],
)
def test_it_runs_from_an_image_that_is_pinned_and_comes_back_after_a_boot(inside, ctid, name, image) -> None:
    (container,) = json.loads(inside(ctid).check_output("docker inspect %s", name))
    assert container["State"]["Running"]
    assert container["Config"]["Image"].startswith(f"{image}@sha256:")
    assert container["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    record = json.loads(inside(ctid).file(f"/etc/phoenix-hypervisor/{name}-image.json").content_string)
    assert record["image"] == container["Config"]["Image"]


def test_the_application_answers_at_the_address_of_its_container(node, address) -> None:
    assert asked(node, f"http://{address('qdrant')}:6333/healthz") == "200"


def test_portainers_server_answers_at_the_fleets_port_and_has_its_account(node, address) -> None:
    assert asked(node, f"https://{address('portainer')}:9500/api/users/admin/check") == "204"


def test_portainers_agent_answers(node, address) -> None:
    assert asked(node, f"https://{address('qdrant')}:9001/ping") == "204"


def test_its_firewall_lets_in_what_the_fleet_says(node, config, fleet) -> None:
    rules = node.file("/etc/pve/firewall/181.fw").content_string.splitlines()
    source = fleet["qdrant"]["phoenix_firewall"]["rules"][0]["source"]
    assert rules[:3] == ["[OPTIONS]", "", "enable: 1"]
    assert [line.partition(" #")[0] for line in rules if line.startswith("IN")] == [
        f"IN ACCEPT -source {source} -p tcp -dport 6333"
    ]
    assert "firewall=1" in config(181).main["net0"]


def test_one_without_firewall_has_none(node, config) -> None:
    assert not node.file("/etc/pve/firewall/182.fw").exists
    assert "firewall=1" not in config(182).main["net0"]


def test_its_data_lies_in_a_volume_of_proxmox(inside, config) -> None:
    assert config(181).main["mp0"].partition(",mp=")[2].startswith("/qdrant/storage,")
    assert inside(181).mount_point("/qdrant/storage").exists


def test_another_setting_has_replaced_dockers_container(inside) -> None:
    variables = json.loads(inside(181).check_output("docker inspect --format '{{json .Config.Env}}' qdrant"))
    assert "QDRANT__LOG_LEVEL=DEBUG" in variables


def test_what_was_stored_before_is_still_there(inside) -> None:
    stored = json.loads(inside(181).check_output("curl -sf http://localhost:6333/collections"))
    assert stored["result"]["collections"] == [{"name": "kept"}]


def test_the_failure_of_its_health_check_is_named(said) -> None:
    assert "181 qdrant failed (code 4)" in said
    assert "The application qdrant is not healthy: `false` failed" in said


def test_what_depends_on_it_was_not_attempted(node, said) -> None:
    assert "183 dependent: not attempted, because qdrant failed" in said
    assert node.run("pct status 183").rc != 0


def test_what_depends_on_it_had_been_made_after_it_when_it_was_well(node) -> None:
    # The node's own list of what was done, the newest first.
    done = node.check_output("pvesh get /nodes/%s/tasks --output-format json", node.check_output("hostname"))
    began = {task["id"]: task["starttime"] for task in reversed(json.loads(done)) if task["type"] == "vzstart"}
    assert began["181"] < began["183"]
