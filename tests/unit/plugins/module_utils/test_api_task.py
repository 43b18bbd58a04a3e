# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
import requests
from ansible_collections.phoenix.hypervisor.plugins.module_utils._api_client import ApiError, Connection
from ansible_collections.phoenix.hypervisor.plugins.module_utils._api_task import TaskError, Tasks, Upid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.api_server import (
    FakePve,
    refused,
)
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import FakeClock
from hypothesis import given
from hypothesis import strategies as st

# api-transcripts 14: start
START = "UPID:pve1:00000A53:00028D81:6B0016A9:vzstart:160:root@pam!full:"
STATUS = f"GET nodes/pve1/tasks/{START}/status"
LOG = f"GET nodes/pve1/tasks/{START}/log?start=0&limit=500"
RUNNING = {"status": "running", "upid": START}


def stopped(exitstatus: str) -> dict[str, str]:
    return {"status": "stopped", "exitstatus": exitstatus, "upid": START}


def log(*lines: str) -> list[dict[str, t.Any]]:
    return [{"n": number, "t": line} for number, line in enumerate(lines, 1)]


def tasks_of(pve: FakePve, clock: FakeClock) -> Tasks:
    return Tasks(Connection(pve, "pve1:8006", "root@pam!full"), "pve1", clock)


def wait(answers: dict[str, list[t.Any]], clock: FakeClock | None = None, timeout: float = 60.0) -> list[str]:
    clock = clock or FakeClock()
    tasks = tasks_of(FakePve(answers), clock)
    return tasks.wait(Upid.parse(START), clock.deadline(timeout), timeout=timeout, code=Code.POWER)


class TestUpid:
    def test_the_nine_fields(self) -> None:
        # api-transcripts 13: a clone's task bears the source's id
        text = "UPID:pve1:00000A05:00027C22:6B00167D:vzclone:101:auto@pve!tk:"
        assert Upid.parse(text) == Upid(text, "pve1", 2565, 162850, 1795167869, "vzclone", "101", "auto@pve!tk")

    @given(
        st.tuples(
            st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", fullmatch=True),
            st.integers(0, 0xFFFFFFFF),
            st.integers(0, 0xFFFFFFFFF),
            st.integers(0, 0xFFFFFFFF),
            st.from_regex(r"[a-z]+", fullmatch=True),
            st.from_regex(r"([0-9]+)?", fullmatch=True),
            st.from_regex(r"[a-z]+@[a-z]+(![a-z0-9]{2,})?", fullmatch=True),
        )
    )
    def test_every_name_of_a_task_is_read_back(self, fields: tuple[str, int, int, int, str, str, str]) -> None:
        node, pid, pstart, start, kind, ident, user = fields
        text = f"UPID:{node}:{pid:08X}:{pstart:08X}:{start:08X}:{kind}:{ident}:{user}:"
        assert Upid.parse(text) == Upid(text, node, pid, pstart, start, kind, ident, user)

    @pytest.mark.parametrize("text", ["garbage", START[:-1], f"{START}\n", f" {START}", "None", ""])
    def test_what_is_no_name_of_a_task_is_refused(self, text: str) -> None:
        with pytest.raises(PhoenixError) as caught:
            Upid.parse(text)
        assert caught.value.reason == f"PVE answered {text!r} where the name of a task was expected"
        assert caught.value.remedy == "Look at the node's task list for what became of the request."


