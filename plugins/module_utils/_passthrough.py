# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# The one owner of the GPU lines of a container: brings file and running container to an assignment.

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils import _gpu
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import (
    Guest,
    check_ctid,
    check_nothing_dropped,
    check_timeout,
    must_wait,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._lxc_config import ConfigFile
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node, as_guest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._pct import Pct

# The first pve-container that knows devN.
_DEV_SINCE = (5, 0, 7)


@dataclasses.dataclass(frozen=True)
class Request:
    """What a task asks for."""

    ctid: int
    gpus: object
    method: str
    capabilities: Sequence[int] | None
    driver_libraries: bool
    restart: bool
    timeout: float


class Passthrough:
    def __init__(self, node: Node, pct: Pct, request: Request, *, check_mode: bool) -> None:
        self._node = node
        self._pct = pct
        self._request = request
        self._check_mode = check_mode

    def run(self) -> dict[str, t.Any]:
        request = self._request
        check_ctid(request.ctid)
        check_timeout(request.timeout)
        assignment = _gpu.parse_assignment(request.gpus)
        before = self._unlocked(self._node.existing(request.ctid))
        config = readable_config(self._node, request.ctid)
        drivers = self._node.char_majors()
        wanted = self._wanted(assignment, drivers)
        plan = _gpu.reconcile(config, wanted, drivers)
        writes = plan.config != config or bool(plan.revert)
        problems = self._running_problems(before, wanted)
        restarts = bool(problems) and request.restart
        if writes or restarts:
            # Without quorum PVE would still shut the container down, and then not start it.
            self._node.check_writable()
        if restarts:
            started = _next_start(request.ctid, plan)
            self._pct.check_startable(request.ctid, started.wanted, started.raw)
        if writes and not self._check_mode:
            self._write(config, plan)
        if restarts and not self._check_mode:
            self._restart(wanted)
        after = plan.config if self._check_mode else readable_config(self._node, request.ctid)
        header = f"/etc/pve/lxc/{request.ctid}.conf (GPU lines) and what runs"
        lines = _gpu.gpu_lines(after, drivers)
        return {
            "changed": writes or restarts,
            "ctid": request.ctid,
            "method": wanted.method,
            "gpus": _gpu.assigned_indices(lines),
            "lines": lines,
            "added": list(plan.added),
            "removed": list(plan.removed),
            "problems": problems,
            "restarted": restarts,
            "restart_required": bool(problems) and not restarts,
            "diff": {
                "before_header": header,
                "after_header": header,
                "before": _shown(_gpu.gpu_lines(config, drivers), plan.revert, problems),
                "after": _shown(lines, (), [] if restarts else problems),
            },
        }

    def _unlocked(self, guest: Guest) -> Guest:
        """What is decided on a locked container's file is void as soon as the lock leaves it."""
        dry = Passthrough(self._node, self._pct, self._request, check_mode=True)
        if self._check_mode or not must_wait(guest, dry.run):
            return guest
        self._pct.wait_unlocked(guest.ctid, timeout=self._request.timeout)
        return self._node.existing(guest.ctid)

    def _wanted(self, assignment: _gpu.Assignment, drivers: dict[int, str]) -> _gpu.Wanted:
        request = self._request
        listed = [gpu.index for gpu in self._node.gpus()]
        devices = _gpu.wanted_devices(assignment, request.capabilities, self._node.device_nodes(), drivers, listed)
        libraries: list[str] = []
        if request.driver_libraries and devices:
            libraries = self._node.driver_libraries()
            if not any(".so" in path for path in libraries):
                raise PhoenixError(
                    "driver_libraries: the node has no user-space files of the loaded driver "
                    f"({self._node.driver_loaded() or 'none is loaded'})",
                    remedy="Install the driver on the node with its libraries, or leave driver_libraries off and "
                    "install them in the container (phoenix.hypervisor.nvidia_runfile with ctid).",
                    code=Code.INPUT,
                )
        return _gpu.Wanted(self._method(), devices, tuple(libraries))

    def _method(self) -> _gpu.Method:
        version = self._node.package_version("pve-container")
        knows_dev = tuple(map(int, re.findall(r"\d+", version)[:3])) >= _DEV_SINCE
        if self._request.method == "dev" and not knows_dev:
            raise PhoenixError(
                f"method: 'dev' needs pve-container 5.0.7 (Proxmox VE 8.1), this node has {version or 'none'}",
                remedy="Upgrade the node, or use method: raw (auto chooses it by itself).",
                code=Code.INPUT,
            )
        return "dev" if knows_dev and self._request.method != "raw" else "raw"

    def _running_problems(self, guest: Guest, wanted: _gpu.Wanted) -> list[str]:
        if not guest.running:
            return []
        # It may also have stopped since it was found running; then there is nothing to compare any more.
        if self._node.container_root(guest.ctid) is None and self._node.is_running(guest.ctid):
            raise PhoenixError(
                f"container {guest.ctid} runs, but its monitor does not tell what it runs with",
                remedy=f"Run as root on the node itself; if that is so, look at `lxc-info -n {guest.ctid}`.",
                code=Code.VERIFICATION,
            )
        return self._problems(wanted)

    def _problems(self, wanted: _gpu.Wanted) -> list[str]:
        ctid = self._request.ctid
        return _gpu.differences(
            wanted,
            self._node.running_devices(ctid),
            self._node.running_rules(ctid),
            self._node.mount_points(ctid),
            self._node.char_majors(),
        )

    def _write(self, config: ConfigFile, plan: _gpu.Plan) -> None:
        ctid = self._request.ctid
        if plan.config != config:
            self._node.config_writer(ctid).write(plan.config, expected_digest=config.digest)
        if plan.revert:
            self._pct.revert(ctid, plan.revert, timeout=self._request.timeout)

    def _restart(self, wanted: _gpu.Wanted) -> None:
        ctid = self._request.ctid
        self._pct.shutdown(ctid, timeout=self._request.timeout)
        self._pct.start(ctid, timeout=self._request.timeout)
        deadline = self._node.clock.deadline(self._request.timeout)
        while problems := self._problems(wanted):
            if not deadline.pause(0.2):
                raise self._timed_out(problems)

    def _timed_out(self, problems: list[str]) -> PhoenixError:
        ctid = self._request.ctid
        drivers = self._node.char_majors()
        return PhoenixError(
            f"container {ctid} was restarted and still differs from its assignment after "
            f"{self._request.timeout:g} s: {'; '.join(problems)}",
            remedy="Compare file, node and container in this result; the driver's messages are in `dmesg` on the node.",
            code=Code.VERIFICATION,
            file=_gpu.gpu_lines(readable_config(self._node, ctid), drivers),
            node=[dataclasses.asdict(device) for device in self._node.device_nodes().values()],
            container=[dataclasses.asdict(device) for device in self._node.running_devices(ctid).values()],
            rules=list(self._node.running_rules(ctid) or ()),
        )


def _next_start(ctid: int, plan: _gpu.Plan) -> Guest:
    """The container as PVE would start it: with what others have parked, without what is going to be reverted."""
    guest = as_guest(ctid, plan.config, running=True)
    pending = {key: value for key, value in guest.pending.items() if key not in plan.revert}
    return dataclasses.replace(guest, pending=pending, pending_delete=guest.pending_delete - {*plan.revert})


def strip_gpus(node: Node, ctid: int) -> None:
    """Take every GPU line out of a container that was just cloned; the assignment is made afterwards."""
    config = readable_config(node, ctid)
    plan = _gpu.reconcile(config, _gpu.Wanted("dev"), node.char_majors())
    if plan.config != config:
        node.config_writer(ctid).write(plan.config, expected_digest=config.digest)


def readable_config(node: Node, ctid: int) -> ConfigFile:
    """A container's file, refused when the next write by PVE would lose a line of it."""
    config = node.config_file(ctid)
    if config is None:
        raise PhoenixError(
            f"container {ctid} vanished while it was looked at",
            remedy="See who removed it (`pvesh get /cluster/tasks`), and run again.",
            code=Code.NO_CONTAINER,
        )
    check_nothing_dropped(ctid, config.dropped)
    return config


def _shown(lines: Sequence[str], reverted: Sequence[str], problems: Sequence[str]) -> str:
    pending = (f"pending change of {key}" for key in reverted)
    return "".join(f"{line}\n" for line in (*lines, *pending, *(f"running: {problem}" for problem in problems)))
