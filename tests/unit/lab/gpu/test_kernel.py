# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import re
from pathlib import Path

import pytest

from lab.gpu import hardware, kernel, modules
from lab.gpu.kernel import Kernel, boot, locked
from lab.gpu.modules import ModuleError

from .conftest import REAL_DEVICES


def majors(node: Path) -> dict[str, int]:
    text = (node / "proc/devices").read_text()
    return {name: int(major) for major, name in re.findall(r"^\s*(\d+) (nvidia\S*)$", text, re.MULTILINE)}


def load(node: Path, *names: str) -> None:
    with locked(node) as changed:
        for name in names:
            modules.load(changed, node, name)


def test_every_boot_has_other_majors_than_the_one_before(node: Path) -> None:
    before = Kernel(node).state.majors
    assert set(before.values()) <= set(hardware.DYNAMIC_MAJORS) - {235, 511}
    for _boot in range(20):
        boot(node, real_devices=REAL_DEVICES)
        after = Kernel(node).state.majors
        assert not set(after.values()) & set(before.values())
        before = after


def test_without_a_driver_nothing_of_it_shows(node: Path) -> None:
    assert majors(node) == {}
    assert "235 aux" in (node / "proc/devices").read_text()
    assert (node / "proc/devices").read_text().endswith("Block devices:\n  7 loop\n")
    assert not (node / "proc/driver/nvidia").exists()
    assert (node / "proc/sys/kernel/osrelease").read_text() == "6.14.11-4-pve\n"
    devices = node / "sys/bus/pci/devices"
    assert sorted(path.name for path in devices.iterdir()) == ["0000:01:00.0", "0000:02:00.0"]
    assert (devices / "0000:01:00.0/vendor").read_text() == "0x10de\n"
    assert (devices / "0000:01:00.0/device").read_text() == "0x2d04\n"
    assert (devices / "0000:01:00.0/class").read_text() == "0x030000\n"
    assert not (devices / "0000:01:00.0/driver").is_symlink()


def test_a_loaded_driver_shows_everywhere(driver: Path) -> None:
    load(driver, "nvidia-uvm", "nvidia_drm")
    assert {"nvidia", "nvidiactl", "nvidia-modeset", "nvidia-uvm", "nvidia-caps"} <= majors(driver).keys()
    assert majors(driver)["nvidia"] == 195
    text = (driver / "proc/driver/nvidia/version").read_text()
    assert text.startswith("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.76.05  Release Build")
    information = (driver / "proc/driver/nvidia/gpus/0000:02:00.0/information").read_text()
    assert "Device Minor: \t 1\n" in information
    assert (driver / "sys/bus/pci/devices/0000:01:00.0/driver").readlink().name == "nvidia"
    assert (driver / "sys/module/nvidia/refcnt").read_text() == "2\n"
    assert {path.name for path in (driver / "sys/module/nvidia/holders").iterdir()} == {"nvidia_uvm", "nvidia_modeset"}
    assert (driver / "proc/driver/nvidia/lab/memory").stat().st_mode & 0o7777 == 0o1777


def test_uvm_has_no_major_until_it_is_loaded(driver: Path) -> None:
    load(driver, "nvidia")
    assert "nvidia-uvm" not in majors(driver)
    load(driver, "nvidia-uvm")
    assert "nvidia-uvm" in majors(driver)


def test_single_files_are_never_replaced(driver: Path) -> None:
    """A bind mount shows the file that was there when it was made."""
    before = (driver / "proc/devices").stat().st_ino
    load(driver, "nvidia", "nvidia-uvm")
    assert (driver / "proc/devices").stat().st_ino == before


def test_a_module_in_use_stays(driver: Path) -> None:
    load(driver, "nvidia-uvm")
    with locked(driver) as changed:
        with pytest.raises(ModuleError, match=r"^Module nvidia is in use by: nvidia_uvm$"):
            modules.remove(changed, "nvidia")
        changed.state.in_use = True
        modules.remove(changed, "nvidia-uvm")
        with pytest.raises(ModuleError, match=r"^Module nvidia is in use$"):
            modules.remove(changed, "nvidia")
        changed.state.in_use = False
        modules.remove(changed, "nvidia")
        with pytest.raises(ModuleError, match=r"^Module nvidia is not currently loaded$"):
            modules.remove(changed, "nvidia")
    assert majors(driver) == {}


def test_memory_is_held_as_long_as_its_lock(driver: Path) -> None:
    load(driver, "nvidia")
    path = driver / "proc/driver/nvidia/lab/memory/1-1073741824-77-1-1"
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert kernel.allocations(driver / "proc/driver/nvidia") == [(1, 1 << 30)]
        assert Kernel(driver).references("nvidia") == 1
    assert kernel.allocations(driver / "proc/driver/nvidia") == []
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        pytest.param({"secure_boot": True}, "Key was rejected by service", id="secure boot"),
        pytest.param({"release": "6.17.2-1-pve"}, "Module nvidia not found", id="another kernel"),
        pytest.param({"gpus": 0}, "No such device", id="no GPU"),
    ],
)
def test_why_a_driver_is_not_loaded(driver: Path, change: dict[str, object], answer: str) -> None:
    with locked(driver) as changed:
        for name, value in change.items():
            setattr(changed.machine, name, value)
        with pytest.raises(ModuleError, match=answer):
            modules.load(changed, driver, "nvidia")


def test_a_module_for_another_kernel_is_refused(driver: Path) -> None:
    file = driver / "usr/lib/modules/6.14.11-4-pve/updates/dkms/nvidia.ko"
    file.write_bytes(file.read_bytes().replace(b"6.14.11-4-pve", b"6.14.11-3-pve"))
    with locked(driver) as changed, pytest.raises(ModuleError, match="Exec format error"):
        modules.load(changed, driver, "nvidia")


def test_the_mounts_of_a_node_and_of_its_containers(node: Path) -> None:
    in_node = [mount.target for mount in kernel.mounts(node) if mount.target != "/proc/modules"]
    assert in_node == [
        "/proc/driver", "/sys/module", "/sys/bus/pci", "/proc/devices", "/sys/firmware",
        "/proc/sys/kernel/osrelease", "/proc/version",
    ]  # fmt: skip
    assert "/proc/driver proc/driver none bind 0 0" in kernel.container_mounts(node)
    assert not any("osrelease" in line or "firmware" in line for line in kernel.container_mounts(node))
    assert kernel.mounts(node)[0].lxc_entry == f"{node}/proc/driver proc/driver none bind 0 0"
    assert all(mount.source.exists() for mount in kernel.mounts(node))


def test_the_uuids_of_a_node_are_always_the_same() -> None:
    first, again = (hardware.gpus("pve1", 2, "rtx-5060-ti") for _time in range(2))
    assert first == again
    assert first[0].uuid != first[1].uuid
    assert hardware.gpus("pve2", 1, "rtx-5060-ti")[0].uuid != first[0].uuid


def test_options_survive_a_boot_and_loaded_modules_do_not(driver: Path) -> None:
    with locked(driver) as changed:
        changed.machine.secure_boot = True
    boot(driver, real_devices=REAL_DEVICES)
    assert Kernel(driver).machine.secure_boot
    assert Kernel(driver).state.loaded == []
    variable = driver / "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
    assert variable.read_bytes()[4:] == b"\x01"
