# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The log of every call of the stand-in, so that a test can assert which were made ("no pct was started").

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from .system import System

LOG_FILE = "var/log/phoenix-lab/calls.jsonl"


def log_call(
    system: System, command: str, argv: Sequence[str], *, rc: int, seconds: float, user: str | None = None
) -> None:
    line = {
        "time": round(system.time(), 3),
        "command": command,
        "argv": list(argv),
        "rc": rc,
        "seconds": round(seconds, 3),
        "user": user,
    }
    file = system.path(LOG_FILE)
    file.parent.mkdir(parents=True, exist_ok=True)
    # One write each: lines of processes that end together do not mix.
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, (json.dumps(line, ensure_ascii=False) + "\n").encode())
    finally:
        os.close(descriptor)
