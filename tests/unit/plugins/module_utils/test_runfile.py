# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._runfile import Request, Runfile
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.nvidia_server import Server, answer, serving
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.nvidia_world import (
    KERNEL,
    LIBRARY_DIRECTORY,
    VERSION,
    World,
    install_userspace,
    link,
    packages,
    runfile,
    write,
)

OLD = "580.142"
NAME = f"NVIDIA-Linux-x86_64-{VERSION}.run"
URL = f"https://mirror.example.com/{NAME}"
GIB = 1 << 30
APT = "env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120"


class Bench:
    """A node, a runfile on it, and the code under test."""

    def __init__(self, root: Path) -> None:
        self.tmp = root
        self.world = World(root)
        self.file = root / "downloads" / NAME
        self.file.parent.mkdir()
        self.file.write_bytes(runfile())
        self.free = 100 * GIB

    def run(self, *, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        options = {"path": str(self.file), **options}
        request = Request(cache_dir=str(self.tmp / "cache"), **options)
        world = self.world
        return Runfile(
            request, world, world, world.runner, check_mode=check, machine="x86_64", free=lambda path: self.free
        ).run()

    def refused(self, **options: t.Any) -> PhoenixError:
        """The failure, after having proven that the check mode fails alike and that nothing was changed."""
        before = self.files()
        with pytest.raises(PhoenixError) as checked:
            self.run(check=True, **options)
        with pytest.raises(PhoenixError) as caught:
            self.run(**options)
        assert str(caught.value) == str(checked.value)
        assert self.files() == before
        assert self.world.changes == []
        return caught.value

    def files(self) -> dict[str, str | bytes]:
        return {
            str(path): str(path.readlink()) if path.is_symlink() else path.read_bytes()
            for path in self.tmp.rglob("*")
            if path.is_symlink() or path.is_file()
        }

    def predicted_then_done(self, **options: t.Any) -> dict[str, t.Any]:
        """The result of a real run that was exactly what the check mode had said, and that needs no second one."""
        before = self.files()
        predicted = self.run(check=True, **options)
        assert self.files() == before
        assert self.world.changes == []
        done = self.run(**options)
        for key in ("changed", "diff", "installed", "loaded", "reboot_required", "problems", "warnings"):
            assert predicted.get(key) == done.get(key), key
        count = len(self.world.changes)
        again = self.run(**options)
        assert again["changed"] is False
        assert len(self.world.changes) == count
        return done


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


class TestNode:
    def test_bare_node(self, bench: Bench) -> None:
        result = bench.predicted_then_done()
        assert result["changed"] is True
        assert result["installed"] == {"before": None, "after": VERSION}
        assert result["loaded"] == {"before": None, "after": VERSION}
        assert result["reboot_required"] is False
        assert result["problems"] == [
            "/var/lib/nvidia/log names no version",
            "libnvidia-ml.so.1 is missing",
            "libcuda.so.1 is missing",
            "nvidia-smi is missing",
            f"DKMS does not know nvidia/{VERSION}",
            f"DKMS has no module for kernel {KERNEL}",
        ]
        assert result["diff"] == {
            "before": {"driver": None, "clashing_packages": [], "kernel_module": None, "dkms": {KERNEL: None}},
            "after": {"driver": VERSION, "clashing_packages": [], "kernel_module": "open", "dkms": {KERNEL: VERSION}},
        }
        assert result["warnings"] == [
            f"{NAME} was checked against no sum: set checksum to be sure of what is installed."
        ]
        (command,) = result["commands"]
        assert command.startswith("env TMPDIR=")
        assert f" sh {bench.file} --silent --dkms --kernel-module-type=open " in command
        assert list((bench.world.root / "var/tmp").iterdir()) == []

    def test_nothing_to_do_reads_only(self, bench: Bench) -> None:
        bench.world.install()
        before = bench.files()
        result = bench.run()
        assert result["changed"] is False
        assert bench.world.calls == []
        assert bench.files() == before
        assert result["installed"] == {"before": VERSION, "after": VERSION}
        assert result["diff"]["before"] == result["diff"]["after"]
        assert (result["problems"], result["commands"], result["warnings"]) == ([], [], [])

    def test_nothing_to_do_needs_no_download(self, bench: Bench) -> None:
        bench.world.install()
        result = bench.run(path=None, url="https://127.0.0.1:1/" + NAME)
        assert (result["changed"], result["path"], result["sha256"]) == (False, None, None)

    def test_upgrade_with_idle_driver(self, bench: Bench) -> None:
        bench.world.install(OLD)
        result = bench.predicted_then_done()
        assert result["installed"] == {"before": OLD, "after": VERSION}
        assert result["loaded"] == {"before": OLD, "after": VERSION}
        assert result["reboot_required"] is False
        assert "--skip-module-load" not in result["commands"][0]

    def test_upgrade_under_a_running_driver(self, bench: Bench) -> None:
        bench.world.install(OLD)
        bench.world.load(OLD, in_use=True)
        result = bench.predicted_then_done()
        assert result["loaded"] == {"before": OLD, "after": OLD}
        assert result["reboot_required"] is True
        assert f"Driver {OLD} is still loaded: {VERSION} takes effect with the next boot." in result["warnings"]
        assert "--allow-installation-with-running-driver --skip-module-load" in result["commands"][0]

    def test_kernel_that_unloads_nothing(self, bench: Bench) -> None:
        # Seen on the machine of facts/gpu.md: no module has a refcnt.
        bench.world.install(OLD)
        (bench.world.root / "sys/module/nvidia/refcnt").unlink()
        assert bench.predicted_then_done()["reboot_required"] is True

    def test_other_module_type(self, bench: Bench) -> None:
        bench.world.install()
        bench.world.dkms(VERSION, KERNEL, is_open=False)
        bench.world.load(VERSION, is_open=False, in_use=True)
        result = bench.predicted_then_done()
        assert result["problems"] == [f"the kernel module of {KERNEL} is the proprietary one, not the open one"]
        assert result["reboot_required"] is True

    def test_new_kernel_needs_dkms_only(self, bench: Bench) -> None:
        bench.world.install()
        bench.world.add_kernel("6.17.9-1-pve")
        bench.file.with_name(NAME).write_bytes(runfile())
        result = bench.predicted_then_done()
        assert result["commands"] == [f"dkms install nvidia/{VERSION} -k 6.17.9-1-pve --force"]
        assert result["problems"] == ["DKMS has no module for kernel 6.17.9-1-pve"]

    def test_booted_a_kernel_without_module(self, bench: Bench) -> None:
        bench.world.install()
        bench.world.add_kernel("6.17.9-1-pve")
        write(bench.world.root, "proc/sys/kernel/osrelease", "6.17.9-1-pve\n")
        (bench.world.root / "proc/driver/nvidia/version").unlink()
        result = bench.predicted_then_done()
        assert result["commands"] == [f"dkms install nvidia/{VERSION} -k 6.17.9-1-pve --force"]

    def test_installing_builds_for_every_kernel(self, bench: Bench) -> None:
        bench.world.add_kernel("6.8.12-4-pve")
        bench.world.add_kernel("6.17.9-1-pve")
        result = bench.predicted_then_done()
        assert result["commands"][1:] == [
            f"dkms install nvidia/{VERSION} -k 6.17.9-1-pve --force",
            f"dkms install nvidia/{VERSION} -k 6.8.12-4-pve --force",
        ]

    def test_an_older_kernel_may_fail(self, bench: Bench) -> None:
        bench.world.add_kernel("6.8.12-4-pve")
        bench.world.failing_kernels = {"6.8.12-4-pve"}
        result = bench.run()
        assert result["changed"] is True
        assert result["warnings"][-1] == (
            f"DKMS has no nvidia/{VERSION} for the older kernel 6.8.12-4-pve: run "
            f"`dkms install nvidia/{VERSION} -k 6.8.12-4-pve` to be able to boot it with a driver."
        )
        assert bench.run()["changed"] is False

    def test_the_kernel_of_the_next_boot_may_not(self, bench: Bench) -> None:
        bench.world.install()
        bench.world.add_kernel("6.17.9-1-pve")
        bench.world.failing_kernels = {"6.17.9-1-pve"}
        with pytest.raises(PhoenixError) as caught:
            bench.run()
        assert str(caught.value) == (
            f"DKMS cannot build nvidia/{VERSION} for kernel 6.17.9-1-pve: Error! Bad return status for module build on "
            f"kernel. Read /var/lib/dkms/nvidia/{VERSION}/build/make.log; use a newer driver, or pin or remove that "
            "kernel."
        )
        assert caught.value.code == Code.VERIFICATION
        assert caught.value.details["log_tail"] == ["nv.c:1: error: no member named x"]
        assert caught.value.details["commands"] == [f"dkms install nvidia/{VERSION} -k 6.17.9-1-pve --force"]

    def test_a_pinned_kernel_is_the_one_of_the_next_boot(self, bench: Bench) -> None:
        bench.world.install()
        bench.world.add_kernel("7.1.3-1-pve")
        write(bench.world.root, "etc/kernel/proxmox-boot-pin", f"{KERNEL}\n")
        assert bench.run()["changed"] is False

    def test_next_kernel_without_headers_is_named(self, bench: Bench) -> None:
        bench.world.install()
        bench.world.add_kernel("6.17.9-1-pve", headers=False)
        result = bench.run()
        assert result["changed"] is False
        assert result["warnings"] == [
            "Kernel 6.17.9-1-pve has no headers, so DKMS cannot build for it: install proxmox-headers-6.17.9-1-pve."
        ]

    def test_next_kernel_without_headers_loses_the_module_before(self, bench: Bench) -> None:
        bench.world.install(OLD)
        bench.world.add_kernel("6.17.9-1-pve", headers=False)
        bench.world.dkms(OLD, "6.17.9-1-pve")
        result = bench.predicted_then_done()
        assert result["diff"]["after"]["dkms"] == {KERNEL: VERSION, "6.17.9-1-pve": None}

    def test_leftovers_of_a_removed_kernel_do_not_count(self, bench: Bench) -> None:
        bench.world.install()
        write(bench.world.root, "lib/modules/6.17.9-1-pve/updates/dkms/nvidia.ko")
        result = bench.run()
        assert (result["changed"], result["warnings"]) == (False, [])

    def test_compressed_module(self, bench: Bench) -> None:
        bench.world.install()
        module = bench.world.root / f"lib/modules/{KERNEL}/updates/dkms/nvidia.ko"
        module.rename(module.with_name("nvidia.ko.zst"))
        assert bench.run()["changed"] is False
        assert [call[:3] for call in bench.world.calls] == [("modinfo", "-F", "version"), ("modinfo", "-F", "license")]

    def test_unproven_pair_is_a_warning(self, bench: Bench) -> None:
        bench.file = bench.file.with_name("NVIDIA-Linux-x86_64-570.207.run")
        bench.file.write_bytes(runfile("570.207"))
        result = bench.predicted_then_done()
        assert any(warning.startswith("No report says whether driver 570.207 builds") for warning in result["warnings"])

    def test_a_driver_that_works_refutes_the_kernel_table(self, bench: Bench) -> None:
        bench.world = World(bench.tmp / "7", kernel="7.0.14-11-pve")
        bench.world.install("580.76.05")
        bench.file = bench.file.with_name("NVIDIA-Linux-x86_64-580.76.05.run")
        bench.file.write_bytes(runfile("580.76.05"))
        result = bench.run()
        assert result["changed"] is False
        (warning,) = result["warnings"]
        assert warning == (
            "Kernel 7.0.14-11-pve has its module all the same, although driver 580.76.05 does not build on kernel "
            "7.0.14-11-pve: 580.119.02 does not build on 7.0.9."
        )

    def test_a_next_kernel_that_can_never_have_the_driver_is_refused(self, bench: Bench) -> None:
        bench.world.install("580.82.07")
        bench.world.add_kernel("7.0.14-11-pve", headers=False)
        bench.file = bench.file.with_name("NVIDIA-Linux-x86_64-580.82.07.run")
        bench.file.write_bytes(runfile("580.82.07"))
        assert bench.refused().reason.startswith("driver 580.82.07 does not build on kernel 7.0.14-11-pve")

    def test_a_kernel_that_is_built_refutes_the_kernel_table(self, bench: Bench) -> None:
        bench.world.add_kernel("7.0.14-11-pve")
        install_userspace(bench.world.root, "580.82.07")
        bench.world.dkms("580.82.07", "7.0.14-11-pve")
        bench.file = bench.file.with_name("NVIDIA-Linux-x86_64-580.82.07.run")
        bench.file.write_bytes(runfile("580.82.07"))
        assert bench.predicted_then_done()["problems"] == [f"DKMS has no module for kernel {KERNEL}"]

    def test_a_gpu_that_is_no_display_does_not_count(self, bench: Bench) -> None:
        bench.world.gpu(1, 0x10F0, "snd_hda_intel")
        write(bench.world.root, "sys/bus/pci/devices/0000:01:00.0/class", "0x040300\n")
        assert bench.run()["diff"]["after"]["kernel_module"] == "open"

    def test_nouveau_after_all(self, bench: Bench) -> None:
        bench.world.install()
        bench.world.gpu(0, 0x2D04, "nouveau")
        result = bench.run()
        assert (result["changed"], result["reboot_required"]) == (False, True)

    def test_secure_boot_with_enrolled_key(self, bench: Bench) -> None:
        secure_boot(bench.world.root, enrolled=True)
        result = bench.predicted_then_done()
        assert "--module-signing-secret-key=/var/lib/dkms/mok.key" in result["commands"][0]

    def test_extra_args(self, bench: Bench) -> None:
        result = bench.run(extra_args=["--no-drm"])
        assert result["commands"][0].endswith(" --no-drm")


def secure_boot(root: Path, *, enrolled: bool, on: bool = True) -> None:
    variables = "sys/firmware/efi/efivars"
    write(root, f"{variables}/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", b"\6\0\0\0" + (b"\1" if on else b"\0"))
    write(root, "var/lib/dkms/mok.pub", b"CERTIFICATE")
    listed = b"OTHER" + (b"CERTIFICATE" if enrolled else b"")
    write(root, f"{variables}/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23", b"\6\0\0\0" + listed)


class TestNodePreflight:
    def test_headers(self, bench: Bench) -> None:
        (bench.world.root / f"lib/modules/{KERNEL}/build").unlink()
        error = bench.refused()
        assert str(error) == (
            f"the headers of the running kernel are missing: /lib/modules/{KERNEL}/build is not there. Install "
            f"proxmox-headers-{KERNEL} (or pve-headers-{KERNEL}) and proxmox-default-headers. If apt no longer has "
            "them, reboot into the newest kernel first."
        )

    @pytest.mark.parametrize("tool", ["dkms", "gcc", "make"])
    def test_tools(self, bench: Bench, tool: str) -> None:
        (bench.world.root / "usr/bin" / tool).unlink()
        error = bench.refused()
        assert str(error) == (
            f"the node lacks {tool}, without which no kernel module can be built. "
            "Run `apt-get install dkms build-essential`."
        )

    @pytest.mark.parametrize("kernel", ["running", "next"])
    def test_kernel_table(self, tmp_path: Path, kernel: str) -> None:
        bench = Bench(tmp_path)
        if kernel == "running":
            bench.world = World(tmp_path / "7", kernel="7.0.14-11-pve")
        else:
            bench.world.add_kernel("7.0.14-11-pve")
        bench.file = bench.file.with_name("NVIDIA-Linux-x86_64-580.82.07.run")
        bench.file.write_bytes(runfile("580.82.07"))
        error = bench.refused()
        assert error.reason == (
            "driver 580.82.07 does not build on kernel 7.0.14-11-pve: 580.119.02 does not build on 7.0.9"
        )

    def test_proprietary_on_blackwell(self, bench: Bench) -> None:
        error = bench.refused(kernel_module_type="proprietary")
        assert (error.code, error.remedy) == (Code.INPUT, "Use kernel_module_type auto or open.")

    def test_nouveau(self, bench: Bench) -> None:
        bench.world.gpu(0, 0x2D04, "nouveau")
        error = bench.refused()
        assert str(error) == (
            "nouveau drives a GPU of this node, and the installer aborts while it does. Write `blacklist nouveau` and "
            "`options nouveau modeset=0` to /etc/modprobe.d/nouveau.conf, run `update-initramfs -u -k all && "
            "proxmox-boot-tool refresh`, and reboot."
        )

    def test_secure_boot(self, bench: Bench) -> None:
        secure_boot(bench.world.root, enrolled=False)
        error = bench.refused()
        assert str(error) == (
            "Secure Boot is on, and the key that DKMS signs modules with is not enrolled: the kernel would reject the "
            "driver. Run `dkms generate_mok` and `mokutil --import /var/lib/dkms/mok.pub`, reboot and confirm at the "
            "console, or turn Secure Boot off in the firmware."
        )

    def test_secure_boot_off(self, bench: Bench) -> None:
        secure_boot(bench.world.root, enrolled=False, on=False)
        assert bench.run()["changed"] is True

    def test_running_driver_that_an_old_installer_cannot_replace(self, bench: Bench) -> None:
        bench.world = World(bench.tmp / "6", kernel="6.8.12-4-pve", devices=[0x1E07])
        bench.world.install(OLD)
        bench.world.load(OLD, in_use=True)
        bench.file = bench.file.with_name("NVIDIA-Linux-x86_64-535.129.03.run")
        bench.file.write_bytes(runfile("535.129.03"))
        error = bench.refused()
        assert error.reason == ("the loaded driver is in use, and the installer of 535.129.03 cannot work beside it")

    def test_alternate_install(self, bench: Bench) -> None:
        write(bench.world.root, "usr/lib/nvidia/alternate-install-present")
        error = bench.refused()
        assert str(error) == (
            "/usr/lib/nvidia/alternate-install-present says that another method has installed a driver here. Find its "
            "package (`dpkg -S /usr/lib/nvidia/alternate-install-present`) and purge it, or delete the file when no "
            "package owns it."
        )

    def test_space(self, bench: Bench) -> None:
        bench.file.write_bytes(runfile(size=10 << 20))
        bench.free = 49 << 20
        error = bench.refused()
        assert str(error) == (
            "the node has 49 MiB free at /var/tmp, but unpacking and installing needs 50 MiB. "
            "Make room there, or grow the disk (rootfs size_gb of lxc_container)."
        )

    def test_architecture(self, bench: Bench) -> None:
        bench.file = bench.file.with_name(f"NVIDIA-Linux-aarch64-{VERSION}.run")
        bench.file.write_bytes(runfile(architecture="aarch64"))
        error = bench.refused()
        assert str(error) == (
            "the runfile is for aarch64, but this node is x86_64. Use NVIDIA's runfile for Linux-x86_64."
        )

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"extra_args": ["--no-dkms"]}, "extra_args: '--no-dkms' is a flag that the module owns"),
            ({"timeout": 0}, "timeout: 0 leaves no time to do anything"),
            ({"version": OLD}, f"version: {OLD} disagrees with"),
            ({"path": "/nowhere/NVIDIA-Linux-x86_64-580.76.05.run"}, "path: '/nowhere/NVIDIA-"),
            ({"checksum": "md5:00"}, "checksum: 'md5:00' is neither sha256:"),
            ({"state": "cached", "ctid": 901}, "ctid: 901 means nothing with state cached"),
            ({"ctid": 7}, "ctid: 7 is not an id that PVE accepts"),
        ],
        ids=lambda value: str(value)[:30],
    )
    def test_input(self, bench: Bench, options: dict[str, t.Any], reason: str) -> None:
        error = bench.refused(**options)
        assert error.reason.startswith(reason)
        assert error.code == Code.INPUT

    def test_checksum_of_path(self, bench: Bench) -> None:
        error = bench.refused(checksum="sha256:" + "0" * 64)
        assert error.code == Code.VERIFICATION
        assert error.remedy == "Fetch the file again, or correct checksum. The file was left as it is."

    def test_renamed_file(self, bench: Bench) -> None:
        bench.file.write_bytes(runfile(OLD))
        error = bench.refused()
        assert error.reason == f"{bench.file}: {VERSION} was asked for, but the file's own header says {OLD}"

    def test_no_installer(self, bench: Bench) -> None:
        bench.file.write_bytes(b"<html>")
        error = bench.refused()
        assert error.reason == f"{bench.file} is no NVIDIA installer (6 bytes)"

    def test_unreadable(self, bench: Bench) -> None:
        (bench.tmp / "cache").write_text("a file where the directory should be")
        with pytest.raises(PhoenixError) as caught:
            bench.run()
        assert caught.value.remedy.startswith("Run as root (become: true)")


