# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What the stand-in needs of the machine it runs on. The node has the real one (real_system.py); contract tests without
# a lab run on the simulated one (simulated.py).

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from .guest_files import NewFile


class Result(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


class LxcRuntime(Protocol):
    """liblxc and systemd, as PVE uses them: by container id, with the configuration in /var/lib/lxc/<id>/config."""

    def running(self, vmid: int) -> bool: ...

    def running_ids(self) -> list[int]: ...

    def init_pid(self, vmid: int) -> int | None: ...

    def start(self, vmid: int, *, debug: bool = False) -> Result:
        """Start the container's unit; returns when its init was executed or has failed. What liblxc says then lies in
        /run/pve/ct-<id>.stderr."""
        ...

    def stop(self, vmid: int) -> Result:
        """Kill."""
        ...

    def shutdown(self, vmid: int, timeout: float) -> bool:
        """Ask init to halt, and wait. Whether it stopped in time."""
        ...

    def attach(self, vmid: int, command: Sequence[str], keep_env: bool) -> int:
        """Run a command inside, with this process's own standard streams; its exit code (128+N for a signal)."""
        ...

    def write_file(self, vmid: int, source: int, file: NewFile, *, unprivileged: bool) -> None:
        """Copy from a descriptor into a file inside, made as the container's root."""
        ...

    def read_file(self, vmid: int, path: str, target: int) -> None: ...

    def freeze(self, vmid: int) -> None: ...

    def thaw(self, vmid: int) -> None: ...

    def root_path(self, vmid: int) -> Path:
        """The running container's files, seen from the node."""
        ...

    def plug_network(self, vmid: int, index: int, network: Mapping[str, Any]) -> None: ...

    def unplug_network(self, vmid: int, index: int) -> None:
        """Remove the node's side of netN, if it is there."""
        ...

    def change_bridge(self, vmid: int, index: int, bridge: str) -> None: ...

    def configure_network(self, vmid: int, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """Addresses and routes inside the running container."""
        ...

    def prepare_passthrough(self, vmid: int) -> None:
        """Make /var/lib/lxc/<id>/passthrough a place where device nodes work."""
        ...

    def add_device(self, vmid: int, path: str, make: Callable[[], None]) -> None:
        """Call `make`, which makes the node in the passthrough folder, and put it into the running container."""
        ...

    def allow_device(self, vmid: int, rule: str) -> None:
        """ "c 195:0 rw" for the running container."""
        ...

    def add_mount(self, vmid: int, source: str, target: str, owner: tuple[int, int], *, readonly: bool) -> None: ...

    def set_limits(self, vmid: int, limits: Mapping[str, str]) -> None:
        """Write into the running container's cgroup, by file name (memory.max …), where that file exists."""
        ...


class Volumes(Protocol):
    """btrfs subvolumes, by absolute paths of the node."""

    def create(self, path: str) -> None: ...

    def snapshot(self, source: str, target: str, *, readonly: bool) -> None: ...

    def delete(self, path: str) -> None: ...

    def exists(self, path: str) -> bool: ...


class System(Protocol):
    """The node: its files below a root, its programs, its time."""

    node: str

    @property
    def lxc(self) -> LxcRuntime: ...

    @property
    def volumes(self) -> Volumes: ...

    def path(self, name: str) -> Path:
        """Where /name of the node lies: the same on the node, below a temporary folder in a test."""
        ...

    def device(self, name: str) -> tuple[str, int, int] | None:
        """("c" or "b", major, minor) of a device node, ("", 0, 0) of anything else that exists, None if it does not."""
        ...

    def make_device(self, path: str, device: tuple[str, int, int], mode: int, owner: tuple[int, int]) -> None:
        """A device node at a path of the node."""
        ...

    def run(self, argv: Sequence[str], *, stdin: str | None = None, env: Mapping[str, str] | None = None) -> Result: ...

    def chown(self, path: Path, uid: int, gid: int) -> None:
        """Without following a link; what is simulated has one owner only."""
        ...

    def mount(self, source: str, target: str, *, readonly: bool = False) -> None:
        """Bind a folder of the node to another one; PVE's error text when it fails."""
        ...

    def unmount(self, target: str) -> None: ...

    def is_mounted(self, target: str) -> bool: ...

    def bridge_exists(self, name: str) -> bool: ...

    def time(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...

    def random_hwaddr(self) -> str:
        """BC:24:11:xx:xx:xx"""
        ...
