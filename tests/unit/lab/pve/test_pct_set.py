# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

import lab
from lab.pve.api2.lxc_config import update_vm, vm_config, vm_pending
from lab.pve.cli.pct import COMMANDS
from lab.pve.cli_handler import CLIHandler
from lab.pve.exceptions import ParameterError, PVEError
from lab.pve.lxc.config import Config
from lab.pve.rest_environment import RestEnvironment
from lab.pve.simulated import SimulatedSystem

STORAGES = """\
dir: local
\tpath /var/lib/vz
\tcontent vztmpl,iso,snippets

zfspool: local-zfs
\tpool rpool/data
\tmountpoint /rpool/data
\tcontent rootdir,images
"""

FILE = """\
arch: amd64
cores: 2
hostname: base
memory: 512
ostype: debian
rootfs: local-zfs:subvol-101-disk-0,size=2G
swap: 0
unprivileged: 1
"""


class RunningContainer:
    """A container that runs, and notes what is done to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[str] = []
        self.limits: dict[str, str] = {}
        self.problem: str | None = None

    def running(self, vmid: int) -> bool:
        return vmid == 101

    def init_pid(self, vmid: int) -> int:
        return 900 + vmid

    def set_limits(self, vmid: int, limits: Mapping[str, str]) -> None:
        if self.problem:
            raise PVEError(self.problem)
        self.limits.update(limits)

    def root_path(self, vmid: int) -> Path:
        return self.root / f"var/lib/lxc/{vmid}/rootfs"

    def __getattr__(self, name: str) -> Callable[..., None]:
        def note(*_words: object, **_more: object) -> None:
            self.calls.append(name)

        return note


class Node:
    def __init__(self, root: Path) -> None:
        self.system = SimulatedSystem(root, hwaddr=lambda: "BC:24:11:00:00:01", sleep=lambda _seconds: None)
        self.system.prepare(STORAGES)
        self.system.mknod("dev/nvidia0", "c", 195, 0)
        self.system.path("var/lib/lxc/101/rootfs").mkdir(parents=True)
        self.file = self.system.path("etc/pve/nodes/pve1/lxc/101.conf")
        self.file.write_text(FILE)
        self.running = RunningContainer(root)

    def start(self) -> None:
        self.system.lxc = cast(Any, self.running)

    def pct(self, *words: str) -> int:
        return CLIHandler("pct", COMMANDS, self.system).run(words)

    def changes(self) -> tuple[list[str], list[str]]:
        """The lines that came into the file, and those that went."""
        now, before = self.file.read_text().splitlines(), FILE.splitlines()
        return [line for line in now if line not in before], [line for line in before if line not in now]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return Node(tmp_path)


@pytest.mark.parametrize(
    ("words", "new", "old"),
    [
        (["--memory", "2048", "--cores", "1"], ["cores: 1", "memory: 2048"], ["cores: 2", "memory: 512"]),
        (["--memory", "512"], [], []),
        (["-dev1", "path=/dev/fuse,gid=44,mode=0660"], ["dev1: path=/dev/fuse,gid=44,mode=0660"], []),
        (["-dev2", "/dev/nvidia0"], ["dev2: /dev/nvidia0"], []),
        (["--tags", "b;A,b"], ["tags: a;b"], []),
        (["--nameserver", "1.1.1.1,8.8.8.8"], ["nameserver: 1.1.1.1 8.8.8.8"], []),
        (["--onboot", "yes"], ["onboot: 1"], []),
        (["--cpuunits", "20000"], ["cpuunits: 10000"], []),
        (["--delete", "cores"], [], ["cores: 2"]),
        (
            ["--net0", "name=eth0,bridge=vmbr0,ip=dhcp"],
            ["net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,ip=dhcp,type=veth"],
            [],
        ),
        (["--mp2", "/srv,mp=/srv"], ["mp2: /srv,mp=/srv"], []),
    ],
)
def test_a_stopped_container_is_changed_at_once(
    node: Node, words: list[str], new: list[str], old: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert node.pct("set", "101", *words) == 0
    assert node.changes() == (new, old)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        # pct-transcripts 2
        ([], 2, "no options specified\n"),
        (
            ["--lxc", "x"],
            2,
            "Unknown option: lxc\n400 unable to parse option\npct set <vmid> [OPTIONS]\n",
        ),
        (["-dev3", "path=/dev/nosuch"], 2, "Device /dev/nosuch does not exist\n"),
        (["-dev3", "path=/dev/shm"], 255, "/dev/shm is not a device\n"),
        (["--delete", "dev7"], 0, "cannot delete 'dev7' - not set in current configuration!\n"),
        (["--delete", "memory"], 255, "unable to delete required option 'memory'\n"),
        (["--delete", "unprivileged"], 255, "unable to delete read-only option: 'unprivileged'\n"),
        (["--unprivileged", "0"], 255, "unable to modify read-only option: 'unprivileged'\n"),
        (
            ["--memory", "1024", "--digest", "0" * 40],
            255,
            "detected modified configuration - file changed by other user? Try again.\n",
        ),
        (
            ["--memory", "12"],
            2,
            (
                "400 Parameter verification failed.\nmemory: value must have a minimum value of 16\n"
                "pct set <vmid> [OPTIONS]\n"
            ),
        ),
        # pct-transcripts 3: set + delete same key
        (
            ["--cores", "1", "--delete", "cores"],
            255,
            (
                "400 Parameter verification failed.\n"
                "delete: you can't use '-cores' and -delete cores' at the same time\npct set <vmid> [OPTIONS]\n"
            ),
        ),
        (
            ["--delete", "nosuch"],
            255,
            "400 Parameter verification failed.\ndelete: unknown option 'nosuch'\npct set <vmid> [OPTIONS]\n",
        ),
        (
            ["--revert", "nosuch"],
            255,
            "400 Parameter verification failed.\nrevert: unknown option 'nosuch'\npct set <vmid> [OPTIONS]\n",
        ),
        (
            ["--cores", "1", "--revert", "cores"],
            255,
            (
                "400 Parameter verification failed.\n"
                "revert: you can't use '-cores' and '-revert cores' at the same time\npct set <vmid> [OPTIONS]\n"
            ),
        ),
        (
            ["--delete", "cores", "--revert", "cores"],
            255,
            (
                "400 Parameter verification failed.\n"
                "delete: you can't use '-delete cores' and '-revert cores' at the same time\npct set <vmid> [OPTIONS]\n"
            ),
        ),
        (["--mp0", "nostor:x,mp=/x"], 255, "storage 'nostor' does not exist\n"),
        (["--mp0", "local:1,mp=/x"], 255, "storage 'local' does not allow content type 'rootdir' (Container)\n"),
        (
            ["--hookscript", "local-zfs:subvol-1-disk-0"],
            255,
            "'local-zfs:subvol-1-disk-0' is not in the snippets directory\n",
        ),
        (["--hookscript", "local:snippets/x"], 255, "script 'local:snippets/x' does not exist\n"),
        (
            ["--net0", "name=eth0,bridge=vmbr0,mtu=9000"],
            255,
            "net0: MTU size '9000' is bigger than bridge MTU '1500'\n",
        ),
        (
            ["--net0", "name=eth0,bridge=vmbr0,ip6=auto,host-managed=1"],
            255,
            "net0: SLAAC is not supported for host-managed network configuration.\n",
        ),
    ],
)
def test_what_set_refuses(
    node: Node, words: list[str], code: int, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert node.pct("set", "101", *words) == code
    assert capsys.readouterr().err == error
    assert node.file.read_text() == FILE


def test_a_hookscript_must_be_executable(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    script = node.system.path("var/lib/vz/snippets/x")
    script.parent.mkdir(parents=True)
    script.touch(mode=0o644)
    assert node.pct("set", "101", "--hookscript", "local:snippets/x") == 255
    assert capsys.readouterr().err == "script 'local:snippets/x' is not executable\n"
    script.chmod(0o755)
    assert node.pct("set", "101", "--hookscript", "local:snippets/x") == 0


def test_the_right_digest_and_a_lock(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    digest = vm_config.handle(RestEnvironment(node.system, "cli", "root@pam"), {"node": "pve1", "vmid": "101"})[
        "digest"
    ]
    assert node.pct("set", "101", "--lock", "backup", "--digest", digest) == 0
    assert node.pct("set", "101", "--memory", "600") == 255
    assert capsys.readouterr().err == "CT is locked (backup)\n"


def test_a_protected_container_keeps_its_volumes(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert node.pct("set", "101", "--mp0", "/srv,mp=/srv", "--protection", "1") == 0
    for words, what in ((["--delete", "mp0"], "remove"), (["--mp1", "/srv,mp=/x"], "update")):
        assert node.pct("set", "101", *words) == 255
        assert f"can't {what} CT 101 drive 'mp" in capsys.readouterr().err


def test_a_vanished_device(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    # pct-transcripts 8 and pct.md (S15): the change is written before the error shows
    device = node.system.path("dev/gone")
    node.system.mknod("dev/gone", "c", 195, 7)
    assert node.pct("set", "101", "-dev0", "/dev/gone") == 0
    device.unlink()
    assert node.pct("set", "101", "--memory", "513") == 2
    assert capsys.readouterr().err == "Device /dev/gone does not exist\n"
    assert "memory: 513" in node.file.read_text()
    assert node.pct("set", "101", "--delete", "dev0") == 0


def test_hot_and_pending(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    # pct-transcripts 3
    node.start()
    for words in (
        ["--memory", "640", "--swap", "64"],
        ["--features", "nesting=1,keyctl=1"],
        ["-dev0", "path=/dev/nvidia0,mode=0666"],
        ["-dev0", "path=/dev/nvidia0,mode=0660"],
        ["--delete", "dev0"],
        ["--hostname", "base2"],
        ["--cpulimit", "1.5", "--cpuunits", "50"],
    ):
        assert node.pct("set", "101", *words) == 0
    assert node.file.read_text() == (
        "arch: amd64\ncores: 2\ncpulimit: 1.5\ncpuunits: 50\ndev0: path=/dev/nvidia0,mode=0666\nhostname: base2\n"
        "memory: 640\nostype: debian\nrootfs: local-zfs:subvol-101-disk-0,size=2G\nswap: 64\nunprivileged: 1\n\n"
        "[pve:pending]\ndelete: dev0\ndev0: path=/dev/nvidia0,mode=0660\nfeatures: nesting=1,keyctl=1\n"
    )
    assert node.running.limits == {
        "memory.max": "671088640",
        "memory.high": "665845760",
        "memory.swap.max": "67108864",
        "cpu.max": "150000 100000",
        "cpu.weight": "50",
    }
    assert node.running.calls == ["add_device", "allow_device"]
    assert capsys.readouterr() == ("", "")

    assert node.pct("set", "101", "--revert", "features,hostname,dev0") == 0
    assert "pending" not in node.file.read_text()


def test_networks_of_a_running_container(node: Node) -> None:
    # pct-transcripts 3: net0 change on running; without hwaddr it gets a new one
    node.file.write_text(f"{FILE}net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:02,type=veth\n")
    node.start()
    assert node.pct("set", "101", "--net1", "name=eth1,bridge=vmbr0,ip=manual") == 0
    assert "net1: name=eth1,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,ip=manual,type=veth\n" in node.file.read_text()
    assert "plug_network" in node.running.calls


def test_hot_deletions(node: Node) -> None:
    node.file.write_text(f"{FILE}cpulimit: 1\ncpuunits: 50\nnet0: name=eth0,bridge=vmbr0\ntags: a\ndev0: /dev/fuse\n")
    node.start()
    assert node.pct("set", "101", "--delete", "swap,cpulimit,cpuunits,net0,tags,dev0") == 0
    assert node.changes() == (["dev0: /dev/fuse", "", "[pve:pending]", "delete: dev0"], ["swap: 0"])
    assert node.running.limits == {"memory.swap.max": "0", "cpu.max": "max 100000", "cpu.weight": "100"}
    assert node.running.calls == ["unplug_network"]


def test_a_hot_change_that_fails_changes_nothing(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    node.file.write_text(f"{FILE}cpulimit: 1\n")
    before = node.file.read_text()
    node.start()
    node.running.problem = "no such cgroup"
    for words in (["--memory", "640"], ["--delete", "cpulimit"]):
        key = words[-1] if words[0] == "--delete" else words[0][2:]
        assert node.pct("set", "101", *words) == 255
        assert f"{key}: unable to hotplug {key}: no such cgroup\n" in capsys.readouterr().err
    assert node.file.read_text() == before


def test_an_existing_mount_point_waits_for_the_next_start(node: Node) -> None:
    node.file.write_text(f"{FILE}mp0: /srv,mp=/srv\n")
    node.start()
    assert node.pct("set", "101", "--mp0", "/srv,mp=/x") == 0
    assert node.changes() == (["mp0: /srv,mp=/srv", "", "[pve:pending]", "mp0: /srv,mp=/x"], [])


def test_volumes_come_and_go(node: Node) -> None:
    # rootfs names a volume that nobody made: so that its number is not given out again.
    assert node.pct("set", "101", "--mp7", "local-zfs:1,mp=/first") == 0
    node.file.write_text(FILE)
    # pct-transcripts 2 to 4: mp1 local-zfs:1,mp=/extra; a detached volume becomes unused
    assert node.pct("set", "101", "--mp0", "local-zfs:1,mp=/data") == 0
    assert node.changes() == (["mp0: local-zfs:subvol-101-disk-1,mp=/data,size=1G"], [])
    volid = "local-zfs:subvol-101-disk-1"
    assert node.pct("set", "101", "--mp0", "/srv,mp=/srv") == 0
    assert node.changes() == (["mp0: /srv,mp=/srv", f"unused0: {volid}"], [])
    assert node.pct("set", "101", "--mp1", f"{volid},mp=/again") == 0
    assert node.changes() == (["mp0: /srv,mp=/srv", f"mp1: {volid},mp=/again,size=1G"], [])
    assert node.pct("set", "101", "--delete", "mp0,mp1") == 0
    assert node.changes() == ([f"unused0: {volid}"], [])
    assert node.pct("set", "101", "--delete", "unused0") == 0
    assert node.changes() == ([], [])


def test_a_volume_that_cannot_be_made(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    node.file.write_text(f"{FILE}\n[pve:pending]\nmp0: nostor:1,mp=/x\ndelete: mp1\n")
    config = Config(node.system)
    conf = config.load_config(101)
    conf["mp1"] = "broken"
    errors: dict[str, str] = {}
    config.vmconfig_apply_pending(101, conf, None, errors)
    assert errors == {
        "mp0": "unable to apply pending change mp0 : storage 'nostor' does not exist\n",
        "mp1": "unable to apply pending change mp1 : format error\nmp: property is missing and it is not optional\n",
    }
    assert capsys.readouterr().err.count("unable to apply pending change") == 2


def test_a_volume_without_a_size(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert node.pct("set", "101", "--mp0", "local-zfs:subvol-101-disk-9,mp=/x") == 0
    assert "Could not rescan volume size - " in capsys.readouterr().err
    assert node.changes() == (["mp0: local-zfs:subvol-101-disk-9,mp=/x"], [])


def test_a_new_volume_of_a_running_container(node: Node) -> None:
    node.start()
    assert node.pct("set", "101", "--mp0", "local-zfs:1,mp=/data") == 0
    assert node.running.calls == ["add_mount"]
    assert node.pct("set", "101", "--delete", "mp0") == 0
    assert node.changes()[0][-1] == "delete: mp0"


def test_pending_changes_are_listed(node: Node) -> None:
    node.file.write_text(
        f"{FILE}lxc.idmap: u 0 1 1\n\n[pve:pending]\ndelete: cores,!swap,tags\ntimezone: host\nmemory: 600\n"
    )
    items = vm_pending.handle(RestEnvironment(node.system, "cli", "root@pam"), {"node": "pve1", "vmid": "101"})
    by_key = {item.pop("key"): item for item in items}
    assert by_key["memory"] == {"value": 512, "pending": 600}
    assert by_key["cores"] == {"value": 2, "delete": 1}
    assert by_key["swap"] == {"value": 0, "delete": 2}
    assert by_key["timezone"] == {"pending": "host"}
    assert by_key["tags"] == {"delete": 1}
    assert by_key["arch"] == {"value": "amd64"}
    assert not by_key.keys() & {"lxc", "snapshots"}


def test_a_snapshot_is_not_the_current_config(node: Node) -> None:
    environment = RestEnvironment(node.system, "cli", "root@pam")
    parameters = {"node": "pve1", "vmid": "101", "snapshot": "clean", "current": "1"}
    with pytest.raises(ParameterError) as refused:
        vm_config.handle(environment, parameters)
    problem = "cannot use 'snapshot' parameter with 'current'"
    assert refused.value.errors == {"snapshot": problem, "current": problem}


def test_parameters_of_the_api_are_texts(node: Node) -> None:
    environment = RestEnvironment(node.system, "priv", "root@pam")
    update_vm.handle(environment, {"node": "pve1", "vmid": "101", "onboot": "1", "memory": "600"})
    assert node.changes() == (["memory: 600", "onboot: 1"], ["memory: 512"])
    assert vm_config.handle(environment, {"node": "pve1", "vmid": "101", "current": "0"})["memory"] == 600


def test_only_root_may_pass_a_device_through(node: Node) -> None:
    # api.md, token limits
    node.system.path("etc/pve/user.cfg").write_text(
        "user:root@pam:1:0::::::\ntoken:root@pam!full:0:0::\nacl:1:/:root@pam:Administrator:\n"
    )
    environment = RestEnvironment(node.system, "priv", "root@pam!full")
    parameters = {"node": "pve1", "vmid": "101"}
    for change in ({"dev0": "/dev/nvidia0"}, {"delete": "dev0"}, {"revert": "dev0"}):
        with pytest.raises(PVEError, match="configuring device passthrough is only allowed for root@pam"):
            update_vm.handle(environment, {**parameters, **change})
    update_vm.handle(environment, {**parameters, "memory": "600"})
    assert node.changes() == (["memory: 600"], ["memory: 512"])


def test_a_command_loads_what_it_needs(node: Node) -> None:
    """The start of a command is most of what it costs."""
    script = (
        "import sys; from pathlib import Path; from lab.pve.cli.pct import main\n"
        "from lab.pve.simulated import SimulatedSystem\n"
        f"main(['status', '101'], SimulatedSystem(Path({str(node.system.root)!r})))\n"
        "print(*sorted(name for name in sys.modules if name.startswith('lab.pve.')))\n"
    )
    environment = {"PYTHONPATH": str(Path(lab.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[1].split())
    assert not loaded & {
        f"lab.pve.{name}" for name in ("storage", "lxc.update", "lxc.runtime", "cli_usage", "http_server")
    }


def test_a_value_of_the_wrong_type(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    # pct-transcripts 2: wrong type and garbage: read
    node.file.write_text(FILE.replace("memory: 512", "memory: lots"))
    assert node.pct("config", "101") == 255
    assert capsys.readouterr().err == (
        "vm 101 - unable to parse value of 'memory' - type check ('integer') failed - got 'lots'\n"
        "400 Result verification failed\nmemory: type check ('integer') failed - got 'lots'\n"
        "pct config <vmid> [OPTIONS]\n"
    )


def test_status(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert node.pct("status", "101") == 0
    node.start()
    assert node.pct("status", "101") == 0
    assert capsys.readouterr().out == "status: stopped\nstatus: running\n"


def test_what_is_not_imitated_says_so(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert node.pct("console", "101") == 255
    assert capsys.readouterr().err == "the lab's stand-in of Proxmox VE does not imitate 'console'\n"