class TestFailures:
    LOG = (
        "-> Scanning the initramfs...\n"
        "WARNING: An NVIDIA kernel module 'nvidia' appears to be already loaded in your kernel.  It is in use.\n"
        "-> Would you like to continue? (Answer: Abort installation)\n"
        "ERROR: Installation has failed.  Please see the file '/var/log/nvidia-installer.log' for details.\n"
    )

    def test_log_lines_come_back(self, bench: Bench) -> None:
        bench.world.installer = "fails"
        bench.world.log = self.LOG
        with pytest.raises(PhoenixError) as caught:
            bench.run()
        assert str(caught.value) == (
            f"the NVIDIA installer could not install {VERSION} on the node (exit code 1): An NVIDIA kernel module "
            "'nvidia' appears to be already loaded in your kernel. It is in use. Stop what uses the GPU (containers, "
            "nvidia-persistenced; `fuser -v /dev/nvidia*` shows it) and run again. The log is "
            "/var/log/nvidia-installer.log on the node."
        )
        assert caught.value.details["log_tail"] == self.LOG.splitlines()
        assert len(caught.value.details["commands"]) == 1
        assert list((bench.world.root / "var/tmp").iterdir()) == []

    def test_a_log_of_an_earlier_run_is_not_quoted(self, bench: Bench) -> None:
        write(bench.world.root, "var/log/nvidia-installer.log", self.LOG)
        bench.world.installer = "fails"
        with pytest.raises(PhoenixError) as caught:
            bench.run()
        assert caught.value.reason.endswith("on the node (exit code 1): ERROR: Installation has failed.")

    def test_success_that_is_none(self, bench: Bench) -> None:
        bench.world.installer = "half"
        with pytest.raises(PhoenixError) as caught:
            bench.run()
        assert str(caught.value) == (
            f"{VERSION} is not completely installed on the node, although no command failed: libcuda.so.1 is missing. "
            "Read /var/log/nvidia-installer.log there. Another installation may lie over it: "
            "`ldconfig -p | grep libcuda`."
        )
        assert caught.value.code == Code.VERIFICATION

    def test_nothing_installed_at_all(self, bench: Bench) -> None:
        bench.world.installer = "lies"
        bench.world.dkms("1")
        with pytest.raises(PhoenixError) as caught:
            bench.run()
        assert "nvidia-smi is missing" in caught.value.details["problems"]
        assert f"DKMS has no module for kernel {KERNEL}" in caught.value.details["problems"]

    def test_what_dkms_warns_of(self, bench: Bench) -> None:
        bench.world.dkms_notes = " (WARNING! Diff between built and installed module!)"
        with pytest.raises(PhoenixError) as caught:
            bench.run()
        assert caught.value.details["problems"] == [
            f"dkms status of kernel {KERNEL}: WARNING! Diff between built and installed module!"
        ]


