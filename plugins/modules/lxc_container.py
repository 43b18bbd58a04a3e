#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lxc_container
short_description: Create, clone, configure, switch and remove containers
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Brings one LXC container of a Proxmox VE node to the state that is asked for.
  - Everything is set before the first start. A clone never runs with the address, MAC address, GPUs or memory of the
    container it was cloned from.
  - Options that are not given stay as they are. Settings that Proxmox VE parks until the next start are reported as
    RV(restart_required), and applied only by O(state=restarted).
  - A container that an interrupted run of this module left half-made is recognised, and finished or made anew.
    Somebody else's is reported and left alone.
extends_documentation_fragment:
  - phoenix.hypervisor.attributes
  - phoenix.hypervisor.attributes.node_or_api
  - phoenix.hypervisor.api
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: With O(state=restarted) every run restarts the container.
options:
  ctid:
    description: The container's id, from 100 on.
    type: int
    required: true
  state:
    description:
      - V(present) makes and configures the container and leaves its power alone.
      - V(stopped) and V(absent) shut it down cleanly. V(absent) then destroys it with all its volumes and snapshots.
    type: str
    choices: [present, started, stopped, restarted, absent]
    default: present
  ostemplate:
    description: The template that a missing container is made from, as C(STORAGE:vztmpl/FILE) or as a path.
    type: str
  ssh_public_keys:
    description:
      - Who may log in as root over ssh, as lines of an C(authorized_keys) file. They are put into a container that is
        made from O(ostemplate); a clone has those of its source.
    type: list
    elements: str
  clone:
    description: The container that a missing container is cloned from.
    type: dict
    suboptions:
      from:
        description: The source's id.
        type: int
        required: true
      snapshot:
        description: The source's snapshot, which a running source needs. Without it the source is copied as it is now.
        type: str
      method:
        description:
          - V(full) copies every file. V(linked) shares the volumes of a PVE template. V(auto) is V(linked) for a PVE
            template, else V(full).
          - V(cow) is reserved for copy-on-write clones from snapshots and refused in this version.
        type: str
        choices: [auto, full, linked, cow]
        default: auto
      storage:
        description: The storage for the copy, by default the source's own.
        type: str
  hostname:
    description: The host name, which is also the name that Proxmox VE shows.
    type: str
  cores:
    description: The number of CPU cores.
    type: int
  memory_mb:
    description: The memory in MiB.
    type: int
  swap_mb:
    description: The swap space in MiB.
    type: int
  rootfs:
    description: The root file system.
    type: dict
    suboptions:
      storage:
        description: The storage, needed for O(ostemplate).
        type: str
      size_gb:
        description: The size in GiB. It grows and never shrinks.
        type: int
  networks:
    description:
      - All network interfaces. One that is not listed is removed, and a property that is not given is reset, except for
        the MAC address.
    type: list
    elements: dict
    suboptions:
      name:
        description: The interface's name inside.
        type: str
        required: true
      bridge:
        description: The bridge on the node.
        type: str
      ip:
        description: V(dhcp), V(manual), or an address with its prefix, such as V(10.0.0.201/24).
        type: str
      gw:
        description: The gateway.
        type: str
      ip6:
        description: V(dhcp), V(auto), V(manual), or an IPv6 address with its prefix.
        type: str
      gw6:
        description: The IPv6 gateway.
        type: str
      hwaddr:
        description: The MAC address. By default it is the one it has, or for a new interface one that PVE makes up.
        type: str
      firewall:
        description: Whether PVE's firewall filters the interface.
        type: bool
      tag:
        description: The VLAN id.
        type: int
      mtu:
        description: The largest packet.
        type: int
      rate:
        description: The speed limit in MB/s.
        type: float
      link_down:
        description: Whether the interface is unplugged.
        type: bool
  features:
    description: All feature flags as one value. A flag of this list that is not asked for is taken away.
    type: dict
    suboptions:
      nesting:
        description: Containers inside, which Docker and recent systemd need.
        type: bool
      keyctl:
        description: The keyctl system call, for Docker in unprivileged containers.
        type: bool
      fuse:
        description: FUSE file systems. Snapshots of a running container may then hang.
        type: bool
      mknod:
        description: Device nodes in unprivileged containers.
        type: bool
      force_rw_sys:
        description: A writable /sys in unprivileged containers.
        type: bool
      mount:
        description: The file system types that may be mounted.
        type: list
        elements: str
  unprivileged:
    description:
      - Whether root inside is an ordinary user on the node. Proxmox VE never changes that later, and a clone has what
        its source has. For a new container the default is V(true).
    type: bool
  onboot:
    description: Whether the container starts with the node.
    type: bool
  startup:
    description: When it starts and stops with the node, such as V(order=3,up=5).
    type: str
  tags:
    description: The tags.
    type: list
    elements: str
  nameserver:
    description: The name servers, by default the node's.
    type: list
    elements: str
  searchdomain:
    description: The search domains, by default the node's.
    type: list
    elements: str
  description:
    description: The notes that Proxmox VE shows.
    type: str
  mounts:
    description: Volumes and directories to mount. What is mounted already and not listed stays.
    type: list
    elements: dict
    suboptions:
      path:
        description: Where it is mounted inside.
        type: str
        required: true
      source:
        description: A directory of the node. A container with one can be neither snapshotted nor cloned.
        type: str
      storage:
        description: The storage of a volume.
        type: str
      size_gb:
        description: The size of a volume in GiB. It grows and never shrinks.
        type: int
      read_only:
        description: Whether it is mounted read-only.
        type: bool
      backup:
        description: Whether backups include the volume.
        type: bool
  wait:
    description:
      - What V(started) and V(restarted) wait for. V(running) is PVE's own word; V(booted) is systemd's, running or
        degraded; V(network) also waits for the addresses and until the first host of the package sources resolves,
        unless apt reaches it by a proxy. V(none) waits for nothing.
    type: str
    choices: [none, running, booted, network]
    default: running
  timeout:
    description: How many seconds to wait for each of a lock, a shutdown, a start and what O(wait) names.
    type: int
    default: 600
  copy_timeout:
    description:
      - How many seconds to wait for a container to be made from O(clone) or O(ostemplate). A full copy goes file by
        file, and that of a layer with models or images in it takes long.
      - Proxmox VE makes one copy of a container at a time. Those that come first are waited for as long again.
    type: int
    default: 3600
