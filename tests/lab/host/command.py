# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# up, down, reset and status.

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import LabError
from ..gpu import Options as GpuOptions
from ..vendors.names import VENDOR_HOSTS
from . import images, mirror, network, packages, services
from .lab import Lab, owner
from .nodes import Nodes, make_key
from .world import World, python, wait_for


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What `up` was asked for."""

    nodes: int = 1
    gpus: GpuOptions = dataclasses.field(default_factory=GpuOptions)
    start_delay: float = 0.0


class Command:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.world = World(lab)
        self.nodes = Nodes(lab, self.world)

    def up(self, wanted: Wanted) -> None:
        packages.ensure()
        begin = time.monotonic()
        with self._alone():
            record = self._record()
            if record and not self._healthy():
                self._clear()
                record = None
            if record and record != _as_record(self.lab, wanted):
                raise LabError(
                    f"the lab {self.lab.name} runs with other settings: {json.dumps(record)}",
                    "Take it down first (scripts/lab down), or give it the same settings",
                )
            if not record:
                self._clear()
                self._begin(wanted)
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
        names = ", ".join(f"{node.name} ({node.address})" for node in everyone)
        print(f"The lab {self.lab.name} is up after {time.monotonic() - begin:.1f} s: {names}")

    def down(self) -> None:
        packages.ensure()
        with self._alone():
            had = self._clear()
        self.lab.lock.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.lab.state_root.rmdir()
        print(f"The lab {self.lab.name} is down." if had else f"There was no lab {self.lab.name}.")

    def status(self) -> int:
        record = self._record()
        if not record or self.world.init is None:
            print(f"The lab {self.lab.name} does not run.")
            return 3
        print(f"lab     {self.lab.name} ({self.lab.subnet}), this machine is {self.lab.host_address} there")
        for node in self.lab.nodes(record["nodes"]):
            state = "running" if self.nodes.running(node) else "stopped"
            print(f"node    {node.name} {node.address} {state}, {record['gpus']['count']} GPUs")
        login = f"ssh -i {self.lab.ssh_key} -o UserKnownHostsFile={self.lab.known_hosts}"
        print(f"ssh     {login} root@{self.lab.node('pve1').address}")
        return 0

    def reset(self, wanted: Wanted) -> None:
        """The lab as it was right after `up`."""
        with self._alone():
            self._clear()
        self.up(wanted)

    def _begin(self, wanted: Wanted) -> None:
        network.check_free(self.lab)
        self.world.adopt()
        golden = images.golden(self.lab.cache)
        self._make_folder()
        subprocess.run(["cp", "--reflink=auto", "--sparse=always", golden, self.lab.pool], check=True)
        everyone = self.lab.nodes(wanted.nodes)
        (self.lab.sockets / "dnsmasq.conf").write_text(services.dnsmasq(self.lab, everyone, VENDOR_HOSTS))
        mirror_log = self.lab.folder / "mirror.log"
        address = mirror.machine_mirror(environment=os.environ.get("PHOENIX_LAB_MIRROR"))
        self.world.spawn(
            python("host.mirror", str(self.lab.sockets / "mirror.sock"), str(self.lab.cache / "mirror"), address),
            mirror_log,
        )
        log = self.lab.folder / "outside.log"
        self.world.start(python("host.outside", str(self.lab.folder)), log)
        wait_for(
            "the lab's world did not come up",
            (self.lab.sockets / "mounted").exists,
            20,
            f"{log} says why",
        )
        network.connect(self.lab, self.world)
        (self.lab.sockets / "connected").touch()
        wait_for("the lab's services did not start", (self.lab.sockets / "ready").exists, 20, f"{log} says why")
        # Only now is there something that a later `up` may build on.
        self.lab.record.write_text(json.dumps(_as_record(self.lab, wanted)))

    def _make_folder(self) -> None:
        for folder in (self.lab.folder, self.lab.sockets, self.lab.folder / "ssh"):
            folder.mkdir(parents=True, exist_ok=True)
        self.lab.sockets.chmod(0o711)
        make_key(self.lab.ssh_key, f"phoenix-lab-{self.lab.name}")
        self.lab.known_hosts.touch()
        if user := owner():
            for file in (self.lab.ssh_key, self.lab.ssh_key.with_suffix(".pub"), self.lab.known_hosts):
                os.chown(file, *user)

    def _clear(self) -> bool:
        """Take away whatever there is of this lab, however it was left behind."""
        had = self.world.end()
        network.disconnect(self.lab)
        for line in _losetup(self.lab.pool):
            subprocess.run(["losetup", "--detach", line], check=True)
        if self.lab.folder.exists():
            had = True
            shutil.rmtree(self.lab.folder)
        return had

    def _healthy(self) -> bool:
        return self.world.init is not None and (self.lab.sockets / "ready").exists()

    def _record(self) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = json.loads(self.lab.record.read_text())
        except (OSError, ValueError):
            return None
        return record

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One command at a time works on one lab; one that is killed leaves the lock free."""
        self.lab.state_root.mkdir(parents=True, exist_ok=True)
        with self.lab.lock.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"Another scripts/lab works on the lab {self.lab.name}; waiting for it …", flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _as_record(lab: Lab, wanted: Wanted) -> dict[str, Any]:
    return json.loads(json.dumps({"subnet": str(lab.subnet), **dataclasses.asdict(wanted)}))  # type: ignore[no-any-return]


def _losetup(file: Path) -> list[str]:
    done = subprocess.run(
        ["losetup", "--noheadings", "--output", "NAME", "--associated", file],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split()
