# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The hosts of the world that the lab stands in for. Its DNS answers for these and for nothing else.

from __future__ import annotations

CUDA = "developer.download.nvidia.com"
DRIVERS = "us.download.nvidia.com"
DRIVERS_OLD = "download.nvidia.com"
DOCKER = "download.docker.com"
TOOLKIT = "nvidia.github.io"
PROXMOX = "download.proxmox.com"
PROXMOX_KEYS = "enterprise.proxmox.com"

# Static files below /srv/vendors/<host>.
FILE_HOSTS = (CUDA, DRIVERS, DRIVERS_OLD, DOCKER, TOOLKIT, PROXMOX, PROXMOX_KEYS)

# docker.io's registry, under each name by which clients ask for it.
REGISTRY_HOSTS = ("registry-1.docker.io", "index.docker.io", "docker.io")

# The lab's own: the machine's Debian mirror.
MIRROR = "mirror.lab"

VENDOR_HOSTS = (*FILE_HOSTS, *REGISTRY_HOSTS, MIRROR)
