# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._creation import UNFINISHED, Creation, CreationNotes
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import Guest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._pct import Pct
from ansible_collections.phoenix.hypervisor.plugins.module_utils._pct_errors import explain_warning
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils import recorded_conf as recorded
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.fake_pct import FakePct
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import (
    TEMPLATE,
    Call,
    FakeNode,
    FakeRunner,
    failed,
    full_disk,
    ok,
)

MISSING = "Configuration file 'nodes/pve1/lxc/999.conf' does not exist\n"
FLOCK = "trying to acquire lock...\ncan't lock file '/run/lock/lxc/pve-config-103.lock' - got timeout\n"
MARKED = f"--description '{UNFINISHED}'"
PLAIN = recorded.CLONE.replace("subvol-201", "subvol-103")


@pytest.fixture
def fake(tmp_path: Path) -> FakeNode:
    node = FakeNode(tmp_path)
    node.nvidia(1)
    node.device("/dev/fuse", 10, 229)
    node.conf(103, PLAIN)
    return node


@pytest.fixture
def runner(fake: FakeNode) -> FakePct:
    return FakePct(fake)


@pytest.fixture
def pct(fake: FakeNode, runner: FakePct) -> Pct:
    return Pct(fake.node, runner)


def guest(fake: FakeNode, ctid: int) -> Guest:
    found = fake.node.guest(ctid)
    assert found is not None
    return found


def error_of(action: Callable[[], object]) -> PhoenixError:
    with pytest.raises(PhoenixError) as caught:
        action()
    return caught.value


ACTIONS: dict[str, tuple[str, Callable[[Pct], object]]] = {
    "set": ("pct set 103", lambda pct: pct.set(103, {"memory": "600"}, timeout=5)),
    "revert": ("pct set 103 --revert", lambda pct: pct.revert(103, ["dev0"], timeout=5)),
    "resize": ("pct resize 103", lambda pct: pct.resize(103, "rootfs", "4G", timeout=5)),
    "start": ("pct start 103", lambda pct: pct.start(103, timeout=5)),
    "destroy": ("pct destroy 103", lambda pct: pct.destroy(103, timeout=5)),
    "snapshot": ("pct snapshot 103", lambda pct: pct.snapshot(103, "s1", "", timeout=5)),
    "delsnapshot": ("pct delsnapshot 103", lambda pct: pct.delete_snapshot(103, "s1", timeout=5)),
    "rollback": ("pct rollback 103", lambda pct: pct.rollback(103, "s1", timeout=5)),
    "clone": (
        "pct clone 103 299",
        lambda pct: pct.clone(103, 299, snapshot=None, full=True, hostname=None, storage=None, timeout=5),
    ),
    "create": ("pct create 299", lambda pct: pct.create(299, TEMPLATE, {}, timeout=5)),
}
each_action = pytest.mark.parametrize(("prefix", "action"), ACTIONS.values(), ids=ACTIONS)
each_action_on_103 = pytest.mark.parametrize(("prefix", "action"), list(ACTIONS.values())[:-1], ids=list(ACTIONS)[:-1])


# What is started, and what it says


@pytest.mark.parametrize(
    ("action", "command"),
    [
        (
            lambda pct: pct.create(299, TEMPLATE, {"rootfs": "local-zfs:2", "unprivileged": "1"}, timeout=5),
            f"pct create 299 {TEMPLATE} --rootfs local-zfs:2 --unprivileged 1",
        ),
        (
            lambda pct: pct.clone(103, 299, snapshot="s1", full=True, hostname="w", storage="local-zfs", timeout=5),
            f"pct clone 103 299 --snapname s1 --full 1 --hostname w --storage local-zfs {MARKED}",
        ),
        (
            lambda pct: pct.clone(103, 299, snapshot=None, full=False, hostname=None, storage=None, timeout=5),
            f"pct clone 103 299 --full 0 {MARKED}",
        ),
        (
            lambda pct: pct.set(103, {"memory": "1"}, delete=["dev0", "mp0"], digest="abc", timeout=5),
            "pct set 103 --memory 1 --delete dev0,mp0 --digest abc",
        ),
        (lambda pct: pct.revert(103, ["dev0", "features"], timeout=5), "pct set 103 --revert dev0,features"),
        (lambda pct: pct.resize(103, "rootfs", "4G", timeout=5), "pct resize 103 rootfs 4G"),
        (lambda pct: pct.snapshot(103, "s1", "", timeout=5), "pct snapshot 103 s1"),
        (lambda pct: pct.snapshot(103, "s1", "a b", timeout=5), "pct snapshot 103 s1 --description 'a b'"),
        (lambda pct: pct.delete_snapshot(103, "s1", timeout=5), "pct delsnapshot 103 s1"),
        (lambda pct: pct.rollback(103, "s1", timeout=5), "pct rollback 103 s1"),
        (lambda pct: pct.destroy(103, timeout=5), "pct destroy 103 --purge 1"),
    ],
)
def test_the_one_command_that_is_started(fake: FakeNode, action: Callable[[Pct], object], command: str) -> None:
    runner = FakeRunner({"pct": ok()})
    action(Pct(fake.node, runner))
    assert runner.commands == [command]
    assert runner.calls[0].timeout == 5


def test_keys_are_given_in_a_file_that_is_gone_afterwards(fake: FakeNode) -> None:
    seen: list[tuple[Path, str]] = []

    def pct(call: Call) -> Completed:
        file = Path(call.argv[call.argv.index("--ssh-public-keys") + 1])
        seen.append((file, file.read_text()))
        return ok()

    Pct(fake.node, FakeRunner({"pct": pct})).create(
        299, TEMPLATE, {}, ssh_public_keys=["ssh-rsa A", "ssh-rsa B"], timeout=5
    )
    [(file, text)] = seen
    assert text == "ssh-rsa A\nssh-rsa B\n"
    assert not file.exists()


