# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._startable import needed_to_start


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ({"dev0": "path=/dev/nvidia0,mode=0666"}, [("dev0", "/dev/nvidia0")]),
        ({"dev1": "/dev/fuse"}, [("dev1", "/dev/fuse")]),
        ({"mp0": "/srv/models,mp=/models,ro=1"}, [("mp0", "/srv/models")]),
        ({"mp1": "/dev/sdb1,mp=/disk"}, [("mp1", "/dev/sdb1")]),
        ({"mp2": "local-zfs:subvol-900-disk-1,mp=/data,size=1G", "rootfs": "local-zfs:subvol-900-disk-0"}, []),
        ({"unused0": "/srv/old", "memory": "512"}, []),
    ],
)
def test_keys(options: dict[str, str], needed: list[tuple[str, str]]) -> None:
    assert needed_to_start(options, ()) == needed


@pytest.mark.parametrize(
    ("entry", "source"),
    [
        ("/usr/lib/libcuda.so.1 usr/lib/libcuda.so.1 none bind,ro,create=file", "/usr/lib/libcuda.so.1"),
        ("/srv\tsrv  none rbind,create=dir 0 0", "/srv"),
        (r"/srv/two\040words srv none bind", "/srv/two words"),
        ("/dev/nvidia0 dev/nvidia0 none bind,optional,create=file", ""),
        ("/proc/kcore proc/kcore none bind,relative", ""),
        ("dev/null proc/kcore none bind", ""),
        ("proc proc proc nodev,noexec,nosuid", ""),
        ("/any run/scratch tmpfs size=1G", ""),
        ("//server/share mnt cifs guest", ""),
        ("/srv srv", ""),
        ("", ""),
    ],
)
def test_lines(entry: str, source: str) -> None:
    """pct-transcripts 8: only with "optional" a container starts without the source of a mount."""
    raw = [("lxc.cgroup2.devices.allow", "c 195:* rwm"), ("lxc.mount.entry", entry)]
    assert needed_to_start({}, raw) == ([("lxc.mount.entry", source)] if source else [])