class TestWait:
    def test_it_asks_less_and_less_often(self) -> None:
        # api-transcripts 14: the start of 160 took 17 s
        clock = FakeClock()
        assert wait({STATUS: [*[RUNNING] * 12, stopped("OK")]}, clock) == []
        assert clock.slept[:3] == pytest.approx([0.2, 0.3, 0.45])
        assert max(clock.slept) == 2.0
        assert clock.slept[-3:] == [2.0, 2.0, 2.0]

    def test_warnings_are_success_and_are_passed_on(self) -> None:
        # api-transcripts 12: create unprivileged=0
        lines = log(
            "extracting archive '/var/lib/vz/template/cache/debian-12-standard_12.7-1_amd64.tar.zst'",
            "Total bytes read: 144056320 (138MiB, 17MiB/s)",
            "Detected container architecture: amd64",
            "WARN: Systemd 252 detected. You may need to enable nesting.",
            "TASK WARNINGS: 1",
        )
        assert wait({STATUS: [stopped("WARNINGS: 1")], LOG: [lines]}) == [
            "Systemd 252 detected. You may need to enable nesting."
        ]

    def test_warnings_that_cannot_be_read_are_counted(self) -> None:
        answers: dict[str, list[t.Any]] = {
            STATUS: [stopped("WARNINGS: 2")],
            LOG: [refused(403, "Permission check failed")],
        }
        assert wait(answers) == ["vzstart of 160 ended with WARNINGS: 2"]

    def test_a_failure_only_the_task_tells_carries_its_last_lines(self) -> None:
        # api-transcripts 14: POST status/start of 999 answers 200; api.md: the task says that it does not exist
        missing = "Configuration file 'nodes/pve1/lxc/999.conf' does not exist"
        lines = [f"line {number}" for number in range(30)]
        answers: dict[str, list[t.Any]] = {STATUS: [stopped(missing)], LOG: [log(*lines, f"TASK ERROR: {missing}")]}
        with pytest.raises(TaskError) as caught:
            wait(answers)
        assert caught.value.reason == missing
        assert caught.value.code is Code.NO_CONTAINER
        assert caught.value.details["task"] == START
        assert caught.value.details["task_log"] == [*lines[-19:], f"TASK ERROR: {missing}"]
        assert not caught.value.did_nothing

    def test_other_failures_have_the_code_of_the_operation(self) -> None:
        # api-transcripts 14: resume
        text = "command 'lxc-checkpoint -n 160 -r --foreground -D /var/lib/vz/dump' failed: exit code 1"
        with pytest.raises(TaskError) as caught:
            wait({STATUS: [stopped(text)], LOG: [log(f"TASK ERROR: {text}")]})
        assert caught.value.code is Code.POWER

    def test_a_long_log_is_read_to_its_end(self) -> None:
        first = log(*[f"line {number}" for number in range(500)])
        answers: dict[str, list[t.Any]] = {
            STATUS: [stopped("broken")],
            LOG: [first],
            LOG.replace("start=0", "start=500"): [log("TASK ERROR: broken")],
        }
        with pytest.raises(TaskError) as caught:
            wait(answers)
        assert caught.value.details["task_log"][-2:] == ["line 499", "TASK ERROR: broken"]

    def test_a_task_without_an_end_is_a_failure(self) -> None:
        with pytest.raises(TaskError, match="unexpected status"):
            wait({STATUS: [{"status": "stopped"}], LOG: [log()]})

    def test_when_the_time_is_over_the_task_goes_on_and_is_named(self) -> None:
        clock = FakeClock()
        with pytest.raises(PhoenixError) as caught:
            wait({STATUS: [RUNNING]}, clock, timeout=10)
        assert caught.value.reason == "vzstart of 160 was not done after 10 s; the task goes on"
        assert caught.value.remedy == (
            f"Watch it (pvesh get /nodes/pve1/tasks/{START}/status) until it has ended before running again, or raise "
            "the timeout."
        )
        assert caught.value.code is Code.POWER
        assert caught.value.details == {"task": START}
        assert clock.elapsed == pytest.approx(10)

    def test_a_proxy_that_restarts_meanwhile_is_waited_for(self) -> None:
        answers: dict[str, list[t.Any]] = {
            STATUS: [
                RUNNING,
                requests.exceptions.ConnectTimeout("x"),
                refused(595, "Connection refused"),
                stopped("OK"),
            ]
        }
        assert wait(answers) == []

    def test_a_server_that_stays_away_does_not_hide_that_the_task_was_started(self) -> None:
        with pytest.raises(ApiError) as caught:
            wait({STATUS: [refused(595, "Connection refused")]}, timeout=10)
        assert caught.value.reason == "vzstart of 160 was started, but its end could not be seen: Connection refused"
        assert caught.value.remedy == (
            "pve1:8006 answers, but what it passes requests on to does not: see to pvedaemon and the node. The task "
            "goes on meanwhile: look at it before running again."
        )
        assert caught.value.outcome_unknown
        assert caught.value.details["task"] == START

    def test_a_task_that_pve_no_longer_knows(self) -> None:
        # api-transcripts 6: GET status of an unknown UPID
        unknown = refused(400, "Parameter verification failed.", {"upid": "no such task"})
        with pytest.raises(ApiError, match="its end could not be seen: upid: no such task"):
            wait({STATUS: [unknown]})


