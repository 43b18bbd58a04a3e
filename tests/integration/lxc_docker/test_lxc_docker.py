# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The role lxc_docker on containers of the lab. The numbers are those of the pitfalls.

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from integration.boxes import Box
from lab.smoke.running import RunningLab

GPU: dict[str, Any] = {"lxc_docker_nvidia": True, "lxc_docker_gpus": [0, 1]}
IMAGE = "nvidia/cuda:12.8.0-base-ubuntu24.04"
TOOLKIT = "nvidia-container-toolkit nvidia-container-toolkit-base libnvidia-container-tools libnvidia-container1"

SAID = (
    "runc create failed: unable to start container process: error during container init: open sysctl "
    "net.ipv4.ip_unprivileged_port_start file: reopen fd 8: permission denied"
)
DENIED = f"""#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = --log ] && log=$2; shift; done
echo '{json.dumps({"level": "error", "msg": SAID, "time": "2026-01-01T00:00:00Z"})}' >> "$log"
exit 1
"""


@pytest.fixture(scope="module")
def box(lab: RunningLab) -> Iterator[Box]:
    one = Box(lab, 142).create()
    yield one
    one.destroy()


@pytest.fixture(scope="module")
def docker(box: Box) -> Box:
    box.converged("lxc_docker")
    return box


@pytest.fixture(scope="module")
def gpu(docker: Box) -> Box:
    docker.gpus(0, 1)
    docker.converged("lxc_docker", **GPU)
    return docker


def test_check_mode_predicts_on_an_unmodified_template(box: Box) -> None:
    """47: and writes nothing."""
    listing = "find /etc /usr /var/lib -xdev -not -path '/var/lib/systemd/*' -newer /root/mark -not -type d"
    box.run("touch /root/mark")
    played = box.converged("lxc_docker", "--check", "--diff", **GPU)
    assert "Install Docker and the toolkit" in played.changes
    assert "+nvidia-container-toolkit newest held" in played.output
    assert box.run(listing) == ""


def test_docker_without_a_gpu(docker: Box) -> None:
    """902: from Docker's repository, held, and hello-world runs (33)."""
    assert docker.converged("lxc_docker").changes == []
    assert docker.converged("lxc_docker", "--check").changes == []
    held = docker.run("apt-mark showhold").split()
    assert held == ["containerd.io", "docker-ce", "docker-ce-cli", "docker-compose-plugin"]
    assert docker.converged("lxc_docker", tasks_from="verify").changes == []
    assert docker.run("docker images -q; docker ps -aq") == ""
    rotated = {"log-opts": {"max-size": "50m", "max-file": "3"}}
    assert json.loads(docker.run("cat /etc/docker/daemon.json")) == rotated


def test_a_container_with_docker_gets_the_rest(gpu: Box) -> None:
    """36: 902 becomes 903. 14, 34: the toolkit of NVIDIA's own repository, one version, no driver."""
    assert gpu.converged("lxc_docker", **GPU).changes == []
    assert gpu.converged("lxc_docker", "--check", **GPU).changes == []
    versions = gpu.run(f"dpkg-query -W -f '${{Version}}\\n' {TOOLKIT}").split()
    assert versions == ["1.18.1-1"] * 4
    assert gpu.run("dpkg-query -W 'libnvidia-compute*' 'nvidia-utils*' 'libcuda1' 2>/dev/null || true") == ""
    daemon = json.loads(gpu.run("cat /etc/docker/daemon.json"))
    assert daemon["runtimes"] == {"nvidia": {"args": [], "path": "nvidia-container-runtime"}}
    assert "default-runtime" not in daemon
    assert "no-cgroups = true" not in gpu.run("cat /etc/nvidia-container-runtime/config.toml")


def test_docker_sees_exactly_the_assigned_gpus(gpu: Box) -> None:
    """Seed 000."""
    played = gpu.converged("lxc_docker", tasks_from="verify", **GPU)
    assert played.changes == []
    assert gpu.run("docker images -q; docker ps -aq") == ""
    gpu.converged("lxc_docker", tasks_from="verify", lxc_docker_nvidia=True, lxc_docker_gpus="all")
    message = gpu.refused("lxc_docker", tasks_from="verify", lxc_docker_nvidia=True, lxc_docker_gpus=[1])
    assert "sees 2 GPUs, not exactly the 1 assigned ones: 1 that are not assigned (GPU-" in message
    message = gpu.refused("lxc_docker", tasks_from="verify", lxc_docker_nvidia=True, lxc_docker_gpus=[0, 7])
    assert message.startswith("lxc_docker_gpus: the node's driver knows no GPU 7, only 0, 1.")
    gpu.run(f"docker pull -q {IMAGE}")
    gpu.converged("lxc_docker", tasks_from="verify", **GPU)
    assert gpu.run(f"docker images -q {IMAGE}") != ""


def test_the_cdi_specification_follows_the_gpus(gpu: Box) -> None:
    """A clone has other GPUs than its layer: made at each boot before Docker, and renewed when it is stale."""
    one = {"lxc_docker_nvidia": True, "lxc_docker_gpus": [1]}
    gpu.gpus(1)
    assert gpu.converged("lxc_docker", **one).changes == []
    gpu.converged("lxc_docker", tasks_from="verify", **one)
    order = gpu.run("systemctl show -P Before phoenix-nvidia-cdi.service")
    assert "docker.service" in order.split()
    gpu.gpus(0, 1)
    gpu.run("sed -i s/nvidia1/nvidia5/ /var/run/cdi/nvidia.yaml")
    assert gpu.converged("lxc_docker", **GPU).changes == [
        "Renew a specification that names other GPUs or another driver"
    ]
    gpu.converged("lxc_docker", tasks_from="verify", **GPU)


