# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What was asked of the real API, and what it answered: recordings/api/*.json, one file per section.

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "recordings" / "api"


@dataclasses.dataclass(frozen=True)
class ApiCase:
    """One request (or one task that was watched to its end)."""

    section: str
    number: int
    kind: str  # http, proxmoxer, client (of proxmoxer, before any request), task
    title: str
    recorded: dict[str, Any] = dataclasses.field(compare=False)

    @property
    def name(self) -> str:
        return f"{self.section}/{self.number:03d} {self.title}"


@functools.cache
def read_cases() -> tuple[ApiCase, ...]:
    return tuple(case for file in sorted(_FOLDER.glob("*.json")) for case in _of_file(file))


def _of_file(file: Path) -> list[ApiCase]:
    cases: list[ApiCase] = []

    def add(kind: str, title: str, recorded: dict[str, Any]) -> None:
        cases.append(ApiCase(file.stem, len(cases) + 1, kind, title, recorded))

    for step in json.loads(file.read_text(encoding="utf-8"))["steps"]:
        kind = step["case"]
        if kind in ("http", "proxmoxer"):
            add(kind, f"{step['method']} {_short(step['path'])} {step['who']}", step)
        elif kind == "proxmoxer-client":
            add("client", step["what"], step)
        elif kind == "task":
            add("task", f"task {step['status']['type']} {step['status']['id']}", step)
        elif kind == "rights":
            for answer in step["answers"]:
                common = {key: step[key] for key in ("title", "method", "path", "form")}
                add("http", f"{step['title']} {answer['who']}", common | answer)
    return cases


def _short(path: str) -> str:
    parts = path.split("/")
    return "/".join("UPID" if part.startswith("UPID:") else part for part in parts)
