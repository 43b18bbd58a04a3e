# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What is about the next boot: update-initramfs, lsinitramfs and proxmox-boot-tool.

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import initramfs
from ..kernel import Kernel

_NODE = Path("/")


def update_initramfs(argv: Sequence[str], root: Path = _NODE) -> int:
    wanted = argv[argv.index("-k") + 1] if "-k" in argv[:-1] else ""
    if not {"-u", "-c", "-d"} & set(argv):
        print("You must specify at least one of -c, -u, or -d.", file=sys.stderr)
        return 1
    installed = initramfs.kernels(root)
    releases = installed if wanted == "all" else [wanted or Kernel(root).machine.release]
    for release in releases:
        if release not in installed:
            print(f"update-initramfs: {initramfs.image(root, release)} does not exist. Cannot update.", file=sys.stderr)
            return 1
        if "-d" in argv:
            print(f"update-initramfs: Deleting /boot/initrd.img-{release}")
            initramfs.image(root, release).unlink(missing_ok=True)
            continue
        print(f"update-initramfs: Generating /boot/initrd.img-{release}")
        initramfs.generate(root, release)
        print("Running hook script 'zz-proxmox-boot'..")
        print("Re-executing '/etc/kernel/postinst.d/zz-proxmox-boot' in new private mount namespace..")
        print("No /etc/kernel/proxmox-boot-uuids found, skipping ESP sync.")
    return 0


def lsinitramfs(argv: Sequence[str], _root: Path = _NODE) -> int:
    rc = 0
    for word in (word for word in argv if not word.startswith("-")):
        if not Path(word).is_file():
            print(f"lsinitramfs: {word} does not exist", file=sys.stderr)
            rc = 1
            continue
        for name, _content in initramfs.unpack(Path(word).read_bytes()):
            print(name)
    return rc


def proxmox_boot_tool(argv: Sequence[str], root: Path = _NODE) -> int:
    pin = root / "etc/kernel/proxmox-boot-pin"
    next_pin = root / "etc/kernel/next-boot-pin"
    match list(argv):
        case ["refresh", *_]:
            print("Running hook script 'proxmox-auto-removal'..")
            print("Running hook script 'zz-proxmox-boot'..")
            print("Re-executing '/etc/kernel/postinst.d/zz-proxmox-boot' in new private mount namespace..")
            print("No /etc/kernel/proxmox-boot-uuids found, skipping ESP sync.")
        case ["status", *_]:
            print("Re-executing '/usr/sbin/proxmox-boot-tool' in new private mount namespace..")
            print("E: /etc/kernel/proxmox-boot-uuids does not exist.", file=sys.stderr)
            return 2
        case ["kernel", "list"]:
            print("Manually selected kernels:\nNone.\n\nAutomatically selected kernels:")
            print("\n".join(initramfs.kernels(root)))
            for title, path in (("Pinned kernel:", pin), ("Kernel pinned on next-boot:", next_pin)):
                if path.is_file():
                    print(f"\n{title}\n{path.read_text().strip()}")
        case ["kernel", "pin", release, *options]:
            if release not in initramfs.kernels(root):
                print(f"E: no kernel image found in /boot for '{release}', not setting default.", file=sys.stderr)
                return 2
            target = next_pin if "--next-boot" in options else pin
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(f"{release}\n")
            print(f"Set kernel '{release}' in /{target.relative_to(root)}.")
        case ["kernel", "unpin", *options]:
            (next_pin if "--next-boot" in options else pin).unlink(missing_ok=True)
            print("Removed pin.")
        case _:
            print("USAGE: proxmox-boot-tool <commands> [ARGS]", file=sys.stderr)
            return 1
    return 0


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "update-initramfs": update_initramfs, "lsinitramfs": lsinitramfs, "proxmox-boot-tool": proxmox_boot_tool,
}  # fmt: skip


def main() -> int:
    return COMMANDS[Path(sys.argv[0]).name](sys.argv[1:])
