#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_packages
short_description: Install packages, hold those that must not move, and never bring a second driver
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Used by the roles of this collection, in containers and on nodes. It can have breaking changes at any time.
  - Every installation is simulated first, and refused when it would bring a package of an NVIDIA driver or remove one.
  - Packages that belong together get one version, which is resolved once and held from then on.
  - When nothing is missing only C(dpkg-query) runs, so no network is needed.
  - A repository that refuses this machine, such as Proxmox's enterprise repository without a subscription, is a warning
    as long as the other repositories have what is needed. Any other trouble with the package lists is a failure.
  - Needs no python3-apt, and check mode works before the package lists are there.
extends_documentation_fragment:
  - phoenix.hypervisor.attributes
attributes:
  check_mode:
    support: full
    details: Does not update the package lists. A version that only they could tell is predicted as C(newest).
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    platforms: debian
    support: full
options:
  present:
    description: Names of packages that have to be installed, in any version.
    type: list
    elements: str
    default: []
  held:
    description: Groups of packages that have to be installed in one version and are held at it.
    type: list
    elements: dict
    default: []
    suboptions:
      packages:
        description: The names. All of them get the same version.
        type: list
        elements: str
        required: true
      version:
        description:
          - The version or its beginning, for example V(28.5.1) for C(5:28.5.1-1~ubuntu.24.04~noble).
          - Without it, what is installed stays, and otherwise the newest is taken.
        type: str
        default: ""
      origin:
        description: The host of the repository that they must come from.
        type: str
        default: ""
  removable:
    description: Packages that may be removed in favour of what is installed. Anything else is refused.
    type: list
    elements: str
    default: []
  timeout:
    description: How many seconds everything may take, waiting for the locks included.
    type: int
    default: 1800
"""

EXAMPLES = r"""
- name: Install Docker Engine at one version and keep it
  phoenix.hypervisor.apt_packages:
    held:
      - packages: [docker-ce, docker-ce-cli]
        version: "28.5.1"
        origin: download.docker.com
"""

RETURN = r"""
packages:
  description: The versions of those of the named packages that are installed.
  type: dict
  returned: success
  sample: {"jq": "1.7.1-3build1"}
commands:
  description: The commands that were run and change something.
  type: list
  elements: str
  returned: success
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

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import reporting
from ansible_collections.phoenix.hypervisor.plugins.module_utils._package_groups import Group, PackageGroups


def main() -> None:
    group = {
        "packages": {"type": "list", "elements": "str", "required": True},
        "version": {"type": "str", "default": ""},
        "origin": {"type": "str", "default": ""},
    }
    module = AnsibleModule(
        argument_spec={
            "present": {"type": "list", "elements": "str", "default": []},
            "held": {"type": "list", "elements": "dict", "default": [], "options": group},
            "removable": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 1800},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    with reporting(module.fail_json):
        result = PackageGroups(
            parameters["present"],
            [Group.of(each) for each in parameters["held"]],
            removable=parameters["removable"],
            timeout=parameters["timeout"],
            check_mode=module.check_mode,
            warn=module.warn,
        ).run()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
