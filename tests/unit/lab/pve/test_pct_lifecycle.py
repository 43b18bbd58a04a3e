# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.pve.simulated import read_device

from .node_with_pct import TEMPLATE, Pct


@pytest.fixture
def pct(tmp_path: Path) -> Pct:
    return Pct(tmp_path)


def test_create_sets_up_the_root_file_system(pct: Pct) -> None:
    pct.create(900, "--hostname", "gpu1.lab", "--net0", "name=eth0,bridge=vmbr0,ip=10.0.0.2/24,gw=10.0.0.1")

    assert pct.file(900, "etc/hostname").read_text() == "gpu1\n"
    assert pct.file(900, "etc/hosts").read_text() == (
        "127.0.0.1 localhost\n# --- BEGIN PVE ---\n::1 localhost.localnet localhost\n"
        "10.0.0.2 gpu1.lab gpu1\n# --- END PVE ---\n"
    )
    assert pct.file(900, "etc/network/interfaces").read_text() == (
        "auto lo\niface lo inet loopback\niface lo inet6 loopback\n\n"
        "auto eth0\niface eth0 inet static\n\taddress 10.0.0.2/24\n\tgateway 10.0.0.1\n\n"
    )
    assert "nameserver 10.99.0.1" in pct.file(900, "etc/resolv.conf").read_text()
    assert not pct.file(900, "etc/machine-id").exists()
    assert pct.file(900, "etc/shadow").read_text() == "root:*:1::::::\n"


def test_create_takes_keys_out_of_the_file_that_the_command_line_names(pct: Pct, tmp_path: Path) -> None:
    keys = tmp_path / "keys.pub"
    keys.write_text("ssh-ed25519 AAAA me\n")
    pct.create(900, "--ssh-public-keys", str(keys))
    assert pct.file(900, "root/.ssh/authorized_keys").read_text() == (
        "# --- BEGIN PVE ---\nssh-ed25519 AAAA me\n# --- END PVE ---\n"
    )


def test_create_without_the_file_of_keys(pct: Pct) -> None:
    done = pct("create", "900", TEMPLATE, "--rootfs", "local-zfs:1", "--ssh-public-keys", "/nowhere")
    assert (done.rc, done.err) == (255, "can't open '/nowhere' - No such file or directory\n")


def test_create_warns_about_systemd_without_nesting(pct: Pct) -> None:
    done = pct("create", "900", TEMPLATE, "--rootfs", "local-zfs:1")

    assert done.rc == 0
    assert "WARN: Systemd 257 detected. You may need to enable nesting.\n" in done.out
    assert done.err == "Task finished with 1 warning(s)!\n"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        pytest.param(("--rootfs", "nostor:2"), "storage 'nostor' does not exist\n", id="storage"),
        pytest.param(
            ("--mp0", "lab:1,mp=/x"), "mount points configured, but 'rootfs' not set - aborting\n", id="rootfs"
        ),
        pytest.param(
            ("--rootfs", "plain:1"),
            "unable to create CT 900 - unable to create image: open3: exec of /usr/bin/qemu-img create -o"
            " preallocation=off -f raw /srv/plain/images/900/vm-900-disk-0.raw 1048576K failed: No such file or"
            " directory at /usr/share/perl5/PVE/Cmd.pm line 174.\n",
            id="an image without qemu-img",
        ),
    ],
)
def test_create_that_fails_leaves_nothing(pct: Pct, words: tuple[str, ...], error: str) -> None:
    done = pct("create", "900", TEMPLATE, *words)

    assert (done.rc, done.err) == (255, error)
    assert not pct.system.path("etc/pve/lxc/900.conf").exists()


