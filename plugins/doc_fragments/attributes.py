# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying anything.
  diff_mode:
    description: Returns details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  idempotent:
    description: A second run with the same arguments changes nothing.
  platform:
    description: The systems that the module can run on.
"""

    ON_NODE = r"""
options: {}
attributes:
  platform:
    platforms: debian
    support: full
    details: Runs on a Proxmox VE node (8.0 or newer) as root.
"""

    NODE_OR_API = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/phoenix.hypervisor.lxc) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - phoenix.hypervisor.lxc
  platform:
    platforms: posix
    support: full
    details:
      - Runs on a Proxmox VE node (8.0 or newer) as root, where it reads files and drives C(pct).
      - With O(api_host) it runs on any machine and acts through the REST API.
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: This module does not modify state.
  diff_mode:
    support: N/A
    details: This module does not modify state.
  idempotent:
    support: full
    details: This module does not modify state.
"""
