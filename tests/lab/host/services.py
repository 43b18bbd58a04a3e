# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The lab's services, all on the gateway's address.

from __future__ import annotations

from collections.abc import Iterable

from .lab import Lab, Node

CONFIGURATIONS = "/etc/phoenix-lab"


def dnsmasq(lab: Lab, nodes: Iterable[Node], vendors: Iterable[str]) -> str:
    """Names of the lab and of the vendors; "no such name" at once for everything else."""
    lines = [
        "no-resolv",
        "no-hosts",
        "no-poll",
        "bind-interfaces",
        f"listen-address={lab.gateway}",
        "address=/#/",
        *(f"address=/{name}/{lab.gateway}" for name in vendors),
        *(f"host-record={node.name},{node.name}.lab,{node.address}" for node in nodes),
    ]
    return "\n".join(lines) + "\n"


def commands() -> dict[str, list[str]]:
    return {
        "dnsmasq": ["dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/run/phoenix-lab/dnsmasq.conf"],
        "nginx": ["nginx", "-c", f"{CONFIGURATIONS}/nginx.conf", "-g", "daemon off;"],
        "registry": ["docker-registry", "serve", f"{CONFIGURATIONS}/registry.yml"],
    }
