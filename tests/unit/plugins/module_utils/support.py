# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What the unit tests put in the place of a node, its clock, its commands and LXC's monitor.

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import resource
import shlex
import stat
import typing as t
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Clock, Completed

TEMPLATE = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"

STORAGE_CFG = """\
dir: local
\tpath /var/lib/vz
\tcontent iso,vztmpl,backup

zfspool: local-zfs
\tpool rpool/data
\tcontent images,rootdir
\tsparse 1

dir: local-dir
\tpath /var/lib/vz-dir
\tcontent images,rootdir
"""

# pct-transcripts 3, "final config": what `pct create` wrote plus a raw line set by hand.
CONF = """\
arch: amd64
cores: 2
dev0: path=/dev/nvidia0,mode=0666
features: nesting=1
hostname: base2
memory: 641
net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:48:AC:F9,ip=10.10.10.110/24,type=veth
ostype: debian
rootfs: local-zfs:subvol-100-disk-0,size=2G
swap: 0
unprivileged: 1
unused0: local-zfs:subvol-100-disk-1
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file
"""

_UNIX_HEADER = "Num       RefCount Protocol Flags    Type St Inode Path\n"


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file can be written to, as on a full disk: it is made, and the first byte fails without the file's name."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


class FakeClock(Clock):
    """Time that passes only while somebody sleeps. C(at) runs something once that time has come."""

    def __init__(self) -> None:
        self._state: dict[str, t.Any] = {"now": 0.0, "events": [], "slept": []}
        super().__init__(now=lambda: self._state["now"], sleep=self._sleep)

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def elapsed(self) -> float:
        return self._state["now"]

    @property
    def slept(self) -> list[float]:
        return self._state["slept"]

    def at(self, seconds: float, callback: Callable[[], object]) -> None:
        self._state["events"].append((seconds, callback))

    def advance(self, seconds: float) -> None:
        """Let time pass without a sleep, as a command that runs does."""
        self._state["now"] += seconds
        due = [event for event in self._state["events"] if event[0] <= self._state["now"]]
        for event in sorted(due, key=lambda event: event[0]):
            self._state["events"].remove(event)
            event[1]()

    def _sleep(self, seconds: float) -> None:
        self._state["slept"].append(seconds)
        self.advance(seconds)


@dataclasses.dataclass(frozen=True)
class Call:
    """A command that was started."""

    argv: tuple[str, ...]
    stdin: bytes | None
    timeout: float | None
    pass_fds: tuple[int, ...]


def ok(stdout: str = "", stderr: str = "") -> Completed:
    return Completed((), 0, stdout, stderr)


def failed(stderr: str, rc: int = 255, stdout: str = "") -> Completed:
    return Completed((), rc, stdout, stderr)


Answer: t.TypeAlias = "Completed | str | Exception | Callable[[Call], Completed | str]"


class FakeRunner:
    """Answers commands from a table of argv prefixes; the longest prefix wins, an unknown command fails the test.

    Several answers for one prefix are given one after the other, the last of them for ever.
    """

    def __init__(self, table: Mapping[str | Sequence[str], Answer] | None = None) -> None:
        self.calls: list[Call] = []
        self._answers: dict[tuple[str, ...], list[Answer]] = {}
        for prefix, answer in (table or {}).items():
            self.on(prefix, answer)

    def on(self, prefix: str | Sequence[str], *answers: Answer) -> None:
        words = shlex.split(prefix) if isinstance(prefix, str) else prefix
        self._answers[tuple(words)] = list(answers)

    @property
    def commands(self) -> list[str]:
        return [shlex.join(call.argv) for call in self.calls]

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: t.IO[bytes] | None = None,
        timeout: float | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Completed:
        assert not isinstance(argv, str), f"a command line instead of an argv: {argv}"
        assert all(isinstance(word, str) for word in argv), f"not all words are strings: {argv}"
        call = Call(tuple(argv), None if stdin is None else stdin.read(), timeout, tuple(pass_fds))
        self.calls.append(call)
        answer = self._answer(call)
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(call)
        if isinstance(answer, str):
            answer = ok(answer)
        return dataclasses.replace(answer, argv=call.argv)

    def _answer(self, call: Call) -> Answer:
        fitting = [prefix for prefix in self._answers if call.argv[: len(prefix)] == prefix]
        if not fitting:
            return self.unknown(call)
        answers = self._answers[max(fitting, key=len)]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def unknown(self, call: Call) -> Answer:
        raise AssertionError(f"unexpected command: {shlex.join(call.argv)}")


