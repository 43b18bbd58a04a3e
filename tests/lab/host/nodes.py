# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The nodes of a running lab: LXC containers of the outside.

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ..errors import LabError
from ..gpu import Options as GpuOptions
from .lab import SOURCE_INSIDE, Lab, Node
from .world import World, wait_for

LXC = "/pool/lxc"
AUTHORITY = "/srv/authority"
# Nobody waits for it unless the machine has too much to do.
_BOOT = 120.0
# Longer than what systemd gives to services that do not end.
_STOP = 120.0
# Of a systemd that has begun to start units and does not stop them; one that hangs in this is looked at afterwards.
_STATES = ("starting", "running", "degraded", "maintenance")


class Nodes:
    def __init__(self, lab: Lab, world: World) -> None:
        self._lab = lab
        self._world = world

    def create(self, node: Node, everyone: Sequence[Node], gpus: GpuOptions, start_delay: float) -> None:
        """Make the node's files, or leave them as they are if they were made completely before."""
        place = f"/pool/nodes/{node.name}"
        if self._world.run(["test", "-e", f"{place}/complete"], check=False).returncode == 0:
            return
        self.remove(node)
        script = [
            f"mkdir -p {place} {LXC}/{node.name}",
            f"btrfs --quiet subvolume snapshot /pool/node {place}/root",
            f"btrfs --quiet subvolume create {place}/rpool",
            f"mkdir -p {place}/root/var/lib/vz/template/cache {place}/root/rpool",
            f"cp --reflink=always /pool/templates/* {place}/root/var/lib/vz/template/cache/",
            f"mkdir -p {place}/rpool/lab/images {place}/rpool/data",
        ]
        self._world.run(["sh", "-ec", "\n".join(script)])
        identity = {
            "name": node.name,
            "address": node.address,
            "prefix": self._lab.subnet.prefixlen,
            "gateway": self._lab.gateway,
            "hwaddr": node.hwaddr,
            "nodes": {other.name: other.address for other in everyone},
            "authorized_key": self._lab.ssh_key.with_suffix(".pub").read_text().strip(),
            "host_key": self._host_key(node),
            "start_delay": start_delay,
        }
        done = self._world.run(
            ["python3", "-B", "-m", "lab.node.setup", f"{place}/root", AUTHORITY, f"{place}/kernel"],
            stdin=json.dumps({"identity": identity, "gpus": dataclasses.asdict(gpus)}),
        )
        mounts = done.stdout.splitlines()
        self._world.run(["tee", f"{LXC}/{node.name}/config"], stdin=configuration(node, mounts))
        self._world.run(["touch", f"{place}/complete"])

    def remove(self, node: Node) -> None:
        place = f"/pool/nodes/{node.name}"
        script = [
            f"for part in {place}/root {place}/rpool; do",
            '  [ ! -d "$part" ] || btrfs --quiet subvolume delete --recursive "$part"',
            "done",
            f"rm -rf {place} {LXC}/{node.name}",
        ]
        self._world.run(["sh", "-ec", "\n".join(script)])

    def start(self, node: Node) -> bool:
        """Whether it had to be started."""
        wait_for(
            f"the node {node.name} neither runs nor ends",
            lambda: self._settled(node),
            _STOP,
            "Look what it waits for, or make the lab anew: scripts/lab reset",
        )
        if self.running(node):
            return False
        log = f"/var/log/phoenix-lab/{node.name}.log"
        done = self._world.run(["lxc-start", "-P", LXC, "-n", node.name, "-o", log, "-l", "INFO"], check=False)
        if done.returncode:
            tail = self._world.run(["tail", "-n", "15", log], check=False).stdout
            raise LabError(f"the node {node.name} does not start: {done.stderr.strip()}\n{tail}")
        return True

    def wait(self, node: Node) -> str:
        """Until it has booted; what failed on it, if anything."""
        wait_for(
            f"the node {node.name} did not boot",
            lambda: self._world.has(f"lxc.payload.{node.name}", "run/dbus/system_bus_socket"),
            _BOOT,
            f"Look at it: scripts/lab shell {node.name}",
        )
        state = self._state(node, "--wait")
        if state == "running":
            return ""
        failed = self._world.run(
            [*self.attach(node), "systemctl", "list-units", "--failed", "--plain", "--no-legend"], check=False
        ).stdout
        return f"the node {node.name} is {state or 'not there'}: {failed.strip()}"

    def _settled(self, node: Node) -> bool:
        """Whether it runs or does not. One that ends may start again."""
        if self.running(node):
            # In this order: when logind has ended and answers nothing, systemd says that the node is stopping, until it
            # answers nothing either. Whatever is said then is no state in which it stays.
            return not self._about_to_end(node) and self._state(node) in _STATES
        return not self._world.populated(f"lxc.monitor.{node.name}")

    def _about_to_end(self, node: Node) -> bool:
        """Whether it was told to end, and logind still lets those who asked for it finish first."""
        manager = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
        asked = [*self.attach(node), "busctl", "get-property", *manager, "PreparingForShutdown"]
        return self._world.run(asked, check=False, timeout=_BOOT).stdout.strip() == "b true"

    def _state(self, node: Node, *options: str) -> str:
        done = self._world.run(
            [*self.attach(node), "systemctl", "is-system-running", *options], check=False, timeout=_BOOT * 2
        )
        return done.stdout.strip()

    def running(self, node: Node) -> bool:
        return self._world.populated(f"lxc.payload.{node.name}")

    def attach(self, node: Node) -> list[str]:
        return [
            *("lxc-attach", "-P", LXC, "-n", node.name, "--clear-env"),
            *("-v", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            *("-v", "HOME=/root", "-v", "LANG=C.UTF-8", "--"),
        ]

    def exec(self, node: Node, command: Sequence[str]) -> NoReturn:
        if not self.running(node):
            raise LabError(f"the node {node.name} does not run", "Start it: scripts/lab up")
        self._world.exec([*self.attach(node), *command])

    def _host_key(self, node: Node) -> tuple[str, str]:
        key = self._lab.folder / "ssh" / f"host_{node.name}"
        make_key(key, f"root@{node.name}")
        public = key.with_suffix(".pub").read_text()
        line = f"{node.address} {' '.join(public.split()[:2])}\n"
        known = self._lab.known_hosts
        if not known.is_file() or line not in known.read_text():
            with known.open("a") as file:
                file.write(line)
        return key.read_text(), public


def make_key(file: Path, comment: str) -> None:
    if not file.is_file():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", file], check=True)


def configuration(node: Node, mounts: Sequence[str]) -> str:
    """The node as an LXC container; facts/lab.md says why each line is needed."""
    place = f"/pool/nodes/{node.name}"
    lines = [
        f"lxc.uts.name = {node.name}",
        f"lxc.rootfs.path = dir:{place}/root",
        "lxc.apparmor.profile = unconfined",
        "lxc.cap.drop =",
        "lxc.pty.max = 1024",
        "lxc.mount.auto = proc:rw sys:rw cgroup:rw:force",
        # Nested unprivileged containers may mount proc and sysfs only where a whole one is in sight.
        "lxc.mount.entry = proc dev/.lxc/proc proc create=dir,optional 0 0",
        "lxc.mount.entry = sys dev/.lxc/sys sysfs create=dir,optional 0 0",
        f"lxc.mount.entry = {place}/rpool rpool none bind,create=dir 0 0",
        f"lxc.mount.entry = {SOURCE_INSIDE} {SOURCE_INSIDE.lstrip('/')} none bind,ro,create=dir 0 0",
        "lxc.mount.entry = /dev/fuse dev/fuse none bind,create=file 0 0",
        "lxc.mount.entry = /dev/net/tun dev/net/tun none bind,create=file 0 0",
        *(f"lxc.mount.entry = {mount}" for mount in mounts),
        "lxc.cgroup2.devices.allow = a",
        "lxc.net.0.type = veth",
        "lxc.net.0.link = lan",
        "lxc.net.0.name = eth0",
        f"lxc.net.0.veth.pair = {node.name}",
        f"lxc.net.0.hwaddr = {node.hwaddr}",
        "lxc.net.0.flags = up",
        # Every start of a node is a boot of its kernel.
        f"lxc.hook.pre-start = {SOURCE_INSIDE}/gpu/boot {place}/kernel",
    ]
    return "\n".join(lines) + "\n"
