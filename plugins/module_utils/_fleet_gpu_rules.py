# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# The rules about GPUs, memory, the driver and CUDA. No I/O.

from __future__ import annotations

import typing as t
from collections.abc import Iterator, Mapping

from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet import Problem
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_model import (
    ENGINE,
    runfile_version,
    vllm_settings,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_view import (
    CONTAINERS,
    Entry,
    Rule,
    View,
    refusal,
    some,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._gpu import parse_assignment
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia import is_version, order
from ansible_collections.phoenix.hypervisor.plugins.module_utils._schema import at

# The oldest driver for Linux on x86_64 that came with a toolkit: NVIDIA CUDA Toolkit release notes, table "CUDA Toolkit
# and Corresponding Driver Versions", the line of each first release.
_OLDEST_DRIVER = {
    "11.8": "520.61.05",
    "12.0": "525.60.13",
    "12.1": "530.30.02",
    "12.2": "535.54.03",
    "12.3": "545.23.06",
    "12.4": "550.54.14",
    "12.5": "555.42.02",
    "12.6": "560.28.03",
    "12.8": "570.26",
    "12.9": "575.51.03",
    "13.0": "580.65.06",
    "13.1": "590.44.01",
    "13.2": "595.45.04",
}

# What vLLM takes of a GPU where nothing is said: the default of the role vllm_server.
_VLLM_SHARE = 0.9


def assignments(view: View) -> Iterator[Problem]:
    for entry in view.containers.values():
        value = entry.raw.get("gpu_assignment")
        if isinstance(value, str) and (said := refusal("gpus", parse_assignment, value)):
            yield entry.problem(("gpu_assignment",), value, said[0],
                                'Write "none", or the indices of the GPUs, each once, for example "0,1".')  # fmt: skip


def _gpus(entry: Entry) -> tuple[int, ...] | None:
    """The assigned GPUs, or None when the assignment cannot be read."""
    if "gpu_assignment" in entry.raw and "gpu_assignment" not in entry.fit:
        return None
    value = entry.fit.get("gpu_assignment", "none")
    if refusal("gpus", parse_assignment, value):
        return None
    assignment = parse_assignment(value)
    return None if isinstance(assignment, str) else assignment


def tensor_parallel(view: View) -> Iterator[Problem]:
    for entry in view.containers.values():
        gpus, size = _gpus(entry), vllm_settings(entry.fit).get("tensor_parallel_size")
        if gpus is not None and size is not None and size > len(gpus):
            keys = _place_of("tensor_parallel_size", size, entry.fit)
            have = f"{len(gpus)} ({entry.fit['gpu_assignment']})" if gpus else "none"
            need = "1 GPU" if size == 1 else f"{size} GPUs"
            yield entry.problem(keys, size, f"the model needs {need}, and the container has {have}",
                                f"Write {len(gpus)} or less, or assign more GPUs." if gpus else
                                "Assign GPUs to it (gpu_assignment), or remove the key.")  # fmt: skip


def _places(setting: str) -> list[tuple[str, ...]]:
    """Where a setting of vLLM can be written, the one that counts first."""
    return [(f"vllm_{setting}",), *(("vllm_engine_config", *keys) for keys, name in ENGINE.items() if name == setting)]


def _place_of(setting: str, value: t.Any, container: Mapping[str, t.Any]) -> tuple[str, ...]:
    return next(keys for keys in _places(setting) if _at(container, keys) == value)


def _at(document: Mapping[str, t.Any], keys: tuple[str, ...]) -> t.Any:
    value: t.Any = document
    for key in keys:
        value = value.get(key, {})
    return value


def one_engine_setting(view: View) -> Iterator[Problem]:
    for entry in view.containers.values():
        for (group, key), name in ENGINE.items():
            older = entry.fit.get("vllm_engine_config", {}).get(group, {}).get(key)
            wanted = entry.fit.get(f"vllm_{name}")
            if older is not None and wanted is not None and older != wanted:
                yield entry.problem(("vllm_engine_config", group, key), older,
                                    f"{older} differs from vllm_{name}, which is {wanted}", "Remove it.")  # fmt: skip


class Told(t.NamedTuple):
    """A driver version that one of the files tells."""

    file: str
    path: str
    text: str
    version: str | None


def _told(view: View) -> list[Told]:
    """Every place that tells the driver version, the one that counts first (D3)."""
    lxc, hypervisor = view.lxc, view.hypervisor
    places = (
        (view.hypervisor_file, hypervisor.get("nvidia_driver", {}), "$.nvidia_driver", "runfile_url"),
        (view.hypervisor_file, hypervisor.get("nvidia", {}), "$.nvidia", "runfile_url"),
        (view.lxc_file, lxc, "$", "nvidia_runfile_url"),
        (view.hypervisor_file, hypervisor.get("nvidia_driver", {}), "$.nvidia_driver", "version"),
        (view.hypervisor_file, hypervisor.get("nvidia", {}), "$.nvidia", "driver_version"),
        (view.lxc_file, lxc, "$", "nvidia_driver_version"),
    )
    return [
        Told(file, at(path, key), document[key], runfile_version(document[key]) if "url" in key else document[key])
        for file, document, path, key in places
        if key in document
    ]


def driver_versions(view: View) -> Iterator[Problem]:
    told = _told(view)
    known = [place for place in told if place.version and is_version(place.version)]
    for place in told:
        if place.version and not is_version(place.version):
            yield Problem(place.file, place.path, place.text, f'"{place.text}" is no NVIDIA driver version',
                          "Write it like 580.76.05, or remove the key: the name of the runfile tells it.")  # fmt: skip
        elif known and place.version and place.version != known[0].version:
            yield Problem(place.file, place.path, place.text,
                          f"{place.version} differs from {known[0].version}, which {known[0].path} of {known[0].file} "
                          "tells", "Remove the key, or write the same version there and here.")  # fmt: skip
    if told and not known and all(place.version is None for place in told):
        yield Problem(told[0].file, told[0].path, told[0].text, "the file name does not tell the driver version",
                      "Use NVIDIA's own file name: NVIDIA-Linux-x86_64-580.76.05.run or the like.")  # fmt: skip


def cuda_fits(view: View) -> Iterator[Problem]:
    cuda = view.hypervisor.get("nvidia_driver", {}).get("cuda_version")
    driver = next((place.version for place in _told(view) if place.version and is_version(place.version)), None)
    if cuda is None or driver is None:
        return
    # A toolkit that the table does not have yet needs no older driver than the one before it.
    before = [version for version in _OLDEST_DRIVER if order(version) <= order(cuda)]
    if before and order(driver) < order(_OLDEST_DRIVER[before[-1]]):
        fitting = [version for version, oldest in _OLDEST_DRIVER.items() if order(oldest) <= order(driver)]
        instead = "Use the runfile of a newer driver" + (f", or CUDA {fitting[-1]}." if fitting else ".")
        yield Problem(view.hypervisor_file, "$.nvidia_driver.cuda_version", cuda,
                      f"CUDA {cuda} needs driver {_OLDEST_DRIVER[before[-1]]} or newer, and the fleet has {driver}",
                      instead)  # fmt: skip


def gpu_memory(view: View) -> Iterator[Problem]:
    shares: dict[tuple[str, int], list[tuple[int, float]]] = {}
    for entry in view.at_boot():
        vllm = vllm_settings(entry.fit)
        default = _VLLM_SHARE if entry.fit.get("application_script") == "vllm_server" else None
        share, node = vllm.get("gpu_memory_utilization", default), view.node_of(entry)
        if share is not None and node is not None:
            # Of more GPUs than the model is spread over, vLLM takes the first ones.
            for gpu in (_gpus(entry) or ())[: vllm.get("tensor_parallel_size", 1)]:
                shares.setdefault((node, gpu), []).append((entry.ctid, share))
    for (node, gpu), parts in sorted(shares.items()):
        total = round(sum(share for _ctid, share in parts), 6)
        if total > 1:
            names = some([f"{share:g} ({ctid})" for ctid, share in parts], " + ")
            yield Problem(view.lxc_file, CONTAINERS, total,
                          f'GPU {gpu} of node "{node}" is promised {total:g} times to containers that start at boot: '
                          f"{names}", "Lower vllm_gpu_memory_utilization, use another GPU, or do not start all of them "
                          "at boot.")  # fmt: skip


def memory(view: View) -> Iterator[Problem]:
    for name, node in view.nodes.items():
        have = node.get("memory_mb")
        entries = [entry for entry in view.at_boot() if view.node_of(entry) == name]
        total = sum(entry.fit.get("memory_mb", 0) for entry in entries)
        if have is not None and total > have:
            yield Problem(view.hypervisor_file, at(at("$.nodes", name), "memory_mb"), have,
                          f"the {len(entries)} containers that start with the node may use {total} MiB, and it has "
                          f"{have}", "Lower memory_mb of some, or do not start all of them at boot.")  # fmt: skip


def build_memory(view: View) -> Iterator[Problem]:
    for entry in view.containers.values():
        wanted, usual = entry.fit.get("build_memory_mb"), entry.fit.get("memory_mb")
        if wanted is None:
            continue
        if entry.raw.get("is_template", False) is False:
            yield entry.problem(("build_memory_mb",), wanted, "only a layer is built, and this is none",
                                "Remove it, or set is_template to true.")  # fmt: skip
        elif usual is not None and wanted <= usual:
            yield entry.problem(("build_memory_mb",), wanted,
                                f"{wanted} MiB are no more than memory_mb, which is {usual}",
                                f"Write more than {usual}, or remove it.")  # fmt: skip


ERRORS: tuple[Rule, ...] = (assignments, tensor_parallel, one_engine_setting, driver_versions, cuda_fits, build_memory)
WARNINGS: tuple[Rule, ...] = (gpu_memory, memory)
