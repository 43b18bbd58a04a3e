# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .workbench import Workbench

SHELL = re.compile(rb"#!\s*(/bin/|/usr/bin/env )(ba|da)?sh\b")


def run(bench: Workbench, _arguments: list[str]) -> None:
    # First, because the other tools may leave files in the tree.
    bench.check("reuse", [bench.tool("reuse"), "lint", "--lines"])
    # ansible-lint takes as long as all others together.
    with ThreadPoolExecutor(2) as pool:
        lanes = [pool.submit(_ansible, bench), pool.submit(_others, bench)]
        for lane in lanes:
            lane.result()


def _ansible(bench: Workbench) -> None:
    bench.check("ansible-lint", [bench.tool("ansible-lint"), "--offline", "--nocolor", "-q"])


def _others(bench: Workbench) -> None:
    tool = bench.tool
    types = [tool("mypy"), f"--config-file={bench.tree / 'pyproject.toml'}", f"--cache-dir={bench.output / 'mypy'}"]
    bench.check("ruff check", [tool("ruff"), "check", "--no-cache"])
    bench.check("ruff format", [tool("ruff"), "format", "--no-cache", "--check", "--diff"])
    bench.check(
        "mypy plugins",
        [*types, "ansible_collections/phoenix/hypervisor/plugins"],
        cwd=bench.root,
        env={"MYPYPATH": str(bench.root)},
    )
    bench.check("mypy lab", [*types, "--package=lab"], cwd=bench.tree / "tests")
    bench.check("mypy scripts", [*types, "--package=harness"], cwd=bench.tree / "scripts")
    bench.check("yamllint", [tool("yamllint"), "--strict", "."])
    bench.check("shellcheck", [tool("shellcheck"), *_shell_scripts(bench.tree)])
    bench.check("antsibull-changelog", [tool("antsibull-changelog"), "lint"])
    bench.check(
        "antsibull-docs",
        [tool("antsibull-docs"), "lint-collection-docs", "--plugin-docs", "--validate-collection-refs=dependent", "."],
    )


def _shell_scripts(tree: Path) -> list[str]:
    found = []
    for path in sorted(tree.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                if SHELL.match(file.readline()):
                    found.append(str(path.relative_to(tree)))
    return found
