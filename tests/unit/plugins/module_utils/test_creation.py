# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._creation import DIRECTORY, Creation, CreationNotes
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import full_disk


@pytest.fixture
def notes(tmp_path: Path) -> CreationNotes:
    return CreationNotes(tmp_path)


def test_nothing_was_begun(notes: CreationNotes) -> None:
    assert notes.abandoned(200) is None
    assert notes.of_source(100) is None
    assert not notes.is_begun(200)
    notes.done(200)


def test_while_somebody_is_at_it_nothing_is_abandoned(notes: CreationNotes) -> None:
    with notes.begun(Creation(200, 100)):
        assert notes.is_begun(200)
        assert notes.abandoned(200) is None
        assert notes.of_source(100) is None


def test_a_note_outlives_its_run_until_it_is_done(notes: CreationNotes) -> None:
    with notes.begun(Creation(200, 100)):
        pass
    assert notes.abandoned(200) == Creation(200, 100)
    assert notes.of_source(100) == Creation(200, 100)
    assert notes.of_source(101) is None
    notes.done(200)
    assert notes.abandoned(200) is None
    assert not notes.is_begun(200)


def test_a_creation_from_a_template_has_no_source(notes: CreationNotes) -> None:
    with notes.begun(Creation(200, None)):
        pass
    assert notes.abandoned(200) == Creation(200, None)


def test_the_process_that_inherits_the_descriptor_is_still_at_it(notes: CreationNotes) -> None:
    # A killed run leaves its pct running: as long as that lives, the half-made container is nobody's to remove.
    with notes.begun(Creation(200, 100)) as descriptor:
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=(descriptor,)
        )
    assert notes.abandoned(200) is None
    child.communicate(b"")
    assert notes.abandoned(200) == Creation(200, 100)


def test_a_full_disk_leaves_no_note_and_names_it(notes: CreationNotes, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File too large") as caught, full_disk(), notes.begun(Creation(200, 100)):
        pytest.fail("begun without a note")
    assert caught.value.filename == str(tmp_path / DIRECTORY / "200.json")
    assert not notes.is_begun(200)
    with notes.begun(Creation(200, 100)):
        pass
    with pytest.raises(OSError, match="File too large") as caught, full_disk():
        notes.condemn(Creation(200, 100))
    assert caught.value.filename == str(tmp_path / DIRECTORY / "200.json")


def test_two_runs_cannot_create_the_same_container(notes: CreationNotes) -> None:
    second = notes.begun(Creation(200, 101))
    with (
        notes.begun(Creation(200, 100)),
        pytest.raises(PhoenixError, match="ctid: 200 is being created by another run on this node"),
        second,
    ):
        pytest.fail("begun twice")
    assert notes.abandoned(200) == Creation(200, 100)


def test_a_new_creation_takes_over_an_abandoned_note(notes: CreationNotes) -> None:
    for source in (123456, 1):
        with notes.begun(Creation(200, source)):
            pass
    assert notes.abandoned(200) == Creation(200, 1)


def test_a_note_that_was_never_written_proves_nothing(notes: CreationNotes, tmp_path: Path) -> None:
    with notes.begun(Creation(200, 100)):
        pass
    (tmp_path / DIRECTORY / "200.json").write_text("")
    assert notes.abandoned(200) is None


def test_a_condemned_creation_stays_condemned(notes: CreationNotes) -> None:
    with notes.begun(Creation(200, 100)):
        pass
    notes.condemn(Creation(200, 100))
    assert notes.abandoned(200) == Creation(200, 100, condemned=True)


def test_while_another_clone_of_the_source_is_at_work_the_lock_is_that_ones(notes: CreationNotes) -> None:
    with notes.begun(Creation(200, 100)):
        pass
    with notes.begun(Creation(201, 100)):
        assert notes.of_source(100) is None
    assert notes.of_source(100) is not None


def test_nobody_else_can_hold_an_abandoned_creation(notes: CreationNotes) -> None:
    with notes.begun(Creation(200, 100)):
        pass
    with notes.held(200) as first, notes.held(200) as second:
        assert (first, second) == (Creation(200, 100), None)


def test_notes_are_roots_alone(notes: CreationNotes, tmp_path: Path) -> None:
    with notes.begun(Creation(200, 100)):
        pass
    assert stat.S_IMODE((tmp_path / DIRECTORY).stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / DIRECTORY / "200.json").stat().st_mode) == 0o600
