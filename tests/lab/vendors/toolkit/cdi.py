# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# CDI specifications: what a container needs to use GPUs, as a document. `nvidia-ctk cdi generate` writes it for Docker,
# the nvidia runtime makes one of its own and edits the container's config.json by it.

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import plain_yaml
from .driver import DRIVER_IN_DOCKER, Driver, Gpu, NvmlError
from .log import Log, ToolkitError

KIND = "nvidia.com/gpu"
VERSION = "0.5.0"
SPEC_FOLDERS = ("/etc/cdi", "/var/run/cdi")
HOOK = "/usr/bin/nvidia-cdi-hook"
_READ_ONLY = ["ro", "nosuid", "nodev", "rbind", "rprivate"]
# Allocations on the lab's GPUs are files in there.
_READ_WRITE = ["rw", "nosuid", "nodev", "rbind", "rprivate"]

Edits = dict[str, Any]
Spec = dict[str, Any]


def generate(driver: Driver, log: Log, *, with_all: bool = True, names: Iterable[str] = ("index", "uuid")) -> Spec:
    try:
        driver.initialize()
    except NvmlError as error:
        raise ToolkitError(f"failed to create device CDI specs: failed to initialize NVML: {error.said}") from error
    log.info(f"Using driver version {driver.version()}")
    gpus = driver.gpus()
    devices: list[dict[str, Any]] = []
    for gpu in gpus:
        log.info(f"Selecting {gpu.node} as {gpu.node}")
        edits = {"deviceNodes": [_node(gpu.node)]}
        by_strategy = {"index": str(gpu.index), "uuid": gpu.uuid, "type-index": f"gpu{gpu.index}"}
        devices += [{"name": by_strategy[name], "containerEdits": edits} for name in names]
    if with_all and gpus:
        nodes = [_node(gpu.node) for gpu in gpus]
        devices.append({"name": "all", "containerEdits": {"deviceNodes": nodes}})
    return {"cdiVersion": VERSION, "kind": KIND, "devices": devices, "containerEdits": common(driver, log)}


def _node(path: str) -> dict[str, str]:
    return {"path": path}


def common(driver: Driver, log: Log) -> Edits:
    """What any container with any GPU gets."""
    nodes, libraries, programs = driver.control_nodes(), driver.libraries(), driver.programs()
    for path in (*nodes, *libraries, *programs):
        log.info(f"Selecting {path} as {path}")
    folders = sorted({str(Path(library).parent) for library in libraries})
    mounts = [_mount(path, path, _READ_ONLY) for path in (*libraries, *programs)]
    if state := driver.state_folder():
        mounts.append(_mount(state, DRIVER_IN_DOCKER, _READ_WRITE))
    links = [f"libcuda.so.1::{Path(library).parent}/libcuda.so" for library in libraries if "/libcuda.so." in library]
    hooks = [
        *([_hook("create-symlinks", *(word for link in links for word in ("--link", link)))] if links else []),
        _hook("update-ldcache", *(word for folder in folders for word in ("--folder", folder))),
    ]
    return {
        "env": [f"NVIDIA_CTK_LIBCUDA_DIR={':'.join(folders)}", "NVIDIA_VISIBLE_DEVICES=void"],
        "deviceNodes": [_node(path) for path in nodes],
        "hooks": hooks,
        "mounts": mounts,
    }


def _mount(source: str, target: str, options: list[str]) -> dict[str, Any]:
    return {"hostPath": source, "containerPath": target, "options": options}


def _hook(name: str, *arguments: str) -> dict[str, Any]:
    return {
        "hookName": "createContainer",
        "path": HOOK,
        "args": ["nvidia-cdi-hook", name, *arguments],
        "env": ["NVIDIA_CTK_DEBUG=false"],
    }


