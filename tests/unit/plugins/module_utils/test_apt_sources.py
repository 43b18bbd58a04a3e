# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._apt_sources import (
    addresses,
    has_entries,
    is_cuda_name,
    is_cuda_uri,
    without_cuda,
)
from hypothesis import given
from hypothesis import strategies as st

URL = "https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64/"
OTHER = "deb [signed-by=/usr/share/keyrings/docker.gpg] https://download.docker.com/linux/ubuntu noble stable\n"


@pytest.mark.parametrize(
    ("uri", "ours"),
    [
        (URL, True),
        (URL.rstrip("/"), True),
        ("http://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64", True),
        ("https://developer.download.nvidia.cn/compute/cuda/repos/ubuntu2404/x86_64", True),
        ("https://developer.download.nvidia.com/comp", True),
        ("https://developer.download.nvidia.com", True),
        ("https://developer.download.nvidia.com/compute/machine-learning/repos/ubuntu2404/x86_64", False),
        ("https://nvidia.github.io/libnvidia-container/stable/deb/amd64", False),
        ("file:///var/cuda-repo-ubuntu2404-12-8-local", False),
    ],
)
def test_addresses(uri: str, ours: bool) -> None:
    assert is_cuda_uri(uri, URL) is ours


def test_a_mirror_is_known_by_its_own_address() -> None:
    mirror = "https://mirror.example.com/cuda/"
    assert is_cuda_uri("https://mirror.example.com/cuda", mirror)
    assert not is_cuda_uri("https://mirror.example.com/debian", mirror)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("cuda-ubuntu2404-x86_64.list", True),
        ("cuda.list", True),
        ("nvidia-cuda.sources", True),
        ("cuda_12.list", True),
        ("cudawhatever.list", False),
        ("nvidia-container-toolkit.list", False),
        ("docker.list", False),
    ],
)
def test_names(name: str, ours: bool) -> None:
    assert is_cuda_name(name) is ours


@pytest.mark.parametrize(
    ("name", "text", "left"),
    [
        ("docker.list", OTHER, OTHER),
        ("x.list", f"{OTHER}deb {URL} /\n", OTHER),
        ("x.list", f"deb [signed-by=/a arch=amd64] {URL} / # mine\n", ""),
        ("x.list", f"# deb {URL} /\n\n", f"# deb {URL} /\n\n"),
        ("cuda.list", "deb [signed-by=/usr/share/key", ""),
        ("cuda.list", f"deb https://developer.downl\n{OTHER}", OTHER),
        ("cuda.list", f"deb [signed-by=/a] {URL}", ""),
        ("x.list", "deb [signed-by=/a] https://somewhere\n", "deb [signed-by=/a] https://somewhere\n"),
        ("x.list", f"nonsense {URL}\n", ""),
        ("x.list", "deb https://developer.download.nvidia.com/comp\n", ""),
        ("x.sources", f"Types: deb\nURIs: {URL}\nSuites: /\nSigned-By: /a\n", ""),
        (
            "x.sources",
            f"Types: deb\nURIs: https://a/\nSuites: s\n\nTypes: deb\nURIs: {URL}\nSuites: /\n",
            "Types: deb\nURIs: https://a/\nSuites: s\n",
        ),
        (
            "x.sources",
            f"Types: deb\nURIs: https://a/ {URL}\nSuites: /\n",
            "Types: deb\nURIs: https://a/\nSuites: /\n",
        ),
        ("x.sources", "Types: deb\nURIs:\n https://a/\n https://b/\nSuites: /\n", None),
        ("cuda.sources", "Types: deb\nURIs: https://dev", ""),
        ("x.sources", "Types: deb\n# nothing else\n", None),
        ("x.sources", "# only a note\n", None),
        ("x.sources", f"Types: deb\nSuites: /\nX: {URL}\n", ""),
    ],
)
def test_without_cuda(name: str, text: str, left: str | None) -> None:
    assert without_cuda(name, text, URL) == (text if left is None else left)


@given(st.text(), st.sampled_from(["x.list", "x.sources"]))
def test_what_does_not_speak_of_cuda_keeps_its_bytes(text: str, name: str) -> None:
    assert without_cuda(name, text.replace("nvidia", ""), URL) == text.replace("nvidia", "")


@pytest.mark.parametrize(("text", "entries"), [("", False), ("# a\n\n  # b\n", False), (OTHER, True)])
def test_has_entries(text: str, entries: bool) -> None:
    assert has_entries(text) is entries


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("docker.list", OTHER, ["https://download.docker.com/linux/ubuntu"]),
        ("sources.list", f"# {OTHER}deb-src http://a stable main # why\nnonsense\n", ["http://a"]),
        ("x.sources", "Types: deb\nURIs: http://a http://b\nSuites: s\n\nURIs: http://c\n", ["http://a", "http://b", "http://c"]),
        ("x.sources", "Enabled: yes\nURIs: http://a\n\nEnabled: No \nURIs: http://b\n", ["http://a"]),
        ("x.sources", "# nothing\nTypes: deb\n", []),
        ("x.sources", "", []),
    ],
)  # fmt: skip
def test_the_addresses_that_are_switched_on(name: str, text: str, expected: list[str]) -> None:
    assert addresses(name, text) == expected
