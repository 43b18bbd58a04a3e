# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The first process of a lab. It begins in the host's files with namespaces of its own, makes the lab's root file system
# its root, and becomes the supervisor there (supervisor.py), run by the Python of the lab's image.

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .lab import SOURCE, SOURCE_INSIDE
from .mounts import bind, furnish, mount


def enter(folder: Path) -> None:
    pool = folder / "pool"
    pool.mkdir(exist_ok=True)
    mount("-o", "loop,noatime", folder / "pool.img", pool)
    root = pool / "outside"
    mount("--bind", root, root)
    furnish(root)
    (root / "sys").mkdir(exist_ok=True)
    mount("-t", "sysfs", "sys", root / "sys")
    mount("-t", "cgroup2", "cgroup2", root / "sys/fs/cgroup")
    bind(pool, root / "pool")
    bind(SOURCE, root / SOURCE_INSIDE.lstrip("/"), readonly=True)
    bind(folder / "run", root / "run/phoenix-lab")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

    old = root / "old"
    old.mkdir(exist_ok=True)
    os.chdir(root)
    subprocess.run(["pivot_root", ".", "old"], check=True)
    os.chroot(".")
    os.chdir("/")
    subprocess.run(["umount", "--lazy", "/old"], check=True)
    Path("/run/phoenix-lab/mounted").touch()


def main(folder: str) -> None:
    enter(Path(folder))
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/root",
        "PYTHONPATH": str(Path(SOURCE_INSIDE).parent),
    }
    os.execve("/usr/bin/python3", ["lab-init", "-B", "-m", "lab.host.supervisor"], environment)


if __name__ == "__main__":
    main(*sys.argv[1:])
