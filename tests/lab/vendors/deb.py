# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Debian packages from a description, byte for byte the same at every build. A .deb is an ar archive of two tar
# files: no tool is needed for it, and hundreds of them take a second.

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

# Everything is as old as this: 2025-11-01.
EPOCH = 1761955200

MAINTAINER = "phoenix.hypervisor lab <lab@example.invalid>"


@dataclasses.dataclass(frozen=True)
class Link:
    """A symbolic link in a package."""

    target: str


@dataclasses.dataclass(frozen=True)
class File:
    content: bytes
    mode: int = 0o644

    @staticmethod
    def text(content: str) -> File:
        return File(content.encode())

    @staticmethod
    def program(content: str) -> File:
        return File(content.encode(), 0o755)


@dataclasses.dataclass(frozen=True)
class Package:
    name: str
    version: str
    description: str
    depends: tuple[str, ...] = ()
    relations: Mapping[str, str] = dataclasses.field(default_factory=dict)  # Recommends, Conflicts, Provides ...
    files: Mapping[str, File | Link] = dataclasses.field(default_factory=dict)  # by absolute path
    conffiles: tuple[str, ...] = ()
    scripts: Mapping[str, str] = dataclasses.field(default_factory=dict)  # postinst, prerm ...
    architecture: str = "amd64"
    section: str = "misc"
    maintainer: str = MAINTAINER

    @property
    def filename(self) -> str:
        """As archives name it: without the epoch of the version."""
        return f"{self.name}_{self.version.partition(':')[2] or self.version}_{self.architecture}.deb"

    def control(self) -> str:
        fields = {
            "Package": self.name,
            "Version": self.version,
            "Architecture": self.architecture,
            "Maintainer": self.maintainer,
            "Installed-Size": str(max(1, self._size() // 1024)),
            "Depends": ", ".join(self.depends),
            **self.relations,
            "Section": self.section,
            "Priority": "optional",
            "Description": self.description,
        }
        return "".join(f"{key}: {value}\n" for key, value in fields.items() if value)

    def _size(self) -> int:
        return sum(len(file.content) for file in self.files.values() if isinstance(file, File))

    def build(self) -> bytes:
        control: dict[str, File | Link] = {"/control": File.text(self.control())}
        sums = "".join(
            f"{hashlib.md5(file.content, usedforsecurity=False).hexdigest()}  {path.lstrip('/')}\n"
            for path, file in sorted(self.files.items())
            if isinstance(file, File) and path not in self.conffiles
        )
        if sums:
            control["/md5sums"] = File.text(sums)
        if self.conffiles:
            control["/conffiles"] = File.text("".join(f"{path}\n" for path in self.conffiles))
        for name, script in self.scripts.items():
            control[f"/{name}"] = File.program(script)
        return archive(
            {
                "debian-binary": b"2.0\n",
                "control.tar.gz": tarball(control),
                "data.tar.gz": tarball(self.files),
            }
        )


def tarball(files: Mapping[str, File | Link]) -> bytes:
    """A gzip-compressed tar of the files and of the folders above them, all of root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        folders = {str(folder) for path in files for folder in Path(path).parents}
        for folder in sorted(folders):
            tar.addfile(_entry("./" if folder == "/" else f".{folder}/", tarfile.DIRTYPE, 0o755))
        for path, file in sorted(files.items()):
            if isinstance(file, Link):
                entry = _entry(f".{path}", tarfile.SYMTYPE, 0o777)
                entry.linkname = file.target
                tar.addfile(entry)
            else:
                entry = _entry(f".{path}", tarfile.REGTYPE, file.mode)
                entry.size = len(file.content)
                tar.addfile(entry, io.BytesIO(file.content))
    return gzip.compress(buffer.getvalue(), compresslevel=6, mtime=0)


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.mode = mode
    entry.mtime = EPOCH
    entry.uname = entry.gname = "root"
    return entry


def archive(members: Mapping[str, bytes]) -> bytes:
    """An ar archive in the form that dpkg reads."""
    result = io.BytesIO()
    result.write(b"!<arch>\n")
    for name, content in members.items():
        result.write(f"{name:<16}{EPOCH:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode())
        result.write(content)
        result.write(b"\n" * (len(content) % 2))
    return result.getvalue()


def members(deb: bytes) -> dict[str, bytes]:
    """The members of an ar archive, in their order."""
    if not deb.startswith(b"!<arch>\n"):
        raise ValueError("no ar archive")
    found: dict[str, bytes] = {}
    position = 8
    while position < len(deb):
        header = deb[position : position + 60]
        size = int(header[48:58])
        found[header[:16].decode().rstrip().rstrip("/")] = deb[position + 60 : position + 60 + size]
        position += 60 + size + size % 2
    return found


def control_files(deb: bytes) -> dict[str, bytes]:
    """What lies in the control part: control, postinst, conffiles ..."""
    name = next(name for name in members(deb) if name.startswith("control.tar"))
    with tarfile.open(fileobj=io.BytesIO(members(deb)[name])) as tar:
        return {
            entry.name.removeprefix("./"): stream.read()
            for entry in tar
            if entry.isfile() and (stream := tar.extractfile(entry))
        }


def with_control(deb: bytes, change: Mapping[str, str | None]) -> bytes:
    """The same package with other fields (None: without the field); its data stays untouched, and so this is quick."""
    files = control_files(deb)
    fields = [*_fields(files["control"].decode())]
    kept = [(key, change.get(key, value)) for key, value in fields]
    added = [(key, value) for key, value in change.items() if key not in dict(fields)]
    files["control"] = "".join(f"{key}: {value}\n" for key, value in kept + added if value is not None).encode()
    scripts = {"preinst", "postinst", "prerm", "postrm", "config"}
    control: dict[str, File | Link] = {
        f"/{name}": File(content, 0o755 if name in scripts else 0o644) for name, content in files.items()
    }
    parts = members(deb)
    return archive(
        {
            ("control.tar.gz" if name.startswith("control.tar") else name): (
                tarball(control) if name.startswith("control.tar") else content
            )
            for name, content in parts.items()
        }
    )


def _fields(control: str) -> list[tuple[str, str]]:
    fields: list[tuple[str, str]] = []
    for line in control.splitlines():
        if line.startswith((" ", "\t")):
            key, value = fields[-1]
            fields[-1] = (key, f"{value}\n{line}")
        elif line:
            key, _, value = line.partition(":")
            fields.append((key, value.strip()))
    return fields
