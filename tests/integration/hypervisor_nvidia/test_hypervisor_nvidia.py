# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The role on a node without a driver, from nothing to the proof, and what it refuses. The tests follow one another on
# one node; those that begin with a bare one say so.

from __future__ import annotations

import pytest

from integration.nvidia_lab import CTID, NEWER, VERSION, Roles
from lab.smoke.running import RunningLab

REFUSED = {
    "vfio": (["vfio=on"], [], "is bound to vfio-pci, which gives it to virtual machines"),
    "blacklist": ([], ["blacklist nvidia"], "blacklisted on the node (/etc/modprobe.d/test.conf: blacklist nvidia)"),
    "kernel": (["kernel=6.17.2-1-pve"], [], "driver 580.76.05 does not build on kernel 6.17.2-1-pve"),
    "gpus": (["gpus=0"], [], "the node has no NVIDIA GPU"),
}


def files(lab: RunningLab) -> str:
    find = "find /etc /usr /boot /var/lib/dpkg /var/lib/apt -newer /tmp/before -not -path '*/phoenix-lab*' -type f"
    return lab.shell(f"{find} -not -name 'lock*'")


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_anything_is_written(lab: RunningLab, roles: Roles, case: str) -> None:
    switches, modprobe, message = REFUSED[case]
    roles.bare()
    if modprobe:
        lab.shell(f"echo '{modprobe[0]}' > /etc/modprobe.d/test.conf")
    for switch in switches:
        roles.gpu(switch)
    lab.shell("touch /tmp/before; sleep 0.1")
    played = roles.node()
    assert (played.failed, played.changed) == (True, 0), played.output
    assert message in played.words
    assert files(lab) == ""


def test_from_nothing(lab: RunningLab, roles: Roles) -> None:
    roles.bare()
    lab.shell("touch /tmp/before; sleep 0.1")
    predicted = roles.node("--check", "--diff")
    assert not predicted.failed, predicted.output
    assert predicted.changed >= 7
    assert files(lab) == ""
    played = roles.node()
    assert not played.failed, played.output
    for options in ((), ("--check",)):
        again = roles.node(*options)
        assert (again.failed, again.changed) == (False, 0), again.output
    assert f"nvidia/{VERSION}, 6.14.11-4-pve, x86_64: installed" in lab.exec("dkms", "status")
    assert "error" not in lab.shell("apt-get update 2>&1").lower()


@pytest.mark.parametrize("package", ["cuda", "cuda-drivers", "nvidia-open", "nvidia-driver", "libcuda1"])
def test_apt_brings_no_driver(lab: RunningLab, package: str) -> None:
    said = lab.shell(f"apt-get --simulate install {package} 2>&1 || true")
    assert "Inst libcuda1" not in said
    assert "Inst nvidia-" not in said
    assert "E:" in said


def test_device_nodes_are_there_before_guests_start(lab: RunningLab, roles: Roles) -> None:
    lab.reboot()
    stamp = "systemctl show --value -p ActiveEnterTimestampMonotonic"
    nodes, guests = (
        int(lab.shell(f"{stamp} {unit}")) for unit in ("phoenix-nvidia-devices.service", "pve-guests.service")
    )
    assert 0 < nodes < guests
    verified = roles.node(start="verify")
    assert (verified.failed, verified.changed) == (False, 0), verified.output


def test_a_missing_node_is_made_again(lab: RunningLab, roles: Roles) -> None:
    roles.gpu("uvm=missing")
    found = roles.node(start="verify")
    assert "/dev/nvidia-uvm is missing" in found.words
    played = roles.node()
    assert (played.failed, played.changed) == (False, 1), played.output


def test_a_newer_driver_waits_for_its_reboot(lab: RunningLab, roles: Roles) -> None:
    """Pitfall 12: never unasked, never under running guests, and afterwards the rest is done.

    Layers are shut down for it, and started again.
    """
    roles.create()
    played = roles.node(version=NEWER)
    assert played.failed, played.output
    assert f"Driver {NEWER} is installed, and {VERSION} is loaded" in played.words
    assert 'hypervisor_nvidia_reboot is "never"' in played.words
    refused = roles.node(version=NEWER, reboot="if_required")
    assert f"these guests run on it: container {CTID} (gpu)" in refused.words
    before = lab.exec("cat", "/proc/sys/kernel/random/boot_id")
    checked = roles.node("--check", version=NEWER, reboot="if_required", layers=[CTID])
    assert f"Its layers {CTID} would be shut down and started again." in checked.words
    done = roles.node(version=NEWER, reboot="if_required", layers=[CTID])
    assert not done.failed, done.output
    assert lab.exec("cat", "/proc/sys/kernel/random/boot_id") != before
    assert lab.exec("pct", "status", str(CTID)).strip() == "status: running"
    again = roles.node(version=NEWER, layers=[CTID])
    assert (again.failed, again.changed) == (False, 0), again.output
    roles.destroy()


def test_a_reboot_by_hand_is_gone_on_from(lab: RunningLab, roles: Roles) -> None:
    roles.bare()
    roles.gpu("nouveau=on")
    played = roles.node()
    assert "Nouveau drives a GPU of this node" in played.words
    assert 'hypervisor_nvidia_reboot is "never"' in played.words
    lab.reboot()
    done = roles.node()
    assert not done.failed, done.output
    assert roles.node().changed == 0


def test_secure_boot_without_the_key(lab: RunningLab, roles: Roles) -> None:
    roles.bare()
    roles.gpu("secure_boot=on")
    played = roles.node()
    assert played.failed, played.output
    assert "mokutil --import /var/lib/dkms/mok.pub" in played.words
