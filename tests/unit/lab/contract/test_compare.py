# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from lab.contract.compare import differences, normalised
from lab.contract.transcript import Case, Outcome, read_sections


def case(command: str, stdout: str = "", stderr: str = "", rc: int = 0) -> Case:
    return Case(1, "t", command, Outcome(stdout, stderr, rc))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("hwaddr=BC:24:11:00:00:01,x\n", "hwaddr=BC:24:11:FF:00:01,x\n"),
        ("snaptime: 1795164487\n", "snaptime: 1895164487\n"),
        ("`-> live1   2026-11-20 08:50:01   x\n", "`-> live1   2027-01-02 18:00:59   x\n"),
        ("real\t0m5.518s\n", "real\t1m0.001s\n"),
        ("Total bytes read: 144056320 (138MiB, 7.6MiB/s)\n", "Total bytes read: 10240 (10KiB, ?/s)\n"),
        ("Number of files: 6,537 (reg: 5,284, dir: 600)\n", "Number of files: 1 (dir: 1)\n"),
        ("do_start: 1277 Failed\n", "do_start: 1270 Failed\n"),
        ("drwxr-xr-x 18 100000 100000 22 Nov 20 08:33 ..\n", "drwxr-xr-x  2 100000 100000 4096 Jan  1  1970 ..\n"),
        ("crw-rw-rw- 1 root   root   195,   0 Nov 20 08:39 /x\n", "crw-rw-rw- 1 root root 195, 0 Nov 20 08:40 /x\n"),
        ("rpool/data/subvol-1-disk-0\t351M\t-\n", "rpool/data/subvol-1-disk-0\t0B\t-\n"),
        ("trying to acquire lock...\n OK\nx\n", "x\n"),
        ("mem: 5\nstatus: running\n", "mem: 6\nstatus: running\n"),
        (
            "UPID:pve1:00001CD5:0002C85C:6B000BBC:vzstart:205:root@pam: 1 6B000BBC OK\n",
            "UPID:pve1:00001CD6:0002C85D:6B000BBD:vzstart:205:root@pam: 1 6B000BBD OK\n",
        ),
    ],
)
def test_what_another_run_would_say_differently_is_equal(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "hwaddr=BC:24:11:00:00:01\nhwaddr=BC:24:11:00:00:01\n",
            "hwaddr=BC:24:11:00:00:01\nhwaddr=BC:24:11:00:00:02\n",
        ),
        ("100 200\n", "100\n"),
        ("-rw-r--r-- 1 root root 6 Nov 20 08:47 /relf\n", "-rw-r--r-- 1 root root 7 Nov 20 08:47 /relf\n"),
        ("crw-rw-rw- 1 root root 195, 0 Nov 20 08:47 /x\n", "crw-rw---- 1 root root 195, 0 Nov 20 08:47 /x\n"),
        ("trying to acquire lock...\nx\n", "x\n"),
        ("mem: 0\nstatus: stopped\n", "mem: 6\nstatus: stopped\n"),
        ("a  b\n", "a b\n"),
        ("a", "a\n"),
    ],
)
def test_everything_else_is_not(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


@pytest.mark.parametrize(
    ("recorded", "got"),
    [
        (case("pct set 1", rc=2), 255),
        (case("cat x; pct set 1", rc=4), 2),
        (case("pct exec 999 -- true", stderr="Configuration file 'x' does not exist\n", rc=2), 255),
    ],
)
def test_an_errno_only_says_failed(recorded: Case, got: int) -> None:
    assert differences(recorded, Outcome("", recorded.expected.stderr, got)) == []


@pytest.mark.parametrize(
    ("recorded", "got"),
    [
        (case("pct set 1", rc=2), 0),
        (case("pct start 1", rc=255), 2),
        (case("pct exec 100 -- ls /x", rc=2), 255),
        (case("pct set 1; grep x y", rc=2), 1),
        (case("pct set 1; echo rc=$?", rc=0), 255),
    ],
)
def test_other_exit_codes_are_compared(recorded: Case, got: int) -> None:
    assert differences(recorded, Outcome("", "", got)) == [("rc", str(recorded.expected.rc), str(got))]


def test_exit_codes_in_the_output_too() -> None:
    recorded = case("pct a; echo rc=$?", "rc=2\nrc=0\nset rc=4\n")
    assert differences(recorded, Outcome("rc=255\nrc=0\nset rc=1\n", "", 0)) == []
    assert differences(recorded, Outcome("rc=255\nrc=1\nset rc=1\n", "", 0)) != []
    assert differences(recorded, Outcome("rc=0\nrc=0\nset rc=1\n", "", 0)) != []
    assert differences(recorded, Outcome("rc=2\n", "", 0)) != []


def test_a_recording_equals_itself() -> None:
    assert [c.name for s in read_sections() for c in s.cases if differences(c, c.expected)] == []