def test_devices_and_raw_mounts_are_there_after_the_start(pct: Pct) -> None:
    pct.system.mknod("dev/nvidia0", "c", 195, 0)
    pct.system.mknod("dev/nvidiactl", "c", 195, 255)
    pct.create(900, "--dev0", "path=/dev/nvidia0,mode=0640,gid=44")
    pct.append(900, "lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file")
    pct.append(900, "lxc.mount.entry: /dev/nosuch dev/nosuch none bind,optional,create=file")
    pct.ok("start", "900")

    devices = pct.system.path("var/lib/simulated/900.dev")
    assert (devices / "nvidia0").read_text() == "fake-device c 195 0 0640 0 44\n"
    assert read_device(devices / "nvidiactl") == ("c", 195, 255)
    assert (devices / "nosuch").stat().st_size == 0
    assert "lxc.cgroup2.devices.allow = c 195:0 rw\n" in str(pct.system.lxc.started_with(900))


# pct-transcripts 8: pct set bad raw line makes start fail
def test_start_with_a_missing_mount_source_fails(pct: Pct) -> None:
    pct.create(900)
    pct.append(900, "lxc.mount.entry: /dev/nosuch dev/nosuch none bind,create=file")

    done = pct("start", "900")

    assert (done.rc, done.err) == (255, "startup for container '900' failed\n")
    assert done.out.splitlines()[0].startswith("safe_mount: 1334 No such file or directory - Failed to mount ")
    assert pct.ok("status", "900") == "status: stopped\n"


def test_a_device_that_is_mounted_already_cannot_be_passed_on(pct: Pct) -> None:
    pct.system.mknod("dev/nvidia0", "c", 195, 0)
    pct.create(900, "--dev0", "/dev/nvidia0")
    pct.append(900, "lxc.mount.entry: /dev/nvidia0 dev/nvidia0 none bind,optional,create=file")

    done = pct("start", "900")

    assert (done.rc, done.err) == (255, "startup for container '900' failed\n")
    assert done.out.startswith("run_buffer: 571 Script exited with status 17\n")


def test_pending_changes_take_effect_at_the_restart_from_inside(pct: Pct) -> None:
    pct.create(900)
    pct.ok("start", "900")
    pct.ok("set", "900", "--features", "nesting=1,keyctl=1")
    first = pct.system.lxc.init_pid(900)

    assert pct.system.lxc.reboot(900, 10)

    assert pct.system.lxc.init_pid(900) not in (None, first)
    assert "[pve:pending]" not in pct.conf(900)
    assert "features: nesting=1,keyctl=1\n" in pct.conf(900)


def test_shutdown_of_a_container_that_does_not_listen(pct: Pct) -> None:
    pct.create(900)
    pct.ok("start", "900")
    pct.system.lxc.make_stubborn(900)

    done = pct("shutdown", "900", "--timeout", "3")

    assert (done.rc, done.err) == (255, "container did not stop\n")
    assert done.out.endswith("command 'lxc-stop -n 900 --nokill --timeout 3' failed: exit code 1\n")
    pct.ok("shutdown", "900", "--timeout", "3", "--forceStop", "1")
    assert pct.ok("status", "900") == "status: stopped\n"


@pytest.mark.parametrize("storage", ["local-zfs", "lab"])
def test_rollback_brings_files_and_configuration_back(pct: Pct, storage: str) -> None:
    pct.create(900, storage=storage)
    pct.ok("start", "900")
    pct.ok("snapshot", "900", "clean", "--description", "golden")
    pct.ok("exec", "900", "--", "touch", "/root/mark")
    pct.ok("set", "900", "--memory", "700")

    pct.ok("rollback", "900", "clean")

    assert pct.ok("status", "900") == "status: stopped\n"
    assert "memory: 512\n" in pct.conf(900)
    pct.ok("start", "900")
    assert pct("exec", "900", "--", "test", "-e", "/root/mark").rc == 1


def test_zfs_rolls_back_to_the_most_recent_snapshot_only(pct: Pct) -> None:
    pct.create(900)
    pct.ok("snapshot", "900", "one")
    pct.ok("snapshot", "900", "two")

    error = "can't rollback, 'one' is not most recent snapshot on 'local-zfs:subvol-900-disk-0'\n"
    assert pct("rollback", "900", "one").err == error
    pct.ok("delsnapshot", "900", "two")
    pct.ok("rollback", "900", "one")


