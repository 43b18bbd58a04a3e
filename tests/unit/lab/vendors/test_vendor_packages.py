# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What the vendors' repositories hold: every dependency is there, and what each trap brings.

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.vendors import cuda, docker, drivers, nvidia_toolkit, proxmox
from lab.vendors.deb import File, Package, control_files
from lab.vendors.keys import SigningKey
from lab.vendors.repository import Deb

# What Debian has.
OF_DEBIAN = {"python3", "containerd", "runc", "iptables", "docker-compose", "kmod", "tcc", "libc6-dev"}
DRIVER = re.compile(r"libnvidia-(?!container)|nvidia-(driver|utils|dkms|kernel)|libcuda1")


def cuda_packages(distribution: str) -> list[Package]:
    toolkits = [package for release in cuda.RELEASES for package in cuda.toolkit(release)]
    containers = nvidia_toolkit.packages(nvidia_toolkit.VERSIONS_OF_CUDA_REPOSITORY)
    return [*toolkits, *cuda.metapackages(), *containers, *drivers.packages(distribution, drivers.empty)]


def docker_packages(_name: str) -> list[Package]:
    engine = [Package(name, "1", "Debian's") for name in docker.ENGINE.values()]
    return [*docker._Suite("~x").packages(), *engine]


def names(relation: str) -> list[str]:
    return [re.split(r"[ (]", part.strip())[0] for part in relation.replace("|", ",").split(",") if part.strip()]


def with_dependencies(packages: Iterable[Package], name: str, *, recommended: bool = True) -> set[str]:
    newest = {package.name: package for package in packages}
    found: set[str] = set()
    wanted = [name]
    while wanted:
        package = newest.get(wanted.pop())
        if package and package.name not in found:
            found.add(package.name)
            wanted += names(", ".join(package.depends))
            wanted += names(package.relations.get("Recommends", "")) if recommended else []
    return found


@pytest.mark.parametrize(
    "packages",
    [
        *(cuda_packages(name) for name in cuda.DISTRIBUTIONS),
        docker_packages(""),
        nvidia_toolkit.packages(nvidia_toolkit.VERSIONS),
        [*proxmox.kernels("6.14.11-4-pve"), *proxmox.tools()],
    ],
    ids=[*cuda.DISTRIBUTIONS, "docker", "toolkit", "proxmox"],
)
def test_every_dependency_can_be_satisfied(packages: list[Package]) -> None:
    there = {package.name for package in packages} | OF_DEBIAN
    assert {name for package in packages for name in names(", ".join(package.depends))} <= there
    assert len({package.filename for package in packages}) == len(packages)


@pytest.mark.parametrize("distribution", cuda.DISTRIBUTIONS)
@pytest.mark.parametrize(
    "name", ["cuda", "cuda-12-8", "cuda-runtime-12-8", "cuda-drivers", "nvidia-open", "libcuda1", "nvtop"]
)
def test_a_trap_brings_a_driver(distribution: str, name: str) -> None:
    assert any(DRIVER.match(found) for found in with_dependencies(cuda_packages(distribution), name))


@pytest.mark.parametrize("distribution", cuda.DISTRIBUTIONS)
@pytest.mark.parametrize("name", ["cuda-toolkit-12-8", "cuda-toolkit-12", "cuda-toolkit", "nvidia-container-toolkit"])
def test_what_is_wanted_brings_none(distribution: str, name: str) -> None:
    found = with_dependencies(cuda_packages(distribution), name)
    assert len(found) > 3
    assert not any(DRIVER.match(each) for each in found)


def test_nvtop_alone_is_harmless() -> None:
    assert with_dependencies(cuda_packages("ubuntu2404"), "nvtop", recommended=False) == {"nvtop"}


