# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What is written for the services and the nodes of a lab.

from __future__ import annotations

import dataclasses
from pathlib import Path

from lab.host import services
from lab.host.lab import Lab
from lab.host.nodes import configuration
from lab.host.world import control_groups
from lab.node import setup

IDENTITY = setup.Identity(
    name="pve1",
    address="10.99.0.10",
    prefix=24,
    gateway="10.99.0.1",
    hwaddr="bc:24:63:00:ff:0a",
    nodes={"pve1": "10.99.0.10", "pve2": "10.99.0.11"},
    authorized_key="ssh-ed25519 AAAA lab",
    host_key=("private\n", "public\n"),
)


def image(root: Path) -> Path:
    """As much of the image as setup() looks at."""
    for name in ("etc/ssh/ssh_host_rsa_key", "usr/lib/systemd/system/networking.service"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "usr/lib/systemd/system/ssh.service").touch()
    return root


def test_names_of_the_lab_are_known_and_all_others_are_refused() -> None:
    text = services.dnsmasq(Lab(), Lab().nodes(2), ["download.docker.com", "mirror.lab"])
    assert text.splitlines() == [
        "no-resolv",
        "no-hosts",
        "no-poll",
        "bind-interfaces",
        "listen-address=10.99.0.1",
        "address=/#/",
        "address=/download.docker.com/10.99.0.1",
        "address=/mirror.lab/10.99.0.1",
        "host-record=pve1,pve1.lab,10.99.0.10",
        "host-record=pve2,pve2.lab,10.99.0.11",
    ]


def test_a_node_is_set_up(tmp_path: Path) -> None:
    root = image(tmp_path)
    setup.setup(root, IDENTITY)
    assert (root / "etc/hostname").read_text() == "pve1\n"
    assert (root / "etc/hosts").read_text() == (
        "127.0.0.1 localhost.localdomain localhost\n10.99.0.10 pve1.lab pve1\n10.99.0.11 pve2.lab pve2\n"
    )
    interfaces = (root / "etc/network/interfaces").read_text()
    assert "address 10.99.0.10/24\n\tgateway 10.99.0.1\n\tbridge-ports eth0" in interfaces
    assert (root / "root/.ssh/authorized_keys").stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in (root / "etc/ssh").glob("ssh_host_*")) == [
        "ssh_host_ed25519_key",
        "ssh_host_ed25519_key.pub",
    ]
    assert (root / "etc/pve/lxc").resolve() == root / "etc/pve/nodes/pve1/lxc"
    assert "btrfs: lab\n\tpath /rpool/lab" in (root / "etc/pve/storage.cfg").read_text()
    assert (root / "etc/systemd/system/lxc.service").readlink() == Path("/dev/null")
    assert not (root / "etc/phoenix-lab/start-delay").exists()


def test_a_node_is_set_up_twice_to_the_same(tmp_path: Path) -> None:
    root = image(tmp_path)
    setup.setup(root, IDENTITY)

    def files() -> dict[str, bytes | str]:
        return {
            str(file.relative_to(root)): str(file.readlink()) if file.is_symlink() else file.read_bytes()
            for file in root.rglob("*")
            if file.is_symlink() or file.is_file()
        }

    before = files()
    setup.setup(root, IDENTITY)
    assert files() == before


def test_the_cost_of_a_start_is_copied_on_request(tmp_path: Path) -> None:
    root = image(tmp_path)
    setup.setup(root, dataclasses.replace(IDENTITY, start_delay=0.45))
    assert (root / "etc/phoenix-lab/start-delay").read_text() == "0.45\n"


def test_a_node_has_what_nested_containers_need() -> None:
    node = Lab().node("pve1")
    lines = configuration(node, ["/x proc/driver none bind 0 0"]).splitlines()
    assert "lxc.mount.entry = proc dev/.lxc/proc proc create=dir,optional 0 0" in lines
    assert "lxc.cgroup2.devices.allow = a" in lines
    assert "lxc.mount.entry = /x proc/driver none bind 0 0" in lines
    assert "lxc.net.0.hwaddr = bc:24:63:00:ff:0a" in lines


def test_where_cgroup2_is(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n")
    assert control_groups(mounts) == Path("/sys/fs/cgroup/unified")
