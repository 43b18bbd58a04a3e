# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node
from ansible_collections.phoenix.hypervisor.plugins.module_utils._package_hosts import LOOKUP_SECONDS, package_hosts
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import PATH, Completed, Runner, run
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree


class Inside:
    """What is done inside running containers: commands, files, and whether they are up."""

    def __init__(self, node: Node, runner: Runner = run) -> None:
        self.node = node
        self._runner = runner

    def check_inside(self) -> None:
        """Root on the node can look into every container."""

    def booted(self, ctid: int) -> str:
        return self._ask(ctid, ["systemctl", "is-system-running"]).stdout.strip()

    def addresses(self, ctid: int) -> Sequence[str]:
        return self.node.addresses(ctid)

    def resolves(self, ctid: int) -> bool:
        """Whether the first host of the container's package sources has an address; without any, there is no need."""
        root = self.node.container_root(ctid)
        hosts = package_hosts(Tree(root)) if root else ()
        return all(self._ask(ctid, ["getent", "ahosts", host], timeout=LOOKUP_SECONDS).ok for host in hosts)

    def _ask(self, ctid: int, argv: Sequence[str], *, timeout: float = 10) -> Completed:
        """For those who wait: a question that is not answered in time has no answer yet."""
        try:
            return self.attach(ctid, argv, timeout=timeout)
        except PhoenixError:
            return Completed(tuple(argv), 124)

    def attach(
        self, ctid: int, argv: Sequence[str], *, stdin: Path | None = None, timeout: float | None = None
    ) -> Completed:
        """Run a command inside, 40 times faster than pct exec and without the node's environment."""
        command = [
            "lxc-attach", "-n", str(ctid), "--clear-env", "--set-var", f"PATH={PATH}", "--set-var", "LC_ALL=C.UTF-8",
            "--", *argv,
        ]  # fmt: skip
        if stdin is None:
            return self._runner(command, timeout=timeout)
        with stdin.open("rb") as stream:
            return self._runner(command, stdin=stream, timeout=timeout)

    def push(
        self, ctid: int, source: Path, destination: str, *, mode: str = "0644", timeout: float | None = None
    ) -> None:
        """Copy a file in and prove that it arrived. pct push reports success even when the copy failed."""
        script = 'umask 077 && cat > "$1" && chmod "$2" "$1" && sha256sum < "$1"'
        done = self.attach(ctid, ["sh", "-c", script, "sh", destination, mode], stdin=source, timeout=timeout)
        with source.open("rb") as stream:
            expected = hashlib.file_digest(stream, "sha256").hexdigest()
        arrived = done.stdout.split(maxsplit=1)[0] if done.ok and done.stdout else ""
        if arrived != expected:
            raise PhoenixError(
                f"{source.name} did not arrive in container {ctid} as {destination}: "
                f"{done.stderr.strip() or f'its SHA-256 there is {arrived}, not {expected}'}",
                remedy="See that the directory exists and that the container's disk is not full (`df -h` inside).",
            )
