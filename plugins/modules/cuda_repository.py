#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cuda_repository
short_description: Have NVIDIA's CUDA repository exactly once in apt, and no driver from it
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Writes the repository as one file of sources with its key beside it, and sees that apt reads it.
  - Takes the same repository out of every other file of sources, be it a duplicate, one of another distribution,
    one with its key in another place, or half-written. Entries of other repositories keep their bytes.
  - Pins the packages of NVIDIA's driver so that apt never brings one beside the runfile's, and has the NVIDIA
    Container Toolkit come from its own repository only.
  - When apt cannot read the repository, everything is put back as it was.
extends_documentation_fragment:
  - phoenix.hypervisor.attributes
attributes:
  check_mode:
    support: full
    details: Asks the server for the key where it is not there, and does not ask apt.
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    platforms: debian
    support: full
    details: Runs on the node or inside a container, as root.
options:
  url:
    description:
      - The repository, for example
        V(https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64/).
      - Without it only the pins are written.
    type: str
  key_url:
    description:
      - Its public key. By default the file in the repository that NVIDIA has it in, C(8793F200.pub) for Debian 13,
        C(60DF8A40.pub) for Ubuntu 26.04, and C(3bf863cc.pub) for all before.
    type: str
  timeout:
    description: How many seconds everything may take, waiting for apt's lock included.
    type: int
    default: 300
seealso:
  - module: phoenix.hypervisor.apt_packages
  - module: phoenix.hypervisor.nvidia_runfile
"""

EXAMPLES = r"""
- name: Add the CUDA repository
  phoenix.hypervisor.cuda_repository:
    url: https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64/
"""

RETURN = r"""
files:
  description: The files that were written.
  type: list
  elements: str
  returned: success
  sample: ["/etc/apt/sources.list.d/nvidia-cuda.sources"]
removed:
  description: The files that were removed, because they had nothing but this repository in them.
  type: list
  elements: str
  returned: success
  sample: ["/etc/apt/sources.list.d/cuda-ubuntu2404-x86_64.list"]
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
from ansible_collections.phoenix.hypervisor.plugins.module_utils._cuda_repository import manager
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import reporting


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str"},
            "key_url": {"type": "str", "no_log": False},
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    with reporting(module.fail_json):
        result = manager(module.params, check_mode=module.check_mode).run()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
