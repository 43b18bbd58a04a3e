# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# What has to be there on the node for a container to start. No I/O.

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ansible_collections.phoenix.hypervisor.plugins.module_utils._lxc_config import parse_properties
from ansible_collections.phoenix.hypervisor.plugins.module_utils._options import bind_mounts

_MOUNT_KEY = "lxc.mount.entry"


def needed_to_start(options: Mapping[str, str], raw: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The paths of the node without which a container with these keys and lines does not start, after their keys."""
    devices = [
        (key, parse_properties(value, "path").get("path", ""))
        for key, value in options.items()
        if re.fullmatch(r"dev\d+", key)
    ]
    entries = [(key, _source(value)) for key, value in raw if key == _MOUNT_KEY]
    return [*devices, *bind_mounts(options).items(), *((key, source) for key, source in entries if source)]


def _source(entry: str) -> str:
    """The path of the node that a line like one of fstab binds; empty where the container starts without."""
    source, _target, _type, flags = (*entry.split(), "", "", "", "")[:4]
    # "relative" means a path in the container, and what is no bind has no path of the node for its source, but the
    # word of a file system (proc, tmpfs), a share or the like.
    words = set(flags.split(","))
    needed = source.startswith("/") and words & {"bind", "rbind"} and not words & {"optional", "relative"}
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), source) if needed else ""
