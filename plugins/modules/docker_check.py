#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_check
short_description: Verify that Docker works in a container, and sees exactly the assigned GPUs
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Used by the roles of this collection inside containers. It can have breaking changes at any time.
  - Checks the service, the storage driver and the runtimes. Then it runs an image of one tiny program that it makes
    itself, because an AppArmor profile or a runc that does not work in LXC shows only then.
  - With O(image), GPUs are counted by UUID in Docker containers instead, because the exit code of C(nvidia-smi) proves
    nothing. They have to be there after a C(systemctl daemon-reload) as well.
  - Leaves nothing behind. What Docker says is told apart, and the reason named.
extends_documentation_fragment:
  - phoenix.hypervisor.attributes
  - phoenix.hypervisor.attributes.info
attributes:
  check_mode:
    support: full
    details: Starts no container. What is wrong now is a warning, because the real run may be what corrects it.
  platform:
    platforms: debian
    support: full
options:
  nvidia:
    description: The nvidia runtime has to be listed.
    type: bool
    default: false
  image:
    description: An image with C(sleep), which lies there already, to look for GPUs in.
    type: str
    default: ""
  gpus:
    description:
      - The GPUs that the container was given, by the index of their device node (V(0) is C(/dev/nvidia0)).
      - V(all), V(none), a list of indices, or text such as V(0,1). V(all) is every GPU that the node's driver lists.
    type: raw
    default: none
"""

EXAMPLES = r"""
- name: Have both GPUs seen in Docker containers
  phoenix.hypervisor.docker_check:
    nvidia: true
    image: nvidia/cuda:12.8.0-base-ubuntu24.04
    gpus: [0, 1]
"""

RETURN = r"""
assigned:
  description: The indices of the assigned GPUs, each of which the node's driver lists.
  type: list
  elements: int
  returned: when Docker is installed
  sample: [0, 1]
version:
  description: The version of Docker Engine.
  type: str
  returned: when Docker is installed
  sample: 28.5.1
storage_driver:
  description: Docker's storage driver.
  type: str
  returned: when Docker is installed
  sample: overlay2
cgroup_driver:
  description: Docker's cgroup driver.
  type: str
  returned: when Docker is installed
  sample: cgroupfs
runtimes:
  description: The runtimes that Docker lists.
  type: list
  elements: str
  returned: when Docker is installed
gpus:
  description: The UUIDs of the GPUs that were seen.
  type: list
  elements: str
  returned: with O(image), not in check mode
nvidia_smi:
  description: What C(nvidia-smi) showed in a Docker container.
  type: str
  returned: with O(image), not in check mode
code:
  description: The kind of a failure. 4 is a verification that failed.
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
from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker_check import DockerCheck
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError, reporting


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "nvidia": {"type": "bool", "default": False},
            "image": {"type": "str", "default": ""},
            "gpus": {"type": "raw", "default": "none"},
        },
        supports_check_mode=True,
    )
    result = {}
    with reporting(module.fail_json):
        try:
            given = module.params
            check = DockerCheck(nvidia=given["nvidia"], image=given["image"], gpus=given["gpus"])
            result = check.read_if_installed() if module.check_mode else check.run()
        except PhoenixError as error:
            if not module.check_mode:
                raise
            # The real run may be what corrects it.
            module.warn(str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