def test_a_warning_names_its_container() -> None:
    assert explain_warning(299, "old wood burns best") == "Container 299: old wood burns best"
    nesting = explain_warning(299, "Systemd 257 detected. You may need to enable nesting.")
    assert nesting.startswith("Container 299 has no nesting, ")
    assert 'under its systemd 257. If it has such services, give it "pct_options": ["nesting=1"]' in nesting


def test_warnings_of_a_success_are_on_stdout(pct: Pct, fake: FakeNode) -> None:
    # pct-transcripts 1: rc 0, "WARN: ..." on stdout, "Task finished with 1 warning(s)!" on stderr.
    warnings = pct.create(299, TEMPLATE, {"rootfs": "local-zfs:2"}, timeout=60)
    assert warnings == ["Systemd 252 detected. You may need to enable nesting."]
    assert "rootfs: local-zfs:subvol-299-disk-0,size=2G\n" in fake.conf_text(299)


def test_a_note_on_stderr_of_a_success_is_no_failure(pct: Pct) -> None:
    # pct-transcripts 2: "delete a key that is not set", rc 0.
    assert pct.set(103, {}, delete=["dev7"], timeout=5) == []


@pytest.mark.parametrize("rc", [1, 2, 4, 255])
def test_an_exit_code_means_nothing_but_zero_or_not(fake: FakeNode, rc: int) -> None:
    # pct-transcripts 1, 2, 9: the same class of error came with 2, 4 and 255.
    runner = FakeRunner({"pct set 999": failed(MISSING, rc)})
    error = error_of(lambda: Pct(fake.node, runner).set(999, {"memory": "512"}, timeout=5))
    assert error.code is Code.NO_CONTAINER
    assert error.reason == "`pct set 999` failed: Configuration file 'nodes/pve1/lxc/999.conf' does not exist"


FAILURES: list[Any] = [
    pytest.param("1", failed("CT 101 already exists on node 'pve1'\n", 2), Code.INPUT, "Use a free id", id="id-exists"),
    pytest.param(
        "1", failed("storage 'nostor' does not exist\n"), Code.GENERAL, "See the command", id="storage-missing"
    ),
    pytest.param(
        "1",
        failed("Unknown option: bogus\n400 unable to parse option\npct create <vmid> <ostemplate> [OPTIONS]\n", 2),
        Code.GENERAL,
        "See the command",
        id="unknown-option",
    ),
    pytest.param(
        "2",
        failed("detected modified configuration - file changed by other user? Try again.\n"),
        Code.GENERAL,
        "This command changed nothing. Run again",
        id="digest-mismatch",
    ),
    pytest.param("2", failed("/dev/shm is not a device\n"), Code.POWER, "Load the driver", id="not-a-device"),
    pytest.param("4", failed("snapshot name 'clean' already used\n"), Code.SNAPSHOT, "Choose another", id="name-taken"),
    pytest.param("4", failed("snapshot 'nope' does not exist\n"), Code.SNAPSHOT, "Correct the name", id="no-snapshot"),
    pytest.param(
        "4", failed("snapshot feature is not available\n"), Code.SNAPSHOT, "Remove bind mounts", id="no-feature"
    ),
    pytest.param(
        "4",
        failed("can't rollback, 'live1' is not most recent snapshot on 'local-zfs:subvol-105-disk-0'\n"),
        Code.SNAPSHOT,
        "Delete the newer snapshots first.",
        id="not-most-recent",
    ),
    pytest.param(
        "5",
        failed("Linked clone feature for 'local-zfs:subvol-101-disk-1' is not available\n", 2),
        Code.INPUT,
        "Use method: full",
        id="no-linked-clone",
    ),
    pytest.param(
        "clones",
        failed("zfs error: cannot destroy 'rpool/data/subvol-100-disk-0@s1': snapshot has dependent clones\n"),
        Code.SNAPSHOT,
        "Destroy the clones first",
        id="dependents",
    ),
    pytest.param(
        "10",
        failed("unable to destroy CT 104 - container is running\n"),
        Code.POWER,
        "Stop the container",
        id="running",
    ),
    pytest.param(
        "10",
        failed("can't remove CT 298 - protection mode enabled\n"),
        Code.INPUT,
        "Take the protection off the container (`pct set 103 --protection 0`).",
        id="protected",
    ),
    pytest.param(
        "quorum", failed("cluster not ready - no quorum?\n"), Code.GENERAL, "Bring the cluster", id="no-quorum"
    ),
    pytest.param(
        "quorum",
        failed("unable to open file '/etc/pve/nodes/pve1/lxc/102.conf.tmp.4711' - Permission denied\n", 13),
        Code.GENERAL,
        "Bring the cluster",
        id="read-only",
    ),
    pytest.param("none", failed("", 137), Code.GENERAL, "See the command", id="silent"),
]


