# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils import _nvidia_rules as rules
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError

BLACKWELL, HOPPER, TURING, PASCAL, GRACE = 0x2D04, 0x2335, 0x1E07, 0x1B80, 0x2342


class TestKernel:
    @pytest.mark.parametrize(
        ("version", "kernel"),
        [
            ("580.76.05", "6.8.12-4-pve"),
            ("580.76.05", "6.14.11-5-pve"),
            ("580.82.07", "6.17.2-1-pve"),
            ("580.159.04", "7.0.14-11-pve"),
            ("580.159.04", "7.1.3-1-pve"),
            ("590.48.01", "7.0.14-11-pve"),
        ],
    )
    def test_builds(self, version: str, kernel: str) -> None:
        assert rules.check_kernel(version, kernel) == ""

    @pytest.mark.parametrize(
        ("version", "kernel", "why", "newer", "older"),
        [
            (
                "580.76.05",
                "6.17.2-1-pve",
                "distributions had to patch it for 6.17, and no longer from 580.82.07",
                "580.82.07",
                "6.17",
            ),
            ("580.76.05", "7.0.14-11-pve", "580.119.02 does not build on 7.0.9", "580.159.04", "6.17"),
            ("580.119.02", "7.0.9-1-pve", "580.119.02 does not build on 7.0.9", "580.159.04", "7.0"),
            (
                "580.142",
                "7.1.0-1-pve",
                "580.142 does not build on 7.1, which 580.159.04 corrected",
                "580.159.04",
                "7.1",
            ),
        ],
    )
    def test_known_bad(self, version: str, kernel: str, why: str, newer: str, older: str) -> None:
        with pytest.raises(PhoenixError) as caught:
            rules.check_kernel(version, kernel)
        assert str(caught.value) == (
            f"driver {version} does not build on kernel {kernel}: {why}. Bump the pin to >= {newer}, or pin the kernel "
            f"to a series before {older} (`proxmox-boot-tool kernel pin <kernel>`, then reboot)."
        )

    @pytest.mark.parametrize(
        ("version", "kernel"), [("580.142", "7.0.14-11-pve"), ("550.90.07", "6.17.2-1-pve")], ids=["between", "branch"]
    )
    def test_unknown_is_a_warning(self, version: str, kernel: str) -> None:
        assert rules.check_kernel(version, kernel).startswith(f"No report says whether driver {version} builds on")


class TestModuleType:
    @pytest.mark.parametrize(
        ("requested", "devices", "version", "expected"),
        [
            ("auto", [BLACKWELL], "580.76.05", "open"),
            ("auto", [TURING, HOPPER], "580.76.05", "open"),
            ("auto", [PASCAL], "580.76.05", "proprietary"),
            ("auto", [PASCAL, TURING], "580.76.05", "proprietary"),
            ("auto", [], "580.76.05", "open"),
            ("auto", [TURING], "510.47.03", "proprietary"),
            ("proprietary", [TURING], "580.76.05", "proprietary"),
            ("proprietary", [], "580.76.05", "proprietary"),
            ("open", [TURING], "580.76.05", "open"),
        ],
    )
    def test_chosen(self, requested: str, devices: list[int], version: str, expected: str) -> None:
        assert rules.module_type(requested, devices, version) == (expected, [])

    @pytest.mark.parametrize(("requested", "devices"), [("auto", [PASCAL, BLACKWELL]), ("open", [PASCAL, TURING])])
    def test_mixed(self, requested: str, devices: list[int]) -> None:
        warning = "GPU 10de:1b80 is older than Turing: the open kernel module ignores it."
        assert rules.module_type(requested, devices, "580.76.05") == ("open", [warning])

    @pytest.mark.parametrize(
        ("requested", "devices", "version", "reason"),
        [
            (
                "proprietary",
                [BLACKWELL, TURING],
                "580.76.05",
                "kernel_module_type: proprietary does not drive GPU 10de:2d04, which needs the open module",
            ),
            (
                "proprietary",
                [GRACE],
                "580.76.05",
                "kernel_module_type: proprietary does not drive GPU 10de:2342, which needs the open module",
            ),
            (
                "open",
                [PASCAL],
                "580.76.05",
                "kernel_module_type: open does not drive GPU 10de:1b80, which is older than Turing",
            ),
            ("open", [TURING], "510.47.03", "kernel_module_type: driver 510.47.03 has no open kernel module"),
            ("auto", [BLACKWELL], "510.47.03", "kernel_module_type: driver 510.47.03 has no open kernel module"),
        ],
    )
    def test_refused(self, requested: str, devices: list[int], version: str, reason: str) -> None:
        with pytest.raises(PhoenixError) as caught:
            rules.module_type(requested, devices, version)
        assert (caught.value.reason, caught.value.code) == (reason, Code.INPUT)


