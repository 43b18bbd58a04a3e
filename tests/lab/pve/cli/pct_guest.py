# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::CLI::pct: the commands that only the command line has.

from __future__ import annotations

import os
from typing import Any

from .. import lxc as container
from ..environment import Environment
from ..exceptions import PVEError
from ..guest.abstract_config import Conf
from ..guest_files import NewFile, Owner, create_file
from ..json_schema import get_standard_option, parse_boolean
from ..lxc.config import Config
from ..rest_handler import Method, Parameters, Schema
from ..tools import warn

_SOURCE = "/usr/share/perl5/PVE/CLI/pct.pm"
_VMID = get_standard_option("pve-vmid")
_KEEP_ENV = {
    "type": "boolean",
    "description": "Keep the current environment. This option will disabled by default with PVE 9."
    " If you rely on a preserved environment, please use this option to be future-proof.",
    "optional": 1,
    "default": 1,
}


def _attach(environment: Environment, param: Parameters, command: list[str] | None) -> int:
    vmid = int(param["vmid"])
    Config(environment.system).load_config(vmid)
    if not container.check_running(environment.system, vmid):
        raise PVEError(f"container '{vmid}' not running!")
    if command is not None and not command:
        raise PVEError(f"missing command at {_SOURCE} line 246.")
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        os.environ.pop(name, None)
    return environment.system.lxc.attach(vmid, command or [], bool(parse_boolean(param.get("keep-env", 1))))


def _exec(environment: Environment, param: Parameters) -> int:
    return _attach(environment, param, list(param.get("extra-args") or []))


def _enter(environment: Environment, param: Parameters) -> int:
    return _attach(environment, param, None)


def _push(environment: Environment, param: Parameters) -> str:
    system = environment.system
    vmid = int(param["vmid"])
    file = NewFile(param["destination"], *(param.get(key) for key in ("perms", "user", "group")))
    config = Config(system)
    with config.lock_config(vmid):
        if not container.check_running(system, vmid):
            raise PVEError("can only push files to a running CT")
        conf = config.load_config(vmid)

        def work(_upid: str) -> None:
            try:
                source = (
                    os.dup(0) if param["file"] == "/dev/stdin" else os.open(system.path(param["file"]), os.O_RDONLY)
                )
            except OSError:
                raise PVEError(f"failed to open {param['file']} for reading") from None
            system.lxc.write_file(vmid, source, file, unprivileged=bool(int(conf.get("unprivileged") or 0)))

        return environment.fork_worker("push_file", str(vmid), work)


def _pull(environment: Environment, param: Parameters) -> str:
    system = environment.system
    vmid = int(param["vmid"])
    file = NewFile(param["destination"], *(param.get(key) for key in ("perms", "user", "group")))
    with Config(system).lock_config(vmid):
        if not container.check_running(system, vmid):
            raise PVEError(f"can only pull files from a running VM at {_SOURCE} line 664.")

        def work(_upid: str) -> None:
            target, owner = create_file(file, str(system.path(file.path)), may_chown=False)
            if owner != Owner(None, None):
                system.chown(system.path(file.path), *(-1 if number is None else number for number in owner))
            try:
                system.lxc.read_file(vmid, param["path"], target)
            finally:
                os.close(target)

        return environment.fork_worker("pull_file", str(vmid), work)


def _unlock(environment: Environment, param: Parameters) -> None:
    Config(environment.system).remove_lock(int(param["vmid"]))


def _mount(environment: Environment, param: Parameters) -> None:
    config = Config(environment.system)
    vmid = int(param["vmid"])
    with config.lock_config(vmid):
        conf = config.set_lock(vmid, "mounted")
        container.mount_all(environment.system, vmid, conf)
    environment.print(f"mounted CT {vmid} in '/var/lib/lxc/{vmid}/rootfs'")


def _unmount(environment: Environment, param: Parameters) -> None:
    config = Config(environment.system)
    vmid = int(param["vmid"])
    with config.lock_config(vmid):
        container.umount_all(environment.system, vmid, config.load_config(vmid))
        config.remove_lock(vmid, "mounted")


def _fstrim(environment: Environment, param: Parameters) -> None:
    system = environment.system
    config = Config(system)
    vmid = int(param["vmid"])
    conf = config.set_lock(vmid, "fstrim")
    try:
        rootdir = container.mount_all(system, vmid, conf)
        for key, volume in config.foreach_volume(conf):
            skipped = key != "rootfs" and parse_boolean(param.get("ignore-mountpoints", 0))
            if volume["type"] != "bind" and not skipped:
                result = system.run(["fstrim", "-v", f"{rootdir}{volume['mp']}"])
                environment.print((result.stdout + result.stderr).rstrip())
    except PVEError as error:
        warn(error.message)
    container.umount_all(system, vmid, conf)
    config.remove_lock(vmid, "fstrim")


def _df(environment: Environment, param: Parameters) -> None:
    config = Config(environment.system)
    vmid = int(param["vmid"])
    with config.lock_config(vmid):
        if container.check_running(environment.system, vmid):
            _print_usage(environment, config.load_config(vmid), str(environment.system.lxc.root_path(vmid)))
            return
        conf = config.set_lock(vmid, "mounted")
        rootdir = container.mount_all(environment.system, vmid, conf)
        _print_usage(environment, conf, str(environment.system.path(rootdir)))
        container.umount_all(environment.system, vmid, conf)
        config.remove_lock(vmid, "mounted")


