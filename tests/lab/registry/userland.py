# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Layers that images are made of, from what the build root has: busybox, bash, the C library, Python."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .elf import closure, needs
from .oci import Layer, Tree

# Programs with a mind of their own: what the host's must not be replaced with.
NO_APPLETS = {"busybox", "bash", "ldconfig", "openssl", "python3", "nvidia-smi", "init", "linuxrc"}
# Loaded by name at run time, or needed by what a container runtime injects.
EXTRA_LIBRARIES = """
    libdl.so.2 libpthread.so.0 librt.so.1 libm.so.6 libgcc_s.so.1 libnss_files.so.2 libnss_dns.so.2 libresolv.so.2
""".split()
STDLIB_SKIP = frozenset(
    "test tests idlelib tkinter turtledemo lib2to3 ensurepip pydoc_data config distutils venv curses dbm sqlite3 "
    "turtle.py "
    "antigravity.py this.py sitecustomize.py EXTERNALLY-MANAGED LICENSE.txt".split()
)
EXTENSIONS_SKIP = tuple("_test _xxtest xx _curses readline _dbm _gdbm _tkinter _sqlite3 _ctypes_test _codecs_".split())
OPENSSL_CONFIG = """\
[req]
distinguished_name = dn
x509_extensions = v3
[dn]
[v3]
basicConstraints = critical,CA:TRUE
"""
LOADED = """
import sys
sys.path.insert(0, sys.argv[1])
import lab.registry.services.portainer, lab.registry.services.qdrant, lab.registry.vllm.main
for module in list(sys.modules.values()):
    print(getattr(module, "__file__", None) or "/built-in")
"""
# Bytecode that is as good as the text beside it, whatever their times say: "unchecked", by the hash of the text.
COMPILE = """
import importlib.util, json, marshal, sys
def compiled(path, text):
    head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(text.encode())
    return (head + marshal.dumps(compile(text, "/" + path, "exec", dont_inherit=True))).hex()
json.dump({path: compiled(path, text) for path, text in json.load(sys.stdin).items()}, sys.stdout)
"""
PASSWD = """\
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""


@dataclasses.dataclass(frozen=True)
class Root:
    """The build root: the lab's image, whose own programs the images get."""

    path: Path = Path("/")

    @property
    def libraries(self) -> Path:
        folders = sorted((self.path / "usr/lib").glob("*-linux-gnu"))
        return next(folder for folder in folders if (folder / "libc.so.6").exists())

    def program(self, name: str) -> Path:
        for folder in ("usr/bin", "usr/sbin"):
            if (self.path / folder / name).is_file():
                return self.path / folder / name
        raise FileNotFoundError(f"{self.path}: no program {name}")

    @property
    def python(self) -> str:
        """python3.13"""
        return self.program("python3").resolve().name

    def applets(self) -> list[str]:
        listed = subprocess.run([str(self.program("busybox")), "--list"], check=True, capture_output=True, text=True)
        return sorted(set(listed.stdout.split()) - NO_APPLETS)


@dataclasses.dataclass(frozen=True)
class Identity:
    """Which distribution an image says that it is."""

    identifier: str
    name: str
    version: str
    codename: str

    def os_release(self) -> str:
        return f"""\
PRETTY_NAME="{self.name} {self.version}"
NAME="{self.name}"
VERSION_ID="{self.version}"
VERSION="{self.version} ({self.codename.title()})"
VERSION_CODENAME={self.codename}
ID={self.identifier}
ID_LIKE=debian
"""


NOBLE = Identity("ubuntu", "Ubuntu", "24.04", "noble")
JAMMY = Identity("ubuntu", "Ubuntu", "22.04", "jammy")
BOOKWORM = Identity("debian", "Debian GNU/Linux", "12", "bookworm")
ALPINE = Identity("alpine", "Alpine Linux", "3.22.1", "edge")


def identity(which: Identity) -> Layer:
    tree = Tree()
    tree.file("usr/lib/os-release", which.os_release())
    tree.link("etc/os-release", "../usr/lib/os-release")
    if which.identifier == "ubuntu":
        lines = f"DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE={which.version}\nDISTRIB_CODENAME={which.codename}\n"
        tree.file("etc/lsb-release", f'{lines}DISTRIB_DESCRIPTION="Ubuntu {which.version}"\n')
    return tree.layer()


def small(root: Root) -> Layer:
    """busybox alone."""
    tree = _skeleton()
    _busybox(tree, root)
    return tree.layer()


