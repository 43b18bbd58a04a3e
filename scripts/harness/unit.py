# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

from .suite import run_pytest
from .workbench import Workbench

# What needs neither a node nor a network to be tested in full is tested in full.
PURE = (
    "_api_answers",
    "_api_limits",
    "_apt_errors",
    "_apt_get",
    "_apt_sources",
    "_decision",
    "_docker",
    "_docker_check",
    "_docker_config",
    "_docker_errors",
    "_errors",
    "_firewall",
    "_fleet_gpu_rules",
    "_fleet_model",
    "_fleet_network_rules",
    "_fleet_rules",
    "_fleet_secrets",
    "_fleet_view",
    "_gpu",
    "_guests",
    "_image_archive",
    "_image_space",
    "_inventory",
    "_layer_clean",
    "_lxc_config",
    "_nvidia",
    "_nvidia_rules",
    "_option_checks",
    "_options",
    "_package_groups",
    "_package_hosts",
    "_pct_errors",
    "_recipe",
    "_schema",
    "_startable",
    "_vllm_log",
    "_yaml_text",
)


def run(bench: Workbench, arguments: list[str]) -> None:
    coverage = bench.output / "coverage.json"
    coverage.unlink(missing_ok=True)
    measured = ["--cov=plugins", "--cov-branch", "--cov-report=term-missing:skip-covered"]
    run_pytest(
        bench,
        "pytest",
        arguments or [*measured, f"--cov-report=json:{coverage}"],
        env={"COVERAGE_FILE": str(bench.output / "coverage")},
        # A few tests are over before the processes are there.
        spread=not arguments,
    )
    if not arguments and not coverage.exists():
        bench.report.failed_check("coverage", "there is no report")
    elif not arguments:
        _gate(bench, json.loads(coverage.read_text())["files"])


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
