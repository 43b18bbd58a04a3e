# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from lab.pve.exceptions import PVEError
from lab.pve.lxc.idmap import IdMap, parse_id_maps
from lab.pve.lxc.lxc_config import parse_cpuset, print_cpuset, update_lxc_config
from lab.pve.lxc.rootfs import Rootfs, remove_pve_sections
from lab.pve.lxc.setup_network import Interface, networkd_file, rewrite_interfaces
from lab.pve.simulated import SimulatedSystem

_CONF = {"arch": "amd64", "ostype": "debian", "rootfs": "local-zfs:subvol-100-disk-0,size=2G", "lxc": []}


@pytest.fixture
def system(tmp_path: Path) -> SimulatedSystem:
    system = SimulatedSystem(tmp_path)
    system.prepare("")
    return system


def _generated(system: SimulatedSystem, **more: object) -> list[str]:
    update_lxc_config(system, 100, {**_CONF, **more})
    return system.path("var/lib/lxc/100/config").read_text().splitlines()


# pct-transcripts 3: what the generated runtime config holds
def test_an_unprivileged_container(system: SimulatedSystem) -> None:
    system.mknod("dev/nvidia0", "c", 195, 0)
    lines = _generated(
        system,
        unprivileged=1,
        features="nesting=1",
        hostname="base2",
        memory=640,
        swap=0,
        cores=2,
        dev0="path=/dev/nvidia0,mode=0666",
        net0="name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:48:AC:F9,ip=10.10.10.110/24,type=veth",
    )

    assert lines == [
        "lxc.cgroup.relative = 0",
        "lxc.cgroup.dir.monitor = lxc.monitor/100",
        "lxc.cgroup.dir.container = lxc/100",
        "lxc.cgroup.dir.container.inner = ns",
        "lxc.arch = amd64",
        "lxc.include = /usr/share/lxc/config/common.conf",
        "lxc.include = /usr/share/lxc/config/userns.conf",
        "lxc.seccomp.profile = /var/lib/lxc/100/rules.seccomp",
        "lxc.apparmor.profile = generated",
        "lxc.apparmor.raw = allow mqueue,",
        "lxc.apparmor.allow_nesting = 1",
        "lxc.apparmor.raw = allow userns,",
        "lxc.mount.auto = sys:mixed",
        "lxc.cgroup2.devices.allow = c 195:0 rw",
        "lxc.monitor.unshare = 1",
        "lxc.idmap = u 0 100000 65536",
        "lxc.idmap = g 0 100000 65536",
        "lxc.tty.max = 2",
        "lxc.environment = TERM=linux",
        "lxc.uts.name = base2",
        "lxc.cgroup2.memory.max = 671088640",
        "lxc.cgroup2.memory.high = 665845760",
        "lxc.cgroup2.memory.swap.max = 0",
        "lxc.rootfs.path = /var/lib/lxc/100/rootfs",
        "lxc.net.0.type = veth",
        "lxc.net.0.veth.pair = veth100i0",
        "lxc.net.0.hwaddr = BC:24:11:48:AC:F9",
        "lxc.net.0.name = eth0",
        "lxc.net.0.mtu = 1500",
        "lxc.net.0.script.up = /usr/share/lxc/lxcnetaddbr",
        "lxc.cgroup2.cpuset.cpus = 0-1",
    ]


def test_the_lab_adds_its_mounts_and_takes_apparmor_away(system: SimulatedSystem) -> None:
    system.path("etc/phoenix-lab").mkdir()
    system.path("etc/phoenix-lab/container-mounts").write_text("# why\n/proc/driver proc/driver none bind 0 0\n\n")
    lines = _generated(system)

    assert lines[-2:] == [
        "lxc.apparmor.profile = unconfined",
        "lxc.mount.entry = /proc/driver proc/driver none bind 0 0",
    ]


@pytest.mark.parametrize(
    ("more", "error"),
    [
        pytest.param({"dev0": "/dev/gone"}, "Device /dev/gone does not exist", id="device"),
        pytest.param({"net0": "name=eth0,bridge=vmbr9"}, "bridge 'vmbr9' does not exist", id="bridge"),
        pytest.param({"rootfs": ""}, "missing 'rootfs' configuration", id="rootfs"),
        pytest.param({"arch": ""}, "missing 'arch' - internal error", id="arch"),
        pytest.param(
            {"net0": "name=eth0,bridge=vmbr0,mtu=9000"},
            "net0: MTU size '9000' is bigger than bridge MTU '1500'",
            id="mtu",
        ),
    ],
)
def test_what_cannot_start(system: SimulatedSystem, more: dict[str, str], error: str) -> None:
    with pytest.raises(PVEError) as failure:
        _generated(system, **more)

    assert failure.value.message == error


