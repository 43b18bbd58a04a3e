# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest

from lab.errors import LabError
from lab.gpu import Options
from lab.host.lab import Lab
from lab.host.settings import Wanted, differences, recorded


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(nodes=9), "--nodes 9 is not possible. A lab has 1 to 8 nodes"),
        (Wanted(nodes=0), "--nodes 0 is not possible. A lab has 1 to 8 nodes"),
        (Wanted(gpus=Options(count=-1)), "--gpus -1 is not possible. A node has 0 to 16 GPUs"),
        (Wanted(gpus=Options(count=17)), "--gpus 17 is not possible. A node has 0 to 16 GPUs"),
        (
            Wanted(gpus=Options(driver="1")),
            "--driver '1' is no version of a driver. Give one like 580.76.05, or none",
        ),
        (Wanted(start_delay=-3), "--start-delay -3 is not possible. Give seconds, 0 or more"),
        (Wanted(start_delay=float("nan")), "--start-delay nan is not possible. Give seconds, 0 or more"),
    ],
    ids=["many nodes", "no node", "less than no GPU", "many GPUs", "driver", "negative delay", "no number"],
)
def test_what_cannot_be_is_refused_before_anything_is_done(wanted: Wanted, message: str) -> None:
    with pytest.raises(LabError) as caught:
        wanted.check()
    assert str(caught.value) == message


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(8, Options(count=0, driver=""), 0.45)])
def test_what_can_be(wanted: Wanted) -> None:
    wanted.check()
    assert differences(json.loads(recorded(Lab(), wanted)), Lab(), wanted) == []


def test_how_a_lab_differs() -> None:
    record = json.loads(recorded(Lab(), Wanted()))
    other = Lab.named("lab", "10.99.1.0/24")
    assert differences(record, other, Wanted(2, Options(count=3), 0.45)) == [
        "subnet 10.99.0.0/24, not 10.99.1.0/24",
        "nodes 1, not 2",
        "gpus count 2, not 3",
        "start-delay 0.0, not 0.45",
    ]


@pytest.mark.parametrize("record", [{"nodes": 1}, {"nodes": 1, "gpus": 2}, {"nodes": 1, "new": {"deep": 1}}])
def test_what_another_version_recorded_is_no_difference(record: dict[str, Any]) -> None:
    assert differences(record, Lab(), Wanted()) == []
