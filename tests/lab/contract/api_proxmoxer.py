# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# proxmoxer's view of the API. Where proxmoxer is not installed its few lines are done by hand, so that what the
# requests change is changed all the same.

from __future__ import annotations

import dataclasses
import http.client
import importlib.util
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .api_client import Client

HAS_PROXMOXER = all(importlib.util.find_spec(name) for name in ("proxmoxer", "requests"))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the call returned, or the fields of proxmoxer's exception."""

    data: Any = None
    failure: dict[str, Any] | None = None


Call = Callable[[str, str, dict[str, Any]], Outcome]


def as_proxmoxer_sees(client: Client, certificate: Path, token: str) -> Call:
    return _with_proxmoxer(client, certificate, token) if HAS_PROXMOXER else _by_hand(client, token)


def _with_proxmoxer(client: Client, certificate: Path, token: str) -> Call:
    from proxmoxer import ProxmoxAPI  # noqa: PLC0415
    from proxmoxer.core import ResourceException  # noqa: PLC0415

    token_id, _, secret = token.partition("=")
    user, _, name = token_id.partition("!")
    api = ProxmoxAPI(
        "127.0.0.1",
        port=client.port,
        user=user,
        token_name=name,
        token_value=secret,
        verify_ssl=str(certificate),
        timeout=60,
    )

    def call(method: str, path: str, parameters: dict[str, Any]) -> Outcome:
        try:
            return Outcome(getattr(api(path.strip("/")), method.lower())(**parameters))
        except ResourceException as error:
            names = ("status_code", "status_message", "content", "errors")
            return Outcome(failure={name: getattr(error, name) for name in names})
        finally:
            api._store["session"].close()

    return call


def _by_hand(client: Client, token: str) -> Call:
    def call(method: str, path: str, parameters: dict[str, Any]) -> Outcome:
        form = [(key, str(value)) for key, value in parameters.items()]
        answer = client.ask(method, path, form, {"Authorization": f"PVEAPIToken={token}"})
        if answer.status < 400:
            return Outcome(answer.body["data"])
        errors = answer.body.get("errors") if answer.text else {"errors": b""}
        return Outcome(
            failure={
                "status_code": answer.status,
                "status_message": http.client.responses.get(answer.status),
                "content": answer.reason,
                "errors": errors,
            }
        )

    return call


def construct(recorded: dict[str, Any], port: int, certificate: Path) -> list[str]:
    """What proxmoxer raises when it cannot even log in or connect."""
    if not HAS_PROXMOXER:
        return []
    from proxmoxer import ProxmoxAPI  # noqa: PLC0415

    options: dict[str, Any] = {"user": "root@pam", "verify_ssl": str(certificate), "port": port}
    if recorded["what"].startswith("ProxmoxAPI(password"):
        options["password"] = "wrong"
    else:
        options |= {"token_name": "full", "token_value": "x"}
    if recorded["what"] == "closed port":
        options["port"] = _closed_port()
    if recorded["what"].startswith("verify_ssl=True"):
        options["verify_ssl"] = True
    try:
        ProxmoxAPI("127.0.0.1", **options).version.get()
    except Exception as error:  # noqa: BLE001 - which one it is, is the question
        got = f"{type(error).__module__}.{type(error).__name__}: {error}"
        kind = recorded["result"].removeprefix("raises ").partition(":")[0]
        return [] if got.startswith(f"{kind}:") else [f"recorded {recorded['result']}, got {got}"]
    return [f"recorded {recorded['result']}, got no failure"]


def _closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
