# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# dkms as far as the driver's installer, the collection and its roles use it, with DKMS 3's tree and DKMS 3's words.

from __future__ import annotations

import dataclasses
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from . import elf
from .kernel import Kernel

_ARCHITECTURE = "x86_64"
_VALUES = {
    "-m": "name", "-v": "version", "-k": "kernel", "--kernelver": "kernel", "-a": "arch", "--arch": "arch",
    "-j": "jobs", "--kernelsourcedir": "source", "--sourcetree": "sourcetree", "--dkmstree": "tree",
}  # fmt: skip
_OVERRIDE = "You may override by specifying --force."
_USAGE = """\
Usage: dkms [action] [options]
  [action] = { add | remove | build | unbuild | install | uninstall | match |
   autoinstall | mktarball | ldtarball | status | generate_mok }
  [options] = [-m module] [-v module-version] [-k kernel-version] [-a arch] [--force]
   [--no-depmod] [--kernelsourcedir=source-location] [--all]
"""


class DkmsError(Exception):
    def __init__(self, text: str, rc: int) -> None:
        super().__init__(text)
        self.rc = rc


class Dkms:
    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.tree = root / "var/lib/dkms"

    def _sources(self) -> list[Path]:
        """The links to the sources of what was added, wherever they lead below another root."""
        return sorted(path / "source" for path in self.tree.glob("*/*") if (path / "source").is_symlink())

    def status(self, name: str, version: str) -> list[str]:
        lines = []
        for source in self._sources():
            module, found = source.parent.parent.name, source.parent.name
            if (name and module != name) or (version and found != version):
                continue
            built = sorted(path.parent.parent.name for path in source.parent.glob("*/*/module"))
            for kernel in built:
                state = "installed" if self._installed(module, found, kernel) else "built"
                note = self._difference(module, found, kernel) if state == "installed" else ""
                lines.append(f"{module}/{found}, {kernel}, {_ARCHITECTURE}: {state}{note}")
            if not built:
                lines.append(f"{module}/{found}: added")
        return lines

    def _link(self, name: str, kernel: str) -> Path:
        return self.tree / name / f"kernel-{kernel}-{_ARCHITECTURE}"

    def _installed(self, name: str, version: str, kernel: str) -> bool:
        link = self._link(name, kernel)
        return link.is_symlink() and str(link.readlink()).split("/")[0] == version

    def _difference(self, name: str, version: str, kernel: str) -> str:
        for module in (self._place(name, version) / kernel / _ARCHITECTURE / "module").iterdir():
            installed = self._destination(kernel) / module.name
            if not installed.is_file() or installed.read_bytes() != module.read_bytes():
                return f" (WARNING! Diff between built and installed module!) ({kernel}/updates/dkms/{module.name})"
        return ""

    def _place(self, name: str, version: str) -> Path:
        return self.tree / name / version

    def _destination(self, kernel: str) -> Path:
        return self.root / "usr/lib/modules" / kernel / "updates/dkms"

    def add(self, name: str, version: str) -> None:
        source = self.root / "usr/src" / f"{name}-{version}"
        if (self._place(name, version) / "source").is_symlink():
            again = "You cannot add the same module/version combo more than once."
            raise DkmsError(f"DKMS tree already contains: {name}/{version}\n{again}", 3)
        if not (source / "dkms.conf").is_file():
            raise DkmsError(f"Could not find module source directory.\nDirectory: /usr/src/{name}-{version} does not "
                            "exist.", 2)  # fmt: skip
        self._place(name, version).mkdir(parents=True, exist_ok=True)
        print(f"Creating symlink /var/lib/dkms/{name}/{version}/source -> /usr/src/{name}-{version}")
        (self._place(name, version) / "source").symlink_to(f"/usr/src/{name}-{version}")

    def build(self, name: str, version: str, kernel: str) -> None:
        if not (self._place(name, version) / "source").is_symlink():
            self.add(name, version)
        place = self._place(name, version) / kernel / _ARCHITECTURE
        if (place / "module").is_dir():
            print(f"Module {name}/{version} already built for kernel {kernel} ({_ARCHITECTURE}), skip. {_OVERRIDE}")
            return
        if not (self.root / "usr/lib/modules" / kernel / "build/Makefile").exists():
            raise DkmsError(
                f"Your kernel headers for kernel {kernel} cannot be found at /lib/modules/{kernel}/build or "
                f"/lib/modules/{kernel}/source.\nPlease install the linux-headers-{kernel} package or use the "
                "--kernelsourcedir option to tell DKMS where it's located.", 21)  # fmt: skip
        work = self._place(name, version) / "build"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(self.root / "usr/src" / f"{name}-{version}", work)
        print("Building module(s)...", end="", flush=True)
        rc, output = self._make(work, kernel)
        log = f"DKMS make.log for {name}/{version} for kernel {kernel} ({_ARCHITECTURE})\n{output}\n"
        (work / "make.log").write_text(log + f"# exit code: {rc}\n")
        if rc:
            print("(bad exit status: 2)")
            raise DkmsError(
                f"Bad return status for module build on kernel: {kernel} ({_ARCHITECTURE})\nConsult "
                f"/var/lib/dkms/{name}/{version}/build/make.log for more information.", 10)  # fmt: skip
        print(" done.")
        built = sorted(work.glob("*.ko"))
        (place / "module").mkdir(parents=True)
        (place / "log").mkdir()
        shutil.copy(work / "make.log", place / "log")
        certificate = self.certificate()
        for module in built:
            print(f"Signing module {module}")
            (place / "module" / module.name).write_bytes(elf.signed(module.read_bytes(), certificate))
        shutil.rmtree(work)

    def _make(self, work: Path, kernel: str) -> tuple[int, str]:
        command = re.search(r'^MAKE\[0\]="(.*)"$', (work / "dkms.conf").read_text(), re.MULTILINE)
        script = (command[1] if command else "true").replace("${kernelver}", kernel)
        done = subprocess.run(["sh", "-c", script], cwd=work, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def certificate(self) -> str:
        """The sum of the certificate that modules are signed with, made when it is first needed."""
        public, secret = self.tree / "mok.pub", self.tree / "mok.key"
        if not public.is_file():
            self.tree.mkdir(parents=True, exist_ok=True)
            print("Certificate or key are missing, generating self signed certificate for MOK...")
            subprocess.run(
                ["openssl", "req", "-new", "-x509", "-nodes", "-days", "36500", "-newkey", "rsa:2048", "-subj",
                 "/CN=DKMS module signing key", "-keyout", str(secret), "-outform", "DER", "-out", str(public)],
                check=True, capture_output=True)  # fmt: skip
        return hashlib.sha256(public.read_bytes()).hexdigest()

    def install(self, name: str, version: str, kernel: str, *, force: bool) -> None:
        self.build(name, version, kernel)
        link = self._link(name, kernel)
        if self._installed(name, version, kernel) and not force:
            print(f"Module {name}/{version} already installed on kernel {kernel} ({_ARCHITECTURE}), skip. {_OVERRIDE}")
            return
        destination = self._destination(kernel)
        destination.mkdir(parents=True, exist_ok=True)
        for module in (self._place(name, version) / kernel / _ARCHITECTURE / "module").iterdir():
            print(f"Installing /lib/modules/{kernel}/updates/dkms/{module.name}")
            shutil.copy(module, destination)
        link.unlink(missing_ok=True)
        link.symlink_to(f"{version}/{kernel}/{_ARCHITECTURE}")
        print("Running depmod... done.")

    def uninstall(self, name: str, version: str, kernel: str) -> None:
        if not self._installed(name, version, kernel):
            return
        for module in (self._place(name, version) / kernel / _ARCHITECTURE / "module").iterdir():
            print(f"Deleting /lib/modules/{kernel}/updates/dkms/{module.name}")
            (self._destination(kernel) / module.name).unlink(missing_ok=True)
        self._link(name, kernel).unlink()

    def remove(self, name: str, version: str, kernel: str) -> None:
        place = self._place(name, version)
        if not place.is_dir():
            raise DkmsError(f"There are no instances of module: {name}/{version}\nlocated in the DKMS tree.", 3)
        for built in [kernel] if kernel else sorted(path.parent.parent.name for path in place.glob("*/*/module")):
            self.uninstall(name, version, built)
            shutil.rmtree(place / built, ignore_errors=True)
        if not list(place.glob("*/*/module")):
            print(f"Deleting module {name}/{version} completely from the DKMS tree.")
            shutil.rmtree(place)

    def autoinstall(self, kernel: str) -> None:
        newest = {source.parent.parent.name: source.parent.name for source in self._sources()}
        for name, version in newest.items():
            print(f"Autoinstall of module {name}/{version} for kernel {kernel} ({_ARCHITECTURE})")
            self.install(name, version, kernel, force=False)


def run(argv: Sequence[str], root: Path = Path("/")) -> int:
    words, values, flags = [], {}, []
    waiting = list(argv)
    while waiting:
        word = waiting.pop(0)
        option, equals, value = word.partition("=")
        if option in _VALUES and (equals or waiting):
            values[_VALUES[option]] = value if equals else waiting.pop(0)
        elif word.startswith("-"):
            flags.append(word)
        else:
            words.append(word)
    if "--version" in flags or "-V" in flags:
        print("dkms-3.2.2")
        return 0
    verb, *rest = words or [""]
    name, _slash, version = (rest[0] if rest else "").partition("/")
    name, version = values.get("name", name), values.get("version", version)
    dkms, running = Dkms(root), Kernel(root).machine.release
    if verb == "status":
        print("".join(f"{line}\n" for line in dkms.status(name, version)), end="")
        return 0
    if "--help" in flags or not verb:
        print(_USAGE, end="")
        return 0
    try:
        _Action(dkms, name, version, values.get("kernel", ""), frozenset(flags), running).run(verb)
    except DkmsError as error:
        first, *others = str(error).splitlines()
        print("\n".join((f"\nError! {first}", *others)), file=sys.stderr)
        return error.rc
    return 0


@dataclasses.dataclass(frozen=True)
class _Action:
    dkms: Dkms
    name: str
    version: str
    kernel: str
    flags: frozenset[str]
    running: str

    def run(self, verb: str) -> None:
        kernel = self.kernel or self.running
        module = self.name, self.version
        if verb == "generate_mok":
            self.dkms.certificate()
            return
        if verb == "autoinstall":
            self.dkms.autoinstall(kernel)
            return
        if verb not in ("add", "build", "install", "uninstall", "unbuild", "remove"):
            raise DkmsError(f"Unknown action specified: {verb}", 4)
        if not all(module):
            usage = f"Usage: {verb} <module>/<module-version> or\n       {verb} -m <module>/<module-version>"
            raise DkmsError(f"Arguments <module> and <module-version> are not specified.\n{usage}", 1)
        match verb:
            case "add":
                self.dkms.add(*module)
            case "build":
                self.dkms.build(*module, kernel)
            case "install":
                self.dkms.install(*module, kernel, force="--force" in self.flags)
            case "uninstall":
                self.dkms.uninstall(*module, kernel)
            case "unbuild":
                self.dkms.uninstall(*module, kernel)
                shutil.rmtree(self.dkms.tree / self.name / self.version / kernel, ignore_errors=True)
            case _:
                self.dkms.remove(*module, "" if "--all" in self.flags else self.kernel)


def main() -> int:
    return run(sys.argv[1:])
