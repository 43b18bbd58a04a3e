# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# What NVIDIA's files, logs and tools say, as pure functions over their text. Nothing here reads or runs anything.

from __future__ import annotations

import dataclasses
import re
import struct
import typing as t
from collections.abc import Iterable, Sequence
from urllib.parse import unquote, urlsplit

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError, invalid

HEADER_BYTES = 4096
ARCHITECTURES = ("x86_64", "aarch64")

_VERSION = r"\d{3,}\.\d+(?:\.\d+)?"
_STANDALONE_VERSION = re.compile(rf"(?<![\w.-])({_VERSION})(?![\w.])")
_FILE_NAME = re.compile(rf"NVIDIA-Linux-(?P<architecture>\w+?)-(?P<version>{_VERSION})(?:-[\w.+-]+)?\.run")
_HEADER_FIELD = re.compile(r"^([A-Za-z_]\w*)=(\"?)([^\n]*?)\2$", re.MULTILINE)
_LABEL_ARCHITECTURE = re.compile(r"Linux-(\w+)")
_LIBRARY = re.compile(rf"lib[\w-]+\.so\.({_VERSION})")
_LOG_MESSAGE = re.compile(r"(ERROR|WARNING): (.*)")
_DKMS_LINE = re.compile(
    r"nvidia(?:/|, )(?P<version>[^,:\s]+)(?:, (?P<kernel>[^,\s]+), (?P<architecture>[^:\s]+))?: "
    r"(?P<state>added|built|installed-weak|installed)(?P<notes>.*)"
)
_SIMULATED = re.compile(r"^(?:Purg|Remv) (\S+)", re.MULTILINE)


def order(version: str) -> tuple[int, ...]:
    """A key by which driver versions sort: 580.82.07 before 580.105.08."""
    return tuple(int(number) for number in version.split("."))


def is_version(text: str) -> bool:
    return re.fullmatch(_VERSION, text) is not None


@dataclasses.dataclass(frozen=True)
class Identity:
    """What a runfile calls itself, by its name or by its header."""

    version: str
    architecture: str


def base_name(source: str) -> str:
    """The file name of a path or of a URL, without query and fragment."""
    path = urlsplit(source).path if "://" in source else source
    return unquote(path).rpartition("/")[2]


def identity_from_name(source: str) -> Identity | None:
    named = _FILE_NAME.fullmatch(base_name(source))
    return Identity(named["version"], named["architecture"]) if named else None


def identity_from_header(data: bytes) -> Identity | None:
    """What the makeself header in the first bytes of the file says; None when it is no NVIDIA installer."""
    text = data[:HEADER_BYTES].decode("latin-1")
    if not text.startswith("#!"):
        return None
    fields = {name: value for name, _quote, value in _HEADER_FIELD.findall(text)}
    label = fields.get("label", "")
    if "NVIDIA" not in label:
        return None
    version = fields.get("version_string", "")
    if not is_version(version):
        labelled = _STANDALONE_VERSION.search(label)
        if not labelled:
            return None
        version = labelled[1]
    in_label = _LABEL_ARCHITECTURE.search(label)
    return Identity(version, fields.get("TARGET_ARCH") or (in_label[1] if in_label else ""))


def expected_identity(source: str, version: str | None) -> Identity:
    """The version that a source promises, before the file itself is at hand (D3: the name decides)."""
    named = identity_from_name(source)
    if version is not None and not is_version(version):
        raise invalid("version", version, "is no NVIDIA driver version", "Write it like 580.159.04, or leave it out.")
    if named is None:
        if version is None:
            raise PhoenixError(
                f"{source}: the file name does not tell the driver version",
                remedy="Use NVIDIA's own file name (NVIDIA-Linux-x86_64-<version>.run), or set version.",
                code=Code.INPUT,
            )
        return Identity(version, "")
    if version is not None and version != named.version:
        raise PhoenixError(
            f"version: {version} disagrees with {source}, which is {named.version}",
            remedy="Leave version out (it is derived from the file name), or correct the url or path.",
            code=Code.INPUT,
        )
    return named


def check_identity(source: str, expected: Identity, found: Identity) -> None:
    if found.version != expected.version:
        raise PhoenixError(
            f"{source}: {expected.version} was asked for, but the file's own header says {found.version}",
            remedy="The file was renamed or the server sends another one: correct the url, path or version.",
            code=Code.INPUT,
        )
    if expected.architecture and found.architecture and found.architecture != expected.architecture:
        raise PhoenixError(
            f"{source}: the name says {expected.architecture}, but the file's own header says {found.architecture}",
            remedy="The file was renamed or the server sends another one: correct the url or path.",
            code=Code.INPUT,
        )


@dataclasses.dataclass(frozen=True)
class KernelModule:
    """A kernel module nvidia, loaded or on disk."""

    version: str
    is_open: bool

    @property
    def type(self) -> str:
        return "open" if self.is_open else "proprietary"


def loaded_module(proc_version: str) -> KernelModule | None:
    """The loaded module from the text of /proc/driver/nvidia/version."""
    line = next((line for line in proc_version.splitlines() if line.startswith("NVRM version:")), "")
    found = _STANDALONE_VERSION.search(line)
    return KernelModule(found[1], "Open Kernel Module" in line) if found else None


