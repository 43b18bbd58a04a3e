# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A simulated node with a small template, and pct on it.

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

from lab.pve.cli.pct import main
from lab.pve.simulated import SimulatedSystem

STORAGES = """\
dir: local
	path /var/lib/vz
	content vztmpl,iso,backup,snippets

dir: plain
	path /srv/plain
	content rootdir

btrfs: lab
	path /rpool/lab
	content rootdir,images

zfspool: local-zfs
	pool rpool/data
	mountpoint /rpool/data
	content rootdir,images

"""
TEMPLATE = "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst"
_FILES = {
    "etc/os-release": "ID=debian\nVERSION_ID=13\n",
    "etc/debian_version": "13.1\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/hostname": "template\n",
    "etc/machine-id": "0123\n",
    "etc/shadow": "root:old:1::::::\n",
    "root/.profile": "",
    "usr/lib/systemd/systemd": "",
    "usr/lib/systemd/libsystemd-shared-257.so": "",
    "usr/lib/systemd/system/container-getty@.service": "agetty pts/%I\n",
}


class Done(NamedTuple):
    rc: int
    out: str
    err: str


class Pct:
    def __init__(self, root: Path) -> None:
        self.slept = 0.0
        self.now = 1_795_164_487.0
        self.system = SimulatedSystem(root, now=lambda: self.now, sleep=self._sleep)
        self.system.prepare(STORAGES)
        self.system.path("srv/plain").mkdir(parents=True)
        self.system.path("rpool/lab").mkdir(parents=True)
        self.system.path("rpool/data").mkdir(parents=True)
        _write_template(self.system.path("var/lib/vz/template/cache/debian-13-standard_13.1-2_amd64.tar.zst"))

    def __call__(self, *words: str) -> Done:
        out, err = io.StringIO(), io.StringIO()
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = out, err
        try:
            code = main(words, self.system)
        finally:
            sys.stdout, sys.stderr = before
        return Done(code, out.getvalue(), err.getvalue())

    def ok(self, *words: str) -> str:
        done = self(*words)
        assert done.rc == 0, done
        return done.out

    def create(self, vmid: int, *words: str, storage: str = "local-zfs") -> None:
        self.ok("create", str(vmid), TEMPLATE, "--rootfs", f"{storage}:1", "--features", "nesting=1", *words)

    def conf(self, vmid: int) -> str:
        return self.system.path(f"etc/pve/lxc/{vmid}.conf").read_text(encoding="utf-8")

    def append(self, vmid: int, *lines: str) -> None:
        path = self.system.path(f"etc/pve/lxc/{vmid}.conf")
        path.write_text(self.conf(vmid) + "".join(f"{line}\n" for line in lines), encoding="utf-8")

    def file(self, vmid: int, name: str) -> Path:
        return self.system.path(f"rpool/data/subvol-{vmid}-disk-0/{name}")

    def _sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.now += seconds


def _write_template(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, text in _FILES.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(text)
            entry.mode = 0o755 if name.endswith("/systemd") else 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
        shell = tarfile.TarInfo("./bin/sh")
        header = b"\x7fELF\x02" + b"\0" * 13 + b"\x3e\0"
        shell.size = len(header)
        archive.addfile(shell, io.BytesIO(header))
        for name, target in (("sbin/init", "../usr/lib/systemd/systemd"),):
            link = tarfile.TarInfo(f"./{name}")
            link.type = tarfile.SYMTYPE
            link.linkname = target
            archive.addfile(link)


__all__ = ["STORAGES", "TEMPLATE", "Done", "Pct"]
