# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The cache: Debian root file systems, and from them one golden btrfs file that every `up` copies. Each name holds a
# hash of what it was made from, so a changed stub makes a new golden file and nothing else.

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import LabError
from . import mirror, packages
from .lab import SOURCE
from .world import python

SUITE = "trixie"
DEBIAN_TEMPLATE = "debian-13-standard_13.1-2_amd64.tar.zst"
UBUNTU_TEMPLATE = "ubuntu-24.04-standard_24.04-2_amd64.tar.zst"

# The root of a node, and of the lab's own services.
_NODE = (
    "apt-utils bridge-utils btrfs-progs busybox-static ca-certificates curl dbus dnsmasq-base docker-registry gpg"
    " ifupdown iproute2 iputils-ping kmod less libc6-dev lxc nginx-light openssh-server openssl procps python3 rsync"
    " sudo systemd-sysv tcc uidmap xz-utils zstd"
).split()
# What Proxmox's own standard templates hold, as far as anything here touches it.
_TEMPLATE = (
    "ca-certificates cron dbus gpgv ifupdown iproute2 iputils-ping kmod less locales lsb-release netbase openssh-server"
    " procps python3 systemd-sysv tzdata zstd"
).split()
# Repacked for the stand-in of Docker's own repository (vendors/docker.py).
_CARRIED = ("docker.io", "docker-cli")
_CARRIED_FOLDER = "var/cache/phoenix-lab/debs"
_LEAN = [
    f"path-exclude=/usr/share/{folder}/*" for folder in ("man", "doc", "info", "locale", "lintian", "bash-completion")
]
# How many golden files stay beside a new one: another checkout may be at work with them.
_KEPT = 4
# Two root file systems, as tar and unpacked, and the packages they are made of.
_SPACE = 3 * 10**9
# What of the checkout is in the golden file; the rest of the lab is seen through a bind mount.
_BAKED = ("gpu", "host/contents.py", "host/golden.py", "host/mounts.py", "host/templates.py", "registry", "vendors")


def golden(cache: Path, address: str, *, fresh: bool = False) -> Path:
    """The golden file for this checkout; made first if it is not in the cache, or shall be fresh from the mirror."""
    file = cache / f"golden-{_key(_BAKED)}.img"
    if file.is_file() and not fresh:
        file.touch()
        return file
    cache.mkdir(parents=True, exist_ok=True)
    with _only_one(cache) as lock:
        if fresh:
            # Made of Debian's packages; the packages themselves stay.
            for made in [*cache.glob("golden-*"), *cache.glob("root-*")]:
                made.unlink()
        if not file.is_file():
            _make(cache, file, address, lock)
    return file


def need_space(folder: Path, wanted: int) -> None:
    """A full disk breaks what is made in ways that nobody understands."""
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise LabError(
            f"{free / 1e9:.1f} GB are free in {folder}, and the lab needs {wanted / 1e9:.1f} GB there",
            "Make room and run it again",
        )


def _make(cache: Path, file: Path, address: str, lock: int) -> None:
    begin = time.monotonic()
    work = cache / "work"
    shutil.rmtree(work, ignore_errors=True)
    need_space(cache, _SPACE)
    work.mkdir()
    roots = {
        "node": cache / f"root-node-{_root_key(_NODE)}.tar",
        "template": cache / f"root-ct-{_root_key(_TEMPLATE)}.tar",
    }
    if all(tar.is_file() for tar in roots.values()):
        print("Making the lab's images …", flush=True)
    else:
        mirror.check(cache / "mirror", address, SUITE)
        print("Making the lab's images, once: about two minutes …", flush=True)
    with mirror.on_loopback(cache / "mirror", address) as local:
        _debootstrap(roots, work, local, lock)
    print(f"  root file systems: {time.monotonic() - begin:.0f} s", flush=True)
    part = work / "golden.img"
    command = python("host.golden", str(part), str(roots["node"]), str(roots["template"]), str(work / "mount"))
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", *command],
        env={**os.environ, "PYTHONPATH": str(SOURCE.parent)},
        pass_fds=[lock],
        check=False,
    )
    if done.returncode:
        raise LabError("the lab's images could not be made", "What failed stands above; mend it and run it again")
    for old in sorted(cache.glob("golden-*"), key=lambda made: made.stat().st_mtime, reverse=True)[_KEPT:]:
        old.unlink()
    part.rename(file)
    shutil.rmtree(work)
    print(f"  images: {time.monotonic() - begin:.0f} s", flush=True)


def _debootstrap(roots: dict[str, Path], work: Path, address: str, lock: int) -> None:
    wanted = {"node": _NODE, "template": _TEMPLATE}
    running = {}
    for name, tar in roots.items():
        if not tar.is_file():
            running[name] = _start_debootstrap(wanted[name], name, work, address, lock)
    for name, process in running.items():
        output, _ = process.communicate()
        if process.returncode:
            for other in running.values():
                other.kill()
                other.wait()
            lines = "\n".join(output.strip().splitlines()[-15:])
            raise LabError(
                f"mmdebstrap cannot make the {name}'s root file system:\n{lines}",
                "Look whether this machine's Debian mirror answers; PHOENIX_LAB_MIRROR=http://… names another one",
            )
        (work / f"{name}.tar").rename(roots[name])


def _start_debootstrap(include: Sequence[str], name: str, work: Path, address: str, lock: int) -> subprocess.Popen[str]:
    hooks = []
    if name == "node":
        download = (
            f'cd "$1/{_CARRIED_FOLDER}" && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get download {" ".join(_CARRIED)}'
        )
        hooks = [f'--customize-hook=mkdir -p "$1/{_CARRIED_FOLDER}"', f"--customize-hook={download}"]
    command = [
        "mmdebstrap",
        "--variant=minbase",
        "--mode=root",
        f"--include={','.join(include)}",
        f"--keyring={packages.KEYRING}",
        '--aptopt=Apt::Install-Recommends "false"',
        *(f"--dpkgopt={option}" for option in _LEAN),
        *hooks,
        SUITE,
        str(work / f"{name}.tar"),
        f"deb {address} {SUITE} main",
    ]
    temporary = work / f"tmp-{name}"
    temporary.mkdir()
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
        pass_fds=[lock],
    )


def _root_key(include: Sequence[str]) -> str:
    return _hash([SUITE, *include, *_LEAN, *_CARRIED])


def _key(parts: Sequence[str]) -> str:
    texts = [_root_key(_NODE), _root_key(_TEMPLATE)]
    for part in parts:
        path = SOURCE / part
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                texts += [str(file.relative_to(SOURCE)), hashlib.sha256(file.read_bytes()).hexdigest()]
    return _hash(texts)


def _hash(texts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


@contextlib.contextmanager
def _only_one(cache: Path) -> Iterator[int]:
    """Gives the lock for the programs that work in the cache: it holds until the last of them has ended, too."""
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another scripts/lab makes the images; waiting for it …", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()