@pytest.mark.parametrize(("section", "answer", "code", "remedy"), FAILURES)
def test_what_pct_says_when_it_fails(fake: FakeNode, section: str, answer: Any, code: Code, remedy: str) -> None:
    runner = FakeRunner({"pct set 103": answer})
    error = error_of(lambda: Pct(fake.node, runner).set(103, {"memory": "600"}, timeout=5))
    lines = [line for line in answer.stderr.splitlines() if not line.startswith("pct ")]
    said = lines[-1] if lines else "it exited with 137 and said nothing"
    assert error.reason == f"`pct set 103` failed: {said}"
    assert error.remedy.startswith(remedy)
    assert error.code is code
    assert error.details["command"] == "pct set 103 --memory 600"
    assert len(runner.calls) == 1


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        pytest.param(
            "400 Parameter verification failed.\n"
            "hostname: invalid format - value does not look like a valid DNS name\n\n"
            "pct create <vmid> <ostemplate> [OPTIONS]\n",
            "PVE refused the value of hostname: invalid format - value does not look like a valid DNS name",
            id="hostname",
        ),
        pytest.param(
            "400 Parameter verification failed.\nmemory: value must have a minimum value of 16\n"
            "pct set <vmid> [OPTIONS]\n",
            "PVE refused the value of memory: value must have a minimum value of 16",
            id="memory",
        ),
        pytest.param(
            "400 Parameter verification failed.\ndev3: invalid format - format error\n"
            "dev3.path: invalid format - /etc/passwd is not a valid device path\n\n\npct set <vmid> [OPTIONS]\n",
            "PVE refused the value of dev3: invalid format - format error; "
            "dev3.path: invalid format - /etc/passwd is not a valid device path",
            id="property",
        ),
        pytest.param(
            "vm 101 - unable to parse value of 'bogus' - unknown setting 'bogus'\n400 Parameter verification failed.\n"
            "ssh-public-keys: invalid\npct set <vmid> [OPTIONS]\n",
            "PVE refused the value of ssh-public-keys: invalid",
            id="behind-a-warning",
        ),
    ],
)
def test_a_refused_parameter_is_named_with_its_text(fake: FakeNode, stderr: str, reason: str) -> None:
    # pct-transcripts 1 and 2.
    runner = FakeRunner({"pct set 103": failed(stderr, 2)})
    error = error_of(lambda: Pct(fake.node, runner).set(103, {"memory": "12"}, timeout=5))
    assert (error.reason, error.code) == (reason, Code.INPUT)
    assert error.remedy == "Correct that option. This command changed nothing."


def test_a_full_disk_names_where_the_keys_should_be(fake: FakeNode, runner: FakePct, pct: Pct) -> None:
    with pytest.raises(OSError, match="File too large") as caught, full_disk():
        pct.create(299, TEMPLATE, {}, ssh_public_keys=["ssh-ed25519 AAAA x"], timeout=5)
    assert caught.value.filename == tempfile.gettempdir()
    assert runner.calls == []


# Locks


@each_action_on_103
def test_a_locked_container_is_waited_for_without_starting_pct(
    fake: FakeNode, runner: FakePct, pct: Pct, prefix: str, action: Callable[[Pct], object]
) -> None:
    # pct-transcripts 9, "each kind of lock value: what is refused".
    fake.lock(103, "backup")
    runner.on(prefix, ok())
    if "start" in prefix:
        runner.on(prefix, lambda _call: (fake.run_container(103), ok())[1])
    fake.clock.at(3, lambda: fake.lock(103, ""))
    action(pct)
    assert len(runner.calls) == 1
    assert 3 <= fake.clock.elapsed < 4


@each_action_on_103
def test_a_lock_that_stays_is_named_with_its_holder(
    fake: FakeNode, pct: Pct, runner: FakePct, prefix: str, action: Callable[[Pct], object]
) -> None:
    fake.lock(103, "backup")
    upid = fake.active_task(103, "vzdump")
    error = error_of(lambda: action(pct))
    assert error.reason == f"container 103: CT is locked (backup); held by vzdump by root@pam ({upid})"
    assert error.remedy == "Wait for that task and run again."
    assert runner.calls == []
    assert guest(fake, 103).lock == "backup"


def test_a_lock_that_is_left_over_is_named_as_that_and_never_removed(fake: FakeNode, pct: Pct) -> None:
    # pct-transcripts 9, "invalid lock value by hand".
    fake.lock(103, "foo")
    error = error_of(lambda: pct.set(103, {"memory": "600"}, timeout=5))
    assert error.reason == "container 103: CT is locked (foo); no running task holds it"
    assert "then run `pct unlock 103` and run again." in error.remedy
    assert guest(fake, 103).lock == "foo"


@each_action
def test_a_lock_that_came_in_between_is_waited_for(
    fake: FakeNode, prefix: str, action: Callable[[Pct], object]
) -> None:
    # pct-transcripts 9, "two clones of the same source at the same time": CT is locked (disk).
    def done(_call: Call) -> Any:
        if "start" in prefix:
            fake.run_container(103)
        return ok()

    runner = FakeRunner()
    runner.on(prefix, failed("CT is locked (disk)\n"), done)
    action(Pct(fake.node, runner))
    assert len(runner.calls) == 2


def test_waiting_after_a_refusal_starts_no_pct_either(fake: FakeNode) -> None:
    def locked_meanwhile(_call: Call) -> Any:
        fake.lock(103, "disk")
        return failed("CT is locked (disk)\n")

    runner = FakeRunner()
    runner.on("pct set 103", locked_meanwhile, ok())
    fake.clock.at(40, lambda: fake.lock(103, ""))
    Pct(fake.node, runner).set(103, {"memory": "600"}, timeout=60)
    assert len(runner.calls) == 2
    assert 40 <= fake.clock.elapsed < 41


@pytest.mark.parametrize("holder", ["", "process 4711 (pct set 103 --memory 601)"])
def test_the_flock_that_pct_could_not_get(fake: FakeNode, holder: str) -> None:
    # pct-transcripts 9, "concurrent: hold the flock 30 s": rc 4.
    def after_ten_seconds(_call: Call) -> Any:
        fake.clock.advance(10)
        return failed(FLOCK, 4)

    if holder:
        fake.flock_held(103, 4711, ("pct", "set", "103", "--memory", "601"))
    runner = FakeRunner({"pct set 103": after_ten_seconds})
    error = error_of(lambda: Pct(fake.node, runner).set(103, {"memory": "600"}, timeout=25))
    assert error.reason == (
        "container 103: can't lock file '/run/lock/lxc/pve-config-103.lock' - got timeout; "
        + (f"held by {holder}" if holder else "no running task holds it")
    )
    assert len(runner.calls) == 3


