# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Containers of the lab's node, as a user of pct sees them: everything here is real but pct, the GPU and the vendors.

from __future__ import annotations

import pytest

from lab.smoke.running import RunningLab

DEBIAN = "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst"
UBUNTU = "local:vztmpl/ubuntu-24.04-standard_24.04-2_amd64.tar.zst"


class Container:
    def __init__(self, lab: RunningLab, ctid: int) -> None:
        self.lab = lab
        self.ctid = str(ctid)
        self.address = str(lab.lab.subnet[ctid % 256])

    def net(self) -> str:
        return f"name=eth0,bridge=vmbr0,ip={self.address}/24,gw={self.lab.lab.gateway}"

    def create(self, template: str = DEBIAN, storage: str = "lab", *options: str) -> None:
        self.pct(
            "create", template, "--rootfs", f"{storage}:4", "--net0", self.net(), "--features", "nesting=1", *options
        )

    def pct(self, command: str, *words: str) -> str:
        return self.lab.exec("pct", command, self.ctid, *words)

    def run(self, *command: str, check: bool = True) -> str:
        return self.lab.exec("pct", "exec", self.ctid, "--", *command, check=check)

    def start(self) -> None:
        self.pct("start")
        self.booted()

    def booted(self) -> None:
        bus = f"/proc/$(lxc-info -n {self.ctid} -pH)/root/run/dbus/system_bus_socket"
        self.lab.shell(f"for _ in $(seq 200); do [ ! -S {bus} ] || break; sleep 0.05; done")
        assert self.run("systemctl", "is-system-running", "--wait", check=False).strip() == "running"

    def destroy(self) -> None:
        self.lab.run("exec", "pve1", "--", "pct", "stop", self.ctid, check=False)
        self.pct("destroy")


@pytest.mark.parametrize(
    ("template", "release", "storage", "options"),
    [
        (DEBIAN, "trixie", "lab", ["--unprivileged", "0"]),
        (UBUNTU, "noble", "local-zfs", ["--unprivileged", "0"]),
        (UBUNTU, "noble", "lab", ["--unprivileged", "1"]),
    ],
    ids=["Debian", "Ubuntu on zfs", "unprivileged"],
)
def test_a_container_from_its_template_to_its_end(
    lab: RunningLab, template: str, release: str, storage: str, options: list[str]
) -> None:
    one = Container(lab, 101)
    one.create(template, storage, "--hostname", "one", *options)
    one.start()
    assert one.run("hostname") == "one\n"
    assert f"VERSION_CODENAME={release}" in one.run("cat", "/etc/os-release")
    assert one.address in one.run("ip", "-brief", "address", "show", "eth0")
    assert one.run("getent", "hosts", "mirror.lab").split() == [lab.lab.gateway, "mirror.lab"]

    one.run("sh", "-c", "echo before > /root/state")
    one.pct("snapshot", "prepared")
    one.run("sh", "-c", "echo after > /root/state")
    lab.exec("pct", "clone", "101", "102", "--snapname", "prepared", "--hostname", "two")
    one.pct("rollback", "prepared")
    assert one.pct("status") == "status: stopped\n"
    one.start()
    assert one.run("cat", "/root/state") == "before\n"

    two = Container(lab, 102)
    two.pct("set", "--net0", two.net())
    two.start()
    assert (two.run("hostname"), two.run("cat", "/root/state")) == ("two\n", "before\n")
    assert "1 received" in two.run("ping", "-c", "1", "-W", "2", one.address)
    for container in (two, one):
        container.destroy()
    assert lab.exec("pct", "list") == ""
    assert lab.shell("find /rpool/lab/images /rpool/data -mindepth 2") == ""


def test_a_reboot_of_the_node_brings_back_what_starts_at_boot(lab: RunningLab) -> None:
    one = Container(lab, 103)
    one.create(DEBIAN, "lab", "--unprivileged", "0", "--onboot", "1")
    one.start()
    major = _uvm_major(lab)
    lab.reboot()
    assert one.pct("status") == "status: running\n"
    assert _uvm_major(lab) != major
    one.booted()
    one.destroy()


def test_devices_are_there_as_the_configuration_says(lab: RunningLab) -> None:
    one = Container(lab, 104)
    one.create(DEBIAN, "lab", "--unprivileged", "0")
    one.start()
    assert one.run("sh", "-c", "ls /dev/nvidia* 2>/dev/null || true") == ""
    names = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm")
    for number, name in enumerate(names):
        one.pct("set", f"--dev{number}", f"{name},mode=0666")
    one.pct("reboot")
    one.booted()
    for name in names:
        assert one.run("stat", "-c", "%F %a", name) == "character special file 666\n"
        # No driver is behind the lab's nodes: "no such device" is what the cgroup lets through, and nothing else is.
        assert "No such device" in one.run("sh", "-c", f"cat {name} 2>&1 || true")
    one.run("mknod", "/root/other", "c", "195", "1")
    assert "Operation not permitted" in one.run("sh", "-c", "cat /root/other 2>&1 || true")
    one.destroy()


def _uvm_major(lab: RunningLab) -> str:
    return lab.shell("awk '$2 == \"nvidia-uvm\" {print $1}' /proc/devices")