def test_a_trap_replaces_the_libraries_of_the_run_file() -> None:
    package = next(each for each in drivers.ubuntu(drivers.empty) if each.name == "libnvidia-compute")
    folder = "/usr/lib/x86_64-linux-gnu"
    assert {f"{folder}/{name}" for name in ("libcuda.so.1", "libnvidia-ml.so.1", "libcuda.so.580.95.05")} <= set(
        package.files
    )


def test_nvcc_says_its_version(tmp_path: Path) -> None:
    program = tmp_path / "nvcc"
    program.write_text(cuda.nvcc_program(cuda.RELEASES[0]))
    shown = subprocess.run(["sh", program, "--version"], check=True, capture_output=True, text=True).stdout
    assert shown.splitlines() == [
        "nvcc: NVIDIA (R) Cuda compiler driver",
        "Copyright (c) 2005-2025 NVIDIA Corporation",
        "Built on Fri_Feb_21_20:23:50_PST_2025",
        "Cuda compilation tools, release 12.8, V12.8.93",
        "Build cuda_12.8.r12.8/compiler.35583870_0",
    ]
    done = subprocess.run(["sh", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.split(":")[0]) == (1, "nvcc fatal   ")


def test_cuda_keyring(key: SigningKey) -> None:
    files = cuda.keyring("ubuntu2404", key).files
    source = files["/etc/apt/sources.list.d/cuda-ubuntu2404-x86_64.list"]
    assert source == File.text(
        "deb [signed-by=/usr/share/keyrings/cuda-archive-keyring.gpg]"
        " https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64/ /\n"
    )
    assert cuda.pin("ubuntu2404").endswith("Package: *\nPin: release l=NVIDIA CUDA\nPin-Priority: 600\n")


def test_debian_13_has_a_key_of_its_own(key: SigningKey, tmp_path: Path) -> None:
    newer = SigningKey.create(tmp_path / "newer", "Another Key <vendor@example.invalid>")
    root = tmp_path / "cuda"
    cuda.build(root, {"debian12": key, "debian13": newer}, drivers.empty)
    for distribution, name, its in (("debian12", "3bf863cc.pub", key), ("debian13", "8793F200.pub", newer)):
        folder = root / cuda.repository_path(distribution).strip("/")
        assert {file.name: file.read_bytes() for file in folder.glob("*.pub")} == {name: its.armored()}
        assert (folder / "Release.gpg").read_bytes() == its.detached_signature((folder / "Release").read_text())


@pytest.mark.parametrize(
    ("version", "relation"), [("1.17.8-1", ">="), ("1.18.0-1", "=")], ids=["loose", "from 1.18 all of one version"]
)
def test_versions_of_the_toolkit(version: str, relation: str) -> None:
    found = {package.name: package for package in nvidia_toolkit.packages([version])}
    assert found["nvidia-container-toolkit"].depends == (
        f"nvidia-container-toolkit-base (= {version})",
        f"libnvidia-container-tools ({relation} {version})",
    )
    refresh = "/usr/lib/systemd/system/nvidia-cdi-refresh.service"
    assert (refresh in found["nvidia-container-toolkit-base"].files) == (relation == "=")


def test_every_program_of_the_toolkit_has_its_module() -> None:
    package = nvidia_toolkit.packages(["1.18.0-1"])
    modules = {Path(path).stem for path in nvidia_toolkit.code()}
    launchers = [
        file.content.decode()
        for each in package
        for path, file in each.files.items()
        if path.startswith("/usr/bin/") and isinstance(file, File)
    ]
    assert len(launchers) == 5
    for launcher in launchers:
        compile(launcher, "launcher", "exec")
        found = re.search(r"from phoenix_lab\.(\w+) import main", launcher)
        assert found
        assert found[1] in modules
        assert '"1.18.0"' in launcher


def test_debians_engine_under_our_names(tmp_path: Path) -> None:
    for theirs in docker.ENGINE:
        package = Package(theirs, "26.1.5-1", "Engine", relations={"Conflicts": "docker-ce", "Recommends": "git"})
        (tmp_path / package.filename).write_bytes(package.build())
    engine = docker.engine(tmp_path)
    assert [deb.filename for deb in engine] == [
        "phoenix-lab-docker-engine_26.1.5-1_amd64.deb",
        "phoenix-lab-docker-cli_26.1.5-1_amd64.deb",
    ]
    control = control_files(engine[0].content)["control"].decode()
    assert "Package: phoenix-lab-docker-engine\n" in control
    assert "Conflicts: docker.io\n" in control
    assert "Recommends" not in control


def test_without_debians_engine(tmp_path: Path) -> None:
    with pytest.raises(LabError) as caught:
        docker.engine(tmp_path)
    assert caught.value.remedy == "Put it there when the image is made: apt-get download docker.io docker-cli"


def test_docker_repository(tmp_path: Path, key: SigningKey) -> None:
    for theirs in docker.ENGINE:
        package = Package(theirs, "26.1.5-1", "Engine")
        (tmp_path / package.filename).write_bytes(package.build())
    docker.build(tmp_path / "out", key, tmp_path)
    for suite, family, version in (
        ("noble", "ubuntu", "28.5.1-1~ubuntu.24.04~noble"),
        ("trixie", "debian", "28.5.1-1~debian.13~trixie"),
    ):
        folder = tmp_path / "out/linux" / family / "dists" / suite / "pool/stable/amd64"
        assert (folder / f"docker-ce_{version}_amd64.deb").is_file()
        assert (
            f"Version: 5:{version}\n"
            in (tmp_path / "out/linux" / family / "dists" / suite / "stable/binary-amd64/Packages").read_text()
        )
    assert (tmp_path / "out/linux/debian/gpg").read_bytes() == key.armored()
    engines = {file.stat().st_ino for file in (tmp_path / "out").rglob("phoenix-lab-docker-engine_*")}
    assert len(engines) == 1


@pytest.mark.parametrize(
    ("release", "name", "version"),
    [
        ("6.14.11-4-pve", "6.14.11-4-pve", "6.14.11-4"),
        ("6.18.44-fc-v595", "6.18.44-fc-v595", "6.18.44"),
        ("6.12.48+deb13-cloud_AMD64", "6.12.48+deb13-cloud-amd64", "6.12.48"),
    ],
)
def test_headers_for_the_running_kernel(release: str, name: str, version: str) -> None:
    packages = {package.name: package for package in proxmox.kernels(release)}
    headers = packages[f"proxmox-headers-{name}"]
    assert headers.version == version
    assert f"/lib/modules/{release}/build" in headers.files
    assert headers.relations["Provides"].startswith(f"pve-headers-{name}, ")
    assert with_dependencies(packages.values(), "pve-headers") == {
        "pve-headers",
        "proxmox-default-headers",
        f"proxmox-headers-{proxmox.series(release)}",
        headers.name,
    }


def test_a_newer_kernel_is_there_too() -> None:
    packages = {package.name: package for package in proxmox.kernels("6.14.11-4-pve")}
    assert packages["proxmox-headers-6.17"].depends == ("proxmox-headers-6.17.4-2-pve",)


def test_a_node_has_its_packages(tmp_path: Path, key: SigningKey) -> None:
    proxmox.build(tmp_path, key, "6.14.11-4-pve")
    folder = tmp_path / "download.proxmox.com" / proxmox.REPOSITORY / proxmox.POOL
    assert all(len(list(folder.glob(f"{name}_*.deb"))) == 1 for name in proxmox.NODE_PACKAGES)
    for host in ("download.proxmox.com", "enterprise.proxmox.com"):
        assert (tmp_path / host / "debian/proxmox-archive-keyring-trixie.gpg").read_bytes() == key.public()


def test_filenames_are_what_apt_asks_for() -> None:
    deb = Deb.of(Package("a", "1:2+lab~1", "x"))
    assert "Filename: ./a_2+lab~1_amd64.deb\n" in deb.stanza(f"./{deb.filename}")
