# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lab.contract.changes import CHANGES, Change, as_played
from lab.contract.not_imitated import NOT_PLAYED
from lab.contract.replay import LabPlayer, SimulatedPlayer, replay
from lab.contract.report import Verdict, as_markdown, unknown_entries
from lab.contract.transcript import Case, Outcome, Section, read_sections


@dataclasses.dataclass
class RecordingPlayer:
    """Answers a recorded line with what was recorded, and anything else with success."""

    section: Section
    failing: str = "nothing"
    real: bool = False
    done: list[str] = dataclasses.field(default_factory=list)

    def run(self, script: str) -> Outcome:
        self.done.append(script)
        if self.failing in script:
            return Outcome("", "no such container\n", 2)
        seen = self.done.count(script) - 1
        cases = [as_played(case, real=self.real) for case in self.section.cases]
        answers = [case.expected for case in cases if case.command == script]
        return answers[seen] if seen < len(answers) else Outcome("", "", 0)

    def write(self, path: str, text: str) -> None:
        self.done.append(f"{path}: {len(text)}")


SECTIONS = {section.number: section for section in read_sections()}


@pytest.mark.parametrize("section", SECTIONS.values(), ids=lambda section: str(section.number))
def test_the_state_comes_first_and_cases_follow_in_order(section: Section) -> None:
    player = RecordingPlayer(section)
    played = replay(section, player)
    assert [case.name for case, _ in played] == [case.name for case in section.cases]
    assert all(got == case.expected for case, got in played if case.name not in NOT_PLAYED)
    assert player.done[0].startswith("set -e\npct create ")


def test_what_was_done_by_hand_comes_right_before_its_case() -> None:
    player = RecordingPlayer(SECTIONS[2])
    replay(SECTIONS[2], player)
    position = player.done.index("set -e\necho 'bogus: 1' >> /etc/pve/lxc/101.conf\n")
    assert player.done[position + 1] == "pct config 101 | tail -4"


def test_a_state_that_cannot_be_built_ends_the_replay() -> None:
    with pytest.raises(RuntimeError, match="the state before section 3 failed with 2:\nno such container"):
        replay(SECTIONS[3], RecordingPlayer(SECTIONS[3], failing="pct start 100"))


def test_what_could_harm_the_machine_is_only_played_in_a_lab() -> None:
    done = {}
    for real in (False, True):
        player = RecordingPlayer(SECTIONS[7], real=real)
        played = replay(SECTIONS[7], player)
        done[real] = {case.name for case, got in played if got is not None}
        assert any("mount -t tmpfs" in script for script in player.done) is real
    assert done[True] - done[False] == NOT_PLAYED.keys()


CASES = {case.name: case for section in SECTIONS.values() for case in section.cases}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_has_a_reason_and_an_effect(name: str) -> None:
    assert CHANGES[name].reason
    if not CHANGES[name].unordered:
        assert as_played(CASES[name], real=False) != CASES[name]
    if CHANGES[name].simulated_only:
        assert as_played(CASES[name], real=True) == CASES[name]


def test_a_change_takes_its_part_of_the_line_and_of_the_output() -> None:
    played = as_played(CASES["3/mp0 hot-plug"], real=False)
    assert played.command == "pct set 100 --mp0 local-zfs:1,mp=/data; pct exec 100 -- test -d /data"
    assert played.expected == Outcome("", "", 0)


def test_a_change_of_another_line_is_refused() -> None:
    case = dataclasses.replace(CASES["3/mp0 hot-plug"], command="pct list")
    with pytest.raises(ValueError, match="the recorded line has no 'findmnt /data'"):
        as_played(case, real=False)


def test_lines_run_on_the_simulated_node_as_on_a_node(tmp_path: Path) -> None:
    player = SimulatedPlayer(tmp_path)
    player.write("/etc/pve/lxc/100.conf", "arch: amd64\n")
    got = player.run("ls /etc/pve/lxc; cat /etc/pve/nodes/pve1/lxc/100.conf; pwd; cat /gone; exit 7")
    assert got == Outcome("100.conf\narch: amd64\n/root/tests\n", "cat: /gone: No such file or directory\n", 7)


def test_the_node_has_more_programs_than_pct(tmp_path: Path) -> None:
    player = SimulatedPlayer(tmp_path)
    player.run("mkdir /rpool/data/subvol-100-disk-0; mknod /dev/gone c 195 7")
    assert player.run("zfs list -H -o name").stdout == "rpool\nrpool/data\nrpool/data/subvol-100-disk-0\n"
    assert player.run("cat /dev/gone").stdout == "fake-device c 195 7 0666\n"
    assert player.run("systemctl is-active pve-container@100").rc == 3
    assert player.run("time sleep 2; timeout 2 tail -f /dev/null; echo $?").stdout == "124\n"


