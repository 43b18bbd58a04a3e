#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: layer_info
short_description: Read every container and layer of a node at once
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Reads what playbooks decide from. Of every container its configuration, pending changes, snapshots with their
    metadata, its GPU lines and the GPUs it really has; of the node its kernel, driver, devices and storages.
  - Reads files only and starts no process. Fifty containers take a few milliseconds, where one C(pct config) takes
    half a second.
extends_documentation_fragment:
  - phoenix.hypervisor.attributes
  - phoenix.hypervisor.attributes.info
  - phoenix.hypervisor.attributes.on_node
options:
  ctids:
    description: The containers to read, by default all of the node. One that does not exist is left out.
    type: list
    elements: int
seealso:
  - module: phoenix.hypervisor.lxc_snapshot
"""

EXAMPLES = r"""
- name: Look at the node
  phoenix.hypervisor.layer_info:
  register: layers

- name: Tell which layers are sealed
  ansible.builtin.debug:
    msg: "{{ item.value.name }}: {{ item.value.snapshots | map(attribute='name') | join(', ') }}"
  loop: "{{ layers.containers | dict2items }}"
"""

RETURN = r"""
containers:
  description: The containers by their id, as text.
  type: dict
  returned: success
  sample:
    "900":
      ctid: 900
      name: BaseTemplate
      running: true
      lock: ""
      unprivileged: false
      is_pve_template: false
      restart_required: false
      config: {"hostname": "BaseTemplate", "memory": "2048"}
      raw: ["lxc.apparmor.profile: unconfined"]
      pending: {}
      pending_delete: []
      dropped_lines: []
      digest: 5f0f1d2a6a3b1c9e8d7f60514233a4b5c6d7e8f9
      snapshots:
        - name: base-snapshot
          description: Ubuntu 24.04 with the base set-up
          metadata: {"fingerprint": "4f6a1c22d09be731"}
          parent: ""
          time: 1795164487
          state: ""
      gpus: []
      gpu_lines: []
      running_gpus: []
node:
  description: The node.
  type: dict
  returned: success
  sample:
    name: pve1
    kernel: 6.17.2-2-pve
    pve_version: 9.1.4
    driver: {"loaded": "580.159.04", "on_disk": "580.159.04"}
    gpus:
      - index: 0
        name: NVIDIA GeForce RTX 5060 Ti
        uuid: GPU-2f3d8a0e-6f1e-7c5b-9a55-1b2c3d4e5f60
        bus_id: "0000:01:00.0"
    devices:
      - path: /dev/nvidia0
        is_char: true
        major: 195
        minor: 0
        mode: 438
        mounted: false
    majors: {"nvidia": 195, "nvidia-uvm": 511}
    storages:
      local-zfs: {"type": "zfspool", "content": ["images", "rootdir"]}
code:
  description: The kind of a failure. 1 is general.
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
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node
from ansible_collections.phoenix.hypervisor.plugins.module_utils._overview import overview


def main() -> None:
    module = AnsibleModule(
        argument_spec={"ctids": {"type": "list", "elements": "int"}},
        supports_check_mode=True,
    )
    with reporting(module.fail_json):
        result = overview(Node(), module.params["ctids"])
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
