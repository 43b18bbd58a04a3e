# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json
import random
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet import Container, Fleet, Node
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_model import normalise
from ansible_collections.phoenix.hypervisor.plugins.module_utils._inventory import inventory, is_generated
from hypothesis import given
from hypothesis import strategies as st
from yamllint import linter
from yamllint.config import YamlLintConfig

COLLECTION = Path(__file__).parents[4]
SOURCES = ("fleet.cfg/phoenix_lxc_configs.json", "fleet.cfg/phoenix_hypervisor_config.json")
LAYER = Container(
    ctid=903,
    name="BaseTemplateDockerGPU",
    node="pve1",
    is_layer=True,
    snapshot="docker-gpu-snapshot",
    parent=None,
    ostemplate="local:vztmpl/ubuntu.tar.zst",
    gpus=(0, 1),
    features=("base_setup", "docker"),
    options={"hostname": "BaseTemplateDockerGPU", "cores": 2, "rootfs": {"storage": "lab", "size_gb": 10}},
    settings={},
)
APPLICATION = dataclasses.replace(
    LAYER,
    ctid=950,
    name="vllm",
    node="pve-2",
    is_layer=False,
    snapshot=None,
    parent=903,
    ostemplate=None,
    gpus=(),
    features=(),
    options={"hostname": "vllm"},
    settings={"dependencies": [951, 903], "ports": ["8000:8000"]},
)
OTHER = dataclasses.replace(APPLICATION, ctid=951, name="embed", node="pve1", settings={})


def fleet(*containers: Container, **settings: t.Any) -> Fleet:
    return Fleet(
        nodes={"pve1": Node("pve1", "192.0.2.10"), "pve-2": Node("pve-2", "192.0.2.11")},
        containers={container.ctid: container for container in containers},
        settings=settings,
    )


def variables(files: dict[str, str], path: str) -> dict[str, t.Any]:
    read: dict[str, t.Any] = yaml.safe_load(files[path])
    return read


def test_the_files() -> None:
    assert list(inventory(fleet(LAYER, APPLICATION, OTHER, timezone="Etc/UTC"), SOURCES)) == [
        "group_vars/all/phoenix.yml",
        "group_vars/phoenix_containers/phoenix.yml",
        "group_vars/phoenix_nodes/phoenix.yml",
        "host_vars/BaseTemplateDockerGPU/phoenix.yml",
        "host_vars/embed/phoenix.yml",
        "host_vars/pve-2/phoenix.yml",
        "host_vars/pve1/phoenix.yml",
        "host_vars/vllm/phoenix.yml",
        "hosts.yml",
    ]


def test_groups() -> None:
    hosts = variables(inventory(fleet(LAYER, APPLICATION, OTHER), SOURCES), "hosts.yml")
    groups = {name: list(group["hosts"]) for name, group in hosts["all"]["children"].items()}
    assert groups == {
        "ct_903": ["BaseTemplateDockerGPU"],
        "ct_950": ["vllm"],
        "ct_951": ["embed"],
        "phoenix_applications": ["embed", "vllm"],
        "phoenix_containers": ["BaseTemplateDockerGPU", "embed", "vllm"],
        "phoenix_depth_0": ["BaseTemplateDockerGPU"],
        "phoenix_depth_1": ["embed"],
        "phoenix_depth_2": ["vllm"],
        "phoenix_feature_base_setup": ["BaseTemplateDockerGPU"],
        "phoenix_feature_docker": ["BaseTemplateDockerGPU"],
        "phoenix_layers": ["BaseTemplateDockerGPU"],
        "phoenix_nodes": ["pve-2", "pve1"],
        "phoenix_on_pve1": ["BaseTemplateDockerGPU", "embed"],
        "phoenix_on_pve_2": ["vllm"],
    }


def test_a_layer() -> None:
    files = inventory(fleet(LAYER, APPLICATION, OTHER), SOURCES)
    assert variables(files, "host_vars/BaseTemplateDockerGPU/phoenix.yml") == {
        "phoenix_all_features": ["base_setup", "docker"],
        "phoenix_container": LAYER.options,
        "phoenix_ctid": 903,
        "phoenix_depth": 0,
        "phoenix_descendants": ["vllm", "embed"],
        "phoenix_features": ["base_setup", "docker"],
        "phoenix_gpus": [0, 1],
        "phoenix_is_layer": True,
        "phoenix_node_name": "pve1",
        "phoenix_ostemplate": "local:vztmpl/ubuntu.tar.zst",
        "phoenix_snapshot": "docker-gpu-snapshot",
    }


