# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._apt_errors import (
    Refusal,
    because_of,
    complaints,
    refusals,
    remedy,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed

# What apt 2.6 says, recorded with a server that answers so.
PVE = """\
E: Failed to fetch https://enterprise.proxmox.com/debian/pve/dists/trixie/InRelease  401  Unauthorized [IP: 1.2.3.4 443]
E: The repository 'https://enterprise.proxmox.com/debian/pve trixie InRelease' is not signed.
"""
CEPH = PVE.replace("/pve", "/ceph-squid")
DOCKER = (
    "W: Failed to fetch https://download.docker.com/linux/ubuntu/dists/noble/InRelease  403  Forbidden [IP: ::1 443]\n"
)
OLD_USED = "W: Some index files failed to download. They have been ignored, or old ones used instead.\n"
DOWN = (
    "E: Failed to fetch http://deb.example.org/debian/dists/trixie/InRelease  Could not connect to deb.example.org:80\n"
)
UNSIGNED = "E: The repository 'http://other.example trixie InRelease' is not signed.\n"
PACKAGE = """\
E: Failed to fetch https://enterprise.proxmox.com/debian/pve/dists/x/jq.deb  401  Unauthorized [IP: 1.2.3.4 443]
E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?
"""

FILES = {
    "/etc/apt/sources.list": "deb http://deb.example.org/debian trixie main\n",
    "/etc/apt/sources.list.d/ceph.list": "deb https://enterprise.proxmox.com/debian/ceph-squid trixie enterprise\n",
    "/etc/apt/sources.list.d/pve-enterprise.sources": "Types: deb\nURIs: https://enterprise.proxmox.com/debian/pve/\n",
}
OF_PVE = Refusal(
    "https://enterprise.proxmox.com/debian/pve", "401 Unauthorized", "/etc/apt/sources.list.d/pve-enterprise.sources"
)
OF_CEPH = Refusal(
    "https://enterprise.proxmox.com/debian/ceph-squid", "401 Unauthorized", "/etc/apt/sources.list.d/ceph.list"
)
OF_DOCKER = Refusal("https://download.docker.com/linux/ubuntu", "403 Forbidden")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(PVE, [OF_PVE], id="enterprise"),
        pytest.param(CEPH + PVE, [OF_CEPH, OF_PVE], id="two files"),
        pytest.param(PVE + PVE, [OF_PVE], id="twice"),
        pytest.param(DOCKER + OLD_USED, [OF_DOCKER], id="older lists are there, and no file names it"),
        pytest.param(PACKAGE, [OF_PVE], id="a package by an older list"),
        pytest.param("W: Target Packages is configured multiple times\n" + PVE, [OF_PVE], id="a warning beside it"),
        pytest.param(PVE + DOWN, [], id="another one is down"),
        pytest.param(PVE + UNSIGNED, [], id="another one is not signed"),
        pytest.param(PVE + "W: GPG error: http://x InRelease: NO_PUBKEY 1\n", [], id="another key is missing"),
        pytest.param(DOWN, [], id="nobody refuses"),
        pytest.param("E: dpkg was interrupted\n", [], id="something else"),
        pytest.param("", [], id="nothing"),
    ],
)
def test_repositories_that_refuse(said: str, expected: list[Refusal]) -> None:
    assert list(refusals(said, FILES)) == expected


def test_an_address_outside_of_the_usual_folders() -> None:
    said = "E: Failed to fetch http://a.example/repo/InRelease  403  Forbidden [IP: 1.2.3.4 80]\n"
    assert refusals(said, {}) == (Refusal("http://a.example/repo", "403 Forbidden"),)


@pytest.mark.parametrize(
    ("refusal", "text", "what_to_do"),
    [
        (
            OF_PVE,
            (
                "https://enterprise.proxmox.com/debian/pve (/etc/apt/sources.list.d/pve-enterprise.sources) answers "
                "401 Unauthorized"
            ),
            (
                "That is a repository for nodes with a subscription: write `Enabled: no` into "
                "/etc/apt/sources.list.d/pve-enterprise.sources and have the one without subscription instead, or "
                "register the node's key (`pvesubscription set KEY`)."
            ),
        ),
        (
            OF_CEPH,
            (
                "https://enterprise.proxmox.com/debian/ceph-squid (/etc/apt/sources.list.d/ceph.list) answers 401 "
                "Unauthorized"
            ),
            (
                "That is a repository for nodes with a subscription: comment it out in "
                "/etc/apt/sources.list.d/ceph.list and have the one without subscription instead, or register the "
                "node's key (`pvesubscription set KEY`)."
            ),
        ),
        (
            OF_DOCKER,
            "https://download.docker.com/linux/ubuntu answers 403 Forbidden",
            (
                "If it is not needed, comment it out in the file below /etc/apt that names it; else see its password "
                "(/etc/apt/auth.conf.d) and the proxy."
            ),
        ),
    ],
)
def test_what_a_refusal_means(refusal: Refusal, text: str, what_to_do: str) -> None:
    assert (str(refusal), refusal.remedy) == (text, what_to_do)


def test_what_is_behind_a_failure() -> None:
    error = because_of([OF_PVE, OF_DOCKER], PhoenixError("it failed.", remedy="See.", code=Code.INPUT, command="c"))
    assert error.reason == f"it failed; {OF_PVE}; {OF_DOCKER}"
    assert error.remedy == f"{OF_PVE.remedy} {OF_DOCKER.remedy}"
    assert (error.code, error.details) == (Code.INPUT, {"command": "c"})


def test_the_remedy_is_for_what_else_is_wrong() -> None:
    assert (remedy(PVE + DOWN) or "").startswith("See that the container reaches")
    assert (remedy(UNSIGNED) or "").startswith("The repository's key is missing")
    assert remedy(PVE) is None


def test_a_key_of_sha1_is_not_a_missing_one() -> None:
    said = (
        "W: OpenPGP signature verification failed: http://other.example InRelease: Sub-process /usr/bin/sqv returned "
        "an error code (1), error message is: Signing key on EB69 is not bound:   because: Policy rejected "
        "non-revocation signature   because: SHA1 is not considered secure since 2026-02-01T00:00:00Z\n"
    )
    assert (remedy(said + UNSIGNED) or "").startswith("This apt accepts no key that is signed with SHA1")
    # Until then it is a warning, and everything works.
    warned = "W: http://other.example/InRelease: Policy will reject signature within a year, see --audit for details\n"
    assert remedy(warned) is None


@pytest.mark.parametrize(
    ("stdout", "stderr", "expected"),
    [
        ("Reading...\n", "E: one\nE: two\nE: one\n", "E: one E: two"),
        ("W: Failed to fetch x\nW: whatever\n", "", "W: Failed to fetch x"),
        ("a\nb\n\nc\nd\n", "", "b c d"),
        ("", "", "exit status 100"),
    ],
)
def test_complaints(stdout: str, stderr: str, expected: str) -> None:
    assert complaints(Completed((), 100, stdout, stderr)) == expected
