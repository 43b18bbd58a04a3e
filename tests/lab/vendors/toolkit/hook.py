# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# nvidia-container-runtime-hook: what dockerd puts before the start of a container that was run with --gpus. It reads
# what the container wants and has nvidia-container-cli do it.

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import settings
from .log import ToolkitError
from .runtime import VISIBLE, become, environment

_NOT_LEGACY = (
    "invoking the NVIDIA Container Runtime Hook directly (e.g. specifying the docker --gpus flag) is not supported."
    " Please use the NVIDIA Container Runtime (e.g. specify the --runtime=nvidia flag) instead"
)
_CAPABILITIES = {"compute", "compat32", "display", "graphics", "ngx", "utility", "video"}


def main(words: Sequence[str], version: str) -> int:
    if list(words) in (["-version"], ["--version"]):
        print(f"NVIDIA Container Runtime Hook version {version}")
        return 0
    if words[:1] in (["poststart"], ["poststop"]):
        return 0
    if words[:1] != ["prestart"]:
        sys.stderr.write(
            "Usage of nvidia-container-runtime-hook:\n\nCommands:\n  prestart\n        run the prestart hook\n"
        )
        return 2
    try:
        state = json.load(sys.stdin)
        bundle = Path(state.get("bundle") or state["bundlePath"])
        config = json.loads((bundle / "config.json").read_text())
        command = arguments(config, bundle, state["pid"], settings.load(Path(settings.path())))
    except (ToolkitError, OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if command is None:
        return 0
    program = shutil.which(command[0])
    if program is None:
        sys.stderr.write(f"exec: {command[0]!r}: executable file not found in $PATH\n")
        return 1
    return become(program, command[1:])


def arguments(config: dict[str, Any], bundle: Path, pid: int, values: settings.Settings) -> list[str] | None:
    """The command line of nvidia-container-cli; None for a container without GPUs."""
    wanted = environment(config, VISIBLE)
    if not wanted or wanted == "void":
        return None
    mode = settings.value(values, "nvidia-container-runtime.mode")
    if mode not in {"auto", "legacy"}:
        raise ToolkitError(_NOT_LEGACY)
    sys.stderr.write("Auto-detected mode as 'legacy'\n" if mode == "auto" else "Using requested mode 'legacy'\n")
    command = [settings.value(values, "nvidia-container-cli.path") or "nvidia-container-cli"]
    if settings.value(values, "nvidia-container-cli.load-kmods"):
        command.append("--load-kmods")
    command += ["configure", f"--ldconfig={settings.value(values, 'nvidia-container-cli.ldconfig')}"]
    if settings.value(values, "nvidia-container-cli.no-cgroups"):
        command.append("--no-cgroups")
    if wanted != "none":
        command.append(f"--device={wanted}")
    asked = (environment(config, "NVIDIA_DRIVER_CAPABILITIES") or "utility").split(",")
    for capability in sorted(_CAPABILITIES) if "all" in asked else asked:
        if capability not in _CAPABILITIES:
            raise ToolkitError(
                f"unsupported capabilities found in '{','.join(asked)}' (allowed '{','.join(sorted(_CAPABILITIES))}')"
            )
        command.append(f"--{capability}")
    off = environment(config, "NVIDIA_DISABLE_REQUIRE") in {"1", "t", "T", "true", "TRUE", "True"}
    if not off and not settings.value(values, "disable-require"):
        for entry in config["process"].get("env") or []:
            name, _, value = entry.partition("=")
            if name.startswith("NVIDIA_REQUIRE_"):
                command.append(f"--require={value}")
    root = Path(config["root"]["path"])
    return [*command, f"--pid={pid}", str(root if root.is_absolute() else bundle / root)]