@pytest.mark.parametrize("text", ["0", "0-3", "0,2-3,7"])
def test_cpuset_round_trip(text: str) -> None:
    assert print_cpuset(parse_cpuset(text)) == text


def test_id_maps() -> None:
    assert parse_id_maps({"unprivileged": 1}).root == (100000, 100000)
    assert parse_id_maps({}) == IdMap()
    custom = parse_id_maps({"lxc": [["lxc.idmap", "u 0 200000 10"], ["lxc.idmap", "g 0 300000 10"]], "unprivileged": 1})
    assert (custom.root, custom.to_host("u", 5), custom.to_host("u", 50)) == ((200000, 300000), 200005, 50)
    assert custom.command() == ["lxc-usernsexec", "-m", "u:0:200000:10", "-m", "g:0:300000:10", "--"]
    with pytest.raises(PVEError, match="failed to parse idmap: nonsense"):
        parse_id_maps({"lxc": [["lxc.idmap", "nonsense"]]})


def test_interfaces_keep_what_the_owner_wrote() -> None:
    old = "# mine\nauto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n\tmtu 1400\n\nsource /x/*\n"
    new = rewrite_interfaces(old, [Interface("eth0", "10.0.0.2/24", "10.0.0.1", "auto")])

    assert new == (
        "# mine\nauto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n\taddress 10.0.0.2/24\n"
        "\tgateway 10.0.0.1\n\tmtu 1400\n\nsource /x/*\n\niface eth0 inet6 auto\n\n"
    )
    assert rewrite_interfaces(new, [Interface("eth0", "10.0.0.2/24", "10.0.0.1", "auto")]) == new


def test_a_gateway_outside_of_the_network_needs_a_route() -> None:
    interface = Interface("eth0", "10.0.0.2/32", "10.9.9.9")

    text = rewrite_interfaces("", [interface])
    assert "\tpost-up ip route add 10.9.9.9 dev eth0\n" in text
    assert rewrite_interfaces(text, [interface]) == text
    assert networkd_file(interface).endswith("\n[Route]\nDestination = 10.9.9.9/32\nScope = link\n")


def test_networkd_file_for_dhcp() -> None:
    assert networkd_file(Interface("eth0", "dhcp", None, "auto")) == (
        "[Match]\nName = eth0\n\n[Network]\nDescription = Interface eth0 autoconfigured by PVE\n"
        "DHCP = ipv4\nIPv6AcceptRA = true\n"
    )


def test_links_of_a_container_do_not_lead_out(system: SimulatedSystem, tmp_path: Path) -> None:
    root = tmp_path / "ct"
    (root / "etc").mkdir(parents=True)
    (root / "etc/abs").symlink_to("/etc/real")
    (root / "etc/up").symlink_to("../../../../etc/real")
    (root / "etc/loop").symlink_to("loop")
    files = Rootfs(system, root, IdMap())
    files.write("/etc/real", "x\n")

    assert files.read("/etc/abs") == files.read("/etc/up") == "x\n"
    with pytest.raises(PVEError, match="too many levels"):
        files.exists("/etc/loop")


def test_a_link_in_the_place_of_a_file_is_replaced(system: SimulatedSystem, tmp_path: Path) -> None:
    root = tmp_path / "ct"
    (root / "etc").mkdir(parents=True)
    (root / "etc/resolv.conf").symlink_to("../run/stub")
    files = Rootfs(system, root, IdMap())
    files.modify("/etc/resolv.conf", "nameserver 1.1.1.1", replace=True)

    assert not (root / "etc/resolv.conf").is_symlink()
    assert files.read("/etc/resolv.conf") == "# --- BEGIN PVE ---\nnameserver 1.1.1.1\n# --- END PVE ---\n"
    files.modify("/etc/resolv.conf", "nameserver 2.2.2.2", replace=True)
    assert files.read("/etc/resolv.conf") == "# --- BEGIN PVE ---\nnameserver 2.2.2.2\n# --- END PVE ---\n"
    assert remove_pve_sections(files.read("/etc/resolv.conf")).strip() == ""


def test_a_file_that_its_owner_keeps(system: SimulatedSystem, tmp_path: Path) -> None:
    root = tmp_path / "ct"
    (root / "etc").mkdir(parents=True)
    (root / "etc/.pve-ignore.hosts").touch()
    files = Rootfs(system, root, IdMap())
    files.modify("/etc/hosts", "x")

    assert not (root / "etc/hosts").exists()