def test_waiting_for_a_container_to_be_unlocked(fake: FakeNode, pct: Pct) -> None:
    fake.lock(103, "snapshot")
    fake.clock.at(2, lambda: fake.lock(103, ""))
    pct.wait_unlocked(103, timeout=5)
    assert 2 <= fake.clock.elapsed < 3
    fake.lock(103, "snapshot")
    assert "CT is locked (snapshot)" in error_of(lambda: pct.wait_unlocked(103, timeout=5)).reason


def test_two_clones_of_one_source_wait_for_each_other(fake: FakeNode, pct: Pct) -> None:
    # pct-transcripts 9: the second clone failed at once with CT is locked (disk).
    fake.lock(103, "disk")
    fake.active_task(103)
    fake.clock.at(90, lambda: fake.lock(103, ""))
    pct.clone(103, 299, snapshot=None, full=True, hostname="second", storage=None, timeout=600)
    assert guest(fake, 299).config["hostname"] == "second"
    assert 90 <= fake.clock.elapsed < 91


@each_action_on_103
def test_waiting_for_a_lock_takes_nothing_off_the_time_of_what_is_done_then(
    fake: FakeNode, prefix: str, action: Callable[[Pct], object]
) -> None:
    def unlocked(_call: Call) -> Any:
        if "start" in prefix:
            fake.run_container(103)
        return ok()

    runners = [FakeRunner({prefix: unlocked}), FakeRunner({prefix: unlocked})]
    action(Pct(fake.node, runners[0]))
    if "start" in prefix:
        fake.stop_container(103)
    fake.lock(103, "backup")
    fake.clock.at(fake.clock.elapsed + 4.5, lambda: fake.lock(103, ""))
    action(Pct(fake.node, runners[1]))
    assert runners[1].calls[0].timeout == runners[0].calls[0].timeout


def test_a_copy_that_was_refused_because_of_another_has_its_full_time_as_well(fake: FakeNode) -> None:
    def locked_meanwhile(_call: Call) -> Any:
        fake.lock(103, "disk")
        fake.active_task(103)
        fake.clock.at(550, lambda: fake.lock(103, ""))
        return failed("CT is locked (disk)\n")

    runner = FakeRunner()
    runner.on("pct clone 103", locked_meanwhile, ok())
    Pct(fake.node, runner).clone(103, 299, snapshot=None, full=True, hostname=None, storage=None, timeout=600)
    assert [call.timeout for call in runner.calls] == [600, 600]


def test_a_container_that_is_to_be_shut_down_is_not_waited_for_longer_than_others(fake: FakeNode, pct: Pct) -> None:
    fake.run_container(103)
    fake.lock(103, "backup")
    assert "CT is locked (backup)" in error_of(lambda: pct.shutdown(103, timeout=60)).reason
    assert fake.clock.elapsed == pytest.approx(60)


# Power


@pytest.mark.parametrize("power", ["start", "stop", "shutdown"])
def test_power(fake: FakeNode, runner: FakePct, pct: Pct, power: str) -> None:
    if power != "start":
        fake.run_container(103)
    assert getattr(pct, power)(103, timeout=60) == []
    assert fake.node.is_running(103) is (power == "start")
    assert runner.commands == [f"pct {power} 103" + (" --timeout 60" if power == "shutdown" else "")]


@pytest.mark.parametrize("power", ["start", "stop", "shutdown"])
def test_power_that_is_there_already_is_no_failure(fake: FakeNode, pct: Pct, power: str) -> None:
    # pct-transcripts 8: "CT 104 already running", "CT 103 not running", rc 255.
    if power == "start":
        fake.run_container(103)
    assert getattr(pct, power)(103, timeout=60) == ()


def test_a_lock_is_reported_even_if_somebody_else_changed_the_power(fake: FakeNode) -> None:
    fake.run_container(103)
    runner = FakeRunner({"pct stop 103": failed("CT is locked (migrate)\n")})
    fake.clock.at(2, lambda: fake.stop_container(103))
    error = error_of(lambda: Pct(fake.node, runner).stop(103, timeout=5))
    assert error.reason == "container 103: CT is locked (migrate); no running task holds it"
    assert error.code is Code.POWER


def test_a_container_that_does_not_shut_down(fake: FakeNode, runner: FakePct, pct: Pct) -> None:
    fake.run_container(103)
    runner.stubborn.add(103)
    error = error_of(lambda: pct.shutdown(103, timeout=20))
    assert error.reason == "`pct shutdown 103` failed: container did not stop"
    assert error.code is Code.POWER
    timeout = runner.calls[0].timeout
    assert timeout is not None
    assert timeout > 45, "pct looks at the container for 20 + 25 s"


@pytest.mark.parametrize(
    ("power", "state"), [("start", "is not running"), ("stop", "is still running"), ("shutdown", "is still running")]
)
def test_a_success_without_effect_is_a_failure(fake: FakeNode, power: str, state: str) -> None:
    # pct-transcripts 8: "start, immediately shutdown with small timeout": rc 0 with a failure on stdout.
    if power != "start":
        fake.run_container(103)
    runner = FakeRunner({f"pct {power} 103": "command 'lxc-stop -n 103 --nokill --timeout 3' failed: exit code 1\n"})
    error = error_of(lambda: getattr(Pct(fake.node, runner), power)(103, timeout=3))
    assert error.reason.startswith(f"container 103 {state} after `pct {power} 103")
    assert error.reason.endswith("which reported success")
    assert error.code is Code.POWER


