# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from lab.gpu import elf, initramfs, modules
from lab.gpu.commands import boot as boot_commands
from lab.gpu.commands import kmod, mok
from lab.gpu.kernel import Kernel, locked

RELEASE = "6.14.11-4-pve"


def nouveau(node: Path) -> None:
    folder = node / f"usr/lib/modules/{RELEASE}/kernel/drivers/gpu/drm/nouveau"
    (folder / "nouveau.ko").write_bytes(elf.module({"license": "GPL", "vermagic": RELEASE}))
    with locked(node) as changed:
        changed.machine.nouveau = True


def cold_start(node: Path) -> Kernel:
    with locked(node) as changed:
        modules.coldplug(changed, node)
    return Kernel(node)


def test_an_archive_is_read_back() -> None:
    entries = [("init", b"#!/bin/sh\n"), ("etc/modprobe.d/a.conf", b"blacklist x\n"), ("empty", b"")]
    assert initramfs.unpack(initramfs.pack(entries)) == entries


def test_nouveau_takes_the_gpus_until_the_initramfs_forbids_it(driver: Path) -> None:
    nouveau(driver)
    assert boot_commands.update_initramfs(["-u", "-k", "all"], driver) == 0
    assert cold_start(driver).state.loaded == ["nouveau"]
    (driver / "etc/modprobe.d").mkdir(parents=True)
    (driver / "etc/modprobe.d/nouveau.conf").write_text("blacklist nouveau\n")
    with locked(driver) as changed:
        modules.unload_driver(changed)
        changed.state.loaded, changed.state.bound = [], {}
    # The initramfs has not been made anew.
    assert cold_start(driver).state.loaded == ["nouveau"]
    boot_commands.update_initramfs(["-u"], driver)
    with locked(driver) as changed:
        changed.state.loaded, changed.state.bound = [], {}
    assert cold_start(driver).state.loaded == ["nvidia", "nvidia_modeset", "nvidia_drm"]


def test_modules_load_d_is_loaded_at_boot(driver: Path) -> None:
    (driver / "etc/modules-load.d").mkdir(parents=True)
    (driver / "etc/modules-load.d/nvidia.conf").write_text("# comment\nnvidia\nnvidia_uvm\nno_such_module\n")
    assert "nvidia_uvm" in cold_start(driver).state.loaded


def test_the_next_boot_takes_the_newest_kernel_or_the_pinned_one(
    node: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (node / "usr/lib/modules/6.17.2-1-pve/kernel").mkdir(parents=True)
    assert boot_commands.proxmox_boot_tool(["kernel", "pin", RELEASE, "--next-boot"], node) == 0
    assert capsys.readouterr().out == f"Set kernel '{RELEASE}' in /etc/kernel/next-boot-pin.\n"
    assert initramfs.next_kernel(node, "") == RELEASE
    assert initramfs.next_kernel(node, "") == "6.17.2-1-pve"
    assert boot_commands.proxmox_boot_tool(["kernel", "pin", "5.15"], node) == 2
    assert cold_start(node).machine.release == "6.17.2-1-pve"


@pytest.mark.parametrize(
    ("line", "rc", "said"),
    [
        ("modprobe foo", 1, "modprobe: FATAL: Module foo not found in directory /lib/modules/6.14.11-4-pve\n"),
        ("modprobe -q foo", 1, ""),
        ("modprobe -r nvidia", 1, "modprobe: FATAL: Module nvidia is in use.\n"),
        ("modprobe nvidia-uvm", 0, ""),
        ("rmmod nvidia", 1, "rmmod: ERROR: Module nvidia is in use by: nvidia_uvm\n"),
        ("rmmod foo", 1, "rmmod: ERROR: Module foo is not currently loaded\n"),
        ("modinfo -F version foo", 1, "modinfo: ERROR: Module foo not found.\n"),
    ],
)
def test_the_commands_answer_as_kmod_does(
    driver: Path, capsys: pytest.CaptureFixture[str], line: str, rc: int, said: str
) -> None:
    with locked(driver) as changed:
        modules.load(changed, driver, "nvidia_uvm")
    command, *argv = line.split()
    found = {"modprobe": kmod.modprobe, "rmmod": kmod.rmmod, "modinfo": kmod.modinfo}[command](argv, driver)
    assert (found, capsys.readouterr().err) == (rc, said)


def test_lsmod_and_modinfo(driver: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kmod.modprobe(["nvidia-drm"], driver)
    kmod.lsmod([], driver)
    assert capsys.readouterr().out.splitlines()[:3] == [
        "Module                  Size  Used by",
        "nvidia_drm            139264  0",
        "nvidia_modeset       1847296  1 nvidia_drm",
    ]
    assert kmod.modinfo(["-F", "version", "nvidia"], driver) == 0
    assert capsys.readouterr().out == "580.76.05\n"


def test_modprobe_r_takes_along_what_nobody_else_needs(driver: Path) -> None:
    kmod.modprobe(["nvidia-drm"], driver)
    assert kmod.modprobe(["-r", "nvidia-drm"], driver) == 0
    assert Kernel(driver).state.loaded == []


def test_a_key_waits_for_the_console(node: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "mok.pub"
    key.write_bytes(b"certificate")
    assert mok.mokutil(["--import", str(key)], node) == 0
    assert mok.mokutil(["--test-key", str(key)], node) == 1
    assert "already in the enrollment request" in capsys.readouterr().out
    assert Kernel(node).machine.enrolled == []
    assert mok.mokutil(["--sb-state"], node) == 0
    assert capsys.readouterr().out == "SecureBoot disabled\n"
