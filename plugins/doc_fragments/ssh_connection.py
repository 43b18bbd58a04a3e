# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import yaml
from ansible.plugins.connection import ssh
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import add_fragments

# What decides where to log in is the plugin's own business; the rest moves files by a way that ends on the node.
_NOT_INHERITED = frozenset({"host", "remote_user", "ssh_transfer_method"})
_NOT_INHERITED_PREFIXES = ("sftp_", "scp_")


def _without_versions(value: t.Any) -> t.Any:
    """In a collection's documentation `version_added` would mean the collection's version."""
    if isinstance(value, dict):
        return {str(k): _without_versions(v) for k, v in value.items() if not str(k).startswith("version_added")}
    if isinstance(value, list):
        return [_without_versions(item) for item in value]
    return value


def _inherited_options() -> dict[str, t.Any]:
    # The pure Python loader would cost every task tens of milliseconds.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documentation = yaml.load(ssh.DOCUMENTATION.replace("O(remote_user)", "O(node_user)"), Loader=loader)
    add_fragments(documentation, ssh.__file__, fragment_loader=fragment_loader)
    return {
        name: _without_versions(definition)
        for name, definition in documentation["options"].items()
        if name not in _NOT_INHERITED and not name.startswith(_NOT_INHERITED_PREFIXES)
    }


class ModuleDocFragment:
    """The options of the ssh plugin of whatever ansible-core runs, so that its code finds each of them defined."""

    # JSON is YAML, and can write the tagged strings that the fragments of ansible-core consist of. The annotation tells
    # ansible-test, which takes every plain assignment here for a literal, that this one is not.
    DOCUMENTATION: t.ClassVar[str] = json.dumps({"options": _inherited_options()})
