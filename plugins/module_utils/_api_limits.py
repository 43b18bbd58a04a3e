# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# What no API token can do, not even one of root@pam: told before anything is tried.

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils._api_client import ROOT_ONLY
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._lxc_config import parse_properties


def check_token_limits(
    options: Mapping[str, str], delete: Sequence[str], current: Mapping[str, str], *, creating: bool
) -> None:
    """Raise for whatever PVE would refuse to every token; C(current) is the configuration that is changed."""
    if (
        not creating
        and options.get("unprivileged", "1") != current.get("unprivileged", "0")
        and "unprivileged" in options
    ):
        raise PhoenixError(
            f"unprivileged: {options['unprivileged']!r} cannot be set on an existing container",
            remedy="PVE decides it at creation only: destroy the container and create it anew, or leave it as it is.",
            code=Code.INPUT,
        )
    problems = [_problem(key, options.get(key), current, options, creating) for key in [*options, *delete]]
    found = [problem for problem in problems if problem]
    if found:
        raise PhoenixError("; ".join(found), remedy=ROOT_ONLY, code=Code.INPUT)


def _problem(
    key: str, value: str | None, current: Mapping[str, str], options: Mapping[str, str], creating: bool
) -> str | None:
    """What is wrong with setting a key, or with deleting it (no value)."""
    if re.fullmatch(r"dev\d+", key):
        return f"{key}: configuring device passthrough is only allowed for root@pam"
    if re.match(r"lxc(\.|\[|$)", key):
        return f"{key}: the API takes no lxc.* lines"
    if key == "hookscript":
        return f"{key}: changing the hookscript is only allowed for root@pam"
    if key == "features":
        unprivileged = options.get("unprivileged", "1") if creating else current.get("unprivileged", "0")
        return _features_problem(value, current.get("features", ""), unprivileged=unprivileged == "1")
    if value is not None and re.fullmatch(r"rootfs|mp\d+", key):
        return _mount_problem(key, value)
    return None


def _features_problem(value: str | None, before: str, *, unprivileged: bool) -> str | None:
    old, new = parse_properties(before), parse_properties(value or "")
    changed = {name for name in old | new if old.get(name) != new.get(name)}
    if changed and not unprivileged:
        return "features: changing feature flags for privileged container is only allowed for root@pam"
    if changed - {"nesting"}:
        return (
            f"features: {', '.join(sorted(changed - {'nesting'}))} would change, "
            "changing feature flags (except nesting) is only allowed for root@pam"
        )
    return None


def _mount_problem(key: str, value: str) -> str | None:
    volume = parse_properties(value, "volume").get("volume", "")
    if not volume.startswith("/"):
        return None
    kind = "device" if volume.startswith("/dev/") else "bind"
    return f"{key}: mount point type {kind} is only allowed for root@pam"
