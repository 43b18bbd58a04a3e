# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# The argument specifications that are too long for their module or shared by several.

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import env_fallback

_TEXT = {"type": "str"}
_NUMBER = {"type": "int"}
_SWITCH = {"type": "bool"}
_TEXTS = {"type": "list", "elements": "str"}

API_ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "api_host": {"type": "str", "fallback": (env_fallback, ["PROXMOX_HOST"])},
    "api_port": {"type": "int", "default": 8006},
    "api_user": {"type": "str", "fallback": (env_fallback, ["PROXMOX_USER"])},
    "api_token_id": {"type": "str", "no_log": False, "fallback": (env_fallback, ["PROXMOX_TOKEN_ID"])},
    "api_token_secret": {"type": "str", "no_log": True, "fallback": (env_fallback, ["PROXMOX_TOKEN_SECRET"])},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
    "node": {"type": "str"},
}

CONTAINER_ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "ctid": {"type": "int", "required": True},
    "state": {
        "type": "str",
        "choices": ["present", "started", "stopped", "restarted", "absent"],
        "default": "present",
    },
    "ostemplate": _TEXT,
    "ssh_public_keys": {**_TEXTS, "no_log": False},
    "clone": {
        "type": "dict",
        "options": {
            "from": {"type": "int", "required": True},
            "snapshot": _TEXT,
            "method": {"type": "str", "choices": ["auto", "full", "linked", "cow"], "default": "auto"},
            "storage": _TEXT,
        },
    },
    "hostname": _TEXT,
    "cores": _NUMBER,
    "memory_mb": _NUMBER,
    "swap_mb": _NUMBER,
    "rootfs": {"type": "dict", "options": {"storage": _TEXT, "size_gb": _NUMBER}},
    "networks": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "bridge": _TEXT,
            "ip": _TEXT,
            "gw": _TEXT,
            "ip6": _TEXT,
            "gw6": _TEXT,
            "hwaddr": _TEXT,
            "firewall": _SWITCH,
            "tag": _NUMBER,
            "mtu": _NUMBER,
            "rate": {"type": "float"},
            "link_down": _SWITCH,
        },
    },
    "features": {
        "type": "dict",
        "options": {
            "nesting": _SWITCH,
            "keyctl": {"type": "bool", "no_log": False},
            "fuse": _SWITCH,
            "mknod": _SWITCH,
            "force_rw_sys": _SWITCH,
            "mount": _TEXTS,
        },
    },
    "unprivileged": _SWITCH,
    "onboot": _SWITCH,
    "startup": _TEXT,
    "tags": _TEXTS,
    "nameserver": _TEXTS,
    "searchdomain": _TEXTS,
    "description": _TEXT,
    "mounts": {
        "type": "list",
        "elements": "dict",
        "options": {
            "path": {"type": "str", "required": True},
            "source": _TEXT,
            "storage": _TEXT,
            "size_gb": _NUMBER,
            "read_only": _SWITCH,
            "backup": _SWITCH,
        },
    },
    "wait": {"type": "str", "choices": ["none", "running", "booted", "network"], "default": "running"},
    "timeout": {"type": "int", "default": 600},
    "copy_timeout": {"type": "int", "default": 3600},
}
