# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import subprocess
import time
import xml.etree.ElementTree as ET

from .workbench import Workbench

# What needs neither a node nor a network to be tested in full is tested in full.
PURE = (
    "_api_answers",
    "_api_limits",
    "_errors",
    "_fleet_gpu_rules",
    "_fleet_model",
    "_fleet_network_rules",
    "_fleet_rules",
    "_fleet_secrets",
    "_fleet_view",
    "_gpu",
    "_guests",
    "_inventory",
    "_lxc_config",
    "_nvidia",
    "_nvidia_rules",
    "_option_checks",
    "_options",
    "_pct_errors",
    "_recipe",
    "_schema",
    "_yaml_text",
)

NO_TESTS_COLLECTED = 5


def run(bench: Workbench, arguments: list[str]) -> None:
    junit = bench.output / "unit.xml"
    coverage = bench.output / "coverage.json"
    for leftover in (junit, coverage):
        leftover.unlink(missing_ok=True)
    argv = [bench.tool("python"), "-m", "pytest", "--quiet", "--tb=short", "-p", "no:cacheprovider"]
    argv += ["--continue-on-collection-errors", f"--junitxml={junit}", *arguments]
    if not arguments:
        argv += ["--cov=plugins", "--cov-branch", "--cov-report=term-missing:skip-covered"]
        argv += [f"--cov-report=json:{coverage}"]
    started = time.monotonic()
    environment = {
        **bench.environment,
        "COVERAGE_FILE": str(bench.output / "coverage"),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(bench.output / "hypothesis"),
        "PYTHONPATH": f"{bench.root}:{bench.collections}",
    }
    status = subprocess.run(argv, cwd=bench.tree, env=environment, stdin=subprocess.DEVNULL, check=False).returncode
    failed = _count(bench, ET.parse(junit).getroot(), time.monotonic() - started) if junit.exists() else 0
    if status not in (0, NO_TESTS_COLLECTED) and not failed:
        bench.report.failed_check("pytest", f"exit status {status}")
    if not arguments and not coverage.exists():
        bench.report.failed_check("coverage", "there is no report")
    elif not arguments:
        _gate(bench, json.loads(coverage.read_text())["files"])


def _count(bench: Workbench, root: ET.Element, seconds: float) -> int:
    totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for suite in root.iter("testsuite"):
        for name in totals:
            totals[name] += int(suite.get(name, 0))
    failed, skipped = totals["failures"] + totals["errors"], totals["skipped"]
    passed = totals["tests"] - failed - skipped
    if totals["tests"]:
        bench.report.counted("pytest", passed=passed, failed=failed, skipped=skipped, seconds=seconds)
    return failed


def _gate(bench: Workbench, files: dict[str, dict[str, dict[str, int]]]) -> None:
    for module in PURE:
        name = f"plugins/module_utils/{module}.py"
        if (bench.tree / name).exists():
            summary = files[name]["summary"]
            lines, branches = summary["missing_lines"], summary["missing_branches"]
            bench.report.check(
                f"{module} is covered in full",
                passed=not lines and not branches,
                seconds=0,
                output=f"{lines} lines and {branches} branches are not: the table above names them",
            )
