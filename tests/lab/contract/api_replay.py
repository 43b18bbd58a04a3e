# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Plays the recorded requests again, in their order, and says where the answers differ.

from __future__ import annotations

import ast
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.pve.http_server import CERTIFICATE

from .api_client import Answer, Client
from .api_compare import clone_log, learn_names, learn_upid, normalise, shown_pairs, translate
from .api_node import PASSWORD, PLAIN, ApiNode
from .api_not_imitated import NOT_SENT
from .api_proxmoxer import as_proxmoxer_sees, construct
from .api_recordings import ApiCase, read_cases

_TASK_TIMEOUT = 40.0
_SHA1 = re.compile(r"[0-9a-f]{40}")
# Whose values are of the machine or of the moment.
_HEADERS_OF_THE_MOMENT = ("Date", "Expires", "Content-Length")
# The headers of the requests that were recorded as "no auth": none, a token that is none, Bearer, no secret.
_WITHOUT_AUTHENTICATION: tuple[dict[str, str], ...] = (
    {},
    {},
    {"Authorization": "PVEAPIToken=garbage"},
    {"Authorization": "Bearer 00000000-0000-4000-8000-000000000010"},
    {"Authorization": "PVEAPIToken=root@pam!full"},
)


class Replay:
    """The whole of the recording, in one go: later sections use what earlier ones made."""

    def __init__(self, folder: Path) -> None:
        self.node = ApiNode(folder)
        self.problems: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._digest = ""
        self._without_authentication = iter(_WITHOUT_AUTHENTICATION)
        self._tickets: dict[str, str] = {}
        self._base = ""

    def play(self) -> None:
        """Afterwards `problems` has every case that was played: an empty text for one that is equal."""
        self.node.start()
        try:
            self._client = Client(self.node.port, self.node.system.path(CERTIFICATE))
            for case in read_cases():
                self._prepare(case)
                if case.name not in NOT_SENT:
                    self.problems[case.name] = "\n".join(self._play(case))
        finally:
            self.node.stop()

    def _prepare(self, case: ApiCase) -> None:
        for begins, action in _BEFORE.items():
            if case.name.startswith(begins):
                action(self)
        title = str(case.recorded.get("title"))
        if case.section == "11-token-limits" and title not in _KEEPS_STATE:
            self._base = self._base or self.node.read_config(150)
            self.node.write_config(150, _config_for(self._base, title))
            self.node.write_config(102, PLAIN)

    def _play(self, case: ApiCase) -> list[str]:
        recorded = case.recorded
        if case.kind == "task":
            return self._watch(recorded)
        if case.kind == "client":
            return construct(recorded, self.node.port, self.node.system.path(CERTIFICATE))
        path = translate(recorded["path"], self._names)
        if case.kind == "proxmoxer":
            return self._compare_proxmoxer(recorded, path)
        form = [(key, self._value(key, value)) for key, value in recorded.get("form", ())]
        answer = self._client.ask(recorded["method"], path, form, self._headers(recorded["who"], recorded["method"]))
        return self._compare(recorded, answer)

    def _value(self, key: str, value: str) -> str:
        """A recorded digest is that of the state read last, unless it is known to be an older one."""
        if key == "digest" and _SHA1.fullmatch(value):
            return self._names.get(value) or self._digest_now()
        return value

    def _digest_now(self) -> str:
        answer = self._client.ask("GET", "/nodes/pve1/lxc/150/config", (), self._headers("root@pam!full", "GET"))
        return str(answer.body["data"]["digest"])

    def _headers(self, who: str, method: str) -> dict[str, str]:
        if who == "no auth":
            # A login has no headers of its own.
            return next(self._without_authentication, {}) if method == "GET" else {}
        if who == "root@pam ticket":
            if not self._tickets:
                form = (("username", "root@pam"), ("password", PASSWORD))
                self._tickets = self._client.ask("POST", "/access/ticket", form).body["data"]
            csrf = {} if method == "GET" else {"CSRFPreventionToken": self._tickets["CSRFPreventionToken"]}
            return {"Cookie": f"PVEAuthCookie={self._tickets['ticket']}", **csrf}
        secret = who if "=" in who else f"{who}={self.node.secrets[who]}"
        return {"Authorization": f"PVEAPIToken={secret}"}

    def _compare(self, recorded: dict[str, Any], answer: Answer) -> list[str]:
        problems = []
        line = (recorded["status"], recorded["reason"])
        if line != (answer.status, answer.reason):
            problems.append(f"status line: recorded {line}, got {(answer.status, answer.reason)}: {answer.text}")
        problems += self._compare_headers(recorded, answer)
        if "errors" in recorded and recorded["errors"] != (answer.body or {}).get("errors"):
            problems.append(f"errors: recorded {recorded['errors']}, got {answer.text}")
        if "upid" in recorded:
            learn_upid(recorded["upid"], (answer.body or {}).get("data"), self._names)
        if "body" in recorded:
            problems += self._compare_body(recorded["body"], answer.body)
        elif "shown" in recorded:
            shown = translate(recorded["shown"], self._names)
            problems += [f"not in the answer: {pair}" for pair in shown_pairs(shown, answer.text)]
        elif "headers" in recorded and answer.text:
            problems.append(f"recorded without a body, got {answer.text}")
        return problems

    @staticmethod
    def _compare_headers(recorded: dict[str, Any], answer: Answer) -> list[str]:
        wanted = [tuple(line.split(": ", 1)) for line in recorded.get("headers", ())]
        names = {name for name, _ in wanted}
        got = [(name, value) for name, value in answer.headers if name in names]
        if wanted and "Content-Type" not in names:
            got += [(name, value) for name, value in answer.headers if name == "Content-Type"]
        hidden = [
            [(name, "" if name in _HEADERS_OF_THE_MOMENT else value) for name, value in pairs]
            for pairs in (wanted, got)
        ]
        return [f"headers: recorded {wanted}, got {got}"] if wanted and hidden[0] != hidden[1] else []

    def _compare_body(self, recorded: Any, got: Any) -> list[str]:
        if isinstance(recorded, dict) and isinstance(got, dict):
            learn_upid(recorded.get("data"), got.get("data"), self._names)
            learn_names(recorded.get("data"), got.get("data"), self._names)
        wanted, found = normalise(translate(recorded, self._names)), normalise(got)
        return [] if wanted == found else [f"body: recorded {_dump(wanted)}\n      got      {_dump(found)}"]

    def wait_until_idle(self) -> None:
        """A rollback with a start ends before the start, which is a task of its own."""
        ends = time.monotonic() + _TASK_TIMEOUT
        headers = self._headers("root@pam!full", "GET")
        while time.monotonic() < ends:
            if not self._client.ask("GET", "/nodes/pve1/tasks", (("source", "active"),), headers).body["data"]:
                return
            time.sleep(0.05)

    def _watch(self, recorded: dict[str, Any]) -> list[str]:
        upid = translate(recorded["upid"], self._names)
        headers = self._headers("root@pam!full", "GET")
        ends = time.monotonic() + _TASK_TIMEOUT
        while True:
            answer = self._client.ask("GET", f"/nodes/pve1/tasks/{upid}/status", (), headers)
            status = (answer.body or {}).get("data")
            if not status or status["status"] == "stopped" or time.monotonic() > ends:
                break
            time.sleep(0.02)
        log = self._client.ask("GET", f"/nodes/pve1/tasks/{upid}/log", (("limit", "500"),), headers)
        lines = clone_log([row["t"] for row in (log.body or {}).get("data") or ()])
        problems = self._compare_body(recorded["status"], status)
        wanted = clone_log(translate(recorded["log"], self._names))
        if wanted != lines:
            problems.append(f"log: recorded {_dump(wanted)}\n     got      {_dump(lines)}")
        return problems

    def _compare_proxmoxer(self, recorded: dict[str, Any], path: str) -> list[str]:
        who = self._headers(recorded["who"], recorded["method"])["Authorization"].removeprefix("PVEAPIToken=")
        parameters = {
            key: self._value(key, value) if isinstance(value, str) else value
            for key, value in recorded.get("params", {}).items()
        }
        seen = as_proxmoxer_sees(self._client, self.node.system.path(CERTIFICATE), who)
        outcome = seen(recorded["method"], path, parameters)
        if "raises" in recorded:
            return (
                []
                if outcome.failure == _failure(recorded["raises"])
                else [f"recorded {_failure(recorded['raises'])}, got {outcome}"]
            )
        if outcome.failure:
            return [f"recorded {recorded['returns']}, got {outcome.failure}"]
        if "chars]" in recorded["returns"]:
            return []
        return self._compare_body({"data": ast.literal_eval(recorded["returns"])}, {"data": outcome.data})


