# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import (
    Code,
    PhoenixError,
    about,
    from_os,
    invalid,
    reporting,
)


@pytest.mark.parametrize(
    ("reason", "remedy", "text"),
    [
        ("the disk is full", "Free some.", "the disk is full. Free some."),
        ("the disk is full.", "Free some.", "the disk is full. Free some."),
        ("the disk is full", "", "the disk is full"),
    ],
)
def test_the_message_is_reason_and_remedy(reason: str, remedy: str, text: str) -> None:
    assert str(PhoenixError(reason, remedy=remedy)) == text


def test_the_result_can_be_handed_to_fail_json() -> None:
    error = PhoenixError("it failed", remedy="Do this.", code=Code.SNAPSHOT, command="pct snapshot", lines=[1])
    assert error.as_result() == {
        "msg": "it failed. Do this.",
        "reason": "it failed",
        "remedy": "Do this.",
        "code": 5,
        "command": "pct snapshot",
        "lines": [1],
    }
    assert json.loads(json.dumps(error.as_result()))["code"] == 5


def test_context_is_added_to_the_reason_and_loses_nothing() -> None:
    error = PhoenixError("it failed.", remedy="Do this.", code=Code.POWER, tail="x").with_context("It runs again")
    assert error.as_result() == {
        "msg": "it failed. It runs again. Do this.",
        "reason": "it failed. It runs again",
        "remedy": "Do this.",
        "code": 6,
        "tail": "x",
    }


def test_an_invalid_argument_names_key_value_and_remedy() -> None:
    error = invalid("memory_mb", "lots", "is no number", "Use a number of MiB.")
    assert str(error) == "memory_mb: 'lots' is no number. Use a number of MiB."
    assert error.code is Code.INPUT


def test_the_codes_are_those_of_the_first_scripts() -> None:
    assert {code.name: int(code) for code in Code} == {
        "GENERAL": 1,
        "INPUT": 2,
        "NO_CONTAINER": 3,
        "VERIFICATION": 4,
        "SNAPSHOT": 5,
        "POWER": 6,
    }
    assert PhoenixError("x", remedy="y").code is Code.GENERAL


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/etc/x"), "/etc/x: No space left on device"),
        (OSError(errno.ENOSPC, "No space left on device"), "a file: No space left on device"),
        (FileNotFoundError("no usable directory"), "a file: no usable directory"),
    ],
)
def test_what_the_system_refuses_has_a_reason_and_a_remedy(error: OSError, reason: str) -> None:
    told = from_os(error)
    assert (told.reason, told.code) == (reason, Code.GENERAL)
    assert told.remedy == "Run as root (become: true), and see that the file system is writable and not full."


def test_an_error_without_a_file_is_about_the_one_that_was_written() -> None:
    with pytest.raises(OSError, match="full") as caught, about(Path("/etc/x")):
        raise OSError(errno.ENOSPC, "full")
    assert caught.value.filename == "/etc/x"
    with pytest.raises(OSError, match="full") as caught, about(Path("/etc/x")):
        raise OSError(errno.ENOSPC, "full", "/etc/y")
    assert caught.value.filename == "/etc/y"


@pytest.mark.parametrize(
    ("error", "msg"),
    [
        (PhoenixError("it failed", remedy="Do this."), "it failed. Do this."),
        (OSError(errno.ENOSPC, "full", "/etc/x"), str(from_os(OSError(errno.ENOSPC, "full", "/etc/x")))),
    ],
)
def test_every_failure_of_a_module_is_a_result(error: Exception, msg: str) -> None:
    results: list[dict[str, t.Any]] = []

    def fail_json(**result: t.Any) -> t.NoReturn:
        results.append(result)
        raise SystemExit(1)

    with pytest.raises(SystemExit), reporting(fail_json):
        raise error
    assert [result["msg"] for result in results] == [msg]
    with reporting(fail_json):
        pass
    assert len(results) == 1
