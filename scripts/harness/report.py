# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Iterator


class HarnessError(Exception):
    """Nothing can be said about the checkout: what is missing, and what to do about it."""


class Report:
    """Counts checks and prints each as it finishes."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0
        self.skipped = 0
        # Checks may be made side by side.
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A part of the run. One that checked nothing has failed: silence must not look like success."""
        started = time.monotonic()
        passed, failed, skipped = self.passed, self.failed, self.skipped
        say(f"== {name}")
        try:
            yield
        except HarnessError as error:
            self.failed_check(name, str(error))
        except Exception:  # noqa: BLE001 - the other parts and the closing line come whatever happens here
            self.failed_check(name, traceback.format_exc())
        if self.passed == passed and self.failed == failed:
            self.failed_check(name, "this part checked nothing")
        counts = f"{self.passed - passed} passed, {self.failed - failed} failed"
        if self.skipped > skipped:
            counts += f", {self.skipped - skipped} skipped"
        say(f"-- {name}: {counts} ({time.monotonic() - started:.1f} s)\n")

    def check(self, name: str, *, passed: bool, seconds: float, output: str = "") -> None:
        with self._lock:
            if passed:
                self.passed += 1
                say(f"   ok       {name} ({seconds:.1f} s)")
            else:
                self.failed += 1
                say(f"   FAILED   {name} ({seconds:.1f} s)\n{_indent(output)}")

    def failed_check(self, name: str, reason: str) -> None:
        self.failed += 1
        say(f"   FAILED   {name}\n{_indent(reason)}")

    def skipped_check(self, name: str, reason: str) -> None:
        self.skipped += 1
        say(f"   skipped  {name}: {reason}")

    def counted(self, name: str, *, passed: int, failed: int, skipped: int, seconds: float) -> None:
        """Many checks at once, whose failures have been shown already."""
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        word = "FAILED  " if failed else "ok      "
        say(f"   {word} {name}: {passed} passed, {failed} failed, {skipped} skipped ({seconds:.1f} s)")

    def close(self) -> int:
        say(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0


def say(line: str) -> None:
    print(line, flush=True)


def _indent(text: str) -> str:
    return "\n".join(f"      | {line}" for line in text.rstrip().splitlines())
