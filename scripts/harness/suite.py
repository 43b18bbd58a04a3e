# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of pytest, counted in the report."""

from __future__ import annotations

import os
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

from .workbench import Workbench

NO_TESTS_COLLECTED = 5


def run_pytest(
    bench: Workbench,
    name: str,
    arguments: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    spread: bool = False,
) -> None:
    """spread: over all processors, a file of tests at a time, since what they share is made once for a file."""
    junit = bench.output / f"{name}.xml"
    junit.unlink(missing_ok=True)
    python = [*prefix, bench.tool("python"), "-m", "pytest", "--quiet", "--tb=short", "-p", "no:cacheprovider"]
    processes = ["--dist=loadfile", f"--numprocesses={len(os.sched_getaffinity(0))}"] if spread else []
    argv = [*python, "--continue-on-collection-errors", f"--junitxml={junit}", *processes, *arguments]
    environment = {
        **bench.environment,
        "HYPOTHESIS_STORAGE_DIRECTORY": str(bench.output / "hypothesis"),
        "PYTHONPATH": f"{bench.root}:{bench.collections}:{bench.tree / 'tests'}",
        **(env or {}),
    }
    started = time.monotonic()
    status = subprocess.run(argv, cwd=bench.tree, env=environment, stdin=subprocess.DEVNULL, check=False).returncode
    failed = _count(bench, name, ET.parse(junit).getroot(), time.monotonic() - started) if junit.exists() else 0
    if status not in (0, NO_TESTS_COLLECTED) and not failed:
        bench.report.failed_check(name, f"pytest's exit status {status}")


def _count(bench: Workbench, name: str, root: ET.Element, seconds: float) -> int:
    totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for suite in root.iter("testsuite"):
        for key in totals:
            totals[key] += int(suite.get(key, 0))
    failed, skipped = totals["failures"] + totals["errors"], totals["skipped"]
    passed = totals["tests"] - failed - skipped
    if totals["tests"]:
        bench.report.counted(name, passed=passed, failed=failed, skipped=skipped, seconds=seconds)
    return failed
