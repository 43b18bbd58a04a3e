# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import typing as t
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker_check import (
    DockerCheck,
    probe_image,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker_errors import explain
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import Call, FakeRunner, failed

IMAGE = "nvidia/cuda:12.8.0-base-ubuntu24.04"
UUIDS = ["GPU-058fc8ec-8f6c-585b-8c93-401baa844c6e", "GPU-00eb6a30-97cd-5f77-abb3-28ba78cd7cfc"]
INFO = {
    "ServerVersion": "28.5.1",
    "Driver": "overlay2",
    "CgroupDriver": "cgroupfs",
    "DefaultRuntime": "runc",
    "Runtimes": {"runc": {}, "nvidia": {}},
}


def listing(*uuids: str) -> str:
    return "".join(f"GPU {n}: NVIDIA GeForce RTX 5060 Ti (UUID: {uuid})\n" for n, uuid in enumerate(uuids))


class Container:
    """Docker in a container with two GPUs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.info: dict[str, t.Any] = dict(INFO)
        self.seen = list(UUIDS)
        self.after_reload = list(UUIDS)
        self.reloaded = False
        for minor, uuid in enumerate(UUIDS):
            folder = root / f"proc/driver/nvidia/gpus/0000:0{minor}:00.0"
            folder.mkdir(parents=True)
            (folder / "information").write_text(f"Model: \t x\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\n")
        self.runner = FakeRunner(
            {
                "systemctl is-active": "active\n",
                "systemctl daemon-reload": self._reload,
                "journalctl": "",
                "docker --version": "Docker version 28.5.1\n",
                "docker info": lambda _call: json.dumps(self.info),
                "docker import": "sha256:1\n",
                "docker image rm": "",
                "docker run": self._run,
                "docker exec": lambda _call: listing(*(self.after_reload if self.reloaded else self.seen)),
                "docker rm": "",
            }
        )

    def _reload(self, _call: Call) -> str:
        self.reloaded = True
        return ""

    def _run(self, call: Call) -> str:
        return listing(*self.seen) if call.argv[-1] == "-L" else "| NVIDIA-SMI 580.76.05 |\n"

    def check(self, *gpus: int | str, image: str = "", nvidia: bool = True) -> dict[str, t.Any]:
        return DockerCheck(
            nvidia=nvidia,
            image=image,
            gpus="all" if gpus == ("all",) else list(gpus),
            root=self.root,
            runner=self.runner,
        ).run()

    def refused(self, *gpus: int | str, image: str = "") -> PhoenixError:
        with pytest.raises(PhoenixError) as error:
            self.check(*gpus, image=image)
        assert error.value.code == 4
        return error.value


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


def test_docker_works(container: Container) -> None:
    assert container.check() == {
        "assigned": [],
        "version": "28.5.1",
        "storage_driver": "overlay2",
        "cgroup_driver": "cgroupfs",
        "runtimes": ["nvidia", "runc"],
    }
    assert container.runner.commands[-2:] == [
        "docker run --rm phoenix-probe:latest",
        "docker image rm --force phoenix-probe:latest",
    ]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the program is for x86-64")
def test_the_probe_is_a_program_that_ends_well(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(probe_image())) as tar:
        (entry,) = tar.getmembers()
        file = tar.extractfile(entry)
        assert file
        program = tmp_path / entry.name
        program.write_bytes(file.read())
    assert entry.mode & stat.S_IXUSR
    program.chmod(entry.mode)
    assert sys.platform == "linux"
    assert subprocess.run([program], check=False).returncode == 0


def test_a_service_that_is_down(container: Container) -> None:
    container.runner.on("systemctl is-active", failed("", rc=3, stdout="failed\n"))
    container.runner.on("journalctl", 'failed to register "bridge" driver: iptables: Permission denied\n')
    assert container.refused().reason == "the service docker is failed: Docker cannot set up its network with iptables"
    container.runner.on("journalctl", "something else\n")
    assert container.refused().reason == "the service docker is failed: see its journal below"
    container.runner.on("systemctl is-active", failed("", rc=4))
    assert container.refused().reason == "the service docker is unknown: see its journal below"


def test_docker_info_that_fails(container: Container) -> None:
    container.runner.on("docker info", failed("permission denied while trying to connect\n", rc=1))
    assert container.refused().reason == "docker info failed: permission denied while trying to connect"


@pytest.mark.parametrize("driver", ["overlay2", "overlayfs"])
def test_storage_drivers_that_are_right(container: Container, driver: str) -> None:
    container.info["Driver"] = driver
    assert container.check()["storage_driver"] == driver


@pytest.mark.parametrize(("driver", "why"), [("vfs", ": every layer of an image would be a full copy"), ("btrfs", "")])
def test_storage_drivers_that_are_not(container: Container, driver: str, why: str) -> None:
    """32."""
    container.info["Driver"] = driver
    error = container.refused()
    assert error.reason == f"Docker's storage driver is {driver}, not one of overlay2, overlayfs{why}"
    assert "ZFS 2.2 or newer" in error.remedy


def test_the_runtimes(container: Container) -> None:
    """33."""
    container.info["Runtimes"] = {"runc": {}}
    assert container.refused().reason == "Docker does not list the nvidia runtime, only runc"
    assert container.check(nvidia=False)["runtimes"] == ["runc"]
    container.info = {**INFO, "DefaultRuntime": "nvidia"}
    assert "Docker's default runtime is nvidia" in container.refused().reason


def test_a_probe_that_does_not_run(container: Container) -> None:
    """31, 35."""
    said = (
        "docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI "
        "runtime create failed: runc create failed: unable to start container process: error during container init: "
        "open sysctl net.ipv4.ip_unprivileged_port_start file: reopen fd 8: permission denied\n"
    )
    container.runner.on("docker run", failed(said, rc=125))
    error = container.refused()
    assert error.reason == (
        "docker run of an image with a single program failed: the node's AppArmor profile for LXC denies this runc its "
        "way into /proc (runc 1.2.8, 1.3.3 and newer)"
    )
    assert "lxc-pve to 6.0.5-2" in error.remedy
    assert error.details["command"] == "docker run --rm phoenix-probe:latest"
    assert container.runner.commands[-1] == "docker image rm --force phoenix-probe:latest"


def test_a_probe_that_cannot_be_made(container: Container) -> None:
    container.runner.on("docker import", failed("write /var/lib/docker/tmp: no space left on device\n", rc=1))
    assert container.refused().reason == "docker import failed: the disk is full"


def test_exactly_the_assigned_gpus(container: Container) -> None:
    result = container.check(0, 1, image=IMAGE)
    assert result["gpus"] == sorted(UUIDS)
    assert result["nvidia_smi"] == "| NVIDIA-SMI 580.76.05 |\n"
    assert f"docker run --rm --gpus all {IMAGE} nvidia-smi" in container.runner.commands
    assert f"docker run --rm --device nvidia.com/gpu=all {IMAGE} nvidia-smi -L" in container.runner.commands
    assert container.runner.commands[-4:] == [
        "docker exec phoenix-gpu-check nvidia-smi -L",
        "systemctl daemon-reload",
        "docker exec phoenix-gpu-check nvidia-smi -L",
        "docker rm --force phoenix-gpu-check",
    ]


def test_another_gpu_than_the_assigned_one(container: Container) -> None:
    error = container.refused(1, image=IMAGE)
    assert error.reason == (
        "with --device nvidia.com/gpu=all a Docker container sees 2 GPUs, not exactly the 1 assigned ones: 1 that are "
        f"not assigned ({UUIDS[0]})"
    )
    container.seen = [UUIDS[0]]
    error = container.refused(1, image=IMAGE)
    assert error.reason.endswith(f"1 that are missing ({UUIDS[1]}), 1 that are not assigned ({UUIDS[0]})")


def test_a_gpu_that_the_node_does_not_have(container: Container) -> None:
    assert container.refused(1, 7, image=IMAGE).reason == (
        "lxc_docker_gpus: the node's driver knows no GPU 7, only 0, 1"
    )


def test_gpus_that_are_lost_by_a_daemon_reload(container: Container) -> None:
    container.after_reload = []
    error = container.refused(0, 1, image=IMAGE)
    assert error.reason.startswith("after systemctl daemon-reload a running container has lost its GPUs: ")
    assert container.runner.commands[-1] == "docker rm --force phoenix-gpu-check"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("No devices found.\n", "the GPUs are listed, but cannot be opened (No devices found.)"),
        (
            "Failed to initialize NVML: Unknown Error\n",
            "the GPUs are listed, but cannot be opened (Failed to initialize NVML: Unknown Error)",
        ),
    ],
)
def test_nvidia_smi_that_ends_well_without_gpus(container: Container, answer: str, reason: str) -> None:
    """facts/gpu.md: rc 0 proves nothing."""
    container.runner.on("docker run --rm --gpus", answer)
    error = container.refused(0, 1, image=IMAGE)
    assert error.reason == f"docker run --rm --gpus all {IMAGE} nvidia-smi failed: {reason}"


def test_a_container_that_does_not_stay(container: Container) -> None:
    container.runner.on("docker run --detach", failed('exec: "sleep": executable file not found in $PATH\n', rc=127))
    assert container.refused(0, 1, image=IMAGE).reason == (
        'docker run --detach --gpus all failed: exec: "sleep": executable file not found in $PATH'
    )
    container.runner.on("docker run --detach", failed("", rc=1))
    assert container.refused(0, 1, image=IMAGE).reason == "docker run --detach --gpus all failed: exit status 1"
    assert container.runner.commands[-1] == "docker rm --force phoenix-gpu-check"


def test_reading_alone_starts_nothing(container: Container) -> None:
    check = DockerCheck(nvidia=True, root=container.root, runner=container.runner)
    assert check.read_if_installed()["version"] == "28.5.1"
    container.runner.on("docker --version", failed("docker: No such file or directory", rc=127))
    assert check.read_if_installed() == {}
    assert [line for line in container.runner.commands if line.startswith(("docker run", "docker import"))] == []


@pytest.mark.parametrize(
    ("gpus", "assigned"),
    [("all", [0, 1]), ("none", []), ("1, 0", [0, 1]), ("1", [1]), ([], []), ([1], [1]), (["0"], [0])],
)
def test_an_assignment_means_what_it_means_to_lxc_gpu_passthrough(
    container: Container, gpus: object, assigned: list[int]
) -> None:
    check = DockerCheck(gpus=gpus, root=container.root, runner=container.runner)
    assert check.read()["assigned"] == assigned


def test_all_are_those_that_the_driver_lists(container: Container) -> None:
    assert container.check("all", image=IMAGE)["gpus"] == sorted(UUIDS)
    container.seen = UUIDS[:1]
    assert container.refused("all", image=IMAGE).reason.endswith(f"1 that are missing ({UUIDS[1]})")


def test_all_of_none(container: Container) -> None:
    shutil.rmtree(container.root / "proc")
    error = container.refused("all")
    assert error.reason == "lxc_docker_gpus: all GPUs are assigned, and the node's driver lists none"


def test_no_assignment() -> None:
    with pytest.raises(PhoenixError, match="has 'both' where a GPU index belongs"):
        DockerCheck(gpus="both")


def test_a_gpu_that_tells_no_uuid_is_none_to_count_on(container: Container) -> None:
    file = container.root / "proc/driver/nvidia/gpus/0000:00:00.0/information"
    file.write_text("Device Minor: 0\n")
    assert container.refused(0).reason == "lxc_docker_gpus: the node's driver knows no GPU 0, only 1"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("open sysctl net.ipv4.ip_unprivileged_port_start file: unsafe procfs detected", "the node's AppArmor profile"),
        ("AppArmor enabled on system but the docker-default profile could not be loaded", "AppArmor does not let"),
        ("syntax error, unexpected TOK_EQUALS, expecting TOK_MODE", "AppArmor does not let"),
        ("apparmor_parser: Access denied. You need policy admin privileges to manage profiles.", "AppArmor does not"),
        ("failed to add device rules: bpf_prog_query(BPF_CGROUP_DEVICE) failed", "the toolkit may not write device"),
        ('could not select device driver "" with capabilities: [[gpu]]', "Docker has no way to hand out GPUs"),
        ("unresolvable CDI devices nvidia.com/gpu=all", "the CDI specification is missing"),
        ("unknown or invalid runtime name: nvidia", "Docker does not know the nvidia runtime"),
        (
            "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=13.0, please update your driver",
            "the driver is too old for the image (cuda>=13.0)",
        ),
        ("Failed to initialize NVML: Driver/library version mismatch", "the driver's libraries in the container"),
        ("Failed to initialize NVML: Unknown Error", "the GPUs are listed, but cannot be opened (Failed"),
        ("nvidia-container-cli: ldcache error: open failed", "nvidia-container-cli says: ldcache error: open failed"),
        ('exec: "nvidia-smi": executable file not found in $PATH', "the driver's programs do not reach"),
        (
            'error mounting "proc" to rootfs at "/proc": mount proc: operation not permitted',
            "the container may not mount",
        ),
        ("iptables v1.8.10: can't initialize iptables table `nat': Permission denied", "Docker cannot set up its"),
        ("write /x: no space left on device", "the disk is full"),
    ],
)
def test_every_known_cause_is_told_apart(said: str, reason: str) -> None:
    found = explain(f"docker: Error response from daemon\n{said}\n\nRun 'docker run --help' for more information")
    assert found
    assert found[0].startswith(reason)
    assert found[1].endswith((".", ")"))


def test_an_unknown_cause() -> None:
    assert explain("something else") is None
