# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import testinfra

CUDA = "nvidia/cuda:12.8.0-base-ubuntu24.04"
SEALS = {900: "base-snapshot", 902: "docker-snapshot", 903: "docker-gpu-snapshot"}
GPUS = {903: ["GPU 0:", "GPU 1:"], 190: ["GPU 0:"]}
EVERY = pytest.mark.parametrize("ctid", [*SEALS, 190])
SEEING = pytest.mark.parametrize("ctid", GPUS)


@pytest.fixture(scope="module")
def known() -> Path:
    """The host keys that ssh has met in this run."""
    return Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "fleets/unprivileged/known_hosts"


def address(variables: dict[str, Any]) -> str:
    return variables["phoenix_container"]["networks"][0]["ip"].partition("/")[0]


def numbers(said: str) -> list[str]:
    return [line[:6] for line in said.splitlines()]


@EVERY
def test_root_inside_is_nobody_on_the_node(inside, config, ctid) -> None:
    assert config(ctid).main["unprivileged"] == "1"
    assert inside(ctid).check_output("cat /proc/self/uid_map").split() == ["0", "100000", "65536"]


@pytest.mark.parametrize(("ctid", "snapshot"), SEALS.items())
def test_the_layers_are_sealed_and_run(snapshots, status, ctid, snapshot) -> None:
    assert snapshots(ctid) == [snapshot]
    assert status(ctid) == "running"


@pytest.mark.parametrize("name", ["BaseTemplate", "BaseTemplateDocker", "BaseTemplateDockerGPU", "using"])
def test_it_was_entered_by_ssh_at_its_own_address(known, fleet, name) -> None:
    # ssh may have written the addresses as hashes.
    assert testinfra.get_host("local://").run("ssh-keygen -F %s -f %s", address(fleet[name]), str(known)).rc == 0


def test_the_key_of_the_fleet_lets_in_what_was_cloned(known, fleet) -> None:
    variables = fleet["using"]
    host = testinfra.get_host(
        f"ssh://root@{address(variables)}",
        ssh_identity_file=variables["ansible_ssh_private_key_file"],
        ssh_extra_args=f"-o UserKnownHostsFile={known}",
    )
    assert host.check_output("hostname") == "using"


@SEEING
def test_its_devices_are_the_nodes(node, inside, ctid) -> None:
    for number in range(len(GPUS[ctid])):
        kept = node.check_output("stat -c '%%t:%%T' /dev/nvidia%s", str(number))
        assert inside(ctid).check_output("stat -c '%%t:%%T' /dev/nvidia%s", str(number)) == kept


@SEEING
def test_nvidia_smi_sees_exactly_its_gpus(inside, ctid) -> None:
    assert numbers(inside(ctid).check_output("nvidia-smi -L")) == GPUS[ctid]


@SEEING
def test_dockers_containers_see_exactly_its_gpus(inside, ctid) -> None:
    assert numbers(inside(ctid).check_output("docker run --rm --gpus all %s nvidia-smi -L", CUDA)) == GPUS[ctid]


@SEEING
def test_the_toolkit_leaves_the_control_groups_alone(inside, ctid) -> None:
    # Nobody inside may write rules for devices.
    settings = inside(ctid).file("/etc/nvidia-container-runtime/config.toml").content_string.splitlines()
    assert "no-cgroups = true" in [line.strip() for line in settings]


@pytest.mark.parametrize("ctid", [902, 903, 190])
def test_docker_runs_without_a_runtime_that_it_does_not_need(inside, ctid) -> None:
    info = json.loads(inside(ctid).check_output("docker info --format json"))
    assert info["Driver"] in ("overlay2", "overlayfs")
    assert info["DefaultRuntime"] == "runc"
    assert ("nvidia" in info["Runtimes"]) == (ctid in GPUS)
