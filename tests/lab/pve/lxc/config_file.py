# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A container's file: reading and writing it as PVE::LXC::Config does (parse_pct_config, write_pct_config).

from __future__ import annotations

import hashlib
import re

from ..exceptions import PVEError
from ..guest.abstract_config import NOT_PLAIN, Conf
from ..tools import decode_text, encode_text, warn
from .config_schema import check_type

ENVIRONMENT = "lxc.environment.runtime"
"""Raw lines that PVE keeps as the one key env, joined by NUL."""

_VALID_KEYS = frozenset(
    "lxc." + key
    for key in (
        "apparmor.profile apparmor.allow_incomplete apparmor.allow_nesting apparmor.raw selinux.context "
        "include arch uts.name signal.halt signal.reboot signal.stop init.cmd init.cwd init.uid init.gid "
        "init.groups pty.max console.logfile console.path tty.max devtty.dir hook.autodev autodev kmsg "
        "mount.fstab mount.entry mount.auto rootfs.mount cap.drop cap.keep seccomp.profile "
        "seccomp.notify.proxy seccomp.notify.cookie idmap hook.pre-start hook.pre-mount hook.mount hook.start "
        "hook.stop hook.post-stop hook.clone hook.destroy hook.version log.level log.file start.auto "
        "start.delay start.order group environment environment.runtime environment.hooks sysctl.fs.mqueue "
        "sysctl.kernel.msgmax sysctl.kernel.msgmnb sysctl.kernel.msgmni sysctl.kernel.sem "
        "sysctl.kernel.shmall sysctl.kernel.shmmax sysctl.kernel.shmmni sysctl.kernel.shm_rmid_forced"
    ).split()
)

_REFUSED_KEYS = {
    "lxc.rootfs.path": "lxc.rootfs.path is auto generated from rootfs",
    "lxc.rootfs.options": 'lxc.rootfs.options is not supported, please use mount point options in the "rootfs" key',
}

_RENAMED_KEYS = {
    "aa_profile": "apparmor.profile",
    "aa_allow_incomplete": "apparmor.allow_incomplete",
    "console": "console.path",
    "devttydir": "tty.dir",
    "haltsignal": "signal.halt",
    "rebootsignal": "signal.reboot",
    "stopsignal": "signal.stop",
    "id_map": "idmap",
    "init_cmd": "init.cmd",
    "loglevel": "log.level",
    "logfile": "log.file",
    "mount": "mount.fstab",
    "network.type": "net.INDEX.type",
    "network.flags": "net.INDEX.flags",
    "network.link": "net.INDEX.link",
    "network.mtu": "net.INDEX.mtu",
    "network.name": "net.INDEX.name",
    "network.hwaddr": "net.INDEX.hwaddr",
    "network.ipv4": "net.INDEX.ipv4.address",
    "network.ipv4.gateway": "net.INDEX.ipv4.gateway",
    "network.ipv6": "net.INDEX.ipv6.address",
    "network.ipv6.gateway": "net.INDEX.ipv6.gateway",
    "network.script.up": "net.INDEX.script.up",
    "network.script.down": "net.INDEX.script.down",
    "pts": "pty.max",
    "se_context": "selinux.context",
    "seccomp": "seccomp.profile",
    "tty": "tty.max",
    "utsname": "uts.name",
}

_PENDING = re.compile(r"\[pve:pending\]\s*", re.ASCII | re.IGNORECASE)
_SNAPSHOT = re.compile(r"\[([a-z][a-z0-9_\-]+)\]\s*", re.ASCII | re.IGNORECASE)
_RAW = re.compile(r"(lxc\.[a-z0-9_\-.]+)(?::|\s*=)\s*(.*?)\s*", re.ASCII)
_DESCRIPTION = re.compile(r"description:\s*(.*\S)\s*", re.ASCII)
_SNAPSTATE = re.compile(r"snapstate:\s*(prepare|delete)\s*$", re.ASCII)
_DELETE = re.compile(r"delete:\s*(.*\S)\s*", re.ASCII)
_PLAIN = re.compile(r"([a-z][a-z_]*\d*):\s*(.+?)\s*", re.ASCII)


def parse_pct_config(vmid: int, data: bytes, *, strict: bool = False) -> Conf:
    """The file as PVE's hash. What is wrong in it is warned about; `strict` makes it an error."""
    conf: Conf = {"digest": hashlib.sha1(data, usedforsecurity=False).hexdigest(), "snapshots": {}, "pending": {}}
    _Reader(vmid, conf, strict).read(data.decode("utf-8", "surrogateescape"))
    conf.pop("snapstate", None)
    return conf