def test_a_start_without_effect_is_not_waited_for_long(fake: FakeNode) -> None:
    error_of(lambda: Pct(fake.node, FakeRunner({"pct start 103": ok()})).start(103, timeout=600))
    assert fake.clock.elapsed <= 11


def test_a_container_that_takes_a_moment_to_stop(fake: FakeNode) -> None:
    fake.run_container(103)
    fake.clock.at(2, lambda: fake.stop_container(103))
    Pct(fake.node, FakeRunner({"pct shutdown 103": ok()})).shutdown(103, timeout=60)
    assert 2 <= fake.clock.elapsed < 3


def test_a_failed_start_says_what_lxc_said(fake: FakeNode, pct: Pct) -> None:
    # pct-transcripts 8, "pct set bad raw line makes start fail: what is printed".
    fake.conf(103, f"{PLAIN}lxc.mount.entry: /dev/nosuch dev/nosuch none bind,create=file\n")
    error = error_of(lambda: pct.start(103, timeout=60))
    assert error.reason == "`pct start 103` failed: startup for container '103' failed"
    assert error.code is Code.POWER
    assert "Failed to mount" in error.details["console"][0]
    assert "Failed to mount" in error.details["stdout"]


def test_a_device_that_vanished_fails_the_start(fake: FakeNode, pct: Pct) -> None:
    # pct-transcripts 8, "devN whose device vanished at start".
    fake.remove_device("/dev/nvidia0")
    error = error_of(lambda: pct.start(103, timeout=60))
    assert error.reason == "`pct start 103` failed: Device /dev/nvidia0 does not exist"
    assert error.remedy.startswith("Load the driver on the node")
    assert error.code is Code.POWER


WRITTEN = "PVE wrote the change, although it answered: Device /dev/nvidia0 does not exist"


def test_a_device_that_vanished_does_not_undo_what_was_set(fake: FakeNode, pct: Pct) -> None:
    # pct-transcripts 8, the same, and pct.md S15.
    fake.remove_device("/dev/nvidia0")
    assert pct.set(103, {"memory": "513"}, delete=["nameserver"], timeout=60) == [WRITTEN]
    assert guest(fake, 103).config["memory"] == "513"
    assert pct.set(103, {}, delete=["dev0"], timeout=60) == []
    assert "dev0" not in guest(fake, 103).config


def test_a_device_that_vanished_does_not_undo_what_waits_for_a_restart(fake: FakeNode, pct: Pct) -> None:
    fake.run_container(103)
    fake.remove_device("/dev/nvidia0")
    assert pct.set(103, {"features": "keyctl=1"}, delete=["dev0"], timeout=60) == [WRITTEN]
    assert (guest(fake, 103).pending, guest(fake, 103).pending_delete) == ({"features": "keyctl=1"}, {"dev0"})
    assert pct.revert(103, ["features", "dev0"], timeout=60) == [WRITTEN]
    assert (guest(fake, 103).pending, guest(fake, 103).pending_delete) == ({}, set())


@pytest.mark.parametrize(
    "action",
    [
        lambda pct: pct.set(103, {"memory": "513"}, timeout=60),
        lambda pct: pct.set(103, {}, delete=["dev0"], timeout=60),
        lambda pct: pct.revert(103, ["swap"], timeout=60),
        lambda pct: pct.set(104, {"memory": "513"}, timeout=60),
    ],
    ids=["set", "delete", "revert", "gone"],
)
def test_a_change_that_cannot_be_found_afterwards(fake: FakeNode, action: Callable[[Pct], object]) -> None:
    fake.conf(103, f"{PLAIN}\n[pve:pending]\nswap: 7\n")
    refusing = FakeRunner({"pct set": failed("Device /dev/nvidia0 does not exist\n", 2)})
    error = error_of(lambda: action(Pct(fake.node, refusing)))
    assert error.reason.endswith(
        "failed: Device /dev/nvidia0 does not exist. Read again, the configuration does not show the change"
    )
    assert error.remedy.startswith("Load the driver on the node")
    assert error.code is Code.POWER
    assert error.details["command"].startswith("pct set 10")


def test_a_start_of_nothing(pct: Pct) -> None:
    assert error_of(lambda: pct.start(999, timeout=60)).code is Code.NO_CONTAINER


# Snapshots


def test_snapshot_rollback_and_deletion(fake: FakeNode, pct: Pct) -> None:
    fake.conf(101, recorded.CHANGED_SINCE)
    pct.rollback(101, "clean", timeout=60)
    # pct-transcripts 4, "rollback 101", to the letter.
    assert fake.conf_text(101) == recorded.ROLLED_BACK
    pct.delete_snapshot(101, "clean", timeout=60)
    assert guest(fake, 101).snapshots == {}
    pct.snapshot(101, "clean", "golden: state\n2nd line 105%", timeout=60)
    assert guest(fake, 101).snapshots["clean"].description == "golden: state\n2nd line 105%\n"


def test_a_rollback_stops_a_running_container(fake: FakeNode, pct: Pct) -> None:
    # pct-transcripts 4: "change things then rollback of a RUNNING CT to the latest".
    fake.conf(105, recorded.TWO_SNAPSHOTS.replace("memory: 512", "memory: 700", 1))
    fake.run_container(105)
    pct.rollback(105, "live3", timeout=60)
    assert fake.conf_text(105) == recorded.TWO_SNAPSHOTS
    assert not fake.node.is_running(105)


