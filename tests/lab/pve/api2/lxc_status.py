# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::API2::LXC::Status.

from __future__ import annotations

from typing import Any

from ..environment import Environment
from ..exceptions import ParameterError, PVEError
from ..json_schema import get_standard_option, parse_boolean
from ..lxc.config import Config
from ..rest_handler import Method, Parameters, Schema

_PATH = "/nodes/{node}/lxc/{vmid}/status"
_BASE = {"node": get_standard_option("pve-node"), "vmid": get_standard_option("pve-vmid")}
_SKIPLOCK = {"description": "Ignore locks - only root is allowed to use this option.", "type": "boolean", "optional": 1}
_POWER = ("perm", "/vms/{vmid}", ["VM.PowerMgmt"])
_DUMPS = "/var/lib/vz/dump"


def _vmcmdidx(environment: Environment, param: Parameters) -> list[dict[str, str]]:
    Config(environment.system).load_config(int(param["vmid"]))
    return [{"subdir": name} for name in ("current", "start", "stop", "shutdown", "reboot", "migrate")]


def _vm_status(environment: Environment, param: Parameters) -> dict[str, Any]:
    from ..lxc.status import vmstatus  # noqa: PLC0415

    vmid = int(param["vmid"])
    Config(environment.system).load_config(vmid)
    return {**vmstatus(environment.system, vmid)[vmid], "ha": {"managed": 0}}


def _vm_start(environment: Environment, param: Parameters) -> str:
    from ..lxc import runtime  # noqa: PLC0415

    vmid = int(param["vmid"])
    skiplock = _skiplock(environment, param)
    if runtime.check_running(environment.system, vmid):
        raise PVEError(f"CT {vmid} already running")

    def work(_upid: str) -> None:
        config = Config(environment.system)
        with config.lock_config(vmid):
            conf = config.load_config(vmid)
            if config.is_template(conf):
                raise PVEError("you can't start a CT if it's a template")
            if not skiplock and not config.has_lock(conf, "mounted"):
                config.check_lock(conf)
            if int(conf.get("unprivileged") or 0):
                for _key, volume in config.foreach_volume(conf):
                    if int(volume.get("quota") or 0):
                        raise PVEError("Quotas are not supported by unprivileged containers.")
            runtime.vm_start(environment, vmid, conf, skiplock, bool(parse_boolean(param.get("debug", 0))))

    return environment.fork_worker("vzstart", str(vmid), work)


def _vm_stop(environment: Environment, param: Parameters) -> str:
    from ..lxc import runtime  # noqa: PLC0415

    vmid = int(param["vmid"])
    skiplock = _skiplock(environment, param)
    _require_running(environment, vmid)

    def work(_upid: str) -> None:
        config = Config(environment.system)
        with config.lock_config(vmid):
            conf = config.load_config(vmid)
            if not skiplock and not config.has_lock(conf, "mounted"):
                config.check_lock(conf)
            runtime.vm_stop(environment.system, vmid, kill=True)

    return environment.fork_worker("vzstop", str(vmid), work)


def _vm_shutdown(environment: Environment, param: Parameters) -> str:
    from ..lxc import runtime  # noqa: PLC0415

    vmid = int(param["vmid"])
    timeout = int(param.get("timeout", 60))
    force = bool(parse_boolean(param.get("forceStop", 0)))
    _require_running(environment, vmid)

    def work(_upid: str) -> None:
        config = Config(environment.system)
        with config.lock_config(vmid):
            config.check_lock(config.load_config(vmid))
            runtime.vm_stop(environment.system, vmid, kill=False, timeout=timeout, kill_after=force)

    return environment.fork_worker("vzshutdown", str(vmid), work)


def _vm_suspend(environment: Environment, param: Parameters) -> str:
    vmid = int(param["vmid"])
    _require_running(environment, vmid)

    def work(_upid: str) -> None:
        config = Config(environment.system)
        with config.lock_config(vmid):
            config.check_lock(config.load_config(vmid))
            _checkpoint(environment, ["lxc-checkpoint", "-n", str(vmid), "-s", "-D", _DUMPS])

    return environment.fork_worker("vzsuspend", str(vmid), work)


