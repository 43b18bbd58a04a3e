# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# From the arguments of lxc_container to PVE's options, compared by meaning with what a container has. No I/O.

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Mapping

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import invalid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._lxc_config import (
    format_properties,
    parse_properties,
)

Arguments = Mapping[str, t.Any]

FEATURES = ("nesting", "keyctl", "fuse", "mknod", "force_rw_sys", "mount")

# argument -> (PVE's option, what an absent option means)
_PLAIN: Mapping[str, tuple[str, str]] = {
    "hostname": ("hostname", ""),
    "cores": ("cores", ""),
    "memory_mb": ("memory", "512"),
    "swap_mb": ("swap", "512"),
    "onboot": ("onboot", "0"),
    "startup": ("startup", ""),
    "tags": ("tags", ""),
    "nameserver": ("nameserver", ""),
    "searchdomain": ("searchdomain", ""),
    "description": ("description", ""),
}

# argument of a network -> PVE's property of netN
_NETWORK: Mapping[str, str] = {
    "name": "name",
    "bridge": "bridge",
    "ip": "ip",
    "gw": "gw",
    "ip6": "ip6",
    "gw6": "gw6",
    "hwaddr": "hwaddr",
    "firewall": "firewall",
    "tag": "tag",
    "mtu": "mtu",
    "rate": "rate",
    "link_down": "link_down",
}
# A new MAC address would cut leases and firewall rules off: it changes only when somebody writes another one.
_NETWORK_KEPT = ("hwaddr", "type")

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)")
_SIZE_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Resize:
    disk: str
    before: str
    size_gb: int


@dataclasses.dataclass(frozen=True)
class Changes:
    """What has to be done to a container's options."""

    options: Mapping[str, str]
    delete: tuple[str, ...] = ()
    resize: tuple[Resize, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.options or self.delete or self.resize)


def creation_options(arguments: Arguments) -> dict[str, str]:
    """All options for a new container."""
    rootfs = arguments.get("rootfs") or {}
    options = {"unprivileged": "0" if arguments.get("unprivileged") is False else "1"}
    if rootfs.get("storage"):
        options["rootfs"] = f"{rootfs['storage']}:{rootfs.get('size_gb') or 4}"
    return {**options, **changes(arguments, {}).options}


def changes(arguments: Arguments, current: Mapping[str, str]) -> Changes:
    """What leads from a container's options, pending ones applied, to the arguments; what is not given stays."""
    options: dict[str, str] = {}
    delete: list[str] = []
    resize: list[Resize] = []
    for argument, (key, default) in _PLAIN.items():
        value = arguments.get(argument)
        if value is None:
            continue
        text = _as_text(value, ";" if key == "tags" else " ")
        if _meaning(key, text) == _meaning(key, current.get(key, default)):
            continue
        if text:
            options[key] = text
        else:
            delete.append(key)
    for key, wanted in (
        *_networks(arguments, current),
        *_features(arguments, current),
        *_mounts(arguments, current, resize),
    ):
        if wanted:
            options[key] = wanted
        else:
            delete.append(key)
    if current:
        _grow_rootfs(arguments, current, resize)
    return Changes(options, tuple(delete), tuple(resize))


def _as_text(value: object, separator: str) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, list):
        return separator.join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _meaning(key: str, text: str) -> object:
    """What an option says, whatever the spelling."""
    if key == "tags":
        # PVE writes them in lower case unless the cluster's tag-style says otherwise.
        return frozenset(filter(None, re.split(r"[;,\s]+", text.lower())))
    if key in ("nameserver", "searchdomain"):
        return [word for word in re.split(r"[;,\s]+", text) if word]
    if key == "startup":
        return parse_properties(text, "order")
    if key == "description":
        return text.rstrip("\n")
    return text


def _networks(arguments: Arguments, current: Mapping[str, str]) -> list[tuple[str, str]]:
    """The netN options to write, an empty value for the ones to delete."""
    networks = arguments.get("networks")
    if networks is None:
        return []
    have = {key: parse_properties(current[key]) for key in current if re.fullmatch(r"net\d+", key)}
    by_name = {properties.get("name"): key for key, properties in have.items()}
    free = (f"net{n}" for n in range(32) if f"net{n}" not in have)
    found: list[tuple[str, str]] = []
    used = set()
    for network in networks:
        key = by_name.get(network["name"]) or next(free)
        used.add(key)
        before = have.get(key, {})
        wanted = _network_properties(network, before)
        if _network_meaning(wanted) != _network_meaning(before):
            found.append((key, format_properties(wanted)))
    return [*found, *((key, "") for key in have if key not in used)]


def _network_properties(network: Arguments, before: Mapping[str, str]) -> dict[str, str]:
    asked = {
        key: _as_text(network[argument], "") for argument, key in _NETWORK.items() if network.get(argument) is not None
    }
    unknown = {key for key in before if key not in _NETWORK.values()}
    kept = {key: value for key, value in before.items() if key in _NETWORK_KEPT or key in unknown}
    merged = {**kept, **asked}
    return {"name": merged.pop("name"), **dict(sorted(merged.items()))}


def _network_meaning(properties: Mapping[str, str]) -> dict[str, str]:
    defaults = {"type": "veth", "firewall": "0", "link_down": "0"}
    return {
        key: value.upper() if key == "hwaddr" else value
        for key, value in properties.items()
        if defaults.get(key) != value
    }


