# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# nvidia-ctk: runtime configure, config, cdi generate, cdi list, system create-dev-char-symlinks, system
# create-device-nodes.

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from . import cdi, docker_config, plain_yaml, settings
from .arguments import parse
from .driver import Driver
from .log import Log, ToolkitError

_FLAGS = ("debug", "d", "quiet", "version", "v", "help", "h")
_HELP = """NAME:
   NVIDIA Container Toolkit CLI - Tools to configure the NVIDIA Container Toolkit

COMMANDS:
   hook, runtime, info, cdi, system, config
"""


def main(words: Sequence[str], version: str, root: Path = Path("/")) -> int:
    log = Log()
    try:
        _, rest = parse(words, {name: name for name in _FLAGS}, {"config": "config"})
    except ToolkitError as error:
        log.error(str(error))
        return 1
    log = Log(quiet="--quiet" in words)
    if {"--version", "-v", "-version"} & set(words[: len(words) - len(rest)]):
        print(f"NVIDIA Container Toolkit CLI version {version}")
        return 0
    if not rest or {"--help", "-h"} & set(words[: len(words) - len(rest)]):
        sys.stdout.write(_HELP)
        return 0
    try:
        _command(rest, log, Driver(root), root)
    except ToolkitError as error:
        log.error(str(error))
        return 1
    except OSError as error:
        log.error(f"open {error.filename}: {(error.strerror or '').lower()}")
        return 1
    return 0


def _command(words: list[str], log: Log, driver: Driver, root: Path) -> None:
    match words:
        case ["runtime", "configure", *rest]:
            docker_config.configure(rest, log)
        case ["config", *rest]:
            _config(rest)
        case ["cdi", "generate", *rest]:
            _generate(rest, log, driver)
        case ["cdi", "list", *rest]:
            _list(rest, log, root)
        case ["system", "create-dev-char-symlinks", *rest]:
            _symlinks(rest, log)
        case ["system", "create-device-nodes", *rest]:
            parse(rest, {"control-devices": "control", "load-kernel-modules": "load", "dry-run": "dry"}, {})
            if not driver.control_nodes():
                raise ToolkitError("failed to create NVIDIA device nodes: the lab's container has none to create")
        case _:
            raise ToolkitError(f"No help topic for '{words[0]}'")


def _config(words: list[str]) -> None:
    if words[:1] == ["create-default"]:
        sys.stdout.write(settings.render(settings.load(Path("/nonexistent"))))
        return
    options, _ = parse(
        words,
        {"in-place": "in-place", "i": "in-place"},
        {"config-file": "file", "config": "file", "c": "file", "set": "set", "output": "output", "o": "output"},
    )
    file = Path(options.text("file", settings.path()))
    values = settings.load(file)
    for change in options.get("set", []):
        settings.change(values, change)
    text = settings.render(values)
    target = file if options.on("in-place") else Path(options.text("output"))
    if not options.on("in-place") and not options.text("output"):
        sys.stdout.write(text)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def _generate(words: list[str], log: Log, driver: Driver) -> None:
    values = (
        "output format mode discovery-mode device-name-strategy driver-root dev-root nvidia-cdi-hook-path"
        " nvidia-ctk-path ldconfig-path vendor class config-search-path library-search-path csv.file disable-hook"
        " enable-hook feature-flag device-id device"
    ).split()
    flags = {"no-all-device": "no-all"}
    options, _ = parse(words, flags, {name: name.removeprefix("discovery-") for name in values})
    output = options.text("output", os.environ.get("NVIDIA_CTK_CDI_OUTPUT_FILE_PATH", ""))
    kind = options.text("format", "json" if output.endswith(".json") else "yaml")
    if kind not in {"json", "yaml"}:
        raise ToolkitError(f"invalid output format: {kind}")
    strategies = options.get("device-name-strategy", ["index", "uuid"])
    for strategy in strategies:
        if strategy not in {"index", "uuid", "type-index"}:
            raise ToolkitError(f"invalid device name strategy: {strategy}")
    if options.text("mode", "auto") == "auto":
        log.info('Auto-detected mode as "nvml"')
    try:
        spec = cdi.generate(driver, log, with_all=not options.on("no-all"), names=strategies)
    except ToolkitError as error:
        raise ToolkitError(f"failed to generate CDI spec: {error}") from error
    spec["kind"] = f"{options.text('vendor', 'nvidia.com')}/{options.text('class', 'gpu')}"
    text = plain_yaml.dump(spec) if kind == "yaml" else f"{json.dumps(spec)}\n"
    if output:
        target = Path(output)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.tmp")
        partial.write_text(text)
        partial.chmod(0o644)
        partial.rename(target)
    else:
        sys.stdout.write(text)
    log.info(f"Generated CDI spec with version {cdi.VERSION}")


def _list(words: list[str], log: Log, root: Path) -> None:
    options, _ = parse(words, {}, {"spec-dir": "folder"})
    names = cdi.device_names(cdi.specs(options.get("folder", list(cdi.SPEC_FOLDERS)), root))
    log.info(f"Found {len(names)} CDI devices")
    for name in names:
        print(name)


def _symlinks(words: list[str], log: Log) -> None:
    flags = {name: name for name in ("create-all", "load-kernel-modules", "create-device-nodes", "dry-run", "watch")}
    options, _ = parse(words, flags, {"dev-char-path": "folder", "driver-root": "root"})
    folder = Path(options.text("folder", "/dev/char"))
    device_root = Path(options.text("root", "/")) / "dev"
    nodes = [*device_root.glob("nvidia*"), *device_root.glob("nvidia-caps/nvidia-cap*")]
    folder.mkdir(parents=True, exist_ok=True)
    for node in sorted(nodes):
        status = node.stat()
        if not stat.S_ISCHR(status.st_mode):
            continue
        link = folder / f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        log.info(f"Creating link {link} => {node}")
        if options.on("dry-run"):
            continue
        try:
            link.symlink_to(node)
        except FileExistsError:
            log.warning(f"Could not create symlink: symlink {node} {link}: file exists")
