# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options of the second way to act on containers: through the REST API, with a token, from any machine."""

    DOCUMENTATION = r"""
options:
  api_host:
    description:
      - The name or address of a Proxmox VE node. When it is set, the task acts through the REST API of that node and
        can run on any machine; without it the task has to run on the node itself, as root.
      - No API token, not even one of V(root@pam), can set or remove device passthrough, raw C(lxc.*) lines, feature
        flags other than C(nesting), bind mounts or the hook script. Such a request is refused before anything is tried.
      - If the value is not given, the environment variable E(PROXMOX_HOST) is used.
    type: str
  api_port:
    description:
      - The port of the REST API.
    type: int
    default: 8006
  api_user:
    description:
      - The user that the token belongs to, with its realm, like V(root@pam).
      - If the value is not given, the environment variable E(PROXMOX_USER) is used.
    type: str
  api_token_id:
    description:
      - The token's own name, which is what follows the C(!) in V(root@pam!ansible).
      - If the value is not given, the environment variable E(PROXMOX_TOKEN_ID) is used.
    type: str
  api_token_secret:
    description:
      - The token's secret, which Proxmox VE shows once, when the token is made.
      - If the value is not given, the environment variable E(PROXMOX_TOKEN_SECRET) is used.
    type: str
  validate_certs:
    description:
      - Whether the certificate of O(api_host) has to be valid. Set it to V(false) in a laboratory only.
    type: bool
    default: true
  ca_path:
    description:
      - The certificate of the authority that signed the certificate of O(api_host). On a node that is
        C(/etc/pve/pve-root-ca.pem). Without it the authorities that the machine trusts are asked.
    type: path
  node:
    description:
      - The name that Proxmox VE itself uses for the node whose containers are meant; it is required with O(api_host).
        It does not have to be the node that O(api_host) leads to.
    type: str
requirements:
  - proxmoxer and requests, on the machine where the task runs, when O(api_host) is set
"""
