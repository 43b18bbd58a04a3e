#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lxc_firewall
short_description: The Proxmox VE firewall of a container
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Brings C(/etc/pve/firewall/CTID.fw) to the rules that are asked for. The firewall of the node takes the file up by
    itself within seconds.
  - Owns the option C(enable), and the rules whose comment begins with C(phoenix:), which it writes there itself. Such a
    rule that is not asked for any more is removed, also one that came along from the layer the container was cloned
    from. Rules made in the web interface, other options, aliases, IP sets and comments stay as they are.
  - The first rule that fits decides. New rules of this module come before all others, as Proxmox VE itself places a new
    rule. Somebody who moves them in the web interface is respected; what is added later goes where the first of them
    stands.
  - A rule that Proxmox VE would leave out without a word, for example with an alias that does not exist, is refused.
  - Warns when it changes rules that have no effect, because the firewall of the datacenter is off or no network
    interface of the container has C(firewall=1). A run that changes nothing says nothing.
  - The file is removed by Proxmox VE together with the container.
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
  enabled:
    description:
      - Whether the container's firewall is on. When it is, Proxmox VE drops incoming packets that no rule accepts,
        unless the option C(policy_in) says something else.
    type: bool
    required: true
  rules:
    description: The rules, in their order.
    type: list
    elements: dict
    default: []
    suboptions:
      type:
        description: The direction, V(in) or V(out).
        type: str
        required: true
      action:
        description: What happens to the packets, V(ACCEPT), V(DROP) or V(REJECT).
        type: str
        required: true
      source:
        description:
          - Where they come from. An address, a network, a range (V(10.0.0.10-10.0.0.20)), a list of addresses, an
            alias, or an IP set (V(+office)).
        type: str
      dest:
        description: Where they go, in the same way.
        type: str
      proto:
        description: The protocol by its name or number in C(/etc/protocols).
        type: str
      port:
        description:
          - The port they go to, several ports (V(6333,6334)), or a range (V(8000:8010)). Needs O(rules[].proto).
        type: str
      comment:
        description: Why the rule is there, in one line.
        type: str
seealso:
  - module: phoenix.hypervisor.lxc_container
"""

EXAMPLES = r"""
- name: Qdrant is for the LAN
  phoenix.hypervisor.lxc_firewall:
    ctid: 952
    enabled: true
    rules:
      - type: in
        action: ACCEPT
        source: 10.0.0.0/24
        proto: tcp
        port: 6333,6334
        comment: Qdrant, HTTP and gRPC

- name: Take the rules back, and switch the firewall off
  phoenix.hypervisor.lxc_firewall:
    ctid: 952
    enabled: false
"""

RETURN = r"""
ctid:
  description: The container.
  type: int
  returned: success
  sample: 952
enabled:
  description: Whether its firewall is on.
  type: bool
  returned: success
rules:
  description: The rules of this module, as they stand in the file.
  type: list
  elements: str
  returned: success
  sample: ["IN ACCEPT -source 10.0.0.0/24 -p tcp -dport 6333,6334 # phoenix: Qdrant, HTTP and gRPC"]
reason:
  description: What is wrong.
  type: str
  returned: failure
code:
  description: The kind of a failure. 1 is general, 2 invalid input, 3 no such container.
  type: int
  returned: failure
remedy:
  description: What to do about a failure.
  type: str
  returned: failure
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.phoenix.hypervisor.plugins.module_utils._container_firewall import ContainerFirewall
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import reporting
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node


def main() -> None:
    text = {"type": "str"}
    required = {"type": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "ctid": {"type": "int", "required": True},
            "enabled": {"type": "bool", "required": True},
            "rules": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "type": required,
                    "action": required,
                    "source": text,
                    "dest": text,
                    "proto": text,
                    "port": text,
                    "comment": text,
                },
            },
        },
        supports_check_mode=True,
    )
    parameters = module.params
    firewall = ContainerFirewall(
        Node(),
        parameters["ctid"],
        enabled=parameters["enabled"],
        rules=parameters["rules"],
        check_mode=module.check_mode,
    )
    with reporting(module.fail_json):
        result = firewall.run()
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
