# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The node itself: its files, its programs, its time.

from __future__ import annotations

import os
import random
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .exceptions import PVEError
from .real_lxc import RealRuntime
from .system import Result


class RealSystem:
    def __init__(self) -> None:
        self.node = os.uname().nodename.partition(".")[0]
        self.lxc = RealRuntime(self)
        self.volumes = BtrfsVolumes(self)

    def path(self, name: str) -> Path:
        return Path("/", name)

    def device(self, name: str) -> tuple[str, int, int] | None:
        try:
            found = self.path(name).stat()
        except OSError:
            return None
        kind = "c" if stat.S_ISCHR(found.st_mode) else "b" if stat.S_ISBLK(found.st_mode) else ""
        return (kind, os.major(found.st_rdev), os.minor(found.st_rdev)) if kind else ("", 0, 0)

    def chown(self, path: Path, uid: int, gid: int) -> None:
        os.lchown(path, uid, gid)

    def mount(self, source: str, target: str, *, readonly: bool = False) -> None:
        self._must(["mount", "--bind", *(["-o", "ro"] if readonly else []), "--", source, target])

    def unmount(self, target: str) -> None:
        self._must(["umount", "--recursive", "--", target])

    def is_mounted(self, target: str) -> bool:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return any(line.split(" ", 5)[4] == target for line in lines)

    def make_device(self, path: str, device: tuple[str, int, int], mode: int, owner: tuple[int, int]) -> None:
        kind, major, minor = device
        place = self.path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        os.mknod(place, (stat.S_IFBLK if kind == "b" else stat.S_IFCHR) | mode, os.makedev(major, minor))
        place.chmod(mode)
        os.chown(place, *owner)

    def run(self, argv: Sequence[str], *, stdin: str | None = None, env: Mapping[str, str] | None = None) -> Result:
        import subprocess  # noqa: PLC0415 - most commands of pct start no program

        try:
            done = subprocess.run(
                list(argv),
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                env=env,
                capture_output=True,
                text=True,
                errors="surrogateescape",
                check=False,
            )
        except FileNotFoundError as error:
            raise PVEError(f"command '{' '.join(argv)}' failed: failed to execute") from error
        return Result(done.returncode, done.stdout, done.stderr)

    def bridge_exists(self, name: str) -> bool:
        return self.path(f"sys/class/net/{name}").is_dir()

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def random_hwaddr(self) -> str:
        return "BC:24:11:" + ":".join(f"{random.randrange(256):02X}" for _ in range(3))

    def _must(self, argv: list[str]) -> None:
        must(self, argv)


class BtrfsVolumes:
    def __init__(self, system: RealSystem) -> None:
        self._system = system

    def create(self, path: str) -> None:
        must(self._system, ["btrfs", "--quiet", "subvolume", "create", path])

    def snapshot(self, source: str, target: str, *, readonly: bool) -> None:
        must(self._system, ["btrfs", "--quiet", "subvolume", "snapshot", *(["-r"] if readonly else []), source, target])

    def delete(self, path: str) -> None:
        must(self._system, ["btrfs", "--quiet", "subvolume", "delete", "--recursive", path])

    def exists(self, path: str) -> bool:
        return self._system.path(path).is_dir()


def must(system: RealSystem, argv: list[str]) -> Result:
    result = system.run(argv)
    if result.returncode:
        reason = result.stderr.strip() or f"exit code {result.returncode}"
        raise PVEError(f"command '{' '.join(argv)}' failed: {reason}")
    return result
