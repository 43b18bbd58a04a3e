# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# nvidia-cdi-hook: what a CDI specification has run in a container that is being made, before its root is changed.

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .arguments import parse
from .driver import Driver
from .log import Log, ToolkitError


def main(words: Sequence[str], version: str) -> int:
    log = Log()
    if not words or words[0] in {"--version", "-v"}:
        print(f"NVIDIA CDI Hook version {version}")
        return 0
    try:
        options, _ = parse(
            words[1:],
            {},
            {name: name for name in ("link", "folder", "host-driver-version", "container-spec", "path", "mode")},
        )
        match words[0]:
            case "create-symlinks":
                root = container_root()
                for link in options.get("link", []):
                    create_link(root, link)
            case "update-ldcache":
                root = container_root()
                for folder in options.get("folder", []):
                    link_libraries(root, folder)
            case "enable-cuda-compat" | "chmod" | "disable-device-node-modification":
                pass
            case other:
                raise ToolkitError(f"No help topic for '{other}'")
    except (ToolkitError, OSError, ValueError) as error:
        log.error(str(error))
        return 1
    return 0


def container_root() -> Path:
    """From the state that the OCI runtime writes to a hook's stdin, which can be read once."""
    bundle = Path(json.load(sys.stdin)["bundle"])
    root = Path(json.loads((bundle / "config.json").read_text())["root"]["path"])
    return root if root.is_absolute() else bundle / root


def create_link(root: Path, link: str) -> None:
    target, separator, name = link.partition("::")
    if not separator:
        raise ToolkitError(f"invalid symlink specification {link}")
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def link_libraries(root: Path, folder: str) -> None:
    """The links that ldconfig makes (libcuda.so.1); the lab's images have no cache that would need more."""
    for library in sorted((root / folder.lstrip("/")).glob("lib*.so.[0-9]*.*")):
        soname = library.with_name(f"{library.name.partition('.so.')[0]}.so.1")
        if not soname.is_symlink() or not soname.exists():
            soname.unlink(missing_ok=True)
            soname.symlink_to(library.name)


def link_all(root: Path, driver: Driver) -> None:
    """All links at once, for who mounted the libraries itself."""
    for folder in sorted({str(Path(library).parent) for library in driver.libraries()}):
        link_libraries(root, folder)
        create_link(root, f"libcuda.so.1::{folder}/libcuda.so")