SNAPSHOT = "UPID:pve1:000006DA:0001E7F3:6B001501:vzsnapshot:100:root@pam!full:"
SNAPSHOT_STATUS = f"GET nodes/pve1/tasks/{SNAPSHOT}/status"
SNAPSHOT_LOG = f"GET nodes/pve1/tasks/{SNAPSHOT}/log?start=0&limit=500"
CONFIG = "GET nodes/pve1/lxc/100/config?current=1"
ACTIVE = "GET nodes/pve1/tasks?source=active"
# api-transcripts 13: tasks?source=active while 101 is cloned
CLONE_ROW = {
    "id": "101", "user": "root@pam!full", "pid": 2503, "saved": "0", "status": "RUNNING", "node": "pve1",
    "upid": "UPID:pve1:000009C7:000274BF:6B00166A:vzclone:101:root@pam!full:", "type": "vzclone",
    "starttime": 1795167850, "pstart": 160959,
}  # fmt: skip


def act(pve: FakePve, clock: FakeClock, ctid: int = 100, *, repeat_task: bool = True) -> list[str]:
    return tasks_of(pve, clock).act(
        ctid, "post", (ctid, "snapshot"), {"snapname": "x1"}, timeout=30, code=Code.SNAPSHOT, repeat_task=repeat_task
    )


