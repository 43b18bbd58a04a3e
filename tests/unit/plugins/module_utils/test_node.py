# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import Snapshot, SnapshotConfig
from ansible_collections.phoenix.hypervisor.plugins.module_utils._monitor import LxcMonitor
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import (
    DeviceNode,
    Gpu,
    Node,
    Storage,
    parse_storages,
)
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils import recorded_conf as recorded
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import FakeNode


@pytest.fixture
def fake(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


def test_a_node_reads_the_real_root_unless_told_otherwise() -> None:
    node = Node()
    assert node.root == Path("/")
    assert isinstance(node.monitor, LxcMonitor)


def test_the_node_and_its_software(fake: FakeNode) -> None:
    fake.write("proc/sys/kernel/hostname", "pve1.example.org\n")
    assert (fake.node.name, fake.node.kernel) == ("pve1", "6.17.2-1-pve")


@pytest.mark.parametrize(
    ("status", "version"),
    [
        ("install ok installed", "6.1.10"),
        # A package that is held back is installed like any other.
        ("hold ok installed", "6.1.10"),
        ("deinstall ok config-files", ""),
        ("install ok half-installed", ""),
    ],
)
def test_package_versions(fake: FakeNode, status: str, version: str) -> None:
    fake.package("pve-container-perl", "9.9")
    fake.package("pve-container", "6.1.10", status)
    fake.package("zlib1g", "1.3")
    assert fake.node.package_version("pve-container") == version
    assert fake.node.package_version("zlib1g") == "1.3"
    assert fake.node.package_version("pve.container") == ""


def test_a_machine_that_is_no_node(tmp_path: Path) -> None:
    with pytest.raises(PhoenixError, match="/etc/pve/lxc does not exist on this machine: it is no Proxmox VE node"):
        Node(tmp_path).existing(100)


def test_a_node_without_quorum(fake: FakeNode) -> None:
    fake.node.check_writable()
    fake.read_only()
    with pytest.raises(PhoenixError) as caught:
        fake.node.check_writable()
    assert caught.value.reason == "/etc/pve is read-only on node pve1: the node has no quorum"


# Containers


def test_ids_are_the_conf_files(fake: FakeNode) -> None:
    for ctid in (1000, 101, 102):
        fake.conf(ctid)
    fake.write("etc/pve/lxc/101.conf.tmp.4711", "")
    fake.write("etc/pve/lxc/notes.conf", "")
    assert fake.node.ctids() == [101, 102, 1000]


def test_no_ids_without_a_directory(tmp_path: Path) -> None:
    assert Node(tmp_path).ctids() == []


def test_a_container_that_does_not_exist(fake: FakeNode) -> None:
    assert fake.node.config_file(999) is None
    assert fake.node.guest(999) is None
    with pytest.raises(PhoenixError) as caught:
        fake.node.existing(999)
    assert caught.value.code is Code.NO_CONTAINER


def test_a_file_that_cannot_be_read(fake: FakeNode) -> None:
    (fake.root / "etc/pve/lxc/101.conf").mkdir()
    with pytest.raises(PhoenixError) as caught:
        fake.node.config_file(101)
    assert caught.value.reason == "/etc/pve/lxc/101.conf cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("kind", "node", "owner"),
    [
        ("qemu-server", "pve1", "VM 105 on node pve1"),
        ("qemu-server", "pve2", "VM 105 on node pve2"),
        ("lxc", "pve2", "CT 105 on node pve2"),
        ("lxc", "pve1", None),
    ],
)
def test_who_else_has_an_id(fake: FakeNode, kind: str, node: str, owner: str | None) -> None:
    fake.guest_elsewhere(105, kind, node)
    assert fake.node.owner_of(105) == owner
    assert fake.node.owner_of(106) is None


def test_an_id_of_somebody_else_is_no_container(fake: FakeNode) -> None:
    fake.guest_elsewhere(105)
    with pytest.raises(PhoenixError, match="it is VM 105 on node pve2") as caught:
        fake.node.existing(105)
    assert caught.value.code is Code.INPUT


def test_a_guest_with_pending_changes(fake: FakeNode) -> None:
    # pct-transcripts 3: "the file now".
    fake.conf(100, recorded.PENDING)
    fake.run_container(100)
    guest = fake.node.existing(100)
    assert guest.running
    assert guest.restart_required
    assert guest.pending == {"dev0": "path=/dev/nvidia0,mode=0660", "features": "nesting=1,keyctl=1"}
    assert guest.pending_delete == {"dev0"}
    assert "description" not in guest.config