def test_a_folder_has_no_snapshots(pct: Pct) -> None:
    pct.ok("create", "900", TEMPLATE, "--rootfs", "plain:0", "--features", "nesting=1")

    assert pct("snapshot", "900", "s1").err == "snapshot feature is not available\n"
    assert "[s1]" not in pct.conf(900)


def test_an_interrupted_snapshot_can_be_deleted_after_unlock(pct: Pct) -> None:
    pct.create(900)
    pct.append(900, "", "[halfway]", "snapstate: prepare", "snaptime: 1")

    error = "unable to rollback to incomplete snapshot (snapstate = prepare)\n"
    assert pct("rollback", "900", "halfway").err == error
    pct.ok("delsnapshot", "900", "halfway")
    assert "halfway" not in pct.conf(900)


def test_a_full_clone_is_independent_and_has_a_new_address(pct: Pct) -> None:
    pct.create(900, "--net0", "name=eth0,bridge=vmbr0,ip=10.0.0.2/24", "--hostname", "a")
    pct.append(900, "lxc.cgroup2.devices.allow: c 195:* rwm")
    pct.ok("clone", "900", "901", "--hostname", "b")

    hwaddr: Callable[[int], list[str]] = lambda vmid: re.findall("hwaddr=([^,]*)", pct.conf(vmid))  # noqa: E731
    assert hwaddr(900) != hwaddr(901)
    assert "hostname: b\n" in pct.conf(901)
    assert "lxc.cgroup2.devices.allow: c 195:* rwm\n" in pct.conf(901)
    assert "lock" not in pct.conf(900) + pct.conf(901)
    pct.ok("destroy", "900")
    assert pct.file(901, "etc/hostname").exists()


@pytest.mark.parametrize("storage", ["local-zfs", "lab"])
def test_a_template_is_cloned_by_reference(pct: Pct, storage: str) -> None:
    pct.create(900, storage=storage)
    refused = pct("clone", "900", "901", "--full", "0")
    assert refused.err.startswith("Linked clone feature for ")

    pct.ok("template", "900")
    assert pct("start", "900").err == "you can't start a CT if it's a template\n"
    assert "create linked clone of mount point rootfs" in pct.ok("clone", "900", "901")
    pct.ok("start", "901")


def test_a_template_in_use_cannot_be_destroyed(pct: Pct) -> None:
    pct.create(900)
    pct.ok("template", "900")
    pct.ok("clone", "900", "901")

    assert pct("destroy", "900").err == "base volume 'basevol-900-disk-0' is still in use by linked clones\n"


def test_a_failed_clone_unlocks_and_removes(pct: Pct) -> None:
    pct.create(900)

    done = pct("clone", "900", "901", "--storage", "plain")

    assert done.rc == 255
    assert done.err.startswith("clone failed: unable to create image: ")
    assert "lock" not in pct.conf(900)
    assert not pct.system.path("etc/pve/lxc/901.conf").exists()


def test_copy_delay_shows_in_time_only(pct: Pct) -> None:
    pct.create(900)
    pct.system.path("etc/phoenix-lab").mkdir()
    pct.system.path("etc/phoenix-lab/copy-delay").write_text("2.5\n")

    pct.ok("clone", "900", "901")

    assert pct.slept == 2.5


def test_resize_grows_only(pct: Pct) -> None:
    pct.create(900)

    assert pct("resize", "900", "rootfs", "512M").err == "unable to shrink disk size\n"
    assert pct("resize", "900", "rootfs", "1G").err == "disk is already at specified size\n"
    pct.ok("resize", "900", "rootfs", "+1G")
    assert "size=2G" in pct.conf(900)


