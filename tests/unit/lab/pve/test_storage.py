# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from lab.pve import storage
from lab.pve.cli import guests, pvesm, pveversion
from lab.pve.exceptions import PVEError

from .node_with_pct import Pct


@pytest.fixture
def pct(tmp_path: Path) -> Pct:
    return Pct(tmp_path)


@pytest.mark.parametrize(
    ("volid", "name"),
    [
        ("lab:900/subvol-900-disk-0.subvol", "/rpool/lab/images/900/subvol-900-disk-0.subvol"),
        ("local-zfs:subvol-900-disk-0", "/rpool/data/subvol-900-disk-0"),
        ("local-zfs:basevol-1-disk-0/subvol-900-disk-0", "/rpool/data/subvol-900-disk-0"),
        ("local:vztmpl/a.tar.zst", "/var/lib/vz/template/cache/a.tar.zst"),
        ("local:iso/a.iso", "/var/lib/vz/template/iso/a.iso"),
    ],
)
def test_paths(pct: Pct, volid: str, name: str) -> None:
    assert storage.path(pct.system, volid) == name


@pytest.mark.parametrize(
    ("volid", "error"),
    [
        ("nonsense", "unable to parse volume ID 'nonsense'"),
        ("nostor:x", "storage 'nostor' does not exist"),
        ("lab:x", "unable to parse directory volume name 'x'"),
        ("local-zfs:x", "unable to parse zfs volume name 'x'"),
    ],
)
def test_unknown_volumes(pct: Pct, volid: str, error: str) -> None:
    with pytest.raises(PVEError) as failure:
        storage.path(pct.system, volid)

    assert failure.value.message == error


@pytest.mark.parametrize("storeid", ["lab", "local-zfs"])
def test_the_first_free_number_is_taken(pct: Pct, storeid: str) -> None:
    first, second, third = (storage.vdisk_alloc(pct.system, storeid, 900, "subvol", 1024) for _ in range(3))
    storage.vdisk_free(pct.system, second)

    assert storage.vdisk_alloc(pct.system, storeid, 900, "subvol", 1024) == second
    assert storage.vdisk_alloc(pct.system, storeid, 901, "subvol", 1024).replace("901", "900") == first
    assert third in storage.vdisk_list(pct.system, 900)
    assert storage.volume_size_info(pct.system, first) == 1024 * 1024


def test_disabled_and_foreign_storages(pct: Pct) -> None:
    path = pct.system.path("etc/pve/storage.cfg")
    path.write_text("dir: a\n\tpath /a\n\tdisable\n\ndir: b\n\tpath /b\n\tnodes pve7\n")

    with pytest.raises(PVEError, match="storage 'a' is disabled"):
        storage.storage_check_enabled(pct.system, "a")
    with pytest.raises(PVEError, match="storage 'b' is not available on node 'pve1'"):
        storage.storage_check_enabled(pct.system, "b")


def test_pvesm_list(pct: Pct, capsys: pytest.CaptureFixture[str]) -> None:
    pct.create(900, storage="lab")

    assert pvesm.main(["list", "lab"], pct.system) == 0
    assert capsys.readouterr().out == (
        "Volid                            Format  Type            Size VMID\n"
        "lab:900/subvol-900-disk-0.subvol subvol  rootdir   1073741824 900\n"
    )
    assert pvesm.main(["path", "lab:900/subvol-900-disk-0.subvol"], pct.system) == 0
    assert capsys.readouterr().out == "/rpool/lab/images/900/subvol-900-disk-0.subvol\n"


def test_pvesm_status(pct: Pct, capsys: pytest.CaptureFixture[str]) -> None:
    assert pvesm.main(["status"], pct.system) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["Name", "Type", "Status", "Total", "(KiB)", "Used", "(KiB)", "Available", "(KiB)", "%"]
    assert lines[1].split()[:3] == ["lab", "btrfs", "active"]


def test_pveversion(capsys: pytest.CaptureFixture[str]) -> None:
    assert pveversion.main([]) == 0
    assert capsys.readouterr().out.startswith("pve-manager/9.2.11/")
    assert pveversion.main(["-v"]) == 0
    assert "pve-container: 6.1.10\n" in capsys.readouterr().out
    assert pveversion.main(["--nonsense"]) == 255


def test_guests_are_started_in_order_and_stopped_backwards(pct: Pct, capsys: pytest.CaptureFixture[str]) -> None:
    for vmid, startup in ((901, "order=2"), (902, "order=1,up=5,down=7"), (903, "")):
        pct.create(vmid, "--onboot", "1", *(["--startup", startup] if startup else []))
    pct.create(904)

    assert guests.main(["startall"], pct.system) == 0
    assert capsys.readouterr().out == "Starting CT 902\nStarting CT 901\nStarting CT 903\n"
    assert (pct.slept, pct.system.lxc.running_ids()) == (5.0, [901, 902, 903])
    assert guests.main(["stopall"], pct.system) == 0
    assert capsys.readouterr().out == (
        "Stopping CT 903 (timeout = 180 seconds)\nStopping CT 901 (timeout = 180 seconds)\n"
        "Stopping CT 902 (timeout = 7 seconds)\n"
    )
    assert pct.system.lxc.running_ids() == []


def test_a_guest_that_does_not_start_keeps_nobody_else(pct: Pct, capsys: pytest.CaptureFixture[str]) -> None:
    pct.create(901, "--onboot", "1")
    pct.append(901, "lock: backup")
    pct.create(902, "--onboot", "1")

    assert guests.main(["startall"], pct.system) == 0
    assert "CT is locked (backup)" in capsys.readouterr().out
    assert pct.system.lxc.running_ids() == [902]
