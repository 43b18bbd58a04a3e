# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.pve.exceptions import PVEError
from lab.pve.lxc.config import Config
from lab.pve.simulated import SimulatedSystem


@pytest.fixture
def config(tmp_path: Path) -> Config:
    system = SimulatedSystem(tmp_path, hwaddr=lambda: "BC:24:11:00:00:01")
    system.prepare("")
    return Config(system)


def write(config: Config, text: str, vmid: int = 101) -> None:
    config.system.path(config.config_file(vmid)).write_text(text)


def read(config: Config, vmid: int = 101) -> str:
    return config.system.path(config.config_file(vmid)).read_text()


def test_no_such_container(config: Config) -> None:
    # pct-transcripts 1: status nonexistent
    with pytest.raises(PVEError) as refused:
        config.load_config(999)
    assert refused.value.text() == "Configuration file 'nodes/pve1/lxc/999.conf' does not exist\n"
    with pytest.raises(PVEError, match="failed to remove config file: No such file or directory"):
        config.destroy_config(999)


def test_the_config_of_now_and_after_the_next_start(config: Config) -> None:
    # pct-transcripts 3: pct config and pct config --current
    write(
        config,
        "cores: 2\ndev0: /dev/nvidia0\nfeatures: nesting=1\nonboot: 0\n\n"
        "[pve:pending]\ndelete: dev0,onboot\nfeatures: nesting=1,keyctl=1\n\n[clean]\ncores: 1\n",
    )
    now = config.load_current_config(101, True)
    later = config.load_current_config(101, False)
    digest = now.pop("digest")
    assert now == {"cores": 2, "dev0": "/dev/nvidia0", "features": "nesting=1", "onboot": 0}
    # A key that is 0 survives its deletion here: PVE asks whether it is true.
    assert later == {"cores": 2, "features": "nesting=1,keyctl=1", "onboot": 0, "digest": digest}
    assert config.load_snapshot_config(101, "clean") == {"cores": 1, "digest": digest}
    with pytest.raises(PVEError, match="snapshot 'nope' does not exist"):
        config.load_snapshot_config(101, "nope")


def test_a_lock(config: Config) -> None:
    # pct-transcripts 9
    write(config, "cores: 1\n")
    assert config.set_lock(101, "backup")["lock"] == "backup"
    conf = config.load_config(101)
    assert read(config) == "cores: 1\nlock: backup\n"
    assert config.has_lock(conf)
    assert config.has_lock(conf, "backup")
    assert not config.has_lock(conf, "disk")
    for refused in (lambda: config.check_lock(conf), lambda: config.set_lock(101, "disk")):
        with pytest.raises(PVEError, match=r"^CT is locked \(backup\)$"):
            refused()
    with pytest.raises(PVEError, match="found lock 'backup' trying to remove 'disk' lock"):
        config.remove_lock(101, "disk")
    config.remove_lock(101, "backup")
    assert read(config) == "cores: 1\n"
    for name, text in ((None, "any lock"), ("disk", "'disk'  lock")):
        with pytest.raises(PVEError, match=f"no lock found trying to remove {text}"):
            config.remove_lock(101, name)
    with config.lock_config_shared(101, 1):
        pass


def test_a_new_container_is_locked_at_once(config: Config) -> None:
    config.create_and_lock_config(101)
    assert read(config) == "lock: create\n"
    with pytest.raises(PVEError, match="CT 101 already exists on node 'pve1'"):
        config.create_and_lock_config(101)
    with pytest.raises(PVEError, match="CT is locked"):
        config.create_and_lock_config(101, allow_existing=True)
    config.destroy_config(101)
    assert not config.system.path(config.config_file(101)).exists()


def test_flags(config: Config) -> None:
    assert config.is_template({"template": 1})
    assert not config.is_template({"template": 0})
    config.check_protection({}, "can't")
    with pytest.raises(PVEError, match=r"^can't - protection mode enabled$"):
        config.check_protection({"protection": 1}, "can't")
    assert config.option_exists("dev7")
    assert not config.option_exists("dev256")
    assert config.default({}, "memory") == 512
    assert config.default({"memory": 1}, "memory") == 1


def test_pending_deletions(config: Config) -> None:
    conf: dict[str, Any] = {"a": 1, "b": 2}
    config.add_to_pending_delete(conf, "b")
    config.add_to_pending_delete(conf, "a", force=True)
    assert conf["pending"] == {"delete": "!a,b"}
    config.remove_from_pending_delete(conf, "a")
    config.remove_from_pending_delete(conf, "c")
    assert conf["pending"] == {"delete": "b"}
    config.remove_from_pending_delete(conf, "b")
    assert conf["pending"] == {}


