# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The node on which the recorded requests are made again: the simulated system with the containers, users and tokens of
# the recorded one, behind the API server in a process of its own.
#
# As a program (`python -m lab.contract.api_node ROOT`) it is that process.

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.contract import simulated_node
from lab.pve import authentication, storage
from lab.pve.http_server import CERTIFICATE, KEY
from lab.pve.simulated import SimulatedRuntime, SimulatedSystem
from lab.pve.simulated_volumes import SimulatedVolumes
from lab.pve.system import Result

SPEED = 20.0
PASSWORD = "the password of the node"
HOLDABLE = ("missing", "create", "copy", "start")
_START_TIMEOUT = 30.0

_SECRETS = {
    token_id: f"00000000-0000-4000-8000-0000000000{number:02d}"
    for number, token_id in enumerate(
        "root@pam!full root@pam!sep root@pam!sepadm admin@pve!adm bob@pve!none bob@pve!tk auto@pve!tk off@pve!tk "
        "exp@pve!tk".split(),
        start=10,
    )
}
_USERS = """\
user:root@pam:1:0::::::
token:root@pam!full:0:0::
token:root@pam!sep:0:1::
token:root@pam!sepadm:0:1::
user:admin@pve:1:0::::::
token:admin@pve!adm:0:0::
user:auto@pve:1:0::::::
token:auto@pve!tk:0:0::
user:bob@pve:1:0::::::
token:bob@pve!none:0:1::
token:bob@pve!tk:0:0::
user:exp@pve:1:0::::::
token:exp@pve!tk:1:0::
user:off@pve:0:0::::::
token:off@pve!tk:0:0::

role:LxcOp:VM.Audit,VM.PowerMgmt,VM.Snapshot:
role:LxcSee:VM.Audit:

acl:1:/:admin@pve,root@pam!sepadm:Administrator:
acl:1:/sdn:auto@pve:PVESDNUser:
acl:1:/storage:auto@pve:PVEDatastoreUser:
acl:1:/vms:auto@pve:PVEVMAdmin:
acl:1:/vms/100:bob@pve:LxcSee:
acl:1:/vms/101:bob@pve:LxcOp:
"""
_NETWORK = "name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr={mac},ip=10.10.10.{vmid}/24,type=veth"
_BASE = """\
arch: amd64
cores: 1
hostname: base
lock: snapshot-delete
memory: 512
ostype: debian
rootfs: local-zfs:subvol-100-disk-0,size=2G
swap: 0
unprivileged: 1
"""
_GPU_LINES = """\
lxc.cgroup2.devices.allow: c 195:* rwm
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file
lxc.mount.entry: /dev/nvidia-uvm dev/nvidia-uvm none bind,optional,create=file
"""
_GPU = f"""\
{{description}}
arch: amd64
cores: 1
dev0: path=/dev/nvidia0,mode=0666
features: nesting=1,keyctl=1
hostname: gpu1
memory: 1024
mp0: local-zfs:subvol-101-disk-1,mp=/data,size=1G
nameserver: 1.1.1.1
net0: {_NETWORK.format(mac="BC:24:11:14:19:9F", vmid=101)}
onboot: 0
ostype: debian
{{place}}
rootfs: local-zfs:subvol-101-disk-0,size=2G
{{time}}
swap: 0
tags: ai;gpu
unprivileged: 1
{_GPU_LINES}"""
_DESCRIPTION = "## managed by ansible\n#key%3A value 100%25\n#\n#tail \\ %C3%A4"
PLAIN = """\
arch: amd64
cores: 2
hostname: plain
memory: 512
ostype: debian
rootfs: local-zfs:subvol-102-disk-0,size=4G
swap: 512
"""