def test_a_guest_with_snapshots(fake: FakeNode) -> None:
    # pct-transcripts 4: "file after (raw lines inside the snapshot section?)".
    fake.conf(101, recorded.SNAPSHOT)
    guest = fake.node.existing(101)
    assert guest.config["description"] == "# managed by ansible\nkey: value 100%\n\ntail \\ ä\n"
    assert guest.snapshots == {"clean": Snapshot("clean", "golden: state\n2nd line 105%\n", "", 1795164487)}
    assert guest.config["parent"] == "clean"
    assert guest.digest == fake.node.config_file(101).digest  # type: ignore[union-attr]
    expected = {key: value for key, value in guest.config.items() if key not in ("parent", "description")}
    assert guest.snapshot_configs == {"clean": SnapshotConfig(expected, guest.raw)}


def test_the_state_and_parent_of_snapshots(fake: FakeNode) -> None:
    # pct-transcripts 4: "snapshot while snapshot section is 'prepare' (simulated crash)".
    fake.conf(105, f"{recorded.TWO_SNAPSHOTS}\n[halfway]\nsnapstate: prepare\nsnaptime: soon\n")
    snapshots = fake.node.existing(105).snapshots
    assert snapshots["live3"].parent == "live1"
    assert snapshots["halfway"] == Snapshot("halfway", state="prepare")


# What runs


def test_running_is_the_command_socket(fake: FakeNode) -> None:
    # pct-transcripts 11: "command socket alone (what pct status looks at)".
    listing = (
        "Num       RefCount Protocol Flags    Type St Inode Path\n"
        "0000000000000000: 00000002 00000000 00010000 0001 01 23166 @/var/lib/lxc/100/command\n"
        "0000000000000000: 00000003 00000000 00000000 0001 03 23167 @/var/lib/lxc/100/command\n"
        "0000000000000000: 00000002 00000000 00010000 0001 01 23168 @/var/lib/lxc/1040/command\n"
        "0000000000000000: 00000002 00000000 00010000 0001 01 23169 /run/systemd/notify\n"
        "0000000000000000: 00000002 00000000 00010000 0001 01 23170 @/srv/lxc/105/command\n"
    )
    fake.write("proc/net/unix", listing)
    assert fake.node.running_ctids() == {100, 1040}
    assert fake.node.is_running(100)
    assert not fake.node.is_running(104)


def test_without_the_list_of_sockets_nothing_runs(tmp_path: Path) -> None:
    assert Node(tmp_path).running_ctids() == frozenset()


def test_what_the_running_container_has(fake: FakeNode) -> None:
    # pct-transcripts 3, "reboot applies pending + raw lines": one node by devN, one by a raw line.
    fake.run_container(100, pid=929, rules=("a", "c 195:0 rw"))
    fake.device("/dev/nvidia0", 195, 0, ctid=100)
    fake.mount(100, "/dev/nvidia0", "/dev/nvidia0")
    fake.device("/dev/nvidiactl", 195, 255, mode=0o660, ctid=100)
    fake.device("/dev/nvidia-caps/nvidia-cap1", 237, 1, mode=0o400, ctid=100)
    fake.device("/dev/null", 1, 3, ctid=100)
    fake.impostor("/dev/nvidia-uvm", ctid=100)
    assert fake.node.running_devices(100) == {
        "/dev/nvidia0": DeviceNode("/dev/nvidia0", True, 195, 0, 0o666, True),
        "/dev/nvidiactl": DeviceNode("/dev/nvidiactl", True, 195, 255, 0o660, False),
        "/dev/nvidia-uvm": DeviceNode("/dev/nvidia-uvm", False, 0, 0, 0, False),
        "/dev/nvidia-caps/nvidia-cap1": DeviceNode("/dev/nvidia-caps/nvidia-cap1", True, 237, 1, 0o400, False),
    }
    assert fake.node.running_devices(100)["/dev/nvidiactl"].number == (195, 255)
    assert fake.node.running_rules(100) == ("a", "c 195:0 rw")
    assert fake.node.container_root(100) == fake.root / "proc/929/root"
    assert fake.node.mount_points(100) == {"/", "/dev/nvidia0"}


def test_a_stopped_container_has_nothing(fake: FakeNode) -> None:
    assert fake.node.running_devices(100) == {}
    assert fake.node.running_rules(100) is None
    assert fake.node.container_root(100) is None
    assert fake.node.mount_points(100) == frozenset()
    assert fake.node.addresses(100) == []


def test_a_block_device_and_a_link_are_no_character_devices(fake: FakeNode) -> None:
    fake.device("/dev/nvidia0", 195, 0, kind="b")
    (fake.root / "dev/nvidia1").symlink_to("/dev/null")
    assert [device.is_char for device in fake.node.device_nodes().values()] == [False, False]