def test_the_daemons_configuration_is_merged(gpu: Box) -> None:
    """33: what a user wrote stays, what is no JSON is refused, and an interrupted run is made good."""
    gpu.run("""echo '{"debug": true, "default-runtime": "nvidia", "labels": ["mine=1"]}' > /etc/docker/daemon.json""")
    played = gpu.converged("lxc_docker", lxc_docker_log_max_size="10m", **GPU)
    assert played.changes == ["Merge what is needed into Docker's configuration", "Restart Docker"]
    daemon = json.loads(gpu.run("cat /etc/docker/daemon.json"))
    assert (daemon["debug"], daemon["labels"]) == (True, ["mine=1"])
    assert daemon["log-opts"] == {"max-size": "10m", "max-file": "3"}
    assert "default-runtime" not in daemon
    gpu.run("touch /etc/docker/daemon.json")
    assert "Restart Docker" in gpu.converged("lxc_docker", **GPU).changes
    assert gpu.converged("lxc_docker", **GPU).changes == []

    # Another driver knows no rotation, and Docker would not start with it.
    journald = {"lxc_docker_daemon_settings": {"log-driver": "journald"}}
    assert "Restart Docker" in gpu.converged("lxc_docker", **journald, **GPU).changes
    assert gpu.converged("lxc_docker", **GPU).changes == []
    assert gpu.run("docker info --format '{{.LoggingDriver}}'").strip() == "journald"
    named = {"lxc_docker_daemon_settings": {"log-driver": "json-file", "log-opts": {"max-size": "20m"}}}
    gpu.converged("lxc_docker", **named, **GPU)
    assert json.loads(gpu.run("cat /etc/docker/daemon.json"))["log-opts"] == {"max-size": "20m", "max-file": "3"}

    kept = gpu.run("cat /etc/docker/daemon.json")
    gpu.run("""printf '{\n  "debug": true,\n}\n' > /etc/docker/daemon.json""")
    message = gpu.refused("lxc_docker", **GPU)
    assert message.startswith("/etc/docker/daemon.json is no JSON: ")
    assert re.search(r" in line [23], column \d+\. Correct the file", message)
    assert gpu.run("cat /etc/docker/daemon.json") == '{\n  "debug": true,\n}\n'
    gpu.run(f"cat > /etc/docker/daemon.json <<'EOF'\n{kept}EOF")
    message = gpu.refused("lxc_docker", lxc_docker_daemon_settings={"no-such-thing": 1}, **GPU)
    assert "dockerd refuses the settings" in message
    assert gpu.run("cat /etc/docker/daemon.json") == kept
    gpu.converged("lxc_docker", **GPU)


def test_a_version_can_be_named(gpu: Box) -> None:
    versions = {"lxc_docker_nvidia_version": "1.17.8", "lxc_docker_version": "28.5.1"}
    gpu.converged("lxc_docker", **GPU, **versions)
    assert set(gpu.run(f"dpkg-query -W -f '${{Version}}\\n' {TOOLKIT}").split()) == {"1.17.8-1"}
    assert gpu.run("dpkg-query -W -f '${Version}' docker-ce").startswith("5:28.5.1-1~ubuntu.24.04")
    # What was named once stays.
    assert gpu.converged("lxc_docker", **GPU).changes == []
    gpu.converged("lxc_docker", tasks_from="verify", **GPU)
    message = gpu.refused("lxc_docker", lxc_docker_version="27.0", **GPU)
    assert "version: '27.0' of docker-ce is not in the repository of download.docker.com" in message
    assert "5:29.0.1-1~ubuntu.24.04~noble" in message


def test_a_runc_that_is_denied_is_named(gpu: Box) -> None:
    """31, 35: the text of a failing docker run is told apart."""
    gpu.run(
        f"mv /usr/sbin/runc /usr/sbin/runc.real; cat > /usr/sbin/runc <<'EOF'\n{DENIED}EOF\nchmod +x /usr/sbin/runc"
    )
    try:
        message = gpu.refused("lxc_docker", **GPU)
    finally:
        gpu.run("mv /usr/sbin/runc.real /usr/sbin/runc")
    assert "the node's AppArmor profile for LXC denies this runc its way into /proc" in message
    assert "upgrade lxc-pve to 6.0.5-2 or newer" in message
    assert gpu.run("docker images -q; docker ps -aq --filter name=phoenix") in (
        "",
        gpu.run(f"docker images -q {IMAGE}"),
    )


def test_vfs_is_named(gpu: Box) -> None:
    """32."""
    gpu.run("""cp /etc/docker/daemon.json /root/kept; sed -i '1a "storage-driver": "vfs",' /etc/docker/daemon.json""")
    message = gpu.refused("lxc_docker", **GPU)
    gpu.run("cp /root/kept /etc/docker/daemon.json; rm -rf /var/lib/docker/vfs")
    assert "Docker's storage driver is vfs, not one of overlay2, overlayfs" in message
    assert "ZFS 2.2 or newer" in message
    gpu.converged("lxc_docker", **GPU)


def test_an_unprivileged_container(lab: RunningLab) -> None:
    """34: no-cgroups, and only there."""
    one = Box(lab, 143).create(unprivileged=True)
    one.gpus(0, 1)
    one.converged("lxc_docker", **GPU)
    assert one.converged("lxc_docker", **GPU).changes == []
    assert "\nno-cgroups = true" in one.run("cat /etc/nvidia-container-runtime/config.toml")
    one.converged("lxc_docker", tasks_from="verify", **GPU)
    one.destroy()
