# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Makes every device node of the loaded NVIDIA driver, and proves that they are there. Loading the modules does not make
# them: without this, containers that are to get them do not start with the node.

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

MODPROBE = "/usr/bin/nvidia-modprobe"
ATTEMPTS = 20
PAUSE = 0.5


def text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def majors(root: Path) -> dict[str, int]:
    characters = text(root / "proc/devices").partition("Block devices:")[0]
    return {name: int(major) for major, name in re.findall(r"^\s*(\d+) (\S+)$", characters, re.MULTILINE)}


def gpus(root: Path) -> list[int]:
    """The minor numbers of the GPUs that the loaded driver has."""
    listed = (text(path) for path in (root / "proc/driver/nvidia/gpus").glob("*/information"))
    found = (re.search(r"^Device Minor:\s*(\d+)", information, re.MULTILINE) for information in listed)
    return sorted(int(minor[1]) for minor in found if minor)


def capabilities(root: Path) -> dict[str, tuple[int, Path]]:
    """The nodes of capabilities that exist on their own: the file of each, and its minor number."""
    found = {}
    for path in sorted((root / "proc/driver/nvidia/capabilities").rglob("*")):
        minor = re.search(r"^DeviceFileMinor:\s*(\d+)", text(path), re.MULTILINE) if path.is_file() else None
        if minor:
            found[f"nvidia-caps/nvidia-cap{minor[1]}"] = (int(minor[1]), path)
    return found


def wanted(root: Path) -> dict[str, tuple[int, int]]:
    """The numbers of every node below /dev, by name."""
    known = majors(root)
    numbers = {f"nvidia{minor}": (195, minor) for minor in gpus(root)}
    numbers |= {"nvidiactl": (195, 255), "nvidia-modeset": (195, 254)}
    numbers |= {"nvidia-uvm": (known.get("nvidia-uvm", 0), 0), "nvidia-uvm-tools": (known.get("nvidia-uvm", 0), 1)}
    numbers |= {name: (known.get("nvidia-caps", 0), minor) for name, (minor, _path) in capabilities(root).items()}
    return numbers


def wrong(root: Path, lstat: Callable[[Path], os.stat_result] = os.lstat) -> list[str]:
    return [name for name, number in wanted(root).items() if not is_device(root / "dev" / name, number, lstat)]


def is_device(path: Path, number: tuple[int, int], lstat: Callable[[Path], os.stat_result]) -> bool:
    try:
        status = lstat(path)
    except OSError:
        return False
    device = status.st_rdev
    return stat.S_ISCHR(status.st_mode) and (device >> 8 & 0xFFF, device & 0xFF | device >> 12 & 0xFFF00) == number


def commands(root: Path) -> Iterable[list[str]]:
    yield [MODPROBE, *(word for minor in (*gpus(root), 255) for word in ("-c", str(minor)))]
    yield [MODPROBE, "-u", "-c", "0", "-c", "1"]
    yield [MODPROBE, "-m"]
    for _minor, path in capabilities(root).values():
        yield [MODPROBE, "-f", f"/{path.relative_to(root)}"]


def run(argv: list[str]) -> None:
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, timeout=60)


def make(
    root: Path,
    execute: Callable[[list[str]], None] = run,
    sleep: Callable[[float], None] = time.sleep,
    lstat: Callable[[Path], os.stat_result] = os.lstat,
) -> tuple[list[str], list[str]]:
    """What was not right before, and what still is not."""
    if not majors(root).get("nvidia-uvm") or not gpus(root):
        # Opens the driver, which then lists its GPUs.
        execute([MODPROBE, "-u", "-c", "0"])
    before = left = wrong(root, lstat)
    for attempt in range(ATTEMPTS):
        if not left and gpus(root):
            break
        if attempt:
            sleep(PAUSE)
        for name in left:
            path = root / "dev" / name
            if path.is_file():
                # The empty file that a bind mount without a source leaves.
                path.unlink()
        for argv in commands(root):
            execute(argv)
        left = wrong(root, lstat)
    return before, left


def main() -> int:
    root = Path("/")
    before, left = make(root)
    for name in before:
        if name not in left:
            print(f"made /dev/{name}")
    if not gpus(root):
        print("the loaded NVIDIA driver lists no GPU: look at dmesg", file=sys.stderr)
        return 1
    for name in left:
        print(f"/dev/{name} is no device of the loaded driver, and could not be made", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
