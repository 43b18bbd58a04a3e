# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from lab.host.world import control_groups
from lab.smoke.running import RunningLab, traces

NOTHING: dict[str, list[str]] = {
    "mounts": [],
    "links": [],
    "routes": [],
    "loops": [],
    "processes": [],
    "cgroups": [],
    "files": [],
}


@pytest.fixture
def other() -> RunningLab:
    return RunningLab("test-life", "10.99.78.0/24")


def test_up_is_idempotent_and_down_leaves_nothing(lab: RunningLab, other: RunningLab) -> None:
    assert "is up" in other.up()
    before = other.exec("cat", "/proc/sys/kernel/random/boot_id")
    other.up()
    assert other.exec("cat", "/proc/sys/kernel/random/boot_id") == before
    assert "other settings: nodes 1, not 2" in other.run("up", "--nodes", "2", check=False).stderr
    # The other lab goes on undisturbed.
    assert other.down() == "The lab test-life is down.\n"
    assert traces(other.lab) == NOTHING
    assert other.down() == "There was no lab test-life.\n"
    assert lab.exec("hostname") == "pve1\n"


@pytest.mark.parametrize("seconds", [0.15, 0.3, 0.5, 0.8, 1.2, 1.8])
def test_a_killed_up_leaves_nothing_after_down(lab: RunningLab, other: RunningLab, seconds: float) -> None:
    other.killed_up(seconds)
    other.down()
    assert traces(other.lab) == NOTHING


def test_a_killed_up_can_be_run_again(lab: RunningLab, other: RunningLab) -> None:
    for seconds in (0.4, 0.9):
        other.killed_up(seconds)
    other.up()
    assert other.exec("hostname") == "pve1\n"
    other.down()
    assert traces(other.lab) == NOTHING


def test_the_nodes_see_each_other(lab: RunningLab, other: RunningLab) -> None:
    other.up("--nodes", "2")
    assert "1 received" in other.exec("ping", "-c", "1", "-W", "2", "pve2", node="pve1")
    other.down()


def test_up_brings_back_what_was_ended(lab: RunningLab, other: RunningLab) -> None:
    other.up()
    other.exec("touch", "/root/mark")
    boot_id = ("cat", "/proc/sys/kernel/random/boot_id")
    before = other.exec(*boot_id)
    # Something that is asked first: until it has finished, systemd still says that the node runs.
    other.exec("systemd-run", "--quiet", "systemd-inhibit", "--mode=delay", "--what=shutdown", "sleep", "1000")
    other.shell("until systemd-inhibit --list | grep -q sleep; do :; done")
    other.exec("systemctl", "poweroff", check=False)
    other.up()
    assert other.exec("ls", "/root/mark")
    assert other.exec(*boot_id) != before
    # As after a restart of the machine: no process is left, and the files are.
    (control_groups() / "phoenix-lab-test-life/cgroup.kill").write_text("1")
    assert "does not run any more" in other.run("status", check=False).stdout
    assert "going on with what is in it" in other.up()
    assert other.exec("ls", "/root/mark")
    assert other.exec("systemctl", "is-system-running") == "running\n"
    other.down()
    assert traces(other.lab) == NOTHING


def test_nodes_have_the_controllers_that_the_machine_has(lab: RunningLab) -> None:
    offered = (control_groups() / "phoenix-lab-test/cgroup.controllers").read_text()
    assert lab.exec("cat", "/sys/fs/cgroup/cgroup.controllers") == offered


@pytest.mark.parametrize(
    ("command", "rc"), [("exit 7", 7), ("kill -TERM $$", 143), ("exec /nowhere", 127)], ids=["exit", "signal", "none"]
)
def test_exec_ends_as_the_command_does(lab: RunningLab, command: str, rc: int) -> None:
    assert lab.run("exec", "pve1", "--", "sh", "-c", command, check=False).returncode == rc


def test_no_traffic_leaves_the_lab(lab: RunningLab) -> None:
    # Not even to this machine's own services beyond the lab: nothing is forwarded, no name is known.
    assert lab.run("exec", "pve1", "--", "getent", "hosts", "example.org", check=False).returncode == 2
    for family in ("ipv4", "ipv6"):
        setting = Path(f"/proc/sys/net/{family}/conf/{lab.lab.interface}/forwarding")
        assert not setting.exists() or setting.read_text() == "0\n"
    refused = lab.run("exec", "pve1", "--", "ping", "-c", "1", "-W", "1", "192.0.2.1", check=False)
    assert refused.returncode != 0