def _features(arguments: Arguments, current: Mapping[str, str]) -> list[tuple[str, str]]:
    """The one value of features; a flag that this collection knows and that is not asked for goes."""
    features = arguments.get("features")
    if features is None:
        return []
    before = parse_properties(current.get("features", ""))
    wanted = {key: value for key, value in before.items() if key not in FEATURES}
    for flag in FEATURES:
        value = features.get(flag)
        if value:
            wanted[flag] = ";".join(value) if isinstance(value, list) else "1"
    if wanted == {key: value for key, value in before.items() if value != "0"}:
        return []
    return [("features", format_properties(wanted))]


def _mounts(arguments: Arguments, current: Mapping[str, str], resize: list[Resize]) -> list[tuple[str, str]]:
    """The mpN options to write. A mount that is not listed stays: taking it away would detach somebody's data."""
    have = {key: parse_properties(current[key], "volume") for key in current if re.fullmatch(r"mp\d+", key)}
    by_path = {properties.get("mp"): key for key, properties in have.items()}
    free = (f"mp{n}" for n in range(256) if f"mp{n}" not in have)
    found = []
    for mount in arguments.get("mounts") or ():
        key = by_path.get(mount["path"]) or next(free)
        before = have.get(key)
        if before:
            _check_same_kind(arguments["ctid"], key, before["volume"], mount)
        wanted = _mount_properties(arguments["ctid"], mount, before, key)
        if before != wanted:
            found.append((key, format_properties(wanted, "volume")))
        if before and mount.get("size_gb"):
            _grow(key, before.get("size", ""), mount["size_gb"], resize)
    return found


def _mount_properties(ctid: int, mount: Arguments, before: Mapping[str, str] | None, key: str) -> dict[str, str]:
    if mount.get("source"):
        volume = mount["source"]
    elif before is None:
        volume = f"{mount['storage']}:{mount['size_gb']}"
    else:
        volume = before["volume"]
        _check_same_storage(ctid, key, volume, mount["storage"])
    wanted = {**(before or {}), "volume": volume, "mp": mount["path"]}
    for argument, option in (("read_only", "ro"), ("backup", "backup")):
        if mount.get(argument) is None:
            continue
        if mount[argument]:
            wanted[option] = "1"
        elif wanted.get(option, "0") != "0":
            del wanted[option]
    return wanted


def _check_same_kind(ctid: int, key: str, volume: str, mount: Arguments) -> None:
    """Putting a directory in the place of a volume would detach the volume with its data, and the other way round."""
    if volume.startswith("/") == bool(mount.get("source")):
        return
    has, asked = ("directory", "a volume") if volume.startswith("/") else ("volume", "a directory")
    raise invalid("mounts.path", mount["path"], f"has the {has} {volume} ({key}) and cannot become {asked}",
                  f"Correct the argument, or take the mount away first (`pct set {ctid} --delete {key}`).")  # fmt: skip


def _check_same_storage(ctid: int, key: str, volume: str, storage: str) -> None:
    have = volume.partition(":")[0]
    if have != storage:
        raise invalid(f"{key}.storage", storage, f"is not where {key} is, which is {have}",
                      f"Move it with `pct move-volume {ctid} {key} {storage}`, or correct the argument.")  # fmt: skip


def _grow_rootfs(arguments: Arguments, current: Mapping[str, str], resize: list[Resize]) -> None:
    rootfs = arguments.get("rootfs") or {}
    before = parse_properties(current.get("rootfs", ""), "volume")
    if rootfs.get("storage") and "volume" in before:
        _check_same_storage(arguments["ctid"], "rootfs", before["volume"], rootfs["storage"])
    if rootfs.get("size_gb"):
        _grow("rootfs", before.get("size", ""), rootfs["size_gb"], resize)


def _grow(disk: str, before: str, size_gb: int, resize: list[Resize]) -> None:
    have, want = size_in_bytes(before), size_gb * 2**30
    if want < have:
        raise invalid(f"{disk}.size_gb", size_gb, f"is less than the {before} that {disk} has",
                      "A volume grows and never shrinks: name its size or more.")  # fmt: skip
    if want > have:
        resize.append(Resize(disk, before, size_gb))


def size_in_bytes(text: str) -> int:
    """C(32G) as PVE writes sizes; what cannot be read is nothing."""
    found = _SIZE.fullmatch(text)
    return int(float(found[1]) * _SIZE_UNITS[found[2]]) if found else 0


def static_addresses(options: Mapping[str, str]) -> dict[str, str]:
    """The fixed addresses of the netN options, by their keys."""
    found = {}
    for key, value in options.items():
        if re.fullmatch(r"net\d+", key):
            properties = parse_properties(value)
            for family in ("ip", "ip6"):
                if "/" in properties.get(family, ""):
                    found[f"{key}.{family}"] = properties[family]
    return found


def bind_mounts(options: Mapping[str, str]) -> dict[str, str]:
    """The directories of the node that are mounted into a container, by their keys."""
    volumes = {
        key: parse_properties(value, "volume").get("volume", "")
        for key, value in options.items()
        if re.fullmatch(r"mp\d+", key)
    }
    return {key: volume for key, volume in volumes.items() if volume.startswith("/")}
