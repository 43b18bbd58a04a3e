# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fnmatch
import shutil
import typing as t
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._cuda_repository import (
    DRIVER_PACKAGES,
    KEY,
    PINS,
    SOURCE,
    TOOLKIT_PACKAGES,
    CudaRepository,
    Request,
    pins,
    source,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_rules import clashing_packages
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.nvidia_world import write
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import (
    Call,
    FakeClock,
    FakeRunner,
    failed,
    full_disk,
)

URL = "https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64/"
ARMOUR = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQINBF\n-----END PGP PUBLIC KEY BLOCK-----\n"
UPDATE = "apt-get"
PACKAGES = (
    "libcuda1", "libcuda1-340", "libnvidia-compute-580", "libnvidia-compute", "libnvidia-ml1", "libnvidia-cfg1-580",
    "nvidia-utils-580", "nvidia-driver-580-open", "nvidia-driver", "nvidia-kernel-open-dkms", "nvidia-dkms-580",
    "nvidia-open-580", "nvidia-open", "cuda-drivers", "cuda-drivers-580", "nvidia-smi", "libnvidia-gl-580",
    "libnvidia-decode-580", "nvidia-persistenced", "nvidia-modprobe", "nvidia-kernel-common-580", "libnvcuvid1",
    "xserver-xorg-video-nvidia-580", "nvidia-firmware-580-580.95.05", "libnvidia-nvvm4", "libnvidia-ptxjitcompiler1",
)  # fmt: skip


class Server:
    def __init__(self, text: str = ARMOUR) -> None:
        self.text = text
        self.asked: list[str] = []

    def __call__(self, key: str, url: str) -> str:
        self.asked.append(url)
        return self.text


def run(root: Path, server: Server, runner: FakeRunner | None = None, **options: t.Any) -> dict[str, t.Any]:
    check_mode = options.pop("check_mode", False)
    request = Request(**({"url": URL} | options))
    runner = runner or FakeRunner({UPDATE: ""})
    return CudaRepository(request, Tree(root), server, runner, FakeClock(), check_mode=check_mode).run()


def text(root: Path, path: str) -> str:
    return (root / path.lstrip("/")).read_text()


def test_from_nothing_and_again(tmp_path: Path) -> None:
    server, runner = Server(), FakeRunner({UPDATE: ""})
    result = run(tmp_path, server, runner)
    assert (result["changed"], result["files"]) == (True, sorted([KEY, SOURCE, PINS]))
    assert (text(tmp_path, KEY), text(tmp_path, PINS)) == (ARMOUR, pins())
    assert text(tmp_path, SOURCE) == source(URL, ARMOUR)
    assert server.asked == [f"{URL}3bf863cc.pub"]
    assert f"Dir::Etc::sourcelist={SOURCE}" in runner.calls[0].argv
    again = run(tmp_path, server, FakeRunner())
    assert (again["changed"], again["files"], again["removed"], len(server.asked)) == (False, [], [], 1)


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ("ubuntu2404/x86_64", "3bf863cc.pub"),
        ("debian12/x86_64", "3bf863cc.pub"),
        ("debian13/x86_64", "8793F200.pub"),
        ("ubuntu2604/x86_64", "60DF8A40.pub"),
        ("debian13", "8793F200.pub"),
        ("debian1/x86_64", "3bf863cc.pub"),
    ],
)
def test_each_distribution_has_its_key(tmp_path: Path, place: str, key: str) -> None:
    server, url = Server(), f"https://mirror.example/cuda/repos/{place}/"
    run(tmp_path, server, url=url)
    assert server.asked == [f"{url}{key}"]


def test_a_key_from_elsewhere(tmp_path: Path) -> None:
    server = Server()
    run(tmp_path, server, key_url="https://mirror.example/nvidia.asc")
    assert server.asked == ["https://mirror.example/nvidia.asc"]


def test_check_mode_predicts_and_writes_nothing(tmp_path: Path) -> None:
    predicted = run(tmp_path, Server(), FakeRunner(), check_mode=True)
    assert list(tmp_path.iterdir()) == []
    assert predicted["diff"] == run(tmp_path, Server())["diff"]


def test_only_the_pins(tmp_path: Path) -> None:
    server = Server()
    assert run(tmp_path, server, FakeRunner(), url=None)["files"] == [PINS]
    assert server.asked == []


@pytest.mark.parametrize("damage", [b"", b"-----BEGIN PGP PUBLIC", ARMOUR.replace("mQ", "nQ").encode()])
def test_a_key_that_is_not_the_noted_one_is_fetched_again(tmp_path: Path, damage: bytes) -> None:
    run(tmp_path, Server())
    write(tmp_path, KEY.lstrip("/"), damage)
    assert run(tmp_path, Server())["files"] == [KEY]
    assert text(tmp_path, KEY) == ARMOUR


def test_the_same_repository_in_files_of_others(tmp_path: Path) -> None:
    folder = "etc/apt/sources.list.d"
    write(tmp_path, f"{folder}/cuda-ubuntu2404-x86_64.list", f"deb [signed-by=/x.gpg] {URL} /\n")
    write(tmp_path, f"{folder}/cuda.list.save", f"deb {URL} /\n")
    write(tmp_path, f"{folder}/mine.list", f"deb http://a stable main\ndeb {URL} /\n")
    write(tmp_path, "etc/apt/sources.list", f"deb {URL} /\n")
    result = run(tmp_path, Server())
    assert result["removed"] == ["/etc/apt/sources.list.d/cuda-ubuntu2404-x86_64.list"]
    assert text(tmp_path, "etc/apt/sources.list") == ""
    assert text(tmp_path, f"{folder}/mine.list") == "deb http://a stable main\n"
    assert (tmp_path / folder / "cuda.list.save").exists()
    assert run(tmp_path, Server(), FakeRunner())["changed"] is False


