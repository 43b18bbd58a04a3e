# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

DOCKER = ["containerd.io", "docker-ce", "docker-ce-cli", "docker-compose-plugin"]
TOOLKIT = [
    "libnvidia-container-tools",
    "libnvidia-container1",
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
]
CUDA = "nvidia/cuda:12.8.0-base-ubuntu24.04"
BOTH = pytest.mark.parametrize("ctid", [170, 171], ids=["plain", "seeing"])


@pytest.fixture(scope="module")
def assigned(node) -> list[str]:
    """The lines of nvidia-smi for the GPUs that 171 has, where they are counted from 0."""
    (line,) = [line for line in node.check_output("nvidia-smi -L").splitlines() if line.startswith("GPU 1:")]
    return [line.replace("GPU 1:", "GPU 0:")]


def daemon(container) -> dict[str, object]:
    return json.loads(container.file("/etc/docker/daemon.json").content_string)


@BOTH
def test_the_engine_runs_and_starts_at_boot(inside, ctid) -> None:
    service = inside(ctid).service("docker")
    assert service.is_running
    assert service.is_enabled


@BOTH
def test_hello_world_runs(inside, ctid) -> None:
    assert "Hello from Docker!" in inside(ctid).check_output("docker run --rm hello-world")


@BOTH
def test_its_images_lie_in_an_overlay(inside, ctid) -> None:
    assert inside(ctid).check_output("docker info --format '{{.Driver}}'") in ("overlay2", "overlayfs")


@BOTH
def test_what_somebody_wrote_into_daemon_json_is_still_there(inside, ctid) -> None:
    assert daemon(inside(ctid))["labels"] == ["somebody=else"]
    assert "somebody=else" in inside(ctid).check_output("docker info --format '{{.Labels}}'")


@BOTH
def test_the_logs_of_its_containers_do_not_grow_without_end(inside, ctid) -> None:
    made = inside(ctid).check_output("docker create hello-world 2>/dev/null")
    config = json.loads(inside(ctid).check_output("docker inspect --format '{{json .HostConfig.LogConfig}}' %s", made))
    assert config == {"Type": "json-file", "Config": {"max-size": "50m", "max-file": "3"}}
    inside(ctid).check_output("docker rm %s", made)


def test_nvidias_runtime_is_registered_and_not_the_default(inside) -> None:
    assert "nvidia" not in inside(170).check_output("docker info --format '{{json .Runtimes}}'")
    assert daemon(inside(171))["runtimes"]["nvidia"]["path"] == "nvidia-container-runtime"
    assert "nvidia" in inside(171).check_output("docker info --format '{{json .Runtimes}}'")
    assert inside(171).check_output("docker info --format '{{.DefaultRuntime}}'") == "runc"


@pytest.mark.parametrize(("ctid", "held"), [(170, DOCKER), (171, DOCKER + TOOLKIT)], ids=["plain", "seeing"])
def test_no_upgrade_changes_the_versions(inside, ctid, held) -> None:
    assert inside(ctid).check_output("apt-mark showhold").split() == sorted(held)


def test_the_toolkit_has_one_version_and_brings_no_driver(inside) -> None:
    assert len({inside(171).package(name).version for name in TOOLKIT}) == 1
    drivers = "dpkg --list 'libnvidia-compute*' 'nvidia-utils*' 'nvidia-driver*' libcuda1 2>&1 | grep ^i || true"
    assert not inside(171).check_output(drivers)


def test_it_was_made_at_the_boot_before_docker_was_started(inside) -> None:
    # /run is empty at every boot.
    assert inside(171).file("/run/cdi/nvidia.yaml").exists
    made, started = (
        int(inside(171).check_output("systemctl show -P ActiveEnterTimestampMonotonic %s", unit))
        for unit in ("phoenix-nvidia-cdi.service", "docker.service")
    )
    assert 0 < made < started


def test_the_specification_names_exactly_the_assigned_gpu(inside) -> None:
    devices = inside(171).check_output("grep -oE '/dev/nvidia[0-9]+' /run/cdi/nvidia.yaml | sort -u")
    assert devices == "/dev/nvidia1"


def test_dockers_containers_see_exactly_the_assigned_gpu(inside, assigned) -> None:
    assert inside(171).check_output("docker run --rm --gpus all %s nvidia-smi -L", CUDA).splitlines() == assigned


def test_one_that_runs_sees_it_still_after_systemd_read_its_units_again(inside, assigned) -> None:
    assert inside(171).check_output("docker exec seen nvidia-smi -L").splitlines() == assigned


def test_systemd_finds_the_device_by_its_number(inside) -> None:
    # Without this link a reload of systemd takes the device away from Docker's containers.
    for device in ("/dev/nvidia1", "/dev/nvidiactl"):
        number = inside(171).check_output("stat -c '%Hr:%Lr' " + device)
        assert inside(171).file(f"/dev/char/{number}").linked_to == device


def test_without_gpus_asked_for_none_is_seen(inside) -> None:
    assert inside(171).run("docker run --rm %s nvidia-smi -L", CUDA).rc != 0
