# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The programs of a simulated node: pct itself, and as much of the others as the recordings use beside it. A node of a
# real lab takes zfs from here, as it has none.

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab.pve import simulated_inside
from lab.pve.simulated import SimulatedSystem
from lab.pve.system import Result

# What liblxc takes from the files that PVE includes for every container.
_INCLUDED = {
    "lxc.mount.entry": ["/sys/fs/fuse/connections sys/fs/fuse/connections none bind,optional 0 0"],
    "lxc.cgroup2.devices.allow": ["a"],
}
_LISTS = tuple(_INCLUDED)
_SPEED = float(os.environ.get("PHOENIX_LAB_SPEED", "20"))


class ReplayedSystem(SimulatedSystem):
    """Time passes faster, and owners of files are remembered, as a user cannot give files away."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, sleep=lambda seconds: time.sleep(seconds / _SPEED))

    def run(self, argv: Sequence[str], *, stdin: str | None = None, env: Mapping[str, str] | None = None) -> Result:
        """The recorded template has a plain tar behind its name, so that nobody needs zstd."""
        return super().run([word for word in argv if word != "--zstd"], stdin=stdin, env=env)

    def chown(self, path: Path, uid: int, gid: int) -> None:
        owners = self.path(simulated_inside.OWNERS)
        known = json.loads(owners.read_text("utf-8")) if owners.exists() else {}
        name = str(path.relative_to(self.root))
        new = [old if given == -1 else given for given, old in zip((uid, gid), known.get(name, (0, 0)), strict=True)]
        owners.write_text(json.dumps({**known, name: new}), encoding="utf-8")


def main(name: str, arguments: list[str]) -> int:
    system = ReplayedSystem(Path(os.environ.get("PHOENIX_LAB_ROOT", "/")))
    return _PROGRAMS[name](system, arguments)


def _pct(system: ReplayedSystem, arguments: list[str]) -> int:
    from lab.pve.cli.pct import main as pct  # noqa: PLC0415 - only pct itself has to pay for it

    return pct(arguments, system)


def _sleep(system: ReplayedSystem, arguments: list[str]) -> int:
    system.sleep(float(arguments[0]))
    return 0


def _timeout(system: ReplayedSystem, arguments: list[str]) -> int:
    del system
    os.execv("/usr/bin/timeout", ["timeout", str(float(arguments[0]) / _SPEED), *arguments[1:]])


def _stat(system: ReplayedSystem, arguments: list[str]) -> int:
    code = simulated_inside.print_status(system.root, arguments, Path)
    return os.execv("/usr/bin/stat", ["stat", *arguments]) if code is None else code


def _mknod(system: ReplayedSystem, arguments: list[str]) -> int:
    name, kind, major, minor = arguments
    system.mknod(str(Path(name).relative_to(system.root)), kind, int(major), int(minor))
    return 0


def _lxc_attach(system: ReplayedSystem, arguments: list[str]) -> int:
    vmid = int(arguments[arguments.index("-n") + 1])
    command = arguments[arguments.index("--") + 1 :]
    if system.lxc.running(vmid):
        return system.lxc.attach(vmid, command, keep_env=True)
    for function, line, text in (("get_attach_context", 406, "init pid"), ("lxc_attach", 1474, "attach context")):
        source = f"../src/lxc/attach.c: {function}: {line} Connection refused"
        print(f"lxc-attach: {vmid}: {source} - Failed to get {text}", file=sys.stderr)
    return 1


def _lxc_info(system: ReplayedSystem, arguments: list[str]) -> int:
    vmid = int(arguments[arguments.index("-n") + 1])
    keys = [value for option, value in itertools.pairwise(arguments) if option == "-c"]
    if "-pH" in arguments:
        print(_visible_init(system, vmid) or "")
    elif keys:
        for key in keys:
            values = _values(_generated_config(system, vmid), key)
            end = "\n" if key in _LISTS else ""
            print(f"{key} = " + "\n".join(values) + end)
    else:
        print(f"Name:           {vmid}")
        print(f"State:          {'RUNNING' if system.lxc.running(vmid) else 'STOPPED'}")
        if pid := _visible_init(system, vmid):
            print(f"PID:            {pid}")
            for address in re.findall(r"^net0: .*\bip=([\d.]+)", _main_section(system, vmid), re.MULTILINE):
                print(f"IP:             {address}")
            print(f"Link:           veth{vmid}i0")
            for counter in ("TX bytes:   ", "RX bytes:   ", "Total bytes:"):
                print(f" {counter}   0 bytes")
    return 0


def _main_section(system: ReplayedSystem, vmid: int) -> str:
    return system.path(f"etc/pve/lxc/{vmid}.conf").read_text("utf-8").partition("\n[")[0]


def _visible_init(system: ReplayedSystem, vmid: int) -> int | None:
    """Init's process id; who asks for it looks at its root next."""
    pid = system.lxc.init_pid(vmid)
    if pid is not None:
        process = system.path(f"proc/{pid}")
        process.mkdir(parents=True, exist_ok=True)
        if not (process / "root").is_symlink():
            (process / "root").symlink_to(system.path(f"var/lib/lxc/{vmid}/rootfs").resolve())
    return pid


