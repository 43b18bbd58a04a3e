# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of processes, as `ps` and nvidia-smi show them."""

from __future__ import annotations

import ctypes
from pathlib import Path

PR_SET_NAME = 15


def rename(title: str) -> None:
    """Over the own command line, as setproctitle does; the kernel cuts the short name to 15 letters."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    room = end - start
    if room > len(title):
        ctypes.memmove(start, title.encode().ljust(room, b"\0"), room)
    ctypes.CDLL(None).prctl(PR_SET_NAME, title.encode(), 0, 0, 0)
