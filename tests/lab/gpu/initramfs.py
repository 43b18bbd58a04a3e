# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Kernels on the node's disk and their initramfs: what the next boot starts with.

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_PINS = ("etc/kernel/next-boot-pin", "etc/kernel/proxmox-boot-pin")
_BLACKLIST = re.compile(
    r"^\s*(?:blacklist\s+([\w-]+)|install\s+([\w-]+)\s+/(?:usr/)?bin/(?:false|true)\b)", re.MULTILINE
)


def kernels(node: Path) -> list[str]:
    """The installed kernels, oldest first."""
    return sorted((path.parent.name for path in (node / "usr/lib/modules").glob("*/kernel")), key=_order)


def _order(release: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", release)]


def next_kernel(node: Path, current: str) -> str:
    """The kernel that a boot starts: pinned, or else the newest."""
    installed = kernels(node)
    for pin in _PINS:
        path = node / pin
        if path.is_file() and (release := path.read_text().strip()) in installed:
            if pin == _PINS[0]:
                path.unlink()
            return release
    return installed[-1] if installed else current


def image(node: Path, release: str) -> Path:
    return node / "boot" / f"initrd.img-{release}"


def blacklist(node: Path, release: str) -> set[str]:
    """What the initramfs forbids; without one, what modprobe's settings forbid."""
    path = image(node, release)
    if path.is_file():
        text = "\n".join(content.decode("utf-8", "replace") for name, content in unpack(path.read_bytes())
                         if name.startswith("etc/modprobe.d/"))  # fmt: skip
    else:
        text = "\n".join(content.decode("utf-8", "replace") for _name, content in _settings(node))
    return {(one or other).replace("-", "_") for one, other in _BLACKLIST.findall(text)}


def _settings(node: Path) -> list[tuple[str, bytes]]:
    return [
        (f"etc/modprobe.d/{path.name}", path.read_bytes())
        for directory in ("etc/modprobe.d", "usr/lib/modprobe.d")
        for path in sorted((node / directory).glob("*.conf"))
    ]


def generate(node: Path, release: str) -> None:
    """update-initramfs: the settings of modprobe, and the drivers for the screen unless they are forbidden."""
    settings = _settings(node)
    forbidden = {(one or other).replace("-", "_") for _name, content in settings
                 for one, other in _BLACKLIST.findall(content.decode("utf-8", "replace"))}  # fmt: skip
    modules = [
        (f"usr/lib/modules/{release}/{path.relative_to(node / 'usr/lib/modules' / release)}", b"")
        for pattern in ("kernel/drivers/gpu/**/*.ko", "updates/dkms/nvidia*.ko")
        for path in sorted((node / "usr/lib/modules" / release).glob(pattern))
        if path.stem.replace("-", "_") not in forbidden
    ]
    image(node, release).parent.mkdir(exist_ok=True)
    image(node, release).write_bytes(pack([("init", b"#!/bin/sh\n"), *settings, *modules]))


def pack(entries: Iterable[tuple[str, bytes]]) -> bytes:
    """A cpio archive of the kind that kernels unpack."""
    out = bytearray()
    for number, (name, content) in enumerate([*entries, ("TRAILER!!!", b"")]):
        fields = (number, 0o100644, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        out += b"070701" + "".join(f"{field:08x}" for field in fields).encode() + name.encode() + b"\0"
        out += bytes(-len(out) % 4) + content
        out += bytes(-len(out) % 4)
    return bytes(out)


def unpack(data: bytes) -> list[tuple[str, bytes]]:
    entries, at = [], 0
    while data[at : at + 6] == b"070701":
        size, name_size = (int(data[at + offset : at + offset + 8], 16) for offset in (54, 94))
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        start = at + 110 + name_size
        start += -start % 4
        if name == "TRAILER!!!":
            break
        entries.append((name, data[start : start + size]))
        at = start + size
        at += -at % 4
    return entries
