# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::Exception. A Perl die is a PVEError with code 500; what the schema refuses is a ParameterError.

from __future__ import annotations

from collections.abc import Mapping

ENOENT = 2
EINTR = 4


class PVEError(Exception):
    """A Perl `die`: the message as pct prints it, without a final newline. With a code it is a PVE::Exception, which
    shows its code."""

    code = 500
    raised = False

    def __init__(self, message: str, code: int | None = None, errno: int = 255) -> None:
        super().__init__(message)
        self.message = message
        self.errors: dict[str, str] = {}
        """What is wrong with which parameter; the text may end in a newline, as PVE's do."""
        self.usage: str | None = None
        """What the command line prints after it."""
        self.errno = errno
        """What the command line exits with: Perl's die takes the errno that happens to be left, else 255."""
        if code is not None:
            self.code = code
            self.raised = True

    def text(self) -> str:
        """The whole message as it is printed, with its final newline."""
        lines = [f"{self.code} {self.message}\n" if self.raised else f"{self.message}\n"]
        lines += [f"{name}: {problem}\n" for name, problem in self.errors.items()]
        return "".join(lines) + (f"{self.usage}\n" if self.usage is not None else "")


class ParameterError(PVEError):
    """raise_param_exc; also what the verification of a result raises, with another message."""

    def __init__(
        self,
        errors: Mapping[str, str],
        usage: str | None = None,
        message: str = "Parameter verification failed.",
        errno: int = 255,
    ) -> None:
        super().__init__(message, 400, errno)
        self.errors = dict(errors)
        self.usage = usage


class PermissionDenied(PVEError):
    """raise_perm_exc: "Permission check failed (...)"."""

    def __init__(self, what: str = "") -> None:
        super().__init__(f"Permission check failed ({what})" if what else "Permission check failed", 403)


class NotImplementedHere(PVEError):
    """No such path or method (501)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 501)