seealso:
  - module: phoenix.hypervisor.lxc_gpu_passthrough
  - module: phoenix.hypervisor.lxc_snapshot
"""

EXAMPLES = r"""
- name: The base layer
  phoenix.hypervisor.lxc_container:
    ctid: 900
    state: started
    wait: network
    hostname: BaseTemplate
    ostemplate: local:vztmpl/ubuntu-24.04-standard_24.04-2_amd64.tar.zst
    rootfs: {storage: local-zfs, size_gb: 32}
    cores: 2
    memory_mb: 2048
    networks:
      - {name: eth0, bridge: vmbr0, ip: 10.0.0.200/24, gw: 10.0.0.1}
    unprivileged: false

- name: The Docker layer, cloned from the sealed base layer
  phoenix.hypervisor.lxc_container:
    ctid: 902
    clone: {from: 900, snapshot: base-snapshot}
    hostname: BaseTemplateDocker
    networks:
      - {name: eth0, bridge: vmbr0, ip: 10.0.0.202/24, gw: 10.0.0.1}
    features: {nesting: true}

- name: Remove a container
  phoenix.hypervisor.lxc_container:
    ctid: 960
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode.
  type: list
  elements: str
  returned: success
  sample: ["cloned from 900@base-snapshot", "running"]
container:
  description: The container as it is now, V(none) when there is none and in check mode.
  type: dict
  returned: success
  sample:
    running: true
    config: {"hostname": "BaseTemplate", "memory": "2048", "net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:48:AC:F9"}
    pending: {}
    pending_delete: []
    networks: {"net0": {"name": "eth0", "bridge": "vmbr0", "hwaddr": "BC:24:11:48:AC:F9"}}
    snapshots: [base-snapshot]
    unprivileged: false
    digest: fb4d4bb053dcb132d69c1c444f9ebb37ed93df8d
ctid:
  description: The container's id.
  type: int
  returned: success
  sample: 900
restart_required:
  description: >-
    Whether Proxmox VE holds settings back until the next start. In check mode, whether it would hold some back.
  type: bool
  returned: success
code:
  description: >-
    The kind of a failure. 1 is general, 2 invalid input, 3 no such container, 4 verification, 5 snapshot, 6 shutdown
    or start.
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
from ansible_collections.phoenix.hypervisor.plugins.module_utils._arguments import API_ARGUMENTS, CONTAINER_ARGUMENTS
from ansible_collections.phoenix.hypervisor.plugins.module_utils._backend import choose
from ansible_collections.phoenix.hypervisor.plugins.module_utils._container import Container
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import reporting


def main() -> None:
    module = AnsibleModule(
        argument_spec={**CONTAINER_ARGUMENTS, **API_ARGUMENTS},
        mutually_exclusive=[("ostemplate", "clone")],
        supports_check_mode=True,
    )
    with reporting(module.fail_json):
        guests, node = choose(module.params)
        result = Container(guests, module.params, node=node, check_mode=module.check_mode).run()
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