class _Reader:
    def __init__(self, vmid: int, conf: Conf, strict: bool) -> None:
        self.vmid = vmid
        self.conf = conf
        self.strict = strict
        self.section = conf
        self.is_pending = False
        self.description = ""

    def read(self, text: str) -> None:
        for line in text.split("\n"):
            if line.strip(" \t\r\f\v"):
                self._line(line)
        self._end_section()

    def _end_section(self) -> None:
        if self.description:
            self.section["description"] = self.description
        self.description = ""

    def _line(self, line: str) -> None:
        if _PENDING.fullmatch(line):
            self._end_section()
            self.section = self.conf["pending"] = {}
            self.is_pending = True
        elif header := _SNAPSHOT.fullmatch(line):
            self._end_section()
            self.section = self.conf["snapshots"][header[1]] = {}
            self.is_pending = False
        elif line.startswith("#"):
            self.description += decode_text(line[1:]) + "\n"
        elif raw := _RAW.fullmatch(line):
            self._raw(raw[1], raw[2], line)
        elif described := _DESCRIPTION.fullmatch(line):
            self.description += decode_text(described[1])
        elif state := _SNAPSTATE.search(line):
            self.section["snapstate"] = state[1]
        elif deleted := _DELETE.fullmatch(line):
            if self.is_pending:
                self.section["delete"] = deleted[1]
            else:
                self._complain("property 'delete' is only allowed in [pve:pending]")
        elif plain := _PLAIN.fullmatch(line):
            self._plain(plain[1], plain[2])
        else:
            self._complain(f"unable to parse config: {line}")

    def _raw(self, key: str, value: str, line: str) -> None:
        if key == ENVIRONMENT:
            self.section["env"] = f"{self.section['env']}\0{value}" if "env" in self.section else value
        elif refusal := _REFUSED_KEYS.get(key):
            self._complain(f"{key}: {refusal}")
        elif self._is_valid_lxc_conf_key(key):
            self.section.setdefault("lxc", []).append([key, value])
        else:
            self._complain(f"unable to parse config: {line}")

    def _plain(self, key: str, value: str) -> None:
        try:
            self.section[key] = check_type(key, value)
        except PVEError as error:
            self._complain(f"unable to parse value of '{key}' - {error.text().removesuffix(chr(10))}")
            self.section[key] = value

    def _is_valid_lxc_conf_key(self, key: str) -> bool:
        if key.startswith("lxc.limit."):
            warn(f"vm {self.vmid} - {key}: lxc.limit.* was renamed to lxc.prlimit.*")
        elif new := _RENAMED_KEYS.get(key.removeprefix("lxc.")):
            warn(f"vm {self.vmid} - {key} is deprecated and was renamed to lxc.{new}")
        elif key.startswith("lxc.cgroup."):
            warn(f"vm {self.vmid} - {key} is deprecated, this will be a hard error in the future!")
        else:
            return key in _VALID_KEYS or key.startswith(("lxc.cgroup2.", "lxc.prlimit.", "lxc.net."))
        return True

    def _complain(self, problem: str) -> None:
        if self.strict:
            raise PVEError(f"vm {self.vmid} - {problem}")
        warn(f"vm {self.vmid} - {problem}")


def print_pct_config(conf: Conf) -> bytes:
    parts = [_print_section(conf)]
    if conf.get("pending"):
        parts.append("[pve:pending]\n" + _print_section(conf["pending"]))
    snapshots = conf.get("snapshots", {})
    parts += [f"[{name}]\n{_print_section(snapshots[name])}" for name in sorted(snapshots)]
    return "\n".join(parts).encode("utf-8", "surrogateescape")


def _print_section(conf: Conf) -> str:
    lines = [f"#{encode_text(line)}" for line in str(conf.get("description") or "").rstrip("\n").split("\n")]
    if lines == ["#"]:
        lines = []
    for key in sorted(key for key in conf if key not in NOT_PLAIN):
        if "\n" in str(conf[key]):
            raise PVEError(f"detected invalid newline inside property '{key}'")
        lines.append(f"{key}: {conf[key]}")
    lines += [f"{ENVIRONMENT}: {variable}" for variable in re.split("\0+", conf.get("env") or "") if variable]
    lines += [f"{key}: {value}" for key, value in conf.get("lxc") or ()]
    return "".join(f"{line}\n" for line in lines)