def test_the_devices_of_the_node(fake: FakeNode) -> None:
    fake.nvidia(2, uvm_major=511)
    assert sorted(fake.node.device_nodes()) == [
        "/dev/nvidia-modeset",
        "/dev/nvidia-uvm",
        "/dev/nvidia-uvm-tools",
        "/dev/nvidia0",
        "/dev/nvidia1",
        "/dev/nvidiactl",
    ]
    assert fake.node.device_nodes()["/dev/nvidia-uvm"].number == (511, 0)


def test_a_device_that_vanishes_while_it_is_listed(fake: FakeNode) -> None:
    fake.nvidia(1)

    def lstat(path: Path) -> os.stat_result:
        if path.name == "nvidia0":
            raise FileNotFoundError(path)
        return fake.lstat(path)

    node = Node(fake.root, fake.monitor, lstat)
    assert "/dev/nvidia0" not in node.device_nodes()
    assert "/dev/nvidiactl" in node.device_nodes()


def test_majors_are_those_of_character_devices(fake: FakeNode) -> None:
    fake.majors({195: "nvidia", 511: "nvidia-uvm"})
    assert fake.node.char_majors() == {1: "mem", 10: "misc", 195: "nvidia", 511: "nvidia-uvm"}


FIB_TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.10.10.0/24 2 0 2
        |-- 10.10.10.0
           /24 link UNICAST
        |-- 10.10.10.101
           /32 host LOCAL
        |-- 10.10.10.255
           /32 link BROADCAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
     |-- 169.254.7.7
        /32 host LOCAL
Local:
  +-- 0.0.0.0/0 3 0 5
        |-- 10.10.10.101
           /32 host LOCAL
