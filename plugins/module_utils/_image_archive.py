# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# What an archive for `docker load` proves about a digest of a registry. Its tags prove nothing: anybody may give them.

from __future__ import annotations

import hashlib
import json
import lzma
import re
import tarfile
import typing as t
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

# More than a registry takes as a manifest. What is larger is a layer, and not read.
LARGEST = 4 << 20
_BLOB = re.compile(r"(?:\./)?blobs/sha256/([0-9a-f]{64})")
_UNREADABLE = (OSError, EOFError, tarfile.TarError, zlib.error, lzma.LZMAError)


def identities(archive: Path, digest: str) -> frozenset[str]:
    """Under which ids Docker may know the image of a digest once it is loaded, none when the archive does not have it.

    With containerd an image is known by its manifest or its index, without it by its configuration.
    """
    try:
        documents = dict(_documents(archive))
    except _UNREADABLE:
        return frozenset()
    return frozenset(_reached(digest, documents))


def _documents(archive: Path) -> Iterator[tuple[str, Mapping[str, t.Any]]]:
    """What is JSON, and what its name says, by digest. One pass, because a compressed archive is slow to go back in."""
    with tarfile.open(archive) as tar:
        for member in tar:
            name = _BLOB.fullmatch(member.name)
            content = tar.extractfile(member) if name and member.size <= LARGEST else None
            if name and content:
                data = content.read()
                document = _document(data) if hashlib.sha256(data).hexdigest() == name[1] else None
                if document is not None:
                    yield f"sha256:{name[1]}", document


def _document(data: bytes) -> Mapping[str, t.Any] | None:
    try:
        found = json.loads(data)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _reached(digest: str, documents: Mapping[str, Mapping[str, t.Any]]) -> Iterator[str]:
    """Nothing names itself, directly or not, because a digest is that of what is named in it."""
    document = documents.get(digest)
    if document is None:
        return
    yield digest
    match document:
        case {"config": {"digest": str(config)}}:
            yield config
        case {"manifests": [*entries]}:
            for entry in entries:
                match entry:
                    case {"digest": str(inner)}:
                        yield from _reached(inner, documents)
