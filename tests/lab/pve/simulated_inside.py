# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The inside of a simulated container: commands run with this machine's own programs on the files of the container's
# root volume. What only a kernel could answer (device nodes, owners, the host name, init) is answered from the files
# that describe the container.

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .simulated import STATE, SimulatedSystem, read_device
from .simulated_paths import map_paths

# Who owns which file, by its path below the root of the node: a user cannot give files away.
OWNERS = f"{STATE}/owners.json"

_CONTAINER_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_NAMES = {0: "root", 65534: "nobody"}
_GROUPS = {0: "root", 65534: "nogroup"}


def attach(root: Path, vmid: int, rootfs: Path, command: Sequence[str], keep_env: bool) -> int:
    """lxc-attach: run a command inside, with this process's own streams; its exit code, 128+N for signal N."""
    inside = _Inside(root, vmid, rootfs)
    sys.stdout.flush()
    sys.stderr.flush()
    answer = inside.answers().get(command[0])
    if answer is not None and (code := answer(list(command[1:]))) is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        return code
    return inside.execute(command, keep_env=keep_env)


@dataclasses.dataclass(frozen=True)
class _Node:
    major: int
    minor: int
    mode: int
    owner: str
    group: str


def owner_of(root: Path, path: Path) -> tuple[int, int]:
    owners = root / OWNERS
    known = json.loads(owners.read_text("utf-8")) if owners.exists() else {}
    owner, group = known.get(str(path.relative_to(root)), (0, 0))
    return owner, group


def print_status(root: Path, arguments: Sequence[str], place: Callable[[str], Path]) -> int | None:
    """`stat -c FORMAT FILE…` with the remembered owners; None where the format asks for more than this knows."""
    if len(arguments) < 3 or arguments[0] != "-c" or re.search("%[^augsnUG]", arguments[1]):
        return None
    code = 0
    for name in arguments[2:]:
        path = place(name)
        try:
            status = path.stat()
        except OSError:
            print(f"stat: cannot statx '{name}': No such file or directory", file=sys.stderr)
            code = 1
            continue
        owner, group = owner_of(root, path)
        line = arguments[1].replace("%a", f"{status.st_mode & 0o7777:o}").replace("%s", str(status.st_size))
        line = line.replace("%U", str(_NAMES.get(owner, owner))).replace("%G", str(_GROUPS.get(group, group)))
        print(line.replace("%u", str(owner)).replace("%g", str(group)).replace("%n", name))
    return code


def _stdin() -> int | None:
    """What was closed is /dev/null for lxc-attach."""
    try:
        os.fstat(0)
    except OSError:
        return subprocess.DEVNULL
    return None


class _Inside:
    def __init__(self, root: Path, vmid: int, rootfs: Path) -> None:
        self.root = root
        self.vmid = vmid
        self.rootfs = rootfs
        self.state = root / STATE / str(vmid)

    def answers(self) -> Mapping[str, Callable[[list[str]], int | None]]:
        """What is no program of this machine here. An answer of None leaves it to the program after all."""
        return {"hostname": self.hostname, "systemctl": self.systemctl, "ls": self.list_files, "stat": self.file_status}

    def execute(self, command: Sequence[str], *, keep_env: bool) -> int:
        environment = dict(os.environ) if keep_env else {"PATH": _CONTAINER_PATH}
        environment |= {"container": "lxc", "TERM": "linux"}
        words = [self._mapped(command, position) for position in range(len(command))]
        program = shutil.which(words[0], path=environment["PATH"])
        if program is None:
            denied = Path(words[0]).is_file()
            reason = "Permission denied" if denied else "No such file or directory"
            print(
                f"lxc-attach: {self.vmid}: ../src/lxc/attach.c: lxc_attach_run_command: 1845 {reason}"
                f' - Failed to exec "{command[0]}"',
                file=sys.stderr,
            )
            return _NOT_EXECUTABLE if denied else _NOT_FOUND
        process = subprocess.Popen([words[0], *words[1:]], executable=program, env=environment, stdin=_stdin())
        code = process.wait()
        return 128 - code if code < 0 else code

    def _mapped(self, command: Sequence[str], position: int) -> str:
        word = command[position]
        if command[0] in {"sh", "bash"} and position > 0 and command[position - 1] == "-c":
            return self._devices(map_paths(word, str(self.rootfs)))
        if re.match(r"(?:\w+=)?/", word):
            return self._devices(map_paths(word, str(self.rootfs))) if re.fullmatch(r"[\w=./+:-]+", word) else word
        return word

    def _devices(self, mapped: str) -> str:
        return mapped.replace(f"{self.rootfs}/dev/", f"{self.state.with_suffix('.dev')}/")

    def hostname(self, arguments: list[str]) -> int | None:
        if arguments:
            return None
        print(*self._running_values("lxc.uts.name"))
        return 0

    def systemctl(self, arguments: list[str]) -> int | None:
        if arguments != ["poweroff"]:
            return None
        SimulatedSystem(self.root).lxc.stop(self.vmid)
        return 0

    def list_files(self, arguments: list[str]) -> int | None:
        names = [argument for argument in arguments if not argument.startswith("-")]
        long_form = any(re.fullmatch(r"-\w*l\w*", argument) for argument in arguments)
        if not names or not all(name.startswith("/") for name in names):
            return None
        code = 0
        for name in sorted(names):
            node = self._device(name)
            path = self._place(name)
            if node is not None:
                date = time.strftime("%b %e %H:%M")
                device = (
                    f"{stat.filemode(stat.S_IFCHR | node.mode)} 1 {node.owner} {node.group} {node.major}, {node.minor}"
                )
                print(f"{device} {date} {name}" if long_form else name)
            elif not path.exists():
                print(f"ls: cannot access '{name}': No such file or directory", file=sys.stderr)
                code = 2
            elif path.is_dir():
                return None
            else:
                print(self._line(name, path) if long_form else name)
        return code

    def _line(self, name: str, path: Path) -> str:
        status = path.stat()
        owner, group = owner_of(self.root, path)
        date = time.strftime("%b %e %H:%M", time.localtime(status.st_mtime))
        shown = f"{_NAMES.get(owner, owner)} {_GROUPS.get(group, group)}"
        return f"{stat.filemode(status.st_mode)} {status.st_nlink} {shown} {status.st_size} {date} {name}"

    def file_status(self, arguments: list[str]) -> int | None:
        return print_status(self.root, arguments, self._place)

    def _place(self, name: str) -> Path:
        if name.startswith("/dev/"):
            return self.state.with_suffix(".dev") / name.removeprefix("/dev/")
        return self.rootfs / name.lstrip("/")

    def _device(self, name: str) -> _Node | None:
        """A node of the container's own /dev: SimulatedRuntime keeps one file for each."""
        path = self.state.with_suffix(".dev") / name.removeprefix("/dev/")
        # A file of mode 0 is none, and who is not root cannot look into it.
        if not name.startswith("/dev/") or not os.access(path, os.R_OK) or (device := read_device(path)) is None:
            return None
        mode, owner, group = [*path.read_text("ascii").split()[4:], "0", "0"][:3]
        return _Node(*device[1:], int(mode, 8), _NAMES.get(int(owner), owner), _GROUPS.get(int(group), group))

    def _config(self) -> str:
        record = json.loads(self.state.with_suffix(".json").read_text("utf-8"))
        return str(record["config"])

    def _running_values(self, key: str) -> list[str]:
        return re.findall(rf"^{re.escape(key)} = (.*)$", self._config(), re.MULTILINE)