def test_an_application() -> None:
    files = inventory(fleet(LAYER, APPLICATION, OTHER), SOURCES)
    assert variables(files, "host_vars/vllm/phoenix.yml") == {
        "phoenix_all_features": ["base_setup", "docker"],
        "phoenix_container": {"hostname": "vllm"},
        "phoenix_ctid": 950,
        "phoenix_dependencies": ["BaseTemplateDockerGPU", "embed"],
        "phoenix_depth": 2,
        "phoenix_descendants": [],
        "phoenix_features": [],
        "phoenix_gpus": "none",
        "phoenix_is_layer": False,
        "phoenix_node_name": "pve-2",
        "phoenix_parent": {"ctid": 903, "name": "BaseTemplateDockerGPU", "snapshot": "docker-gpu-snapshot"},
        "phoenix_ports": ["8000:8000"],
    }


def test_what_all_of_a_group_have() -> None:
    files = inventory(fleet(LAYER, timezone="Etc/UTC", nvidia={"version": "580.76.05"}), SOURCES)
    assert variables(files, "host_vars/pve-2/phoenix.yml") == {"ansible_host": "192.0.2.11"}
    assert variables(files, "group_vars/phoenix_nodes/phoenix.yml") == {"ansible_user": "root"}
    assert variables(files, "group_vars/phoenix_containers/phoenix.yml") == {
        "ansible_connection": "phoenix.hypervisor.pct",
        "ansible_pipelining": True,
        "ansible_user": "root",
        "phoenix_node": "{{ hostvars[phoenix_node_name].ansible_host }}",
    }
    assert variables(files, "group_vars/all/phoenix.yml") == {
        "phoenix_nvidia": {"version": "580.76.05"},
        "phoenix_timezone": "Etc/UTC",
    }


def test_settings_that_are_not_there_have_no_file() -> None:
    assert "group_vars/all/phoenix.yml" not in inventory(fleet(LAYER), SOURCES)


def test_the_head() -> None:
    assert inventory(fleet(LAYER), SOURCES)["group_vars/phoenix_nodes/phoenix.yml"] == (
        "# Generated by phoenix.hypervisor.fleet_inventory: changes in this file are overwritten.\n"
        "# From: fleet.cfg/phoenix_lxc_configs.json, fleet.cfg/phoenix_hypervisor_config.json\n"
        "# By: ansible-playbook phoenix.hypervisor.inventory"
        " -e phoenix_inventory=<the folder that hosts.yml is in>\n"
        "# Settings of your own belong into another file beside this one.\n"
        "\n"
        "ansible_user: root\n"
    )


@pytest.mark.parametrize(
    ("data", "generated"),
    [
        (inventory(fleet(LAYER), SOURCES)["hosts.yml"].encode(), True),
        (inventory(fleet(LAYER), SOURCES)["hosts.yml"].replace("\n", "\r\n").encode(), True),
        (b"", False),
        (b"---\n# Generated by phoenix.hypervisor.fleet_inventory\n", False),
    ],
    ids=["as it is written", "with other line ends", "empty", "of a person"],
)
def test_generated_files_are_known_by_their_first_line(data: bytes, generated: bool) -> None:
    assert is_generated(data) is generated


def test_yamllint_accepts_a_long_line() -> None:
    rules = YamlLintConfig((COLLECTION / ".yamllint").read_text().replace("ignore-from-file: .gitignore", ""))
    long = dataclasses.replace(OTHER, parent=None, settings={"health_check": {"command": "curl -sf " * 30}})
    files = inventory(fleet(long, LAYER), SOURCES)
    assert "line-length" in files["host_vars/embed/phoenix.yml"]
    assert "line-length" not in files["host_vars/BaseTemplateDockerGPU/phoenix.yml"]
    assert not [problem for text in files.values() for problem in linter.run(text, rules)]


def shuffled(value: t.Any, chance: random.Random) -> t.Any:
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: shuffled(value[key], chance) for key in keys}
    return [shuffled(item, chance) for item in value] if isinstance(value, list) else value


@given(st.randoms(use_true_random=False))
def test_the_order_in_the_json_does_not_matter(chance: random.Random) -> None:
    folder = COLLECTION / "inventories/example/fleet.cfg"
    lxc, hypervisor = (json.loads((folder / Path(source).name).read_text()) for source in SOURCES)
    expected = inventory(normalise(lxc, hypervisor), SOURCES)
    found = inventory(normalise(shuffled(lxc, chance), shuffled(hypervisor, chance)), SOURCES)
    assert found == expected
    assert list(found) == list(expected)
