# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible_collections.phoenix.hypervisor.scripts.harness.report import HarnessError, Report


def passing(report: Report) -> None:
    report.check("it", passed=True, seconds=0)


def failing(report: Report) -> None:
    report.check("it", passed=False, seconds=0, output="why\nnot")


def skipping(report: Report) -> None:
    report.skipped_check("it", "another Python")


def counting_nothing(report: Report) -> None:
    report.counted("pytest", passed=0, failed=0, skipped=3, seconds=0)


def silent(report: Report) -> None:
    pass


def unprepared(report: Report) -> None:
    raise HarnessError("git is missing")


def broken(report: Report) -> None:
    raise ValueError("a bug")


@pytest.mark.parametrize(
    ("part", "closing", "shown"),
    [
        (passing, "1 passed, 0 failed", "ok       it"),
        (failing, "0 passed, 1 failed", "FAILED   it (0.0 s)\n      | why\n      | not\n"),
        (skipping, "0 passed, 1 failed", "FAILED   unit\n      | this part checked nothing\n"),
        (counting_nothing, "0 passed, 1 failed", "FAILED   unit\n      | this part checked nothing\n"),
        (silent, "0 passed, 1 failed", "FAILED   unit\n      | this part checked nothing\n"),
        (unprepared, "0 passed, 1 failed", "FAILED   unit\n      | git is missing\n"),
        (broken, "0 passed, 1 failed", "ValueError: a bug\n"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_part(capsys: pytest.CaptureFixture[str], part: Callable[[Report], None], closing: str, shown: str) -> None:
    report = Report()
    with report.part("unit"):
        part(report)
    status = report.close()
    output = capsys.readouterr().out
    assert shown in output
    assert output.splitlines()[-1] == closing
    assert status == int(part is not passing)


def test_a_part_that_failed_does_not_hide_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    for part in (broken, passing, failing):
        with report.part(part.__name__):
            part(report)
    assert report.close() == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 2 failed"
