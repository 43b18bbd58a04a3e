# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guest_ready import GuestReady, lock_holder
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import (
    Answer,
    Call,
    FakeClock,
    FakeRunner,
    failed,
    ok,
)


class World:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.states = ["running"]
        self.known = {"archive.ubuntu.com"}
        self.holders = [0]
        self.timeout = 20
        self.clock = FakeClock()
        self.runner = FakeRunner(
            {
                "systemctl is-system-running": self._state,
                "systemctl list-jobs": "12 cloud-init.service start running\n13 multi-user.target start waiting\n\n",
                "getent": lambda call: ok() if call.argv[2] in self.known else failed("", rc=2),
            }
        )
        (root / "etc/apt/sources.list.d").mkdir(parents=True)
        self.sources("deb http://archive.ubuntu.com/ubuntu noble main\n")

    def sources(self, text: str, name: str = "sources.list") -> None:
        (self.root / "etc/apt" / name).write_text(text)

    def _state(self, _call: Call) -> Completed:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return ok(f"{state}\n") if state == "running" else failed("", rc=1, stdout=f"{state}\n")

    def _holder(self, path: Path) -> int:
        if path.name != "lock-frontend":
            return 0
        return self.holders.pop(0) if len(self.holders) > 1 else self.holders[0]

    def ready(self, *hosts: str) -> GuestReady:
        return GuestReady(
            timeout=self.timeout, hosts=hosts, root=self.root, runner=self.runner, clock=self.clock, holder=self._holder
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_container_that_is_ready_costs_no_time(world: World) -> None:
    assert world.ready().run() == "running"
    assert world.clock.slept == []
    assert world.runner.commands == [
        "systemctl is-system-running",
        "getent ahosts archive.ubuntu.com",
    ]


def test_it_waits_for_the_boot_and_for_locks(world: World) -> None:
    world.states = ["", "initializing", "starting", "degraded"]
    world.holders = [77, 77, 0]
    assert world.ready().run() == "degraded"
    assert world.clock.slept == [0.2] * 5


def test_a_boot_that_does_not_end(world: World) -> None:
    world.states = ["starting"]
    with pytest.raises(PhoenixError) as error:
        world.ready().run()
    assert error.value.reason == (
        "the container has not booted within 20 s: systemd says 'starting', and these jobs wait: cloud-init.service, "
        "multi-user.target"
    )
    assert error.value.code == 6


def test_a_system_without_systemd(world: World) -> None:
    world.states = [""]
    world.runner.on("systemctl list-jobs", "")
    with pytest.raises(PhoenixError, match="systemd says 'nothing'"):
        world.ready().run()


def test_a_name_that_does_not_resolve(world: World) -> None:
    with pytest.raises(PhoenixError, match=r"^nowhere\.example does not resolve in the container within 20 s"):
        world.ready("archive.ubuntu.com", "nowhere.example").run()


def test_a_lock_that_stays_names_its_holder(world: World) -> None:
    """16."""
    (world.root / "proc/77").mkdir(parents=True)
    (world.root / "proc/77/comm").write_text("unattended-upgr\n")
    world.holders = [77]
    with pytest.raises(PhoenixError) as error:
        world.ready().run()
    assert error.value.reason == (
        "/var/lib/dpkg/lock-frontend is still locked after 20 s, by unattended-upgr (process 77)"
    )
    world.holders = [78]
    with pytest.raises(PhoenixError, match="by another program"):
        world.ready().run()


def test_without_a_host_to_resolve_no_name_is_asked_for(world: World) -> None:
    world.known.clear()
    world.sources('Acquire::http::Proxy "http://10.0.0.1:3142";\n', "apt.conf")
    assert world.ready().run() == "running"
    assert world.runner.commands == ["systemctl is-system-running"]


def late(world: World) -> Answer:
    """An answer that does not come: the runner ends the command then."""

    def ended(call: Call) -> Completed:
        assert call.timeout
        world.clock.advance(call.timeout)
        raise PhoenixError(f"{call.argv[0]} did not end within {call.timeout:g} s and was stopped", remedy="")

    return ended


@pytest.mark.parametrize("command", ["systemctl is-system-running", "getent ahosts archive.ubuntu.com"])
def test_a_slow_answer_is_waited_for(world: World, command: str) -> None:
    """The resolver takes 10 to 20 s while the first name servers are silent."""
    world.timeout = 120
    world.runner.on(command, late(world), late(world), ok("running\n"))
    assert world.ready().run() == "running"
    assert world.runner.commands.count(command) == 3


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (
            "systemctl is-system-running",
            (
                "the container has not booted within 20 s: systemd says 'nothing', and these jobs wait: "
                "cloud-init.service, multi-user.target"
            ),
        ),
        ("systemctl", "the container has not booted within 20 s: systemd says 'nothing'"),
        ("getent", "archive.ubuntu.com does not resolve in the container within 20 s"),
    ],
)
def test_an_answer_that_never_comes(world: World, command: str, reason: str) -> None:
    if command == "systemctl":
        world.runner.on("systemctl list-jobs", late(world))
        world.runner.on("systemctl is-system-running", late(world))
    world.runner.on(command, late(world))
    with pytest.raises(PhoenixError) as error:
        world.ready().run()
    assert error.value.reason == reason
    assert world.clock.elapsed < 22


def test_who_holds_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lock_holder(path) == 0
    path.touch()
    assert lock_holder(path) == 0
    code = (
        "import fcntl,sys; f=open(sys.argv[1],'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print('held',flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        assert lock_holder(path) == process.pid
        process.communicate(b"\n")
    descriptor = os.open(path, os.O_RDWR)
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)
