# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils import _nvidia as nvidia
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia import DkmsEntry, Identity, KernelModule
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.nvidia_world import elf_module, runfile
from hypothesis import given
from hypothesis import strategies as st

URL = "https://us.download.nvidia.com/XFree86/Linux-x86_64/580.76.05/NVIDIA-Linux-x86_64-580.76.05.run"

versions = st.builds(
    lambda major, minor, patch: f"{major}.{minor}" + ("" if patch is None else f".{patch:02d}"),
    st.integers(100, 999),
    st.integers(0, 999),
    st.none() | st.integers(0, 99),
)


class TestOrder:
    def test_numbers_not_text(self) -> None:
        listed = ["580.105.08", "580.76.05", "570.86.16", "580.142", "580.82.07"]
        assert sorted(listed, key=nvidia.order) == ["570.86.16", "580.76.05", "580.82.07", "580.105.08", "580.142"]

    def test_kernels(self) -> None:
        listed = ["7.0.14-11-pve", "6.8.12-4-pve", "6.17.2-1-pve", "6.8.12-10-pve"]
        assert sorted(listed, key=nvidia.kernel_order) == [
            "6.8.12-4-pve",
            "6.8.12-10-pve",
            "6.17.2-1-pve",
            "7.0.14-11-pve",
        ]


class TestName:
    @pytest.mark.parametrize(
        ("source", "version", "architecture"),
        [
            pytest.param(URL, "580.76.05", "x86_64", id="the seeds' URL"),
            pytest.param(f"{URL}?token=1#top", "580.76.05", "x86_64", id="query and fragment"),
            pytest.param("/srv/NVIDIA-Linux-x86_64-580.142.run", "580.142", "x86_64", id="two numbers"),
            pytest.param("NVIDIA-Linux-x86_64-535.129.03-no-compat32.run", "535.129.03", "x86_64", id="no-compat32"),
            pytest.param("NVIDIA-Linux-aarch64-580.76.05.run", "580.76.05", "aarch64", id="aarch64"),
            pytest.param("NVIDIA-Linux-x86_64-535.230.02-vgpu-kvm.run", "535.230.02", "x86_64", id="vgpu"),
            pytest.param("https://h/NVIDIA-Linux-x86_64%2D580.76.05.run", "580.76.05", "x86_64", id="quoted"),
        ],
    )
    def test_known(self, source: str, version: str, architecture: str) -> None:
        assert nvidia.identity_from_name(source) == Identity(version, architecture)

    @pytest.mark.parametrize(
        "source",
        [
            "driver.run",
            "NVIDIA-Linux-x86_64-580.run",
            "NVIDIA-Linux-x86_64-580.76.05.run.part",
            "cuda_12.8.0_linux.run",
        ],
    )
    def test_unknown(self, source: str) -> None:
        assert nvidia.identity_from_name(source) is None

    @given(versions, st.sampled_from(nvidia.ARCHITECTURES), st.sampled_from(["", "-no-compat32", "-grid"]))
    def test_any_version(self, version: str, architecture: str, suffix: str) -> None:
        source = f"https://h/p/NVIDIA-Linux-{architecture}-{version}{suffix}.run"
        assert nvidia.identity_from_name(source) == Identity(version, architecture)


class TestHeader:
    def test_version_string(self) -> None:
        assert nvidia.identity_from_header(runfile("580.159.04")) == Identity("580.159.04", "x86_64")

    @pytest.mark.parametrize(
        ("lines", "identity"),
        [
            pytest.param(
                ['label="NVIDIA Accelerated Graphics Driver for Linux-x86_64 535.129.03"'],
                Identity("535.129.03", "x86_64"),
                id="label only",
            ),
            pytest.param(
                ['label="NVIDIA Accelerated Graphics Driver for Linux-aarch64 580.76.05"', "version_string=580.76.05"],
                Identity("580.76.05", "aarch64"),
                id="architecture by the label",
            ),
            pytest.param(
                ['label="NVIDIA driver"', "version_string=580.76.05"], Identity("580.76.05", ""), id="no architecture"
            ),
            pytest.param(['label="NVIDIA driver"', "version_string=0"], None, id="no version"),
            pytest.param(['label="Makeself 2.1.4"', "version_string=580.76.05"], None, id="another archive"),
            pytest.param([], None, id="another script"),
        ],
    )
    def test_fields(self, lines: list[str], identity: Identity | None) -> None:
        data = "\n".join(["#! /bin/sh", "CRCsum=1795505747", *lines, "keep=n", ""]).encode()
        assert nvidia.identity_from_header(data) == identity

    def test_page(self) -> None:
        assert nvidia.identity_from_header(b"<!DOCTYPE html><title>NVIDIA</title>") is None

    def test_only_the_header_counts(self) -> None:
        late = b"#! /bin/sh\n" + b"#" * nvidia.HEADER_BYTES + b'\nlabel="NVIDIA x 580.76.05"\n'
        assert nvidia.identity_from_header(late) is None

    @given(st.binary())
    def test_never_raises(self, data: bytes) -> None:
        nvidia.identity_from_header(b"#!" + data)


