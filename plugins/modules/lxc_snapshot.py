#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lxc_snapshot
short_description: Take, remove or go back to a snapshot of a container
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Manages one snapshot of a container by its exact name.
  - A snapshot can carry metadata beside its description, such as the fingerprint of what a layer was made from.
  - What Proxmox VE would refuse is found before anything is changed. When something fails after the container was
    shut down, it is brought back to the power state that it had, and the failure says so.
extends_documentation_fragment:
  - phoenix.hypervisor.attributes
  - phoenix.hypervisor.attributes.node_or_api
  - phoenix.hypervisor.api
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: With O(state=rolled_back) and with O(replace=true) every run does what it is asked for.
options:
  ctid:
    description: The container.
    type: int
    required: true
  name:
    description: The snapshot's name, 2 to 40 letters, digits, C(_) and C(-), with a letter first.
    type: str
    required: true
  state:
    description:
      - V(present) takes the snapshot if there is none of that name.
      - V(absent) deletes it.
      - V(rolled_back) puts the container back to it. Everything since then is lost. A running container is shut down
        before and started again after.
    type: str
    choices: [present, absent, rolled_back]
    default: present
  description:
    description: A text for people. The list of snapshots shows its first line.
    type: str
    default: ""
  metadata:
    description:
      - Data that is kept in the snapshot's description, and comes back as a dictionary from here and from
        M(phoenix.hypervisor.layer_info).
      - A snapshot of the same name with other metadata is an error unless O(replace=true). Without this option whatever
        is there is accepted.
    type: dict
  power:
    description:
      - V(cycle) shuts a running container down, takes the snapshot, and starts it again, so that nothing is caught
        half-written.
      - V(keep) takes the snapshot of the container as it is.
    type: str
    choices: [keep, cycle]
    default: keep
  replace:
    description: Delete a snapshot of that name and take it anew.
    type: bool
    default: false
  timeout:
    description: How many seconds to wait for each of a lock, the shutdown, the snapshot and the start.
    type: int
    default: 300
seealso:
  - module: phoenix.hypervisor.layer_info
  - module: phoenix.hypervisor.lxc_container
"""

EXAMPLES = r"""
- name: Seal the base layer
  phoenix.hypervisor.lxc_snapshot:
    ctid: 900
    name: base-snapshot
    description: Ubuntu 24.04 with the base set-up
    metadata:
      fingerprint: 4f6a1c22d09be731
      parent: ""
    power: cycle

- name: Seal it anew after its role ran again
  phoenix.hypervisor.lxc_snapshot:
    ctid: 903
    name: docker-gpu-snapshot
    power: cycle
    replace: true

- name: Go back, from an ops workstation with an API token
  phoenix.hypervisor.lxc_snapshot:
    ctid: 950
    name: before-upgrade
    state: rolled_back
    api_host: pve1.example.com
    api_user: automation@pve
    api_token_id: ansible
    api_token_secret: "{{ vault_pve_token }}"
    node: pve1
  delegate_to: localhost
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode.
  type: list
  elements: str
  returned: success
  sample: ["shut down", "took base-snapshot", "started"]
ctid:
  description: The container's id.
  type: int
  returned: success
  sample: 900
name:
  description: The snapshot's name.
  type: str
  returned: success
  sample: base-snapshot
snapshot:
  description: The snapshot as it is now, V(none) when there is none of that name.
  type: dict
  returned: success
  sample:
    name: base-snapshot
    description: Ubuntu 24.04 with the base set-up
    metadata: {"fingerprint": "4f6a1c22d09be731", "parent": ""}
    parent: ""
    time: 1795164487
    state: ""
snapshots:
  description: All snapshots of the container.
  type: list
  elements: dict
  returned: success
running:
  description: Whether the container runs.
  type: bool
  returned: success
code:
  description: >-
    The kind of a failure. 1 is general, 2 invalid input, 3 no such container, 5 snapshot, 6 shutdown or start.
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
from ansible_collections.phoenix.hypervisor.plugins.module_utils._arguments import API_ARGUMENTS
from ansible_collections.phoenix.hypervisor.plugins.module_utils._backend import choose
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import reporting
from ansible_collections.phoenix.hypervisor.plugins.module_utils._snapshots import Request, Snapshots

ARGUMENTS = {
    "ctid": {"type": "int", "required": True},
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent", "rolled_back"], "default": "present"},
    "description": {"type": "str", "default": ""},
    "metadata": {"type": "dict"},
    "power": {"type": "str", "choices": ["keep", "cycle"], "default": "keep"},
    "replace": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 300},
}


def main() -> None:
    module = AnsibleModule(argument_spec={**ARGUMENTS, **API_ARGUMENTS}, supports_check_mode=True)
    request = Request(**{name: module.params[name] for name in ARGUMENTS})
    with reporting(module.fail_json):
        guests, _node = choose(module.params)
        result = Snapshots(guests, request, check_mode=module.check_mode).run()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
