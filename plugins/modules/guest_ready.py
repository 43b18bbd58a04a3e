#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_ready
short_description: Wait until a container can be worked in
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Used by the roles of this collection inside containers. It can have breaking changes at any time.
  - Waits until systemd has booted (running or degraded), names resolve, and no other program holds a lock of apt or
    dpkg. It asks the kernel who holds a lock, and never removes one.
  - Returns as soon as all of it is so.
extends_documentation_fragment:
  - phoenix.hypervisor.attributes
  - phoenix.hypervisor.attributes.info
attributes:
  platform:
    platforms: debian
    support: full
options:
  timeout:
    description: How many seconds to wait for all of it.
    type: int
    default: 300
  hosts:
    description: >-
      Names that have to resolve. Without any, the first host of the package sources has to, unless apt reaches it by a
      proxy.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Wait until the container can be worked in
  phoenix.hypervisor.guest_ready:
    timeout: 120
"""

RETURN = r"""
system_state:
  description: What systemd says, running or degraded.
  type: str
  returned: success
  sample: running
code:
  description: The kind of a failure. 6 is a boot that did not end, 1 is anything else.
  type: int
  returned: failure
reason:
  description: What is wrong.
  type: str
  returned: failure
remedy:
  description: What to do about a failure.
  type: str
  returned: failure
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import reporting
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guest_ready import GuestReady


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "timeout": {"type": "int", "default": 300},
            "hosts": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    with reporting(module.fail_json):
        state = GuestReady(timeout=module.params["timeout"], hosts=tuple(module.params["hosts"])).run()
    module.exit_json(changed=False, system_state=state)


if __name__ == "__main__":
    main()