class TestExpected:
    def test_by_name(self) -> None:
        assert nvidia.expected_identity(URL, None) == Identity("580.76.05", "x86_64")

    def test_by_option(self) -> None:
        assert nvidia.expected_identity("https://mirror/driver.run", "580.76.05") == Identity("580.76.05", "")

    def test_both_agree(self) -> None:
        assert nvidia.expected_identity(URL, "580.76.05").version == "580.76.05"

    @pytest.mark.parametrize(
        ("source", "version", "message"),
        [
            pytest.param(
                URL,
                "580.82.07",
                f"version: 580.82.07 disagrees with {URL}, which is 580.76.05. "
                "Leave version out (it is derived from the file name), or correct the url or path.",
                id="disagree",
            ),
            pytest.param(
                "/srv/driver.run",
                None,
                "/srv/driver.run: the file name does not tell the driver version. "
                "Use NVIDIA's own file name (NVIDIA-Linux-x86_64-<version>.run), or set version.",
                id="nobody tells",
            ),
            pytest.param(
                URL,
                "latest",
                "version: 'latest' is no NVIDIA driver version. Write it like 580.159.04, or leave it out.",
                id="no version",
            ),
        ],
    )
    def test_refused(self, source: str, version: str | None, message: str) -> None:
        with pytest.raises(PhoenixError) as caught:
            nvidia.expected_identity(source, version)
        assert (str(caught.value), caught.value.code) == (message, Code.INPUT)


class TestCheckIdentity:
    def test_agrees(self) -> None:
        nvidia.check_identity(URL, Identity("580.76.05", "x86_64"), Identity("580.76.05", "x86_64"))
        nvidia.check_identity(URL, Identity("580.76.05", ""), Identity("580.76.05", "x86_64"))
        nvidia.check_identity(URL, Identity("580.76.05", "x86_64"), Identity("580.76.05", ""))

    @pytest.mark.parametrize(
        ("found", "reason"),
        [
            (
                Identity("575.64.05", "x86_64"),
                f"{URL}: 580.76.05 was asked for, but the file's own header says 575.64.05",
            ),
            (Identity("580.76.05", "aarch64"), f"{URL}: the name says x86_64, but the file's own header says aarch64"),
        ],
        ids=["version", "architecture"],
    )
    def test_disagrees(self, found: Identity, reason: str) -> None:
        with pytest.raises(PhoenixError) as caught:
            nvidia.check_identity(URL, Identity("580.76.05", "x86_64"), found)
        assert (caught.value.reason, caught.value.code) == (reason, Code.INPUT)


class TestLoaded:
    @pytest.mark.parametrize(
        ("line", "module"),
        [
            pytest.param(
                # facts/gpu.md, "Majors there"
                "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (dvs-builder@U22)",
                KernelModule("580.159.04", True),
                id="open",
            ),
            pytest.param(
                "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023",
                KernelModule("535.129.03", False),
                id="proprietary",
            ),
            pytest.param("", None, id="not loaded"),
            pytest.param("GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)", None, id="compiler only"),
            pytest.param("NVRM version: unknown", None, id="no version"),
        ],
    )
    def test_proc(self, line: str, module: KernelModule | None) -> None:
        assert nvidia.loaded_module(f"{line}\nGCC version:  gcc version 120.20.0 (Debian)\n") == module

    def test_type(self) -> None:
        assert KernelModule("580.76.05", True).type == "open"
        assert KernelModule("580.76.05", False).type == "proprietary"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        # The first line as nvidia-installer writes it: an old-style version, and the real one in brackets.
        ("1.0-5807605 (580.76.05)\nNVIDIA Accelerated Graphics Driver\n0: /usr/bin/nvidia-smi\n", "580.76.05"),
        ("580.142\n", "580.142"),
        ("", ""),
        ("1.0-9742\n", ""),
        ("\n1.0-5807605 (580.76.05)\n", ""),
    ],
    ids=["brackets", "plain", "empty", "ancient", "not on line 1"],
)
def test_logged_version(text: str, version: str) -> None:
    assert nvidia.logged_version(text) == version


