# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._lxc_config import ConfigFile, ConfigWriter
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils import recorded_conf as recorded
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import FakeClock, FakeNode


@pytest.fixture
def fake(tmp_path: Path) -> FakeNode:
    node = FakeNode(tmp_path)
    node.conf(101, recorded.SNAPSHOT)
    return node


@pytest.fixture
def umask() -> Iterator[None]:
    old = os.umask(0o022)
    yield
    os.umask(old)


def _edited(fake: FakeNode) -> tuple[ConfigFile, str]:
    current = fake.node.config_file(101)
    assert current is not None
    return current.with_option("memory", "4096"), current.digest


def _assert_untouched(fake: FakeNode) -> None:
    assert fake.conf_text(101) == recorded.SNAPSHOT
    assert sorted(os.listdir(fake.root / "etc/pve/lxc")) == ["101.conf"]


def test_exactly_the_rendered_bytes_are_written(fake: FakeNode) -> None:
    new, digest = _edited(fake)
    fake.node.config_writer(101).write(new, expected_digest=digest)
    assert fake.conf_text(101) == recorded.SNAPSHOT.replace("memory: 1024", "memory: 4096", 1)
    assert sorted(os.listdir(fake.root / "etc/pve/lxc")) == ["101.conf"]
    assert fake.clock.slept == []


def test_the_file_is_replaced_by_rename_with_the_only_mode_that_pmxcfs_knows(fake: FakeNode, umask: None) -> None:
    path = fake.node.config_path(101)
    with path.open("rb") as before:
        new, digest = _edited(fake)
        fake.node.config_writer(101).write(new, expected_digest=digest)
        assert before.read().decode() == recorded.SNAPSHOT
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_there_is_no_chmod(fake: FakeNode, umask: None) -> None:
    # pct-transcripts 2: chmod on pmxcfs is "Operation not permitted". A mode that follows the umask was never set.
    os.umask(0o077)
    new, digest = _edited(fake)
    fake.node.config_writer(101).write(new, expected_digest=digest)
    assert stat.S_IMODE(fake.node.config_path(101).stat().st_mode) == 0o600


def test_the_lock_directory_is_made_when_it_is_not_there(fake: FakeNode) -> None:
    (fake.root / "run/lock/lxc").rmdir()
    new, digest = _edited(fake)
    fake.node.config_writer(101).write(new, expected_digest=digest)
    assert fake.flock_file(101).exists()


def test_a_locked_container_is_refused(fake: FakeNode) -> None:
    fake.conf(101, f"lock: backup\n{recorded.SNAPSHOT}")
    new, digest = _edited(fake)
    with pytest.raises(PhoenixError) as caught:
        fake.node.config_writer(101).write(new, expected_digest=digest)
    assert caught.value.reason == "101.conf: the container is locked (backup)"
    assert caught.value.remedy == "Wait until the task that holds the lock has ended, then run again."
    assert fake.conf_text(101) == f"lock: backup\n{recorded.SNAPSHOT}"


def test_a_lock_in_a_snapshot_section_does_not_lock_the_container(fake: FakeNode) -> None:
    fake.conf(101, f"{recorded.SNAPSHOT}lock: backup\n")
    new, digest = _edited(fake)
    fake.node.config_writer(101).write(new, expected_digest=digest)
    assert "memory: 4096" in fake.conf_text(101)


def test_somebody_elses_newer_file_is_not_overwritten(fake: FakeNode) -> None:
    new, digest = _edited(fake)
    newer = recorded.SNAPSHOT.replace("cores: 1", "cores: 8", 1)
    fake.conf(101, newer)
    with pytest.raises(PhoenixError, match=r"101\.conf was changed by somebody else while this run decided"):
        fake.node.config_writer(101).write(new, expected_digest=digest)
    assert fake.conf_text(101) == newer


def test_a_container_that_was_removed_meanwhile_does_not_come_back(fake: FakeNode) -> None:
    new, digest = _edited(fake)
    fake.node.config_path(101).unlink()
    with pytest.raises(PhoenixError, match=r"101\.conf is gone"):
        fake.node.config_writer(101).write(new, expected_digest=digest)
    assert os.listdir(fake.root / "etc/pve/lxc") == []


# PVE's flock

HOLDER = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


