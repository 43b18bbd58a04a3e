# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# docs/requirements.md refers to what the seeds say of containers 903 and 920: the example fleet has it.

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet import Container
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_model import normalise

FILES = Path(__file__).parents[4] / "inventories/example/fleet.cfg"
TEMPLATE = "/fastData/shared-iso/template/cache/ubuntu-24.04-standard_24.04-2_amd64.tar.zst"


@pytest.fixture(scope="module")
def documents() -> tuple[dict[str, Any], dict[str, Any]]:
    lxc = json.loads((FILES / "phoenix_lxc_configs.json").read_text())
    hypervisor = json.loads((FILES / "phoenix_hypervisor_config.json").read_text())
    return lxc, hypervisor


@pytest.fixture(scope="module")
def containers(documents: tuple[dict[str, Any], dict[str, Any]]) -> dict[int, Container]:
    return dict(normalise(*documents).containers)


def network(address: str, mac: str) -> list[dict[str, str]]:
    return [{"name": "eth0", "bridge": "vmbr0", "ip": address, "gw": "10.0.0.1", "hwaddr": mac}]


@pytest.mark.parametrize(
    ("ctid", "name", "parent", "snapshot", "options"),
    [
        (
            903,
            "BaseTemplateDockerGPU",
            902,
            "docker-gpu-snapshot",
            {
                "cores": 2,
                "memory_mb": 2048,
                "rootfs": {"storage": "lxc-disks", "size_gb": 32},
                "networks": network("10.0.0.203/24", "52:54:00:AA:BB:CF"),
            },
        ),
        (
            920,
            "BaseTemplateVLLM",
            903,
            "vllm-base-snapshot",
            {
                "cores": 4,
                "memory_mb": 4096,
                "rootfs": {"storage": "lxc-disks", "size_gb": 64},
                "networks": network("10.0.0.220/24", "52:54:00:AA:BB:D1"),
            },
        ),
    ],
    ids=["903", "920"],
)
def test_what_the_seeds_say_of_a_layer(
    containers: dict[int, Container], *, ctid: int, name: str, parent: int, snapshot: str, options: dict[str, Any]
) -> None:
    found = containers[ctid]
    assert (found.name, found.parent, found.snapshot, found.is_layer) == (name, parent, snapshot, True)
    assert {key: found.options[key] for key in options} == options
    assert found.options["features"] == {"nesting": True}
    assert found.options["unprivileged"] is False
    assert found.gpus == (0, 1)
    assert found.settings["portainer_role"] == "none"


def test_the_settings_of_vllm_that_920_hands_down(containers: dict[int, Container]) -> None:
    assert containers[920].settings["vllm"] == {"model": "/models/test-model", "tensor_parallel_size": 1}


def test_a_template_file_beside_a_parent_counts_for_nothing(documents: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Seed 001 names both, and clones."""
    lxc = copy.deepcopy(documents[0])
    lxc["lxc_configs"]["920"]["template"] = TEMPLATE
    containers = normalise(lxc, documents[1]).containers
    assert (containers[920].parent, containers[920].ostemplate) == (903, None)
    assert (containers[900].parent, containers[900].ostemplate) == (None, TEMPLATE)


def test_layers_are_for_cloning_only(containers: dict[int, Container]) -> None:
    """Nothing that serves runs in a layer, and no layer starts with the node."""
    for container in containers.values():
        if container.is_layer:
            assert "application" not in container.settings
            assert container.options["onboot"] is False
        else:
            assert container.parent is not None
            assert containers[container.parent].is_layer


@pytest.mark.parametrize(("ctid", "features"), [(903, ("nvidia", "docker")), (920, ("nvidia", "docker", "vllm"))])
def test_a_layer_has_what_it_inherits_checked(
    containers: dict[int, Container], ctid: int, features: tuple[str, ...]
) -> None:
    """A role runs again for each feature that is named, so an inherited one is named again."""
    assert set(features) <= set(containers[ctid].features)
