# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::LXC::Create: a template's archive into a new root file system.

from __future__ import annotations

import re

from .. import storage
from ..exceptions import PVEError
from ..guest.abstract_config import Conf
from ..system import System
from ..tools import warn
from .idmap import parse_id_maps

_COMPRESSIONS = ("gz", "bz2", "xz", "lzo", "zst")
_FLAGS = (
    "--one-file-system -p --sparse --numeric-owner --acls --xattrs --xattrs-include=user.*"
    " --xattrs-include=security.capability --warning=no-file-ignored --warning=no-xattr-write"
)


def restore_archive(system: System, archive: str, rootdir: str, conf: Conf, *, ignore_errors: bool = False) -> None:
    file = storage.abs_filesystem_path(system, archive)
    _check_name(file)
    print(f"extracting archive '{file}'", flush=True)
    command = [
        *parse_id_maps(conf).command(),
        "tar",
        "xpf",
        str(system.path(file)),
        "--totals",
        *_FLAGS.split(),
    ]
    command += ["-C", str(system.path(rootdir)), "--skip-old-files", "--anchored", "--exclude", "./dev/*"]
    result = system.run(command)
    for line in result.stderr.splitlines():
        print(line, flush=True)
    if result.returncode and not ignore_errors:
        raise PVEError(f"command '{' '.join(command)}' failed: exit code {result.returncode}")


def check_is_archive(system: System, archive: str) -> None:
    """PVE looks first whether it is an OCI image, and only warns when there is nothing to look at."""
    try:
        storage.abs_filesystem_path(system, archive)
    except PVEError as error:
        warn(error.message)


def _check_name(file: str) -> None:
    found = re.search(r"\.tar(?:\.([^.]+))?$", file)
    if not found:
        raise PVEError(f"file does not look like a template archive: {file}")
    if found[1] is not None and found[1] not in _COMPRESSIONS:
        raise PVEError(f"unrecognized compression format: .{found[1]}")
