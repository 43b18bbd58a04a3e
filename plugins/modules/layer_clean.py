#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: layer_clean
short_description: Clean a container before it is sealed as a layer
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Runs inside the container, right before its snapshot is taken.
  - Removes what every clone would share (SSH host keys, machine id, Docker's engine id, random seed, DHCP leases) and
    what only the build needed (package lists and archives, logs, scratch files). The container makes what it needs of
    it anew at its next boot.
  - Refuses to go on while there are Docker containers, since a layer is sealed without any, and removes images that do
    not belong.
extends_documentation_fragment:
  - phoenix.hypervisor.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: A running container writes logs again.
  platform:
    platforms: debian
    support: full
    details: Runs inside a Debian or Ubuntu container as root.
options:
  images:
    description: The Docker images that belong to the layer.
    type: list
    elements: str
    default: []
seealso:
  - module: phoenix.hypervisor.lxc_snapshot
"""

EXAMPLES = r"""
- name: Clean the layer that carries the vLLM image
  phoenix.hypervisor.layer_clean:
    images:
      - vllm/vllm-openai:v0.25.1
"""

RETURN = r"""
removed:
  description: What was removed or emptied, or would be.
  type: list
  elements: str
  returned: success
  sample: [/etc/ssh/ssh_host_ed25519_key, /etc/machine-id, docker image hello-world:latest]
code:
  description: The kind of a failure. 4 is something that does not belong into a layer.
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

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import reporting
from ansible_collections.phoenix.hypervisor.plugins.module_utils._layer_clean import Clean, summary
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import run


def main() -> None:
    module = AnsibleModule(
        argument_spec={"images": {"type": "list", "elements": "str", "default": []}},
        supports_check_mode=True,
    )
    with reporting(module.fail_json):
        removed = Clean(Path("/"), run, images=module.params["images"]).run(check_mode=module.check_mode)
    diff = {"before": summary(removed), "after": ""}
    module.exit_json(changed=bool(removed), removed=removed, diff=diff)


if __name__ == "__main__":
    main()
