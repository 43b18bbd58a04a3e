# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# As the script of the recording: what the monitor says that a container runs with, and what the generated file says.

from __future__ import annotations

import subprocess
import sys

from monitor import LxcMonitor  # type: ignore[import-not-found]  # the collection's own, copied to the node

container = sys.argv[1]
for key in sys.argv[2:]:
    print(key)
    print(f"   monitor (running): {list(LxcMonitor().config_item(int(container), key) or ())}")
    shown = subprocess.run(["lxc-info", "-n", container, "-c", key], capture_output=True, text=True, check=False).stdout
    print(f"   /var/lib/lxc file: {[line for line in shown.partition(' = ')[2].splitlines() if line]}")
