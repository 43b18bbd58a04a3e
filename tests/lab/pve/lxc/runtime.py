# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Start, stop and restart of a container.

from __future__ import annotations

import re

from ..environment import Environment
from ..exceptions import PVEError
from ..guest.abstract_config import Conf
from ..storage import activate_volumes
from ..system import System
from ..tools import warn
from .config import Config
from .lxc_config import update_lxc_config

# How long lxc-stop waits when nobody says, as in PVE.
_DEFAULT_TIMEOUT = 60.0
_POLL = 0.1


def check_running(system: System, vmid: int) -> bool:
    return system.lxc.running(vmid)


def find_lxc_pid(system: System, vmid: int) -> int:
    pid = system.lxc.init_pid(vmid)
    if not pid:
        raise PVEError(f"unable to get PID for CT {vmid} (not running?)")
    return pid


def vm_start(env: Environment, vmid: int, conf: Conf, skiplock: bool = False, debug: bool = False) -> None:
    system = env.system
    config = Config(system)
    if conf.get("pending"):
        errors: dict[str, str] = {}
        config.vmconfig_apply_pending(vmid, conf, None, errors)
        for text in errors.values():
            warn(text.rstrip("\n"))
        config.write_config(vmid, conf)
        conf = config.load_config(vmid)

    update_lxc_config(system, vmid, conf)
    flag = system.path(f"run/lxc/skiplock-{vmid}")
    if skiplock:
        flag.parent.mkdir(parents=True, exist_ok=True)
        flag.touch()
    activate_volumes(system, config.get_vm_volumes(conf))
    system.path(f"run/pve/ct-{vmid}.stderr").unlink(missing_ok=True)
    system.path("run/pve").mkdir(parents=True, exist_ok=True)

    result = system.lxc.start(vmid, debug=debug or str(conf.get("debug", "0")) == "1")
    if result.returncode or debug:
        _print_stderr_log(system, vmid)
    _print_warnings(env, vmid)
    if result.returncode:
        flag.unlink(missing_ok=True)
        raise PVEError(f"startup for container '{vmid}' failed")


def vm_stop(system: System, vmid: int, *, kill: bool, timeout: float | None = None, kill_after: bool = False) -> None:
    if not check_running(system, vmid):
        return
    if kill:
        system.lxc.stop(vmid)
        return
    limit = _DEFAULT_TIMEOUT if timeout is None else float(timeout)
    if system.lxc.shutdown(vmid, limit):
        return
    if kill_after:
        system.lxc.stop(vmid)
        return
    words = f"lxc-stop -n {vmid} --nokill" + ("" if timeout is None else f" --timeout {timeout}")
    place = "../src/lxc/commands_utils.c: lxc_cmd_sock_rcv_state: 49"
    warn(f"lxc-stop: {vmid}: {place} Resource temporarily unavailable - Failed to receive message")
    warn(f"command '{words}' failed: exit code 1")
    waited = 0.0
    while check_running(system, vmid):
        if waited >= limit + 5:
            raise PVEError("container did not stop")
        system.sleep(_POLL)
        waited += _POLL


def vm_reboot(env: Environment, vmid: int, timeout: float | None) -> None:
    config = Config(env.system)
    with config.lock_config(vmid):
        if not check_running(env.system, vmid):
            return
        vm_stop(env.system, vmid, kill=False, timeout=timeout, kill_after=True)
        vm_start(env, vmid, config.load_config(vmid))


def _print_stderr_log(system: System, vmid: int) -> None:
    try:
        text = system.path(f"run/pve/ct-{vmid}.stderr").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        # What lxc-start itself adds; the recorded one kept it to itself.
        if "lxc_start_main: " in line:
            continue
        found = re.fullmatch(rf"[ \t]*(?:lxc-start:?\s+{vmid}:?\s*\S+\s*)?(.*?)[ \t]*", line)
        warn(found[1] if found else line)


def _print_warnings(env: Environment, vmid: int) -> None:
    path = env.system.path(f"run/pve/ct-{vmid}.warnings")
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        env.warn(line.strip())
    path.unlink()
