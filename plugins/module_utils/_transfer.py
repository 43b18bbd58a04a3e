# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# One file over HTTP: bounded in time, resumed only where the server confirms that it is still the same file.

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import typing as t
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError, URLError

from ansible.module_utils.urls import open_url
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Deadline

_CHUNK = 1 << 20
_ATTEMPTS = 5


class _Interrupted(Exception):
    """A transfer that broke off and may be taken up again."""


def free_bytes(path: Path) -> int:
    return shutil.disk_usage(path).free


class Transfer:
    """Downloads into a partial file, which outlives a run that breaks off, so that the next one takes it up."""

    def __init__(self, *, stall: float, free: Callable[[Path], int] = free_bytes) -> None:
        self._stall = stall
        self._free = free

    def text(self, key: str, url: str) -> str:
        """A small text, such as a list of checksums."""
        try:
            with contextlib.closing(open_url(url, timeout=self._stall)) as response:
                return bytes(response.read(_CHUNK)).decode("utf-8", "replace")
        except HTTPError as error:
            error.close()
            raise _refused(key, url, error) from error
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(key, url, error) from error

    def download(self, url: str, part: Path, deadline: Deadline) -> str:
        """The whole file into C(part); the content type of the answer."""
        attempts = 0
        while True:
            try:
                return self._request(url, part, deadline)
            except _Interrupted as error:
                attempts += 1
                # Another request would only throw away what is there, if no time is left to receive it.
                if attempts == _ATTEMPTS or not deadline.pause(min(2**attempts, 10)) or deadline.left <= 0:
                    raise PhoenixError(
                        f"url: {url}: {error}",
                        remedy="Look at the network or the server, and run again: the download is taken up where it "
                        "stopped if the server allows it.",
                    ) from error

    def _request(self, url: str, part: Path, deadline: Deadline) -> str:
        headers = {"Accept-Encoding": "identity"}
        offset, total, validator = _resumable(url, part)
        if offset:
            headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
        try:
            response = open_url(url, headers=headers, timeout=min(self._stall, max(deadline.left, 1)), decompress=False)
        except HTTPError as error:
            error.close()
            if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                discard(part)
            elif error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise _refused("url", url, error) from error
            raise _Interrupted(f"the server answered {error.code} {error.reason}") from error
        except URLError as error:
            raise _unreachable("url", url, error) from error
        except (OSError, http.client.HTTPException) as error:
            raise _Interrupted(str(error) or type(error).__name__) from error
        with contextlib.closing(response):
            kind = str(response.headers.get("Content-Type", "no content type"))
            if offset and response.status == HTTPStatus.PARTIAL_CONTENT:
                if not _continues(response.headers, offset, total):
                    discard(part)
                    raise _Interrupted("the server resumed at another place than asked")
            else:
                total = int(response.headers.get("Content-Length") or 0)
                self._begin(url, part, response.headers, total, kind)
            self._receive(response, part, total, deadline)
        return kind

    def _begin(self, url: str, part: Path, headers: t.Any, total: int, kind: str) -> None:
        discard(part)
        if kind.lower().startswith(("text/html", "application/xhtml")):
            raise no_installer(url, total, kind)
        if total > self._free(part.parent):
            raise PhoenixError(
                f"cache_dir: {part.parent} has {self._free(part.parent) >> 20} MiB free, but {url} has "
                f"{total >> 20} MiB",
                remedy="Make room there, or set cache_dir to another file system.",
            )
        # A weak tag does not promise the same bytes.
        tag = headers.get("ETag", "")
        validator = tag if tag.startswith('"') else headers.get("Last-Modified", "")
        if validator and total:
            _memo(part).write_text(json.dumps({"url": url, "validator": validator, "total": total}))

    def _receive(self, response: t.Any, part: Path, total: int, deadline: Deadline) -> None:
        with part.open("ab") as stream:
            while True:
                so_far = f"after {stream.tell()} of {total or 'unknown'} bytes"
                if deadline.left <= 0:
                    raise _Interrupted(f"the timeout was reached {so_far}")
                try:
                    # One read of the socket: a server that trickles cannot hold it past the deadline.
                    data = response.read1(_CHUNK)
                except (OSError, http.client.HTTPException) as error:
                    what = f"no data for {self._stall:g} s" if isinstance(error, TimeoutError) else str(error)
                    raise _Interrupted(f"{what} {so_far}") from error
                if not data:
                    break
                stream.write(data)
            received = stream.tell()
        if received < total:
            raise _Interrupted(f"the answer ended after {received} of {total} bytes")


def _resumable(url: str, part: Path) -> tuple[int, int, str]:
    """How much is there, of how much, and what the server must confirm; nothing when that is not certain."""
    try:
        memo = json.loads(_memo(part).read_text())
        offset = part.stat().st_size
    except (OSError, ValueError):
        return 0, 0, ""
    if memo["url"] != url or not 0 < offset < memo["total"]:
        return 0, 0, ""
    return offset, memo["total"], memo["validator"]


def _continues(headers: t.Any, offset: int, total: int) -> bool:
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", ""))
    return found is not None and (int(found[1]), int(found[2])) == (offset, total)


def _memo(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _memo(part).unlink(missing_ok=True)


def finish(part: Path, path: Path) -> None:
    """Give a complete file its name."""
    part.replace(path)
    discard(part)


class Refused(PhoenixError):
    """An answer that trying again does not change."""

    status: int = 0


def _refused(key: str, url: str, error: HTTPError) -> Refused:
    remedy = "Open the URL in a browser or with curl -I, and correct it."
    if error.code == HTTPStatus.NOT_FOUND:
        remedy = "Correct the version, which occurs twice in NVIDIA's URLs: in the directory and in the file name."
    refused = Refused(f"{key}: {url} answered {error.code} {error.reason}", remedy=remedy, code=Code.INPUT)
    refused.status = error.code
    return refused


def _unreachable(key: str, url: str, error: Exception) -> PhoenixError:
    reason = getattr(error, "reason", None) or error
    return PhoenixError(
        f"{key}: {url} cannot be reached: {reason}",
        remedy="Look at DNS, proxy (http_proxy, https_proxy) and certificates of the node, or copy the file there and "
        "use path.",
    )


def no_installer(url: str, size: int, kind: str) -> PhoenixError:
    return PhoenixError(
        f"url: {url} is no NVIDIA installer: the answer has {size} bytes of type {kind}",
        remedy="It is an error page, a login page or another file: open the URL and correct it. Nothing was kept.",
        code=Code.INPUT,
    )