class FakeMonitor:
    """LXC's monitors: the init pids and the configuration the containers were started with."""

    def __init__(self) -> None:
        self.pids: dict[int, int] = {}
        self.items: dict[tuple[int, str], tuple[str, ...]] = {}

    def init_pid(self, ctid: int) -> int | None:
        return self.pids.get(ctid)

    def config_item(self, ctid: int, key: str) -> tuple[str, ...] | None:
        return self.items.get((ctid, key), ()) if ctid in self.pids else None


class FakeNode:
    """A node's file system below a temporary directory, and what stands behind it.

    Device nodes are marker files that C(lstat) turns into devices: making real ones takes root.
    """

    def __init__(self, root: Path, name: str = "pve1") -> None:
        self.root = root
        self.name = name
        self.clock = FakeClock()
        self.monitor = FakeMonitor()
        self._next_pid = 900
        (root / f"etc/pve/nodes/{name}/lxc").mkdir(parents=True)
        (root / f"etc/pve/nodes/{name}/qemu-server").mkdir()
        (root / "etc/pve/lxc").symlink_to(f"nodes/{name}/lxc")
        self.write("etc/pve/storage.cfg", STORAGE_CFG)
        self.write("proc/sys/kernel/hostname", f"{name}\n")
        self.write("proc/sys/kernel/osrelease", "6.17.2-1-pve\n")
        self.write("proc/net/unix", _UNIX_HEADER)
        self.write("var/lib/dpkg/status", "")
        self.write("var/log/pve/tasks/active", "")
        self.write("proc/locks", "")
        self.write(f"var/lib/vz/template/cache/{TEMPLATE.partition('/')[2]}", "a tarball")
        (root / "sys/class/net/vmbr0").mkdir(parents=True)
        (root / "dev").mkdir()
        (root / "run/lock/lxc").mkdir(parents=True)
        self.majors({195: "nvidia"})

    @property
    def node(self) -> Node:
        return Node(self.root, self.monitor, self.lstat, self.clock)

    def write(self, relative: str, text: str | bytes) -> Path:
        path = self.root / relative.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)
        return path

    def text(self, relative: str) -> str:
        return (self.root / relative.lstrip("/")).read_text(encoding="utf-8", errors="surrogateescape")

    def snapshot_of_files(self) -> dict[str, bytes]:
        """Everything below the root but the lock files: equal before and after means that nothing was written."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            if path.is_file() and not path.is_symlink() and "run/lock" not in str(path):
                found[str(path.relative_to(self.root))] = _content(path)
        return found

    # Containers as PVE holds them

    def conf(self, ctid: int, text: str | bytes = CONF) -> Path:
        path = self.write(f"etc/pve/nodes/{self.name}/lxc/{ctid}.conf", text)
        path.chmod(0o640)
        return path

    def conf_text(self, ctid: int) -> str:
        return self.text(f"etc/pve/lxc/{ctid}.conf")

    def lock(self, ctid: int, lock: str) -> None:
        """Write a C(lock:) into the file of a container, or take it out (empty)."""
        text = re.sub(r"^lock: .*\n", "", self.conf_text(ctid), count=1, flags=re.MULTILINE)
        self.conf(ctid, f"lock: {lock}\n{text}" if lock else text)

    def guest_elsewhere(self, ctid: int, kind: str = "qemu-server", node: str = "pve2") -> None:
        self.write(f"etc/pve/nodes/{node}/{kind}/{ctid}.conf", "memory: 512\n")

    def read_only(self) -> None:
        """A node without quorum; the bits are all there is to see, root may still write."""
        (self.root / f"etc/pve/nodes/{self.name}/lxc").chmod(0o555)

    @property
    def is_read_only(self) -> bool:
        return not (self.root / "etc/pve/lxc").stat().st_mode & stat.S_IWUSR

    # Running containers

    def run_container(self, ctid: int, *, pid: int = 0, rules: Sequence[str] = ()) -> int:
        """Make a container run: command socket, monitor, /proc/<pid>. Gives the pid of its init."""
        self._next_pid += 100
        pid = pid or self._next_pid
        listing = self.text("proc/net/unix")
        socket = f"0000000000000000: 00000002 00000000 00010000 0001 01 {pid}0 @/var/lib/lxc/{ctid}/command\n"
        self.write("proc/net/unix", listing + socket)
        self.monitor.pids[ctid] = pid
        self.monitor.items[ctid, "lxc.cgroup2.devices.allow"] = tuple(rules)
        self.write(f"proc/{pid}/mountinfo", "225 305 0:48 / / rw,noatime - zfs rpool/data/subvol rw,xattr,posixacl\n")
        self.write(f"proc/{pid}/net/fib_trie", "")
        self.write(f"proc/{pid}/net/if_inet6", "")
        (self.root / f"proc/{pid}/root/dev").mkdir(parents=True, exist_ok=True)
        return pid

    def stop_container(self, ctid: int) -> None:
        pid = self.monitor.pids.pop(ctid)
        lines = self.text("proc/net/unix").splitlines(keepends=True)
        self.write("proc/net/unix", "".join(line for line in lines if f"/{ctid}/command" not in line))
        self.write(f"proc/{pid}/mountinfo", "")

    def mount(self, ctid: int, target: str, source: str = "/nvidia") -> None:
        """Add a line to the mountinfo of a running container, as a bind of a device node looks."""
        relative = f"proc/{self.monitor.pids[ctid]}/mountinfo"
        line = f"346 338 0:6 {source} {target} rw,nosuid,relatime shared:225 master:2 - devtmpfs udev rw,mode=755\n"
        self.write(relative, self.text(relative) + line)

    def address(self, ctid: int, *addresses: str) -> None:
        """Give a running container addresses, as the kernel lists them."""
        leaves = "".join(f"           |-- {address}\n              /32 host LOCAL\n" for address in addresses)
        trie = f"Main:\n  +-- 0.0.0.0/0 3 0 5\n{leaves}           |-- 127.0.0.1\n              /32 host LOCAL\n"
        self.write(f"proc/{self.monitor.pids[ctid]}/net/fib_trie", f"{trie}Local:\n{trie.partition('Main:')[2]}")

    def inside(self, ctid: int, relative: str, text: str | bytes) -> Path:
        return self.write(f"proc/{self.monitor.pids[ctid]}/root/{relative.lstrip('/')}", text)

    # Devices: of the node, or of a running container when ctid is given

    def device(
        self, path: str, major: int, minor: int, *, mode: int = 0o666, kind: str = "c", ctid: int | None = None
    ) -> None:
        marker = f"fake-device {kind} {major} {minor} {mode:o}\n"
        if ctid is None:
            self.write(path, marker)
        else:
            self.inside(ctid, path, marker)

    def impostor(self, path: str, *, ctid: int | None = None) -> None:
        """The empty regular file that C(optional,create=file) leaves when the source is missing."""
        made = self.write(path, "") if ctid is None else self.inside(ctid, path, "")
        made.chmod(0o000)

    def remove_device(self, path: str, *, ctid: int | None = None) -> None:
        prefix = "" if ctid is None else f"proc/{self.monitor.pids[ctid]}/root"
        (self.root / prefix / path.lstrip("/")).unlink()

    def nvidia(self, count: int = 1, *, uvm_major: int = 511) -> None:
        """The device nodes and majors of a node with so many GPUs."""
        for index in range(count):
            self.device(f"/dev/nvidia{index}", 195, index)
        self.device("/dev/nvidiactl", 195, 255)
        self.device("/dev/nvidia-modeset", 195, 254)
        self.device("/dev/nvidia-uvm", uvm_major, 0)
        self.device("/dev/nvidia-uvm-tools", uvm_major, 1)
        self.majors({195: "nvidia", uvm_major: "nvidia-uvm"})

    def gpu(self, index: int, model: str = "NVIDIA RTX PRO 6000 Blackwell", version: str = "580.105.08") -> None:
        bus = f"0000:0{index + 1}:00.0"
        information = (
            f"Model: \t\t {model}\nIRQ:   \t\t 120\nGPU UUID: \t GPU-0000-{index}\nVideo BIOS: \t ??.??.??\n"
            f"Bus Type: \t PCIe\nBus Location: \t {bus}\nDevice Minor: \t {index}\nGPU Excluded:\t No\n"
        )
        self.write(f"proc/driver/nvidia/gpus/{bus}/information", information)
        self.loaded_driver(version)

    def loaded_driver(self, version: str) -> None:
        line = f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build  (dvs-builder@x)\n"
        self.write("proc/driver/nvidia/version", line if version else "")

    def majors(self, drivers: Mapping[int, str]) -> None:
        lines = "".join(f"{major:3d} {name}\n" for major, name in sorted({1: "mem", 10: "misc", **drivers}.items()))
        self.write("proc/devices", f"Character devices:\n{lines}\nBlock devices:\n  7 loop\n511 fakeblock\n")

    def lstat(self, path: Path) -> os.stat_result:
        status = os.lstat(path)
        marker = _content(path) if stat.S_ISREG(status.st_mode) else b""
        if not marker.startswith(b"fake-device "):
            return status
        _word, kind, major, minor, mode = marker.decode().split()
        file_type = {"c": stat.S_IFCHR, "b": stat.S_IFBLK}[kind]
        device = os.makedev(int(major), int(minor))
        return os.stat_result((file_type | int(mode, 8), *status[1:]), {"st_rdev": device})

    # What else happens on a node

    def package(self, name: str, version: str, status: str = "install ok installed") -> None:
        stanza = (
            f"Package: {name}\nStatus: {status}\nPriority: optional\nSection: admin\nMaintainer: Proxmox\n"
            f"Architecture: amd64\nVersion: {version}\nDescription: something\n of several lines\n\n"
        )
        self.write("var/lib/dpkg/status", self.text("var/lib/dpkg/status") + stanza)

    def active_task(
        self, ctid: int, kind: str = "vzclone", *, pid: int = 0x1CD5, alive: bool = True, log: str = ""
    ) -> str:
        """A task that has begun and not ended; gives its UPID. If it is not alive, its pid is another process now."""
        started = 0x0002C85C
        upid = f"UPID:{self.name}:{pid:08X}:{started:08X}:6B000BBC:{kind}:{ctid}:root@pam:"
        self.write("var/log/pve/tasks/active", self.text("var/log/pve/tasks/active") + f"{upid} 0\n")
        fields = ["0"] * 18
        self.write(f"proc/{pid}/stat", f"{pid} (task (x) UPID) S {' '.join(fields)} {started if alive else 77} 0 0\n")
        self.write(f"var/log/pve/tasks/C/{upid}", log)
        return upid

    def flock_file(self, ctid: int) -> Path:
        return self.root / f"run/lock/lxc/pve-config-{ctid}.lock"

    def flock_held(self, ctid: int, pid: int = 4711, command: Sequence[str] = ("pct", "set", "100")) -> None:
        """List the lock of a container's file as held, the way the kernel does."""
        self.flock_file(ctid).touch()
        status = self.flock_file(ctid).stat()
        inode = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        self.write(
            "proc/locks",
            f"1: POSIX  ADVISORY  WRITE 1 00:19:77 0 EOF\n2: FLOCK  ADVISORY  WRITE {pid} {inode} 0 EOF\n",
        )
        self.write(f"proc/{pid}/cmdline", "\0".join(command) + "\0")


def _content(path: Path) -> bytes:
    # An impostor has no mode bits and nothing in it: only root could read that.
    return path.read_bytes() if path.stat().st_size else b""
