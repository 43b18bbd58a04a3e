# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from . import layout, provision
from .report import Report, say

# What a user says to the lab: a mirror, another name, that it shall stay.
LAB_SETTINGS = "PHOENIX_LAB_"


@dataclasses.dataclass(frozen=True)
class Workbench:
    """A laid-out copy of the checkout, the tools, and the clean environment that they run in."""

    report: Report
    root: Path  # the folder that holds ansible_collections with our tree
    collections: Path  # the same for the collections that we depend on
    venv: Path
    home: Path
    output: Path  # for what the tools write

    @classmethod
    @contextlib.contextmanager
    def prepare(cls, checkout: Path, report: Report) -> Iterator[Workbench]:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "phoenix-hypervisor"
        place = cache / "checkouts" / f"{checkout.name}-{hashlib.sha256(bytes(checkout)).hexdigest()[:12]}"
        place.mkdir(parents=True, exist_ok=True)
        with _locked(cache / "lock"):
            provision.system_packages(checkout)
            venv = provision.virtual_environment(cache, checkout)
            collections = provision.collections(cache, checkout, venv)
            home = provision.home(cache, venv)
        bench = cls(report, place / "collections", collections, venv, home, place / "output")
        with _locked(place / "lock"):
            bench.output.mkdir(exist_ok=True)
            layout.lay_out(checkout, bench.tree)
            yield bench

    @property
    def tree(self) -> Path:
        return self.root / "ansible_collections/phoenix/hypervisor"

    @property
    def environment(self) -> dict[str, str]:
        # Folders of shims (pyenv, asdf) offer Pythons that then refuse to run.
        path = [folder for folder in os.environ.get("PATH", os.defpath).split(":") if Path(folder).name != "shims"]
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in ("CI", "LOGNAME", "TMPDIR", "USER") or name.startswith(LAB_SETTINGS)
        }
        return {
            **kept,
            "ANSIBLE_COLLECTIONS_PATH": f"{self.root}:{self.collections}",
            "ANSIBLE_HOME": str(self.home / ".ansible"),
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            "PATH": ":".join([str(self.venv / "bin"), *path]),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def tool(self, name: str) -> str:
        return str(self.venv / "bin" / name)

    def shared_home(self) -> contextlib.AbstractContextManager[None]:
        """For tools that keep something in their home that two runs must not make at once."""
        return _locked(self.home / "lock")

    def start(
        self, argv: list[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            argv,
            cwd=cwd or self.tree,
            env={**self.environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def run(
        self, argv: list[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        with self.start(argv, cwd=cwd, env=env) as process:
            output, _none = process.communicate()
        return subprocess.CompletedProcess(argv, process.returncode, output)

    def check(
        self,
        name: str,
        argv: list[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        complaint: Callable[[str], str] = lambda output: "",
    ) -> bool:
        """A check that passes when the command does, and when nothing in its output is worth a complaint."""
        started = time.monotonic()
        done = self.run(argv, cwd=cwd, env=env)
        problem = complaint(done.stdout)
        passed = done.returncode == 0 and not problem
        output = "" if passed else f"{' '.join(argv)}\nexit status {done.returncode}\n{done.stdout}\n{problem}"
        self.report.check(name, passed=passed, seconds=time.monotonic() - started, output=output)
        return passed


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another run of scripts/test ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
