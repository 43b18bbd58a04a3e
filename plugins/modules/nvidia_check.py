#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_check
short_description: Prove that the NVIDIA driver works on the node or in a container
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Compares the wanted version with the installed libraries, with the kernel module on disk, and with the one that is
    loaded. Finds packages of a second driver.
  - Sees that every assigned device is there, and that C(nvidia-smi) and CUDA both see exactly the assigned GPUs, by
    their UUIDs.
  - Takes memory on each GPU through CUDA. C(nvidia-smi) alone proves nothing; it lists GPUs where CUDA is dead.
  - Changes nothing.
extends_documentation_fragment:
  - phoenix.hypervisor.attributes
  - phoenix.hypervisor.attributes.info
attributes:
  platform:
    platforms: linux
    support: full
    details: Runs on the node or inside a container, as root.
options:
  version:
    description: The version that must be everywhere. This or O(url) is needed.
    type: str
  url:
    description: The runfile's address or path, from whose name the version is taken.
    type: str
  gpus:
    description:
      - The GPUs that must be seen, by the index of their device node (V(0) is C(/dev/nvidia0)).
      - V(all), V(none), a list of indices, or text such as V(0,1). With V(none), only the versions are compared.
    type: raw
    default: all
  cuda:
    description: The release, for example V(12.8), that C(/usr/local/cuda/bin/nvcc) must be of.
    type: str
  timeout:
    description: How many seconds everything may take.
    type: int
    default: 60
seealso:
  - module: phoenix.hypervisor.nvidia_runfile
  - module: phoenix.hypervisor.lxc_gpu_passthrough
"""

EXAMPLES = r"""
- name: Prove that both GPUs compute
  phoenix.hypervisor.nvidia_check:
    version: 580.159.04
    gpus: 0,1
    cuda: "12.8"
"""

RETURN = r"""
version:
  description: The version that is everywhere.
  type: str
  returned: success
  sample: 580.159.04
gpus:
  description: The GPUs that were used.
  type: list
  elements: dict
  returned: success
  sample:
    - index: 0
      name: NVIDIA H200
      uuid: GPU-058fc8ec-8f6c-585b-8c93-401baa844c6e
      bus_id: "0000:01:00.0"
nvcc:
  description: The release of the CUDA compiler.
  type: str
  returned: when O(cuda) is given
  sample: "12.8"
problems:
  description: Everything that is not as it should be.
  type: list
  elements: str
  returned: failure
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
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_proof import Proof, Request
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import run


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str"},
            "url": {"type": "str"},
            "gpus": {"type": "raw", "default": "all"},
            "cuda": {"type": "str"},
            "timeout": {"type": "int", "default": 60},
        },
        required_one_of=[("version", "url")],
        supports_check_mode=True,
    )
    node = Node()
    with reporting(module.fail_json):
        result = Proof(Request(**module.params), node, run, node.clock).run()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
