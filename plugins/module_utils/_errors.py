# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

from __future__ import annotations

import contextlib
import enum
import typing as t
from collections.abc import Callable, Iterator


class Code(enum.IntEnum):
    """What kind of failure it was; the numbers are the exit codes that users of the first scripts know."""

    GENERAL = 1
    INPUT = 2
    NO_CONTAINER = 3
    VERIFICATION = 4
    SNAPSHOT = 5
    POWER = 6


class PhoenixError(Exception):
    """A failure that a person can act on: what is wrong, and what to do about it."""

    def __init__(self, reason: str, *, remedy: str, code: Code = Code.GENERAL, **details: t.Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.code = code
        self.details = details

    def __str__(self) -> str:
        return f"{self.reason.rstrip('.')}. {self.remedy}" if self.remedy else self.reason

    def with_context(self, note: str) -> PhoenixError:
        """The same failure with a sentence on what was done about it."""
        return PhoenixError(f"{self.reason.rstrip('.')}. {note}", remedy=self.remedy, code=self.code, **self.details)

    def as_result(self) -> dict[str, t.Any]:
        """The arguments for fail_json."""
        return {
            "msg": str(self),
            "reason": self.reason,
            "remedy": self.remedy,
            "code": int(self.code),
            **self.details,
        }


def invalid(key: str, value: object, problem: str, remedy: str) -> PhoenixError:
    """An argument that cannot be right: names the key, the value and the remedy."""
    return PhoenixError(f"{key}: {value!r} {problem}", remedy=remedy, code=Code.INPUT)


@contextlib.contextmanager
def about(path: object) -> Iterator[None]:
    """A full disk is met by a write, and an error of a write does not say to which file."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def from_os(error: OSError) -> PhoenixError:
    """What the operating system refused."""
    return PhoenixError(
        f"{error.filename or 'a file'}: {error.strerror or error}",
        remedy="Run as root (become: true), and see that the file system is writable and not full.",
    )


@contextlib.contextmanager
def reporting(fail_json: Callable[..., t.NoReturn]) -> Iterator[None]:
    """Around what a module does: a failure is a result with a reason and a remedy, and never a traceback."""
    try:
        yield
    except PhoenixError as error:
        fail_json(**error.as_result())
    except OSError as error:
        fail_json(**from_os(error).as_result())
