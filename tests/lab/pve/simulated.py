# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A node without root and without LXC, for the contract tests: everything lies below one folder, so that processes that
# know nothing of each other (API workers, tasks, a second pct) see the same node.

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .exceptions import PVEError
from .guest_files import NewFile, copy
from .simulated_volumes import SimulatedVolumes, mount, unmount
from .system import Result

STATE = "var/lib/simulated"
DEVICE = "fake-device"


class SimulatedSystem:
    """Below `root`: etc/pve, var/lib/lxc, the storages' folders. Devices are files that say `fake-device c 195 0 0666`,
    bridges are folders below sys/class/net. Nothing but the folder is shared between two objects of one root."""

    def __init__(
        self,
        root: Path,
        node: str = "pve1",
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        hwaddr: Callable[[], str] | None = None,
    ) -> None:
        self.root = root
        self.node = node
        self.lxc = SimulatedRuntime(self)
        self.volumes = SimulatedVolumes(self.path)
        self._now = now
        self._sleep = sleep
        self._hwaddr = hwaddr or _random_hwaddr

    def prepare(self, storage_cfg: str, bridges: Sequence[str] = ("vmbr0",)) -> None:
        """An empty node with these storages and bridges, and the usual devices."""
        for folder in (
            f"etc/pve/nodes/{self.node}/lxc",
            "etc/pve/priv",
            "run/lock/lxc",
            "run/pve",
            "var/lib/lxc",
            "var/log/pve/tasks",
            "var/log/phoenix-lab",
            "dev/shm",
            "proc/net",
            STATE,
        ):
            self.path(folder).mkdir(parents=True, exist_ok=True)
        for link, target in (("lxc", f"nodes/{self.node}/lxc"), ("local", f"nodes/{self.node}")):
            path = self.path(f"etc/pve/{link}")
            if not path.is_symlink():
                path.symlink_to(target)
        self.path("etc/pve/storage.cfg").write_text(storage_cfg, encoding="utf-8")
        self.path("etc/resolv.conf").write_text("nameserver 10.99.0.1\n", encoding="utf-8")
        for bridge in bridges:
            self.path(f"sys/class/net/{bridge}/bridge").mkdir(parents=True, exist_ok=True)
        for name, text in (("cgroup.controllers", "cpuset cpu io memory pids"), ("cpuset.cpus.effective", "0-1")):
            self.path("sys/fs/cgroup").mkdir(parents=True, exist_ok=True)
            self.path(f"sys/fs/cgroup/{name}").write_text(f"{text}\n", encoding="ascii")
        for name, minor in (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)):
            self.mknod(f"dev/{name}", "c", 1, minor)
        self.mknod("dev/fuse", "c", 10, 229)
        self.lxc.publish()

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def mknod(self, name: str, kind: str, major: int, minor: int, mode: int = 0o666) -> None:
        self.path(name).write_text(f"{DEVICE} {kind} {major} {minor} {mode:04o}\n", encoding="ascii")

    def device(self, name: str) -> tuple[str, int, int] | None:
        path = self.path(name)
        if not path.exists():
            return None
        return read_device(path) or ("", 0, 0)

    def make_device(self, path: str, device: tuple[str, int, int], mode: int, owner: tuple[int, int]) -> None:
        """A user cannot give a file away: whom it belongs to, as the container sees it, is written into it."""
        kind, major, minor = device
        inside = " ".join(str(number - 100000 if number >= 100000 else number) for number in owner)
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"{DEVICE} {kind} {major} {minor} {mode:04o} {inside}\n", encoding="ascii")

    def run(self, argv: Sequence[str], *, stdin: str | None = None, env: Mapping[str, str] | None = None) -> Result:
        words = list(argv)
        if words[0] in {"lxc-attach", "lxc-checkpoint"}:
            from .simulated_guest import program  # noqa: PLC0415 - as in SimulatedRuntime.start

            return program(self, words)
        if words[0] == "lxc-usernsexec":
            words = words[words.index("--") + 1 :]
        try:
            done = subprocess.run(words, input=stdin, env=env, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise PVEError(f"command '{' '.join(words)}' failed: failed to execute") from error
        return Result(done.returncode, done.stdout, done.stderr)

    def chown(self, path: Path, uid: int, gid: int) -> None:
        del path, uid, gid

    def mount(self, source: str, target: str, *, readonly: bool = False) -> None:
        del readonly
        mount(self.path, source, target)

    def unmount(self, target: str) -> None:
        unmount(self.path, target)

    def is_mounted(self, target: str) -> bool:
        return self.path(target).is_symlink()

    def bridge_exists(self, name: str) -> bool:
        return self.path(f"sys/class/net/{name}").exists()

    def time(self) -> float:
        return self._now()

    def sleep(self, seconds: float) -> None:
        self._sleep(seconds)

    def random_hwaddr(self) -> str:
        return self._hwaddr()


class SimulatedRuntime:
    """A running container is the file var/lib/simulated/<id>.json: the process id of its init, the configuration it was
    started with, whether it is frozen, and whether its init obeys (`stubborn`)."""

    def __init__(self, system: SimulatedSystem) -> None:
        self._system = system

    def running(self, vmid: int) -> bool:
        return self._file(vmid).exists()

    def running_ids(self) -> list[int]:
        names = self._system.path(STATE).glob("[0-9]*.json")
        return sorted(int(name.stem) for name in names)

    def init_pid(self, vmid: int) -> int | None:
        record = self.record(vmid)
        return int(record["pid"]) if record is not None else None

    def started_with(self, vmid: int) -> str | None:
        """The configuration as the running monitor knows it."""
        record = self.record(vmid)
        return str(record["config"]) if record else None

    def record(self, vmid: int) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(self._file(vmid).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return found

    def start(self, vmid: int, *, debug: bool = False) -> Result:
        del debug
        from .simulated_guest import boot  # noqa: PLC0415 - it needs PVE's hooks, which need this module

        with contextlib.redirect_stderr(io.StringIO()):
            problems = boot(self._system, vmid)
        log = self._system.path(f"run/pve/ct-{vmid}.stderr")
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("".join(f"lxc-start: {vmid}: {line}\n" for line in problems), encoding="utf-8")
        if problems:
            return Result(1, "", log.read_text(encoding="utf-8"))
        config = self._system.path(f"var/lib/lxc/{vmid}/config").read_text(encoding="utf-8")
        limits = dict(re.findall(r"^lxc\.cgroup2\.(memory\.\S+) = (\d+)$", config, re.MULTILINE))
        self.set_limits(vmid, {**limits, "cpuset.cpus": ""})
        self._write(vmid, {"pid": self._next_pid(), "config": config, "frozen": False, "since": self._system.time()})
        return Result(0, "", "")

    def stop(self, vmid: int) -> Result:
        self._end(vmid, "stop")
        return Result(0, "", "")

    def shutdown(self, vmid: int, timeout: float) -> bool:
        record = self.record(vmid)
        if record is None:
            return True
        if record.get("stubborn"):
            self._system.sleep(timeout)
            return False
        self._end(vmid, "stop")
        return True

    def reboot(self, vmid: int, timeout: float) -> bool:
        """Ask init to restart: the hooks do what they do when it restarts by itself."""
        record = self.record(vmid)
        if record is None or record.get("stubborn"):
            return False
        del timeout
        self._end(vmid, "reboot")
        return True

    def attach(self, vmid: int, command: Sequence[str], keep_env: bool) -> int:
        from .simulated_guest import attach  # noqa: PLC0415 - as in start

        return attach(self._system, vmid, command, keep_env)

    def root_path(self, vmid: int) -> Path:
        return self._system.path(f"var/lib/lxc/{vmid}/rootfs").resolve()

    def plug_network(self, vmid: int, index: int, network: Mapping[str, Any]) -> None:
        del vmid, index, network

    def unplug_network(self, vmid: int, index: int) -> None:
        del vmid, index

    def change_bridge(self, vmid: int, index: int, bridge: str) -> None:
        del vmid, index, bridge

    def configure_network(self, vmid: int, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        del vmid, old, new

    def prepare_passthrough(self, vmid: int) -> None:
        shutil.rmtree(self._system.path(f"var/lib/lxc/{vmid}/passthrough"))
        self._system.path(f"var/lib/lxc/{vmid}/passthrough").mkdir()

    def add_device(self, vmid: int, path: str, make: Callable[[], None]) -> None:
        from .simulated_guest import add_device  # noqa: PLC0415 - as in start

        make()
        add_device(self._system, vmid, path)

    def allow_device(self, vmid: int, rule: str) -> None:
        del vmid, rule

    def add_mount(self, vmid: int, source: str, target: str, owner: tuple[int, int], *, readonly: bool) -> None:
        del owner
        self._system.mount(source, f"/var/lib/lxc/{vmid}/rootfs{target}", readonly=readonly)

    def write_file(self, vmid: int, source: int, file: NewFile, *, unprivileged: bool) -> None:
        del unprivileged
        from .simulated_guest import write_file  # noqa: PLC0415 - as in start

        write_file(self._system, vmid, source, file)

    def read_file(self, vmid: int, path: str, target: int) -> None:
        try:
            source = os.open(self.root_path(vmid) / path.lstrip("/"), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise PVEError(f"failed to open {path}: {error.strerror}") from error
        copy(source, target)
        os.close(source)

    def freeze(self, vmid: int) -> None:
        self._change(vmid, frozen=True)

    def thaw(self, vmid: int) -> None:
        self._change(vmid, frozen=False)

    def set_limits(self, vmid: int, limits: Mapping[str, str]) -> None:
        """Files below sys/fs/cgroup/lxc/<id>."""
        folder = self._system.path(f"sys/fs/cgroup/lxc/{vmid}")
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in limits.items():
            (folder / name).write_text(f"{value}\n", encoding="ascii")

    def make_stubborn(self, vmid: int) -> None:
        """Its init ignores the request to shut down."""
        self._change(vmid, stubborn=True)

    def publish(self) -> None:
        """proc/net/unix, where PVE looks whether a container runs."""
        lines = ["Num       RefCount Protocol Flags    Type St Inode Path"]
        lines += [
            f"0000000000000000: 00000002 00000000 00010000 0001 01 {4000 + vmid} @/var/lib/lxc/{vmid}/command"
            for vmid in self.running_ids()
        ]
        path = self._system.path("proc/net/unix")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _end(self, vmid: int, target: str) -> None:
        from .lxc import hooks  # noqa: PLC0415 - as in start

        self._file(vmid).unlink(missing_ok=True)
        for folder in (f"{STATE}/{vmid}.dev", f"sys/fs/cgroup/lxc/{vmid}"):
            shutil.rmtree(self._system.path(folder), ignore_errors=True)
        self.publish()
        # The hook's stderr is the unit's, not that of whoever stops the container.
        with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(PVEError):
            hooks.post_stop(self._system, vmid, target)
        if hooks.wants_restart(self._system, vmid):
            self.start(vmid)

    def _change(self, vmid: int, **changes: object) -> None:
        record = self.record(vmid)
        if record is not None:
            self._write(vmid, {**record, **changes})

    def _write(self, vmid: int, record: Mapping[str, Any]) -> None:
        path = self._file(vmid)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(record), encoding="utf-8")
        temporary.replace(path)
        self.publish()

    def _file(self, vmid: int) -> Path:
        return self._system.path(f"{STATE}/{vmid}.json")

    def _next_pid(self) -> int:
        path = self._system.path(f"{STATE}/pid")
        last = int(path.read_text(encoding="ascii")) if path.exists() else 5000
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(last + 7), encoding="ascii")
        return last + 7


def read_device(path: Path) -> tuple[str, int, int] | None:
    """What a file that stands for a device node says."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        words = file.read(64).decode("utf-8", "replace").split()
    if words[:1] != [DEVICE]:
        return None
    return words[1], int(words[2]), int(words[3])


def _random_hwaddr() -> str:
    return "BC:24:11:" + ":".join(f"{random.randrange(256):02X}" for _ in range(3))