class TestPackages:
    def test_purged_before_the_installer_runs(self, bench: Bench) -> None:
        packages(bench.world.root, "libcuda1", "nvidia-smi", "libnvidia-container1", "bash")
        write(bench.world.root, "usr/lib/nvidia/alternate-install-present")
        result = bench.predicted_then_done()
        assert result["purged"] == ["libcuda1:amd64", "nvidia-smi:amd64"]
        assert result["commands"][0] == f"{APT} --yes --quiet purge -- libcuda1:amd64 nvidia-smi:amd64"
        assert result["diff"]["before"]["clashing_packages"] == ["libcuda1:amd64", "nvidia-smi:amd64"]
        assert result["diff"]["after"]["clashing_packages"] == []

    def test_purged_beside_a_complete_installation(self, bench: Bench) -> None:
        bench.world.install()
        packages(bench.world.root, "libcuda1")
        result = bench.predicted_then_done()
        assert result["commands"] == [f"{APT} --yes --quiet purge -- libcuda1:amd64"]

    def test_a_purge_that_may_take_files_of_the_installation_along_is_prepared_for(self, bench: Bench) -> None:
        bench.world.install()
        packages(bench.world.root, "libcuda1")
        bench.free = 1
        assert bench.refused().reason.startswith("the node has 0 MiB free at /var/tmp")

    def test_refused_when_others_would_go(self, bench: Bench) -> None:
        packages(bench.world.root, "libcuda1")
        bench.world.purge_takes = ["libnvidia-container1"]
        error = bench.refused()
        assert error.reason == "purging libcuda1:amd64 would also remove libnvidia-container1"

    def test_not_wanted(self, bench: Bench) -> None:
        packages(bench.world.root, "libcuda1")
        error = bench.refused(purge_packages=False)
        assert str(error) == (
            "packages of the distribution clash with the runfile: libcuda1:amd64. "
            "Set purge_packages: true, or purge them by hand."
        )

    def test_not_wanted_and_nothing_to_install(self, bench: Bench) -> None:
        bench.world.install()
        packages(bench.world.root, "libcuda1")
        result = bench.run(purge_packages=False)
        assert (result["changed"], result["purged"]) == (False, [])
        assert result["warnings"] == ["Packages that clash with the runfile are installed: libcuda1:amd64."]

    def test_apt_in_disorder(self, bench: Bench) -> None:
        packages(bench.world.root, "libcuda1")
        bench.world.apt_fails = "--simulate"
        error = bench.refused()
        assert str(error) == (
            "apt cannot purge libcuda1:amd64 on the node: E: dpkg was interrupted. Bring apt back in order "
            "(`apt-get --fix-broken install`, `dpkg --audit`). This module changed nothing."
        )

    def test_purge_fails(self, bench: Bench) -> None:
        packages(bench.world.root, "libcuda1")
        bench.world.apt_fails = "--yes"
        with pytest.raises(PhoenixError) as caught:
            bench.run()
        assert str(caught.value) == (
            "apt could not purge libcuda1:amd64 on the node: E: dpkg was interrupted. Run the command by hand there, "
            "correct what it says, and run again."
        )
        assert caught.value.details["commands"] == [f"{APT} --yes --quiet purge -- libcuda1:amd64"]


