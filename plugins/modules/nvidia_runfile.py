#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_runfile
short_description: Cache an NVIDIA driver runfile, and install it on the node or in a container
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Downloads NVIDIA's C(.run) installer once per node, verifies it, and installs exactly that version on the node with
    its kernel module (by DKMS), or in a running container without one.
  - The version is derived from the file name and compared with the file's own header, without executing it.
  - The installer's exit code proves nothing. The libraries, the programs, the state of DKMS for the kernels that run
    now and boot next, and the module on disk are read again afterwards.
  - What would fail half-way is refused before anything is written, for example a driver that does not build on a
    kernel, missing headers, nouveau in use, Secure Boot without an enrolled key, or packages whose removal would take
    others along.
  - The node is never rebooted. RV(reboot_required) says when it has to be.
extends_documentation_fragment:
  - phoenix.hypervisor.attributes
  - phoenix.hypervisor.attributes.on_node
attributes:
  check_mode:
    support: full
    details: Asks the server for a published checksum where it needs one, and downloads nothing else.
  diff_mode:
    support: full
  idempotent:
    support: full
    details: A run that finds everything right only reads files. It neither downloads nor hashes the runfile again.
options:
  state:
    description:
      - V(cached) has the verified runfile lie in O(cache_dir).
      - V(installed) has its version installed. The runfile is only fetched when there is something to install.
      - V(absent) runs C(nvidia-uninstall) where a runfile was installed. The cached runfile stays, and so do packages
        of the distribution.
    type: str
    choices: [cached, installed, absent]
    default: installed
  url:
    description: Where to download the runfile. NVIDIA's own file name tells the version.
    type: str
  path:
    description:
      - A runfile that lies on the node already. It is used where it lies and never changed.
      - Mutually exclusive with O(url). One of the two is needed unless O(state=absent).
    type: path
  checksum:
    description:
      - Either C(sha256:) and the sum, or the URL of a C(.sha256sum) file that lists it.
      - Without it, and with a URL below C(XFree86/) on C(download.nvidia.com), NVIDIA's list beside the file is used.
        Where there is none, the result warns that nothing was verified but the file's header.
      - A verified sum is noted beside the file together with its size and time, and only taken again when these differ.
    type: str
  version:
    description:
      - The version that the runfile must be. Only needed when its name does not tell.
      - A version that disagrees with the name is an error.
    type: str
  cache_dir:
    description: The directory on the node where runfiles are kept.
    type: path
    default: /usr/local/phoenix_hypervisor/cache
  ctid:
    description:
      - Install in this running container, without a kernel module. Its version must be that of the module that the node
        has loaded.
      - Without it the driver is installed on the node.
    type: int
  kernel_module_type:
    description:
      - Which kernel module is built on the node. V(auto) is V(open) from Turing on, and V(proprietary) where an older
        GPU needs it.
      - Blackwell requires V(open).
    type: str
    choices: [auto, open, proprietary]
    default: auto
  purge_packages:
    description:
      - Purge the distribution's driver packages, whose files would clash with the runfile's. Never touches
        C(libnvidia-container*) and C(nvidia-container-*), and refuses when other packages would go along.
      - With V(false) such packages are an error if there is something to install, else a warning.
    type: bool
    default: true
  extra_args:
    description:
      - Further arguments for the installer, for example V(--no-drm) or V(--install-libglvnd).
      - An argument that repeats or contradicts one that the module passes itself is an error.
    type: list
    elements: str
    default: []
  timeout:
    description: How many seconds everything may take, download and compiler included.
    type: int
    default: 1800
seealso:
  - module: phoenix.hypervisor.lxc_gpu_passthrough
"""

EXAMPLES = r"""
- name: The driver on the node
  phoenix.hypervisor.nvidia_runfile:
    url: https://us.download.nvidia.com/XFree86/Linux-x86_64/580.159.04/NVIDIA-Linux-x86_64-580.159.04.run
  register: driver

