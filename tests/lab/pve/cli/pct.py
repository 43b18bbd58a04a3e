# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::CLI::pct: the table of pct's commands.

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..cli_handler import NODE, Command, run_command
from ..environment import Environment
from ..exceptions import PVEError
from ..system import System
from . import pct_output as output

_LXC = "PVE::API2::LXC"
_CONFIG = "PVE::API2::LXC::Config"
_SNAPSHOT = "PVE::API2::LXC::Snapshot"
_STATUS = "PVE::API2::LXC::Status"
_PCT = "PVE::CLI::pct"

_API = "lab.pve.api2"
_HERE = "lab.pve.cli"


def upid_exit(environment: Environment, upid: str) -> int:
    """A task's end is the command's: 0, also with warnings, or 255."""
    from ..rest_environment import upid_read_status  # noqa: PLC0415

    status = upid_read_status(environment.system, upid)
    return 0 if status == "OK" or status.startswith("WARNINGS: ") else 255


def _own_code(_environment: Environment, code: int | None) -> int:
    """exec and enter: the exit code of what ran in the container."""
    return code or 0


def _content(path: str) -> str:
    """What is in a file that the command line names."""
    try:
        return Path(path).read_text()
    except OSError as error:
        raise PVEError(f"can't open '{path}' - {error.strerror}") from error


def _task(group: str, method: str, *arguments: str) -> Command:
    return Command(group, f"{_API}.{method}", arguments, NODE, upid_exit)


COMMANDS: dict[str, Command | str] = {
    "list": Command(_LXC, f"{_API}.lxc:vmlist", (), NODE, output.print_list),
    "config": Command(_CONFIG, f"{_API}.lxc_config:vm_config", ("vmid",), NODE, output.print_config),
    "pending": Command(_LXC, f"{_API}.lxc_config:vm_pending", ("vmid",), NODE, output.print_pending),
    "set": Command(_CONFIG, f"{_API}.lxc_config:update_vm", ("vmid",), NODE),
    "resize": Command(_LXC, f"{_API}.lxc:resize_vm", ("vmid", "disk", "size"), NODE),
    "create": _task(_LXC, "lxc:create_vm", "vmid", "ostemplate")._replace(mapped={"ssh-public-keys": _content}),
    "restore": Command(_LXC, f"{_HERE}.pct_missing:restore", ("vmid", "ostemplate"), NODE),
    "destroy": _task(_LXC, "lxc:destroy_vm", "vmid"),
    "start": _task(_STATUS, "lxc_status:vm_start", "vmid"),
    "suspend": _task(_STATUS, "lxc_status:vm_suspend", "vmid"),
    "resume": _task(_STATUS, "lxc_status:vm_resume", "vmid"),
    "shutdown": _task(_STATUS, "lxc_status:vm_shutdown", "vmid"),
    "stop": _task(_STATUS, "lxc_status:vm_stop", "vmid"),
    "reboot": _task(_STATUS, "lxc_status:vm_reboot", "vmid"),
    "clone": _task(_LXC, "lxc:clone_vm", "vmid", "newid"),
    "migrate": Command(_LXC, f"{_HERE}.pct_missing:migrate", ("vmid", "target"), NODE),
    "move-volume": Command(
        _LXC, f"{_HERE}.pct_missing:move_volume", ("vmid", "volume", "storage", "target-vmid", "target-volume"), NODE
    ),
    "move_volume": "move-volume",
    "remote-migrate": Command(
        _PCT, f"{_HERE}.pct_missing:remote_migrate", ("vmid", "target-vmid", "target-endpoint"), NODE
    ),
    "snapshot": _task(_SNAPSHOT, "lxc_snapshot:snapshot", "vmid", "snapname"),
    "delsnapshot": _task(_SNAPSHOT, "lxc_snapshot:delsnapshot", "vmid", "snapname"),
    "listsnapshot": Command(
        _SNAPSHOT, f"{_API}.lxc_snapshot:snapshot_list", ("vmid",), NODE, output.print_snapshot_tree
    ),
    "rollback": _task(_SNAPSHOT, "lxc_snapshot:rollback", "vmid", "snapname"),
    "template": Command(_LXC, f"{_API}.lxc:template", ("vmid",), NODE),
    "status": Command(_PCT, f"{_HERE}.pct_status:status", ("vmid",)),
    "console": Command(_PCT, f"{_HERE}.pct_missing:console", ("vmid",)),
    "enter": Command(_PCT, f"{_HERE}.pct_guest:enter", ("vmid",), output=_own_code),
    "unlock": Command(_PCT, f"{_HERE}.pct_guest:unlock", ("vmid",)),
    "exec": Command(_PCT, f"{_HERE}.pct_guest:exec_", ("vmid", "extra-args"), output=_own_code),
    "fsck": Command(_PCT, f"{_HERE}.pct_guest:fsck", ("vmid",)),
    "mount": Command(_PCT, f"{_HERE}.pct_guest:mount", ("vmid",)),
    "unmount": Command(_PCT, f"{_HERE}.pct_guest:unmount", ("vmid",)),
    "push": Command(_PCT, f"{_HERE}.pct_guest:push", ("vmid", "file", "destination")),
    "pull": Command(_PCT, f"{_HERE}.pct_guest:pull", ("vmid", "path", "destination")),
    "df": Command(_PCT, f"{_HERE}.pct_guest:df", ("vmid",)),
    "rescan": Command(_PCT, f"{_HERE}.pct_missing:rescan"),
    "cpusets": Command(_PCT, f"{_HERE}.pct_guest:cpusets"),
    "fstrim": Command(_PCT, f"{_HERE}.pct_guest:fstrim", ("vmid",)),
}


def main(argv: Sequence[str] | None = None, system: System | None = None) -> int:
    return run_command("pct", COMMANDS, argv, system)
