#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lxc_gpu_passthrough
short_description: Give a container exactly the NVIDIA GPUs assigned to it
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Brings the GPU lines of a container's configuration and the running container itself to an assignment.
  - This module is the only owner of these lines. What the assignment does not name is removed, whoever wrote it,
    be it inherited from the container it was cloned from, a wildcard such as C(c 195:* rwm), a rule for a major number
    of an earlier boot, or a mount that hides a missing device behind C(optional).
  - Whether the container is restarted is decided by what the running container has, not by whether the file was
    changed. Lines that somebody wrote without a restart are healed, too.
  - Every device is proven to be on the node before anything is written.
extends_documentation_fragment:
  - phoenix.hypervisor.attributes
  - phoenix.hypervisor.attributes.on_node
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  ctid:
    description: The container.
    type: int
    required: true
  gpus:
    description:
      - The GPUs that the container gets, by the index of their device node (V(0) is C(/dev/nvidia0)).
      - V(all), V(none), a list of indices, or text such as V(0,1), with or without spaces.
    type: raw
    required: true
  method:
    description:
      - V(dev) uses PVE's own C(devN) entries, which look up the device numbers at every start.
      - V(raw) uses C(lxc.mount.entry) and C(lxc.cgroup2.devices.allow) lines with the numbers of now.
      - V(auto) is V(dev) where the node knows it (Proxmox VE 8.1), else V(raw).
    type: str
    choices: [auto, dev, raw]
    default: auto
  capabilities:
    description:
      - The minor numbers of the C(/dev/nvidia-caps/nvidia-capN) nodes that the container gets, for MIG.
      - By default every one that the node has. An empty list passes none.
    type: list
    elements: int
  driver_libraries:
    description:
      - Mount the node's user-space driver files read-only into the container instead of installing them there.
      - The versions then always match, but the container does not start on a node without these files.
    type: bool
    default: false
  restart:
    description:
      - Restart the container when what runs differs from the assignment.
      - With V(false) the difference is only reported, as RV(restart_required).
    type: bool
    default: true
  timeout:
    description: How many seconds to wait for each of a lock, the shutdown, the start, and the devices to appear inside.
    type: int
    default: 120
seealso:
  - module: phoenix.hypervisor.lxc_container
  - module: phoenix.hypervisor.nvidia_runfile
"""

EXAMPLES = r"""
- name: Both GPUs for the vLLM layer
  phoenix.hypervisor.lxc_gpu_passthrough:
    ctid: 920
    gpus: 0,1

- name: Take away what the clone inherited
  phoenix.hypervisor.lxc_gpu_passthrough:
    ctid: 960
    gpus: none

- name: One GPU, and see what would change first
  phoenix.hypervisor.lxc_gpu_passthrough:
    ctid: 951
    gpus: [0]
    restart: false
  check_mode: true
  diff: true
"""

RETURN = r"""
ctid:
  description: The container.
  type: int
  returned: success
  sample: 901
method:
  description: The kind of lines that was used.
  type: str
  returned: success
  sample: dev
gpus:
  description: The indices that the container's file passes into it.
  type: list
  elements: int
  returned: success
  sample: [0, 1]
lines:
  description: The GPU lines of the container's file.
  type: list
  elements: str
  returned: success
  sample: ["dev0: path=/dev/nvidia0,mode=0666", "dev1: path=/dev/nvidiactl,mode=0666"]
added:
  description: The lines that were added.
  type: list
  elements: str
  returned: success
removed:
  description: The lines that were removed.
  type: list
  elements: str
  returned: success
  sample: ["lxc.cgroup2.devices.allow: c 195:* rwm"]
problems:
  description: How the running container differed from the assignment before anything was done.
  type: list
  elements: str
  returned: success
  sample: ["/dev/nvidia-uvm is missing"]
restarted:
  description: Whether the container was restarted.
  type: bool
  returned: success
restart_required:
  description: Whether the running container still differs from the assignment, because O(restart=false).
  type: bool
  returned: success
reason:
  description: What is wrong.
  type: str
  returned: failure
code:
  description: >-
    The kind of a failure. 1 is general, 2 invalid input, 3 no such container, 4 verification, 6 shutdown or start.
  type: int
  returned: failure
remedy:
  description: What to do about a failure.
  type: str
  returned: failure
file:
  description: The GPU lines of the container's file.
  type: list
  elements: str
  returned: when the devices did not appear in time
node:
  description: The NVIDIA device nodes of the node.
  type: list
  elements: dict
  returned: when the devices did not appear in time
  sample: [{"path": "/dev/nvidia0", "is_char": true, "major": 195, "minor": 0, "mode": 438, "mounted": false}]
container:
  description: The NVIDIA device nodes of the running container.
  type: list
  elements: dict
  returned: when the devices did not appear in time
rules:
  description: The device rules that the container was started with.
  type: list
  elements: str
  returned: when the devices did not appear in time
  sample: ["c 195:0 rw"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import reporting
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node
from ansible_collections.phoenix.hypervisor.plugins.module_utils._passthrough import Passthrough, Request
from ansible_collections.phoenix.hypervisor.plugins.module_utils._pct import Pct


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "ctid": {"type": "int", "required": True},
            "gpus": {"type": "raw", "required": True},
            "method": {"type": "str", "choices": ["auto", "dev", "raw"], "default": "auto"},
            "capabilities": {"type": "list", "elements": "int"},
            "driver_libraries": {"type": "bool", "default": False},
            "restart": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    node = Node()
    with reporting(module.fail_json):
        result = Passthrough(node, Pct(node), Request(**module.params), check_mode=module.check_mode).run()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
