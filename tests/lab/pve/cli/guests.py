# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What pve-guests.service runs: start the containers with onboot when the node comes up, in the order of `startup`, and
# shut down what runs when it goes down, in the opposite order.

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import NamedTuple

from .. import cluster
from ..exceptions import PVEError
from ..lxc import runtime
from ..lxc.config import Config
from ..rest_environment import RestEnvironment, setup_cli_env
from ..system import System
from ..tools import warn

_LAST = 1_000_000
_DEFAULT_DOWN = 180.0


class _Guest(NamedTuple):
    order: int
    vmid: int
    up: float
    down: float


def main(argv: Sequence[str] | None = None, system: System | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if system is None:
        from ..real_system import RealSystem  # noqa: PLC0415 - tests bring their own

        system = RealSystem()
    environment = setup_cli_env(system)
    if words == ["startall"]:
        environment.fork_worker("startall", None, lambda _upid: start_all(environment))
    elif words == ["stopall"]:
        environment.fork_worker("stopall", None, lambda _upid: stop_all(environment))
    else:
        print("USAGE: pve-guests startall|stopall", file=sys.stderr)
        return 255
    return 0


def start_all(environment: RestEnvironment) -> None:
    system = environment.system
    for guest in _guests(system, running=False):
        environment.print(f"Starting CT {guest.vmid}")
        try:
            _start(environment, guest.vmid)
        except PVEError as error:
            warn(error.message)
        else:
            system.sleep(guest.up)


def _start(environment: RestEnvironment, vmid: int) -> None:
    config = Config(environment.system)
    with config.lock_config(vmid):
        conf = config.load_config(vmid)
        config.check_lock(conf)
        runtime.vm_start(environment, vmid, conf)


def stop_all(environment: RestEnvironment) -> None:
    for guest in reversed(_guests(environment.system, running=True)):
        environment.print(f"Stopping CT {guest.vmid} (timeout = {guest.down:g} seconds)")
        try:
            runtime.vm_stop(environment.system, guest.vmid, kill=False, timeout=guest.down, kill_after=True)
        except PVEError as error:
            warn(error.message)


def _guests(system: System, *, running: bool) -> list[_Guest]:
    config = Config(system)
    active = set(system.lxc.running_ids())
    found = []
    for vmid in cluster.ids_in(system, f"nodes/{system.node}/lxc"):
        conf = config.load_config(vmid)
        wanted = vmid in active if running else int(conf.get("onboot") or 0) and not config.is_template(conf)
        if wanted and (running or vmid not in active):
            found.append(_parse_startup(vmid, str(conf.get("startup") or "")))
    return sorted(found)


def _parse_startup(vmid: int, text: str) -> _Guest:
    values = {key: float(value) for key, value in re.findall(r"(order|up|down)=(\d+)", text)}
    plain = re.match(r"\d+", text)
    order = int(values.get("order", plain[0] if plain else _LAST))
    return _Guest(order, vmid, values.get("up", 0.0), values.get("down", _DEFAULT_DOWN))
