#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_config
short_description: Merge settings into Docker's daemon.json, and set the NVIDIA Container Toolkit up
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Used by the roles of this collection inside containers. It can have breaking changes at any time.
  - What others wrote into C(daemon.json) stays. A file that is no JSON is refused with the position of the error, and
    C(dockerd) is asked whether it accepts the result before anything is written.
  - Restarts nothing. The result says what has to be restarted, judged by what runs.
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
    platforms: debian
    support: full
options:
  settings:
    description:
      - What is merged in. Objects are merged, lists are extended, other values are replaced.
      - C(max-size) and C(max-file) of C(log-opts) are for the log drivers V(json-file) and V(local). They are left out
        where the file names another one, and removed when another one is merged in.
    type: dict
    default: {}
  nvidia:
    description:
      - Register the C(nvidia) runtime, but not as the default one, and switch CDI on.
      - The cgroup driver is C(cgroupfs) unless the file names another one, so that GPUs survive a daemon-reload.
      - In an unprivileged container the toolkit leaves cgroups alone (C(no-cgroups)), in a privileged one it must not.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Have Docker rotate its logs, and know the nvidia runtime
  phoenix.hypervisor.docker_config:
    settings:
      log-opts: {max-size: 10m, max-file: "3"}
    nvidia: true
"""

RETURN = r"""
unprivileged:
  description: Whether the container is unprivileged.
  type: bool
  returned: success
restart_required:
  description: Whether C(dockerd) does not run with what the file says now.
  type: bool
  returned: success
cdi_stale:
  description: Whether the CDI specification names other GPUs, or another driver, than there are.
  type: bool
  returned: success
code:
  description: The kind of a failure. 2 is invalid input.
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
from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker_config import DockerConfig
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import reporting


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "default": {}},
            "nvidia": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    with reporting(module.fail_json):
        result = DockerConfig(parameters["settings"], nvidia=parameters["nvidia"], check_mode=module.check_mode).run()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