@given(versions)
def test_logged_version_of_any(version: str) -> None:
    digits = version.replace(".", "")
    assert nvidia.logged_version(f"1.0-{digits} ({version})\nNVIDIA\n") == version


@pytest.mark.parametrize(
    ("target", "version"),
    [
        ("libnvidia-ml.so.580.76.05", "580.76.05"),
        ("/usr/lib/x86_64-linux-gnu/libcuda.so.580.142", "580.142"),
        ("libcuda.so.1", ""),
        ("libcuda.so", ""),
    ],
)
def test_library_version(target: str, version: str) -> None:
    assert nvidia.library_version(target) == version


ABORTED = """\
nvidia-installer log file '/var/log/nvidia-installer.log'
creation time: Fri Nov 20 10:00:00 2026
installer version: 580.76.05

nvidia-installer command line:
    ./nvidia-installer
    --silent

Using built-in stream user interface
-> Detected 24 CPUs online; setting concurrency level to 24.
WARNING: An NVIDIA kernel module 'nvidia-drm' appears to be already loaded.  This may be because it is in use.
-> Would you like to continue installation and skip the sanity checks? (Answer: Abort installation)
ERROR: Installation has failed.  Please see the file '/var/log/nvidia-installer.log' for details.
"""

FAILED_BUILD = """\
-> Building kernel modules
   executing: 'make -j16'
   make[1]: *** [Makefile] Error 2
-> Error.
ERROR: An error occurred while performing the step: "Building kernel modules".
See /var/log/nvidia-installer.log for details.

ERROR: The nvidia kernel module was not created.
ERROR: Installation has failed.  Please see the file '/var/log/nvidia-installer.log' for details.
"""

WRAPPED = """
ERROR: Unable to load the kernel module 'nvidia.ko'.  This happens most
       frequently when this kernel module was built against the wrong or
       improperly configured kernel sources.
       \x20
       Please see the log entries.


WARNING: The nvidia-drm module will not be installed. As a result, DRM-KMS
         will not function with this installation of the NVIDIA driver.
"""


class TestLog:
    def test_silent_abort_says_why(self) -> None:
        reason = "An NVIDIA kernel module 'nvidia-drm' appears to be already loaded. This may be because it is in use."
        assert nvidia.failure_lines(ABORTED) == [reason]

    def test_failed_build(self) -> None:
        step, created = nvidia.failure_lines(FAILED_BUILD)
        assert step == (
            'An error occurred while performing the step: "Building kernel modules". '
            "See /var/log/nvidia-installer.log for details."
        )
        assert created == "The nvidia kernel module was not created."

    def test_wrapped_by_stderr(self) -> None:
        error, warning = nvidia.log_messages(WRAPPED)
        assert error[0] == "ERROR"
        assert error[1] == (
            "Unable to load the kernel module 'nvidia.ko'. This happens most frequently when this kernel module was "
            "built against the wrong or improperly configured kernel sources."
        )
        assert warning[0] == "WARNING"
        assert warning[1] == (
            "The nvidia-drm module will not be installed. As a result, DRM-KMS will not function with this "
            "installation of the NVIDIA driver."
        )

    def test_command_output_is_no_message(self) -> None:
        text = "ERROR: Failed to run it\n   gcc: internal compiler error\nERROR: Failed to run it\n"
        assert nvidia.failure_lines(text) == ["Failed to run it"]

    def test_nothing(self) -> None:
        assert nvidia.failure_lines("-> done.\n") == []


