# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# Which names a container has to resolve before packages can be installed in it.

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from ansible_collections.phoenix.hypervisor.plugins.module_utils._apt_sources import addresses
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree

# What the resolver takes at worst while the first name servers of several are silent.
LOOKUP_SECONDS = 30.0

_TOKEN = re.compile(r'"[^"]*"|[{};]|//[^\n]*|/\*.*?\*/|#[^\n]*|[^\s"{};]+', re.DOTALL)
_COMMENTS = ("//", "/*", "#")
# apt asks for the settings of https first, and then for those of http.
_SCHEMES = {"http": ("http",), "https": ("https", "http")}
_NO_PROXY = ("", "direct", "false")


def package_hosts(tree: Tree) -> tuple[str, ...]:
    """The first host of a container's package sources; none when they are all files or behind a proxy."""
    # What stands in apt.conf itself comes last and counts.
    configuration = [*_listed(tree, "etc/apt/apt.conf.d", "", ".conf"), "etc/apt/apt.conf"]
    settings = apt_settings("".join(f"{tree.text(path)}\n" for path in configuration))
    for path in ("etc/apt/sources.list", *_listed(tree, "etc/apt/sources.list.d", ".list", ".sources")):
        for scheme, host in map(_split, addresses(path, tree.text(path))):
            if host:
                return () if _has_proxy(settings, scheme, host) else (host,)
    return ()


def apt_settings(text: str) -> dict[str, str]:
    """What a configuration of apt sets, by the names in lower case, in which apt looks for them."""
    found: dict[str, str] = {}
    scopes: list[str] = []
    words: list[str] = []
    for token in _TOKEN.findall(text):
        if token.startswith(_COMMENTS):
            continue
        if token == "{":
            scopes.append("::".join([*scopes[-1:], *words]))
        elif token in (";", "}"):
            if len(words) > 1:
                found["::".join([*scopes[-1:], words[0]]).lower()] = words[1].strip('"')
            scopes = scopes[:-1] if token == "}" else scopes
        else:
            words.append(token)
            continue
        words = []
    return found


def _listed(tree: Tree, folder: str, *endings: str) -> list[str]:
    """The files of a folder that apt reads."""
    return [f"{folder}/{name}" for name in tree.names(folder) if PurePosixPath(name).suffix in endings]


def _split(uri: str) -> tuple[str, str]:
    try:
        parts = urlsplit(uri)
        return parts.scheme, (parts.hostname or "") if parts.scheme in _SCHEMES else ""
    except ValueError:
        return "", ""


def _has_proxy(settings: dict[str, str], scheme: str, host: str) -> bool:
    """What is set for the host comes before what is set for all."""
    names = [f"acquire::{kind}::proxy{end}" for end in (f"::{host}", "") for kind in _SCHEMES[scheme]]
    return next((settings[name] for name in names if settings.get(name)), "").lower() not in _NO_PROXY
