# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# mokutil: the keys of the machine's owner. What it imports waits for a person at the console of the next boot.

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from ..kernel import Kernel, locked


def mokutil(argv: Sequence[str], root: Path = Path("/")) -> int:
    kernel = Kernel(root)
    words = [word for word in argv if not word.startswith("-")]
    if "--sb-state" in argv:
        print(f"SecureBoot {'enabled' if kernel.machine.secure_boot else 'disabled'}")
        return 0
    if {"--import", "-i"} & set(argv) and words:
        return _import(root, Path(words[0]))
    if {"--test-key", "-t"} & set(argv) and words:
        certificate = _read(Path(words[0]))
        if certificate in kernel.machine.enrolled:
            print(f"{words[0]} is already enrolled")
            return 1
        waiting = certificate in kernel.machine.requested
        print(f"{words[0]} is {'already in the enrollment request' if waiting else 'not enrolled'}")
        return int(waiting)
    for option, short, certificates in (
        ("--list-enrolled", "-l", kernel.machine.enrolled),
        ("--list-new", "-N", kernel.machine.requested),
    ):
        if option in argv or short in argv:
            for number, certificate in enumerate(certificates, 1):
                digest = hashlib.sha1(bytes.fromhex(certificate), usedforsecurity=False).hexdigest()
                print(f"[key {number}]\nSHA1 Fingerprint: {':'.join(digest[i : i + 2] for i in range(0, 40, 2))}")
            if not certificates and option == "--list-enrolled":
                print("MokListRT is empty")
            return 0
    print("Usage:\n  mokutil OPTIONS [ARGS...]")
    return 1


def _read(path: Path) -> str:
    return path.read_bytes().hex() if path.is_file() else ""


def _import(root: Path, path: Path) -> int:
    certificate = _read(path)
    if not certificate:
        print(f"Failed to get file status, {path}", file=sys.stderr)
        return 1
    with locked(root) as kernel:
        if certificate in (*kernel.machine.enrolled, *kernel.machine.requested):
            print(f"SKIP: {path} is already enrolled")
            return 0
        kernel.machine.requested.append(certificate)
    return 0


def main() -> int:
    return mokutil(sys.argv[1:])