def specs(folders: Iterable[str], root: Path = Path("/")) -> list[Spec]:
    """All specifications that can be read; what is broken is left out, as CDI's own library does."""
    found = []
    for folder in folders:
        for file in sorted((root / folder.lstrip("/")).glob("*")):
            if file.suffix in {".yaml", ".yml", ".json"}:
                try:
                    spec = plain_yaml.load(file.read_text())
                except (OSError, ValueError):
                    continue
                if isinstance(spec, dict):
                    found.append(spec)
    return found


def device_names(found: Iterable[Spec]) -> list[str]:
    return sorted({f"{spec.get('kind')}={device['name']}" for spec in found for device in spec.get("devices") or []})


def resolve(found: Iterable[Spec], wanted: Iterable[str]) -> list[Edits]:
    """The edits for qualified names such as nvidia.com/gpu=0: the device's own, and those of each of its documents."""
    known = list(found)
    edits: list[Edits] = []
    documents: list[Spec] = []
    missing = []
    for name in wanted:
        for spec in known:
            device = next(
                (each for each in spec.get("devices") or [] if f"{spec['kind']}={each['name']}" == name), None
            )
            if device:
                edits.append(device.get("containerEdits") or {})
                documents += [spec] if spec not in documents else []
                break
        else:
            missing.append(name)
    if missing:
        raise ToolkitError(f"unresolvable CDI devices {', '.join(missing)}")
    return edits + [spec.get("containerEdits") or {} for spec in documents]


def select(gpus: Iterable[Gpu], wanted: str) -> list[Gpu]:
    """The GPUs that a value of NVIDIA_VISIBLE_DEVICES names."""
    known = list(gpus)
    if wanted == "all":
        return known
    chosen = []
    for name in [] if wanted == "none" else wanted.split(","):
        match = next((gpu for gpu in known if name in {str(gpu.index), gpu.uuid}), None)
        if match is None:
            raise KeyError(name)
        chosen.append(match)
    return chosen


def apply(config: dict[str, Any], edits: Iterable[Edits], root: Path = Path("/")) -> None:
    """Edit an OCI configuration in place."""
    for edit in edits:
        for entry in edit.get("env") or []:
            set_environment(config, entry)
        for node in edit.get("deviceNodes") or []:
            add_device(config, node["path"], root / (node.get("hostPath") or node["path"]).lstrip("/"))
        for mount in edit.get("mounts") or []:
            mounts: list[dict[str, Any]] = config.setdefault("mounts", [])
            mounts[:] = [each for each in mounts if each["destination"] != mount["containerPath"]]
            mounts.append(
                {
                    "destination": mount["containerPath"],
                    "source": mount["hostPath"],
                    "type": "bind",
                    "options": mount.get("options") or [],
                }
            )
        for hook in edit.get("hooks") or []:
            entry = {key: hook[key] for key in ("path", "args", "env") if hook.get(key)}
            config.setdefault("hooks", {}).setdefault(hook["hookName"], []).append(entry)


def set_environment(config: dict[str, Any], entry: str) -> None:
    environment: list[str] = config.setdefault("process", {}).setdefault("env", [])
    name = entry.partition("=")[0]
    environment[:] = [each for each in environment if each.partition("=")[0] != name]
    environment.append(entry)


def add_device(config: dict[str, Any], path: str, source: Path) -> None:
    """A node in the container and the right to use it."""
    try:
        status = source.stat()
    except OSError as error:
        raise ToolkitError(f'failed to stat CDI host device "{source}": {(error.strerror or "").lower()}') from error
    major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
    linux = config.setdefault("linux", {})
    devices: list[dict[str, Any]] = linux.setdefault("devices", [])
    devices[:] = [each for each in devices if each["path"] != path]
    mode = stat.S_IMODE(status.st_mode)
    devices.append({"path": path, "type": "c", "major": major, "minor": minor, "fileMode": mode, "uid": 0, "gid": 0})
    rules: list[dict[str, Any]] = linux.setdefault("resources", {}).setdefault("devices", [])
    rules.append({"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"})


def is_qualified(name: str) -> bool:
    return re.fullmatch(r"[\w.-]+/[\w.-]+=[\w.:-]+", name) is not None