EXEC = """\
#!/bin/sh
{ echo "== $*"; [ "$3" = tee ] && cat; } >> "$1/log"
case $6 in
*container-mounts*) echo "/proc/driver proc/driver none bind 0 0" ;;
*rc.py*) echo "['a', '/proc/driver proc/driver none bind 0 0']"; exit 3 ;;
*lxc-info*) printf 'a\\n/proc/driver proc/driver none bind 0 0\\nb\\n' ;;
esac
"""


@pytest.fixture
def lab(tmp_path: Path) -> LabPlayer:
    """A node that does nothing, but remembers what it was asked for."""
    program = tmp_path / "exec"
    program.write_text(EXEC, encoding="ascii")
    program.chmod(0o755)
    return LabPlayer([str(program), str(tmp_path), "--"])


def test_a_node_of_a_lab_is_cleaned_and_prepared_first(lab: LabPlayer, tmp_path: Path) -> None:
    log = (tmp_path / "log").read_text("utf-8")
    position = [
        log.index(text) for text in ("# Before a section", "# What the recorded machine had", "-- tee /root/rc.py")
    ]
    assert position == sorted(position)
    assert "class LxcMonitor" in log
    assert lab.real


def test_lines_run_on_the_node_without_what_the_lab_adds(lab: LabPlayer) -> None:
    assert lab.run("python3 /root/rc.py") == Outcome("['a']\n", "", 3)
    assert lab.run("lxc-info") == Outcome("a\nb\n", "", 0)


def test_files_are_written_on_the_node(lab: LabPlayer, tmp_path: Path) -> None:
    lab.write("/etc/pve/lxc/100.conf", "arch: amd64\n")
    assert (tmp_path / "log").read_text("utf-8").endswith(" -- tee /etc/pve/lxc/100.conf\narch: amd64\n")


def verdict(got: str | None, reason: str | None, change: Change | None = None) -> Verdict:
    case = Case(1, "a|b", "pct list", Outcome("x\ny\n", "", 0))
    return Verdict(case, None if got is None else Outcome(got, "", 0), reason, change)


EQUAL = verdict("x\ny\n", None)
IN_PART = verdict("y\nx\n", None, Change("two at once", unordered=True))
KNOWN = verdict("z\n", "because")


@pytest.mark.parametrize("judged", [EQUAL, IN_PART, KNOWN, verdict(None, "writes 3 GiB")])
def test_what_is_equal_or_known_is_no_problem(judged: Verdict) -> None:
    assert judged.problem == ""


def test_a_difference_is_shown() -> None:
    assert verdict("x\nz\n", None).problem == (
        "1/a|b: not as recorded\n# pct list\n--- stdout (recorded)\n+++ stdout (replayed)\n@@ -1,2 +1,2 @@\n x\n-y\n+z"
    )
    assert verdict("y\nx\n", None).problem
    assert verdict(None, None).problem


def test_what_depends_on_the_host_can_be_equal() -> None:
    case = Case(3, "memory hot", "pct list", Outcome("", "", 0))
    assert Verdict(case, case.expected, "the host").problem == ""


def test_a_stale_entry_is_a_problem() -> None:
    assert verdict("x\ny\n", "known").problem == "1/a|b is equal: take it out of not_imitated.py"


def test_the_tables_can_only_name_recorded_cases() -> None:
    assert unknown_entries({"1/no arguments": "", "1/none": ""}, SECTIONS.values()) == ["1/none"]


def test_the_summary_counts_and_says_why() -> None:
    judged = {Section(1, "list", ()): [EQUAL, IN_PART, KNOWN, EQUAL], Section(2, "set", ()): [EQUAL]}
    assert as_markdown(judged).splitlines() == [
        "| Section | Cases | As recorded | In part | Not imitated |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| 1. list | 4 | 2 | 1 | 1 |",
        "| 2. set | 1 | 1 | 0 | 0 |",
        "| All | 5 | 3 | 1 | 1 |",
        "",
        "| In part | Why |",
        "| --- | --- |",
        "| 1/a\\|b | two at once |",
        "",
        "| Not imitated | Why |",
        "| --- | --- |",
        "| 1/a\\|b | because |",
    ]
