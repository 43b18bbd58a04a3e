# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable

from .workbench import Workbench

# One line per test, before it runs; the test's outcome is in the file that ansible-test writes after it.
RUNNING = re.compile(r'Running sanity test "(?P<test>[^"]+)"(?: on Python (?P<python>[\d.]+))?')


def run(bench: Workbench, _arguments: list[str]) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    argv = [bench.tool("ansible-test"), "sanity", "--color=no", "--junit", f"--python={version}"]
    # The lab is no content of the collection, and holds the files of a machine: programs without .py, for one.
    argv += ["--exclude", "tests/lab/", "--exclude", "tests/unit/lab/"]
    with bench.shared_home(), bench.start(argv) as process:
        assert process.stdout
        tests, rest = _follow(bench, process.stdout)
    if process.returncode and not tests.failed:
        bench.report.failed_check(" ".join(argv), f"exit status {process.returncode}\n{rest}")


def _follow(bench: Workbench, lines: Iterable[str]) -> tuple[_Tests, str]:
    tests = _Tests(bench)
    output: list[str] = []
    for line in lines:
        if running := RUNNING.match(line):
            tests.finish("".join(output))
            tests.begin(running["test"], running["python"])
            output = []
        else:
            output.append(line)
    rest = "".join(output)
    tests.finish(rest)
    return tests, rest


class _Tests:
    """The tests of one run of ansible-test, one after the other."""

    def __init__(self, bench: Workbench) -> None:
        self.failed = False
        self._report = bench.report
        self._folder = bench.tree / "tests/output/junit"
        self._test = ""
        self._python: str | None = None
        self._started = 0.0

    def begin(self, test: str, python: str | None) -> None:
        self._test = test
        self._python = python
        self._started = time.monotonic()

    def finish(self, output: str) -> None:
        if not self._test:
            return
        name = f"{self._test} (Python {self._python})" if self._python else self._test
        seconds = time.monotonic() - self._started
        case = self._result()
        if case is None:
            self.failed = True
            self._report.check(name, passed=False, seconds=seconds, output=f"it came to no result\n{output}")
            return
        skipped, failure = case.find("skipped"), case.find("failure")
        if skipped is not None:
            self._report.skipped_check(name, skipped.text or "")
        elif failure is not None:
            self.failed = True
            self._report.check(name, passed=False, seconds=seconds, output=failure.text or output)
        else:
            self._report.check(name, passed=True, seconds=seconds)

    def _result(self) -> ET.Element | None:
        # The version is in the name of the file when the test depends on it, and when it was skipped.
        stem = f"ansible-test-sanity-{self._test}"
        for path in (self._folder / f"{stem}.xml", *self._folder.glob(f"{stem}-python-*.xml")):
            if path.exists():
                return ET.parse(path).find(".//testcase")
        return None
