# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from urllib.parse import unquote

VOLUMES = "/rpool/lab/images"


def metadata(section):
    """What the collection wrote into a snapshot's description, after the text for people."""
    (line,) = (line for line in section.lines if line.startswith("#phoenix%3A "))
    return json.loads(unquote(line).removeprefix("#phoenix: "))


def test_the_layer_is_sealed(snapshots, config, status) -> None:
    assert snapshots(120) == ["sealed-snapshot"]
    assert config(120).main["parent"] == "sealed-snapshot"
    assert metadata(config(120).snapshots["sealed-snapshot"]).keys() == {"fingerprint", "parent"}
    assert status(120) == "running"


def test_nothing_is_in_the_seal_that_clones_must_not_share(node) -> None:
    # A snapshot of the lab's storage is a folder on the node.
    sealed = f"{VOLUMES}/120/subvol-120-disk-0.subvol@sealed-snapshot"
    assert node.file(f"{sealed}/etc/os-release").exists
    assert node.file(f"{sealed}/etc/machine-id").size == 0
    assert not node.check_output("find %s/etc/ssh -name 'ssh_host_*'", sealed)


def test_the_clone_is_a_container_of_its_own(snapshots, config, inside, status) -> None:
    assert status(121) == "running"
    assert snapshots(121) == []
    assert config(121).main["hostname"] == inside(121).check_output("hostname") == "cloned"
    assert config(121).main["net0"] != config(120).main["net0"]


def test_the_clone_shares_no_identity(inside) -> None:
    for file in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"):
        original, clone = inside(120).file(file), inside(121).file(file)
        if original.exists or clone.exists:
            assert clone.content_string != original.content_string


def test_snapshots_that_are_left(snapshots) -> None:
    assert snapshots(122) == ["first", "second", "third"]


def test_the_first_has_its_metadata(config) -> None:
    first = config(122).snapshots["first"]
    assert "#As it was made" in first.lines
    assert metadata(first) == {"release": "1"}


def test_going_back_brought_back_what_was_kept(inside, status) -> None:
    assert status(122) == "running"
    assert inside(122).file("/root/kept").content_string == "kept\n"
    assert not inside(122).file("/root/lost").exists


def test_the_replaced_one_is_the_newer(config) -> None:
    third = config(122).snapshots["third"]
    assert "#Taken as 4" in third.lines
    assert metadata(third) == {"release": "4"}
    assert third["parent"] == "second"


def test_the_removed_one_has_left_nothing(node, config) -> None:
    assert "fourth" not in config(122).snapshots
    volumes = node.file(f"{VOLUMES}/122").listdir()
    assert sorted(name.partition("@")[2] for name in volumes) == ["", "first", "second", "third"]
