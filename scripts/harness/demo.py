# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The main job on the lab, for whoever wants to see it work before trusting it with a node."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from typing import Any

from .cli import CHECKOUT
from .lab import as_root, root_prefix
from .report import HarnessError, Report, say
from .workbench import Workbench

DESCRIPTION = """\
Build the hierarchy of inventories/lab from nothing, as on a bare Proxmox VE node: driver, layers, a running vLLM. Sets
up what it needs (Python tools in ~/.cache/phoenix-hypervisor, the lab's images in /var/cache/phoenix-lab), and needs
root for the lab. Run it again to see that nothing is left to do.
"""

_LOOK_AROUND = (
    ("{sudo}scripts/lab shell pve1", "the node: pct list, nvidia-smi, ..."),
    ("{sudo}scripts/lab exec pve1 -- pct enter 950", "the application's container"),
    ("scripts/demo", "again: changed=0 everywhere"),
    ("scripts/demo --down", "end the lab; its downloads are kept"),
    ("docs/getting-started.md", "and then a real node"),
)


APPLICATION = "vllmQwen3Coder"
QUESTION = "Write hello world in Python."


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/demo", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--down", action="store_true", help="end the lab instead")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    down = parse(argv).down
    try:
        # Before anything is downloaded.
        root_prefix("sudo scripts/demo")
        with Workbench.prepare(CHECKOUT, Report()) as bench:
            return _down(bench) if down else _build(bench)
    except HarnessError as error:
        print(f"scripts/demo: {error}", file=sys.stderr)
        return 1


def _build(bench: Workbench) -> int:
    begin = time.monotonic()
    # A bare node: the driver is installed by the playbook.
    if status := _run(bench, [*_lab(bench), "up", "--driver", "none"]):
        return status
    playbook = [bench.tool("ansible-playbook"), "-i", "inventories/lab"]
    for name in ("site.yml", "playbooks/status.yml"):
        if status := _run(bench, [*playbook, name]):
            return status
    server, model = _application(bench)
    say(f"\n{APPLICATION} at {server} is asked: {QUESTION}")
    say(f"It answers: {answer(server, model)}")
    say(f"\nDone in {time.monotonic() - begin:.0f} s.")
    sudo = "" if os.geteuid() == 0 else "sudo "
    say("\nLook around:")
    for command, what in _LOOK_AROUND:
        say(f"  {command.format(sudo=sudo):<48}{what}")
    return 0


def answer(server: str, model: str) -> str:
    """What a model says, asked as any program on this machine would ask it."""
    body = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 32}
    request = urllib.request.Request(
        f"{server}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    # A proxy for the world outside does not know the lab.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as response:
            return str(json.load(response)["choices"][0]["message"]["content"])
    except (OSError, ValueError, LookupError) as error:
        raise HarnessError(f"{server} did not answer a completion: {error}") from error


def _application(bench: Workbench) -> tuple[str, str]:
    """Where the application listens, and what its model is called."""
    listing = bench.run([bench.tool("ansible-inventory"), "--inventory=inventories/lab", f"--host={APPLICATION}"])
    variables: Mapping[str, Any] = json.loads(listing.stdout)
    address = variables["phoenix_container"]["networks"][0]["ip"].partition("/")[0]
    vllm = variables["phoenix_vllm"]
    return f"http://{address}:{vllm['port']}", vllm["served_model_name"]


def _down(bench: Workbench) -> int:
    return _run(bench, [*_lab(bench), "down"])


def _lab(bench: Workbench) -> list[str]:
    return [*as_root(bench), str(CHECKOUT / "scripts/lab")]


def _run(bench: Workbench, argv: list[str]) -> int:
    # What it prints is what there is to see, so it goes to the terminal as it comes.
    environment = {name: value for name, value in bench.environment.items() if name != "NO_COLOR"}
    if term := os.environ.get("TERM"):
        environment["TERM"] = term
    return subprocess.run(argv, cwd=bench.tree, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
