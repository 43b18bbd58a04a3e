# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# The file /etc/pve/lxc/<ctid>.conf as PVE reads and writes it. A file is kept as its lines, so that rendering gives
# back the very bytes that were parsed and an edit can change nothing but the lines it owns.

from __future__ import annotations

import contextlib
import dataclasses
import enum
import errno
import fcntl
import functools
import hashlib
import itertools
import os
import re
import typing as t
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Clock

PENDING = "pve:pending"

# PVE's own patience with this lock.
FLOCK_SECONDS = 10.0

_PENDING_HEADER = re.compile(r"^\[pve:pending\]\s*$", re.ASCII | re.IGNORECASE)
_SNAPSHOT_HEADER = re.compile(r"^\[([a-z][a-z0-9_-]+)\]\s*$", re.ASCII | re.IGNORECASE)
_RAW = re.compile(r"^(lxc\.[a-z0-9_.-]+)(?::|\s*=)\s*(.*?)\s*$", re.ASCII)
_PLAIN = re.compile(r"^([a-z][a-z_]*\d*):\s*(.+?)\s*$", re.ASCII)

# What the parser of PVE accepts; every other lxc.* line is gone after PVE's next write of the file.
_RAW_PREFIXES = ("lxc.cgroup.", "lxc.cgroup2.", "lxc.prlimit.", "lxc.limit.", "lxc.net.")
_RAW_KEYS = frozenset(
    f"lxc.{name}"
    for name in """
    apparmor.profile apparmor.allow_incomplete apparmor.allow_nesting apparmor.raw selinux.context include arch
    uts.name signal.halt signal.reboot signal.stop init.cmd init.cwd init.uid init.gid init.groups pty.max
    console.logfile console.path tty.max devtty.dir hook.autodev autodev kmsg mount.fstab mount.entry mount.auto
    rootfs.mount cap.drop cap.keep seccomp.profile seccomp.notify.proxy seccomp.notify.cookie idmap hook.pre-start
    hook.pre-mount hook.mount hook.start hook.stop hook.post-stop hook.clone hook.destroy hook.version log.level
    log.file start.auto start.delay start.order group environment environment.runtime environment.hooks
    sysctl.fs.mqueue sysctl.kernel.msgmax sysctl.kernel.msgmnb sysctl.kernel.msgmni sysctl.kernel.sem
    sysctl.kernel.shmall sysctl.kernel.shmmax sysctl.kernel.shmmni sysctl.kernel.shm_rmid_forced
    aa_profile aa_allow_incomplete se_context id_map utsname haltsignal rebootsignal stopsignal init_cmd pts console
    devttydir logfile loglevel mount seccomp tty network.type network.flags network.link network.mtu network.name
    network.hwaddr network.ipv4 network.ipv4.gateway network.ipv6 network.ipv6.gateway network.script.up
    network.script.down
    """.split()
)


class Kind(enum.Enum):
    BLANK = enum.auto()
    HEADER = enum.auto()
    DESCRIPTION = enum.auto()
    PLAIN = enum.auto()
    RAW = enum.auto()
    DROPPED = enum.auto()


@dataclasses.dataclass(frozen=True)
class Line:
    """One line with what PVE makes of it."""

    text: str
    kind: Kind
    key: str = ""
    value: str = ""


@dataclasses.dataclass(frozen=True)
class Section:
    """The main part of the file, its pending changes, or one snapshot."""

    name: str
    lines: tuple[Line, ...]

    @property
    def options(self) -> dict[str, str]:
        """The plain keys without the description; the last of a duplicated key counts."""
        found = {line.key: line.value for line in self.lines if line.kind is Kind.PLAIN}
        found.pop("description", None)
        return found

    @property
    def raw(self) -> tuple[tuple[str, str], ...]:
        return tuple((line.key, line.value) for line in self.lines if line.kind is Kind.RAW)

    @property
    def description(self) -> str:
        """All comment lines, wherever they stand, and the key that nobody writes but PVE reads."""
        return "".join(
            decode_text(line.value) + ("\n" if line.kind is Kind.DESCRIPTION else "")
            for line in self.lines
            if line.kind is Kind.DESCRIPTION or (line.kind is Kind.PLAIN and line.key == "description")
        )


