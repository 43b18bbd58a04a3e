# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE's own reader and writer of a container's file, told again in the plainest way (pve-container 6.1:
# parse_pct_config, write_pct_config). The tests compare against it, and FakePct rewrites files as it does.

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator

PENDING = "pve:pending"

VALID_RAW = re.compile(
    r"lxc\.(cgroup2?|prlimit|limit|net)\..*|"
    r"lxc\.(mount\.(entry|auto|fstab)|apparmor\.(profile|raw|allow_nesting|allow_incomplete)|idmap|id_map|aa_profile|"
    r"cap\.(drop|keep)|hook\.(pre-start|pre-mount|mount|autodev|start|stop|post-stop|clone|destroy|version)|"
    r"environment(\.runtime|\.hooks)?|init\.cmd|seccomp\.profile|include|uts\.name|tty\.max|pty\.max|log\.(level|file)|start\.auto|group|"
    r"signal\.(halt|reboot|stop)|console\.(logfile|path)|autodev|kmsg)"
)


@dataclasses.dataclass
class PveSection:
    options: dict[str, str] = dataclasses.field(default_factory=dict)
    description: str = ""
    lxc: list[tuple[str, str]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class PveConf:
    main: PveSection
    pending: PveSection
    snapshots: dict[str, PveSection]
    complaints: list[str]
    """The lines that PVE warns about and loses at its next write."""


def parse(text: str) -> PveConf:
    conf = PveConf(PveSection(), PveSection(), {}, [])
    section = conf.main
    for line in text.split("\n"):
        if re.fullmatch(r"\s*", line, re.ASCII):
            continue
        if re.fullmatch(r"\[pve:pending\]\s*", line, re.ASCII | re.IGNORECASE):
            section = conf.pending = PveSection()
        elif header := re.fullmatch(r"\[([a-z][a-z0-9_-]+)\]\s*", line, re.ASCII | re.IGNORECASE):
            section = conf.snapshots[header[1]] = PveSection()
        elif line.startswith("#"):
            section.description += decode(line[1:]) + "\n"
        elif raw := re.fullmatch(r"(lxc\.[a-z0-9_\-.]+)(?::|\s*=)\s*(.*?)\s*", line, re.ASCII):
            if VALID_RAW.fullmatch(raw[1]):
                section.lxc.append((raw[1], raw[2]))
            else:
                conf.complaints.append(line)
        elif described := re.fullmatch(r"description:\s*(.*\S)\s*", line, re.ASCII):
            section.description += decode(described[1])
        elif deleted := re.fullmatch(r"delete:\s*(.*\S)\s*", line, re.ASCII):
            if section is conf.pending:
                section.options["delete"] = deleted[1]
            else:
                conf.complaints.append(line)
        elif plain := re.fullmatch(r"([a-z][a-z_]*\d*):\s*(.+?)\s*", line, re.ASCII):
            section.options[plain[1]] = plain[2]
        else:
            conf.complaints.append(line)
    return conf


def write(conf: PveConf) -> str:
    parts = [_write_section(conf.main)]
    if conf.pending.options:
        parts.append(f"[{PENDING}]\n{_write_section(conf.pending)}")
    parts += [f"[{name}]\n{_write_section(conf.snapshots[name])}" for name in sorted(conf.snapshots)]
    return "\n".join(parts)


def _write_section(section: PveSection) -> str:
    def lines() -> Iterator[str]:
        description = section.description.split("\n")
        while description and not description[-1]:
            description.pop()
        yield from (f"#{encode(line)}" for line in description)
        yield from (f"{key}: {section.options[key]}" for key in sorted(section.options))
        yield from (f"{key}: {value}" for key, value in section.lxc)

    return "".join(f"{line}\n" for line in lines())


def encode(text: str) -> str:
    """PVE::Tools::encode_text: everything outside of printable ASCII, and % and :."""
    return _each_byte(text, lambda byte: chr(byte) if 0x20 <= byte <= 0x7E and byte not in b"%:" else f"%{byte:02X}")


def decode(text: str) -> str:
    data = text.encode("utf-8", "surrogateescape")
    parts = re.split(rb"%([0-9A-Fa-f]{2})", data)
    decoded = b"".join(bytes([int(part, 16)]) if n % 2 else part for n, part in enumerate(parts))
    return decoded.decode("utf-8", "surrogateescape")


def _each_byte(text: str, convert: Callable[[int], str]) -> str:
    return "".join(convert(byte) for byte in text.encode("utf-8", "surrogateescape"))
