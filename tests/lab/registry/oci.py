# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Docker images in pure Python: layers, configuration, manifest; into docker-registry's storage or into an archive.

Everything is reproducible: the same content has the same digest on every machine and at every time.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# Of images that nobody dated.
CREATED = "2025-01-01T00:00:00Z"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Tree:
    """What a layer holds, by path. Folders above an entry come by themselves."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[tarfile.TarInfo, bytes]] = {}

    def folder(self, path: str, mode: int = 0o755) -> None:
        self._add(path, tarfile.DIRTYPE, mode)

    def file(self, path: str, data: bytes | str, mode: int = 0o644) -> None:
        self._add(path, tarfile.REGTYPE, mode, data.encode() if isinstance(data, str) else data)

    def link(self, path: str, target: str) -> None:
        self._add(path, tarfile.SYMTYPE, 0o777, target=target)

    def copy(self, source: Path, path: str) -> None:
        """One file: what a link leads to, under the link's name."""
        self.file(path, source.read_bytes(), source.stat().st_mode & 0o777)

    def copy_folder(self, source: Path, path: str, skip: frozenset[str] = frozenset()) -> None:
        """Everything below, without names to skip and what Python compiled."""
        for entry in sorted(source.iterdir()):
            if entry.name in skip or entry.name == "__pycache__":
                continue
            if entry.is_symlink() and not entry.exists():
                continue
            if entry.is_dir():
                self.copy_folder(entry, f"{path}/{entry.name}", skip)
            else:
                self.copy(entry, f"{path}/{entry.name}")

    def __contains__(self, path: str) -> bool:
        return path.strip("/") in self._entries

    def _add(self, path: str, kind: bytes, mode: int, data: bytes = b"", target: str = "") -> None:
        name = path.strip("/")
        for parent in PurePosixPath(name).parents:
            if str(parent) not in {".", *self._entries}:
                self._add(str(parent), tarfile.DIRTYPE, 0o755)
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.size, info.linkname = kind, mode, len(data), target
        self._entries[name] = (info, data)

    def layer(self) -> Layer:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for _, (info, data) in sorted(self._entries.items()):
                archive.addfile(info, io.BytesIO(data))
        tar = stream.getvalue()
        return Layer(digest_of(tar), gzip.compress(tar, compresslevel=6, mtime=0))


@dataclasses.dataclass(frozen=True)
class Layer:
    # Of the plain archive; `digest` is of the compressed one.
    diff_id: str
    blob: bytes

    @property
    def digest(self) -> str:
        return digest_of(self.blob)


@dataclasses.dataclass(frozen=True)
class Image:
    layers: Sequence[Layer]
    # The image's defaults for its containers: Env, Entrypoint, Cmd, ExposedPorts …
    defaults: Mapping[str, object]
    machine: str = dataclasses.field(default_factory=platform.machine)

    def config(self) -> bytes:
        value = {
            "architecture": ARCHITECTURES[self.machine],
            "config": dict(self.defaults),
            "created": CREATED,
            "history": [{"created": CREATED, "created_by": "the lab of phoenix.hypervisor"} for _ in self.layers],
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]},
        }
        return json.dumps(value, separators=(",", ":")).encode()

    def manifest(self) -> bytes:
        config = self.config()
        value = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "size": len(config), "digest": digest_of(config)},
            "layers": [{"mediaType": LAYER, "size": len(layer.blob), "digest": layer.digest} for layer in self.layers],
        }
        return json.dumps(value, indent=3).encode()

    @property
    def digest(self) -> str:
        """What `docker pull` prints and NAME@sha256:… means."""
        return digest_of(self.manifest())

    @property
    def size(self) -> int:
        return sum(len(layer.blob) for layer in self.layers)


class RegistryStorage:
    """The files of distribution 2.8, the registry in Debian, so that nothing has to be pushed into a running one."""

    def __init__(self, root: Path) -> None:
        self._root = root / "docker/registry/v2"

    def add(self, repository: str, tags: Sequence[str], image: Image) -> None:
        manifest, config = image.manifest(), image.config()
        for blob in (manifest, config, *(layer.blob for layer in image.layers)):
            self._blob(blob)
        folder = self._root / "repositories" / repository
        for digest in (digest_of(config), *(layer.digest for layer in image.layers)):
            _link(folder / "_layers", digest)
        _link(folder / "_manifests/revisions", image.digest)
        for tag in tags:
            current = folder / "_manifests/tags" / tag
            _link(current / "index", image.digest)
            _write(current / "current/link", image.digest.encode())

    def _blob(self, data: bytes) -> None:
        algorithm, _, digits = digest_of(data).partition(":")
        path = self._root / "blobs" / algorithm / digits[:2] / digits / "data"
        if not path.exists():
            _write(path, data)


def _link(folder: Path, digest: str) -> None:
    algorithm, _, digits = digest.partition(":")
    _write(folder / algorithm / digits / "link", digest.encode())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def save_archive(path: Path, references: Sequence[str], image: Image) -> None:
    """What `docker save` writes and `docker load` reads, with its layers compressed."""
    config = image.config()
    names = [
        f"blobs/sha256/{digest.removeprefix('sha256:')}"
        for digest in (digest_of(config), *(layer.digest for layer in image.layers))
    ]
    files = dict(zip(names, (config, *(layer.blob for layer in image.layers)), strict=True))
    listing = [{"Config": names[0], "RepoTags": list(references), "Layers": names[1:]}]
    files["manifest.json"] = json.dumps(listing, separators=(",", ":")).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