@dataclasses.dataclass(frozen=True)
class ConfigFile:
    """A container's file: parse, ask, edit, render."""

    lines: tuple[Line, ...]

    @classmethod
    def parse(cls, data: bytes) -> ConfigFile:
        text = data.decode("utf-8", "surrogateescape")
        section = ""
        lines = []
        for raw_line in text.split("\n"):
            line = _classify(raw_line, pending=section == PENDING)
            if line.kind is Kind.HEADER:
                section = line.key
            lines.append(line)
        return cls(tuple(lines))

    def render(self) -> bytes:
        return "\n".join(line.text for line in self.lines).encode("utf-8", "surrogateescape")

    @property
    def digest(self) -> str:
        """What PVE calls the digest of the file: the SHA-1 of its bytes."""
        return hashlib.sha1(self.render(), usedforsecurity=False).hexdigest()

    @functools.cached_property
    def _main_end(self) -> int:
        return next((n for n, line in enumerate(self.lines) if line.kind is Kind.HEADER), len(self.lines))

    @functools.cached_property
    def main(self) -> Section:
        return Section("", self.lines[: self._main_end])

    @functools.cached_property
    def _sections(self) -> tuple[Section, ...]:
        starts = [n for n, line in enumerate(self.lines) if line.kind is Kind.HEADER]
        bounds = itertools.pairwise([*starts, len(self.lines)])
        return tuple(Section(self.lines[start].key, self.lines[start + 1 : end]) for start, end in bounds)

    @property
    def pending(self) -> Section:
        found = [section for section in self._sections if section.name == PENDING]
        return found[-1] if found else Section(PENDING, ())

    @property
    def pending_delete(self) -> frozenset[str]:
        value = self.pending.options.get("delete", "")
        # A key can carry a leading ! when its deletion is forced.
        return frozenset(name.lstrip("!") for name in re.split(r"[,;\s]+", value) if name)

    @property
    def snapshots(self) -> dict[str, Section]:
        return {section.name: section for section in self._sections if section.name != PENDING}

    @property
    def dropped(self) -> tuple[str, ...]:
        """The lines that PVE does not understand and deletes at its next write."""
        return tuple(line.text for line in self.lines if line.kind is Kind.DROPPED)

    def with_option(self, key: str, value: str) -> ConfigFile:
        """Set a plain key of the main part."""
        new = _owned_line(f"{key}: {value}", Kind.PLAIN, key, value)
        end = self._main_end
        same = [n for n in range(end) if self.lines[n].kind is Kind.PLAIN and self.lines[n].key == key]
        if same:
            if self.lines[same[-1]].value == value and len(same) == 1:
                return self
            replaced = self._without(same[:-1])
            position = same[-1] - len(same) + 1
            return ConfigFile((*replaced[:position], new, *replaced[position + 1 :]))
        plain = [n for n in range(end) if self.lines[n].kind is Kind.PLAIN]
        later = [n for n in plain if self.lines[n].key > key]
        if later:
            return self._with_inserted(later[0], [new])
        return self._with_inserted(plain[-1] + 1 if plain else self._top, [new])

    def without_option(self, key: str) -> ConfigFile:
        """Delete a plain key of the main part."""
        end = self._main_end
        same = [n for n in range(end) if self.lines[n].kind is Kind.PLAIN and self.lines[n].key == key]
        return ConfigFile(self._without(same))

    def with_raw(self, *, remove: Iterable[tuple[str, str]] = (), add: Iterable[tuple[str, str]] = ()) -> ConfigFile:
        """Take raw lines out of the main part and put others at its end."""
        unwanted = set(remove)
        gone = [
            n
            for n in range(self._main_end)
            if self.lines[n].kind is Kind.RAW and (self.lines[n].key, self.lines[n].value) in unwanted
        ]
        pruned = ConfigFile(self._without(gone))
        new = [_owned_line(f"{key}: {value}", Kind.RAW, key, value) for key, value in add]
        return pruned._with_inserted(pruned._bottom, new) if new else pruned

    @property
    def _top(self) -> int:
        """Behind the description at the head of the file."""
        end = self._main_end
        return next((n for n in range(end) if self.lines[n].kind is not Kind.DESCRIPTION), end)

    @property
    def _bottom(self) -> int:
        """Behind the last line of the main part that is not blank."""
        filled = [n for n in range(self._main_end) if self.lines[n].kind is not Kind.BLANK]
        return filled[-1] + 1 if filled else 0

    def _without(self, positions: Iterable[int]) -> tuple[Line, ...]:
        unwanted = set(positions)
        return tuple(line for n, line in enumerate(self.lines) if n not in unwanted)

    def _with_inserted(self, position: int, new: Iterable[Line]) -> ConfigFile:
        return ConfigFile((*self.lines[:position], *new, *self.lines[position:]))


def _owned_line(text: str, kind: Kind, key: str, value: str) -> Line:
    line = _classify(text, pending=False)
    if (line.kind, line.key, line.value) != (kind, key, value):
        raise ValueError(f"not a line that PVE would read back as it was meant: {text!r}")
    return line


