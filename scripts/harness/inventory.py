# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import difflib
import shutil
import time

from . import reference
from .workbench import Workbench


def run(bench: Workbench, _arguments: list[str]) -> None:
    for path in sorted((bench.tree / "inventories").iterdir()):
        name = f"inventories/{path.name}"
        bench.check(f"{name} is what its JSON says", _check(bench, name), complaint=_warnings)
        listing = [bench.tool("ansible-inventory"), f"--inventory={name}", "--graph"]
        bench.check(f"{name} is read by Ansible", listing, complaint=_warnings)
    _drift(bench)
    _reference(bench)


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


def _reference(bench: Workbench) -> None:
    started = time.monotonic()
    page = bench.tree / reference.PAGE
    found = page.read_text(encoding="utf-8") if page.exists() else ""
    wanted = reference.reference(bench.tree)
    diff = difflib.unified_diff(found.splitlines(), wanted.splitlines(), "there", "from the schemas", lineterm="")
    bench.report.check(
        f"{reference.PAGE} is what the schemas say",
        passed=found == wanted,
        seconds=time.monotonic() - started,
        output="\n".join(["Run: python3 scripts/harness/reference.py", *diff]),
    )


def _warnings(output: str) -> str:
    return "\n".join(line for line in output.splitlines() if "[WARNING]" in line or "[DEPRECATION WARNING]" in line)