def logged_version(text: str) -> str:
    """The version in the installer's own record, /var/lib/nvidia/log, whose line 1 is C(1.0-5807605 (580.76.05))."""
    first = text.partition("\n")[0]
    found = re.search(rf"\(({_VERSION})\)", first) or _STANDALONE_VERSION.search(first)
    return found[1] if found else ""


def library_version(target: str) -> str:
    """The version in the target of a library's link: libcuda.so.580.76.05."""
    found = _LIBRARY.fullmatch(target.rpartition("/")[2])
    return found[1] if found else ""


def log_messages(text: str) -> list[tuple[str, str]]:
    """The errors and warnings in the installer's log or on its stderr, each with its continuation lines joined."""
    messages: list[tuple[str, list[str]]] = []
    inside = False
    for line in text.splitlines():
        if start := _LOG_MESSAGE.match(line):
            messages.append((start[1], [start[2]]))
            inside = True
        # Log lines of other kinds begin with an arrow, command output with three blanks; stderr wraps by seven or more.
        elif inside and line.strip() and not line.startswith("->") and not re.match(r" {1,6}\S", line):
            messages[-1][1].append(line.strip())
        else:
            inside = False
    return [(level, " ".join(" ".join(lines).split())) for level, lines in messages]


def failure_lines(text: str) -> list[str]:
    """What the log says about why it failed.

    In silent mode the reason is often only a warning, followed by the answer "Abort installation" to a question that
    nobody was asked; the one error then says no more than that the installation failed.
    """
    messages = list(dict.fromkeys(log_messages(text)))
    errors = [
        message
        for level, message in messages
        if level == "ERROR" and not message.startswith("Installation has failed.")
    ]
    return errors or [message for level, message in messages if level == "WARNING"]


@dataclasses.dataclass(frozen=True)
class DkmsEntry:
    version: str
    kernel: str
    state: str
    notes: str


def dkms_status(text: str) -> list[DkmsEntry]:
    """The lines of C(dkms status) for the module nvidia, in the forms of DKMS 2 and 3."""
    return [
        DkmsEntry(found["version"], found["kernel"] or "", found["state"], found["notes"].strip(" ()"))
        for line in text.splitlines()
        if (found := _DKMS_LINE.fullmatch(line.strip()))
    ]


def module_fields(stream: t.BinaryIO) -> dict[str, str]:
    """The C(.modinfo) fields of an uncompressed 64-bit kernel module, read without its hundred megabytes of code."""
    header = stream.read(64)
    if len(header) < 64 or header[:6] != b"\x7fELF\x02\x01":
        return {}
    (table,) = struct.unpack_from("<Q", header, 40)
    size, count, names_index = struct.unpack_from("<HHH", header, 58)
    stream.seek(table)
    raw = stream.read(size * count)
    if size < 64 or len(raw) < size * count or names_index >= count:
        return {}
    # Per section: where its name lies, and where its bytes begin and how many they are.
    sections = [
        (struct.unpack_from("<I", raw, at)[0], *struct.unpack_from("<QQ", raw, at + 24))
        for at in range(0, size * count, size)
    ]
    _name, offset, length = sections[names_index]
    stream.seek(offset)
    names = stream.read(length)
    for name, offset, length in sections:
        if names[name : name + 9] == b".modinfo\0":
            stream.seek(offset)
            pairs = (entry.decode("latin-1").partition("=") for entry in stream.read(length).split(b"\0"))
            return {key: value for key, separator, value in pairs if separator}
    return {}


def module_from_fields(fields: dict[str, str]) -> KernelModule | None:
    """A module by its C(version) and C(license): the open one is dual MIT/GPL, the other says NVIDIA."""
    version = fields.get("version", "")
    return KernelModule(version, "GPL" in fields.get("license", "")) if is_version(version) else None


def installed_packages(dpkg_status: str) -> list[str]:
    """The installed packages in /var/lib/dpkg/status, as apt names them (C(libcuda1:amd64))."""
    packages = []
    for paragraph in dpkg_status.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Architecture): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            architecture = fields.get("Architecture", "all")
            packages.append(fields["Package"] + ("" if architecture == "all" else f":{architecture}"))
    return packages


def simulated_removals(output: str) -> list[str]:
    """What C(apt-get --simulate purge) would remove."""
    return _SIMULATED.findall(output)


def without_architecture(packages: Iterable[str]) -> list[str]:
    return [package.partition(":")[0] for package in packages]


def kernel_order(kernel: str) -> tuple[int, ...]:
    """A key by which kernel releases sort: 6.8.12-4-pve before 6.17.2-1-pve."""
    return tuple(int(number) for number in re.findall(r"\d+", kernel))


def sha256_from_list(text: str, name: str) -> str:
    """The sum of a file in a C(.sha256sum) list; of the only entry, when the list has no more than one."""
    entries: Sequence[tuple[str, str]] = re.findall(
        r"^([0-9a-fA-F]{64})(?:[ \t]+\*?(\S.*?))?[ \t]*$", text, re.MULTILINE
    )
    for digest, listed in entries:
        if listed.rpartition("/")[2] == name:
            return digest.lower()
    return entries[0][0].lower() if len(entries) == 1 else ""
