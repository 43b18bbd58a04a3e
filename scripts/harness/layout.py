# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lays the checkout where Ansible's tools want it: in ansible_collections/phoenix/hypervisor."""

from __future__ import annotations

import fnmatch
import os
import shutil
import stat
import subprocess
from pathlib import Path

from .report import HarnessError


def lay_out(checkout: Path, tree: Path) -> None:
    """Makes the tree hold the checkout's files and nothing else."""
    wanted = _files(checkout)
    if not wanted:
        raise HarnessError(f"no files found in {checkout}")
    for name in wanted:
        _copy(checkout / name, tree / name)
    _remove_others(tree, wanted)


def _files(checkout: Path) -> set[Path]:
    """What git tracks or would track; in an unpacked archive, everything that .gitignore does not name."""
    if not (checkout / ".git").exists():
        return _unversioned(checkout)
    listing = subprocess.run(
        # A clone that belongs to somebody else, as CI has it, is read all the same.
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=checkout,
        check=False,
        capture_output=True,
        text=True,
    )
    if listing.returncode:
        raise HarnessError(f"git ls-files in {checkout}: {listing.stderr}")
    names = {Path(name) for name in listing.stdout.split("\0") if name}
    return {name for name in names if os.path.lexists(checkout / name)}


def _unversioned(checkout: Path) -> set[Path]:
    lines = (checkout / ".gitignore").read_text().splitlines()
    ignored = [".git", *(line.rstrip("/") for line in lines if line and not line.startswith("#"))]
    found: set[Path] = set()
    for folder, subfolders, names in os.walk(checkout):
        here = Path(folder).relative_to(checkout)
        subfolders[:] = [name for name in subfolders if not _ignored(here / name, ignored)]
        found.update(here / name for name in names if not _ignored(here / name, ignored))
    return found


def _ignored(path: Path, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatch(f"/{path}" if pattern.startswith("/") else path.name, pattern) for pattern in patterns)


def _copy(source: Path, target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    elif os.path.lexists(target):
        if _same(source.lstat(), target.lstat()):
            return
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    if stat.S_ISLNK(one.st_mode):
        return False
    return (one.st_mode, one.st_size, one.st_mtime_ns) == (other.st_mode, other.st_size, other.st_mtime_ns)


def _remove_others(tree: Path, wanted: set[Path]) -> None:
    folders = {parent for name in wanted for parent in name.parents}
    for folder, subfolders, names in os.walk(tree):
        here = Path(folder).relative_to(tree)
        for name in names:
            if here / name not in wanted:
                (tree / here / name).unlink()
        for name in list(subfolders):
            path = tree / here / name
            if here / name in folders or here / name in wanted:
                continue
            subfolders.remove(name)
            if path.is_symlink():
                path.unlink()
            else:
                shutil.rmtree(path)