def distribution(root: Root) -> Layer:
    """A merged /usr with a C library, so that a program that a runtime injects finds its loader."""
    tree = _skeleton()
    programs = [root.program("bash"), root.program("ldconfig")]
    tree.copy(programs[0], "usr/bin/bash")
    tree.copy(programs[1], "usr/sbin/ldconfig")
    libraries = closure(programs, root.libraries)
    libraries |= {name for name in EXTRA_LIBRARIES if (root.libraries / name).is_file()}
    _libraries(tree, root, libraries)
    loader = needs(programs[0])[0]
    if loader:
        # /lib64/ld-linux-x86-64.so.2: /lib64 is a link to usr/lib64 in the image.
        tree.link(f"usr{loader}", f"../lib/{root.libraries.name}/{Path(loader).name}")
    _busybox(tree, root)
    tree.file("etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n")
    tree.folder("etc/ld.so.conf.d")
    return tree.layer()


def python(root: Root, below: Sequence[str] = ()) -> Layer:
    """The interpreter with its standard library, and openssl for certificates; without libraries of the layer below."""
    tree = Tree()
    binary = root.program("python3").resolve()
    tree.copy(binary, f"usr/bin/{root.python}")
    tree.link("usr/bin/python3", root.python)
    tree.copy(root.program("openssl"), "usr/bin/openssl")
    tree.file("etc/ssl/stub.cnf", OPENSSL_CONFIG)
    stdlib = root.path / "usr/lib" / root.python
    skip = STDLIB_SKIP | {entry.name for entry in stdlib.glob("config-*")}
    extensions = [
        path for path in sorted((stdlib / "lib-dynload").iterdir()) if not path.name.startswith(EXTENSIONS_SKIP)
    ]
    tree.copy_folder(stdlib, f"usr/lib/{root.python}", skip | {"lib-dynload"})
    loaded = _loaded_below(stdlib)
    modules(tree, {f"usr/lib/{root.python}/{path.relative_to(stdlib)}": path.read_text() for path in loaded})
    for path in extensions:
        tree.copy(path, f"usr/lib/{root.python}/lib-dynload/{path.name}")
    libraries = closure([binary, root.program("openssl"), *extensions], root.libraries)
    _libraries(tree, root, libraries - set(below))
    return tree.layer()


def _loaded_below(stdlib: Path) -> list[Path]:
    """Modules that the programs of the images load, found by a process of its own: it must not depend on who builds."""
    lab = str(Path(__file__).parents[2])
    listed = subprocess.run([sys.executable, "-I", "-B", "-c", LOADED, lab], check=True, capture_output=True, text=True)
    files = [Path(line) for line in listed.stdout.splitlines()]
    return sorted(path for path in set(files) if path.is_relative_to(stdlib) and path.suffix == ".py")


def package(source: Path, path: str) -> dict[str, str]:
    """The Python files of a folder, by their paths in an image."""
    return {f"{path}/{file.name}": file.read_text() for file in sorted(source.glob("*.py"))}


def modules(tree: Tree, texts: Mapping[str, str]) -> None:
    """Python files with their bytecode beside them: a container should not compile at every start."""
    # In a process of its own: what marshal writes depends on all that a process did before.
    argv = [sys.executable, "-S", "-s", "-B", "-c", COMPILE]
    done = subprocess.run(
        argv, input=json.dumps(texts), env={"PYTHONHASHSEED": "0"}, check=True, capture_output=True, text=True
    )
    for path, code in json.loads(done.stdout).items():
        folder, _, name = path.rpartition("/")
        tree.file(path, texts[path])
        tree.file(
            f"{folder}/__pycache__/{name.removesuffix('.py')}.{sys.implementation.cache_tag}.pyc", bytes.fromhex(code)
        )


def _skeleton() -> Tree:
    tree = Tree()
    for name in ("bin", "sbin", "lib", "lib64"):
        tree.folder(f"usr/{name}")
        tree.link(name, f"usr/{name}")
    for name in ("dev", "etc", "home", "proc", "root", "run", "sys", "usr/local/bin", "var/lib", "var/log"):
        tree.folder(name)
    tree.folder("tmp", 0o1777)
    tree.folder("var/tmp", 0o1777)
    tree.link("var/run", "/run")
    tree.file("etc/passwd", PASSWD)
    tree.file("etc/group", "root:x:0:\nnogroup:x:65534:\n")
    tree.file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    return tree


def _busybox(tree: Tree, root: Root) -> None:
    tree.copy(root.program("busybox"), "usr/bin/busybox")
    for name in root.applets():
        if f"usr/bin/{name}" not in tree and f"usr/sbin/{name}" not in tree:
            tree.link(f"usr/bin/{name}", "busybox")


def _libraries(tree: Tree, root: Root, names: set[str]) -> None:
    for name in sorted(names):
        tree.copy(root.libraries / name, f"usr/lib/{root.libraries.name}/{name}")
