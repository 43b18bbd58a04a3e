# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import Guests
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node
from ansible_collections.phoenix.hypervisor.plugins.module_utils._pct import Pct


def choose(params: Mapping[str, t.Any]) -> tuple[Guests, Node | None]:
    """The way to act that the arguments ask for: the REST API, or pct on this very node."""
    if params.get("api_host"):
        # Loading proxmoxer and requests takes longer than a whole run without changes on the node.
        from ansible_collections.phoenix.hypervisor.plugins.module_utils import _api  # noqa: PLC0415

        return _api.connect(params), None
    node = Node()
    return Pct(node), node
