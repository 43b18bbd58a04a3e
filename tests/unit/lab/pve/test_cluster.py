# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from lab.pve import cluster
from lab.pve.exceptions import PVEError
from lab.pve.simulated import SimulatedSystem
from lab.pve.tools import decode_text, encode_text, lock_file, split_list

LOCK = "/run/lock/lxc/pve-config-103.lock"


@pytest.fixture
def system(tmp_path: Path) -> SimulatedSystem:
    node = SimulatedSystem(tmp_path, sleep=lambda _seconds: None)
    node.prepare("")
    return node


def test_a_file_is_replaced_at_once(system: SimulatedSystem) -> None:
    path = "nodes/pve1/lxc/100.conf"
    assert cluster.read_file(system, path) is None
    cluster.write_file(system, path, b"memory: 512\n")
    cluster.write_file(system, path, b"memory: 513\n")
    assert cluster.read_file(system, path) == b"memory: 513\n"
    file = system.path(f"etc/pve/{path}")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert os.listdir(file.parent) == ["100.conf"]


def test_what_pmxcfs_refuses(system: SimulatedSystem) -> None:
    with pytest.raises(PVEError, match=r"unable to write '/etc/pve/x\.tmp\.\d+' - File too large"):
        cluster.write_file(system, "x", b"x" * 1048577)
    with pytest.raises(PVEError, match=r"unable to open file '/etc/pve/no/x\.tmp\.\d+' - No such file or directory"):
        cluster.write_file(system, "no/x", b"x")


def test_ids_are_unique_in_the_cluster(system: SimulatedSystem) -> None:
    for path in ("pve1/lxc/101.conf", "pve1/lxc/notes.conf", "pve1/lxc/0101.conf", "pve2/qemu-server/200.conf"):
        file = system.path(f"etc/pve/nodes/{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert sorted(cluster.guests(system)) == [(101, "lxc", "pve1"), (200, "qemu", "pve2")]
    # pct-transcripts 1: create: id exists
    with pytest.raises(PVEError, match="CT 101 already exists on node 'pve1'") as refused:
        cluster.check_vmid_unused(system, 101)
    assert refused.value.errno == 2
    with pytest.raises(PVEError, match="VM 200 already exists on node 'pve2'"):
        cluster.check_vmid_unused(system, 200, allow_existing=True)
    cluster.check_vmid_unused(system, 101, allow_existing=True)
    cluster.check_vmid_unused(system, 102)


def test_no_cluster_has_no_nodes(tmp_path: Path) -> None:
    assert cluster.nodes(SimulatedSystem(tmp_path)) == []


def test_who_holds_a_lock_gets_it_again(system: SimulatedSystem) -> None:
    with lock_file(system, LOCK), lock_file(system, LOCK):
        assert system.path(LOCK).exists()


def _hold(root: Path, held: multiprocessing.synchronize.Event, release: multiprocessing.synchronize.Event) -> None:
    with lock_file(SimulatedSystem(root), LOCK):
        held.set()
        release.wait(30)


def test_a_lock_that_another_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # pct-transcripts 9: hold the flock 30 s while pct set runs
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, held, release))
    holder.start()
    try:
        assert held.wait(30)
        patient = SimulatedSystem(tmp_path, sleep=lambda _seconds: None)
        with pytest.raises(PVEError) as refused, lock_file(patient, LOCK, 10):
            pass
        assert refused.value.text() == f"can't lock file '{LOCK}' - got timeout\n"
        assert capsys.readouterr().err == "trying to acquire lock...\n"

        def let_go(_seconds: float) -> None:
            release.set()
            holder.join(30)

        with lock_file(SimulatedSystem(tmp_path, sleep=let_go), LOCK):
            assert capsys.readouterr().err == "trying to acquire lock...\n OK\n"
    finally:
        release.set()
        holder.join(30)


def test_readers_share_a_lock(system: SimulatedSystem) -> None:
    with lock_file(system, LOCK, shared=True):
        pass


def test_a_lock_needs_a_file(system: SimulatedSystem) -> None:
    system.path(LOCK).mkdir()
    with pytest.raises(PVEError, match=r"can't lock file '/run/lock/lxc/pve-config-103.lock' - can't open file - "):
        lock_file(system, LOCK).__enter__()


def test_texts() -> None:
    assert encode_text("100% a:b\nä") == "100%25 a%3Ab%0A%C3%A4"
    assert decode_text("100%25 a%3Ab%0A%C3%A4%zz") == "100% a:b\nä%zz"
    assert split_list("a, b;c d") == ["a", "b", "c", "d"]
    assert split_list("a b\0c") == ["a b", "c"]
    assert split_list(None) == []
