# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from lab.pve.cli import pct_output
from lab.pve.environment import Environment

NOBODY = cast(Environment, None)


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    zone = os.environ.get("TZ")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.setenv("TZ", zone) if zone else monkeypatch.delenv("TZ")
    time.tzset()


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    # pct-transcripts 1 and 9: pct list | cat -A
    guests = [
        {"vmid": 1000, "status": "stopped", "name": "CT1000"},
        {"vmid": 103, "status": "stopped", "lock": "backup", "name": "priv"},
    ]
    pct_output.print_list(NOBODY, guests)
    assert capsys.readouterr().out == (
        "VMID       Status     Lock         Name                \n"
        "103        stopped    backup       priv                \n"
        "1000       stopped                 CT1000              \n"
    )
    pct_output.print_list(NOBODY, [])
    assert not capsys.readouterr().out


def test_config(capsys: pytest.CaptureFixture[str]) -> None:
    # pct-transcripts 1: config output (note how description is printed); 2: config shows raw lines last
    conf: dict[str, Any] = {
        "swap": 0,
        "description": "first line\nsecond: 100%\n",
        "digest": "x",
        "arch": "amd64",
        "lxc": [["lxc.mount.entry", "b"], ["lxc.idmap", "a"]],
    }
    pct_output.print_config(NOBODY, conf)
    assert capsys.readouterr().out == (
        "arch: amd64\ndescription: first line%0Asecond%3A 100%25%0A\nswap: 0\nlxc.mount.entry: b\nlxc.idmap: a\n"
    )


def test_pending(capsys: pytest.CaptureFixture[str]) -> None:
    # pct-transcripts 3: pct pending
    items: list[dict[str, Any]] = [
        {"key": "features", "value": "nesting=1", "pending": "nesting=1,keyctl=1"},
        {"key": "digest", "value": "x"},
        {"key": "dev0", "value": "path=/dev/nvidia0,mode=0666", "pending": "path=/dev/nvidia0", "delete": 1},
        {"key": "description", "value": "a:b\n"},
        {"key": "timezone", "pending": "host"},
        {"key": "tty", "delete": 1},
    ]
    pct_output.print_pending(NOBODY, items)
    assert capsys.readouterr().out == (
        "cur description: a%3Ab%0A\n"
        "del dev0: path=/dev/nvidia0,mode=0666\n"
        "cur features: nesting=1\n"
        "new features: nesting=1,keyctl=1\n"
        "new timezone: host\n"
    )


def test_the_tree_of_snapshots(capsys: pytest.CaptureFixture[str]) -> None:
    # pct-transcripts 4: listsnapshot (tree), and the half-way one of a crash
    snapshots: list[dict[str, Any]] = [
        {"name": "current", "parent": "live2", "description": "You are here!"},
        {"name": "live2", "parent": "live1", "snaptime": 1795164611, "description": "after live1\n2nd line\n"},
        {"name": "live1", "snaptime": 1795164601},
        {"name": "halfway", "snaptime": 1},
    ]
    pct_output.print_snapshot_tree(NOBODY, snapshots)
    assert capsys.readouterr().out == (
        "`-> halfway                     1970-01-01 00:00:01     no-description\n"
        "`-> live1                       2026-11-20 08:50:01     no-description\n"
        " `-> live2                      2026-11-20 08:50:11     after live1\n"
        "  `-> current                                           You are here!\n"
    )
