# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A node below a folder on which recorded shell lines run without root: pct is the stand-in on the simulated system, the
# other programs of a node that the recordings use answer from the same folder.

from __future__ import annotations

import io
import os
import sys
import tarfile
from pathlib import Path

from lab.pve.simulated import SimulatedSystem

SPEED = 20.0
TEMPLATE = "var/lib/vz/template/cache/debian-12-standard_12.7-1_amd64.tar.zst"
PROGRAMS = ("pct", "lxc-attach", "lxc-info", "mknod", "sleep", "stat", "systemctl", "timeout", "zfs")

_STORAGES = """\
dir: local
	path /var/lib/vz
	content vztmpl,iso,backup

zfspool: local-zfs
	pool rpool/data
	mountpoint /rpool/data
	content rootdir,images
	sparse 1

dir: local-dir
	path /var/lib/vz-dir
	content rootdir,images
"""
_LAUNCHER = """\
#!{python} -IS
import sys
sys.path.insert(0, {tests!r})
from lab.contract.node_programs import main
sys.exit(main({name!r}, sys.argv[1:]))
"""
_DEVICES = (("nvidia0", 195, 0), ("nvidiactl", 195, 255), ("nvidia-uvm", 511, 0), ("zfs", 10, 249))
_TEMPLATE_FOLDERS = ("dev", "etc/network", "proc", "root", "run", "srv", "sys", "tmp", "usr/bin", "usr/sbin")
_TEMPLATE_FILES = {
    "etc/debian_version": "12.7\n",
    "etc/hosts": "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\nff02::1\t\tip6-allnodes\n"
    "ff02::2\t\tip6-allrouters\n",
    "etc/network/interfaces": "# interfaces(5) file used by ifup(8) and ifdown(8)\n"
    "# Include files from /etc/network/interfaces.d:\nsource /etc/network/interfaces.d/*\n",
    "etc/os-release": 'NAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n',
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/shadow": "root:*:19000:0:99999:7:::\n",
    "usr/lib/systemd/systemd": "",
    "usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so": "",
}
_TEMPLATE_LINKS = {"bin": "usr/bin", "lib": "usr/lib", "sbin": "usr/sbin", "usr/sbin/init": "../lib/systemd/systemd"}
# As much of a program as says for which machine it is: ELF, 64 bit, x86-64.
_ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00" + bytes(44)


def build(root: Path, programs: Path) -> SimulatedSystem:
    """An empty node below root, and the programs that its shell finds first."""
    root.mkdir(parents=True)
    system = SimulatedSystem(root)
    system.prepare(_STORAGES)
    for folder in ("root/tests", "rpool/data", "srv", "tmp", "var/lib/vz-dir", "etc"):
        system.path(folder).mkdir(parents=True, exist_ok=True)
    system.path("run/lock").chmod(0o1777)
    system.path("etc/hostname").write_text("pve1\n", encoding="ascii")
    system.path("etc/resolv.conf").write_text("nameserver 10.0.2.3\n", encoding="ascii")
    system.path("dev/stdin").symlink_to("/proc/self/fd/0")
    for name, major, minor in _DEVICES:
        system.mknod(f"dev/{name}", "c", major, minor)
    _write_template(system.path(TEMPLATE))
    programs.mkdir()
    for name in PROGRAMS:
        _write_launcher(programs / name)
    (root / "root/rc.py").write_text(_RUNNING_CONFIG.format(tests=_tests_folder()), encoding="ascii")
    return system


_RUNNING_CONFIG = """\
import sys
sys.path.insert(0, {tests!r})
from lab.contract.node_programs import main
sys.exit(main("running-config", sys.argv[1:]))
"""


def environment(root: Path, programs: Path) -> dict[str, str]:
    return {
        "COPY_DELAY": "40",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin",
        "PHOENIX_LAB_ROOT": str(root),
        "TZ": "UTC",
    }


def _tests_folder() -> str:
    return str(Path(__file__).parents[2])


def _write_launcher(path: Path) -> None:
    path.write_text(_LAUNCHER.format(python=sys.executable, tests=_tests_folder(), name=path.name), encoding="utf-8")
    path.chmod(0o755)


def _write_template(path: Path) -> None:
    """Not compressed, whatever its name says: tar looks at the content."""
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w") as archive:
        for folder in _TEMPLATE_FOLDERS:
            _add(archive, folder, tarfile.DIRTYPE, 0o755)
        for name, text in _TEMPLATE_FILES.items():
            _add(archive, name, tarfile.REGTYPE, 0o644, text.encode())
        _add(archive, "usr/bin/sh", tarfile.REGTYPE, 0o755, _ELF)
        for name, target in _TEMPLATE_LINKS.items():
            _add(archive, name, tarfile.SYMTYPE, 0o777, target=target)


def _add(archive: tarfile.TarFile, name: str, kind: bytes, mode: int, data: bytes = b"", *, target: str = "") -> None:
    member = tarfile.TarInfo(f"./{name}")
    member.type, member.mode, member.size, member.linkname = kind, mode, len(data), target
    member.uid, member.gid = (os.getuid(), os.getgid())
    archive.addfile(member, io.BytesIO(data))