class TestContainer:
    @pytest.fixture
    def container(self, bench: Bench) -> Path:
        bench.world.install()
        return bench.world.container(901)

    def test_installed_inside(self, bench: Bench, container: Path) -> None:
        node = {path: data for path, data in bench.files().items() if path.startswith(str(bench.world.root))}
        result = bench.predicted_then_done(ctid=901)
        assert result["installed"] == {"before": None, "after": VERSION}
        assert result["loaded"] == {"before": VERSION, "after": VERSION}
        assert result["reboot_required"] is False
        place = "/var/tmp/phoenix-nvidia.a1B2c3D4"
        (command,) = result["commands"]
        assert command == (
            f"env TMPDIR={place} sh {place}/{NAME} --silent --no-kernel-modules --no-nouveau-check --no-x-check "
            "--no-nvidia-modprobe --no-systemd --no-rebuild-initramfs --no-install-compat32-libs --no-backup "
            "--skip-depmod --no-check-for-alternate-installs"
        )
        assert bench.world.pushed == [(901, f"{place}/{NAME}")]
        assert list((container / "var/tmp").iterdir()) == []
        assert {path: data for path, data in bench.files().items() if path in node} == node

    def test_nothing_to_do(self, bench: Bench, container: Path) -> None:
        install_userspace(container, VERSION)
        result = bench.run(ctid=901)
        assert result["changed"] is False
        assert bench.world.calls == []

    def test_upgrade(self, bench: Bench, container: Path) -> None:
        install_userspace(container, OLD)
        result = bench.predicted_then_done(ctid=901)
        assert result["installed"] == {"before": OLD, "after": VERSION}

    def test_packages_inside(self, bench: Bench, container: Path) -> None:
        packages(container, "libnvidia-compute-580", "libnvidia-container1")
        result = bench.predicted_then_done(ctid=901)
        assert result["purged"] == ["libnvidia-compute-580:amd64"]

    def test_packages_beside_a_complete_installation(self, bench: Bench, container: Path) -> None:
        install_userspace(container, VERSION)
        packages(container, "libcuda1")
        result = bench.predicted_then_done(ctid=901)
        assert result["commands"] == [f"{APT} --yes --quiet purge -- libcuda1:amd64"]

    def test_failure_cleans_up(self, bench: Bench, container: Path) -> None:
        bench.world.installer = "fails"
        bench.world.log = "ERROR: Unable to create '/usr/lib/x' for copying (No space left on device)\n"
        with pytest.raises(PhoenixError) as caught:
            bench.run(ctid=901)
        assert str(caught.value) == (
            f"the NVIDIA installer could not install {VERSION} on container 901 (exit code 1): Unable to create "
            "'/usr/lib/x' for copying (No space left on device). Make room on the target's /, /usr and /var/tmp, and "
            "run again. The log is /var/log/nvidia-installer.log on container 901."
        )
        assert list((container / "var/tmp").iterdir()) == []

    def test_failing_clean_up_does_not_hide_the_failure(self, bench: Bench, container: Path) -> None:
        bench.world.installer = "fails"
        bench.world.rm_fails = True
        with pytest.raises(PhoenixError, match="could not install"):
            bench.run(ctid=901)

    def test_no_place(self, bench: Bench, container: Path) -> None:
        bench.world.installer = "no place"
        with pytest.raises(PhoenixError) as caught:
            bench.run(ctid=901)
        assert str(caught.value) == (
            "no directory could be made below /var/tmp in container 901: mktemp: failed to create directory: Read-only "
            "file system. See that / in the container is writable and not full."
        )

    def test_node_has_another_version(self, bench: Bench, container: Path) -> None:
        bench.world.load(OLD)
        install_userspace(container, VERSION)
        error = bench.refused(ctid=901)
        assert str(error) == (
            f"the node has kernel module {OLD} loaded, but {VERSION} was asked for in container 901: libraries "
            f"and module must be the same version. Install {VERSION} on the node and reboot it, or use the runfile of "
            f"{OLD}."
        )
        assert error.code == Code.VERIFICATION
        assert (error.details["node_version"], error.details["version"]) == (OLD, VERSION)

    def test_node_has_no_module(self, bench: Bench, container: Path) -> None:
        (bench.world.root / "proc/driver/nvidia/version").unlink()
        error = bench.refused(ctid=901)
        assert str(error) == (
            f"the node has no NVIDIA kernel module loaded, so {VERSION} cannot work in container 901. Install the "
            "driver on the node first (nvidia_runfile without ctid), and reboot it if that says reboot_required."
        )
        assert error.code == Code.VERIFICATION

    def test_stopped(self, bench: Bench) -> None:
        bench.world.install()
        bench.world.container(901, running=False)
        error = bench.refused(ctid=901)
        assert str(error) == (
            "ctid: 901 is not running, and the installer has to run inside. "
            "Start it first (`pct start 901`, or lxc_container with state: started)."
        )
        assert error.code == Code.POWER

    def test_missing(self, bench: Bench) -> None:
        assert bench.refused(ctid=999).code == Code.NO_CONTAINER

    def test_space(self, bench: Bench, container: Path) -> None:
        bench.free = 0
        assert bench.refused(ctid=901).reason.startswith("container 901 has 0 MiB free at /var/tmp")

    def test_tools(self, bench: Bench, container: Path) -> None:
        for tool in ("modprobe", "depmod"):
            (container / "usr/sbin" / tool).unlink()
        assert str(bench.refused(ctid=901)) == (
            "container 901 lacks modprobe, depmod, without which the installer does not run, although it installs no "
            "kernel module there. Run `apt-get install kmod` in container 901."
        )

    def test_libraries_of_the_node_are_mounted(self, bench: Bench, container: Path) -> None:
        library = f"/{LIBRARY_DIRECTORY}/libcuda.so.{VERSION}"
        write(container, "proc/1/mountinfo", f"36 35 98:0 {library} {library} ro,noatime - zfs rpool/ROOT rw\n")
        assert str(bench.refused(ctid=901)) == (
            f"container 901 has the node's own {library} mounted, which nothing can be installed over. Such a "
            "container needs no installation. To change that, set driver_libraries: false in lxc_gpu_passthrough."
        )

    def test_success_that_is_none(self, bench: Bench, container: Path) -> None:
        bench.world.installer = "half"
        with pytest.raises(PhoenixError, match="not completely installed on container 901") as caught:
            bench.run(ctid=901)
        assert caught.value.details["problems"] == ["libcuda.so.1 is missing"]

    def test_links_lead_into_the_container_only(self, bench: Bench, container: Path) -> None:
        # The node has everything; a container whose links point to absolute paths must not be judged by it.
        for name in ("usr/lib/x86_64-linux-gnu", "usr/bin", "var/lib/nvidia"):
            link(container, name, f"/{name}-elsewhere/../../..{bench.world.root}/{name}")
        assert bench.run(check=True, ctid=901)["installed"]["before"] is None

    def test_merged_usr_and_loops(self, bench: Bench, container: Path) -> None:
        install_userspace(container, VERSION)
        (container / "usr/lib").rename(container / "usr/real")
        link(container, "usr/lib", "/usr/real")
        link(container, "var/lib/dpkg", "dpkg")
        assert bench.run(ctid=901)["changed"] is False


