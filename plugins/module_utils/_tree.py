# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

_MAX_LINKS = 40


class Tree:
    """Files below a root that is not ours: a link in a container leads to the container's file, never to the node's."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def resolve(self, path: str) -> Path:
        waiting = [part for part in PurePosixPath(path).parts if part != "/"]
        done: list[str] = []
        links = 0
        while waiting:
            part = waiting.pop(0)
            if part == "..":
                done = done[:-1]
                continue
            here = self.root.joinpath(*done, part)
            if links < _MAX_LINKS and here.is_symlink():
                links += 1
                target = PurePosixPath(os.readlink(here))
                if target.is_absolute():
                    done = []
                waiting = [part for part in target.parts if part != "/"] + waiting
            else:
                done.append(part)
        return self.root.joinpath(*done)

    def text(self, path: str) -> str:
        """A file's text, empty when it cannot be read."""
        return self.data(path).decode("utf-8", "replace")

    def data(self, path: str) -> bytes:
        try:
            return self.resolve(path).read_bytes()
        except OSError:
            return b""

    def exists(self, path: str) -> bool:
        return self.resolve(path).exists()

    def names(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(self.resolve(path)))
        except OSError:
            return []

    def program(self, name: str) -> bool:
        return any(self.exists(f"{directory}/{name}") for directory in ("usr/sbin", "usr/bin", "usr/local/bin", "sbin"))
