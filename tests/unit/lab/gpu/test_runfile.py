# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from lab.gpu import elf, runfile
from lab.gpu.dkms import run as dkms

MARKS = b"phoenix-lab-driver=" + b"@" * 16 + b"\0phoenix-lab-cuda=" + b"@" * 16 + b"\0"


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the compiler would have made, as far as the builder looks at it."""
    folder = tmp_path_factory.mktemp("stubs")
    for name in ("libcuda.so", "libnvidia-ml.so", "libempty.so", *runfile.PROGRAMS):
        (folder / name).write_bytes(elf.module({"x": "y"}) + MARKS)
    return folder


@pytest.fixture(scope="module")
def unpacked(stubs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for version in runfile.VERSIONS:
        folder = tmp_path_factory.mktemp("run")
        path = runfile.build(folder, version, stubs)
        subprocess.run(["sh", path, "-x", "--target", folder / "out"], check=True, capture_output=True)
        folders[version] = folder / "out"
    return folders


def test_the_header_says_what_it_is(stubs: Path, tmp_path: Path) -> None:
    path = runfile.build(tmp_path, "580.76.05", stubs)
    assert path.name == "NVIDIA-Linux-x86_64-580.76.05.run"
    head = path.read_bytes()[:4096].decode("latin-1")
    fields = dict(re.findall(r'^(\w+)="?(.*?)"?$', head, re.MULTILINE))
    assert head.startswith("#! /bin/sh\n")
    assert fields["version_string"] == "580.76.05"
    assert fields["label"] == "NVIDIA Accelerated Graphics Driver for Linux-x86_64 580.76.05"
    assert fields["TARGET_ARCH"] == "x86_64"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (tmp_path / f"{path.name}.sha256sum").read_text() == f"{digest}  {path.name}\n"
    assert path.stat().st_size < 1 << 20


def test_it_is_the_same_each_time(stubs: Path, tmp_path: Path) -> None:
    one, other = (runfile.build(tmp_path / name, "580.76.05", stubs).read_bytes() for name in ("a", "b"))
    assert one == other


def test_it_checks_itself(stubs: Path, tmp_path: Path) -> None:
    path = runfile.build(tmp_path, "580.76.05", stubs)
    assert subprocess.run(["sh", path, "--check"], check=True, capture_output=True).stdout.endswith(b"OK\n")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    broken = subprocess.run(["sh", path, "--check"], check=False, capture_output=True, text=True)
    assert broken.returncode == 2
    assert broken.stderr.startswith("Error in MD5 checksums: ")


def test_the_sum_is_that_of_cksum() -> None:
    done = subprocess.run(["cksum"], input=b"phoenix" * 100, capture_output=True, check=True)
    assert int(done.stdout.split()[0]) == runfile.posix_sum(b"phoenix" * 100)


@pytest.mark.parametrize(
    ("version", "flag", "known"),
    [
        ("580.76.05", "--silent", True),
        ("580.76.05", "--no-kernel-modules", True),
        ("580.76.05", "--no-kernel-module", True),
        ("580.76.05", "-M=open", True),
        ("580.76.05", "--kernel-module-type=open", True),
        ("580.76.05", "--rebuild-initramfs", True),
        ("580.76.05", "--no-rebuild-initramfs", True),
        ("580.76.05", "--no-dkms", True),
        ("580.76.05", "--log-file-name=/x", True),
        ("580.76.05", "--allow-installation-with-running-driver", True),
        ("535.261.03", "--kernel-module-type=open", False),
        ("535.261.03", "--skip-module-load", False),
        ("535.261.03", "--no-rebuild-initramfs", False),
        ("535.261.03", "--no-kernel-modules", True),
        ("580.76.05", "--silent=1", False),
        ("580.76.05", "--fast", False),
        ("580.76.05", "word", False),
    ],
)
def test_unknown_flags_are_refused(unpacked: dict[str, Path], version: str, flag: str, known: bool) -> None:
    done = subprocess.run(
        ["./nvidia-installer", flag, "--version"], cwd=unpacked[version], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) is known, done.stderr
    assert known or "Invalid commandline, please run `./nvidia-installer --help` for usage information." in done.stderr


@pytest.mark.parametrize(("version", "cuda"), [("570.172.08", "12.8"), ("580.82.07", "13.0"), ("600.1.1", "13.1")])
def test_a_library_knows_its_version(stubs: Path, tmp_path: Path, version: str, cuda: str) -> None:
    path = tmp_path / f"libcuda.so.{version}"
    runfile.build_library("libcuda", version, path, stubs)
    assert f"phoenix-lab-driver={version}\0".encode() in path.read_bytes()
    assert f"phoenix-lab-cuda={cuda}\0".encode() in path.read_bytes()


def test_the_daemons_unit_is_only_a_sample(unpacked: dict[str, Path]) -> None:
    samples = unpacked["580.76.05"] / "doc/samples/nvidia-persistenced-init.tar.bz2"
    with tarfile.open(samples) as archive:
        assert archive.getnames() == ["nvidia-persistenced-init/systemd/nvidia-persistenced.service.template"]
    assert not (unpacked["580.76.05"] / "systemd/nvidia-persistenced.service").exists()


@pytest.fixture
def source(node: Path) -> Path:
    """A node with headers, and with the sources of a driver that are compiled by copying."""
    headers = node / "usr/lib/modules/6.14.11-4-pve/build"
    headers.mkdir()
    (headers / "Makefile").touch()
    folder = node / "usr/src/nvidia-580.76.05"
    folder.mkdir(parents=True)
    (folder / "dkms.conf").write_text('PACKAGE_NAME="nvidia"\nMAKE[0]="cp nvidia.ko.in nvidia.ko"\n')
    (folder / "nvidia.ko.in").write_bytes(elf.module({"version": "580.76.05"}))
    tree = node / "var/lib/dkms"
    tree.mkdir(parents=True)
    (tree / "mok.pub").write_bytes(b"certificate")
    return node


def test_dkms_from_added_to_removed(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def status() -> str:
        capsys.readouterr()
        assert dkms(["status", "-m", "nvidia"], source) == 0
        return capsys.readouterr().out

    assert status() == ""
    assert dkms(["add", "-m", "nvidia", "-v", "580.76.05"], source) == 0
    assert status() == "nvidia/580.76.05: added\n"
    assert dkms(["build", "nvidia/580.76.05", "-k", "6.14.11-4-pve"], source) == 0
    assert status() == "nvidia/580.76.05, 6.14.11-4-pve, x86_64: built\n"
    assert dkms(["install", "nvidia/580.76.05", "-k", "6.14.11-4-pve", "--force"], source) == 0
    assert status() == "nvidia/580.76.05, 6.14.11-4-pve, x86_64: installed\n"
    link = source / "var/lib/dkms/nvidia/kernel-6.14.11-4-pve-x86_64"
    assert str(link.readlink()) == "580.76.05/6.14.11-4-pve/x86_64"
    installed = source / "usr/lib/modules/6.14.11-4-pve/updates/dkms/nvidia.ko"
    assert elf.signer(installed.read_bytes()) == hashlib.sha256(b"certificate").hexdigest()
    installed.write_bytes(b"another")
    assert "(WARNING! Diff between built and installed module!)" in status()
    assert dkms(["remove", "nvidia/580.76.05", "--all"], source) == 0
    assert status() == ""
    assert not installed.exists()


@pytest.mark.parametrize(
    ("argv", "rc", "said"),
    [
        (["add", "nvidia/1.2"], 2, "\nError! Could not find module source directory.\n"),
        (["remove", "nvidia/1.2"], 3, "\nError! There are no instances of module: nvidia/1.2\n"),
        (
            ["build", "nvidia/580.76.05", "-k", "6.17"],
            21,
            "\nError! Your kernel headers for kernel 6.17 cannot be found",
        ),
        (["build", "-m", "nvidia"], 1, "\nError! Arguments <module> and <module-version> are not specified.\n"),
        (["dance"], 4, "\nError! Unknown action specified: dance\n"),
    ],
)
def test_what_dkms_refuses(
    source: Path, capsys: pytest.CaptureFixture[str], argv: list[str], rc: int, said: str
) -> None:
    assert dkms(argv, source) == rc
    assert capsys.readouterr().err.startswith(said)


def test_a_failed_build_leaves_its_log(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configuration = source / "usr/src/nvidia-580.76.05/dkms.conf"
    configuration.write_text('MAKE[0]="echo nv.c:1: error >&2; false"\n')
    assert dkms(["install", "nvidia/580.76.05"], source) == 10
    assert "Bad return status for module build on kernel: 6.14.11-4-pve (x86_64)" in capsys.readouterr().err
    assert "nv.c:1: error" in (source / "var/lib/dkms/nvidia/580.76.05/build/make.log").read_text()