class TestAbsent:
    def test_node(self, bench: Bench) -> None:
        bench.world.install()
        before = bench.files()
        predicted = bench.run(check=True, state="absent", path=None)
        assert bench.files() == before
        done = bench.run(state="absent", path=None)
        assert predicted["diff"] == done["diff"]
        assert done["installed"] == {"before": VERSION, "after": None}
        assert done["loaded"] == predicted["loaded"] == {"before": VERSION, "after": None}
        assert done["commands"] == ["nvidia-uninstall --silent --log-file-name=/var/log/nvidia-uninstall.log"]
        assert bench.run(state="absent", path=None)["changed"] is False
        assert bench.file.exists()

    def test_in_use(self, bench: Bench) -> None:
        bench.world.install()
        bench.world.load(VERSION, in_use=True)
        predicted = bench.run(check=True, state="absent")
        done = bench.run(state="absent")
        assert done["commands"][0].endswith("--skip-module-unload")
        assert done["loaded"] == predicted["loaded"] == {"before": VERSION, "after": VERSION}
        assert done["reboot_required"] is predicted["reboot_required"] is True

    def test_container(self, bench: Bench) -> None:
        bench.world.install()
        install_userspace(bench.world.container(901), VERSION)
        predicted = bench.run(check=True, state="absent", ctid=901)
        done = bench.run(state="absent", ctid=901)
        assert predicted["diff"] == done["diff"]
        assert done["commands"] == [
            "nvidia-uninstall --silent --log-file-name=/var/log/nvidia-uninstall.log --skip-module-unload --skip-depmod"
        ]
        assert bench.run()["changed"] is False

    def test_nothing_there(self, bench: Bench) -> None:
        result = bench.run(state="absent")
        assert (result["changed"], bench.world.calls) == (False, [])

    def test_no_uninstaller(self, bench: Bench) -> None:
        bench.world.install()
        (bench.world.root / "usr/bin/nvidia-uninstall").unlink()
        error = bench.refused(state="absent")
        assert str(error) == (
            f"nvidia-uninstall is missing on the node, although /var/lib/nvidia/log names {VERSION}. "
            f"Run the runfile of {VERSION} there with --uninstall --silent."
        )

    def test_fails(self, bench: Bench) -> None:
        bench.world.install()
        bench.world.installer = "fails"
        bench.world.log = "ERROR: Unable to open '/var/lib/nvidia/log'\n"
        with pytest.raises(PhoenixError) as caught:
            bench.run(state="absent")
        assert caught.value.reason == (
            f"the NVIDIA installer could not remove {VERSION} from the node (exit code 1): "
            "Unable to open '/var/lib/nvidia/log'"
        )

    def test_success_that_is_none(self, bench: Bench) -> None:
        bench.world.install()
        bench.world.installer = "lies"
        with pytest.raises(PhoenixError) as caught:
            bench.run(state="absent")
        assert caught.value.code == Code.VERIFICATION
        assert caught.value.details["problems"] == [
            f"libnvidia-ml.so.1 is {VERSION}",
            f"libcuda.so.1 is {VERSION}",
            f"/var/lib/nvidia/log names {VERSION}",
            f"DKMS has {VERSION} for kernel {KERNEL}",
        ]