class ApiNode:
    """The recorded node's state below a folder, and its API."""

    def __init__(self, folder: Path) -> None:
        self.system = simulated_node.build(folder / "node", folder / "programs")
        self.secrets = _SECRETS
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        self._lay_out()

    def _lay_out(self) -> None:
        system = self.system
        self.write("etc/pve/user.cfg", _USERS)
        self.write("etc/pve/priv/token.cfg", "".join(f"{name} {secret}\n" for name, secret in _SECRETS.items()))
        self.write("etc/shadow", f"root:{authentication.hash_password(PASSWORD, '$5$saltsalt')}:20000:0:99999:7:::\n")
        self.write("etc/hosts", "127.0.0.1 localhost\n10.0.2.15 pve1\n")
        _make_certificate(system.path(CERTIFICATE), system.path(KEY))
        self.write("etc/pve/storage.cfg", _with_snippets(system.path("etc/pve/storage.cfg").read_text("utf-8")))
        self.write("var/lib/vz/snippets/hook.sh", "#!/bin/sh\n")
        system.path("var/lib/vz/snippets/hook.sh").chmod(0o755)
        system.path("mnt/bindsrc").mkdir(parents=True)
        for vmid, disk, size in ((100, 0, 2), (101, 0, 2), (101, 1, 1), (102, 0, 4)):
            volume = storage.vdisk_alloc(system, "local-zfs", vmid, "subvol", size * 1024 * 1024)
            if disk == 0:
                target = system.path(storage.path(system, volume))
                subprocess.run(["tar", "-xf", system.path(simulated_node.TEMPLATE), "-C", target], check=True)
            if vmid == 101:
                storage.volume_snapshot(system, volume, "clean")
        self.write_config(100, _BASE)
        self.write_config(102, PLAIN)
        main = _GPU.format(description=_DESCRIPTION, place="parent: clean", time="").replace("\n\n", "\n")
        clean = _GPU.format(description="#golden state", place="", time="snaptime: 1795166186").replace("\n\n", "\n")
        self.write_config(101, f"{main}\n[clean]\n{clean}")

    def write(self, name: str, text: str) -> None:
        path = self.system.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def write_config(self, vmid: int, text: str) -> None:
        self.write(f"etc/pve/nodes/pve1/lxc/{vmid}.conf", text)

    def read_config(self, vmid: int) -> str:
        return self.system.path(f"etc/pve/nodes/pve1/lxc/{vmid}.conf").read_text(encoding="utf-8")

    def hold(self, what: str) -> None:
        """From now on tasks stop where they look for a template that is missing, extract one (create), copy a volume or
        start a container."""
        self.write(f"run/held-{what}", "")

    def release(self, what: str) -> None:
        self.system.path(f"run/held-{what}").unlink(missing_ok=True)

    def start(self) -> None:
        command = [sys.executable, "-m", "lab.contract.api_node", str(self.system.root)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        log = self.system.path("var/log/api.log").open("w", encoding="utf-8")
        with log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.strip().isdigit():
            text = self.system.path("var/log/api.log").read_text(encoding="utf-8")
            raise RuntimeError(f"the API server did not start:\n{text}")
        self.port = int(line)

    def stop(self) -> None:
        for what in HOLDABLE:
            self.release(what)
        if self._process:
            self._process.terminate()
            self._process.wait(_START_TIMEOUT)
            assert self._process.stdout is not None
            self._process.stdout.close()


def _with_snippets(text: str) -> str:
    return text.replace("content vztmpl,iso,backup\n", "content vztmpl,iso,backup,snippets\n")


def _make_certificate(certificate: Path, key: Path) -> None:
    certificate.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            *"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=pve1".split(),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )


class HeldSystem(SimulatedSystem):
    """Stops where a test wants to look at what is going on, and sleeps fast."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, sleep=lambda seconds: time.sleep(seconds / SPEED))
        self.lxc = _HeldRuntime(self)
        self.volumes = _HeldVolumes(self)

    def wait_while_held(self, what: str) -> None:
        while self.path(f"run/held-{what}").exists():
            time.sleep(0.02)

    def path(self, name: str) -> Path:
        # Workers lead a session of their own; the server's processes are not to be held.
        if name.endswith("nope.tar.zst") and os.getsid(0) == os.getpid():
            self.wait_while_held("missing")
        return super().path(name)

    def run(self, argv: Sequence[str], *, stdin: str | None = None, env: Mapping[str, str] | None = None) -> Result:
        if "tar" in argv:
            self.wait_while_held("create")
        return super().run(argv, stdin=stdin, env=env)


class _HeldVolumes(SimulatedVolumes):
    def __init__(self, system: HeldSystem) -> None:
        super().__init__(system.path)
        self._held = system

    def snapshot(self, source: str, target: str, *, readonly: bool) -> None:
        self._held.wait_while_held("copy")
        super().snapshot(source, target, readonly=readonly)


class _HeldRuntime(SimulatedRuntime):
    def __init__(self, system: HeldSystem) -> None:
        super().__init__(system)
        self._held = system

    def start(self, vmid: int, *, debug: bool = False) -> Result:
        self._held.wait_while_held("start")
        return super().start(vmid, debug=debug)


def main(root: Path) -> None:
    from lab.pve.api2.methods import ALL_METHODS  # noqa: PLC0415 - only the server's process needs them
    from lab.pve.http_server import ApiServer  # noqa: PLC0415
    from lab.pve.rest_environment import RestEnvironment  # noqa: PLC0415

    system = HeldSystem(root)
    server = ApiServer(
        system,
        ALL_METHODS,
        RestEnvironment,
        address=("127.0.0.1", 0),
        certificate=system.path(CERTIFICATE),
        key=system.path(KEY),
    )
    print(server.port, flush=True)
    with server:
        server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
