#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_preflight
short_description: Find out whether a node has what its containers need, before anything is changed
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Fails when a storage, a template, a directory or a GPU that a container needs is not on the node. All that is
    missing, of all containers, is reported at once, in the words of the JSON files that describe the fleet.
  - Reads files only and starts no process. That a storage can be reached at the moment is not looked at.
extends_documentation_fragment:
  - phoenix.hypervisor.attributes
  - phoenix.hypervisor.attributes.info
  - phoenix.hypervisor.attributes.on_node
options:
  containers:
    description: The containers of this node.
    type: list
    elements: dict
    required: true
    suboptions:
      ctid:
        description: The container's id.
        type: int
        required: true
      name:
        description: The container's name, for the messages.
        type: str
        required: true
      storage:
        description: The storage of its root file system.
        type: str
        default: ""
      volume_storages:
        description: The storages of its other volumes.
        type: list
        elements: str
        default: []
      ostemplate:
        description: The template that it is made from, empty for a clone. It is needed where the container is missing.
        type: str
        default: ""
      anew:
        description: Whether it may be removed and made anew, so that its template is needed although it exists.
        type: bool
        default: false
      sources:
        description: The directories of the node that it mounts.
        type: list
        elements: str
        default: []
      gpus:
        description: The indices of its GPUs. On a node without a driver they are counted on the PCI bus.
        type: list
        elements: int
        default: []
seealso:
  - module: phoenix.hypervisor.lxc_container
  - module: phoenix.hypervisor.nvidia_preflight
"""

EXAMPLES = r"""
- name: See whether the node has what a container needs
  phoenix.hypervisor.fleet_preflight:
    containers:
      - ctid: 950
        name: vllmQwen3Coder
        storage: local-zfs
        ostemplate: local:vztmpl/ubuntu-24.04-standard_24.04-2_amd64.tar.zst
        sources: [/fastData/models]
        gpus: [0, 1]
"""

RETURN = r"""
problems:
  description: What the node does not have, and what to do about it.
  type: list
  elements: dict
  returned: always
  sample:
    - ctid: 960
      name: leaf
      reason: "gpu_assignment: 7 is no GPU of pve1, which has 0, 1"
      remedy: Correct it in phoenix_lxc_configs.json.
code:
  description: The kind of a failure. 1 is general, 2 invalid input.
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
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_preflight import Needs, check
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node

CONTAINER = {
    "ctid": {"type": "int", "required": True},
    "name": {"type": "str", "required": True},
    "storage": {"type": "str", "default": ""},
    "volume_storages": {"type": "list", "elements": "str", "default": []},
    "ostemplate": {"type": "str", "default": ""},
    "anew": {"type": "bool", "default": False},
    "sources": {"type": "list", "elements": "str", "default": []},
    "gpus": {"type": "list", "elements": "int", "default": []},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={"containers": {"type": "list", "elements": "dict", "required": True, "options": CONTAINER}},
        supports_check_mode=True,
    )
    with reporting(module.fail_json):
        result = check(Node(), [Needs(**container) for container in module.params["containers"]])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
