# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Everything of the GPU's stand-in that is made once, when the lab's image is made: in a chroot of it, without network.

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path

from . import elf, hardware, initramfs, runfile

_HERE = Path(__file__).parent
_LIBRARIES = ("libcuda", "libnvidia-ml", "libempty", "libkernelname")
_PROGRAMS = runfile.PROGRAMS
PRELOADED = "usr/lib/phoenix-lab/libkernelname.so"

# What Proxmox's kernel has inside or beside it and somebody may ask for by name.
_BUILTIN = """
overlay bridge br_netfilter veth tun fuse nf_nat nf_conntrack nf_tables nft_compat nft_chain_nat ip_tables ip6_tables
iptable_nat iptable_filter ip6table_nat ip6table_filter xt_conntrack xt_MASQUERADE xt_addrtype xt_nat zfs kvm kvm_amd
loop dm_mod btrfs i2c_core video drm
""".split()

# Commands of Debian's packages that the node has of its own: dpkg is told, so that an upgrade does not bring them back.
DIVERTED = (
    "usr/sbin/modprobe", "usr/sbin/rmmod", "usr/sbin/insmod", "usr/sbin/lsmod", "usr/sbin/modinfo", "usr/sbin/depmod",
    "usr/bin/lsmod", "usr/sbin/update-initramfs", "usr/bin/lsinitramfs", "usr/bin/mokutil",
)  # fmt: skip


def compile_stubs(stubs: Path) -> None:
    """The C of the stubs, with the small compiler of the lab's image."""
    stubs.mkdir(parents=True, exist_ok=True)
    for name in _LIBRARIES:
        target = stubs / f"{name}.so"
        _compile(name, target, "-shared")
        target.write_bytes(elf.without_executable_stack(target.read_bytes()))
    for name in _PROGRAMS:
        _compile(name, stubs / name, "-static")


def _compile(name: str, target: Path, kind: str) -> None:
    subprocess.run(["tcc", kind, "-nostdlib", "-o", target, _HERE / "stubs" / f"{name}.c"], check=True)


def kernel_tree(node: Path, release: str) -> None:
    """What the package of a Proxmox kernel leaves on a node, as far as anybody looks."""
    folder = node / "usr/lib/modules" / release
    drivers = folder / "kernel/drivers"
    for name, place in (("nouveau", "gpu/drm/nouveau"), ("vfio-pci", "vfio/pci")):
        (drivers / place).mkdir(parents=True, exist_ok=True)
        fields = {"license": "GPL", "name": name.replace("-", "_"), "intree": "Y", "vermagic": f"{release} SMP preempt"}
        (drivers / place / f"{name}.ko").write_bytes(elf.module(fields))
    (folder / "modules.builtin").write_text("".join(f"kernel/{name}.ko\n" for name in _BUILTIN))
    boot = node / "boot"
    boot.mkdir(parents=True, exist_ok=True)
    (boot / f"vmlinuz-{release}").write_bytes(b"no kernel\n")
    (boot / f"config-{release}").write_text("CONFIG_MODULES=y\n")
    initramfs.generate(node, release)


def build_node(node: Path, stubs: Path) -> None:
    """What is copied over the root of a node: the kernel on its disk, and the name it tells."""
    kernel_tree(node, hardware.RELEASE)
    preloaded = node / PRELOADED
    preloaded.parent.mkdir(parents=True)
    shutil.copy(stubs / "libkernelname.so", preloaded)
    (node / "etc").mkdir()
    (node / "etc/ld.so.preload").write_text(f"/{PRELOADED}\n")


def divert(node: Path) -> None:
    """Put Debian's own commands out of the way, before the stand-in's are copied in; harmless when done again."""
    for path in DIVERTED:
        subprocess.run(
            ["dpkg-divert", "--root", node, "--local", "--rename", "--divert", f"/{path}.debian", "--add", f"/{path}"],
            check=True, stdout=subprocess.DEVNULL)  # fmt: skip


def build(out: Path) -> None:
    """out/stubs (compiled), out/node (to be copied over a node's root), out/vendors (NVIDIA's servers)."""
    stubs = out / "stubs"
    compile_stubs(stubs)
    build_node(out / "node", stubs)
    server = out / "vendors/us.download.nvidia.com/XFree86/Linux-x86_64"
    for version in runfile.VERSIONS:
        runfile.build(server / version, version, stubs)
    (out / "vendors/download.nvidia.com").symlink_to("us.download.nvidia.com")


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the stand-in of NVIDIA's driver.")
    parser.add_argument("out", type=Path)
    build(parser.parse_args().out)


if __name__ == "__main__":
    main()