"""

IF_INET6 = """\
00000000000000000000000000000001 01 80 10 80       lo
fd000000000000000000000000000101 02 40 00 80     eth0
fe80000000000000be2411fffe8ecebd 02 40 20 80     eth0
"""


def test_addresses_are_those_that_others_can_reach(fake: FakeNode) -> None:
    pid = fake.run_container(100)
    fake.write(f"proc/{pid}/net/fib_trie", FIB_TRIE)
    fake.write(f"proc/{pid}/net/if_inet6", IF_INET6)
    assert fake.node.addresses(100) == ["10.10.10.101", "fd00::101"]


# Storages, bridges, templates


def test_storages(fake: FakeNode) -> None:
    storages = fake.node.storages()
    assert list(storages) == ["local", "local-zfs", "local-dir"]
    assert storages["local-zfs"] == Storage(
        "local-zfs", "zfspool", {"pool": "rpool/data", "content": "images,rootdir", "sparse": "1"}
    )
    assert storages["local-zfs"].content == {"images", "rootdir"}


def test_a_storage_that_nobody_wrote_down() -> None:
    # PVE::Storage::Plugin::parse_config.
    local = parse_storages("")["local"]
    assert (local.type, local.options["path"]) == ("dir", "/var/lib/vz")
    assert {"rootdir", "vztmpl"} <= local.content


@pytest.mark.parametrize(
    ("ostemplate", "tarball"),
    [
        ("local:vztmpl/debian.tar.zst", "/var/lib/vz/template/cache/debian.tar.zst"),
        ("/srv/debian.tar.zst", "/srv/debian.tar.zst"),
        ("share:vztmpl/debian.tar.zst", "/mnt/pve/share/template/cache/debian.tar.zst"),
        ("mounted:vztmpl/debian.tar.zst", "/srv/nfs/template/cache/debian.tar.zst"),
        ("pool:vztmpl/debian.tar.zst", None),
        ("nowhere:vztmpl/debian.tar.zst", None),
    ],
)
def test_where_a_template_lies(fake: FakeNode, ostemplate: str, tarball: str | None) -> None:
    text = (
        "nfs: share\n\tserver nas\n\texport /x\n\nnfs: mounted\n\tpath /srv/nfs\n\nbtrfs: fs\n\tpath /b\n\n"
        "zfspool: pool\n\tpool rpool\n"
    )
    fake.write("etc/pve/storage.cfg", text)
    assert fake.node.template_file(ostemplate) == tarball


def test_bridges(fake: FakeNode) -> None:
    assert fake.node.has_bridge("vmbr0")
    assert not fake.node.has_bridge("vmbr9")


# GPUs and the driver


def test_gpus_as_the_driver_lists_them(fake: FakeNode) -> None:
    fake.gpu(1, "NVIDIA L4")
    fake.gpu(0)
    fake.write("proc/driver/nvidia/gpus/0000:09:00.0/information", "Model: \t\t broken\nDevice Minor: \t ?\n")
    assert fake.node.gpus() == [
        Gpu(0, "NVIDIA RTX PRO 6000 Blackwell", "GPU-0000-0", "0000:01:00.0"),
        Gpu(1, "NVIDIA L4", "GPU-0000-1", "0000:02:00.0"),
    ]
    assert fake.node.driver_loaded() == "580.105.08"


def test_a_value_that_the_driver_leaves_empty(fake: FakeNode) -> None:
    text = "Model: \t\t X\nGPU UUID: \nGPU Firmware:\nDevice Minor: \t 3\n"
    fake.write("proc/driver/nvidia/gpus/0000:01:00.0/information", text)
    assert fake.node.gpus() == [Gpu(3, "X", "", "0000:01:00.0")]


def test_no_driver_no_gpus(fake: FakeNode) -> None:
    assert (fake.node.gpus(), fake.node.driver_loaded()) == ([], "")
    assert fake.node.driver_libraries() == []


def test_the_libraries_of_the_loaded_driver(fake: FakeNode) -> None:
    fake.gpu(0, version="580.105.08")
    directory = fake.root / "usr/lib/x86_64-linux-gnu"
    fake.write("usr/lib/x86_64-linux-gnu/libcuda.so.580.105.08", "")
    fake.write("usr/lib/x86_64-linux-gnu/libcuda.so.570.1", "")
    fake.write("usr/lib/x86_64-linux-gnu/libc.so.6", "")
    (directory / "libcuda.so.1").symlink_to("libcuda.so.580.105.08")
    fake.write("usr/bin/nvidia-smi", "")
    assert fake.node.driver_libraries() == [
        "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
        "/usr/lib/x86_64-linux-gnu/libcuda.so.580.105.08",
        "/usr/bin/nvidia-smi",
    ]


# Tasks and locks


def test_unfinished_tasks_of_a_container(fake: FakeNode) -> None:
    # pct-transcripts 11, "task log of the last task": finished tasks carry a time and a status.
    finished = "UPID:pve1:00001CD5:0002C85C:6B000BBC:vzstart:101:root@pam: 1 6B000BBC OK\n"
    fake.write("var/log/pve/tasks/active", f"{finished}\n")
    upid = fake.active_task(101, "vzclone", pid=0x1CD5)
    fake.active_task(102, "vzclone", pid=0x1CD6)
    fake.active_task(101, "vzsnapshot", pid=0x1CD7, alive=False)
    assert fake.node.active_tasks(101) == [f"vzclone by root@pam ({upid})"]


def test_a_clone_is_a_task_of_both_its_containers(fake: FakeNode) -> None:
    # PVE books it under the source; the target is in the task's log (pct-transcripts 5).
    upid = fake.active_task(101, log="creating a clone of container 101 with ID 201\ncreate full clone of mountpoint\n")
    for ctid in (101, 201):
        assert fake.node.active_tasks(ctid) == [f"vzclone by root@pam ({upid})"]
    assert fake.node.active_tasks(20) == fake.node.active_tasks(2010) == []


def test_the_log_of_another_kind_of_task_says_nothing_of_clones(fake: FakeNode) -> None:
    fake.active_task(101, "vzstart", log="creating a clone of container 101 with ID 201\n")
    assert fake.node.active_tasks(201) == []


def test_a_task_whose_process_is_gone_is_not_active(fake: FakeNode) -> None:
    fake.active_task(101, pid=0x1CD5)
    (fake.root / f"proc/{0x1CD5}/stat").unlink()
    assert fake.node.active_tasks(101) == []


def test_the_holder_of_a_lock(fake: FakeNode) -> None:
    fake.flock_held(101, 4711, ("pct", "set", "101"))
    assert fake.node.flock_holder(fake.flock_file(101)) == "process 4711 (pct set 101)"
    fake.write("proc/4711/cmdline", "")
    assert fake.node.flock_holder(fake.flock_file(101)) == "process 4711"


def test_a_lock_of_the_same_inode_number_elsewhere_is_another_lock(fake: FakeNode) -> None:
    fake.flock_held(101)
    fake.write(
        "proc/locks", fake.text("proc/locks").replace("FLOCK  ADVISORY  WRITE 4711 ", "FLOCK  ADVISORY  WRITE 4711 ff:")
    )
    assert fake.node.flock_holder(fake.flock_file(101)) == ""


def test_a_lock_file_that_is_not_there(fake: FakeNode) -> None:
    assert fake.node.flock_holder(fake.flock_file(999)) == ""
