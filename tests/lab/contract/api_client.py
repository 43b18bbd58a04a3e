# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A client of the API that keeps everything of an answer: the status line, the headers in their order, the body.

from __future__ import annotations

import dataclasses
import http.client
import json
import ssl
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_TIMEOUT = 60


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text) if self.text else None

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


class Client:
    def __init__(self, port: int, certificate: Path) -> None:
        self.port = port
        self._tls = ssl.create_default_context(cafile=str(certificate))

    def ask(
        self,
        method: str,
        path: str,
        form: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own; what is sent goes into the query or the body as curl -G and -d do."""
        url, body = f"/api2/json{urllib.parse.quote(path, safe='/:!@?=&%')}", None
        sent = dict(headers or {})
        if form and method in ("GET", "DELETE"):
            url += ("&" if "?" in url else "?") + urllib.parse.urlencode(form)
        elif form:
            body = urllib.parse.urlencode(form).encode()
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=_TIMEOUT, context=self._tls)
        try:
            connection.request(method, url, body, sent)
            response = connection.getresponse()
            text = response.read().decode()
            # The status line is UTF-8, which http.client takes for Latin-1.
            reason = response.reason.encode("latin-1").decode()
            return Answer(response.status, reason, tuple(response.getheaders()), text)
        finally:
            connection.close()
