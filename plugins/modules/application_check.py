#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: application_check
short_description: Wait until an application in Docker runs, listens and is healthy
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Used by the role docker_application inside containers. It can have breaking changes at any time.
  - Waits until the Docker container runs and its TCP ports answer. Then runs the health check until it succeeds.
  - Changes nothing.
extends_documentation_fragment:
  - phoenix.hypervisor.attributes
attributes:
  check_mode:
    support: full
    details: Checks what runs.
  diff_mode:
    support: none
  idempotent:
    support: full
    details: Never reports a change.
  platform:
    platforms: linux
    support: full
    details: Runs where Docker is, mostly inside a container, as root.
options:
  name:
    description: The name of the Docker container.
    type: str
    required: true
  ports:
    description: The published ports, each as V(host:container), with V(/udp) for one that is not asked.
    type: list
    elements: str
    default: []
  command:
    description:
      - A command that succeeds when the application works. It runs beside Docker, not inside the Docker container, and
        without a shell. Write C(sh -c '…') for one that needs it.
    type: str
    default: ""
  retries:
    description: How many times the command is tried.
    type: int
    default: 3
  interval:
    description: How many seconds lie between two tries.
    type: int
    default: 5
  timeout:
    description: After how many seconds it has to run and its ports have to answer, and how long one try may take.
    type: int
    default: 60
  secrets:
    description: What must not show in the log or the output that a failure quotes.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Qdrant is healthy
  phoenix.hypervisor.application_check:
    name: qdrant
    ports: ["6333:6333"]
    command: curl -sf http://localhost:6333/healthz
    retries: 5
"""

RETURN = r"""
name:
  description: The name of the Docker container.
  type: str
  returned: success
image:
  description: The image that it runs.
  type: str
  returned: success
started:
  description: Since when it runs.
  type: str
  returned: success
tries:
  description: How many tries the command took, V(0) without one.
  type: int
  returned: success
state:
  description: What Docker says of the container.
  type: str
  returned: when the application failed
log_tail:
  description: The last lines of its log.
  type: list
  elements: str
  returned: when the application failed
output:
  description: What the command said at last.
  type: str
  returned: when the command failed
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
from ansible_collections.phoenix.hypervisor.plugins.module_utils._application import Application, ApplicationCheck
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import reporting


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "ports": {"type": "list", "elements": "str", "default": []},
            "command": {"type": "str", "default": ""},
            "retries": {"type": "int", "default": 3},
            "interval": {"type": "int", "default": 5},
            "timeout": {"type": "int", "default": 60},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    expected = {name: value for name, value in module.params.items() if name != "secrets"}
    with reporting(module.fail_json):
        result = ApplicationCheck(Application(**expected)).run()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