# pct-transcripts 7: push / pull
@pytest.mark.parametrize(
    ("words", "error"),
    [
        pytest.param(("/nosuch", "/root/x"), "failed to open /nosuch for reading\n", id="source"),
        pytest.param(
            ("/etc/resolv.conf", "/no/x"), "failed to create file: /no/x: No such file or directory\n", id="folder"
        ),
        pytest.param(("/etc/resolv.conf", "/root/x", "--perms", "0o755"), "invalid mode: '0o755'\n", id="mode"),
        pytest.param(
            ("/etc/resolv.conf", "/root/x", "--user", "nosuchuser"), "failed to get uid for: nosuchuser\n", id="user"
        ),
    ],
)
def test_a_failed_push_exits_with_0(pct: Pct, words: tuple[str, ...], error: str) -> None:
    pct.create(900)
    pct.ok("start", "900")

    done = pct("push", "900", *words)

    assert (done.rc, done.err) == (0, error)


def test_push_and_pull_carry_bytes(pct: Pct) -> None:
    pct.create(900)
    pct.ok("start", "900")
    data = bytes(range(256)) * 1000
    pct.system.path("tmp").mkdir()
    pct.system.path("tmp/a").write_bytes(data)

    pct.ok("push", "900", "/tmp/a", "/root/a", "--perms", "600")
    pct.ok("pull", "900", "/root/a", "/tmp/b")

    assert pct.system.path("tmp/b").read_bytes() == data
    assert pct.file(900, "root/a").stat().st_mode & 0o7777 == 0o600


def test_start_with_skiplock(pct: Pct) -> None:
    pct.create(900)
    pct.append(900, "lock: backup")

    assert pct("start", "900").err == "CT is locked (backup)\n"
    pct.ok("start", "900", "--skiplock", "1")


def test_mount_shows_the_files_and_locks(pct: Pct) -> None:
    pct.create(900)
    pct.ok("mount", "900")

    assert pct.system.path("var/lib/lxc/900/rootfs/etc/hostname").read_text() == "localhost\n"
    assert "lock: mounted\n" in pct.conf(900)
    pct.ok("unmount", "900")
    assert list(pct.system.path("var/lib/lxc/900/rootfs").iterdir()) == []
    assert "lock" not in pct.conf(900)


def test_destroy_takes_snapshots_and_unused_volumes_along(pct: Pct) -> None:
    pct.create(900, "--mp0", "local-zfs:1,mp=/data")
    pct.ok("snapshot", "900", "s1")
    pct.ok("delsnapshot", "900", "s1")
    pct.ok("set", "900", "--delete", "mp0")
    assert "unused0: local-zfs:subvol-900-disk-1\n" in pct.conf(900)

    pct.ok("destroy", "900")

    assert [path.name for path in pct.system.path("rpool/data").iterdir() if not path.name.startswith(".")] == []


def test_the_firewall_goes_with_its_container(pct: Pct) -> None:
    folder = pct.system.path("etc/pve/firewall")
    folder.mkdir()
    pct.create(900)
    (folder / "900.fw").write_text("[RULES]\nIN DROP\n")
    (folder / "902.fw").write_text("of an earlier container")

    pct.ok("clone", "900", "901")
    assert (folder / "901.fw").read_text() == "[RULES]\nIN DROP\n"
    pct.ok("destroy", "900")
    assert [path.name for path in sorted(folder.iterdir())] == ["901.fw", "902.fw"]
    pct.ok("destroy", "901")
    pct.create(903)
    pct.ok("clone", "903", "902")
    assert list(folder.iterdir()) == []


def test_a_mount_point_is_put_into_a_running_container(pct: Pct) -> None:
    pct.create(900)
    pct.ok("start", "900")
    pct.ok("set", "900", "--mp0", "local-zfs:1,mp=/data")
    pct.ok("exec", "900", "--", "touch", "/data/x")

    assert pct.system.path("rpool/data/subvol-900-disk-1/x").exists()
    pct.ok("snapshot", "900", "s1")
    pct.ok("rollback", "900", "s1", "--start", "1")
    assert pct.ok("status", "900") == "status: running\n"
