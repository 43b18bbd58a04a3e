# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import difflib
import shutil
import time
from pathlib import Path

from .workbench import Workbench

# What is written from other files, and the module of this package that does it.
PAGES = {"docs/configuration.md": "reference", "docs/errors.md": "errors_page"}


def run(bench: Workbench, _arguments: list[str]) -> None:
    for path in sorted((bench.tree / "inventories").iterdir()):
        name = f"inventories/{path.name}"
        bench.check(f"{name} is what its JSON says", _check(bench, name), complaint=_warnings)
        listing = [bench.tool("ansible-inventory"), f"--inventory={name}", "--graph"]
        bench.check(f"{name} is read by Ansible", listing, complaint=_warnings)
    _drift(bench)
    for page, module in PAGES.items():
        _generated(bench, page, module)


def _check(bench: Workbench, inventory: str) -> list[str]:
    variables = [f"--extra-vars=phoenix_inventory={inventory}", "--extra-vars=phoenix_inventory_check=true"]
    return [bench.tool("ansible-playbook"), "--diff", *variables, "playbooks/inventory.yml"]


def _drift(bench: Workbench) -> None:
    """That the check can fail at all."""
    started = time.monotonic()
    drifted = bench.output / "drifted"
    shutil.rmtree(drifted, ignore_errors=True)
    shutil.copytree(bench.tree / "inventories/example", drifted)
    with (drifted / "hosts.yml").open("a") as file:
        file.write("# changed by hand\n")
    done = bench.run(_check(bench, str(drifted)))
    bench.report.check(
        "drift is found",
        passed=done.returncode != 0 and "to be written: hosts.yml" in done.stdout,
        seconds=time.monotonic() - started,
        output=done.stdout,
    )


def _generated(bench: Workbench, page: str, module: str) -> None:
    """A page of docs that a module of this package writes."""
    started = time.monotonic()
    wanted = bench.output / Path(page).name
    wanted.unlink(missing_ok=True)
    writes = [bench.tool("python"), "-m", f"harness.{module}", str(wanted)]
    done = bench.run(writes, cwd=bench.tree / "scripts")
    there, right = (path.read_text(encoding="utf-8") if path.exists() else "" for path in (bench.tree / page, wanted))
    diff = difflib.unified_diff(there.splitlines(), right.splitlines(), "there", "from the sources", lineterm="")
    bench.report.check(
        f"{page} is what its sources say",
        passed=done.returncode == 0 and there == right,
        seconds=time.monotonic() - started,
        output="\n".join([f"Run: cd scripts; python3 -m harness.{module}", *diff, done.stdout]),
    )


def _warnings(output: str) -> str:
    return "\n".join(line for line in output.splitlines() if "[WARNING]" in line or "[DEPRECATION WARNING]" in line)
