#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: layer_decision
short_description: Decide what there is to do for a container of the hierarchy
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Tells in one read whether a container exists, whether its layer is prepared, and whether what is prepared is still
    what the configuration asks for.
  - A layer is prepared when its snapshot exists. It is stale when the fingerprint in the snapshot is not that of
    O(recipe) and of the parent's snapshot. A snapshot without a fingerprint is never stale, and as long as the parent
    is not sealed, only O(recipe) counts.
  - A snapshot that is incomplete because a task on it was cut short (C(snapstate)) seals no parent. That of the layer
    itself is a failure, which says how to get rid of it.
  - Nothing is changed, and no C(pct) is started.
extends_documentation_fragment:
  - phoenix.hypervisor.attributes
  - phoenix.hypervisor.attributes.on_node
  - phoenix.hypervisor.attributes.info
options:
  ctid:
    description: The container.
    type: int
    required: true
  snapshot:
    description: The snapshot that the layer is sealed with. Empty for an application.
    type: str
    default: ""
  recipe:
    description: Everything that decides what the layer contains.
    type: dict
    default: {}
  parent:
    description: The layer that the container is cloned from.
    type: dict
    suboptions:
      ctid:
        description: Its id.
        type: int
        required: true
      name:
        description: Its name, for messages.
        type: str
        default: ""
      snapshot:
        description: The snapshot it is sealed with.
        type: str
        required: true
      expected:
        description: Whether it is going to be built before this container, so that it may be missing now.
        type: bool
        default: false
seealso:
  - module: phoenix.hypervisor.layer_info
  - module: phoenix.hypervisor.lxc_snapshot
"""

EXAMPLES = r"""
- name: Decide what there is to do
  phoenix.hypervisor.layer_decision:
    ctid: 902
    snapshot: docker-snapshot
    recipe: {features: [base_setup, docker]}
    parent: {ctid: 900, name: BaseTemplate, snapshot: base-snapshot}
  delegate_to: pve1
  register: decision
"""

RETURN = r"""
exists:
  description: Whether the container exists on this node.
  type: bool
  returned: success
  sample: true
running:
  description: Whether it runs.
  type: bool
  returned: success
  sample: true
prepared:
  description: Whether its snapshot exists.
  type: bool
  returned: success
  sample: true
stale:
  description: Why a prepared layer is not what the configuration asks for; empty when it is.
  type: str
  returned: success
  sample: its parent was sealed anew since
parent_sealed:
  description: Whether the parent has the snapshot to clone from; V(true) without a parent.
  type: bool
  returned: success
  sample: true
metadata:
  description: What such a layer's snapshot carries, for the option C(metadata) of M(phoenix.hypervisor.lxc_snapshot).
  type: dict
  returned: success
  sample: {"fingerprint": "4f6a1c22d09be731", "parent": "9b1c03ddcf8a6e52"}
code:
  description: The kind of a failure. 3 is a missing parent, 5 is a parent that is not sealed or an incomplete snapshot.
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

import dataclasses

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.phoenix.hypervisor.plugins.module_utils._decision import Parent, check_parent, decide
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import reporting
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import check_ctid, check_snapshot_name
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node

PARENT = {
    "ctid": {"type": "int", "required": True},
    "name": {"type": "str", "default": ""},
    "snapshot": {"type": "str", "required": True},
    "expected": {"type": "bool", "default": False},
}


def run(module: AnsibleModule, node: Node) -> dict[str, object]:
    ctid, snapshot, options = module.params["ctid"], module.params["snapshot"], module.params["parent"]
    check_ctid(ctid)
    if snapshot:
        check_snapshot_name(snapshot, "snapshot")
    node.check_is_pve()
    guest = node.guest(ctid)
    parent = source = None
    if options:
        parent = Parent(options["ctid"], options["name"], options["snapshot"])
        source = node.guest(parent.ctid)
        if guest is None:
            check_parent(parent, source, expected=options["expected"])
    decision = decide(guest, snapshot, module.params["recipe"], parent, source)
    return {"changed": False, **dataclasses.asdict(decision)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "ctid": {"type": "int", "required": True},
            "snapshot": {"type": "str", "default": ""},
            "recipe": {"type": "dict", "default": {}},
            "parent": {"type": "dict", "options": PARENT},
        },
        supports_check_mode=True,
    )
    with reporting(module.fail_json):
        module.exit_json(**run(module, Node()))


if __name__ == "__main__":
    main()
