# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_node import NodeCheck, Request
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.nvidia_world import VERSION, link, write
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import FakeNode, FakeRunner

URL = f"https://us.download.nvidia.com/XFree86/Linux-x86_64/{VERSION}/NVIDIA-Linux-x86_64-{VERSION}.run"
KERNEL = "6.17.2-1-pve"
BUS = "sys/bus/pci/devices/0000:01:00.0"


class World:
    """A node with one GPU and no driver."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.node = FakeNode(root)
        self.node.package("pve-manager", "9.2.11")
        write(root, f"{BUS}/vendor", "0x10de\n")
        write(root, f"{BUS}/device", "0x2d04\n")
        write(root, f"{BUS}/class", "0x030000\n")
        (root / f"lib/modules/{KERNEL}/kernel").mkdir(parents=True)
        self.policy = ""
        self.simulated = ""

    def driver(self, name: str) -> None:
        (self.root / "sys/bus/pci/drivers" / name).mkdir(parents=True)
        link(self.root, f"{BUS}/driver", f"../../../bus/pci/drivers/{name}")

    def check(self, **options: t.Any) -> dict[str, t.Any]:
        runner = FakeRunner({"apt-cache policy": self.policy, "apt-get -s": self.simulated})
        return NodeCheck(Request(**({"url": URL} | options)), self.node.node, runner, machine="x86_64").run()

    def refusal(self, **options: t.Any) -> str:
        with pytest.raises(PhoenixError) as caught:
            self.check(**options)
        return caught.value.reason


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_bare_node(world: World) -> None:
    found = world.check()
    assert found["headers"] == [f"proxmox-headers-{KERNEL}", "proxmox-default-headers"]
    assert (found["kernel"], found["installed"], found["loaded"]) == (KERNEL, None, None)
    assert (found["nouveau"], found["reboot_required"], found["running_guests"]) == (False, False, [])
    assert "libcuda.so.1 is missing" in found["problems"]
    assert found["warnings"] == [
        f"Kernel {KERNEL} has no headers, so DKMS cannot build for it: install proxmox-headers-{KERNEL}."
    ]


NEWER = "6.17.9-1-pve"


def warned(kernel: str) -> str:
    return f"Kernel {kernel} has no headers, so DKMS cannot build for it: install proxmox-headers-{kernel}."


def test_headers_that_are_installed_next_are_not_missed(world: World) -> None:
    assert world.check(headers_follow=True)["warnings"] == []


@pytest.mark.parametrize(
    ("simulated", "warnings"),
    [
        (f"Inst proxmox-headers-{KERNEL} (1 x)\nInst proxmox-headers-{NEWER} (1 x)\nConf {NEWER}\n", []),
        (f"Inst proxmox-headers-{KERNEL} (1 x)\nConf proxmox-headers-{NEWER} (1 x)\n", [warned(NEWER)]),
        ("", [warned(NEWER)]),
    ],
    ids=["the default headers bring them", "they do not", "apt cannot tell"],
)
def test_headers_of_the_next_kernel(world: World, simulated: str, warnings: list[str]) -> None:
    (world.root / f"lib/modules/{NEWER}/kernel").mkdir(parents=True)
    world.simulated = simulated
    assert world.check()["warnings"] == [warned(KERNEL), warned(NEWER)]
    assert world.check(headers_follow=True)["warnings"] == warnings


@pytest.mark.parametrize(
    ("known", "kind"), [(("pve",), "pve"), (("proxmox",), "proxmox"), (("proxmox", "pve"), "proxmox"), ((), "proxmox")]
)
def test_headers_by_the_name_that_apt_knows(world: World, known: tuple[str, ...], kind: str) -> None:
    world.policy = "".join(
        f"{name}-headers-{KERNEL}:\n  Installed: (none)\n  Candidate: {'1.0' if name in known else '(none)'}\n"
        for name in ("proxmox", "pve")
    )
    assert world.check()["headers"][0] == f"{kind}-headers-{KERNEL}"


def test_installed_headers_need_no_apt(world: World) -> None:
    world.node.package(f"pve-headers-{KERNEL}", "1")
    world.policy = "nonsense"
    assert world.check()["headers"] == [f"pve-headers-{KERNEL}", "pve-headers"]


@pytest.mark.parametrize("version", ["7.4-3", ""])
def test_an_old_release(tmp_path: Path, version: str) -> None:
    world = World(tmp_path)
    world.node.write("var/lib/dpkg/status", "")
    if version:
        world.node.package("pve-manager", version)
    assert f"Proxmox VE {version or 'of an unknown version'}, and this collection needs 8.0" in world.refusal()


def test_no_gpu(world: World) -> None:
    write(world.root, f"{BUS}/vendor", "0x1002\n")
    assert world.refusal().startswith("the node has no NVIDIA GPU")


def test_vfio_names_its_places(world: World) -> None:
    """Pitfall 8: placeholder ids bound to vfio-pci."""
    world.driver("vfio-pci")
    world.node.write("etc/modprobe.d/vfio.conf", "options vfio-pci ids=10de:2d04\n")
    world.node.write("proc/cmdline", "quiet vfio-pci.ids=10de:2d04\n")
    world.node.write("etc/pve/nodes/pve1/qemu-server/200.conf", "hostpci0: 0000:01:00\n")
    (world.root / "etc/pve/qemu-server").symlink_to("nodes/pve1/qemu-server")
    assert world.refusal() == (
        "GPU 0000:01:00.0 is bound to vfio-pci, which gives it to virtual machines: no container can use it "
        "(see /etc/modprobe.d/vfio.conf, the kernel command line, /etc/pve/qemu-server/200.conf)"
    )


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("blacklist nvidia", True),
        ("blacklist nvidia_uvm", True),
        ("install nvidia /bin/false", True),
        ("# blacklist nvidia", False),
        ("blacklist nouveau", False),
        ("blacklist nvidiafb", False),
    ],
)
def test_blacklisted(world: World, line: str, refused: bool) -> None:
    world.node.write("etc/modprobe.d/x.conf", f"{line}\n")
    if refused:
        assert f"(/etc/modprobe.d/x.conf: {line})" in world.refusal()
    else:
        world.check()


def test_the_table_of_kernels_and_drivers(world: World) -> None:
    assert "driver 580.76.05 does not build on kernel 6.17.2-1-pve" in world.refusal(
        url=URL.replace(VERSION, "580.76.05")
    )


def test_running_guests(world: World) -> None:
    world.node.conf(110)
    world.node.run_container(110)
    world.node.write("run/qemu-server/200.pid", "77\n")
    world.node.write("proc/77/stat", "")
    world.node.write("run/qemu-server/201.pid", "78\n")
    world.node.write("run/qemu-server/200.qmp", "")
    found = world.check()
    assert found["running_guests"] == ["container 110 (base2)", "virtual machine 200"]
    assert found["running_containers"] == [110]


def test_nouveau(world: World) -> None:
    world.driver("nouveau")
    found = world.check()
    assert (found["nouveau"], found["reboot_required"]) == (True, True)


def test_secure_boot_is_told_before_it_is_refused(world: World) -> None:
    name = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
    write(world.root, f"sys/firmware/efi/efivars/{name}", b"\x06\0\0\0\x01")
    assert any("Secure Boot is on" in warning for warning in world.check()["warnings"])