class TestArguments:
    def test_node(self) -> None:
        # domain.md section 2, "Host"
        assert rules.node_arguments(
            "580.159.04", "open", running_driver=False, signed=False, extra_args=["--no-drm"]
        ) == [
            "--silent",
            "--dkms",
            "--kernel-module-type=open",
            "--disable-nouveau",
            "--no-x-check",
            "--no-install-compat32-libs",
            "--log-file-name=/var/log/nvidia-installer.log",
            "--rebuild-initramfs",
            "--no-drm",
        ]

    def test_container(self) -> None:
        # domain.md section 2, "Container"
        assert rules.container_arguments("580.159.04", ["--install-libglvnd"]) == [
            "--silent",
            "--no-kernel-modules",
            "--no-nouveau-check",
            "--no-x-check",
            "--no-nvidia-modprobe",
            "--no-systemd",
            "--no-rebuild-initramfs",
            "--no-install-compat32-libs",
            "--no-backup",
            "--skip-depmod",
            "--no-check-for-alternate-installs",
            "--install-libglvnd",
        ]

    def test_swap_under_a_running_driver(self) -> None:
        arguments = rules.node_arguments("580.76.05", "open", running_driver=True, signed=False, extra_args=[])
        assert arguments[-2:] == ["--allow-installation-with-running-driver", "--skip-module-load"]

    def test_secure_boot(self) -> None:
        arguments = rules.node_arguments("580.76.05", "open", running_driver=False, signed=True, extra_args=[])
        assert arguments[-2:] == [
            "--module-signing-secret-key=/var/lib/dkms/mok.key",
            "--module-signing-public-key=/var/lib/dkms/mok.pub",
        ]

    @pytest.mark.parametrize(
        ("version", "module_type", "present", "missing"),
        [
            ("555.42.02", "proprietary", ["--kernel-module-type=proprietary"], []),
            ("550.78", "open", ["-m=kernel-open", "--skip-module-load"], ["--kernel-module-type=open"]),
            ("545.29.06", "proprietary", ["--rebuild-initramfs"], ["--skip-module-load", "-m=kernel", ""]),
            ("535.129.03", "open", ["-m=kernel-open"], ["--rebuild-initramfs"]),
        ],
    )
    def test_older_node(self, version: str, module_type: str, present: list[str], missing: list[str]) -> None:
        arguments = rules.node_arguments(version, module_type, running_driver=True, signed=False, extra_args=[])
        assert set(present) <= set(arguments)
        assert not set(missing) & set(arguments)

    @pytest.mark.parametrize(
        ("version", "present", "missing"),
        [
            ("535.129.03", ["--no-kernel-modules", "--no-systemd"], ["--no-rebuild-initramfs"]),
            ("510.47.03", ["--no-kernel-module"], ["--no-kernel-modules"]),
            ("460.73.01", ["--no-kernel-module"], ["--no-systemd"]),
        ],
    )
    def test_older_container(self, version: str, present: list[str], missing: list[str]) -> None:
        arguments = rules.container_arguments(version, [])
        assert set(present) <= set(arguments)
        assert not set(missing) & set(arguments)

    def test_uninstall(self) -> None:
        log = "--log-file-name=/var/log/nvidia-uninstall.log"
        assert rules.uninstall_arguments(unload=True, depmod=True) == ["--silent", log]
        assert rules.uninstall_arguments(unload=False, depmod=False) == [
            "--silent",
            log,
            "--skip-module-unload",
            "--skip-depmod",
        ]

    def test_running_driver(self) -> None:
        assert rules.can_replace_running_driver("545.23.06")
        assert not rules.can_replace_running_driver("535.129.03")


class TestExtraArgs:
    @pytest.mark.parametrize(
        "arguments", [[], ["--no-drm"], ["--install-libglvnd"], ["--utility-prefix=/opt"], ["-j", "8"]]
    )
    def test_accepted(self, arguments: list[str]) -> None:
        rules.check_extra_args(arguments)

    @pytest.mark.parametrize(
        "argument",
        [
            "--dkms", "--no-dkms", "--silent", "-s", "--install-compat32-libs", "--no-kernel-module",
            "--no-kernel-modules", "--rebuild-initramfs", "--no-rebuild-initramfs", "--log-file-name=/x", "--systemd",
            "-b", "-z", "--skip-depmod", "--allow-installation-with-running-driver",
        ],
    )  # fmt: skip
    def test_owned(self, argument: str) -> None:
        with pytest.raises(PhoenixError) as caught:
            rules.check_extra_args(["--no-drm", argument])
        assert str(caught.value) == (
            f"extra_args: {argument!r} is a flag that the module owns. "
            "Leave it out: the module sets or omits it as node and container need it."
        )
        assert caught.value.code == Code.INPUT

    @pytest.mark.parametrize(
        ("argument", "why"),
        [
            ("--kernel-module-type=open", "the module's option kernel_module_type decides"),
            ("-M=open", "the module's option kernel_module_type decides"),
            ("-m=kernel-open", "the module's option kernel_module_type decides"),
            ("--tmpdir=/tmp", "the module unpacks below /var/tmp and removes it again"),
            ("-q", "implied by --silent"),
            ("--no-questions", "implied by --silent"),
        ],
    )
    def test_owned_and_why(self, argument: str, why: str) -> None:
        with pytest.raises(PhoenixError) as caught:
            rules.check_extra_args([argument])
        assert caught.value.remedy == f"Leave it out: {why}."

    @pytest.mark.parametrize(
        "argument",
        ["--uninstall", "--extract-only", "-x", "--kernel-modules-only", "--kernel-module-only", "-K", "--ui=ncurses"],
    )
    def test_other_modes(self, argument: str) -> None:
        with pytest.raises(PhoenixError, match="makes the installer do something else than install"):
            rules.check_extra_args([argument])


