# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# What must not be in a layer when it is sealed: what every clone would share, and what only the build needed.

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker import Docker
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed, Runner

_DOCKER = "usr/bin/docker"
_SOCKET = "run/docker.sock"

# Removed. What identifies a machine is made anew at its next boot.
_GONE = (
    "etc/ssh/ssh_host_*",
    "root/.ansible",
    "root/.bash_history",
    "root/.cache/pip",
    "var/cache/apt/*.bin",
    "var/cache/apt/archives/*.deb",
    "var/lib/apt/lists/*_*",
    "var/lib/dhcp/*",
    "var/lib/docker/engine-id",
    "var/lib/systemd/random-seed",
    "var/log/**/*.gz",
    "var/log/**/*.[0-9]",
    "var/log/journal/*",
)
# Scratch folders: everything but what the running task needs, and the private folders of running services.
_SCRATCH = ("tmp", "var/tmp")
_IN_USE = re.compile(r"ansible|systemd-private-|\.(?:X11|ICE|font|XIM)-unix")
# Emptied, because programs hold them open or expect them to be there.
_EMPTIED = ("etc/machine-id", "var/log/**/*")


class Clean:
    """`images`: the images that belong to the layer, as docker names them."""

    def __init__(self, root: Path, runner: Runner, *, images: Sequence[str]) -> None:
        self._root = root
        self._runner = runner
        self._client = Docker(runner)
        self._images = images

    def run(self, *, check_mode: bool) -> list[str]:
        """What was removed or emptied, or would be."""
        self._refuse_containers()
        done = []
        for image in self._foreign_images():
            done.append(f"docker image {image}")
            if not check_mode:
                self._docker("image", "rm", image)
        gone = list(self._gone())
        if not check_mode and any(self._root / "var/log/journal" in path.parents for path in gone):
            # Until the next boot the journal is in memory: what happens up to the shutdown is not written there again.
            self._runner(["journalctl", "--relinquish-var"], timeout=30)
        for path in gone:
            done.append(f"/{path.relative_to(self._root)}")
            if not check_mode:
                _remove(path)
        for path in self._full():
            done.append(f"/{path.relative_to(self._root)}")
            if not check_mode:
                os.truncate(path, 0)
        return done

    def _refuse_containers(self) -> None:
        names = self._lines("ps", "--all", "--format", "{{.Names}}")
        if names:
            raise PhoenixError(
                f"a layer is sealed without Docker containers in it, and there is {', '.join(names)}",
                remedy=f"Remove what does not belong into the layer: docker rm --force {' '.join(names)}",
                code=Code.VERIFICATION,
            )

    def _foreign_images(self) -> list[str]:
        tagged = {_tagged(image) for image in self._images}
        # An image that was pulled by its digest has no tag.
        known = tagged | {f"{name.rpartition(':')[0]}:<none>" for name in tagged}
        found = self._lines("image", "ls", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
        foreign = []
        for line in found:
            name, _space, image = line.partition(" ")
            if name not in known:
                foreign.append(image if "<none>" in name else name)
        return sorted(set(foreign))

    def _lines(self, *arguments: str) -> list[str]:
        return sorted(self._docker(*arguments).stdout.split("\n")[:-1]) if self._has_docker() else []

    def _docker(self, *arguments: str) -> Completed:
        done = self._client.call(*arguments)
        if not done.ok:
            raise PhoenixError(
                f"docker {' '.join(arguments[:2])} failed: {done.stderr.strip()}",
                remedy="Look at docker's log in the container (journalctl -u docker), and run again.",
                code=Code.VERIFICATION,
            )
        return done

    def _has_docker(self) -> bool:
        return (self._root / _DOCKER).exists() and (self._root / _SOCKET).exists()

    def _gone(self) -> Iterator[Path]:
        for pattern in _GONE:
            yield from sorted(self._root.glob(pattern))
        for folder in _SCRATCH:
            yield from sorted(path for path in (self._root / folder).glob("*") if not _IN_USE.match(path.name))
        # A link leads to /etc/machine-id, and is right.
        dbus = self._root / "var/lib/dbus/machine-id"
        if dbus.is_file() and not dbus.is_symlink():
            yield dbus

    def _full(self) -> Iterator[Path]:
        gone = set(self._gone())
        for pattern in _EMPTIED:
            for path in sorted(self._root.glob(pattern)):
                if path.is_symlink() or not path.is_file() or gone.intersection((path, *path.parents)):
                    continue
                if path.stat().st_size:
                    yield path


def _tagged(image: str) -> str:
    """An image as docker lists it: without a digest, with a tag."""
    name = image.partition("@")[0].removeprefix("docker.io/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def summary(done: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in done)
