# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# liblxc's hooks, as programs of the node: <id> lxc pre-start|post-stop, and what they find in their environment.

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ..exceptions import PVEError


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if len(words) != 3 or not words[0].isdigit() or words[1] != "lxc":
        # A container that is none of PVE's.
        return 0
    from ..lxc import hooks  # noqa: PLC0415 - nothing is needed for those
    from ..real_system import RealSystem  # noqa: PLC0415

    system = RealSystem()
    vmid = int(words[0])
    try:
        if words[2] == "pre-start":
            hooks.pre_start(system, vmid)
        elif words[2] == "post-stop":
            return 0 if hooks.post_stop(system, vmid, os.environ.get("LXC_TARGET", "stop")) else 1
    except PVEError as error:
        print(error.message, file=sys.stderr)
        return 2
    return 0
