# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The files of a container, reached from outside. What its links say counts below its own root only.

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from ..exceptions import PVEError
from ..system import System
from .idmap import IdMap

_BEGIN = "# --- BEGIN PVE ---"
_END = "# --- END PVE ---"
_MAX_LINKS = 40


class Rootfs:
    def __init__(self, system: System, root: Path, ids: IdMap) -> None:
        self._system = system
        self._root = root
        self._ids = ids

    def place(self, name: str, *, follow: bool = True) -> Path:
        """Where a path of the container lies. The last link is followed only if `follow` is set."""
        found: list[str] = []
        rest = [part for part in name.split("/") if part]
        links = 0
        while rest:
            part = rest.pop(0)
            if part == ".":
                continue
            if part == "..":
                del found[-1:]
                continue
            path = self._root.joinpath(*found, part)
            if path.is_symlink() and (rest or follow):
                links += 1
                if links > _MAX_LINKS:
                    raise PVEError(f"too many levels of symbolic links: {name}")
                target = os.readlink(path)
                if target.startswith("/"):
                    found = []
                rest = [step for step in target.split("/") if step] + rest
                continue
            found.append(part)
        return self._root.joinpath(*found)

    def exists(self, name: str) -> bool:
        return self.place(name).is_file()

    def is_directory(self, name: str) -> bool:
        return self.place(name).is_dir()

    def is_symlink(self, name: str) -> bool:
        return self.place(name, follow=False).is_symlink()

    def is_executable(self, name: str) -> bool:
        return self.exists(name) and os.access(self.place(name), os.X_OK)

    def link_target(self, name: str) -> str | None:
        path = self.place(name, follow=False)
        return os.readlink(path) if path.is_symlink() else None

    def read(self, name: str) -> str:
        return self.place(name).read_text(encoding="utf-8", errors="surrogateescape")

    def first_line(self, name: str) -> str:
        return self.read(name).partition("\n")[0] if self.exists(name) else ""

    def ignored(self, name: str) -> bool:
        """The container's owner said that PVE shall leave this file alone."""
        folder, _slash, base = name.rpartition("/")
        return self.place(f"{folder}/.pve-ignore.{base}").exists()

    def write(self, name: str, text: str, mode: int | None = None) -> None:
        """Replaces the file at once; a link in its place too, as PVE does."""
        if self.ignored(name):
            return
        path = self.place(name, follow=False)
        temporary = path.with_name(f"{path.name}.tmp.{os.getpid()}")
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
        temporary.chmod(0o644 if mode is None else mode)
        self._ids.chown(self._system, temporary)
        temporary.replace(path)

    def modify(self, name: str, text: str, *, replace: bool = False) -> None:
        """Put text between PVE's marks; where there are none, at the end of the file, or in the place of all of it."""
        if self.ignored(name):
            return
        text = f"{text}\n" if text and not text.endswith("\n") else text
        section = f"{_BEGIN}\n{text}{_END}\n"
        if not self.exists(name):
            if text:
                self.write(name, section)
            return
        lines = self.read(name).splitlines()
        begin = next((n for n, line in enumerate(lines) if re.match(r"#\s*---\s*BEGIN\s*PVE\s*", line)), None)
        end = None
        if begin is not None:
            ends = (
                n
                for n, line in enumerate(lines)
                if n >= begin and re.match(r"#\s*---\s*END\s*PVE\s*", line, re.IGNORECASE)
            )
            end = next(ends, None)
        if begin is not None and end is not None:
            lines[begin : end + 1] = section.splitlines()
            self.write(name, "\n".join(lines) + "\n")
        elif text:
            self.write(name, section if replace else "\n".join(lines) + "\n" + section)

    def unlink(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self.place(name, follow=False).unlink()

    def symlink(self, target: str, name: str) -> None:
        path = self.place(name, follow=False)
        if path.is_symlink() or path.exists():
            return
        path.symlink_to(target)
        self._ids.chown(self._system, path)

    def make_path(self, name: str, mode: int = 0o755) -> None:
        parts = [part for part in name.split("/") if part]
        for count in range(1, len(parts) + 1):
            path = self.place("/".join(parts[:count]))
            if not path.is_dir():
                path.mkdir(mode)
                path.chmod(mode)
                self._ids.chown(self._system, path)


def remove_pve_sections(text: str) -> str:
    return re.sub(rf"^[ \t]*{_BEGIN}.*?^[ \t]*{_END}.*?$", "", text, flags=re.DOTALL | re.MULTILINE)
