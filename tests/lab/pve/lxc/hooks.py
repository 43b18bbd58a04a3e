# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What liblxc's hooks do (lxc-pve-prestart-hook, -autodev-hook, -poststop-hook, pve-container-stop-wrapper).

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..exceptions import PVEError
from ..guest.abstract_config import Conf
from ..system import System
from ..tools import warn
from .config import Config
from .devices import get_device_mode_and_rdev
from .idmap import IdMap, parse_id_maps
from .lxc_config import update_lxc_config
from .mounts import mount_volume
from .setup import Setup

_DEVICE_MODE = 0o660


def pre_start(system: System, vmid: int) -> None:
    """Mount the volumes and prepare the root file system. On a node this runs in the monitor's own mount namespace."""
    flag = system.path(f"run/lxc/skiplock-{vmid}")
    skiplock = flag.exists()
    flag.unlink(missing_ok=True)
    config = Config(system)
    conf = config.load_config(vmid)
    if not skiplock and not config.has_lock(conf, "mounted"):
        config.check_lock(conf)
    for kind in ("lxc", "lxc.monitor"):
        _remove_cgroup(system.path(f"sys/fs/cgroup/{kind}/{vmid}"))
    system.path(f"var/lib/lxc/{vmid}/reboot").unlink(missing_ok=True)

    rootdir = f"/var/lib/lxc/{vmid}/rootfs"
    with contextlib.suppress(PVEError):
        system.unmount(rootdir)
    ids = parse_id_maps(conf)
    for _key, volume in config.foreach_volume(conf):
        mount_volume(system, volume, rootdir, ids)
    _make_passthrough_devices(system, vmid, conf, ids)

    warnings = system.path(f"run/pve/ct-{vmid}.warnings")
    warnings.parent.mkdir(parents=True, exist_ok=True)
    with warnings.open("w", encoding="utf-8") as file:

        def log_warn(text: str) -> None:
            file.write(f"{text.rstrip()}\n")

        Setup(system, conf, rootdir, log_warn).pre_start_hook()


def post_stop(system: System, vmid: int, target: str) -> bool:
    """Clean up, and bring pending changes into effect. False: liblxc shall not restart the container itself, since it
    would use the configuration it once read."""
    config = Config(system)
    if not system.path(config.config_file(vmid)).is_file():
        return True
    conf = config.load_config(vmid)
    with contextlib.suppress(PVEError):
        system.unmount(f"/var/lib/lxc/{vmid}/rootfs")
    for key in conf:
        if found := re.fullmatch(r"net(\d+)", key):
            system.lxc.unplug_network(vmid, int(found[1]))
    # PVE writes the file here whether or not anything is pending.
    errors: dict[str, str] = {}
    try:
        config.vmconfig_apply_pending(vmid, conf, None, errors)
        config.write_config(vmid, conf)
    except PVEError as error:
        warn(error.message)
    update_lxc_config(system, vmid, conf)
    if target != "reboot":
        return True
    system.path(f"var/lib/lxc/{vmid}/reboot").touch()
    return False


def wants_restart(system: System, vmid: int) -> bool:
    """Whether the container stopped because its init asked for a restart; asked once."""
    flag = system.path(f"var/lib/lxc/{vmid}/reboot")
    if not flag.exists() or not system.path(Config(system).config_file(vmid)).is_file():
        return False
    flag.unlink()
    return True


def passthrough_folder(vmid: int) -> str:
    return f"/var/lib/lxc/{vmid}/passthrough"


def passthrough_devices(system: System, vmid: int) -> Iterator[str]:
    """The paths below /dev of what devN passes on."""
    file = system.path(f"{passthrough_folder(vmid)}/devices")
    if file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            yield line.split(":", 3)[3]


def _make_passthrough_devices(system: System, vmid: int, conf: Conf, ids: IdMap) -> None:
    folder = passthrough_folder(vmid)
    system.path(folder).mkdir(parents=True, exist_ok=True)
    devices = Config(system).foreach_passthrough_device(conf)
    system.lxc.prepare_passthrough(vmid)
    lines = []
    for _key, device in devices:
        kind, major, minor = get_device_mode_and_rdev(system, device["path"])
        make_device(system, vmid, device, ids)
        lines.append(f"{kind}:{major}:{minor}:{device['path']}\n")
    (system.path(folder) / "devices").write_text("".join(lines), encoding="utf-8")


def make_device(system: System, vmid: int, device: dict[str, object], ids: IdMap) -> None:
    """A device node as devN describes it, in the folder that the container's /dev gets it from."""
    path = str(device["path"])
    found = get_device_mode_and_rdev(system, path)
    mode = int(str(device["mode"]), 8) if device.get("mode") else _DEVICE_MODE
    uid = ids.to_host("u", int(str(device.get("uid", 0))))
    gid = ids.to_host("g", int(str(device.get("gid", 0))))
    system.make_device(f"{passthrough_folder(vmid)}{path}", found, mode, (uid, gid))


def _remove_cgroup(folder: Path) -> None:
    """A left-over keeps liblxc from starting."""
    if not folder.is_dir():
        return
    for path, names, _files in os.walk(folder, topdown=False):
        for name in names:
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(path, name))
    with contextlib.suppress(OSError):
        folder.rmdir()
