# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest


def test_made_is_what_the_fleet_says(config, fleet) -> None:
    made = config(110).main
    assert (made["hostname"], made["cores"], made["memory"], made["swap"]) == ("made", "1", "512", "0")
    assert "size=4G" in made["rootfs"]
    assert f"ip={fleet['made']['phoenix_container']['networks'][0]['ip']}" in made["net0"]
    assert "unprivileged" not in made.values


@pytest.mark.parametrize(("ctid", "expected"), [(110, "running"), (111, "running"), (112, "stopped")])
def test_power(status, ctid, expected) -> None:
    assert status(ctid) == expected


@pytest.mark.parametrize("ctid", [110, 111])
def test_it_runs_systemd_in_namespaces_of_its_own(node, ctid) -> None:
    # Every process of a container has the path of its control group.
    inits = node.check_output("grep -lE '/lxc(\\.payload)?[./]%s' /proc/[0-9]*/cgroup | wc -l", str(ctid))
    assert int(inits) > 1


@pytest.mark.parametrize(("ctid", "name"), [(110, "made"), (111, "changed")])
def test_inside_is_what_was_configured(inside, fleet, ctid, name) -> None:
    container = inside(ctid)
    assert container.check_output("hostname") == name
    address = fleet[name]["phoenix_container"]["networks"][0]["ip"]
    assert address in container.check_output("ip -oneline -4 address show eth0")
    assert container.process.get(pid=1).comm == "systemd"


def test_the_node_reaches_it(node, fleet) -> None:
    address = fleet["made"]["phoenix_container"]["networks"][0]["ip"].partition("/")[0]
    assert node.run("ping -c 1 -W 2 %s", address).rc == 0


def test_changed_is_what_was_asked_for(config) -> None:
    changed = config(111).main
    assert (changed["cores"], changed["memory"]) == ("2", "768")
    assert "size=5G" in changed["rootfs"]
    assert (changed["onboot"], changed["startup"]) == ("1", "order=7")
    assert "#It was changed" in config(111).main.lines


def test_nothing_waits_for_the_next_start(config) -> None:
    assert "pve:pending" not in config(111).snapshots


def test_removed_has_left_nothing(node) -> None:
    assert not node.file("/etc/pve/lxc/113.conf").exists
    assert not node.check_output("pvesm list lab --vmid 113 | tail -n +2")
    assert node.run("pct status 113").rc != 0
