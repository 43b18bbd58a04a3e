# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# python3 -m lab.gpu [SWITCH=VALUE ...] in a node; also what the node runs at its boot, and what the lab runs outside.

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import LabError
from . import kernel, modules, switches

_USAGE = """\
Usage: lab-gpu | python3 -m lab.gpu                    what the node's kernel shows
       python3 -m lab.gpu SWITCH=VALUE ...             break or mend something
       python3 -m lab.gpu coldplug                     load what a boot loads (in the node, by its systemd)
       python3 -m lab.gpu container-mounts FOLDER      lines for the configuration of each of its containers
       python3 -m lab.gpu switch FOLDER SWITCH=VALUE   the same as in the node (outside)
"""
_CONTAINER_MOUNTS = "etc/phoenix-lab/container-mounts"
_LXC = "/pool/lxc"


def _coldplug(root: Path) -> None:
    with kernel.locked(root) as booting:
        modules.coldplug(booting, root)
    lines = root / _CONTAINER_MOUNTS
    lines.parent.mkdir(parents=True, exist_ok=True)
    lines.write_text("".join(f"{line}\n" for line in kernel.container_mounts(root)))


def _switch(folder: Path, node: Path, settings: Sequence[str]) -> None:
    for setting in settings:
        name, _equals, value = setting.partition("=")
        switches.switch(folder, name, value, node)


def _node_root(folder: Path) -> Path:
    """The node's root as the outside sees it; while it does not run there is nothing in its /dev."""
    found = subprocess.run(
        ["lxc-info", "-P", _LXC, "-n", folder.parent.name, "-pH"], capture_output=True, text=True, check=False
    )
    pid = found.stdout.strip()
    return Path(f"/proc/{pid}/root") if pid.isdigit() else folder.parent / "root"


def _run(argv: Sequence[str], root: Path) -> int:
    match list(argv):
        case []:
            print("\n".join(switches.overview(root)))
        case ["container-mounts", folder]:
            print("\n".join(kernel.container_mounts(Path(folder))))
        case ["coldplug"]:
            _coldplug(root)
        case ["switch", folder, *settings] if settings and all("=" in setting for setting in settings):
            _switch(Path(folder), _node_root(Path(folder)), settings)
        case settings if all("=" in setting for setting in settings):
            _switch(root, root, settings)
        case _:
            print(_USAGE, end="", file=sys.stderr)
            return 2
    return 0


def main(argv: Sequence[str] | None = None, root: Path = Path("/")) -> int:
    try:
        return _run(sys.argv[1:] if argv is None else argv, root)
    except LabError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
