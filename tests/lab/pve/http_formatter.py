# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The bodies and status lines of pveproxy's answers (PVE::APIServer::Formatter::Standard).

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from .exceptions import PVEError

JSON_TYPE = "application/json;charset=UTF-8"
# A body above this is compressed for a client that takes it.
_COMPRESS_ABOVE = 1024


@dataclasses.dataclass(frozen=True)
class Response:
    status: int
    reason: str
    body: bytes = b""
    content_type: str = ""
    # Answered by pvedaemon: pveproxy adds its own Connection header to the daemon's.
    proxied: bool = False
    delay: float = 0.0


def success(data: Any, attributes: Mapping[str, Any], *, style: str, proxied: bool) -> Response:
    body = {"data": data, **attributes}
    if style == "extjs":
        body["success"] = 1
    return Response(HTTPStatus.OK, "OK", _dump(body), JSON_TYPE, proxied=proxied)


def failure(error: PVEError, *, style: str, delay: float = 0.0) -> Response:
    """PVE puts the first line of its message into the status line, and the whole of it into the body."""
    # What was raised with a code and has no code of HTTP's is a Perl die with an errno.
    status = error.code if error.code >= HTTPStatus.BAD_REQUEST else HTTPStatus.INTERNAL_SERVER_ERROR
    # The server itself says that there is no such method; everything else comes from a Perl die, with its newline.
    message = error.message if status == HTTPStatus.NOT_IMPLEMENTED else f"{error.message}\n"
    body: dict[str, Any] = {"data": None, "message": message}
    if error.errors:
        body["errors"] = dict(error.errors)
    if style == "extjs":
        return Response(HTTPStatus.OK, "OK", _dump({**body, "success": 0, "status": status}), JSON_TYPE, delay=delay)
    return Response(status, _first_line(error.message), _dump(body), JSON_TYPE, delay=delay)


def bare(status: int, reason: str, *, delay: float = 0.0) -> Response:
    """A refusal before any method was looked for: without a body and without a type."""
    return Response(status, _first_line(reason), delay=delay)


def encode(response: Response, *, now: float, keep_alive: bool, accepts_gzip: bool) -> bytes:
    """The bytes on the wire, with PVE's headers in PVE's order."""
    date = formatdate(now, usegmt=True)
    body, encoding = response.body, []
    if accepts_gzip and len(body) > _COMPRESS_ABOVE:
        body, encoding = gzip.compress(body, mtime=0), ["Content-Encoding: gzip"]
    lines = [f"HTTP/1.1 {int(response.status)} {response.reason}", "Cache-Control: max-age=0"]
    if keep_alive:
        lines += ["Connection: close"] if response.proxied else []
        lines.append("Connection: Keep-Alive")
    else:
        lines.append("Connection: close")
    lines += [f"Date: {date}", "Pragma: no-cache", "Server: pve-api-daemon/3.0", *encoding]
    if body:
        lines += [f"Content-Length: {len(body)}", f"Content-Type: {response.content_type}"]
    lines.append(f"Expires: {date}")
    # UTF-8 also in the status line, as PVE writes it.
    return "\r\n".join([*lines, "", ""]).encode() + body


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def _dump(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
