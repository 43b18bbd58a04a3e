# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Whether an answer is the recorded one. Everything counts except times, process ids, MAC addresses, digests, sizes and
# what a running container has used up; names of tasks are translated from the recorded ones to those of the replay.

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

UPID = re.compile(r"UPID:pve1:([0-9A-F]{8}):([0-9A-F]{8,9}):([0-9A-F]{8}):(\w+):(\w*):([^:]+):")
_VOLATILE = frozenset("digest endtime pid pstart snaptime ssl_fingerprint starttime total uptime value-digest".split())
_USED = frozenset("cpu disk diskread diskwrite mem netin netout swap".split())
_PRESSURE = re.compile(r"pressure(cpu|io|memory)(some|full)")
_TEXTS = (
    (re.compile(r"BC:24:11(?::[0-9A-F]{2}){3}", re.IGNORECASE), "<MAC>"),
    (re.compile(r"^Total bytes read: .*$"), "Total bytes read: <size>"),
    (re.compile(r"^((?:Number of|Total|Literal|Matched|File list)[^:]*): [\d,.]+.*$"), r"\1: <size>"),
    (re.compile(r"^(sent|total size is) \d.*$"), r"\1 <size>"),
    (re.compile(r"(\.c: \w+): \d+ "), r"\1: <line> "),
)
_MOUNT_POINT = re.compile(r"rootfs|mp\d+")
_CLONED = re.compile(r"local-zfs:subvol-16\d-disk-\d")
# Rows of a list that comes out of a Perl hash have no order.
_ROW_KEYS = ("vmid", "key", "name", "id", "iface")


def normalise(value: Any, *, running: bool = False) -> Any:
    if isinstance(value, dict):
        running = value.get("status") == "running" and "pid" in value and "upid" not in value
        return {key: _entry(key, item, running=running) for key, item in value.items()}
    if isinstance(value, list):
        rows = [normalise(row) for row in value]
        if rows and all(isinstance(row, dict) and "upid" not in row for row in rows):
            for key in _ROW_KEYS:
                if all(key in row for row in rows):
                    return sorted(rows, key=lambda row: str(row[key]))
        return rows
    if isinstance(value, str):
        return text(value)
    return value


def _entry(key: str, value: Any, *, running: bool) -> Any:
    if key in _VOLATILE or (running and (key in _USED or _PRESSURE.fullmatch(key))):
        return f"<{key}>"
    return normalise(value)


def text(value: str) -> str:
    for pattern, replacement in _TEXTS:
        value = pattern.sub(replacement, value)
    return value


def translate(value: Any, names: Mapping[str, str]) -> Any:
    """Recorded names (of tasks, states and volumes) replaced by those of the replay, wherever they stand."""
    if isinstance(value, dict):
        return {key: translate(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [translate(item, names) for item in value]
    if isinstance(value, str) and names:
        return re.sub("|".join(map(re.escape, names)), lambda found: names[found[0]], value)
    return value


def learn_names(recorded: Any, got: Any, names: dict[str, str]) -> None:
    """Of a configuration: its digest, and which number each volume of a clone has, which is up to Perl's hash order."""
    if not (isinstance(recorded, dict) and isinstance(got, dict)):
        return
    for key in recorded.keys() & got.keys():
        if key == "digest":
            names[recorded[key]] = got[key]
        elif _MOUNT_POINT.fullmatch(key):
            before, now = str(recorded[key]).partition(",")[0], str(got[key]).partition(",")[0]
            if _CLONED.fullmatch(before) and _CLONED.fullmatch(now):
                names[before] = now


def clone_log(lines: list[str]) -> list[list[str]]:
    """The log of a clone by mount point, which Perl's hash puts into any order."""
    parts: list[list[str]] = [[]]
    for line in lines:
        if line.startswith(("create full clone of mountpoint ", "TASK ")):
            parts.append([])
        parts[-1].append(text(line))
    return sorted(parts)


def learn_upid(recorded: Any, got: Any, names: dict[str, str]) -> None:
    """A recorded task has the same kind, subject and user in the replay, and another name."""
    if not (isinstance(recorded, str) and isinstance(got, str)):
        return
    before, now = UPID.fullmatch(recorded), UPID.fullmatch(got)
    if before and now and before.groups()[3:] == now.groups()[3:]:
        names[recorded] = got


def shown_pairs(shown: str, body: str) -> list[str]:
    """Of a body that was not recorded whole: the plain pairs that can be read in it and that the other has not."""
    pattern = re.compile(r'"(\w+)":("(?:[^"\\]|\\.)*"|-?\d+)(?=[,}])')
    skipped = _VOLATILE | _USED | {"upid", "id", "saved", "node", "lock"}
    there = {(key, text(value)) for key, value in pattern.findall(body)}
    return [
        f"{key}: {value}"
        for key, value in pattern.findall(shown.partition("...[")[0])
        if not (key in skipped or _PRESSURE.fullmatch(key) or (key, text(value)) in there or "UPID:" in value)
    ]