def test_a_repository_that_apt_cannot_read_leaves_everything_as_it_was(tmp_path: Path) -> None:
    before = f"deb {URL} /\n"
    write(tmp_path, "etc/apt/sources.list.d/cuda.list", before)
    with pytest.raises(PhoenixError, match=r"cannot read the repository in .*: E: nothing there"):
        run(tmp_path, Server(), FakeRunner({UPDATE: failed("E: nothing there", 100)}))
    assert text(tmp_path, "etc/apt/sources.list.d/cuda.list") == before
    assert not (tmp_path / SOURCE.lstrip("/")).exists()


def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path) -> None:
    cuda = write(tmp_path, "etc/apt/sources.list.d/cuda.list", f"deb {URL} /\n")
    with pytest.raises(OSError, match="File too large") as caught, full_disk():
        run(tmp_path, Server())
    assert caught.value.filename == str(tmp_path / PINS.lstrip("/"))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [cuda]


def test_what_was_written_before_a_file_that_cannot_be_is_taken_back(tmp_path: Path) -> None:
    (tmp_path / SOURCE.lstrip("/")).mkdir(parents=True)
    with pytest.raises(OSError, match="Is a directory"):
        run(tmp_path, Server())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_cannot_be_put_back_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "etc/apt/sources.list.d"
    write(tmp_path, "etc/apt/sources.list.d/cuda.list", f"deb {URL} /\n")

    def replaced(_call: Call) -> Completed:
        shutil.rmtree(folder)
        folder.write_text("")
        return failed("E: nothing there", 100)

    with pytest.raises(
        PhoenixError, match=r"nothing there.*\. Could not be put back: /etc/apt/sources.list.d/cuda.list\."
    ):
        run(tmp_path, Server(), FakeRunner({UPDATE: replaced}))


# What apt 3 says since 1 February 2026 about a repository whose key is bound by SHA1.
OUTDATED = """\
W: OpenPGP signature verification failed: https://x/debian12/x86_64  InRelease: Sub-process /usr/bin/sqv returned an \
error code (1), error message is: Signing key on EB693B3035CD5710E231E123A4B469963BF863CC is not bound:            No \
binding signature at time 2026-01-29T20:38:48Z   because: Policy rejected non-revocation signature \
(PositiveCertification) requiring second pre-image resistance   because: SHA1 is not considered secure since \
2026-02-01T00:00:00Z
E: The repository 'https://x/debian12/x86_64  InRelease' is not signed.
"""


def test_a_key_that_apt_does_not_trust_any_more(tmp_path: Path) -> None:
    with pytest.raises(PhoenixError, match=r"cannot read the repository in .* is not signed") as error:
        run(tmp_path, Server(), FakeRunner({UPDATE: failed(OUTDATED, 100)}))
    assert error.value.remedy.startswith("This apt accepts no key that is signed with SHA1")
    assert not (tmp_path / SOURCE.lstrip("/")).exists()


def test_no_key(tmp_path: Path) -> None:
    with pytest.raises(PhoenixError, match="is no public key, but begins with '<html>'"):
        run(tmp_path, Server("<html>"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["", "developer.download.nvidia.com/x", "https://a b/"])
def test_address(tmp_path: Path, url: str) -> None:
    with pytest.raises(PhoenixError, match="is no address of a repository"):
        run(tmp_path, Server(), url=url)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_driver_package_is_barred_and_known_as_one(package: str) -> None:
    assert any(fnmatch.fnmatchcase(package, pattern) for pattern in DRIVER_PACKAGES)
    assert clashing_packages([package]) == [package]


@pytest.mark.parametrize(
    "package",
    ["libnvidia-container1", "libnvidia-container-tools", "nvidia-container-toolkit", "nvidia-container-toolkit-base"],
)
def test_the_toolkit_is_barred_from_the_cuda_repository_only(package: str) -> None:
    assert not any(fnmatch.fnmatchcase(package, pattern) for pattern in DRIVER_PACKAGES)
    assert any(fnmatch.fnmatchcase(package, pattern) for pattern in TOOLKIT_PACKAGES)


@pytest.mark.parametrize("package", ["cuda-toolkit-12-8", "nvtop", "cuda-nvcc-12-8", "nsight-compute-2025.1.1"])
def test_the_rest_is_not_barred(package: str) -> None:
    assert not any(fnmatch.fnmatchcase(package, pattern) for pattern in (*DRIVER_PACKAGES, *TOOLKIT_PACKAGES))


def test_apt_is_asked_again_while_its_lock_is_held(tmp_path: Path) -> None:
    runner = FakeRunner()
    runner.on(UPDATE, failed("E: Could not get lock /var/lib/apt/lists/lock", 100), "")
    assert run(tmp_path, Server(), runner)["changed"]
    assert len(runner.calls) == 2


def test_what_passes_by_itself_is_tried_three_times(tmp_path: Path) -> None:
    runner = FakeRunner({UPDATE: failed("E: Hash Sum mismatch", 100)})
    with pytest.raises(PhoenixError, match="Hash Sum mismatch"):
        run(tmp_path, Server(), runner)
    assert len(runner.calls) == 3
