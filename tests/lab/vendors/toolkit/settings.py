# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# /etc/nvidia-container-runtime/config.toml: read, changed and written as `nvidia-ctk config` does, with what is not set
# as a comment.

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

from .log import ToolkitError

PATH = "/etc/nvidia-container-runtime/config.toml"

# All settings with their defaults; None is written as a comment unless it was set.
DEFAULTS: dict[str, Any] = {
    "disable-require": False,
    "supported-driver-capabilities": "compat32,compute,display,graphics,ngx,utility,video",
    "swarm-resource": None,
    "accept-nvidia-visible-devices-envvar-when-unprivileged": None,
    "accept-nvidia-visible-devices-as-volume-mounts": None,
    "nvidia-container-cli.debug": None,
    "nvidia-container-cli.environment": [],
    "nvidia-container-cli.ldcache": None,
    "nvidia-container-cli.ldconfig": "@/sbin/ldconfig",
    "nvidia-container-cli.load-kmods": True,
    "nvidia-container-cli.no-cgroups": None,
    "nvidia-container-cli.path": None,
    "nvidia-container-cli.root": None,
    "nvidia-container-cli.user": None,
    "nvidia-container-runtime.debug": None,
    "nvidia-container-runtime.log-level": "info",
    "nvidia-container-runtime.mode": "auto",
    "nvidia-container-runtime.runtimes": ["runc", "crun"],
    "nvidia-container-runtime.modes.cdi.annotation-prefixes": ["cdi.k8s.io/"],
    "nvidia-container-runtime.modes.cdi.default-kind": "nvidia.com/gpu",
    "nvidia-container-runtime.modes.cdi.spec-dirs": ["/etc/cdi", "/var/run/cdi"],
    "nvidia-container-runtime.modes.csv.mount-spec-path": "/etc/nvidia-container-runtime/host-files-for-container.d",
    "nvidia-container-runtime.modes.legacy.cuda-compat-mode": "ldconfig",
    "nvidia-container-runtime-hook.path": "nvidia-container-runtime-hook",
    "nvidia-container-runtime-hook.skip-mode-detection": False,
    "nvidia-ctk.path": "nvidia-ctk",
}
# What the comments say.
COMMENTED: dict[str, Any] = {
    "swarm-resource": "DOCKER_RESOURCE_GPU",
    "accept-nvidia-visible-devices-envvar-when-unprivileged": True,
    "accept-nvidia-visible-devices-as-volume-mounts": False,
    "nvidia-container-cli.debug": "/var/log/nvidia-container-toolkit.log",
    "nvidia-container-cli.ldcache": "/etc/ld.so.cache",
    "nvidia-container-cli.no-cgroups": False,
    "nvidia-container-cli.path": "/usr/bin/nvidia-container-cli",
    "nvidia-container-cli.root": "/run/nvidia/driver",
    "nvidia-container-cli.user": "root:video",
    "nvidia-container-runtime.debug": "/var/log/nvidia-container-runtime.log",
}

Settings = dict[str, Any]


def path() -> str:
    return os.environ.get("NVIDIA_CTK_CONFIG_FILE_PATH") or PATH


def load(file: Path) -> Settings:
    """The settings of the file, by dotted key; the defaults where there is no file."""
    try:
        text = file.read_text()
    except FileNotFoundError:
        return {key: value for key, value in DEFAULTS.items() if value is not None}
    try:
        return _flat(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ToolkitError(f"unable to create config: failed to load specified config file: {error}") from error


def _flat(tree: dict[str, Any], prefix: str = "") -> Settings:
    found: Settings = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found.update(_flat(value, f"{prefix}{key}."))
        else:
            found[prefix + key] = value
    return found


def value(settings: Settings, key: str) -> Any:
    """What is in force for a key."""
    return settings.get(key, DEFAULTS[key])


def change(settings: Settings, option: str) -> None:
    """One `--set key[=value]`."""
    key, equals, text = option.partition("=")
    parts = key.split(".")
    if key not in DEFAULTS:
        field = parts[-1] if any(name.startswith(f"{parts[0]}.") for name in DEFAULTS) else parts[0]
        raise ToolkitError(f'invalid --set option {option}: invalid config option: undefined field: "{field}"')
    like = DEFAULTS[key] if DEFAULTS[key] is not None else COMMENTED[key]
    if not equals:
        if not isinstance(like, bool):
            raise ToolkitError(f"invalid --set option {option}: invalid format: expected key=value; got {option}")
        settings[key] = True
    elif isinstance(like, bool):
        if text not in {"1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"}:
            said = f'strconv.ParseBool: parsing "{text}": invalid syntax'
            raise ToolkitError(f"invalid --set option {option}: invalid format: {said}")
        settings[key] = text in {"1", "t", "T", "true", "TRUE", "True"}
    elif isinstance(like, list):
        separator = next((each for each in ":," if each in text), None)
        settings[key] = text.split(separator) if separator else [text]
    else:
        settings[key] = text


def render(settings: Settings) -> str:
    rows = {key: f"{key.rpartition('.')[2]} = {_value(value)}" for key, value in settings.items()}
    for key, value in COMMENTED.items():
        rows.setdefault(key, f"#{key.rpartition('.')[2]} = {_value(value)}")
    tables: dict[str, list[str]] = {"": []}
    for key in rows:
        table = key.rpartition(".")[0]
        for depth in range(table.count(".") + 1):
            tables.setdefault(".".join(table.split(".")[: depth + 1]), [])
        tables[table].append(key)
    blocks = []
    for table in sorted(tables, key=lambda name: name.split(".")):
        header = [f"[{table}]"] if table else []
        blocks.append("\n".join(header + [rows[key] for key in sorted(tables[table])]))
    return "\n\n".join(blocks) + "\n"


def _value(value: Any) -> str:
    return "[" + ", ".join(map(_value, value)) + "]" if isinstance(value, list) else json.dumps(value)
