# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Real containers: a systemd unit for each (pve-container@<id>), liblxc's programs, and the node's bridge.

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .exceptions import PVEError
from .guest_files import NewFile
from .system import Result

if TYPE_CHECKING:
    from types import FrameType

    from .namespaces import Namespaces
    from .real_system import RealSystem

_SOCKET = re.compile(r"@/var/lib/lxc/(\d+)/command$", re.MULTILINE)
_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 60.0
_POLL = 0.02
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


class RealRuntime:
    def __init__(self, system: RealSystem) -> None:
        self._system = system

    # What runs

    def running(self, vmid: int) -> bool:
        return vmid in self.running_ids()

    def running_ids(self) -> list[int]:
        try:
            text = Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        return sorted({int(number) for number in _SOCKET.findall(text)})

    def init_pid(self, vmid: int) -> int | None:
        text = self._system.run(["lxc-info", "-n", str(vmid), "-p", "-H"]).stdout.strip()
        return int(text) if text.isdigit() and int(text) > 0 else None

    def root_path(self, vmid: int) -> Path:
        return Path(f"/proc/{self._pid(vmid)}/root")

    def _pid(self, vmid: int) -> int:
        pid = self.init_pid(vmid)
        if pid is None:
            raise PVEError(f"unable to get PID for CT {vmid} (not running?)")
        return pid

    # Start and stop

    def start(self, vmid: int, *, debug: bool = False) -> Result:
        unit = f"pve-container{'-debug' if debug else ''}@{vmid}.service"
        result = self._system.run(["systemctl", "start", unit])
        if result.returncode:
            return result
        for _ in self._until(_START_TIMEOUT):
            if "RUNNING" in self._system.run(["lxc-info", "-n", str(vmid), "-s", "-H"]).stdout:
                return Result(0, "", "")
            if self._system.run(["systemctl", "is-active", "--quiet", unit]).returncode:
                self._keep_reasons_only(vmid)
                return Result(1, "", "")
        return Result(1, "", "")

    def _keep_reasons_only(self, vmid: int) -> None:
        """Debian's lxc-start ends with advice about its options, PVE's does not."""
        log = self._system.path(f"run/pve/ct-{vmid}.stderr")
        if log.exists():
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            log.write_text("".join(line for line in lines if "lxc_start_main" not in line), encoding="utf-8")

    def stop(self, vmid: int) -> Result:
        result = self._system.run(["lxc-stop", "-n", str(vmid), "--kill"])
        self._wait_gone(vmid)
        return result

    def shutdown(self, vmid: int, timeout: float) -> bool:
        words = ["lxc-stop", "-n", str(vmid), "--nokill", "--timeout", str(max(1, int(timeout)))]
        if self._system.run(words).returncode:
            return False
        self._wait_gone(vmid)
        return True

    def _wait_gone(self, vmid: int) -> None:
        """Until the monitor has ended, too: its last hook unmounts the volumes."""
        for _ in self._until(_STOP_TIMEOUT):
            if self.running(vmid):
                continue
            state = self._system.run(["systemctl", "is-active", f"pve-container@{vmid}.service"]).stdout.strip()
            if state not in ("active", "deactivating"):
                return

    def _until(self, timeout: float) -> Sequence[None] | Any:
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            yield
            time.sleep(_POLL)

    def freeze(self, vmid: int) -> None:
        self._must(["lxc-freeze", "-n", str(vmid)])

    def thaw(self, vmid: int) -> None:
        self._must(["lxc-unfreeze", "-n", str(vmid)])

    # Commands and files inside

    def attach(self, vmid: int, command: Sequence[str], keep_env: bool) -> int:
        import subprocess  # noqa: PLC0415 - as in RealSystem.run

        words = ["lxc-attach", "-n", str(vmid), "--keep-env" if keep_env else "--clear-env"]
        if command:
            words += ["--", *command]
        sys.stdout.flush()
        sys.stderr.flush()
        child = subprocess.Popen(words, env=_callers_environment(), stdin=_standard_input())

        def forward(number: int, frame: FrameType | None) -> None:
            del frame
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, number)

        before = {number: signal.signal(number, forward) for number in _FORWARDED}
        try:
            code = child.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return 128 - code if code < 0 else code

    def write_file(self, vmid: int, source: int, file: NewFile, *, unprivileged: bool) -> None:
        self._namespaces(vmid).write_file(source, file, unprivileged=unprivileged)

    def read_file(self, vmid: int, path: str, target: int) -> None:
        self._namespaces(vmid).read_file(path, target)

    # Devices, mounts, limits

    def prepare_passthrough(self, vmid: int) -> None:
        folder = f"/var/lib/lxc/{vmid}/passthrough"
        if not self._system.is_mounted(folder):
            self._must(["mount", "-t", "tmpfs", "-o", "size=8k", "none", folder])

    def add_device(self, vmid: int, path: str, make: Callable[[], None]) -> None:
        from .namespaces import parent_pid  # noqa: PLC0415 - few commands reach into a container

        pid = self._pid(vmid)
        node = f"/var/lib/lxc/{vmid}/passthrough{path}"
        self._namespaces(vmid).add_device(parent_pid(pid), node, path, make)

    def allow_device(self, vmid: int, rule: str) -> None:
        self._must(["lxc-cgroup", "-n", str(vmid), "devices.allow", rule])

    def add_mount(self, vmid: int, source: str, target: str, owner: tuple[int, int], *, readonly: bool) -> None:
        self._namespaces(vmid).add_mount(source, target, owner, readonly=readonly)

    def set_limits(self, vmid: int, limits: Mapping[str, str]) -> None:
        for name, value in limits.items():
            file = Path(f"/sys/fs/cgroup/lxc/{vmid}/{name}")
            if file.exists():
                with contextlib.suppress(OSError):
                    file.write_text(value, encoding="ascii")

    def _namespaces(self, vmid: int) -> Namespaces:
        from .namespaces import Namespaces  # noqa: PLC0415 - as above

        return Namespaces(self._pid(vmid))

    # Networks

    def plug_network(self, vmid: int, index: int, network: Mapping[str, Any]) -> None:
        host = f"veth{vmid}i{index}"
        peer = f"{host}p"
        mtu = str(network["mtu"])
        self._ip("link", "add", host, "mtu", mtu, "type", "veth", "peer", "name", peer, "mtu", mtu)
        self._ip("link", "set", peer, "address", str(network["hwaddr"]))
        self._ip("link", "set", peer, "netns", str(self._pid(vmid)), "name", str(network["name"]))
        self.change_bridge(vmid, index, str(network["bridge"]))
        self._ip_inside(vmid, "link", "set", str(network["name"]), "up")

    def unplug_network(self, vmid: int, index: int) -> None:
        name = f"veth{vmid}i{index}"
        if self._system.bridge_exists(name):
            self._system.run(["ip", "link", "delete", name])

    def change_bridge(self, vmid: int, index: int, bridge: str) -> None:
        self._ip("link", "set", f"veth{vmid}i{index}", "master", bridge, "up")

    def configure_network(self, vmid: int, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        name = str(new["name"])
        for family, address, gateway in (("-4", "ip", "gw"), ("-6", "ip6", "gw6")):
            if "/" in str(old.get(address, "")) and old.get(address) != new.get(address):
                with contextlib.suppress(PVEError):
                    self._ip_inside(vmid, family, "address", "delete", str(old[address]), "dev", name)
            if "/" in str(new.get(address, "")):
                self._ip_inside(vmid, family, "address", "replace", str(new[address]), "dev", name)
            if new.get(gateway):
                self._ip_inside(vmid, family, "route", "replace", "default", "via", str(new[gateway]), "dev", name)

    def _ip(self, *words: str) -> None:
        self._must(["ip", *words])

    def _ip_inside(self, vmid: int, *words: str) -> None:
        self._must(["nsenter", f"--net=/proc/{self._pid(vmid)}/ns/net", "--", "ip", *words])

    def _must(self, argv: list[str]) -> None:
        from .real_system import must  # noqa: PLC0415 - it imports this module

        must(self._system, argv)


def _callers_environment() -> dict[str, str]:
    """Python in the C locale adds LC_CTYPE to its environment; the caller's must go in as it came."""
    given = Path("/proc/self/environ").read_bytes()
    environment = dict(os.environ)
    if b"LC_CTYPE=" not in given:
        environment.pop("LC_CTYPE", None)
    return environment


def _standard_input() -> int | None:
    """liblxc cannot do without, so a closed one is an empty one."""
    try:
        os.fstat(0)
    except OSError:
        return os.open(os.devnull, os.O_RDONLY)
    return None
