# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# nvidia-container-runtime: runc with a prelude. When a container is created whose environment asks for GPUs, its
# config.json is edited first; then runc does the work.

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from . import cdi, settings
from .driver import Driver
from .log import Log, ToolkitError

VISIBLE = "NVIDIA_VISIBLE_DEVICES"
HOOK = "/usr/bin/nvidia-container-runtime-hook"
_MODE = "nvidia-container-runtime.mode"
_HOOK_NAMES = {"nvidia-container-runtime-hook", "nvidia-container-toolkit"}


def main(words: Sequence[str], version: str) -> int:
    values = settings.load(Path(settings.path()))
    runtimes = settings.value(values, "nvidia-container-runtime.runtimes")
    runc = next((path for name in runtimes if (path := shutil.which(name))), None)
    if list(words) in (["--version"], ["-v"]):
        print(f"NVIDIA Container Runtime version {version}", flush=True)
    if runc is None:
        before = "failed to create NVIDIA Container Runtime: error constructing low-level runtime"
        return _fail(words, f"{before}: no runtime binary found from candidate list: {runtimes}")
    if (bundle := bundle_of(words)) is not None:
        try:
            edit_bundle(bundle, Driver(), with_mode(values, version))
        except (ToolkitError, OSError, ValueError) as error:
            return _fail(words, str(error))
    return become(runc, words)


def become(program: str, words: Sequence[str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(program, [program, *words])


def bundle_of(words: Sequence[str]) -> Path | None:
    """The folder of the container that is to be created; None when this command creates none."""
    if "create" not in words:
        return None
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in {"--bundle", "-bundle", "-b"}:
            return Path(value if equals else words[index + 1])
    return Path()


def _fail(words: Sequence[str], reason: str) -> int:
    """Into the log that containerd reads the reason from, and to stderr."""
    for index, word in enumerate(words):
        if word in {"--log", "-log"} or word.startswith("--log="):
            name = word.partition("=")[2] or words[index + 1]
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            with Path(name).open("a") as file:
                file.write(json.dumps({"level": "error", "msg": reason, "time": now}) + "\n")
    Log().error(reason)
    return 1


def edit_bundle(bundle: Path, driver: Driver, values: settings.Settings) -> None:
    file = bundle / "config.json"
    config: dict[str, Any] = json.loads(file.read_text())
    if edit(config, driver, values):
        file.write_text(json.dumps(config))


def with_mode(values: settings.Settings, version: str) -> settings.Settings:
    """What `auto` means: the hook does it before 1.18, the runtime itself from then on."""
    mode = settings.value(values, _MODE)
    if mode == "auto" and tuple(int(part) for part in version.split(".")[:2]) < (1, 18):
        mode = "legacy"
    return {**values, _MODE: mode}


def environment(config: dict[str, Any], name: str) -> str | None:
    found = None
    for entry in config.get("process", {}).get("env") or []:
        key, _, value = entry.partition("=")
        if key == name:
            found = value
    return found


def edit(config: dict[str, Any], driver: Driver, values: settings.Settings) -> bool:
    """Whether the configuration was changed."""
    wanted = environment(config, VISIBLE)
    if not wanted or wanted == "void":
        return False
    mode = settings.value(values, _MODE)
    names = wanted.split(",")
    if mode == "legacy":
        add_hook(config)
        return True
    remove_hook(config)
    if mode == "cdi" or all(cdi.is_qualified(name) for name in names):
        kind = settings.value(values, "nvidia-container-runtime.modes.cdi.default-kind")
        folders = settings.value(values, "nvidia-container-runtime.modes.cdi.spec-dirs")
        qualified = [name if cdi.is_qualified(name) else f"{kind}={name}" for name in names]
        try:
            cdi.apply(config, cdi.resolve(cdi.specs(folders, driver.root), qualified), driver.root)
        except ToolkitError as error:
            before = "could not apply required modification to OCI specification: error modifying OCI spec"
            raise ToolkitError(f"{before}: failed to inject CDI devices: {error}") from error
        return True
    cdi.apply(config, _generated(driver, wanted), driver.root)
    return True


def _generated(driver: Driver, wanted: str) -> list[cdi.Edits]:
    before = "failed to create NVIDIA Container Runtime: failed to construct OCI spec modifier"
    try:
        spec = cdi.generate(driver, Log(quiet=True))
        chosen = cdi.select(driver.gpus(), wanted)
    except ToolkitError as error:
        raise ToolkitError(f"{before}: failed to construct CDI spec: {error}") from error
    except KeyError as error:
        said = f"failed to get device handle for {error}: Invalid Argument"
        raise ToolkitError(f"{before}: failed to construct device spec generators: {said}") from error
    nodes = [{"path": gpu.node} for gpu in chosen]
    return [{"deviceNodes": nodes}, spec["containerEdits"]]


def remove_hook(config: dict[str, Any]) -> None:
    """`--gpus` makes dockerd add the hook even with this runtime; what is done here would be done twice."""
    hooks = config.get("hooks") or {}
    for name in ("prestart", "createRuntime"):
        if hooks.get(name):
            hooks[name] = [hook for hook in hooks[name] if Path(hook["path"]).name not in _HOOK_NAMES]


def add_hook(config: dict[str, Any]) -> None:
    remove_hook(config)
    if config.get("hooks") is None:
        config["hooks"] = {}
    arguments = [Path(HOOK).name, "prestart"]
    config["hooks"].setdefault("prestart", []).append({"path": HOOK, "args": arguments})
