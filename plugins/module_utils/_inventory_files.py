# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# Brings the generated files of an inventory to what they shall be, and touches no other file.

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import secrets
import typing as t
from collections.abc import Iterator, Mapping
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._inventory import HOSTS, VARIABLES, is_generated

FOLDERS = ("group_vars", "host_vars")


@dataclasses.dataclass(frozen=True)
class Change:
    """What becomes of one file; C(None) is a file that is not there."""

    path: str
    before: str | None
    after: str | None


@dataclasses.dataclass(frozen=True)
class Changes:
    destination: Path
    written: tuple[Change, ...]
    removed: tuple[Change, ...]
    unchanged: int

    @property
    def any(self) -> bool:
        return bool(self.written or self.removed)

    def diff(self) -> list[dict[str, str]]:
        return [
            {
                "before_header": change.path,
                "after_header": change.path,
                "before": change.before or "",
                "after": change.after or "",
            }
            for change in (*self.written, *self.removed)
        ]

    def result(self) -> dict[str, t.Any]:
        return {
            "changed": self.any,
            "written": [change.path for change in self.written],
            "removed": [change.path for change in self.removed],
            "unchanged": self.unchanged,
        }


def compare(destination: Path, files: Mapping[str, str]) -> Changes:
    """What has to be done so that the destination holds these generated files and no other ones."""
    with _naming(destination):
        _check_destination(destination)
        paths = {*files, *_candidates(destination)}
    found = {path: _read(destination / path) for path in paths}
    foreign = [path for path in sorted(files) if (data := found[path]) is not None and not is_generated(data)]
    if foreign:
        raise _foreign(destination, foreign)
    written = [Change(path, _shown(found[path]), files[path]) for path in files if found[path] != files[path].encode()]
    removed = [
        Change(path, _shown(data), None)
        for path, data in sorted(found.items())
        if path not in files and data is not None and is_generated(data)
    ]
    return Changes(destination, tuple(written), tuple(removed), len(files) - len(written))


def apply(changes: Changes) -> None:
    """Writes and removes. The list of hosts is written after what it needs, so that every moment has a usable one."""
    for change in sorted(changes.written, key=lambda change: change.path == HOSTS):
        _write(changes.destination / change.path, (change.after or "").encode())
    for change in changes.removed:
        _remove(changes.destination / change.path)


def _check_destination(destination: Path) -> None:
    if destination.exists() and not destination.is_dir():
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(destination))


def _candidates(destination: Path) -> Iterator[str]:
    for folder in FOLDERS:
        for path in destination.glob(f"{folder}/*/{VARIABLES}"):
            yield path.relative_to(destination).as_posix()


def _read(path: Path) -> bytes | None:
    """The content of a file, C(None) if there is none. A link is somebody's own work, whatever it leads to."""
    with _naming(path):
        if path.is_symlink():
            return b""
        with contextlib.suppress(FileNotFoundError):
            return path.read_bytes()
    return None


def _shown(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "replace")


def _foreign(destination: Path, paths: list[str]) -> PhoenixError:
    return PhoenixError(
        "\n".join([f"{destination}: these files were not generated, and are not overwritten:", *paths]),
        remedy="Move their settings to other names in the same folders, such as local.yml, and run again.",
        code=Code.INPUT,
        files=paths,
    )


def _write(path: Path, data: bytes) -> None:
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            new.write_bytes(data)
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise


def _remove(path: Path) -> None:
    with _naming(path):
        path.unlink(missing_ok=True)
        # Whoever keeps something of their own in the folder keeps the folder.
        if not path.parent.is_symlink() and not any(path.parent.iterdir()):
            path.parent.rmdir()


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PhoenixError(
            f"{path}: {error.strerror or error}",
            remedy="The inventory is a folder that the user who runs this can write to; put that right and run again.",
        ) from error
