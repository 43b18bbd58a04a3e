# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# NVIDIA's programs write their log as logrus does: coloured columns for a person, key=value for everything else.

from __future__ import annotations

import json
import sys
import time


class ToolkitError(Exception):
    """What one of NVIDIA's programs says before it exits with 1."""


class Log:
    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    def info(self, message: str) -> None:
        if not self._quiet:
            self._write("info", message)

    def warning(self, message: str) -> None:
        if not self._quiet:
            self._write("warning", message)

    def error(self, message: str) -> None:
        self._write("error", message)

    @staticmethod
    def _write(level: str, message: str) -> None:
        if sys.stderr.isatty():
            label = {"info": "INFO", "warning": "WARN", "error": "ERRO"}[level]
            sys.stderr.write(f"{label}[0000] {message:<44}\n")
        else:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            # logrus quotes only what has a character outside of this set.
            plain = message and all(char.isalnum() or char in "-._/@^+" for char in message)
            said = message if plain else json.dumps(message, ensure_ascii=False)
            sys.stderr.write(f'time="{now}" level={level} msg={said}\n')
