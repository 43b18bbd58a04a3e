# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest


@pytest.fixture(scope="module")
def tasks(node):
    """What the node did with a container, and for whom, without what removed it before the scenario."""

    def listed(ctid):
        query = "pvesh get /nodes/$(hostname)/tasks --vmid %s --limit 500 --output-format json"
        return json.loads(node.check_output(query, str(ctid)))

    return listed


def test_the_token_is_no_root(node) -> None:
    users = json.loads(node.check_output("pveum user list --full 1 --output-format json"))
    (user,) = (user for user in users if user["userid"] == "phoenix@pve")
    assert {token["tokenid"]: token["privsep"] for token in user["tokens"]} == {"builds": 1, "looks": 1}


@pytest.mark.parametrize(
    ("ctid", "kinds"),
    [(160, {"vzcreate", "vzstart", "vzsnapshot", "vzrollback", "vzdelsnapshot"}), (161, {"vzstart"})],
)
def test_nothing_was_done_by_root(tasks, ctid, kinds) -> None:
    done = {(task["type"], task["user"], task.get("tokenid")) for task in tasks(ctid) if task["type"] != "vzdestroy"}
    assert {(kind, "phoenix@pve", "builds") for kind in kinds} <= done
    assert {done_by[1:] for done_by in done} == {("phoenix@pve", "builds")}


def test_the_removed_one_was_removed_by_the_token_too(node, tasks) -> None:
    assert not node.file("/etc/pve/lxc/162.conf").exists
    assert not node.check_output("pvesm list lab --vmid 162 | tail -n +2")
    assert ("vzdestroy", "builds") in {(task["type"], task.get("tokenid")) for task in tasks(162)}


def test_made_is_what_the_fleet_says(config, fleet) -> None:
    made = config(160).main
    assert (made["hostname"], made["cores"], made["memory"], made["swap"]) == ("made", "1", "512", "0")
    assert "size=4G" in made["rootfs"]
    assert f"ip={fleet['made']['phoenix_container']['networks'][0]['ip']}" in made["net0"]
    assert (made["unprivileged"], made["features"]) == ("1", "nesting=1")


@pytest.mark.parametrize(("ctid", "name"), [(160, "made"), (161, "cloned")])
def test_inside_is_what_was_configured(inside, status, fleet, ctid, name) -> None:
    assert status(ctid) == "running"
    assert inside(ctid).check_output("hostname") == name
    address = fleet[name]["phoenix_container"]["networks"][0]["ip"]
    assert address in inside(ctid).check_output("ip -oneline -4 address show eth0")


def test_the_clone_was_changed(config) -> None:
    clone = config(161).main
    assert (clone["cores"], clone["memory"]) == ("2", "768")
    assert "size=5G" in clone["rootfs"]
    assert "#It was changed" in clone.lines
    assert clone["net0"] != config(160).main["net0"]
    assert "pve:pending" not in config(161).snapshots


def test_snapshots_were_taken_gone_back_to_and_removed(snapshots, inside) -> None:
    assert snapshots(160) == ["first", "second"]
    assert not inside(160).file("/root/lost").exists


def test_what_only_root_gives_stays(config) -> None:
    assert config(163).main["memory"] == "384"
    assert "lxc.mount.entry: /dev/nvidia0 dev/nvidia0 none bind,create=file" in config(163).main.lines


def test_what_was_refused_left_nothing(node, config, snapshots, tasks) -> None:
    assert not node.file("/etc/pve/lxc/164.conf").exists
    assert not node.check_output("pvesm list lab --vmid 164 | tail -n +2")
    assert tasks(164) == []
    assert not [key for key in config(161).main.values if key.startswith("mp")]
    assert "denied" not in snapshots(160)


def test_the_token_that_looks_did_nothing(tasks) -> None:
    assert not [task for ctid in (160, 161, 164) for task in tasks(ctid) if task.get("tokenid") == "looks"]