def test_a_rollback_to_an_older_zfs_snapshot_is_refused(fake: FakeNode, pct: Pct) -> None:
    fake.conf(105, recorded.TWO_SNAPSHOTS)
    error = error_of(lambda: pct.rollback(105, "live1", timeout=60))
    assert error.reason.endswith("can't rollback, 'live1' is not most recent snapshot on 'local-zfs:subvol-105-disk-0'")
    assert (error.code, error.remedy) == (Code.SNAPSHOT, "Delete the newer snapshots first.")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("template: 1", "container 103 is a PVE template, and PVE takes no snapshot of a template"),
        ("mp2: /srv,mp=/srv", "container 103 has a bind mount (mp2: /srv), and PVE takes no snapshot of a container"),
        ("mp2: local-dir:103/vm-103-disk-3.raw,mp=/x", "storage local-dir of mp2 of container 103 is of type dir"),
    ],
)
def test_obstacles_are_found_without_asking_pct(fake: FakeNode, line: str, reason: str) -> None:
    # pct-transcripts 4 and 5: bind mount, dir storage, template.
    fake.conf(103, f"{PLAIN}{line}\n")
    error = Pct(fake.node, FakeRunner()).snapshot_obstacle(guest(fake, 103))
    assert error is not None
    assert error.reason.startswith(reason)
    assert error.code is Code.SNAPSHOT


@pytest.mark.parametrize("line", ["mp2: nfs-gone:x,mp=/x", "lxc.mount.entry: /srv srv none bind,create=dir"])
def test_what_is_no_obstacle(fake: FakeNode, line: str) -> None:
    # pct-transcripts 4: raw lxc.mount.entry binds do not matter; an unknown storage is PVE's to judge.
    fake.conf(103, f"{PLAIN}{line}\n")
    assert Pct(fake.node, FakeRunner()).snapshot_obstacle(guest(fake, 103)) is None


def test_the_snapshots_that_zfs_clones_depend_on(fake: FakeNode, runner: FakePct, pct: Pct) -> None:
    runner.dependents["rpool/data/subvol-103-disk-0@s1"] = ["rpool/data/subvol-300-disk-0", "rpool/x"]
    assert pct.dependents(guest(fake, 103), "s1") == ["rpool/data/subvol-300-disk-0", "rpool/x"]
    assert pct.dependents(guest(fake, 103), "s2") == []
    assert runner.commands[0] == "zfs get -H -o value clones rpool/data/subvol-103-disk-1@s1"


def test_a_linked_clone_and_other_storages_and_datasets_that_are_gone(fake: FakeNode) -> None:
    fake.conf(206, "rootfs: local-zfs:basevol-205-disk-0/subvol-206-disk-1,size=2G\nmp0: local-dir:1/x,mp=/x\n")
    runner = FakeRunner({"zfs get": failed("cannot open: dataset does not exist\n", 1)})
    assert Pct(fake.node, runner).dependents(guest(fake, 206), "s1") == []
    assert runner.commands == ["zfs get -H -o value clones rpool/data/subvol-206-disk-1@s1"]


def test_only_zfs_insists_on_the_newest_snapshot(fake: FakeNode, pct: Pct) -> None:
    assert pct.newest_only_rollback(guest(fake, 103))
    fake.conf(104, "rootfs: local-dir:104/vm-104-disk-0.raw,size=2G\n")
    assert not pct.newest_only_rollback(guest(fake, 104))


# Destroying


def test_destroy(fake: FakeNode, pct: Pct) -> None:
    pct.destroy(103, timeout=60)
    assert fake.node.guest(103) is None


def test_a_running_container_is_not_destroyed(fake: FakeNode, pct: Pct) -> None:
    fake.run_container(103)
    error = error_of(lambda: pct.destroy(103, timeout=60))
    assert (error.reason, error.code) == (
        "`pct destroy 103` failed: unable to destroy CT 103 - container is running",
        Code.POWER,
    )


# Creations that were cut short


def _interrupted_clone(fake: FakeNode, *, noted: bool = True, lock: str = "create") -> None:
    """A clone of 103 to 298 whose pct was killed (pct-transcripts 9, "pct set during pct clone")."""
    copied = "".join(line for line in PLAIN.replace("103", "298").splitlines(keepends=True) if line[0] != "#")
    fake.conf(298, f"#{UNFINISHED}\n{copied}")
    fake.lock(298, lock)
    fake.lock(103, "disk")
    if noted:
        with CreationNotes(fake.root).begun(Creation(298, 103)):
            pass


def test_our_killed_clone_is_cleared_and_its_source_released(fake: FakeNode, runner: FakePct, pct: Pct) -> None:
    _interrupted_clone(fake)
    assert pct.interrupted(298, guest(fake, 298)) == "half-made"
    pct.clear(298)
    assert runner.commands == ["pct unlock 298", "pct destroy 298 --purge 1", "pct unlock 103"]
    assert fake.node.guest(298) is None
    assert guest(fake, 103).lock == ""
    assert pct.interrupted(298, None) == ""
    pct.clear(298)
    assert len(runner.calls) == 3


def test_a_strangers_half_made_container_is_reported_and_left_alone(fake: FakeNode, runner: FakePct, pct: Pct) -> None:
    _interrupted_clone(fake, noted=False)
    error = error_of(lambda: pct.interrupted(298, guest(fake, 298)))
    assert error.reason == (
        "ctid: 298 is a half-made container (lock: create) that no running task and none of our own creations explains"
    )
    pct.clear(298)
    assert runner.calls == []


def test_a_creation_that_is_still_under_way_is_nobodys_to_clear(fake: FakeNode, runner: FakePct, pct: Pct) -> None:
    _interrupted_clone(fake, noted=False)
    fake.active_task(298, "vzcreate")
    assert pct.interrupted(298, guest(fake, 298)) == ""
    with CreationNotes(fake.root).begun(Creation(298, 103)):
        assert pct.interrupted(298, guest(fake, 298)) == ""
        pct.clear(298)
    assert runner.calls == []