class TestPackages:
    @pytest.mark.parametrize(
        "package",
        [
            "nvidia-driver-580", "nvidia-utils-580:amd64", "libnvidia-compute-580:amd64", "libnvidia-cfg1-580",
            "libcuda1:amd64", "cuda-drivers", "cuda-drivers-580", "nvidia-open", "nvidia-kernel-dkms",
            "nvidia-open-580", "nvidia-dkms-580-open", "libnvidia-ml1:amd64", "nvidia-smi", "nvidia-persistenced",
            "xserver-xorg-video-nvidia-580", "libgl1-nvidia-glvnd-glx", "libegl-nvidia0", "glx-alternative-nvidia",
            "nvidia-installer-cleanup", "nvidia-modprobe", "libnvcuvid1", "firmware-nvidia-gsp",
        ],
    )  # fmt: skip
    def test_clash(self, package: str) -> None:
        assert rules.clashing_packages([package]) == [package]

    @pytest.mark.parametrize(
        "package",
        [
            "libnvidia-container1:amd64", "libnvidia-container-tools", "nvidia-container-toolkit",
            "nvidia-container-toolkit-base", "nvidia-container-runtime", "nvidia-docker2", "cuda-toolkit-12-8", "cuda",
            "nvtop", "firmware-nvidia-graphics", "nvidia-cuda-toolkit", "proxmox-ve",
        ],
    )  # fmt: skip
    def test_stay(self, package: str) -> None:
        assert rules.clashing_packages([package]) == []

    def test_sorted(self) -> None:
        assert rules.clashing_packages(["nvidia-smi", "bash", "libcuda1"]) == ["libcuda1", "nvidia-smi"]

    def test_removals_of_our_kind(self) -> None:
        rules.check_removals(
            ["cuda-drivers", "libcuda1:amd64", "cuda", "cuda-12-8", "cuda-runtime-12-8", "nvidia-smi"],
            ["cuda-drivers", "libcuda1:amd64"],
        )

    @pytest.mark.parametrize("other", ["nvtop", "libnvidia-container1:amd64", "nvidia-container-toolkit", "proxmox-ve"])
    def test_removals_of_others(self, other: str) -> None:
        with pytest.raises(PhoenixError) as caught:
            rules.check_removals(["libcuda1", other], ["libcuda1"])
        assert str(caught.value) == (
            f"purging libcuda1 would also remove {other}. Remove or replace these packages by hand first (apt-get "
            "purge shows why they depend on each other). This module changed nothing."
        )


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("An NVIDIA kernel module 'nvidia-drm' appears to be already loaded in your kernel.", "Stop what uses"),
        ("The Nouveau kernel driver is currently in use by your system.", "Blacklist nouveau"),
        ("Unable to find the kernel source tree for the currently running kernel.", "Install the headers"),
        ("modprobe: ERROR: could not insert 'nvidia': Key was rejected by service", "Enrol the key"),
        ("The installation was canceled due to the availability or presence of an alternate driver installation.",
         "Remove the distribution's"),
        ("Unable to find the module utility `depmod`; please make sure you have the package", "Install the package"),
        ("write error: No space left on device", "Make room"),
        ("An error occurred while building the NVIDIA kernel module", "The module does not fit"),
        ("ERROR: The nvidia kernel module was not created. Building kernel modules failed", "The module does not fit"),
        # It speaks of kernel sources, and headers would not help.
        (
            "Unable to load the kernel module 'nvidia.ko': it was built against improperly configured kernel sources",
            "The module does not fit",
        ),
        ("something new", "Read the log"),
    ],
)  # fmt: skip
def test_failure_remedy(line: str, start: str) -> None:
    assert rules.failure_remedy(["first", line]).startswith(start)