# The snapshots of a container repeat its lines, and so do the containers that were cloned from one another.
@functools.lru_cache(maxsize=8192)
def _classify(text: str, *, pending: bool) -> Line:
    if not text.strip(" \t\r\f\v"):
        return Line(text, Kind.BLANK)
    if text.startswith("["):
        if _PENDING_HEADER.match(text):
            return Line(text, Kind.HEADER, PENDING)
        if header := _SNAPSHOT_HEADER.match(text):
            return Line(text, Kind.HEADER, header[1])
    if text.startswith("#"):
        return Line(text, Kind.DESCRIPTION, "", text[1:])
    if text.startswith("lxc.") and (raw := _RAW.match(text)):
        known = raw[1] in _RAW_KEYS or raw[1].startswith(_RAW_PREFIXES)
        return Line(text, Kind.RAW if known else Kind.DROPPED, raw[1], raw[2])
    if plain := _PLAIN.match(text):
        misplaced = plain[1] == "delete" and not pending
        return Line(text, Kind.DROPPED if misplaced else Kind.PLAIN, plain[1], plain[2])
    return Line(text, Kind.DROPPED)


def encode_text(text: str) -> str:
    """A line of a description as PVE writes it behind the #."""
    return "".join(
        chr(byte) if 0x20 <= byte <= 0x7E and chr(byte) not in "%:" else f"%{byte:02X}"
        for byte in text.encode("utf-8", "surrogateescape")
    )


def decode_text(text: str) -> str:
    return re.sub(
        rb"%([0-9a-fA-F]{2})",
        lambda match: bytes.fromhex(match[1].decode()),
        text.encode("utf-8", "surrogateescape"),
    ).decode("utf-8", "surrogateescape")


def parse_properties(text: str, default_key: str = "") -> dict[str, str]:
    """C(name=eth0,bridge=vmbr0); a first part without = is the value of the default key."""
    properties: dict[str, str] = {}
    for part in text.split(","):
        key, separator, value = part.partition("=")
        if separator:
            properties[key.strip()] = value.strip()
        elif default_key and part.strip():
            properties[default_key] = part.strip()
    return properties


def format_properties(properties: Mapping[str, str], default_key: str = "") -> str:
    first = [properties[default_key]] if default_key in properties else []
    return ",".join([*first, *(f"{key}={value}" for key, value in properties.items() if key != default_key)])


class ConfigWriter:
    """The one place that writes a container's file: under PVE's lock, and only what was decided on."""

    def __init__(
        self, config: Path, flock: Path, holder: Callable[[Path], str] = lambda _path: "", clock: Clock | None = None
    ) -> None:
        self._config = config
        self._flock = flock
        self._holder = holder
        self._clock = clock or Clock()

    def write(self, new: ConfigFile, *, expected_digest: str) -> None:
        """Replace the file that had the expected digest; anything else on disk is somebody's newer work."""
        with self._locked():
            self._check(self._current(), expected_digest)
            replace_file(self._config, new.render())

    def _current(self) -> ConfigFile:
        try:
            return ConfigFile.parse(self._config.read_bytes())
        except FileNotFoundError:
            raise PhoenixError(
                f"{self._config.name} is gone: somebody else removed the container in the meantime",
                remedy="Nothing was written. See who did it (task log of the node), then run again.",
            ) from None

    def _check(self, current: ConfigFile, expected_digest: str) -> None:
        if lock := current.main.options.get("lock"):
            raise PhoenixError(
                f"{self._config.name}: the container is locked ({lock})",
                remedy="Wait until the task that holds the lock has ended, then run again.",
            )
        if current.digest != expected_digest:
            raise PhoenixError(
                f"{self._config.name} was changed by somebody else while this run decided what to write",
                remedy="Nothing was written. Run again: the decision is then made on the new content.",
            )

    def _locked(self) -> t.ContextManager[None]:
        return _Flock(self._flock, self._holder, self._clock)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file of /etc/pve: whole or not at all."""
    temporary = path.with_name(f"{path.name}.tmp.{os.getpid()}")
    try:
        # pmxcfs knows one mode only and refuses chmod, so the mode is right from the first moment.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        temporary.replace(path)
    except OSError as error:
        # Where the file could not be written, its remains cannot always be removed either.
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> PhoenixError:
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return PhoenixError(
            f"{path.parent} is read-only: {error.strerror}",
            remedy="The node has no quorum, or pve-cluster is not running: look at `pvecm status`. "
            "Nothing was written.",
        )
    return PhoenixError(
        f"{path} could not be written: {error.strerror}",
        remedy="Free what the message names and run again. The file is as it was.",
    )


class _Flock:
    """PVE's lock around a container's file, taken as PVE takes it."""

    def __init__(self, path: Path, holder: Callable[[Path], str], clock: Clock) -> None:
        self._path = path
        self._holder = holder
        self._clock = clock
        self._descriptor = -1

    def __enter__(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        deadline = self._clock.deadline(FLOCK_SECONDS)
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if deadline.pause(0.1):
                    continue
                os.close(self._descriptor)
                holder = self._holder(self._path)
                raise PhoenixError(
                    f"{self._path} is locked by {holder or 'another process'} for more than {FLOCK_SECONDS:g} s",
                    remedy="Wait until that process has finished with the container, then run again.",
                ) from None
            return

    def __exit__(self, *_exception: object) -> None:
        os.close(self._descriptor)