def test_a_strangers_clone_that_runs_is_left_alone_whatever_note_there_is(
    fake: FakeNode, runner: FakePct, pct: Pct
) -> None:
    # Our clone was undone long ago, its note stayed; now somebody else clones to the same id.
    _interrupted_clone(fake)
    fake.active_task(103, log="creating a clone of container 103 with ID 298\n")
    assert pct.interrupted(298, guest(fake, 298)) == ""
    assert runner.calls == []


def test_our_creation_that_was_cut_short_before_its_settings(fake: FakeNode, pct: Pct) -> None:
    _interrupted_clone(fake, lock="")
    assert pct.interrupted(298, guest(fake, 298)) == "unfinished"
    pct.finished(298)
    assert pct.interrupted(298, guest(fake, 298)) == ""


@pytest.mark.parametrize("source", [None, 103], ids=["create", "clone"])
@pytest.mark.parametrize("lock", ["", "create"], ids=["whole", "half-made"])
def test_a_note_does_not_make_somebody_elses_container_ours(
    fake: FakeNode, runner: FakePct, pct: Pct, lock: str, source: int | None
) -> None:
    # Our run was killed before there was anything, and somebody has made a container of that id by hand since.
    with CreationNotes(fake.root).begun(Creation(298, source)):
        pass
    fake.conf(298, PLAIN)
    fake.lock(298, lock)
    if lock:
        assert "none of our own creations explains" in error_of(lambda: pct.interrupted(298, guest(fake, 298))).reason
    else:
        assert pct.interrupted(298, guest(fake, 298)) == ""
    pct.clear(298)
    assert runner.calls == []


def test_pct_inherits_the_lock_on_the_note(fake: FakeNode) -> None:
    notes = CreationNotes(fake.root)

    def look(call: Call) -> Any:
        (descriptor,) = call.pass_fds
        assert notes.abandoned(299) is None
        assert os.readlink(f"/proc/self/fd/{descriptor}").endswith("/299.json")
        return ok()

    pct = Pct(fake.node, FakeRunner({"pct clone 103 299": look}))
    pct.clone(103, 299, snapshot=None, full=True, hostname=None, storage=None, timeout=60)
    assert notes.abandoned(299) == Creation(299, 103)
    pct.finished(299)
    assert notes.abandoned(299) is None


@pytest.mark.parametrize(
    ("left", "noted"),
    [
        pytest.param("", False, id="pct-undid-it"),
        pytest.param("lock: create\n", True, id="left-half-made"),
    ],
)
def test_a_failed_creation_leaves_a_note_only_if_it_left_something(fake: FakeNode, left: str, noted: bool) -> None:
    def fails(_call: Call) -> Any:
        if left:
            fake.conf(299, left)
        return failed("clone failed: unable to create image\n")

    pct = Pct(fake.node, FakeRunner({"pct clone": fails}))
    error_of(lambda: pct.clone(103, 299, snapshot=None, full=True, hostname=None, storage=None, timeout=60))
    assert CreationNotes(fake.root).is_begun(299) is noted


def test_a_container_that_somebody_else_made_in_the_meantime_is_never_ours(fake: FakeNode) -> None:
    def taken(_call: Call) -> Any:
        fake.conf(299, "lock: create\n")
        return failed("CT 299 already exists on node 'pve1'\n")

    runner = FakeRunner({"pct clone": taken})
    pct = Pct(fake.node, runner)
    error_of(lambda: pct.clone(103, 299, snapshot=None, full=True, hostname=None, storage=None, timeout=60))
    fake.active_task(299, "vzcreate")
    assert pct.interrupted(299, guest(fake, 299)) == ""
    pct.clear(299)
    assert runner.commands == [f"pct clone 103 299 --full 1 {MARKED}"]


def test_the_source_of_our_killed_clone_is_released_for_the_next_clone(
    fake: FakeNode, runner: FakePct, pct: Pct
) -> None:
    _interrupted_clone(fake)
    pct.clone(103, 299, snapshot=None, full=True, hostname=None, storage=None, timeout=60)
    assert runner.commands == ["pct unlock 103", f"pct clone 103 299 --full 1 {MARKED}"]
    assert fake.clock.elapsed == 0


def test_a_source_that_a_strangers_clone_holds_is_waited_for(fake: FakeNode, runner: FakePct, pct: Pct) -> None:
    # There is a note on an old clone of ours, but the lock belongs to the task that runs now.
    _interrupted_clone(fake)
    upid = fake.active_task(103)
    error = error_of(lambda: pct.set(103, {"memory": "600"}, timeout=5))
    assert error.reason == f"container 103: CT is locked (disk); held by vzclone by root@pam ({upid})"
    assert runner.calls == []
    assert guest(fake, 103).lock == "disk"


def test_a_source_whose_clone_was_completed_is_locked_by_somebody_else(
    fake: FakeNode, runner: FakePct, pct: Pct
) -> None:
    _interrupted_clone(fake)
    fake.conf(298, PLAIN.replace("103", "298"))
    error = error_of(lambda: pct.set(103, {"memory": "600"}, timeout=5))
    assert error.reason == "container 103: CT is locked (disk); no running task holds it"
    assert runner.calls == []


def test_only_one_of_several_waiting_runs_takes_the_lock_off(fake: FakeNode) -> None:
    _interrupted_clone(fake)

    def meanwhile(_call: Call) -> Any:
        other = Pct(fake.node, FakeRunner())
        assert "CT is locked (disk)" in error_of(lambda: other.wait_unlocked(103, timeout=1)).reason
        fake.lock(103, "")
        return ok()

    runner = FakeRunner({"pct unlock 103": meanwhile})
    Pct(fake.node, runner).wait_unlocked(103, timeout=5)
    assert runner.commands == ["pct unlock 103"]


