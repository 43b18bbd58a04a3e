# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A small fleet without a fault, and what a table of tests does to it.

from __future__ import annotations

import copy
import json
import typing as t
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet import Problem
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_rules import Findings, Schemas, validate
from hypothesis import strategies as st

Document = dict[str, t.Any]
Edits = Mapping[str, t.Any]

LXC, HYPERVISOR = "lxc.json", "hypervisor.json"
RUNFILE = "https://us.download.nvidia.com/XFree86/Linux-x86_64/580.76.05/NVIDIA-Linux-x86_64-580.76.05.run"
GONE = object()
"""In the place of a value: the key is removed."""

_FOLDER = Path(__file__).parents[4] / "schemas"
SCHEMAS = Schemas(
    lxc=json.loads((_FOLDER / "phoenix_lxc_configs.schema.json").read_text()),
    hypervisor=json.loads((_FOLDER / "phoenix_hypervisor_config.schema.json").read_text()),
)


def container(name: str, ip: str, mac: str, **more: t.Any) -> Document:
    return {
        "name": name,
        "cores": 2,
        "memory_mb": 2048,
        "storage_pool": "lxc-disks",
        "storage_size_gb": 32,
        "network_config": {"name": "eth0", "bridge": "vmbr0", "ip": f"{ip}/24", "gw": "10.0.0.1"},
        "mac_address": mac,
        "unprivileged": False,
        **more,
    }


def documents() -> tuple[Document, Document]:
    """Two layers, an application with a GPU, and one without."""
    containers = {
        "900": container(
            "BaseTemplate",
            "10.0.0.200",
            "52:54:00:AA:BB:CC",
            is_template=True,
            template_snapshot_name="base-snapshot",
            template="local:vztmpl/ubuntu.tar.zst",
            pct_options=["nesting=1"],
        ),
        "902": container(
            "BaseTemplateDocker",
            "10.0.0.202",
            "52:54:00:AA:BB:CE",
            is_template=True,
            template_snapshot_name="docker-snapshot",
            clone_from_template_ctid="900",
        ),
        "950": container(
            "vllm",
            "10.0.0.150",
            "52:54:00:67:89:B0",
            clone_from_template_ctid="902",
            gpu_assignment="0",
            start_at_boot=True,
        ),
        "951": container("web", "10.0.0.151", "52:54:00:67:89:B1", clone_from_template_ctid="902"),
    }
    hypervisor = {
        "network": {"interfaces": {"name": "vmbr0", "address": "10.0.0.13/24"}},
        "nvidia_driver": {"runfile_url": RUNFILE, "cuda_version": "12.8"},
    }
    return {"lxc_configs": containers}, hypervisor


def edited(edits: Edits) -> tuple[Document, Document]:
    """The documents with values set or removed at C(lxc.KEY...), C(hypervisor.KEY...) or C(CTID.KEY...)."""
    lxc, hypervisor = documents()
    for place, value in edits.items():
        first, *keys = place.split(".")
        tops = {"lxc": lxc, "hypervisor": hypervisor}
        target, keys = (tops[first], keys) if first in tops else (lxc["lxc_configs"], [first, *keys])
        for key in keys[:-1]:
            target = target.setdefault(key, {})
        if value is GONE:
            del target[keys[-1]]
        else:
            target[keys[-1]] = copy.deepcopy(value)
    return lxc, hypervisor


def findings(edits: Edits) -> Findings:
    return validate(*edited(edits), SCHEMAS, (LXC, HYPERVISOR))


def in_lxc(path: str, value: object, wrong: str, instead: str) -> Problem:
    return Problem(LXC, f"$.{path}", value, wrong, instead)


def of(path: str, value: object, wrong: str, instead: str) -> Problem:
    """A problem of a container: the path begins with its id."""
    return in_lxc(f"lxc_configs.{path}", value, wrong, instead)


def in_hypervisor(path: str, value: object, wrong: str, instead: str) -> Problem:
    return Problem(HYPERVISOR, f"$.{path}", value, wrong, instead)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 999) | st.floats(allow_nan=False) | st.sampled_from(["", "0,0", "950"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.sampled_from(["902", "a", "ip"]), children),
    max_leaves=4,
)


def _places(document: object, path: str = "") -> list[str]:
    if not isinstance(document, dict):
        return []
    below = [(f"{path}{key}", value) for key, value in document.items()]
    return [place for key, value in below for place in (key, *_places(value, f"{key}."))]


def _all_places() -> list[str]:
    """Every key that the schemas know, of a container and of the node."""
    of_containers = SCHEMAS.lxc["$defs"]["container"]["properties"]
    containers = [f"{ctid}.{key}" for ctid in ("900", "902", "950") for key in of_containers]
    nodes = [f"hypervisor.{key}" for key in SCHEMAS.hypervisor["properties"]]
    tops = [f"lxc.{key}" for key in SCHEMAS.lxc["properties"]]
    lxc, hypervisor = documents()
    written = [*_places(lxc["lxc_configs"]), *_places(hypervisor, "hypervisor.")]
    return sorted({*containers, *nodes, *tops, *written})


PLACES = _all_places()
