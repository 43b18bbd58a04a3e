# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Process 1 of a running lab: starts its services, starts them again should they die, and reaps what nobody waits for.

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import services

LOGS = Path("/var/log/phoenix-lab")
# Made by the host when the network is there, and by this process when the services have been started.
CONNECTED = Path("/run/phoenix-lab/connected")
READY = Path("/run/phoenix-lab/ready")
_PAUSE = 1.0


class Supervisor:
    def __init__(self, services: Mapping[str, Sequence[str]]) -> None:
        self._services = services
        self._children: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}

    def run(self) -> None:
        LOGS.mkdir(parents=True, exist_ok=True)
        while not CONNECTED.exists():
            time.sleep(0.01)
        for name in self._services:
            self._start(name)
        READY.touch()
        while True:
            try:
                pid, status = os.wait()
            except ChildProcessError:
                time.sleep(_PAUSE)
                continue
            if pid in self._children:
                name, _ = self._children.pop(pid)
                with (LOGS / f"{name}.log").open("a") as log:
                    log.write(f"{name} ended with {os.waitstatus_to_exitcode(status)} and is started again\n")
                time.sleep(_PAUSE)
                self._start(name)

    def _start(self, name: str) -> None:
        with (LOGS / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(self._services[name], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._children[process.pid] = (name, process)


if __name__ == "__main__":
    Supervisor(services.commands()).run()