@pytest.mark.parametrize(
    ("conf", "commands"),
    [
        pytest.param("hostname: x\n", ["pct destroy 298 --purge 1"], id="unlocked-by-hand"),
        pytest.param("lock: create\n", ["pct unlock 298", "pct destroy 298 --purge 1"], id="placeholder"),
    ],
)
def test_what_is_no_finished_copy_is_removed(
    fake: FakeNode, runner: FakePct, pct: Pct, conf: str, commands: list[str]
) -> None:
    fake.conf(298, conf)
    with CreationNotes(fake.root).begun(Creation(298, None)):
        pass
    assert pct.interrupted(298, guest(fake, 298)) == "half-made"
    pct.clear(298)
    assert runner.commands == commands


def test_a_removal_that_was_cut_short_goes_on(fake: FakeNode, pct: Pct) -> None:
    # Killed between `pct unlock` and `pct destroy`: what is left looks like a finished copy, and is none.
    _interrupted_clone(fake)
    dying = Pct(fake.node, FakeRunner({"pct unlock 298": lambda _call: (fake.lock(298, ""), ok())[1]}))
    with pytest.raises(AssertionError, match="unexpected command: pct destroy 298"):
        dying.clear(298)
    assert guest(fake, 298).lock == ""
    assert pct.interrupted(298, guest(fake, 298)) == "half-made"
    pct.clear(298)
    assert fake.node.guest(298) is None
    assert guest(fake, 103).lock == ""


def test_nobody_can_begin_a_creation_under_an_id_that_is_being_cleared(fake: FakeNode) -> None:
    _interrupted_clone(fake)
    watched = FakePct(fake)
    looked: list[str] = []

    def meanwhile(call: Call) -> Any:
        looked.append(call.argv[1])
        assert CreationNotes(fake.root).abandoned(298) is None
        return watched.unknown(call)

    watched.on("pct unlock 298", meanwhile)
    watched.on("pct destroy 298", meanwhile)
    Pct(fake.node, watched).clear(298)
    assert looked == ["unlock", "destroy"]
    assert guest(fake, 103).lock == ""


def test_a_creation_without_a_source_releases_none(fake: FakeNode, runner: FakePct, pct: Pct) -> None:
    fake.conf(298, "lock: create\n")
    with CreationNotes(fake.root).begun(Creation(298, None)):
        pass
    pct.clear(298)
    assert runner.commands == ["pct unlock 298", "pct destroy 298 --purge 1"]


# Preflight, by reading only


def test_reading_starts_nothing(fake: FakeNode) -> None:
    pct = Pct(fake.node, FakeRunner())
    fake.guest_elsewhere(105)
    assert pct.node_name == "pve1"
    assert pct.read(103) == fake.node.guest(103)
    assert pct.read(999) is None
    assert pct.owner_of(105) == "VM 105 on node pve2"
    pct.check_possible({"dev0": "/dev/nvidia0"}, creating=True)
    pct.check_place(storages=["local-zfs"], bridges=["vmbr0"], ostemplate=TEMPLATE)
    pct.check_place(storages=[], bridges=[], ostemplate=None)


def test_nothing_is_possible_without_quorum(fake: FakeNode, pct: Pct) -> None:
    fake.read_only()
    assert "the node has no quorum" in error_of(lambda: pct.check_possible({})).reason


@pytest.mark.parametrize(
    ("place", "reason", "remedy"),
    [
        (
            {"storages": ["nostor"]},
            "storage: 'nostor' is not a storage of this node",
            "Use one of: local, local-dir, local-zfs.",
        ),
        (
            {"storages": ["local"]},
            "storage: 'local' is not allowed to hold containers (content rootdir)",
            "Use one of: local-dir, local-zfs, or add rootdir to its content.",
        ),
        (
            {"bridges": ["vmbr9"]},
            "bridge: 'vmbr9' does not exist on node pve1",
            "Create the bridge in /etc/network/interfaces, or name an existing one.",
        ),
        (
            {"ostemplate": "local:vztmpl/nope.tar.zst"},
            (
                "ostemplate: 'local:vztmpl/nope.tar.zst' is not there: "
                "/var/lib/vz/template/cache/nope.tar.zst does not exist on pve1"
            ),
            "Download it (`pveam update`, `pveam available`, `pveam download`), or correct the name.",
        ),
        (
            {"ostemplate": "nowhere:vztmpl/x.tar.zst"},
            "ostemplate: 'nowhere:vztmpl/x.tar.zst' names no storage of this node",
            "Write STORAGE:vztmpl/FILE (storages: local, local-zfs, local-dir) or an absolute path.",
        ),
        (
            {"ostemplate": "x.tar.zst"},
            "ostemplate: 'x.tar.zst' names no storage of this node",
            "Write STORAGE:vztmpl/FILE (storages: local, local-zfs, local-dir) or an absolute path.",
        ),
    ],
)
def test_places_that_are_not_there(pct: Pct, place: dict[str, Any], reason: str, remedy: str) -> None:
    # pct-transcripts 1: template volume missing, storage missing, no rootdir; a missing bridge was accepted silently.
    asked = {"storages": [], "bridges": [], "ostemplate": None, **place}
    error = error_of(lambda: pct.check_place(**asked))
    assert (error.reason, error.remedy, error.code) == (reason, remedy, Code.INPUT)


def test_a_storage_that_cannot_be_looked_into_is_pves_to_judge(fake: FakeNode, pct: Pct) -> None:
    pct.check_place(storages=[], bridges=[], ostemplate="local-zfs:vztmpl/x.tar.zst")


def test_the_flock_of_the_file_is_not_ours_while_pct_runs(fake: FakeNode) -> None:
    def look(_call: Call) -> Any:
        with fake.flock_file(103).open("wb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return ok()

    Pct(fake.node, FakeRunner({"pct set": look})).set(103, {"memory": "600"}, timeout=5)
