#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_inventory
short_description: Write the inventory of a fleet from its two JSON files
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Checks the two files that describe a fleet and writes the inventory that follows from them. That is C(hosts.yml), a
    file C(phoenix.yml) in the C(host_vars) of every node and container, and the same in C(group_vars).
  - Everything that is wrong is reported at once, and then nothing is written.
  - Only files that were generated are changed and removed. They are known by their first line. A container that has
    left the JSON loses its generated file, and its folder when nothing else is in it.
  - Runs on the controller. The playbook C(phoenix.hypervisor.inventory) does.
extends_documentation_fragment:
  - phoenix.hypervisor.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    platforms: posix
    support: full
    details: Runs where Ansible does, and reaches no node.
options:
  lxc_configs:
    description: The file that describes the containers, usually C(phoenix_lxc_configs.json).
    type: path
    required: true
  hypervisor_config:
    description: The file that describes the nodes, usually C(phoenix_hypervisor_config.json).
    type: path
    required: true
  schemas:
    description: The folder C(schemas) of this collection.
    type: path
    required: true
  destination:
    description:
      - The folder that the inventory is written to. It is made if it does not exist.
      - Where the JSON files lie inside it, their folder needs a name that Ansible does not look into for inventories,
        such as C(fleet.cfg).
    type: path
    required: true
seealso:
  - module: phoenix.hypervisor.lxc_container
"""

EXAMPLES = r"""
- name: Write the inventory of the fleet at home
  phoenix.hypervisor.fleet_inventory:
    lxc_configs: /srv/ansible/inventories/home/fleet.cfg/phoenix_lxc_configs.json
    hypervisor_config: /srv/ansible/inventories/home/fleet.cfg/phoenix_hypervisor_config.json
    schemas: /usr/share/ansible/collections/ansible_collections/phoenix/hypervisor/schemas
    destination: /srv/ansible/inventories/home
  delegate_to: localhost
"""

RETURN = r"""
written:
  description: The files that are new or changed, below O(destination). In check mode, those that would be.
  type: list
  elements: str
  returned: success
  sample: [host_vars/BaseTemplate/phoenix.yml, hosts.yml]
removed:
  description: The generated files that no node and no container has any more.
  type: list
  elements: str
  returned: success
  sample: [host_vars/OldApplication/phoenix.yml]
unchanged:
  description: How many files were right already.
  type: int
  returned: success
  sample: 10
problems:
  description: What is wrong with the two files.
  type: list
  elements: dict
  returned: when something is wrong with them
  sample:
    - file: phoenix_lxc_configs.json
      path: $.lxc_configs.903.memory_mb
      value: "2 GB"
      wrong: '"2 GB" stands where a whole number belongs'
      instead: Write a whole number, such as 2048.
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

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import reporting
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_files import load
from ansible_collections.phoenix.hypervisor.plugins.module_utils._inventory import inventory
from ansible_collections.phoenix.hypervisor.plugins.module_utils._inventory_files import apply, compare


def main() -> None:
    paths = ("lxc_configs", "hypervisor_config", "schemas", "destination")
    module = AnsibleModule(
        argument_spec={name: {"type": "path", "required": True} for name in paths},
        supports_check_mode=True,
    )
    lxc_configs, hypervisor_config, schemas, destination = (Path(module.params[name]) for name in paths)
    with reporting(module.fail_json):
        fleet, warnings = load(lxc_configs, hypervisor_config, schemas)
        sources = [os.path.relpath(path, destination) for path in (lxc_configs, hypervisor_config)]
        changes = compare(destination, inventory(fleet, sources))
        if not module.check_mode:
            apply(changes)
    for problem in warnings:
        module.warn(str(problem))
    module.exit_json(**changes.result(), diff=changes.diff())


if __name__ == "__main__":
    main()