@pytest.mark.parametrize(
    ("conf", "pending", "changed"),
    [
        ({"memory": 512, "pending": {"memory": "512", "swap": 1}}, {"swap": 1}, True),
        ({"memory": 512, "pending": {"delete": "memory,gone"}}, {"delete": "memory"}, True),
        ({"memory": 512, "pending": {"memory": 513, "delete": "memory"}}, {"memory": 513, "delete": "memory"}, False),
    ],
)
def test_what_changes_nothing_is_forgotten(
    config: Config, conf: dict[str, Any], pending: dict[str, Any], changed: bool
) -> None:
    assert config.cleanup_pending(conf) is changed
    assert conf["pending"] == pending


CONF: dict[str, Any] = {
    "rootfs": "local-zfs:subvol-101-disk-0,size=2G",
    "mp0": "local-zfs:subvol-101-disk-1,mp=/data,size=1G",
    "mp1": "/srv,mp=/srv",
    "mp2": "broken",
    "mp3": "/dev/sdb1,mp=/disk",
    "unused0": "local-zfs:subvol-101-disk-2",
}


def test_volumes(config: Config) -> None:
    volumes = dict(config.foreach_volume(CONF, include_unused=True))
    assert volumes["rootfs"] == {
        "volume": "local-zfs:subvol-101-disk-0",
        "size": 2 << 30,
        "mp": "/",
        "type": "volume",
    }
    assert [(key, volume["type"]) for key, volume in volumes.items()] == [
        ("rootfs", "volume"),
        ("mp0", "volume"),
        ("mp1", "bind"),
        ("mp3", "device"),
        ("unused0", "volume"),
    ]
    assert [key for key, _volume in config.foreach_volume(CONF, reverse=True)] == ["mp3", "mp1", "mp0", "rootfs"]
    assert [key for key, _volume in config.foreach_volume({"unused1": "a-b:c"}, extra_keys=["unused1"])] == ["unused1"]
    assert config.get_vm_volumes(CONF, "rootfs") == ["local-zfs:subvol-101-disk-1"]
    for key, volume in volumes.items():
        assert config.print_volume(key, volume) == CONF[key]
    with pytest.raises(PVEError, match="parse_volume - unknown type: net0"):
        config.parse_volume("net0", "x")


def test_volumes_in_use(config: Config) -> None:
    conf = {"snapshots": {"a": {"mp0": "s1:x,mp=/x"}}, "pending": {"mp0": "s1:y,mp=/x"}, "rootfs": "s1:z"}
    assert [config.is_volume_in_use(conf, volid) for volid in ("s1:x", "s1:y", "s1:z")] == [False, False, True]
    assert [config.is_volume_in_use(conf, volid, True, True) for volid in ("s1:x", "s1:y")] == [True, True]
    assert config.is_volume_in_use_by_snapshots(conf, "s1:x")
    assert not config.is_volume_in_use_by_snapshots(conf, "s1:z")


def test_unused_volumes(config: Config) -> None:
    conf = dict(CONF)
    assert config.add_unused_volume(conf, "a-b:c") == "unused1"
    assert config.add_unused_volume(conf, "a-b:c") is None
    config.update_volume_ids(conf, {"a-b:c": "a-b:d", "/srv": "/mnt"})
    assert (conf["unused1"], conf["mp1"]) == ("a-b:d", "/mnt,mp=/srv")
    full = {f"unused{n}": f"a-b:{n}" for n in range(256)}
    with pytest.raises(PVEError, match="Too many unused volumes - please delete them first"):
        config.add_unused_volume(full, "a-b:c")


def test_a_used_volume_is_not_written_as_unused(config: Config) -> None:
    conf = {"rootfs": "local-zfs:x", "unused0": "local-zfs:x", "unused1": "local-zfs:y", "snapstate": "delete"}
    config.write_config(101, conf)
    assert read(config) == "rootfs: local-zfs:x\nunused1: local-zfs:y\n"


def test_networks_devices_and_features(config: Config) -> None:
    assert config.parse_lxc_network(None) == {}
    network = config.parse_lxc_network("name=eth0,bridge=vmbr0")
    assert config.print_lxc_network(network) == "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,type=veth"
    device = config.parse_device("/dev/fuse,mode=0660")
    assert config.print_device(device) == "/dev/fuse,mode=0660"
    with pytest.raises(PVEError, match="Path has to be defined"):
        config.parse_device("mode=0660")
    assert [key for key, _device in config.foreach_passthrough_device({"dev10": "/dev/a", "dev2": "/dev/b"})] == [
        "dev2",
        "dev10",
    ]
    assert config.parse_features("nesting=1") == {"nesting": 1}
    assert config.parse_features(None) == {}
