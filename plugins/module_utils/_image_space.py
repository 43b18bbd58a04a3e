# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# Whether there is room for an image, before gigabytes of it are downloaded in vain.

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker import Docker
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError

# A question only: whatever it would find out, the download tells as well.
_ASK_TIMEOUT = 30.0
# What is downloaded is kept by containerd, and there during the download elsewhere. Unpacked it is about three times as
# large: vLLM's 12 GB become 29.
_SPACE_FACTOR = 4
_DOCKER_ROOT = "/var/lib/docker"
# Where Docker keeps images when containerd does that for it.
_CONTAINERD_ROOT = "/var/lib/containerd"
_MIB, _GIB = 1 << 20, 1 << 30


@dataclasses.dataclass(frozen=True)
class Place:
    path: Path
    free: int


def check_space(docker: Docker, wanted: str, repository: str, free: Callable[[Path], int]) -> None:
    """Refuse an image that cannot fit. Without an answer to a question there is no check."""
    size = _ask_size(docker, wanted, repository)
    if size is not None and (place := tightest(_places(docker), free)):
        judge(wanted, size, place)


def free_bytes(path: Path) -> int:
    return shutil.disk_usage(path).free


def download_size(manifest: object) -> int | None:
    """How many bytes a manifest's image is downloaded as, None when it does not say."""
    if not isinstance(manifest, dict) or not isinstance(manifest.get("layers"), list):
        return None
    sizes = [layer.get("size") if isinstance(layer, dict) else None for layer in manifest["layers"]]
    match manifest:
        case {"config": {"size": int(size)}}:
            sizes.append(size)
    known = [size for size in sizes if isinstance(size, int)]
    return sum(known) if len(known) == len(sizes) else None


def amd64_digest(manifest: object) -> str | None:
    """The image for this platform in an index of several."""
    entries = manifest.get("manifests") if isinstance(manifest, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        match entry:
            case {"digest": str(digest), "platform": {"os": "linux", "architecture": "amd64"}}:
                return digest
    return None


def tightest(places: Iterable[Path], free: Callable[[Path], int]) -> Place | None:
    """The one with the least space, of those that exist."""
    found = []
    for path in places:
        try:
            found.append(Place(path, free(path)))
        except OSError:
            continue
    return min(found, key=lambda place: place.free, default=None)


def judge(wanted: str, size: int, place: Place) -> None:
    needed = size * _SPACE_FACTOR
    if place.free < needed:
        least, there = _shown(needed, up=True), _shown(place.free)
        raise PhoenixError(
            f"{wanted} needs at least {least} to be downloaded and unpacked, but {place.path} has {there} free",
            remedy="Raise storage_size_gb of the container in phoenix_lxc_configs.json, which makes its disk larger "
            "without a rebuild, or make room with `docker image prune`.",
            code=Code.VERIFICATION,
        )


def _shown(size: int, *, up: bool = False) -> str:
    """What is needed is rounded up and what is free down, so that the two never look equal."""
    if size < _GIB:
        return f"{(size + (_MIB - 1 if up else 0)) // _MIB} MiB"
    tenths = (size * 10 + (_GIB - 1 if up else 0)) // _GIB
    return f"{tenths // 10}.{tenths % 10} GiB"


def _ask_size(docker: Docker, wanted: str, repository: str) -> int | None:
    manifest = _manifest(docker, wanted)
    digest = amd64_digest(manifest)
    return download_size(_manifest(docker, f"{repository}@{digest}") if digest else manifest)


def _manifest(docker: Docker, reference: str) -> object:
    try:
        return json.loads(_answer(docker, "manifest", "inspect", reference))
    except ValueError:
        return None


def _places(docker: Docker) -> list[Path]:
    root = _answer(docker, "info", "--format", "{{.DockerRootDir}}").strip()
    return [Path(root or _DOCKER_ROOT), Path(_CONTAINERD_ROOT)]


def _answer(docker: Docker, *words: str) -> str:
    """What Docker said, empty when it failed or took too long."""
    try:
        done = docker.call(*words, timeout=_ASK_TIMEOUT)
    except PhoenixError:
        return ""
    return done.stdout if done.ok else ""
