# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._package_hosts import apt_settings, package_hosts
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree

LIST = "sources.list"
MORE = "sources.list.d"
HTTP = {LIST: "deb http://mirror.example/debian trixie main\n"}
HTTPS = {LIST: "deb https://mirror.example/debian trixie main\n"}
PROXY = 'Acquire::http::Proxy "http://10.0.0.1:3142";\n'


def hosts(root: Path, files: dict[str, str]) -> tuple[str, ...]:
    for name, text in files.items():
        path = root / "etc/apt" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package_hosts(Tree(root))


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({LIST: "deb [signed-by=/x] https://user:pw@mirror.example:8443/debian trixie main\n"}, ("mirror.example",)),
        ({LIST: "# deb http://commented.example/ x main\ndeb http://real.example/ x main\n"}, ("real.example",)),
        ({LIST: "deb http://[fd00::1]/debian x main\n"}, ("fd00::1",)),
        ({LIST: "deb http://[fd00::1/debian x main\ndeb http://real.example/ x main\n"}, ("real.example",)),
        ({LIST: "deb file:/srv/mirror x main\n"}, ()),
        ({LIST: "deb file:/srv/mirror x main\n", f"{MORE}/a.list": "deb http://a.example/ x main\n"}, ("a.example",)),
        ({f"{MORE}/a.sources": "Types: deb\nURIs: http://a.example/ubuntu/\nSuites: x\n"}, ("a.example",)),
        ({f"{MORE}/a.sources": "Types: deb\nURIs: file:/a http://b.example/\nSuites: x\n"}, ("b.example",)),
        ({f"{MORE}/a.sources": "Enabled: no\nTypes: deb\nURIs: http://a.example/\nSuites: x\n"}, ()),
        ({f"{MORE}/a.list.save": "deb http://a.example/ x main\n", f"{MORE}/b": "deb http://b.example/ x main\n"}, ()),
        ({LIST: ""}, ()),
        ({}, ()),
    ],
)  # fmt: skip
def test_which_host_the_packages_come_from(tmp_path: Path, files: dict[str, str], found: tuple[str, ...]) -> None:
    assert hosts(tmp_path, files) == found


@pytest.mark.parametrize(
    ("files", "proxied"),
    [
        ({"apt.conf": PROXY, **HTTP}, True),
        ({"apt.conf.d/01proxy": PROXY, **HTTP}, True),
        ({"apt.conf.d/proxy.conf": PROXY, **HTTP}, True),
        ({"apt.conf.d/proxy.conf.bak": PROXY, **HTTP}, False),
        ({"apt.conf": PROXY, **HTTPS}, True),
        ({"apt.conf": 'Acquire::https::Proxy "http://10.0.0.1:3142";', **HTTPS}, True),
        ({"apt.conf": 'Acquire::https::Proxy "http://10.0.0.1:3142";', **HTTP}, False),
        ({"apt.conf": f'{PROXY}Acquire::https::Proxy "DIRECT";', **HTTPS}, False),
        ({"apt.conf": f'{PROXY}Acquire::http::Proxy::mirror.example "DIRECT";', **HTTP}, False),
        ({"apt.conf": f'{PROXY}Acquire::http::Proxy::other.example "DIRECT";', **HTTP}, True),
        ({"apt.conf": 'Acquire::http::Proxy::mirror.example "http://10.0.0.1:3142";', **HTTP}, True),
        ({"apt.conf": 'Acquire::http::Proxy "false";', "apt.conf.d/01proxy": PROXY, **HTTP}, False),
        ({"apt.conf": 'Acquire::http::Proxy "";', **HTTP}, False),
        ({"apt.conf": f"// {PROXY}# {PROXY}", **HTTP}, False),
    ],
)
def test_a_proxy_resolves_for_us(tmp_path: Path, files: dict[str, str], proxied: bool) -> None:
    assert hosts(tmp_path, files) == (() if proxied else ("mirror.example",))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('Acquire::HTTP::Proxy "http://a//b:1/";', {"acquire::http::proxy": "http://a//b:1/"}),
        ("Acquire::http::Proxy http://a:1;", {"acquire::http::proxy": "http://a:1"}),
        ('Acquire { Retries "3"; http { Proxy "x"; }; Queue-Mode "y"; };\nA "z";',
         {"acquire::retries": "3", "acquire::http::proxy": "x", "acquire::queue-mode": "y", "a": "z"}),
        ('Acquire::http { /* "b"; } */ Proxy "x" }', {"acquire::http::proxy": "x"}),
        ('APT::NeverAutoRemove { "^linux"; "^firmware"; };', {}),
        ('A "1"; a "2"; };', {"a": "2"}),
        ("", {}),
    ],
)  # fmt: skip
def test_what_a_configuration_sets(text: str, found: dict[str, str]) -> None:
    assert apt_settings(text) == found
