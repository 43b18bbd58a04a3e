# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# vmstatus: what pct list, pct status and the API say about containers.

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from .. import cluster
from ..exceptions import PVEError
from ..system import System
from .config import Config

_GIB = 1024**3
_MIB = 1024**2
_DEFAULT_DISK = 4 * _GIB


def vmstatus(system: System, vmid: int | None = None) -> dict[int, dict[str, Any]]:
    config = Config(system)
    ids = [vmid] if vmid is not None else cluster.ids_in(system, f"nodes/{system.node}/lxc")
    running = set(system.lxc.running_ids())
    found: dict[int, dict[str, Any]] = {}
    for number in ids:
        try:
            conf = config.load_config(number)
        except PVEError:
            conf = {}
        pid = system.lxc.init_pid(number) if number in running else None
        cores = int(conf.get("cores") or 0) or float(conf.get("cpulimit") or 0)
        status: dict[str, Any] = {
            "type": "lxc",
            "vmid": number,
            "status": "running" if number in running else "stopped",
            "name": re.sub(r"\s", "", str(conf.get("hostname") or f"CT{number}")),
            "cpus": int(cores) if cores == int(cores) and cores else cores or (os.cpu_count() or 1),
            **{key: conf[key] for key in ("tags", "lock") if conf.get(key)},
            **_disk(system, config, conf, pid),
            "mem": 0,
            "swap": 0,
            "maxmem": _integer(conf.get("memory") or 512) * _MIB,
            "maxswap": _integer(conf.get("swap") or 0) * _MIB,
            "uptime": 0,
            "cpu": 0,
            "netin": 0,
            "netout": 0,
            "diskread": 0,
            "diskwrite": 0,
        }
        if config.is_template(conf):
            status["template"] = 1
        if pid:
            status.update(_live(system, number, pid))
        found[number] = status
    return found


def _integer(value: object) -> int:
    return int(str(value)) if str(value).isdigit() else 0


def _disk(system: System, config: Config, conf: dict[str, Any], pid: int | None) -> dict[str, int]:
    size = _DEFAULT_DISK
    if conf.get("rootfs"):
        size = int(config.parse_volume("rootfs", conf["rootfs"]).get("size") or _DEFAULT_DISK)
    if not pid:
        return {"disk": 0, "maxdisk": size}
    try:
        usage = os.statvfs(system.path(f"proc/{pid}/root"))
    except OSError:
        return {"disk": 0, "maxdisk": size}
    # The subvolumes share one file system: what is used is its, what is at most is the volume's own size.
    return {"disk": (usage.f_blocks - usage.f_bfree) * usage.f_frsize, "maxdisk": size}


def _live(system: System, vmid: int, pid: int) -> dict[str, Any]:
    cgroup = system.path(f"sys/fs/cgroup/lxc/{vmid}")
    read, written = _io(cgroup)
    network_in, network_out = _network(system, vmid)
    found: dict[str, Any] = {
        "pid": pid,
        "uptime": _uptime(pid),
        "mem": _first_number(cgroup / "memory.current"),
        "swap": _first_number(cgroup / "memory.swap.current"),
        "diskread": read,
        "diskwrite": written,
        "netin": network_in,
        "netout": network_out,
    }
    for kind in ("cpu", "io", "memory"):
        found.update(_pressure(cgroup / f"{kind}.pressure", kind))
    return found


def _uptime(pid: int) -> int:
    try:
        ticks = int(
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        )
        now = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    except (OSError, IndexError):
        return 0
    return max(0, int(now - ticks / os.sysconf("SC_CLK_TCK")))


def _first_number(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def _io(cgroup: Path) -> tuple[int, int]:
    try:
        text = (cgroup / "io.stat").read_text(encoding="ascii")
    except OSError:
        return 0, 0
    read, written = (sum(map(int, re.findall(rf"{key}=(\d+)", text))) for key in ("rbytes", "wbytes"))
    return read, written


def _pressure(path: Path, kind: str) -> dict[str, str]:
    try:
        found = dict(re.findall(r"^(some|full) avg10=(\S+)", path.read_text(encoding="ascii"), re.MULTILINE))
    except OSError:
        found = {}
    return {f"pressure{kind}{part}": found.get(part, "0.00") for part in ("some", "full")}


def _network(system: System, vmid: int) -> tuple[int, int]:
    """What the node's side has sent goes into the container."""
    received = sent = 0
    for folder in system.path("sys/class/net").glob(f"veth{vmid}i*"):
        received += _first_number(folder / "statistics/rx_bytes")
        sent += _first_number(folder / "statistics/tx_bytes")
    return sent, received
