# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# What Docker, runc and NVIDIA's toolkit say when something is wrong, and what it means in a container of Proxmox VE.

from __future__ import annotations

import re
import typing as t


class _Cause(t.NamedTuple):
    pattern: str
    reason: str
    remedy: str


_CAUSES = (
    _Cause(
        r"ip_unprivileged_port_start|reopen fd \d+: permission denied|unsafe procfs detected",
        "the node's AppArmor profile for LXC denies this runc its way into /proc (runc 1.2.8, 1.3.3 and newer)",
        "On the node, upgrade lxc-pve to 6.0.5-2 or newer and have the container's feature nesting on, then restart "
        "the container. Until then lxc_docker_containerd_version can name an older containerd.io.",
    ),
    _Cause(
        r"TOK_EQUALS|apparmor_parser|docker-default profile could not be loaded|policy admin privileges"
        r"|unable to apply apparmor profile|apparmor failed to apply profile|write /proc/(?:thread-)?self/attr",
        "AppArmor does not let Docker load or apply its profile docker-default",
        "Have the package apparmor in the container and its feature nesting on. With lxc.apparmor.profile: unconfined, "
        "Docker must not see /sys/kernel/security either: rather remove that line.",
    ),
    _Cause(
        r"BPF_CGROUP_DEVICE|failed to add device rules",
        "the toolkit may not write device rules in an unprivileged container",
        "no-cgroups must be true in /etc/nvidia-container-runtime/config.toml there: run the role lxc_docker again.",
    ),
    _Cause(
        r"could not select device driver .*capabilities: \[\[gpu\]\]",
        "Docker has no way to hand out GPUs: the NVIDIA Container Toolkit is missing, or came after Docker was started",
        "Run the role lxc_docker with lxc_docker_nvidia: true.",
    ),
    _Cause(
        r"unresolvable CDI devices|CDI device injection failed|failed to inject CDI devices",
        "the CDI specification is missing, or does not name the GPUs that the container has",
        "See `systemctl status phoenix-nvidia-cdi` in the container, and restart that unit.",
    ),
    _Cause(
        r"unknown or invalid runtime name: nvidia",
        "Docker does not know the nvidia runtime",
        "Run the role lxc_docker with lxc_docker_nvidia: true, which registers it and restarts Docker.",
    ),
    _Cause(
        r"unsatisfied condition: (?P<what>[^,\n]+)",
        "the driver is too old for the image ({what})",
        "Take an image for an older CUDA, or a newer driver on the node and in the container.",
    ),
    _Cause(
        r"version mismatch",
        "the driver's libraries in the container are not of the version of the node's kernel module",
        "Run the role lxc_nvidia for this container, and `systemctl restart phoenix-nvidia-cdi` in it.",
    ),
    _Cause(
        r"Failed to initialize NVML|No devices (?:were )?found",
        "the GPUs are listed, but cannot be opened ({line})",
        "Let lxc_gpu_passthrough reconcile the container's GPU lines and restart it; in a privileged container "
        "no-cgroups must not be true in /etc/nvidia-container-runtime/config.toml.",
    ),
    _Cause(
        r"nvidia-container-cli: (?P<what>[^\n]+)",
        "nvidia-container-cli says: {what}",
        "See that nvidia-smi works in the container itself; the role lxc_nvidia verifies it.",
    ),
    _Cause(
        r'"nvidia-smi": executable file not found',
        "the driver's programs do not reach Docker's containers",
        "Run the role lxc_nvidia, then `systemctl restart phoenix-nvidia-cdi` in the container.",
    ),
    _Cause(
        r'mounting "?proc"?[^\n]*(?:operation not permitted|permission denied)|error mounting "(?:proc|sysfs)"',
        "the container may not mount what Docker's containers need",
        "Switch the container's feature nesting on (pct set CTID --features nesting=1) and restart it.",
    ),
    _Cause(
        r"iptables[^\n]*(?:Permission denied|[Cc]an't initialize|No chain|does not exist)"
        r"|failed to register \"bridge\"",
        "Docker cannot set up its network with iptables",
        "Load the module on the node (modprobe ip_tables iptable_nat br_netfilter), and have the feature nesting on.",
    ),
    _Cause(
        r"no space left on device",
        "the disk is full",
        "Make room in the container (`docker system df`), or give it a larger root file system.",
    ),
)


def explain(text: str) -> tuple[str, str] | None:
    """Reason and remedy of the first known cause in a text; None where nobody knows."""
    for pattern, reason, remedy in _CAUSES:
        found = re.search(pattern, text)
        if found:
            line = text[text.rfind("\n", 0, found.start()) + 1 :].partition("\n")[0].strip()
            return reason.format(**{"line": line, **found.groupdict()}), remedy
    return None
