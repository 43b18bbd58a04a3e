# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Archives of Docker images, as the tests of those need them that read one.

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import typing as t
from pathlib import Path


class Archive:
    """What `docker save` writes, as far as it says which image it is."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"manifest.json": b"[]", "oci-layout": b"{}"}

    def blob(self, content: object) -> str:
        """A document, or bytes, under its digest."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        name = hashlib.sha256(data).hexdigest()
        self.files[f"blobs/sha256/{name}"] = data
        return f"sha256:{name}"

    def image(self, name: str) -> tuple[str, str]:
        """The digests of a manifest, and of the configuration that it names."""
        config = self.blob({"image": name})
        return self.blob({"config": {"digest": config}, "layers": [{"digest": self.blob(b"layer")}]}), config

    def write(self, path: Path, mode: t.Literal["w", "w:gz"] = "w", prefix: str = "") -> Path:
        with tarfile.open(path, mode) as archive:
            archive.addfile(tarfile.TarInfo(f"{prefix}blobs"))
            for name, data in self.files.items():
                info = tarfile.TarInfo(f"{prefix}{name}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return path