def _vm_resume(environment: Environment, param: Parameters) -> str:
    from ..lxc import runtime  # noqa: PLC0415

    vmid = int(param["vmid"])
    if runtime.check_running(environment.system, vmid):
        raise PVEError(f"CT {vmid} already running")

    def work(_upid: str) -> None:
        _checkpoint(environment, ["lxc-checkpoint", "-n", str(vmid), "-r", "--foreground", "-D", _DUMPS])

    return environment.fork_worker("vzresume", str(vmid), work)


def _checkpoint(environment: Environment, command: list[str]) -> None:
    result = environment.system.run(command)
    for line in (result.stdout + result.stderr).splitlines():
        environment.print(line)
    if result.returncode:
        raise PVEError(f"command '{' '.join(command)}' failed: exit code {result.returncode}")


def _vm_reboot(environment: Environment, param: Parameters) -> str:
    from ..lxc import runtime  # noqa: PLC0415

    vmid = int(param["vmid"])
    timeout = int(param["timeout"]) if "timeout" in param else None
    _require_running(environment, vmid, "VM")

    def work(_upid: str) -> None:
        runtime.vm_reboot(environment, vmid, timeout)

    return environment.fork_worker("vzreboot", str(vmid), work)


def _require_running(environment: Environment, vmid: int, kind: str = "CT") -> None:
    from ..lxc.runtime import check_running  # noqa: PLC0415

    if not check_running(environment.system, vmid):
        raise PVEError(f"{kind} {vmid} not running")


def _skiplock(environment: Environment, param: Parameters) -> bool:
    skiplock = bool(parse_boolean(param.get("skiplock", 0)))
    if skiplock and environment.user != "root@pam":
        raise ParameterError({"skiplock": "Only root may use this option."})
    return skiplock


def _power(name: str, code: Any, description: str, more: Schema) -> Method:
    return Method(
        name=f"vm_{name}",
        method="POST",
        path=f"{_PATH}/{name}",
        description=description,
        permissions=_POWER,
        protected=True,
        parameters={**_BASE, **more},
        code=code,
    )


vmcmdidx = Method(
    name="vmcmdidx", method="GET", path=_PATH, permissions=("user", "all"), parameters=_BASE, code=_vmcmdidx
)
vm_status = Method(
    name="vm_status",
    method="GET",
    path=f"{_PATH}/current",
    description="Get virtual machine status.",
    permissions=("perm", "/vms/{vmid}", ["VM.Audit"]),
    protected=True,
    parameters=_BASE,
    code=_vm_status,
)
vm_start = _power(
    "start",
    _vm_start,
    "Start the container.",
    {
        "skiplock": _SKIPLOCK,
        "debug": {
            "optional": 1,
            "type": "boolean",
            "description": "If set, enables very verbose debug log-level on start.",
            "default": 0,
        },
    },
)
vm_stop = _power(
    "stop",
    _vm_stop,
    "Stop the container. This will abruptly stop all processes running in the container.",
    {
        "skiplock": _SKIPLOCK,
        "overrule-shutdown": {
            "description": "Try to abort active 'vzshutdown' tasks before stopping.",
            "optional": 1,
            "type": "boolean",
            "default": 0,
        },
    },
)
vm_shutdown = _power(
    "shutdown",
    _vm_shutdown,
    "Shutdown the container. This will trigger a clean shutdown of the container, see lxc-stop(1) for details.",
    {
        "timeout": {
            "description": "Wait maximal timeout seconds.",
            "type": "integer",
            "minimum": 0,
            "optional": 1,
            "default": 60,
        },
        "forceStop": {
            "description": "Make sure the Container stops.",
            "type": "boolean",
            "optional": 1,
            "default": 0,
        },
    },
)
vm_suspend = _power("suspend", _vm_suspend, "Suspend the container. This is experimental.", {})
vm_resume = _power("resume", _vm_resume, "Resume the container.", {})
vm_reboot = _power(
    "reboot",
    _vm_reboot,
    "Reboot the container by shutting it down, and starting it again. Applies pending changes.",
    {
        "timeout": {
            "description": "Wait maximal timeout seconds for the shutdown.",
            "type": "integer",
            "minimum": 0,
            "optional": 1,
        },
    },
)
METHODS = (vmcmdidx, vm_status, vm_start, vm_stop, vm_shutdown, vm_suspend, vm_resume, vm_reboot)
