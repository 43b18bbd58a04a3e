# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Makes the golden file. Runs in a mount namespace of its own, so that nothing stays mounted when it is killed.
#
#   outside/            root of the lab's services, with what they serve below /srv
#   node/               root of a node before it has a name
#   srv/templates/      tarballs of container templates

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from . import templates
from .images import DEBIAN_TEMPLATE, UBUNTU_TEMPLATE
from .lab import SOURCE, SOURCE_INSIDE
from .mounts import bind, furnish, mount

_SIZE = 64 << 30
# What only the services need.
_NOT_IN_NODES = ("var/cache/phoenix-lab",)


def main(target: str, node_tar: str, template_tar: str, folder: str) -> None:
    image, pool = Path(target), Path(folder)
    with image.open("wb") as file:
        file.truncate(_SIZE)
    _run("mkfs.btrfs", "--quiet", "--nodiscard", "--metadata", "single", image)
    pool.mkdir(exist_ok=True)
    mount("-o", "loop,noatime", image, pool)

    outside, node = pool / "outside", pool / "node"
    _run("btrfs", "--quiet", "subvolume", "create", outside)
    templates.unpack(Path(node_tar), outside)
    templates.use_mirror(outside)
    package_root = outside / SOURCE_INSIDE.lstrip("/")
    package_root.mkdir(parents=True)
    furnish(outside)
    bind(SOURCE, package_root, readonly=True)
    # First what nodes and templates trust, then the node's copy, then what only the services have.
    _contents(outside, "authority")
    _run("btrfs", "--quiet", "subvolume", "snapshot", outside, node)
    for name in _NOT_IN_NODES:
        shutil.rmtree(node / name)
    _contents(outside, "served")

    furnish(node)
    bind(SOURCE, node / SOURCE_INSIDE.lstrip("/"), readonly=True)
    bind(outside / "srv", node / "mnt")
    _contents(node, "node")

    template, made = pool / "work", pool / "templates"
    made.mkdir()
    template.mkdir()
    templates.unpack(Path(template_tar), template)
    furnish(template)
    bind(outside / "srv", template / "mnt")
    bind(SOURCE, template / SOURCE_INSIDE.lstrip("/"), readonly=True)
    _contents(template, "trust")
    for point in (SOURCE_INSIDE.lstrip("/"), "mnt", "proc", "dev/pts", "dev/shm", "dev", "run", "tmp"):
        _run("umount", template / point)
    shutil.rmtree(template / SOURCE_INSIDE.lstrip("/")[: -len("/lab")])
    templates.debian(template)
    templates.pack(template, made / DEBIAN_TEMPLATE)
    templates.ubuntu(template)
    templates.pack(template, made / UBUNTU_TEMPLATE)
    shutil.rmtree(template)


def _contents(root: Path, *arguments: str) -> None:
    inside = f'cd / && PYTHONPATH={Path(SOURCE_INSIDE).parent} exec python3 -B -m lab.host.contents "$@"'
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}
    subprocess.run(["chroot", root, "sh", "-c", inside, "sh", *arguments], env=environment, check=True)


def _run(*command: str | Path) -> None:
    subprocess.run(
        [str(word) for word in command], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(map(str, error.cmd))} failed with {error.returncode}:\n{error.stdout or ''}")
