# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# The node's cache of runfiles: one download per node, and nothing gets its name before it was verified.

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError, invalid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia import (
    HEADER_BYTES,
    Identity,
    base_name,
    check_identity,
    identity_from_header,
    sha256_from_list,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Deadline
from ansible_collections.phoenix.hypervisor.plugins.module_utils._transfer import (
    Refused,
    Transfer,
    discard,
    finish,
    free_bytes,
    no_installer,
)

DEFAULT_DIRECTORY = "/usr/local/phoenix_hypervisor/cache"
_STALL = 60.0
_NOTE = re.compile(r"([0-9a-f]{64})  .*\n# size=(\d+) mtime_ns=(\d+) from=(\S+)\n")


@dataclasses.dataclass(frozen=True)
class Checksum:
    """What a file must hash to, or where that is published; neither when nobody says."""

    sha256: str = ""
    url: str = ""
    asked: bool = False

    @property
    def source(self) -> str:
        """How a note remembers against what its file was verified."""
        return self.url or ("sha256" if self.sha256 else "nothing")


def checksum_from(option: str | None, url: str | None) -> Checksum:
    """The module's option, or NVIDIA's own list beside the file on download.nvidia.com/XFree86."""
    if option is None:
        place = urlsplit(url or "")
        host = f".{place.hostname}"
        official = host.endswith(".download.nvidia.com") and place.path.startswith("/XFree86/")
        beside = place._replace(path=f"{place.path}.sha256sum", query="", fragment="")
        return Checksum(url=beside.geturl()) if official else Checksum()
    if found := re.fullmatch(r"sha256:([0-9a-fA-F]{64})", option.strip()):
        return Checksum(sha256=found[1].lower(), asked=True)
    if re.match(r"https?://", option):
        return Checksum(url=option, asked=True)
    raise invalid(
        "checksum",
        option,
        "is neither sha256:<64 hexadecimal digits> nor the http(s) URL of a .sha256sum file",
        "Take the sum from NVIDIA's <file>.run.sha256sum beside the runfile.",
    )


@dataclasses.dataclass(frozen=True)
class CachedFile:
    path: Path
    sha256: str
    warnings: tuple[str, ...] = ()


class Cache:
    """The runfiles of one directory."""

    def __init__(
        self,
        directory: Path,
        *,
        stall: float = _STALL,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self.directory = directory
        self._transfer = Transfer(stall=stall, free=free)

    def path_of(self, url: str) -> Path:
        name = base_name(url)
        if not re.match(r"https?://[^/]+/", url) or not re.fullmatch(r"\w[\w.+-]*", name):
            raise invalid("url", url, "is no http(s) URL of a file", "Give the URL of a runfile, or use path.")
        return self.directory / name

    def known_sha256(self, path: Path) -> str:
        """The sum noted for a file that has not changed since, without reading it again; else empty."""
        note = self._note(path)
        return note[0] if note else ""

    def verified(
        self, path: Path, checksum: Checksum, expected: Identity, *, write: bool
    ) -> tuple[CachedFile | None, str]:
        """The file, when it is there and right; else None and, when it is there and wrong, why.

        Its sum is noted together with its size and time, and taken again only when those differ.
        """
        if not path.is_file():
            return None, ""
        try:
            _check_header(path, expected)
        except PhoenixError as error:
            return None, error.reason
        note = self._note(path)
        digest = note[0] if note else _sha256(path)
        if not (note and checksum.url and note[1] == checksum.url):
            checksum = self._looked_up(checksum, path.name)
            if checksum.sha256 and digest != checksum.sha256:
                return None, f"{path} has sha256 {digest} and not {checksum.sha256}"
        if write and (note is None or note[1] != checksum.source):
            self._write_note(path, digest, checksum.source)
        return CachedFile(path, digest, _unverified(path, checksum)), ""

    def check_path(self, path: Path, checksum: Checksum, expected: Identity, *, write: bool) -> CachedFile:
        """A file of the user's own, which is used where it lies and never changed."""
        if not path.is_file():
            raise invalid("path", str(path), "is not there", "Copy the runfile to the node first, or use url.")
        _check_header(path, expected)
        found, wrong = self.verified(path, checksum, expected, write=write)
        if found is None:
            raise PhoenixError(
                f"path: {wrong}",
                remedy="Fetch the file again, or correct checksum. The file was left as it is.",
                code=Code.VERIFICATION,
            )
        return found

    def fetch(self, url: str, checksum: Checksum, expected: Identity, deadline: Deadline) -> CachedFile:
        """The file in the cache, downloaded if need be. Of two runs at once the second waits for the first."""
        path = self.path_of(url)
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._lock(path, deadline):
            found, wrong = self.verified(path, checksum, expected, write=True)
            if found is not None:
                return found
            checksum = self._looked_up(checksum, path.name)
            digest = self._download(url, path, checksum, expected, deadline)
        warnings = (f"{wrong}: it was downloaded again.",) if wrong else ()
        return CachedFile(path, digest, warnings + _unverified(path, checksum))

    def _looked_up(self, checksum: Checksum, name: str) -> Checksum:
        """The checksum with its sum read from the list that publishes it."""
        if checksum.sha256 or not checksum.url:
            return checksum
        try:
            text = self._transfer.text("checksum", checksum.url)
        except Refused as error:
            if error.status == HTTPStatus.NOT_FOUND and not checksum.asked:
                return Checksum()
            raise
        digest = sha256_from_list(text, name)
        if not digest:
            raise PhoenixError(
                f"checksum: {checksum.url} holds no sha256 sum for {name}",
                remedy="Correct the URL, or give the sum itself as sha256:<hex>.",
                code=Code.INPUT,
            )
        return dataclasses.replace(checksum, sha256=digest)

    def _note(self, path: Path) -> tuple[str, str] | None:
        """The sum noted for a file, and against what it was verified, if the file is still the same."""
        try:
            status = path.stat()
            found = _NOTE.fullmatch(self._note_path(path).read_text(errors="replace"))
        except OSError:
            return None
        if found and (int(found[2]), int(found[3])) == (status.st_size, status.st_mtime_ns):
            return found[1], found[4]
        return None

    def _note_path(self, path: Path) -> Path:
        """Beside a file of the cache; for one that lies elsewhere in the cache, under a name of its own."""
        if path.parent == self.directory:
            return path.with_name(f"{path.name}.sha256")
        place = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
        return self.directory / f".{path.name}.{place}.sha256"

    def _write_note(self, path: Path, digest: str, source: str) -> None:
        status = path.stat()
        note = self._note_path(path)
        note.parent.mkdir(parents=True, exist_ok=True)
        temporary = note.with_name(f"{note.name}.{os.getpid()}")
        temporary.write_text(
            f"{digest}  {path.name}\n# size={status.st_size} mtime_ns={status.st_mtime_ns} from={source}\n"
        )
        temporary.replace(note)

    @contextlib.contextmanager
    def _lock(self, path: Path, deadline: Deadline) -> Iterator[None]:
        lock = path.with_name(f".{path.name}.lock")
        with lock.open("a") as stream:
            while True:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not deadline.pause(0.5):
                        raise PhoenixError(
                            f"another run has been downloading {path.name} for longer than the timeout",
                            remedy=f"Wait for it, or raise the timeout; `fuser {lock}` shows the process.",
                        ) from None
            yield

    def _download(self, url: str, path: Path, checksum: Checksum, expected: Identity, deadline: Deadline) -> str:
        part = path.with_name(f".{path.name}.part")
        kind = self._transfer.download(url, part, deadline)
        try:
            digest = _checked(url, part, kind, checksum, expected)
        except PhoenixError:
            # The next run must not take up what is known to be wrong.
            discard(part)
            raise
        part.chmod(0o644)
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        finish(part, path)
        self._write_note(path, digest, checksum.source)
        return digest


def _checked(url: str, part: Path, kind: str, checksum: Checksum, expected: Identity) -> str:
    """The sum of a complete download, if it is what was asked for."""
    header = _header(part)
    if header is None:
        raise no_installer(url, part.stat().st_size, kind)
    check_identity(url, expected, header)
    digest = _sha256(part)
    if checksum.sha256 and digest != checksum.sha256:
        raise PhoenixError(
            f"url: {url} has sha256 {digest}, but {checksum.sha256} was expected",
            remedy="Correct checksum, or find out who changed the file. Nothing was kept.",
            code=Code.VERIFICATION,
        )
    return digest


def _header(path: Path) -> Identity | None:
    with path.open("rb") as stream:
        return identity_from_header(stream.read(HEADER_BYTES))


def _check_header(path: Path, expected: Identity) -> None:
    header = _header(path)
    if header is None:
        raise PhoenixError(
            f"{path} is no NVIDIA installer ({path.stat().st_size} bytes)",
            remedy="Fetch NVIDIA's runfile again, or correct path.",
            code=Code.INPUT,
        )
    check_identity(str(path), expected, header)


def _unverified(path: Path, checksum: Checksum) -> tuple[str, ...]:
    if checksum.sha256 or checksum.url:
        return ()
    return (f"{path.name} was checked against no sum: set checksum to be sure of what is installed.",)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