def test_another_process_that_holds_the_lock_is_waited_for_and_then_named(fake: FakeNode) -> None:
    # pct-transcripts 9: 10 s, then "can't lock file ... - got timeout".
    new, digest = _edited(fake)
    command = [sys.executable, "-c", HOLDER, str(fake.flock_file(101))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        fake.flock_held(101, holder.pid, ["pct", "set", "101", "--memory", "601"])
        with pytest.raises(PhoenixError) as caught:
            fake.node.config_writer(101).write(new, expected_digest=digest)
        holder.communicate(b"")
    held_by = f"process {holder.pid} (pct set 101 --memory 601)"
    assert caught.value.reason == f"{fake.flock_file(101)} is locked by {held_by} for more than 10 s"
    assert fake.clock.elapsed == pytest.approx(10)
    _assert_untouched(fake)
    fake.node.config_writer(101).write(new, expected_digest=digest)


def test_a_lock_that_is_released_in_time_is_taken(fake: FakeNode) -> None:
    new, digest = _edited(fake)
    descriptor = os.open(fake.flock_file(101), os.O_WRONLY | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    fake.clock.at(3, lambda: os.close(descriptor))
    fake.node.config_writer(101).write(new, expected_digest=digest)
    assert 3 <= fake.clock.elapsed < 3.5
    assert "memory: 4096" in fake.conf_text(101)


@pytest.mark.parametrize("kind", [fcntl.LOCK_EX, fcntl.LOCK_SH], ids=["writer", "reader"])
def test_a_holder_that_nobody_knows(fake: FakeNode, kind: int) -> None:
    new, digest = _edited(fake)
    with fake.flock_file(101).open("wb") as stream:
        fcntl.flock(stream, kind)
        writer = ConfigWriter(fake.node.config_path(101), fake.flock_file(101), clock=FakeClock())
        with pytest.raises(PhoenixError, match="is locked by another process for more than 10 s"):
            writer.write(new, expected_digest=digest)


def test_the_lock_is_given_back_after_success_and_after_failure(fake: FakeNode) -> None:
    new, digest = _edited(fake)
    with pytest.raises(PhoenixError):
        fake.node.config_writer(101).write(new, expected_digest="0" * 40)
    fake.node.config_writer(101).write(new, expected_digest=digest)
    with fake.flock_file(101).open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_default_clock_is_the_real_one(fake: FakeNode) -> None:
    new, digest = _edited(fake)
    ConfigWriter(fake.node.config_path(101), fake.flock_file(101)).write(new, expected_digest=digest)
    assert "memory: 4096" in fake.conf_text(101)


# Writing fails


def test_a_file_that_cannot_be_written_whole_is_left_as_it_was(fake: FakeNode) -> None:
    # pct-transcripts 2: "File too large" is what pmxcfs says above 1 MiB; a limit of the process says the same.
    new, digest = _edited(fake)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        with pytest.raises(PhoenixError) as caught:
            fake.node.config_writer(101).write(new, expected_digest=digest)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.reason == f"{fake.node.config_path(101)} could not be written: File too large"
    assert caught.value.remedy == "Free what the message names and run again. The file is as it was."
    _assert_untouched(fake)


def test_what_stands_in_the_way_of_the_temporary_file_is_named(fake: FakeNode) -> None:
    new, digest = _edited(fake)
    (fake.root / f"etc/pve/lxc/101.conf.tmp.{os.getpid()}").mkdir()
    with pytest.raises(PhoenixError, match="could not be written: Is a directory"):
        fake.node.config_writer(101).write(new, expected_digest=digest)
    assert fake.conf_text(101) == recorded.SNAPSHOT


def test_a_directory_that_takes_no_files_is_reported_as_read_only(tmp_path: Path) -> None:
    # Root passes every mode bit, but nobody can make a file in sysfs; pmxcfs without quorum answers the same.
    path = Path("/sys/devices/system/cpu/possible")
    current = ConfigFile.parse(path.read_bytes())
    with pytest.raises(PhoenixError, match=r"^/sys/devices/system/cpu is read-only: ") as caught:
        ConfigWriter(path, tmp_path / "lock").write(current, expected_digest=current.digest)
    assert caught.value.remedy == (
        "The node has no quorum, or pve-cluster is not running: look at `pvecm status`. Nothing was written."
    )
    assert caught.value.code is Code.GENERAL
