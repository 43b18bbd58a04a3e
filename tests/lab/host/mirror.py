# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A caching proxy for the machine's own Debian mirror: the only way out of a lab. What was fetched once is there without
# a network, too.

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import re
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from ..errors import LabError

_TIMEOUT = 60
# What never changes under its name; everything else is asked for again, and taken from the cache when offline.
_IMMUTABLE = re.compile(r"/pool/|/by-hash/")


APT = Path("/etc/apt")
# What apt's own tools know of Debian on any distribution.
INFO = Path("/usr/share/python-apt/templates/Debian.info")


def machine_mirror(etc_apt: Path = APT, environment: str | None = None, info: Path = INFO) -> str:
    """The Debian mirror that this machine's apt is set to, or else the one that every machine can use."""
    if environment:
        if not re.fullmatch(r"https?://[^/\s]+\S*", environment):
            raise LabError(f"PHOENIX_LAB_MIRROR {environment!r} is no address", "Give one like http://…/debian")
        return environment.rstrip("/")
    if found := _in_sources(etc_apt) or _in_info(info):
        return found
    raise LabError(
        "apt on this machine knows no Debian mirror, and the lab's images are Debian's",
        "Name one: PHOENIX_LAB_MIRROR=http://…/debian",
    )


def to_be_installed(etc_apt: Path = APT, environment: str | None = None, info: Path = INFO) -> list[str]:
    """The packages without which no mirror is known, or none could be asked."""
    if environment or _in_sources(etc_apt) or info.is_file():
        return []
    return ["ca-certificates", "python-apt-common"]


def _in_sources(etc_apt: Path) -> str:
    for file in [etc_apt / "sources.list", *sorted((etc_apt / "sources.list.d").glob("*"))]:
        if file.suffix in (".list", ".sources") and file.is_file():
            for uri in _uris(file):
                if re.fullmatch(r"https?://.+/debian/?", uri):
                    return uri.rstrip("/")
    return ""


def _in_info(info: Path) -> str:
    with contextlib.suppress(OSError):
        if match := re.search(r"^BaseURI: (https?://\S+/debian)/?$", info.read_text(errors="replace"), re.MULTILINE):
            return match[1]
    return ""


def _uris(file: Path) -> Iterator[str]:
    for line in file.read_text(errors="replace").splitlines():
        if file.suffix == ".sources":
            key, _, value = line.partition(":")
            if key.strip().lower() == "uris":
                yield from value.split()
        elif match := re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)", line.strip()):
            yield match[1]


def _apt_proxies() -> dict[str, str]:
    """The proxies that apt uses on this machine; those of the environment hold where it names none."""
    with contextlib.suppress(OSError):
        dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
        found = dict(re.findall(r'^Acquire::(https?)::Proxy "([^"]+)";$', dump, re.MULTILINE))
        return {scheme: proxy for scheme, proxy in found.items() if proxy != "DIRECT"}
    return {}


class Cache:
    """Files of the mirror, fetched when first asked for."""

    def __init__(self, folder: Path, mirror: str) -> None:
        self._folder = folder
        self._mirror = mirror
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()
        self._open = urllib.request.build_opener(
            urllib.request.ProxyHandler({**urllib.request.getproxies(), **_apt_proxies()})
        ).open

    def file(self, name: str) -> Path | None:
        """Where the file lies now, or None if the mirror has none of that name."""
        if ".." in urllib.parse.unquote(name):
            return None
        target = self._folder / urllib.parse.unquote(name).lstrip("/")
        with self._lock(name):
            if target.is_file() and _IMMUTABLE.search(name):
                return target
            try:
                self._fetch(name, target)
            except urllib.error.HTTPError as error:
                if error.code in (403, 404):
                    return None
                if not target.is_file():
                    raise
            except OSError:
                if not target.is_file():
                    raise
            return target

    def _fetch(self, name: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            self._open(self._mirror + name, timeout=_TIMEOUT) as answer,
            tempfile.NamedTemporaryFile(dir=target.parent, prefix=".fetch-", delete=False) as part,
        ):
            try:
                shutil.copyfileobj(answer, part)
                expected = answer.headers.get("Content-Length")
                if expected is not None and part.tell() != int(expected):
                    raise http.client.IncompleteRead(b"", int(expected) - part.tell())
            except BaseException:
                Path(part.name).unlink()
                raise
        Path(part.name).chmod(0o644)
        Path(part.name).rename(target)

    def _lock(self, name: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(name, threading.Lock())


def check(folder: Path, mirror: str, suite: str) -> None:
    """Whether the mirror, or what was fetched from it before, has that suite."""
    try:
        found = Cache(folder, mirror).file(f"/dists/{suite}/InRelease")
        reason = "" if found else f"it has no {suite}"
    except (OSError, http.client.HTTPException) as error:
        reason = str(error)
    if reason:
        raise LabError(
            f"the Debian mirror {mirror} is not to be had: {reason}", "PHOENIX_LAB_MIRROR=http://… names another one"
        )


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cache: Cache

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        prefix = "/debian"
        try:
            file = self.cache.file(self.path[len(prefix) :]) if self.path.startswith(f"{prefix}/") else None
        except (OSError, http.client.HTTPException) as error:
            return self._refuse(502, f"the machine's mirror does not answer: {error}")
        if file is None:
            return self._refuse(404, "the machine's mirror has no such file")
        with file.open("rb") as source:
            self.send_response(200)
            self.send_header("Content-Length", str(os.fstat(source.fileno()).st_size))
            self.send_header("Content-Type", "application/octet-stream")
            self.end_headers()
            if body:
                shutil.copyfileobj(source, self.wfile)
        return None

    def _refuse(self, code: int, why: str) -> None:
        text = f"{why}\n".encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Only what fails is worth a line."""
        if code != 200:
            super().log_request(code, size)

    def address_string(self) -> str:
        return "lab"


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


class _LoopbackServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    request_queue_size = 64


def _handler(folder: Path, mirror: str) -> type[_Handler]:
    return type("Handler", (_Handler,), {"cache": Cache(folder, mirror)})


@contextlib.contextmanager
def on_loopback(folder: Path, mirror: str) -> Iterator[str]:
    """Serve while the block runs; gives the address that takes the mirror's place."""
    with _LoopbackServer(("127.0.0.1", 0), _handler(folder, mirror)) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/debian"
        finally:
            server.shutdown()


def main(sock: str, folder: str, mirror: str) -> None:
    path = Path(sock)
    path.unlink(missing_ok=True)
    with _UnixServer(sock, _handler(Path(folder), mirror)) as server:
        # nginx's workers are no root.
        path.chmod(0o666)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
