# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Signed apt repositories: a flat one (NVIDIA's) or one with dists/ and a pool (Docker's, Proxmox's). The indexes are
# written here, only the signature is gpg's.

from __future__ import annotations

import dataclasses
import gzip
import hashlib
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from pathlib import Path

from .deb import EPOCH, Package, control_files
from .keys import SigningKey


@dataclasses.dataclass(frozen=True)
class Deb:
    """A package that was built: its file name and its bytes."""

    filename: str
    content: bytes

    @staticmethod
    def of(package: Package) -> Deb:
        return Deb(package.filename, package.build())

    def stanza(self, path: str) -> str:
        """Its paragraph of a Packages file, where it lies at a path relative to the repository."""
        control = control_files(self.content)["control"].decode().rstrip("\n")
        description = control.rpartition("\nDescription:")
        return (
            f"{description[0]}\n"
            f"Filename: {path}\n"
            f"Size: {len(self.content)}\n"
            f"MD5sum: {hashlib.md5(self.content, usedforsecurity=False).hexdigest()}\n"
            f"SHA256: {hashlib.sha256(self.content).hexdigest()}\n"
            f"Description:{description[2]}\n"
        )


def build_all(packages: Iterable[Package]) -> list[Deb]:
    return [Deb.of(package) for package in packages]


def flat(folder: Path, debs: Iterable[Deb], release: Mapping[str, str], key: SigningKey) -> None:
    """A repository in one folder: `deb https://host/folder/ /`."""
    folder.mkdir(parents=True, exist_ok=True)
    packages = _place(folder, debs, "./")
    _sign(folder, _index(folder, "", packages), release, key)


@dataclasses.dataclass(frozen=True)
class Suite:
    """One suite with one component: `deb https://host/folder name component`."""

    name: str
    component: str
    packages: str  # where they lie


def pool(folder: Path, suite: Suite, debs: Iterable[Deb], release: Mapping[str, str], key: SigningKey) -> None:
    packages = _place(folder, debs, f"{suite.packages}/")
    dist = folder / "dists" / suite.name
    about = {"Suite": suite.name, "Codename": suite.name, "Architectures": "amd64", "Components": suite.component}
    _sign(dist, _index(dist, f"{suite.component}/binary-amd64/", packages), {**release, **about}, key)


def _place(folder: Path, debs: Iterable[Deb], at: str) -> str:
    stanzas = []
    for deb in debs:
        target = folder / at / deb.filename
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(deb.content)
        stanzas.append(deb.stanza(f"{at}{deb.filename}"))
    return "\n".join(stanzas)


def _index(folder: Path, prefix: str, packages: str) -> dict[str, bytes]:
    files = {
        f"{prefix}Packages": packages.encode(),
        f"{prefix}Packages.gz": gzip.compress(packages.encode(), mtime=0),
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return files


def _sign(folder: Path, files: Mapping[str, bytes], release: Mapping[str, str], key: SigningKey) -> None:
    lines = [f"{name}: {value}" for name, value in release.items()]
    lines.append(f"Date: {formatdate(EPOCH, usegmt=True).replace('GMT', 'UTC')}")
    for title, algorithm in (("MD5Sum", "md5"), ("SHA256", "sha256")):
        lines.append(f"{title}:")
        lines += [f" {hashlib.new(algorithm, data).hexdigest()} {len(data)} {name}" for name, data in files.items()]
    text = "\n".join(lines) + "\n"
    (folder / "Release").write_text(text)
    (folder / "InRelease").write_bytes(key.clear_signature(text))
    (folder / "Release.gpg").write_bytes(key.detached_signature(text))