class TestCached:
    def test_path(self, bench: Bench) -> None:
        before = bench.file.read_bytes(), bench.file.stat().st_mtime_ns
        result = bench.run(state="cached")
        assert result["changed"] is False
        assert (result["version"], result["path"]) == (VERSION, str(bench.file))
        assert (bench.file.read_bytes(), bench.file.stat().st_mtime_ns) == before

    def test_needs_no_node(self, bench: Bench) -> None:
        bench.run(state="cached")
        assert bench.world.calls == []


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        yield server


class TestUrl:
    def test_cached(self, bench: Bench, server: Server) -> None:
        url = server.gives(answer(runfile()))
        before = bench.files()
        predicted = bench.run(check=True, state="cached", path=None, url=url)
        assert (bench.files(), server.requests) == (before, [])
        done = bench.run(state="cached", path=None, url=url)
        for key in ("changed", "diff", "version", "path"):
            assert predicted[key] == done[key]
        assert done["diff"] == {"before": {"cached": False}, "after": {"cached": True}}
        assert done["path"] == str(bench.tmp / "cache" / NAME)
        again = bench.run(state="cached", path=None, url=url)
        assert (again["changed"], again["sha256"], len(server.requests)) == (False, done["sha256"], 1)

    def test_damaged_in_the_cache(self, bench: Bench, server: Server) -> None:
        url = server.gives(answer(runfile()))
        digest = bench.run(state="cached", path=None, url=url)["sha256"]
        cached = bench.tmp / "cache" / NAME
        cached.write_bytes(runfile() + b"x")
        options: dict[str, t.Any] = {"state": "cached", "path": None, "url": url, "checksum": f"sha256:{digest}"}
        predicted = bench.run(check=True, **options)
        assert predicted["changed"] is True
        assert predicted["warnings"][0].endswith(f" and not {digest}: it would be downloaded again.")
        done = bench.run(**options)
        assert done["changed"] is True
        assert done["warnings"][0].endswith(f" and not {digest}: it was downloaded again.")
        assert cached.read_bytes() == runfile()

    def test_installed_on_the_node_and_in_a_container_from_one_download(self, bench: Bench, server: Server) -> None:
        url = server.gives(answer(runfile()))
        bench.world.container(901)
        checksum = f"sha256:{hashlib.sha256(runfile()).hexdigest()}"
        assert bench.predicted_then_done(path=None, url=url, checksum=checksum)["changed"] is True
        assert bench.run(path=None, url=url, checksum=checksum, ctid=901)["changed"] is True
        assert len(server.requests) == 1

    def test_nothing_is_taken_away_before_the_file_is_at_hand(self, bench: Bench, server: Server) -> None:
        url = server.gives(answer(b"", status=404))
        bench.world.install(OLD)
        packages(bench.world.root, "libcuda1")
        with pytest.raises(PhoenixError, match="answered 404"):
            bench.run(path=None, url=url)
        assert bench.world.changes == []
