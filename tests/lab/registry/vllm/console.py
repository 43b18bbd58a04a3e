# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines as vLLM's processes write them: "(APIServer pid=1) INFO 11-20 09:42:54 [core.py:116] …"."""

from __future__ import annotations

import os
import time

STDOUT = 1
STDERR = 2


class Console:
    def __init__(self, process: str = "") -> None:
        self._process = process

    @property
    def prefix(self) -> str:
        return f"({self._process} pid={os.getpid()}) " if self._process else ""

    def info(self, source: str, message: str) -> None:
        self._logged("INFO", source, message)

    def warning(self, source: str, message: str) -> None:
        self._logged("WARNING", source, message)

    def error(self, source: str, message: str) -> None:
        self._logged("ERROR", source, message, STDERR)

    def uvicorn(self, message: str) -> None:
        self.lines(f"INFO:     {message}")

    def lines(self, text: str, stream: int = STDOUT) -> None:
        """As it is, with the process in front of every line."""
        _write(stream, "".join(f"{self.prefix}{line}\n" for line in text.split("\n")))

    def _logged(self, level: str, source: str, message: str, stream: int = STDOUT) -> None:
        head = f"{self.prefix}{level} {time.strftime('%m-%d %H:%M:%S')} [{source}] "
        _write(stream, "".join(f"{head}{line}\n" for line in message.split("\n")))


def _write(stream: int, text: str) -> None:
    # One system call, so that lines of the two processes never mix.
    os.write(stream, text.encode())