- name: Say so when the node must be rebooted
  ansible.builtin.debug:
    msg: "Reboot the node: {{ driver.loaded.after }} is loaded, {{ driver.installed.after }} is installed."
  when: driver.reboot_required

- name: The same driver's libraries in a layer, from the same cached file
  phoenix.hypervisor.nvidia_runfile:
    ctid: 901
    url: https://us.download.nvidia.com/XFree86/Linux-x86_64/580.159.04/NVIDIA-Linux-x86_64-580.159.04.run

- name: Only fetch it, and verify it against a sum of our own
  phoenix.hypervisor.nvidia_runfile:
    state: cached
    url: https://mirror.example.com/nvidia/NVIDIA-Linux-x86_64-580.159.04.run
    checksum: "sha256:{{ nvidia_runfile_sha256 }}"
"""

RETURN = r"""
version:
  description: The version of the runfile.
  type: str
  returned: when O(state) is V(cached) or V(installed)
  sample: 580.159.04
path:
  description: The runfile on the node. V(null) when it was not needed and is not there.
  type: str
  returned: when O(state) is V(cached) or V(installed)
  sample: /usr/local/phoenix_hypervisor/cache/NVIDIA-Linux-x86_64-580.159.04.run
sha256:
  description: Its sum. V(null) when it is not known without reading the whole file, which was not needed.
  type: str
  returned: when O(state) is V(cached) or V(installed)
installed:
  description: The version whose libraries programs load on the target, before and after. V(null) is none.
  type: dict
  returned: when O(state) is V(installed) or V(absent)
  sample: {"before": null, "after": "580.159.04"}
loaded:
  description: The version of the module in the node's kernel, before and after.
  type: dict
  returned: when O(state) is V(installed) or V(absent)
  sample: {"before": "580.82.07", "after": "580.82.07"}
reboot_required:
  description:
    - The module in the node's kernel is not the one on disk, or nouveau drives a GPU. Always V(false) with O(ctid).
  type: bool
  returned: when O(state) is V(installed) or V(absent)
problems:
  description: What was not as it should be before.
  type: list
  elements: str
  returned: when O(state=installed)
  sample: ["libcuda.so.1 is 580.82.07"]
purged:
  description: The distribution's packages that were purged.
  type: list
  elements: str
  returned: when O(state=installed)
commands:
  description: The commands that were run and change something, on the node or in the container.
  type: list
  elements: str
  returned: when O(state) is V(installed) or V(absent)
log_tail:
  description: The last lines of the installer's log.
  type: list
  elements: str
  returned: when a command failed
code:
  description: The kind of a failure. 1 is general, 2 invalid input, 3 no such container, 4 verification, 6 not running.
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
from ansible_collections.phoenix.hypervisor.plugins.module_utils._download import DEFAULT_DIRECTORY
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import reporting
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node
from ansible_collections.phoenix.hypervisor.plugins.module_utils._pct import Pct
from ansible_collections.phoenix.hypervisor.plugins.module_utils._runfile import Request, Runfile


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["cached", "installed", "absent"], "default": "installed"},
            "url": {"type": "str"},
            "path": {"type": "path"},
            "checksum": {"type": "str"},
            "version": {"type": "str"},
            "cache_dir": {"type": "path", "default": DEFAULT_DIRECTORY},
            "ctid": {"type": "int"},
            "kernel_module_type": {"type": "str", "choices": ["auto", "open", "proprietary"], "default": "auto"},
            "purge_packages": {"type": "bool", "default": True},
            "extra_args": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 1800},
        },
        mutually_exclusive=[("url", "path")],
        required_if=[("state", "cached", ("url", "path"), True), ("state", "installed", ("url", "path"), True)],
        supports_check_mode=True,
    )
    node = Node()
    with reporting(module.fail_json):
        result = Runfile(Request(**module.params), node, Pct(node), check_mode=module.check_mode).run()
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
