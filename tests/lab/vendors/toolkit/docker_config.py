# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# `nvidia-ctk runtime configure --runtime=docker`: daemon.json with the nvidia runtime.

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .arguments import parse
from .log import Log, ToolkitError

DAEMON = "/etc/docker/daemon.json"
_FLAGS = {
    "dry-run": "dry-run",
    "nvidia-set-as-default": "set-as-default",
    "set-as-default": "set-as-default",
    "cdi.enabled": "cdi",
    "cdi.enable": "cdi",
    "enable-cdi": "cdi",
}
_VALUES = {
    "runtime": "runtime",
    "config": "config",
    "drop-in-config": "drop-in-config",
    "executable-path": "executable-path",
    "config-mode": "config-mode",
    "config-source": "config-source",
    "nvidia-runtime-name": "name",
    "nvidia-runtime-path": "path",
    "runtime-path": "path",
    "nvidia-runtime-hook-path": "hook-path",
}


def configure(words: list[str], log: Log) -> None:
    options, _ = parse(words, _FLAGS, _VALUES)
    runtime = options.text("runtime", "docker")
    if runtime not in {"containerd", "crio", "docker"}:
        raise ToolkitError(f"unrecognized runtime '{runtime}'")
    if runtime != "docker":
        raise ToolkitError(f"the lab's nvidia-ctk does not configure {runtime}")
    if options.text("drop-in-config"):
        raise ToolkitError("runtime docker does not support drop-in configs")
    file = Path(options.text("config", DAEMON))
    config = _load(file, log)
    merge(
        config,
        name=options.text("name", "nvidia"),
        path=options.text("path", "nvidia-container-runtime"),
        default=options.on("set-as-default"),
        cdi=options.on("cdi"),
    )
    text = json.dumps(config, indent=4, sort_keys=True, ensure_ascii=False)
    if options.on("dry-run"):
        print(text)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    log.info(f"Wrote updated config to {file}")
    log.info("It is recommended that docker daemon be restarted.")


def _load(file: Path, log: Log) -> dict[str, Any]:
    if not file.exists():
        log.info("Config file does not exist; using empty config")
        return {}
    log.info(f"Loading config from {file}")
    try:
        config = json.loads(file.read_text())
    except ValueError as error:
        raise ToolkitError(f"unable to load config for runtime docker: unable to read config: {error}") from error
    if not isinstance(config, dict):
        raise ToolkitError("unable to load config for runtime docker: unable to read config: no object")
    return config


def merge(config: dict[str, Any], *, name: str, path: str, default: bool, cdi: bool) -> None:
    config["runtimes"] = {**config.get("runtimes", {}), name: {"args": [], "path": path}}
    if default:
        config["default-runtime"] = name
    if cdi:
        # Not merged: the real program loses all other features here.
        config["features"] = {"cdi": True}