def _print_usage(environment: Environment, conf: Conf, root: str) -> None:
    rows = [("MP", "Volume", "Size", "Used", "Avail", "Use%", "Path")]
    for key, volume in Config(environment.system).foreach_volume(conf):
        found = os.statvfs(f"{root}/{volume['mp']}")
        total, used = found.f_blocks * found.f_frsize, (found.f_blocks - found.f_bfree) * found.f_frsize
        sizes = (_human(number) for number in (total, used, found.f_bavail * found.f_frsize))
        rows.append((key, volume["volume"], *sizes, f"{100 * used / total:.1f}", volume["mp"]))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    for row in rows:
        texts = [
            text.ljust(width) if n < 2 else text.rjust(width)
            for n, (text, width) in enumerate(zip(row, widths, strict=False))
        ]
        environment.print(" ".join([*texts, row[6]]))


def _human(size: float) -> str:
    for unit in ("", "K", "M", "G"):
        if size < 1024:
            return f"{size:.1f}{unit}" if unit else str(int(size))
        size /= 1024
    return f"{size:.1f}T"


def _cpusets(environment: Environment, _param: Parameters) -> None:
    from ..lxc.lxc_config import parse_cpuset  # noqa: PLC0415

    system = environment.system
    sets = {}
    for vmid in system.lxc.running_ids():
        file = system.path(f"sys/fs/cgroup/lxc/{vmid}/cpuset.cpus.effective")
        if file.is_file():
            sets[vmid] = parse_cpuset(file.read_text(encoding="ascii"))
    if not sets:
        environment.print("no running containers")
        return
    lines = {
        vmid: ": " + "".join(f" {cpu if cpu in cpus else ' ' * len(str(cpu))}" for cpu in range(cpus[-1] + 1))
        for vmid, cpus in sets.items()
    }
    width = max(len(str(vmid)) for vmid in lines)
    rule = "-" * (width + max(map(len, lines.values())))
    environment.print("\n".join([rule, *(f"{vmid:>{width}}{line}" for vmid, line in lines.items()), rule]))


def _fsck(environment: Environment, param: Parameters) -> None:
    config = Config(environment.system)
    vmid = int(param["vmid"])
    key = param.get("device") or "rootfs"
    with config.lock_config(vmid):
        conf = config.load_config(vmid)
        if key not in conf:
            raise PVEError(f"cannot run command on non-existing mount point {key}")
        if container.check_running(environment.system, vmid):
            raise PVEError("cannot run fsck when container is running")
        volid = config.parse_volume(key, conf[key])["volume"]
        if volid.startswith("/"):
            raise PVEError(f"path '{volid}' does not point to a block device")
        raise PVEError(f"unable to run fsck for '{volid}' (format == subvol)")


def _method(name: str, verb: str, description: str, code: Any, more: Schema) -> Method:
    return Method(
        name=name,
        method=verb,
        path=f"/{name}",
        description=description,
        parameters={"vmid": _VMID, **more},
        code=code,
    )


def _file_options(where: str) -> Schema:
    return {
        "user": {"type": "string", "description": f"Owner user name or id.{where}", "optional": 1},
        "group": {"type": "string", "description": f"Owner group name or id.{where}", "optional": 1},
        "perms": {
            "type": "string",
            "description": "File permissions to use (octal by default, prefix with '0x' for hexadecimal).",
            "optional": 1,
        },
    }


exec_ = _method(
    "exec",
    "GET",
    "Launch a command inside the specified container.",
    _exec,
    {"keep-env": _KEEP_ENV, "extra-args": get_standard_option("extra-args")},
)
enter = _method("enter", "GET", "Launch a shell for the specified container.", _enter, {"keep-env": _KEEP_ENV})
push = _method(
    "push",
    "PUT",
    "Copy a local file to the container.",
    _push,
    {
        "file": {"type": "string", "description": "Path to a local file."},
        "destination": {"type": "string", "description": "Destination inside the container to write to."},
        **_file_options(" When using a name it must exist inside the container."),
    },
)
pull = _method(
    "pull",
    "PUT",
    "Copy a file from the container to the local system.",
    _pull,
    {
        "path": {"type": "string", "description": "Path to a file inside the container to pull."},
        "destination": {"type": "string", "description": "Destination"},
        **_file_options(""),
    },
)
unlock = _method("unlock", "PUT", "Unlock the VM.", _unlock, {})
mount = _method(
    "mount",
    "POST",
    "Mount the container's filesystem on the host. This will hold a lock on the container and is meant for emergency"
    " maintenance only as it will prevent further operations on the container other than start and stop.",
    _mount,
    {},
)
unmount = _method("unmount", "POST", "Unmount the container's filesystem.", _unmount, {})
fstrim = _method(
    "fstrim",
    "POST",
    "Run fstrim on a chosen CT and its mountpoints, except bind or read-only mountpoints.",
    _fstrim,
    {
        "ignore-mountpoints": {
            "description": "Skip all mountpoints, only do fstrim on the container root.",
            "optional": 1,
            "type": "boolean",
        }
    },
)
df = _method("df", "GET", "Get the container's current disk usage.", _df, {})
fsck = _method(
    "fsck",
    "PUT",
    "Run a filesystem check (fsck) on a container volume.",
    _fsck,
    {
        "force": {
            "optional": 1,
            "type": "boolean",
            "description": "Force checking, even if the filesystem seems clean",
            "default": 0,
        },
        "device": {
            "optional": 1,
            "type": "string",
            "description": "A volume on which to run the filesystem check",
            "enum": ["rootfs", *(f"mp{n}" for n in range(256))],
        },
    },
)
cpusets = Method(
    name="cpusets",
    method="GET",
    path="/cpusets",
    description="Print the list of assigned CPU sets.",
    parameters={},
    code=_cpusets,
)
