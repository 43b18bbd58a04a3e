# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import secrets
import shutil
import typing as t

from ansible.errors import AnsibleFileNotFound
from ansible.module_utils.common.text.converters import to_bytes

# $1 destination, $2 temporary file beside it, $3 checksum, $4 size. -C: never write through a planted link.
_PUT = r"""
[ ! -d "$1" ] || { echo "it is a directory" >&2; exit 1; }
set -C
exec 3>"$2" || exit 1
trap 'rm -f "$2"' EXIT
cat >&3 || exit 1
sum=$(sha256sum <"$2") || exit 1
[ "${sum%% *}" = "$3" ] || { echo "of $4 bytes $(wc -c <"$2") arrived, with another checksum" >&2; exit 1; }
[ ! -e "$1" ] || { chown "$(stat -L -c %u:%g "$1")" "$2" && chmod "$(stat -L -c %a "$1")" "$2"; } || exit 1
mv -f "$2" "$1"
"""

# The content on stdout; as the last line on stderr the checksum of just that content, for a log may grow meanwhile.
_FETCH = r"""
[ ! -d "$1" ] || { echo "it is a directory" >&2; exit 1; }
exec <"$1" || exit 1
{ { { cat || echo incomplete >&2; } | tee /proc/self/fd/3 >&4; } 3>&1 | sha256sum >&2; } 4>&1
"""

# A container is entered with whatever working directory its node has.
_AT_HOME = "cd 2>/dev/null\n"


def at_home(command: str, *arguments: str) -> list[str]:
    """The argv that runs a shell command in the home directory."""
    return ["/bin/sh", "-c", f"{_AT_HOME}{command}", *(("sh", *arguments) if arguments else ())]


def put_argv(path: str, upload: Upload) -> list[str]:
    """The argv that makes its stdin the file, or leaves the file as it was."""
    target = _no_option(path)
    temporary = f"{target.rpartition('/')[0]}/.{secrets.token_hex(8)}.part"
    return at_home(_PUT, target, temporary, upload.checksum, str(upload.size))


def fetch_argv(path: str) -> list[str]:
    """The argv that writes the file to stdout."""
    return at_home(_FETCH, _no_option(path))


def fetched_checksum(stderr: bytes) -> str | None:
    """The checksum of what was read, or nothing when not all of the file could be read."""
    *complaints, last = stderr.splitlines() or [b""]
    found = re.fullmatch(rb"([0-9a-f]{64})\s+-", last)
    return found[1].decode() if found and b"incomplete" not in complaints else None


def _no_option(path: str) -> str:
    return path if path.startswith("/") else f"./{path}"


def local_path(path: str) -> pathlib.Path:
    return pathlib.Path(os.fsdecode(to_bytes(path, errors="surrogate_or_strict")))


def checksum(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Upload:
    """A file in the place of the bytes that the ssh plugin sends to a command's stdin."""

    def __init__(self, path: str) -> None:
        self._path = local_path(path)
        if not self._path.exists():
            raise AnsibleFileNotFound(f"{path} does not exist on this machine, so it cannot be sent to the container.")
        self.size = self._path.stat().st_size
        self.checksum = checksum(self._path)

    def send(self, stream: t.IO[bytes]) -> None:
        with self._path.open("rb") as file:
            shutil.copyfileobj(file, stream, 1 << 20)
