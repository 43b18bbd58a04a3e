# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# kmod's commands for the node: modprobe, rmmod, insmod, lsmod, modinfo and depmod.

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import elf, hardware, modules
from ..kernel import Kernel, locked
from ..modules import ModuleError, ModuleNotFound, normal

_NODE = Path("/")


def _split(argv: Sequence[str], with_value: str) -> tuple[list[str], list[str], dict[str, str]]:
    """Options, words, and the values of options that have one."""
    options, words, values = [], [], {}
    waiting = list(argv)
    while waiting:
        word = waiting.pop(0)
        name, equals, value = word.partition("=")
        if word in with_value.split() and waiting:
            values[word] = waiting.pop(0)
        elif equals and name in with_value.split():
            values[name] = value
        elif word.startswith("-") and word != "-":
            options += [word] if word.startswith("--") else [f"-{letter}" for letter in word[1:]]
        else:
            words.append(word)
    return options, words, values


def modprobe(argv: Sequence[str], root: Path = _NODE) -> int:
    options, words, _values = _split(argv, "-S --set-version -d --dirname -C --config")
    quiet = "-q" in options or "--quiet" in options
    everything = "-a" in options or "--all" in options
    if not words:
        print("modprobe: ERROR: missing parameters. See -h.", file=sys.stderr)
        return 1
    if "-n" in options or "--dry-run" in options or "-D" in options:
        return 0 if all(modules.find(root, Kernel(root).machine.release, word) for word in words) else 1
    removes = "-r" in options or "--remove" in options
    rc = 0
    with locked(root) as kernel:
        # What follows the first name are the module's own parameters.
        for name in words if everything or removes else words[:1]:
            try:
                if removes:
                    _remove_unused(kernel, name)
                else:
                    modules.load(kernel, root, name)
            except ModuleNotFound as error:
                if not quiet:
                    print(f"modprobe: FATAL: {error}", file=sys.stderr)
                rc = 1
            except ModuleError as error:
                if removes:
                    print(f"modprobe: FATAL: {error}.", file=sys.stderr)
                else:
                    print(f"modprobe: ERROR: could not insert '{normal(name)}': {error}", file=sys.stderr)
                rc = 1
    return rc


def _remove_unused(kernel: Kernel, name: str) -> None:
    """A module, and then those that only it needed."""
    name = normal(name)
    if name not in kernel.state.loaded:
        return
    if modules.in_use(kernel, name):
        raise ModuleError(f"Module {name} is in use")
    modules.remove(kernel, name)
    for needed in hardware.MODULES[name].needs:
        if not modules.in_use(kernel, needed):
            _remove_unused(kernel, needed)


def rmmod(argv: Sequence[str], root: Path = _NODE) -> int:
    _options, words, _values = _split(argv, "")
    rc = 0
    with locked(root) as kernel:
        for name in words:
            try:
                modules.remove(kernel, Path(name).stem)
            except ModuleError as error:
                print(f"rmmod: ERROR: {error}", file=sys.stderr)
                rc = 1
    return rc


def insmod(argv: Sequence[str], root: Path = _NODE) -> int:
    path = Path(argv[0]) if argv else Path()
    if not path.is_file():
        print(f"insmod: ERROR: could not load module {path}: No such file or directory", file=sys.stderr)
        return 1
    name = normal(path.stem)
    with locked(root) as kernel:
        try:
            if name in kernel.state.loaded:
                raise ModuleError("File exists")
            modules.insert(kernel, name, path.read_bytes())
        except ModuleError as error:
            print(f"insmod: ERROR: could not insert module {path}: {error}", file=sys.stderr)
            return 1
    return 0


def lsmod(_argv: Sequence[str], root: Path = _NODE) -> int:
    with locked(root):
        # References are counted anew.
        pass
    print("Module                  Size  Used by")
    for line in (root / "proc/driver/phoenix-lab/modules").read_text().splitlines():
        name, size, references, users = line.split()[:4]
        print(f"{name:<19} {size:>8}  {references} {users.strip(',-')}".rstrip())
    return 0


def modinfo(argv: Sequence[str], root: Path = _NODE) -> int:
    options, words, values = _split(argv, "-F --field -k --set-version -b --basedir")
    release = values.get("-k") or values.get("--set-version") or Kernel(root).machine.release
    field = values.get("-F") or values.get("--field") or next(
        (name for short, name in (("-n", "filename"), ("-l", "license"), ("-d", "description")) if short in options), ""
    )  # fmt: skip
    rc = 0
    for word in words:
        path = Path(word) if "/" in word or word.endswith(".ko") else modules.find(root, release, word)
        if path is None or not path.is_file():
            print(f"modinfo: ERROR: Module {word} not found.", file=sys.stderr)
            rc = 1
            continue
        found = {"filename": str(path)} | elf.module_fields(path.read_bytes())
        if signer := elf.signer(path.read_bytes()):
            found |= {"sig_id": "PKCS#7", "signer": "DKMS module signing key", "sig_key": signer[:40]}
        if field:
            if field in found:
                print(found[field])
            continue
        for name, value in found.items():
            print(f"{name + ':':<15} {value}")
    return rc


def depmod(argv: Sequence[str], root: Path = _NODE) -> int:
    _options, words, _values = _split(argv, "-b --basedir -C --config -E -F --filesyms -o --outdir")
    release = next((word for word in words if re.match(r"\d+\.", word)), Kernel(root).machine.release)
    folder = modules.folder(root, release)
    if not folder.is_dir():
        print(
            f"depmod: ERROR: could not open directory /lib/modules/{release}: No such file or directory",
            file=sys.stderr,
        )
        print("depmod: FATAL: could not search modules: No such file or directory", file=sys.stderr)
        return 1
    found = sorted(path.relative_to(folder) for path in folder.rglob("*.ko"))
    (folder / "modules.dep").write_text("".join(f"{path}:\n" for path in found))
    (folder / "modules.alias").write_text(
        "".join(f"alias pci:v000010DEd*sv*sd*bc03sc00i00* {normal(path.stem)}\n" for path in found
                if path.stem in ("nvidia", "nvidia-drm", "nouveau"))
    )  # fmt: skip
    return 0


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "modprobe": modprobe, "rmmod": rmmod, "insmod": insmod, "lsmod": lsmod, "modinfo": modinfo, "depmod": depmod,
}  # fmt: skip


def main() -> int:
    name = Path(sys.argv[0]).name
    if os.geteuid() != 0 and name in ("modprobe", "rmmod", "insmod"):
        print(f"{name}: ERROR: could not insert or remove modules: Operation not permitted", file=sys.stderr)
        return 1
    return COMMANDS[name](sys.argv[1:])
