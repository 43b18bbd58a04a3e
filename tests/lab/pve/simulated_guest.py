# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# How a simulated container starts, and how commands run in it.

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from .exceptions import PVEError
from .guest_files import NewFile, copy, create_file
from .lxc import hooks
from .simulated import DEVICE, STATE, SimulatedSystem, read_device
from .simulated_inside import OWNERS
from .simulated_inside import attach as run_inside
from .system import Result

_ROOTFS = "/usr/lib/x86_64-linux-gnu/lxc/rootfs"
_NO_FILE = "No such file or directory"
_NOBODY = "65534 65534"


def attach(system: SimulatedSystem, vmid: int, command: Sequence[str], keep_env: bool) -> int:
    return run_inside(system.root, vmid, rootfs(system, vmid), command, keep_env)


def rootfs(system: SimulatedSystem, vmid: int) -> Path:
    return system.path(f"var/lib/lxc/{vmid}/rootfs").resolve()


def boot(system: SimulatedSystem, vmid: int) -> list[str]:
    """The hooks, then the mounts of the configuration. What liblxc complains about; nothing if the container runs."""
    try:
        hooks.pre_start(system, vmid)
    except PVEError:
        # What the hook says itself is in liblxc's debug log only.
        return [
            "../src/lxc/utils.c: run_buffer: 571 Script exited with status 2",
            f'../src/lxc/start.c: lxc_init: 845 Failed to run lxc.hook.pre-start for container "{vmid}"',
            f'../src/lxc/start.c: __lxc_start: 2034 Failed to initialize container "{vmid}"',
        ]
    config = system.path(f"var/lib/lxc/{vmid}/config").read_text(encoding="utf-8")
    devices = _make_devices(system, vmid)
    for entry in re.findall(r"^lxc\.mount\.entry = (.*)$", config, re.MULTILINE):
        if problems := _mount(system, vmid, devices, entry, "lxc.idmap = " in config):
            problems.append("../src/lxc/conf.c: lxc_setup: 3910 Failed to setup mount entries")
            return _failed(vmid, devices, problems, 3)
    # The hook autodev comes after the mounts, and makes files in /dev.
    for path in hooks.passthrough_devices(system, vmid):
        if (devices / path.removeprefix("/dev/")).exists():
            problems = ["../src/lxc/utils.c: run_buffer: 571 Script exited with status 17"]
            problems.append("../src/lxc/conf.c: lxc_setup: 3944 Failed to run autodev hooks")
            return _failed(vmid, devices, problems, 4)
        add_device(system, vmid, path)
    return []


def _failed(vmid: int, devices: Path, problems: list[str], step: int) -> list[str]:
    shutil.rmtree(devices)
    return [
        *problems,
        f'../src/lxc/start.c: do_start: 1277 Failed to setup container "{vmid}"',
        f"../src/lxc/sync.c: sync_wait: 34 An error occurred in another process (expected sequence number {step})",
        f'../src/lxc/start.c: __lxc_start: 2127 Failed to spawn container "{vmid}"',
    ]


def write_file(system: SimulatedSystem, vmid: int, source: int, file: NewFile) -> None:
    place = rootfs(system, vmid) / file.path.lstrip("/")
    folder = str(place) + ("/" if file.path.endswith("/") else "")
    target, owner = create_file(file, folder, may_chown=False)
    copy(source, target)
    os.close(target)
    # Writing takes the set-user-id bit away, from everybody but the node's root.
    place.chmod(place.stat().st_mode & 0o1777)
    path = system.path(OWNERS)
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    old = known.get(str(place.relative_to(system.root)), [0, 0])
    new = [given if given is not None else before for given, before in zip(owner, old, strict=True)]
    path.write_text(json.dumps({**known, str(place.relative_to(system.root)): new}), encoding="utf-8")


def program(system: SimulatedSystem, words: Sequence[str]) -> Result:
    """What PVE calls beside the runtime: lxc-checkpoint, which has no checkpoint, and `ip` inside the container."""
    vmid = words[2]
    if words[0] == "lxc-checkpoint":
        place = "../src/lxc/tools/lxc_checkpoint.c: lxc_checkpoint_main: 299"
        return Result(1, "", f"lxc-checkpoint: {vmid}: {place} {vmid} is not defined\n")
    config = system.lxc.started_with(int(vmid)) or ""
    if "link" not in words:
        return Result(0, "1: lo    inet 127.0.0.1/8 scope host lo\n1: lo    inet6 ::1/128 scope host\n", "")
    links = ["1: lo: <LOOPBACK,UP> link/loopback 00:00:00:00:00:00"]
    for number, hwaddr in re.findall(r"^lxc\.net\.(\d+)\.hwaddr = (.*)$", config, re.MULTILINE):
        name = re.findall(rf"^lxc\.net\.{number}\.name = (.*)$", config, re.MULTILINE)[0]
        links.append(f"{int(number) + 2}: {name}@if7: <UP> link/ether {hwaddr.lower()}")
    return Result(0, "\n".join(links) + "\n", "")


def add_device(system: SimulatedSystem, vmid: int, path: str) -> None:
    """What the hook autodev, or hotplug, puts into the container's /dev."""
    node = system.path(f"{hooks.passthrough_folder(vmid)}{path}")
    target = system.path(f"{STATE}/{vmid}.dev{path.removeprefix('/dev')}")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(node, target)


def _make_devices(system: SimulatedSystem, vmid: int) -> Path:
    folder = system.path(f"{STATE}/{vmid}.dev")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, minor in (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)):
        (folder / name).write_text(f"{DEVICE} c 1 {minor} 0666\n", encoding="ascii")
    return folder


def _mount(system: SimulatedSystem, vmid: int, devices: Path, entry: str, unprivileged: bool) -> list[str]:
    source, target, _kind, options, *_rest = [*entry.split(), "", "", "", ""]
    flags = options.split(",")
    optional = "optional" in flags
    creates = next((flag.partition("=")[2] for flag in flags if flag.startswith("create=")), None)
    if not {"bind", "rbind"} & set(flags):
        return []
    if target.startswith("/"):
        return [] if optional else _complaint(source, target.lstrip("/"), onto=True)
    place = devices / target.removeprefix("dev/") if target.startswith("dev/") else rootfs(system, vmid) / target
    if not place.exists():
        if creates is None:
            return [] if optional else _complaint(source, target, onto=False)
        place.parent.mkdir(parents=True, exist_ok=True)
        if creates == "dir":
            place.mkdir()
        else:
            place.touch()
            place.chmod(0)
    origin = system.path(source)
    if not origin.exists():
        return [] if optional else _complaint(source, target, onto=True)
    if device := read_device(origin):
        kind, major, minor = device
        mode = origin.read_text(encoding="ascii").split()[4]
        place.unlink()
        owner = _NOBODY if unprivileged else "0 0"
        place.write_text(f"{DEVICE} {kind} {major} {minor} {mode} {owner}\n", encoding="ascii")
    return []


def _complaint(source: str, target: str, *, onto: bool) -> list[str]:
    place = f"{_ROOTFS}/{target}"
    lines = [f'../src/lxc/conf.c: mount_entry: 2202 {_NO_FILE} - Failed to mount "{source}" on "{place}"']
    if onto:
        lines.insert(0, f'../src/lxc/utils.c: safe_mount: 1334 {_NO_FILE} - Failed to mount "{source}" onto "{place}"')
    return lines