class TestDkms:
    @pytest.mark.parametrize(
        ("line", "entry"),
        [
            ("nvidia/580.76.05, 6.8.12-4-pve, x86_64: installed", ("6.8.12-4-pve", "installed", "")),
            ("nvidia/580.76.05, 6.8.12-4-pve, x86_64: built", ("6.8.12-4-pve", "built", "")),
            ("nvidia/580.76.05: added", ("", "added", "")),
            ("nvidia, 580.76.05, 6.8.12-4-pve, x86_64: installed", ("6.8.12-4-pve", "installed", "")),
            ("nvidia, 580.76.05: added", ("", "added", "")),
            (
                "nvidia/580.76.05, 6.17.2-1-pve, x86_64: installed (WARNING! Diff between built and installed module!)",
                ("6.17.2-1-pve", "installed", "WARNING! Diff between built and installed module!"),
            ),
            (
                "nvidia/580.76.05, 6.8.12-4-pve, x86_64: installed-weak from 6.8.12-1-pve",
                ("6.8.12-4-pve", "installed-weak", "from 6.8.12-1-pve"),
            ),
        ],
    )
    def test_line(self, line: str, entry: tuple[str, str, str]) -> None:
        text = f"Deprecated feature: REMAKE_INITRD (/var/lib/dkms/nvidia/source/dkms.conf)\n{line}\n"
        assert nvidia.dkms_status(text) == [DkmsEntry("580.76.05", *entry)]

    def test_other_modules(self) -> None:
        assert nvidia.dkms_status("r8125/9.011.00, 6.8.12-4-pve, x86_64: installed\n") == []


class TestModuleFile:
    def test_fields(self) -> None:
        data = elf_module({"version": "580.159.04", "license": "Dual MIT/GPL"})
        fields = nvidia.module_fields(io.BytesIO(data))
        assert fields == {"version": "580.159.04", "license": "Dual MIT/GPL"}
        assert nvidia.module_from_fields(fields) == KernelModule("580.159.04", True)

    def test_proprietary(self) -> None:
        fields = {"version": "535.129.03", "license": "NVIDIA"}
        assert nvidia.module_from_fields(fields) == KernelModule("535.129.03", False)

    def test_no_version(self) -> None:
        assert nvidia.module_from_fields({"license": "GPL"}) is None

    def test_no_modinfo(self) -> None:
        assert nvidia.module_fields(io.BytesIO(elf_module({}, section=".text"))) == {}

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\x7fELF",
            b"\xfd7zXZ" + bytes(80),
            elf_module({"version": "580.76.05"})[:-10],
            b"\x7fELF\x02\x01" + bytes(58),
        ],
        ids=["empty", "short", "compressed", "cut off", "no sections"],
    )
    def test_unreadable(self, data: bytes) -> None:
        assert nvidia.module_fields(io.BytesIO(data)) == {}


DPKG_STATUS = """\
Package: libcuda1
Status: install ok installed
Priority: optional
Architecture: amd64
Description: CUDA
 Package: not a field

Package: nvidia-alternative
Status: deinstall ok config-files
Architecture: amd64

Package: cuda-drivers
Status: install ok installed
Architecture: all

Package: held
Status: hold ok installed

"""


class TestPackages:
    def test_installed(self) -> None:
        assert nvidia.installed_packages(DPKG_STATUS) == ["libcuda1:amd64", "cuda-drivers", "held"]

    def test_simulated(self) -> None:
        # apt-get --simulate purge
        text = "Reading package lists...\nPurg cuda-drivers [580.76.05-1]\nRemv nvtop [3.0]\nInst x (1)\n"
        assert nvidia.simulated_removals(text) == ["cuda-drivers", "nvtop"]

    def test_without_architecture(self) -> None:
        assert nvidia.without_architecture(["libcuda1:amd64", "cuda"]) == ["libcuda1", "cuda"]


class TestChecksumList:
    DIGEST = "219be636b60931b021b2e8c1e0eff887363c731f8a940caa87bcc054d05d97fd"
    OTHER = "0" * 64

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            pytest.param("{d}  NVIDIA.run\n", True, id="sha256sum"),
            pytest.param("{d} *NVIDIA.run\n", True, id="binary mode"),
            pytest.param("{o}  other.run\n{d}  ./NVIDIA.run\n", True, id="among others"),
            pytest.param("{d}\n", True, id="bare"),
            pytest.param("{d}  renamed.run\n", True, id="the only entry"),
            pytest.param("{d}  a.run\n{o}  b.run\n", False, id="not listed"),
            pytest.param("<html>404</html>", False, id="page"),
        ],
    )
    def test_list(self, text: str, found: bool) -> None:
        text = text.format(d=self.DIGEST.upper(), o=self.OTHER)
        assert nvidia.sha256_from_list(text, "NVIDIA.run") == (self.DIGEST if found else "")
