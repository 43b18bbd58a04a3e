# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What every command of FakePct stands on: the files, PVE's checks of values and the form it stores them in.

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

from ansible_collections.phoenix.hypervisor.plugins.module_utils._lxc_config import format_properties, parse_properties
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils import pve_conf
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import (
    Answer,
    Call,
    FakeNode,
    FakeRunner,
    failed,
    ok,
)

FAST = frozenset("description onboot startup protection hostname hookscript cores tags lock".split())
HOT = frozenset("memory swap cpulimit cpuunits".split())
_OPTIONS = FAST | HOT | frozenset("arch cmode console features nameserver ostype searchdomain timezone tty".split())
_INDEXED = re.compile(r"(?:net|mp|dev|unused)\d+")


class Refused(Exception):
    """What pct writes to its stderr when it gives up."""

    def __init__(self, message: str, rc: int = 255, stdout: str = "") -> None:
        super().__init__(message)
        self.rc = rc
        self.stdout = stdout


class FakePctBase(FakeRunner):
    def __init__(self, fake: FakeNode, table: Mapping[str | Sequence[str], Answer] | None = None) -> None:
        super().__init__(table)
        self.fake = fake
        self.now = 1_795_164_487
        self.stubborn: set[int] = set()
        """Containers that do not stop when they are asked to shut down."""
        self.dependents: dict[str, list[str]] = {}
        """What was cloned from C(dataset@snapshot)."""
        self._macs = 0

    def unknown(self, call: Call) -> Answer:
        verb = getattr(self, f"_{call.argv[1]}", None) if call.argv[0] == "pct" else None
        if verb is None:
            if call.argv[:6] == ("zfs", "get", "-H", "-o", "value", "clones"):
                return ",".join(self.dependents.get(call.argv[6], ["-"])) + "\n"
            return super().unknown(call)
        positional, options = _split(call.argv[2:])
        try:
            self._refuse_without_quorum(call.argv[1], int(positional[0]))
            done = verb(*(int(word) if word.isdigit() else word for word in positional), **options)
        except Refused as refusal:
            return failed(f"{refusal}\n", refusal.rc, refusal.stdout)
        return done if isinstance(done, Completed) else ok()

    def _refuse_without_quorum(self, verb: str, ctid: int) -> None:
        if not self.fake.is_read_only:
            return
        if verb in ("create", "clone", "start"):
            raise Refused("cluster not ready - no quorum?")
        path = f"/etc/pve/nodes/{self.fake.name}/lxc/{ctid}.conf.tmp.4711"
        raise Refused(f"unable to open file '{path}' - Permission denied")

    # The files

    def _load(self, ctid: int, rc: int = 255, *, unlocked: bool = True) -> pve_conf.PveConf:
        if not self.fake.node.config_path(ctid).exists():
            raise Refused(f"Configuration file 'nodes/{self.fake.name}/lxc/{ctid}.conf' does not exist", rc)
        conf = pve_conf.parse(self.fake.conf_text(ctid))
        if unlocked and (lock := conf.main.options.get("lock")):
            raise Refused(f"CT is locked ({lock})")
        return conf

    def _save(self, ctid: int, conf: pve_conf.PveConf) -> None:
        self.fake.conf(ctid, pve_conf.write(conf))

    def _running(self, ctid: int) -> bool:
        return self.fake.node.is_running(ctid)

    def _refuse_existing(self, ctid: int, rc: int) -> None:
        if self.fake.node.config_path(ctid).exists():
            raise Refused(f"CT {ctid} already exists on node '{self.fake.name}'", rc)
        if owner := self.fake.node.owner_of(ctid):
            kind, _ctid, _on, _node, name = owner.split()
            raise Refused(f"{kind} {ctid} already exists on node '{name}'", rc)

    # Values

    def _put(self, ctid: int, conf: pve_conf.PveConf, section: pve_conf.PveSection, key: str, value: str) -> None:
        if key == "description":
            section.description = value
        elif key.startswith("net"):
            section.options[key] = self._net(key, value)
        elif key == "rootfs" or key.startswith("mp"):
            section.options[key] = self._allocate(ctid, conf, value)
        elif key == "tags":
            section.options[key] = ";".join(sorted({tag.lower() for tag in re.split(r"[;,\s]+", value)}))
        else:
            if key.startswith("dev"):
                self._refuse_missing_devices({key: value}, 2)
            section.options[key] = value

    def _net(self, key: str, value: str) -> str:
        properties = {"type": "veth", **parse_properties(value)}
        if "name" not in properties:
            text = f"invalid format - format error\n{key}.name: property is missing and it is not optional\n"
            refuse_parameter(key, text, "pct set <vmid> [OPTIONS]")
        if "hwaddr" not in properties:
            self._macs += 1
            properties["hwaddr"] = f"BC:24:11:00:00:{self._macs:02X}"
        return format_properties({"name": properties.pop("name"), **dict(sorted(properties.items()))})

    def _allocate(self, ctid: int, conf: pve_conf.PveConf, value: str) -> str:
        volume, _comma, rest = value.partition(",")
        storage, _colon, size = volume.partition(":")
        if volume.startswith("/"):
            return value
        if storage not in self.fake.node.storages():
            raise Refused(f"storage '{storage}' does not exist")
        if "rootdir" not in self.fake.node.storages()[storage].content:
            text = f"storage '{storage}' does not support container directories"
            refuse_parameter("storage", text, "pct create <vmid> <ostemplate> [OPTIONS]")
        if not re.fullmatch(r"[\d.]+", size):
            return value
        taken = re.findall(rf"-{ctid}-disk-(\d+)", f"{pve_conf.write(conf)} {conf.pending.options}")
        number = max((int(found) + 1 for found in taken), default=0)
        parts = [f"{storage}:subvol-{ctid}-disk-{number}", *sorted(filter(None, rest.split(","))), f"size={size}G"]
        return ",".join(parts)

    def _storage_type(self, volume: str) -> str:
        storage = self.fake.node.storages().get(volume.partition(":")[0])
        return storage.type if storage else "none"

    def _device(self, path: str) -> tuple[int, int, int]:
        _word, _kind, major, minor, mode = self.fake.text(path).split()
        return int(major), int(minor), int(mode, 8)

    def _refuse_missing_devices(self, options: Mapping[str, str], rc: int) -> None:
        for key, value in sorted(options.items()):
            path = parse_properties(value, "path").get("path", "")
            if re.fullmatch(r"dev\d+", key) and not self.fake.node.path(path).exists():
                raise Refused(f"Device {path} does not exist", rc)
            if re.fullmatch(r"dev\d+", key) and not self.fake.text(path).startswith("fake-device"):
                raise Refused(f"{path} is not a device")

    def _verify(self, options: Mapping[str, str], usage: str) -> None:
        creation = {"rootfs", "storage", "unprivileged", "template", "full", "snapname"}
        for key, value in options.items():
            if key not in _OPTIONS | creation and not _INDEXED.fullmatch(key):
                raise Refused(f"Unknown option: {key}\n400 unable to parse option\n{usage}", 2)
            if key == "hostname" and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", value):
                refuse_parameter(key, "invalid format - value does not look like a valid DNS name\n", usage)
            if key == "memory" and int(value) < 16:
                refuse_parameter(key, "value must have a minimum value of 16", usage)


def _split(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    positional = []
    options = {}
    rest = iter(words)
    for word in rest:
        if word.startswith("-"):
            options[word.lstrip("-")] = next(rest, "1")
        else:
            positional.append(word)
    return positional, options


def refuse_parameter(key: str, problem: str, usage: str) -> NoReturn:
    raise Refused(f"400 Parameter verification failed.\n{key}: {problem}\n{usage}", 2)


def volumes(options: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(key, options[key].partition(",")[0]) for key in sorted(options) if re.fullmatch(r"rootfs|mp\d+", key)]


def unuse(options: dict[str, str], volume: str) -> None:
    number = next(n for n in range(256) if f"unused{n}" not in options)
    options[f"unused{number}"] = volume
