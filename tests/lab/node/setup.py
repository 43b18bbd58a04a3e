# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Makes a node out of a copy of the image: its name, its network, its keys, its /etc/pve, the kernel that its GPUs show.
# Runs in the lab, on the copy's files, before the node's first start.

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path

from ..gpu import Options, kernel
from ..vendors import ca

FILES = Path(__file__).resolve().parent / "files"

# facts/lab.md: what cannot work in a container, or would get in the way of the stand-in of PVE.
_MASKED = (
    "lxc.service",
    "lxc-net.service",
    "lxc-monitord.service",
    "sys-kernel-debug.mount",
    "systemd-modules-load.service",
    "systemd-udevd.service",
    "docker-registry.service",
    "nginx.service",
    "dnsmasq.service",
)
# unit -> target
_ENABLED = {
    "networking.service": "multi-user.target",
    "phoenix-lab-kernel.service": "sysinit.target",
    "pve-guests.service": "multi-user.target",
    "pveproxy.service": "multi-user.target",
    "ssh.service": "multi-user.target",
}

_STORAGES = """\
dir: local
	path /var/lib/vz
	content vztmpl,iso,backup,snippets

btrfs: lab
	path /rpool/lab
	content rootdir,images

zfspool: local-zfs
	pool rpool/data
	mountpoint /rpool/data
	content rootdir,images
	sparse 1

"""


@dataclasses.dataclass(frozen=True)
class Identity:
    name: str
    address: str
    prefix: int
    gateway: str
    hwaddr: str
    # Every node of the lab: name -> address.
    nodes: dict[str, str]
    # The public key that may log in as root.
    authorized_key: str
    # The node's own SSH key: private, public.
    host_key: tuple[str, str]
    start_delay: float = 0.0


def interfaces(identity: Identity) -> str:
    """As the installer of Proxmox VE writes it; the bridge keeps its address (MAC) over re-creations."""
    return f"""\
auto lo
iface lo inet loopback

iface eth0 inet manual

auto vmbr0
iface vmbr0 inet static
	address {identity.address}/{identity.prefix}
	gateway {identity.gateway}
	bridge-ports eth0
	bridge-stp off
	bridge-fd 0
	hwaddress ether {identity.hwaddr}
"""


def hosts(identity: Identity) -> str:
    lines = ["127.0.0.1 localhost.localdomain localhost"]
    lines += [f"{address} {name}.lab {name}" for name, address in identity.nodes.items()]
    return "\n".join(lines) + "\n"


def setup(root: Path, identity: Identity) -> None:
    shutil.copytree(FILES, root, dirs_exist_ok=True, symlinks=True)
    for unit in _MASKED:
        _link(root / "etc/systemd/system" / unit, "/dev/null")
    for unit, target in _ENABLED.items():
        _link(root / f"etc/systemd/system/{target}.wants" / unit, _unit_file(root, unit))
    _write(root, "etc/hostname", f"{identity.name}\n")
    _write(root, "etc/hosts", hosts(identity))
    _write(root, "etc/resolv.conf", f"search lab\nnameserver {identity.gateway}\n")
    _write(root, "etc/network/interfaces", interfaces(identity))
    _write(root, "etc/machine-id", "")
    for name in ("etc/subuid", "etc/subgid"):
        _write(root, name, "root:100000:65536\n")
    _write(root, "root/.ssh/authorized_keys", f"{identity.authorized_key}\n", 0o600)
    (root / "root/.ssh").chmod(0o700)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    _write(root, "etc/ssh/ssh_host_ed25519_key", identity.host_key[0], 0o600)
    _write(root, "etc/ssh/ssh_host_ed25519_key.pub", identity.host_key[1])
    if identity.start_delay:
        _write(root, "etc/phoenix-lab/start-delay", f"{identity.start_delay}\n")
    _pve(root, identity)


def _pve(root: Path, identity: Identity) -> None:
    pve = root / "etc/pve"
    own = pve / "nodes" / identity.name
    for name in ("lxc", "qemu-server"):
        (own / name).mkdir(parents=True, exist_ok=True)
    (pve / "priv").mkdir(exist_ok=True)
    _link(pve / "local", f"nodes/{identity.name}")
    for kind in ("lxc", "qemu-server"):
        _link(pve / kind, f"nodes/{identity.name}/{kind}")
    (pve / "priv").chmod(0o700)
    _write(root, "etc/pve/storage.cfg", _STORAGES)
    _write(root, "etc/pve/datacenter.cfg", "keyboard: en-us\n")
    _write(root, "etc/pve/user.cfg", "user:root@pam:1:0:::root@localhost:::\n")
    for folder in ("var/lib/vz/template/cache", "var/lib/vz/dump", "var/log/pve/tasks", "var/log/phoenix-lab"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for folder in ("lab/images", "data"):
        (root / "rpool" / folder).mkdir(parents=True, exist_ok=True)


def certify(root: Path, identity: Identity, authority: Path) -> None:
    """The certificate of the node's API, signed by the lab's authority."""
    own = root / "etc/pve/nodes" / identity.name
    hosts = (identity.name, f"{identity.name}.lab", "localhost")
    ca.issue(authority, identity.name, hosts, (identity.address, "127.0.0.1"))
    for kind in ("key", "pem"):
        shutil.move(authority / f"{identity.name}.{kind}", own / f"pve-ssl.{kind}")
    _write(root, "etc/pve/pve-root-ca.pem", (authority / "ca.pem").read_text())


def _unit_file(root: Path, unit: str) -> str:
    for folder in ("etc/systemd/system", "usr/lib/systemd/system"):
        if (root / folder / unit).is_file():
            return f"/{folder}/{unit}"
    raise FileNotFoundError(f"the node's image has no unit {unit}")


def _link(link: Path, target: str) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _write(root: Path, name: str, text: str, mode: int = 0o644) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(mode)


def main() -> None:
    """Identity and GPUs as JSON on stdin; the copy's place, the authority's and the kernel's folder as arguments.

    Prints what is mounted into the node, one line of LXC's configuration each.
    """
    root, authority, folder = map(Path, sys.argv[1:])
    data = json.load(sys.stdin)
    gpus = Options(**data["gpus"])
    identity = Identity(**{**data["identity"], "host_key": tuple(data["identity"]["host_key"])})
    os.umask(0o022)
    setup(root, identity)
    certify(root, identity, authority)
    kernel.create(folder, kernel.Machine(identity.name, gpus.count, gpus.model, gpus.driver))
    for mount in kernel.mounts(folder):
        print(mount.lxc_entry)


if __name__ == "__main__":
    main()
