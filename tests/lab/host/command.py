# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# up, down, reset and status.

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from ..errors import LabError
from ..vendors.names import VENDOR_HOSTS
from . import images, mirror, network, packages, services
from .lab import Lab, Node, owner
from .nodes import Nodes, make_key
from .settings import Wanted, differences, recorded
from .world import World, python, wait_for

# What a lab has room for beside its copy of the images.
_SPACE = 2 * 10**9


class Command:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.world = World(lab)
        self.nodes = Nodes(lab, self.world)

    def up(self, wanted: Wanted, *, fresh: bool = False) -> None:
        packages.ensure()
        wanted.check()
        begin = time.monotonic()
        with self._alone():
            self._up(wanted, fresh=fresh)
        names = ", ".join(f"{node.name} ({node.address})" for node in self.lab.nodes(wanted.nodes))
        print(f"The lab {self.lab.name} is up after {time.monotonic() - begin:.1f} s: {names}")

    def down(self) -> None:
        packages.need_root()
        with self._alone():
            had = self._clear()
            # Whoever waits for it sees that it is gone, and makes a new one.
            self.lab.lock.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.lab.state_root.rmdir()
        print(f"The lab {self.lab.name} is down." if had else f"There was no lab {self.lab.name}.")

    def status(self) -> int:
        record = self.lab.settings()
        if not record:
            print(f"The lab {self.lab.name} does not run.")
            return 3
        if self.world.init is None:
            print(f"The lab {self.lab.name} does not run any more; scripts/lab up goes on with it.")
            return 3
        print(f"lab     {self.lab.name} ({self.lab.subnet}), this machine is {self.lab.host_address} there")
        for node in self.lab.nodes(record["nodes"]):
            state = "running" if self.nodes.running(node) else "stopped"
            print(f"node    {node.name} {node.address} {state}, {record['gpus']['count']} GPUs")
        login = f"ssh -i {self.lab.ssh_key} -o UserKnownHostsFile={self.lab.known_hosts}"
        print(f"ssh     {login} root@{self.lab.node('pve1').address}")
        return 0

    def reset(self, wanted: Wanted, *, fresh: bool = False) -> None:
        """The lab as it was right after `up`."""
        packages.ensure()
        wanted.check()
        begin = time.monotonic()
        with self._alone():
            self._clear()
            self._up(wanted, fresh=fresh)
        print(f"The lab {self.lab.name} is new after {time.monotonic() - begin:.1f} s")

    def exec(self, node: Node, command: Sequence[str]) -> NoReturn:
        packages.need_root()
        self.nodes.exec(node, command)

    def gpu(self, node: Node, switches: Sequence[str]) -> NoReturn:
        packages.need_root()
        for switch in switches:
            if "=" not in switch:
                raise LabError(f"gpu: {switch!r} is no NAME=VALUE", f"scripts/lab gpu {node.name} uvm=missing")
        self.world.exec(["python3", "-B", "-m", "lab.gpu", "switch", f"/pool/nodes/{node.name}/kernel", *switches])

    def _up(self, wanted: Wanted, *, fresh: bool) -> None:
        address = mirror.machine_mirror(environment=os.environ.get("PHOENIX_LAB_MIRROR"))
        record = self.lab.settings()
        if record and (different := differences(record, self.lab, wanted)):
            raise LabError(
                f"the lab {self.lab.name} has other settings: {'; '.join(different)}",
                "Give it the same ones, or make it anew with these: scripts/lab reset",
            )
        if record and fresh:
            raise LabError(
                f"the lab {self.lab.name} is there already, and --fresh is for a new one",
                "Make it anew, which loses what is in it: scripts/lab reset --fresh",
            )
        if not (record and self._healthy()):
            if not (record and self.lab.pool.is_file()):
                self._clear()
                record = None
            if record:
                print(f"The lab {self.lab.name} had been ended from outside; going on with what is in it.", flush=True)
                self._end()
            network.check_free(self.lab)
            with self.world.adopted():
                self._begin(wanted, address, again=bool(record), fresh=fresh)
        self._mirror(address)
        self._hand_over()
        everyone = self.lab.nodes(wanted.nodes)
        started = []
        for node in everyone:
            self.nodes.create(node, everyone, wanted.gpus, wanted.start_delay)
            started.append(self.nodes.start(node))
        for node, new in zip(everyone, started, strict=True):
            if problem := self.nodes.wait(node):
                if new:
                    raise LabError(problem, f"Look at its journal: scripts/lab exec {node.name} -- journalctl -b")
                # Somebody may have broken it on purpose.
                print(f"Note: {problem}")

    def _begin(self, wanted: Wanted, address: str, *, again: bool, fresh: bool) -> None:
        """Start the lab's world; again: around the pool of one that ended with its machine, or was killed."""
        golden = None if again else images.golden(self.lab.cache, address, fresh=fresh)
        self._make_folder()
        if golden:
            images.need_space(self.lab.folder, golden.stat().st_blocks * 512 + _SPACE)
            subprocess.run(["cp", "--reflink=auto", "--sparse=always", golden, self.lab.pool], check=True)
        everyone = self.lab.nodes(wanted.nodes)
        (self.lab.sockets / "dnsmasq.conf").write_text(services.dnsmasq(self.lab, everyone, VENDOR_HOSTS))
        log = self.lab.folder / "outside.log"
        self.world.start(python("host.outside", str(self.lab.folder)), log)
        wait_for(
            "the lab's world did not come up",
            (self.lab.sockets / "mounted").exists,
            20,
            f"{log} says why",
        )
        self.world.settle()
        network.connect(self.lab, self.world)
        (self.lab.sockets / "connected").touch()
        wait_for("the lab's services did not start", (self.lab.sockets / "ready").exists, 20, f"{log} says why")
        # Only now is there something that a later `up` may build on.
        self.lab.record.write_text(recorded(self.lab, wanted))

    def _mirror(self, address: str) -> None:
        """The lab's way to packages, should it not be there."""
        place = self.lab.sockets / "mirror.sock"
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
            client.connect(str(place))
            return
        self.world.spawn(
            python("host.mirror", str(place), str(self.lab.cache / "mirror"), address), self.lab.folder / "mirror.log"
        )

    def _make_folder(self) -> None:
        shutil.rmtree(self.lab.sockets, ignore_errors=True)
        for folder in (self.lab.folder, self.lab.sockets, self.lab.folder / "ssh"):
            folder.mkdir(parents=True, exist_ok=True)
        self.lab.sockets.chmod(0o711)
        make_key(self.lab.ssh_key, f"phoenix-lab-{self.lab.name}")
        self.lab.known_hosts.touch()

    def _hand_over(self) -> None:
        if user := owner():
            for file in (self.lab.ssh_key, self.lab.ssh_key.with_suffix(".pub"), self.lab.known_hosts):
                os.chown(file, *user)

    def _clear(self) -> bool:
        """Take away whatever there is of this lab, however it was left behind."""
        self.lab.record.unlink(missing_ok=True)
        had = self._end()
        if self.lab.folder.exists():
            had = True
            shutil.rmtree(self.lab.folder)
        return had

    def _end(self) -> bool:
        """Take away what of the lab is not a file."""
        had = self.world.end()
        network.disconnect(self.lab)
        for line in _losetup(self.lab.pool):
            subprocess.run(["losetup", "--detach", line], check=True)
        return had

    def _healthy(self) -> bool:
        return self.world.init is not None and (self.lab.sockets / "ready").exists()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One command at a time works on one lab; one that is killed leaves the lock free."""
        with contextlib.ExitStack() as held:
            while True:
                self.lab.state_root.mkdir(parents=True, exist_ok=True)
                lock = held.enter_context(self.lab.lock.open("w"))
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    print(f"Another scripts/lab works on the lab {self.lab.name}; waiting for it …", flush=True)
                    fcntl.flock(lock, fcntl.LOCK_EX)
                # `down` removes the file: a lock on what is no longer there is none.
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(lock.fileno()), self.lab.lock.stat()):
                        break
            yield


def _losetup(file: Path) -> list[str]:
    done = subprocess.run(
        ["losetup", "--noheadings", "--output", "NAME", "--associated", file],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split()