def _generated_config(system: ReplayedSystem, vmid: int) -> str:
    return system.path(f"var/lib/lxc/{vmid}/config").read_text("utf-8")


def _values(config: str, key: str) -> list[str]:
    return _INCLUDED.get(key, []) + re.findall(rf"^{re.escape(key)} = (.*)$", config, re.MULTILINE)


def _running_config(system: ReplayedSystem, arguments: list[str]) -> int:
    """Asks the monitor (its command socket) and the generated file, as the script of the recording did."""
    vmid = int(arguments[0])
    for key in arguments[1:]:
        print(key)
        print(f"   monitor (running): {_values(system.lxc.started_with(vmid) or '', key)}")
        print(f"   /var/lib/lxc file: {_values(_generated_config(system, vmid), key)}")
    return 0


def _systemctl(system: ReplayedSystem, arguments: list[str]) -> int:
    verb, *_, unit = arguments
    found = re.fullmatch(r"pve-container@(\d+)(?:\.service)?", unit)
    if verb not in {"is-active", "is-failed", "show"} or found is None:
        print("the simulated systemctl knows is-active, is-failed and show of a container only", file=sys.stderr)
        return 2
    record = system.lxc.record(int(found[1]))
    running = record is not None
    if verb == "show":
        values = (
            {"MainPID": str(record["pid"] - 1), "ActiveEnterTimestamp": _systemd_time(record["since"])}
            if record
            else {}
        )
        for name, value in values.items():
            if name in arguments:
                print(value if "--value" in arguments else f"{name}={value}")
        return 0
    print("active" if running else "inactive")
    return 0 if running and verb == "is-active" else 3 if verb == "is-active" else 1


def _systemd_time(seconds: float) -> str:
    return time.strftime("%a %Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _zfs(system: ReplayedSystem, arguments: list[str]) -> int:
    """`zfs list -H`: the data sets are the folders below /rpool/data, their snapshots what the storage says."""
    columns = arguments[arguments.index("-o") + 1].split(",")
    kind = arguments[arguments.index("-t") + 1] if "-t" in arguments else "filesystem"
    datasets = sorted(system.path("rpool/data").glob("*vol-*-disk-*"))
    names = [] if kind == "snapshot" else ["rpool", "rpool/data", *(f"rpool/data/{path.name}" for path in datasets)]
    if kind != "filesystem":
        names += [f"rpool/data/{name}" for name in _snapshots(system)]
    if "-r" in arguments:
        names.remove("rpool")
    values: Mapping[str, Callable[[str], str]] = {
        "name": lambda name: name,
        "used": lambda _: "0B",
        "origin": lambda _: "-",
        "mounted": lambda _: "yes",
    }
    for name in names:
        print("\t".join(values[column](name) for column in columns))
    return 0


def _snapshots(system: ReplayedSystem) -> list[str]:
    return sorted(path.name for path in system.path("rpool/data/.snapshots").glob("*@*"))


_PROGRAMS: dict[str, Callable[[ReplayedSystem, list[str]], int]] = {
    "lxc-attach": _lxc_attach,
    "lxc-info": _lxc_info,
    "mknod": _mknod,
    "pct": _pct,
    "running-config": _running_config,
    "sleep": _sleep,
    "stat": _stat,
    "systemctl": _systemctl,
    "timeout": _timeout,
    "zfs": _zfs,
}