def _failure(shown: str) -> dict[str, Any]:
    """The fields of proxmoxer's exception as they were recorded; the text of the whole follows from them."""
    fields = dict(re.findall(r"^  (status_code|status_message|content|errors) = (.*)$", shown, re.MULTILINE))
    return {name: ast.literal_eval(value) for name, value in fields.items()}


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _config_for(base: str, title: str) -> str:
    """The container as it was before each of the requests of section 11: what one answer changed is not there for the
    next."""
    lines = [line for line in base.splitlines() if not line.startswith(("features:", "dev", "mp"))]
    features = "nesting=1,keyctl=1" if title in _WITH_KEYCTL else "nesting=1"
    lines.append(f"features: {features}")
    if "dev0" in title and title != "dev0 (devN)":
        lines.append("dev0: /dev/nvidia0,mode=0666")
    if title == "delete bind mount mp1":
        lines.append("mp1: /mnt/bindsrc,mp=/mnt/b")
    return "\n".join(sorted(lines)) + "\n"


_WITH_KEYCTL = (
    "features unchanged nesting=1,keyctl=1",
    "features nesting=0,keyctl=1 (keyctl unchanged)",
    "features: drop keyctl",
    "delete features",
)
_KEEPS_STATE = ("delete lock", "skiplock start", "debug")


def _unlock_base(replay: Replay) -> None:
    """Somebody took the stale lock away between the recordings."""
    replay.node.write_config(100, replay.node.read_config(100).replace("lock: snapshot-delete\n", ""))


def _end_of_limits(replay: Replay) -> None:
    """The name that one of the requests gave stays."""
    replay.node.release("start")
    renamed = re.sub("^hostname: .*$", "hostname: h1", replay.node.read_config(150), flags=re.MULTILINE)
    replay.node.write_config(150, renamed)


def _hold_create(replay: Replay) -> None:
    replay.node.release("missing")
    replay.node.hold("create")


# What the recordings show in the middle of being done is held there.
_BEFORE: dict[str, Callable[[Replay], None]] = {
    "08-create/001": _unlock_base,
    "08-create/003": lambda replay: replay.node.hold("missing"),
    "08-create/010": _hold_create,
    "08-create/015": lambda replay: replay.node.release("create"),
    "11-token-limits/149": lambda replay: replay.node.hold("start"),
    "12-create-by-tokens/001": _end_of_limits,
    "13-clone/013": lambda replay: replay.node.hold("copy"),
    "13-clone/026": lambda replay: replay.node.release("copy"),
    "16-snapshots/046": lambda replay: replay.wait_until_idle(),
}
