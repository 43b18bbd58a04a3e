# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import (
    CLEAN_ENVIRONMENT,
    Clock,
    Completed,
    Process,
    run,
)
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import FakeClock


def test_output_and_exit_code_are_kept_apart() -> None:
    done = run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert done == Completed(("sh", "-c", "echo out; echo err >&2; exit 7"), 7, "out\n", "err\n")
    assert not done.ok


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    # pct-transcripts 6: pct exec hands the caller's whole environment into the container.
    monkeypatch.setenv("SSL_CERT_FILE", "/x")
    monkeypatch.setenv("LANG", "xx")
    done = run(["env"])
    shown = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert {key: shown[key] for key in CLEAN_ENVIRONMENT} == CLEAN_ENVIRONMENT
    assert set(shown) <= {*CLEAN_ENVIRONMENT, "PWD", "_", "SHLVL", "LC_CTYPE"}
    assert run(["pwd"]).stdout == "/\n"


def test_there_is_no_shell() -> None:
    assert run(["echo", "$HOME", "*", "a b", ""]).stdout == "$HOME * a b \n"
    assert run(["echo", "a b"]).command == "echo 'a b'"


def test_nobody_eats_our_stdin() -> None:
    assert run(["cat"]).stdout == ""


def test_stdin_is_streamed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 4096)
    with source.open("rb") as stream:
        assert run(["wc", "-c"], stdin=stream).stdout.split() == ["1048576"]


def test_output_that_is_not_utf8_is_kept() -> None:
    done = run(["printf", r"\377\n"])
    assert done.stdout.encode("utf-8", "surrogateescape") == b"\xff\n"


def test_a_command_that_is_not_there() -> None:
    done = run(["phoenix-nosuch-command", "x"])
    assert (done.rc, done.stderr) == (127, "phoenix-nosuch-command: No such file or directory")


def test_a_descriptor_can_be_handed_on() -> None:
    reading, writing = os.pipe()
    try:
        run(["sh", "-c", f"echo held > /proc/self/fd/{writing}"], pass_fds=(writing,))
        assert os.read(reading, 100) == b"held\n"
    finally:
        os.close(reading)
        os.close(writing)


def test_a_command_that_overstays_is_asked_to_end_and_can_clean_up(tmp_path: Path) -> None:
    # pct hands the TERM to its worker, which undoes a half-made clone; a KILL would leave the worker running.
    script = f"trap 'echo cleaned > {tmp_path}/trace; echo bye; exit 1' TERM; echo begun; sleep 30 & wait"
    before = time.monotonic()
    with pytest.raises(PhoenixError) as caught:
        run(["sh", "-c", script], timeout=0.3)
    assert time.monotonic() - before < 5
    assert caught.value.reason.endswith("did not end within 0.3 s and was stopped")
    assert caught.value.details == {"stdout": "begun\nbye\n", "stderr": ""}
    assert (tmp_path / "trace").read_text() == "cleaned\n"


def test_its_children_end_with_it() -> None:
    with pytest.raises(PhoenixError) as caught:
        run(["sh", "-c", "sleep 30 & echo $!; wait"], timeout=0.3)
    child = int(caught.value.details["stdout"])
    for _attempt in range(100):
        if not Path(f"/proc/{child}").exists() or ") Z " in Path(f"/proc/{child}/stat").read_text():
            return
        time.sleep(0.05)
    pytest.fail("the child still runs")


def test_a_command_that_does_not_end_when_asked_is_killed() -> None:
    script = "trap '' TERM; echo begun; while :; do sleep 0.1; done"
    with Process(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 100) == b"begun\n"
        process.end(0.2)
        assert process.returncode == -9


def test_output_that_a_runaway_keeps_open_is_not_waited_for() -> None:
    script = "trap '' TERM; echo begun; setsid sleep 4 & sleep 30"
    with Process(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as process:
        time.sleep(0.2)
        assert process.end(0.2) == (b"begun\n", b"")


def test_the_real_clock() -> None:
    clock = Clock()
    deadline = clock.deadline(0.05)
    assert deadline.pause(10)
    assert deadline.left <= 0
    assert not deadline.pause(10)


def test_a_pause_never_goes_past_the_deadline() -> None:
    clock = FakeClock()
    deadline = clock.deadline(2.5)
    assert [deadline.pause(1.0) for _turn in range(4)] == [True, True, True, False]
    assert clock.slept == [1.0, 1.0, 0.5]
    assert deadline.left == 0


@pytest.mark.parametrize(
    ("stdout", "stderr", "expected"),
    [("out\n", "one\n two \n\n", "two"), ("one\ntwo\n", " \n", "two"), ("", "", "exit code 7")],
    ids=["what went wrong", "what it printed", "nothing"],
)
def test_what_a_command_said_last(stdout: str, stderr: str, expected: str) -> None:
    assert Completed((), 7, stdout, stderr).last_line == expected