class TestLocks:
    def test_a_lock_that_goes_away_is_waited_for_without_hammering(self) -> None:
        # api-transcripts 13: a second clone of the same source: CT is locked (disk)
        clock = FakeClock()
        pve = FakePve(
            {
                "POST nodes/pve1/lxc/101/snapshot": [refused(500, "CT is locked (disk)"), None],
                "GET nodes/pve1/lxc/101/config?current=1": [{"lock": "disk"}, {"lock": "disk"}, {"hostname": "gpu1"}],
            }
        )
        assert act(pve, clock, 101) == []
        assert pve.writes == ["POST nodes/pve1/lxc/101/snapshot"] * 2
        assert clock.slept == [1.0, 1.0, 1.0]

    def test_a_lock_that_only_the_task_meets_is_waited_for_too(self) -> None:
        # api-transcripts 4: snapshot of a locked container answers 200
        ended = [{"status": "stopped", "exitstatus": text} for text in ("CT is locked (snapshot-delete)", "OK")]
        pve = FakePve(
            {
                "POST nodes/pve1/lxc/100/snapshot": [SNAPSHOT],
                SNAPSHOT_STATUS: ended,
                SNAPSHOT_LOG: [log("TASK ERROR: CT is locked (snapshot-delete)")],
                CONFIG: [{}],
            }
        )
        assert act(pve, FakeClock()) == []
        assert len(pve.writes) == 2

    def test_waiting_takes_nothing_off_the_time_of_the_task(self) -> None:
        clock = FakeClock()
        pve = FakePve(
            {
                "POST nodes/pve1/lxc/100/snapshot": [refused(500, "CT is locked (backup)"), SNAPSHOT],
                CONFIG: [*[{"lock": "backup"}] * 24, {}],
                SNAPSHOT_STATUS: [*[{"status": "running"}] * 15, {"status": "stopped", "exitstatus": "OK"}],
            }
        )
        assert act(pve, clock) == []
        # 25 of the 30 s for the lock, and then more than the 5 s that were left of them.
        assert 25 + 15 < clock.elapsed < 25 + 30

    def test_a_busy_lock_file_is_tried_again(self) -> None:
        # api-transcripts 8: PUT while a creation holds the file; pct-transcripts 9: the same in a task
        busy = "can't lock file '/run/lock/lxc/pve-config-100.lock' - got timeout"
        ended = [{"status": "stopped", "exitstatus": text} for text in (busy, "OK")]
        pve = FakePve(
            {
                "POST nodes/pve1/lxc/100/snapshot": [refused(500, busy), SNAPSHOT],
                SNAPSHOT_STATUS: ended,
                SNAPSHOT_LOG: [log("trying to acquire lock...", f"TASK ERROR: {busy}")],
            }
        )
        assert act(pve, FakeClock()) == []
        assert len(pve.writes) == 3

    @pytest.mark.parametrize(
        ("lines", "repeat_task"),
        [
            (("create full clone of mountpoint rootfs", "TASK ERROR: CT is locked (disk)"), True),
            (("TASK ERROR: CT is locked (disk)",), False),
            ((), True),
        ],
        ids=["it had begun", "an operation that is never asked for twice", "its log cannot be seen"],
    )
    def test_a_task_that_may_have_done_something_is_not_repeated(
        self, lines: tuple[str, ...], repeat_task: bool
    ) -> None:
        pve = FakePve(
            {
                "POST nodes/pve1/lxc/100/snapshot": [SNAPSHOT],
                SNAPSHOT_STATUS: [{"status": "stopped", "exitstatus": "CT is locked (disk)"}],
                SNAPSHOT_LOG: [log(*lines)],
            }
        )
        with pytest.raises(TaskError, match="CT is locked"):
            act(pve, FakeClock(), repeat_task=repeat_task)
        assert len(pve.writes) == 1

    def test_a_lock_that_stays_is_named_with_its_holder(self) -> None:
        clock = FakeClock()
        pve = FakePve(
            {
                "POST nodes/pve1/lxc/101/snapshot": [refused(500, "CT is locked (disk)")],
                "GET nodes/pve1/lxc/101/config?current=1": [{"lock": "disk"}],
                ACTIVE: [[CLONE_ROW, {"upid": START}]],
            }
        )
        with pytest.raises(PhoenixError) as caught:
            act(pve, clock, 101)
        assert caught.value.reason == (
            "ctid: 101 is locked (disk) and was not freed within 30 s: vzclone of root@pam!full is at work on it "
            "(UPID:pve1:000009C7:000274BF:6B00166A:vzclone:101:root@pam!full:)"
        )
        assert caught.value.remedy == "Wait for that task to end and run again, or raise the timeout."
        assert caught.value.code is Code.SNAPSHOT
        assert caught.value.details == {"lock": "disk", "holders": [CLONE_ROW["upid"]]}
        assert clock.elapsed == 30
        assert len(pve.writes) == 1

    def test_a_stale_lock_is_never_taken_away(self) -> None:
        # api-transcripts 4: CT 100 carries a stale lock, and no task works on it (6: source=active answers [])
        pve = FakePve(
            {
                "POST nodes/pve1/lxc/100/snapshot": [refused(500, "CT is locked (snapshot-delete)")],
                CONFIG: [{"lock": "snapshot-delete"}],
                ACTIVE: [[]],
            }
        )
        with pytest.raises(PhoenixError) as caught:
            act(pve, FakeClock())
        assert caught.value.reason == (
            "ctid: 100 is locked (snapshot-delete) and was not freed within 30 s: no running task on it can be seen"
        )
        assert caught.value.remedy == (
            "Tasks of others are seen with Sys.Audit on /nodes/pve1 only: look for what holds it. If nothing works on "
            "it any more, take the lock away on the node: pct unlock 100."
        )

    def test_a_lock_file_that_stays_busy(self) -> None:
        busy = refused(500, "can't lock file '/run/lock/lxc/pve-config-100.lock' - got timeout")
        pve = FakePve({"POST nodes/pve1/lxc/100/snapshot": [busy], ACTIVE: [[]]})
        with pytest.raises(PhoenixError) as caught:
            act(pve, FakeClock())
        assert str(caught.value) == (
            "ctid: 100 is locked (by its lock file) and was not freed within 30 s: no running task on it can be seen. "
            "Tasks of others are seen with Sys.Audit on /nodes/pve1 only: look for what holds it."
        )

    def test_other_refusals_are_not_repeated(self) -> None:
        pve = FakePve({"POST nodes/pve1/lxc/100/snapshot": [refused(500, "cluster not ready - no quorum?")]})
        with pytest.raises(ApiError, match="no quorum"):
            act(pve, FakeClock())
        assert len(pve.writes) == 1

    @pytest.mark.parametrize(
        ("configs", "slept"),
        [
            pytest.param([{}], 0, id="it is free"),
            # api-transcripts 8: a container that is being created
            pytest.param([{"lock": "create"}, {"lock": "create"}, {"hostname": "api1"}], 2, id="it becomes free"),
            pytest.param(
                [{"lock": "create"}, refused(500, "Configuration file 'nodes/pve1/lxc/100.conf' does not exist")],
                1,
                id="the creation failed and took it away",
            ),
        ],
    )
    def test_waiting_for_a_container_without_asking_for_anything(self, configs: list[t.Any], slept: int) -> None:
        clock = FakeClock()
        tasks_of(FakePve({CONFIG: configs}), clock).wait_unlocked(100, timeout=30)
        assert clock.slept == [1.0] * slept

    def test_waiting_in_vain(self) -> None:
        with pytest.raises(PhoenixError, match=r"ctid: 100 is locked \(backup\) and was not freed within 30 s"):
            tasks_of(FakePve({CONFIG: [{"lock": "backup"}], ACTIVE: [[]]}), FakeClock()).wait_unlocked(100, timeout=30)

    def test_a_lock_that_may_not_be_read(self) -> None:
        forbidden = refused(403, "Permission check failed (/vms/100, VM.Audit)")
        with pytest.raises(ApiError, match=r"VM\.Audit"):
            tasks_of(FakePve({CONFIG: [forbidden]}), FakeClock()).wait_unlocked(100, timeout=30)
