# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

from __future__ import annotations

import json
import re
import typing as t
from collections.abc import Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed, Runner, run

_COMMAND_TIMEOUT = 120.0
_NO_PROGRAM = 127


class Docker:
    """Docker by its command line, which needs nothing but itself."""

    def __init__(self, runner: Runner = run) -> None:
        self._runner = runner

    def call(self, *words: str, timeout: float = _COMMAND_TIMEOUT) -> Completed:
        return self._runner(["docker", *words], timeout=timeout)

    def problem(self) -> str:
        """Why Docker cannot be used, empty when it can."""
        done = self.call("version", "--format", "{{.Server.Version}}")
        if done.rc == _NO_PROGRAM:
            return "Docker is not installed"
        return "" if done.ok else f"Docker does not run: {last_line(done)}"

    def check(self) -> None:
        if problem := self.problem():
            raise PhoenixError(
                problem,
                remedy="Run the role lxc_docker first, and see `systemctl status docker`.",
                code=Code.VERIFICATION,
            )

    def image(self, reference: str) -> dict[str, t.Any] | None:
        """What `docker image inspect` says of an image that is there."""
        done = self.call("image", "inspect", reference)
        return _first(done) if done.ok else None

    def container(self, name: str) -> dict[str, t.Any] | None:
        done = self.call("container", "inspect", name)
        return _first(done) if done.ok else None

    def labelled(self, label: str) -> Sequence[str]:
        """The containers with a label, running or not."""
        done = self.call("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}")
        if not done.ok:
            raise PhoenixError(f"docker ps failed: {last_line(done)}", remedy="See the journal of docker.service.")
        return done.stdout.split()

    def remove(self, names: Sequence[str]) -> Completed:
        return self.call("rm", "--force", "--volumes", *names)

    def log(self, name: str, lines: int) -> str:
        done = self.call("logs", "--tail", str(lines), name)
        # vLLM writes to both; what explains a failure is on the second.
        return done.stdout + done.stderr


def environment(image: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The variables that an image sets."""
    config = image.get("Config") or {}
    pairs = (text.partition("=") for text in config.get("Env") or ())
    return {name: value for name, _equals, value in pairs}


def last_line(done: Completed) -> str:
    """What it said last, but for its advice to read its help."""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    said = [line for line in lines if line.strip() and not re.match(r"(See|Run) 'docker", line)]
    return said[-1] if said else f"exit code {done.rc}"


def _first(done: Completed) -> dict[str, t.Any] | None:
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return None
    return found[0] if isinstance(found, list) and found else None
