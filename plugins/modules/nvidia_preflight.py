#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_preflight
short_description: Find out whether an NVIDIA driver can come onto this node, before anything is changed
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Fails on a node of an older Proxmox VE, without an NVIDIA GPU, with a GPU that is bound to vfio-pci, with the
    driver's modules blacklisted, or with a kernel that the driver is known not to build for.
  - Tells what is installed and loaded, which packages have the headers of the running kernel, and which guests run.
extends_documentation_fragment:
  - phoenix.hypervisor.attributes
  - phoenix.hypervisor.attributes.info
  - phoenix.hypervisor.attributes.on_node
options:
  url:
    description: The runfile's address or path, from whose name the version is taken.
    type: str
    required: true
  version:
    description: The version, where the name does not tell.
    type: str
  kernel_module_type:
    description: As in M(phoenix.hypervisor.nvidia_runfile).
    type: str
    choices: [auto, open, proprietary]
    default: auto
  headers_follow:
    description:
      - Whether the packages in RV(headers) are installed after this, so that there is no need to warn of a kernel whose
        headers come with them.
    type: bool
    default: false
seealso:
  - module: phoenix.hypervisor.nvidia_runfile
"""

EXAMPLES = r"""
- name: See whether the driver can be installed
  phoenix.hypervisor.nvidia_preflight:
    url: https://us.download.nvidia.com/XFree86/Linux-x86_64/580.159.04/NVIDIA-Linux-x86_64-580.159.04.run
"""

RETURN = r"""
version:
  description: The version of the runfile.
  type: str
  returned: success
  sample: 580.159.04
kernel:
  description: The running kernel.
  type: str
  returned: success
  sample: 6.14.11-4-pve
headers:
  description: The packages with the headers of the running kernel, and of those that the node will get.
  type: list
  elements: str
  returned: success
  sample: ["proxmox-headers-6.14.11-4-pve", "proxmox-default-headers"]
installed:
  description: The version whose libraries programs load. V(null) is none.
  type: str
  returned: success
loaded:
  description: The version of the module in the kernel. V(null) is none.
  type: str
  returned: success
nouveau:
  description: Whether nouveau drives a GPU.
  type: bool
  returned: success
reboot_required:
  description: Whether what runs is not what is installed.
  type: bool
  returned: success
problems:
  description: Why the installer would have to run.
  type: list
  elements: str
  returned: success
running_containers:
  description: The ids of the containers that run.
  type: list
  elements: int
  returned: success
  sample: [950]
running_guests:
  description: The containers and virtual machines that run.
  type: list
  elements: str
  returned: success
  sample: ["container 950 (vllmQwen3Coder)"]
code:
  description: The kind of a failure. 1 is general, 2 invalid input, 4 verification.
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
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_node import NodeCheck, Request
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import run


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "version": {"type": "str"},
            "kernel_module_type": {"type": "str", "choices": ["auto", "open", "proprietary"], "default": "auto"},
            "headers_follow": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    with reporting(module.fail_json):
        result = NodeCheck(Request(**module.params), Node(), run).run()
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
