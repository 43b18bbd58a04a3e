# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# From a GPU assignment to the lines of a container's file, and from a running container to what is wrong with it.
# Everything here is a function of values that were read elsewhere.

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Collection, Iterable, Mapping, Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError, invalid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._lxc_config import (
    ConfigFile,
    format_properties,
    parse_properties,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import DeviceNode

STATIC_MAJOR = 195
_RULE_KEYS = ("lxc.cgroup2.devices.allow", "lxc.cgroup.devices.allow")
_MOUNT_KEY = "lxc.mount.entry"

# The kernel hands out majors of these ranges at random; a rule for one that no driver holds is a leftover.
_DYNAMIC_MAJORS = (*range(234, 255), *range(384, 512))

_LIBRARY = re.compile(
    r"(?:lib(?:nvidia|cuda|cudadebugger|nvcuvid|nvoptix|GLX_indirect|(?:EGL|GLX|GLESv1_CM|GLESv2|vdpau)_nvidia)"
    r"[\w.+-]*\.so[\d.]*"
    r"|nvidia-smi|nvidia-debugdump|nvidia-cuda-mps-\w+)$"
)

Assignment: t.TypeAlias = "t.Literal['all'] | tuple[int, ...]"
Method = t.Literal["dev", "raw"]


@dataclasses.dataclass(frozen=True)
class Device:
    """A device node that a container has to have."""

    path: str
    major: int
    minor: int
    mode: int

    @property
    def number(self) -> tuple[int, int]:
        return self.major, self.minor


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Everything that an assignment puts into a container's file."""

    method: Method
    devices: tuple[Device, ...] = ()
    libraries: tuple[str, ...] = ()
    """Files of the node that are mounted read-only under the same path."""

    @property
    def raw(self) -> tuple[tuple[str, str], ...]:
        rules = [(_RULE_KEYS[0], f"c {device.major}:{device.minor} rw") for device in self.devices]
        mounts = [(_MOUNT_KEY, f"{d.path} {d.path[1:]} none bind,create=file") for d in self.devices]
        libraries = [(_MOUNT_KEY, f"{path} {path[1:]} none bind,ro,create=file") for path in self.libraries]
        return (*rules, *mounts, *libraries) if self.method == "raw" else tuple(libraries)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What has to happen to a container's file."""

    config: ConfigFile
    removed: tuple[str, ...]
    added: tuple[str, ...]
    revert: tuple[str, ...]
    """Keys with a pending change that would undo the plan at the next start."""


def parse_assignment(value: object) -> Assignment:
    """C(all), C(none), a list, or text like C(0, 1)."""
    if isinstance(value, str) and value.strip().lower() in ("all", "none"):
        return "all" if value.strip().lower() == "all" else ()
    parts = value if isinstance(value, list) else str(value).split(",")
    indices: list[int] = []
    for part in parts:
        text = str(part).strip()
        if not re.fullmatch(r"\d+", text):
            raise invalid("gpus", value, f"has {text!r} where a GPU index belongs",
                          'Write "all", "none", or GPU indices from 0 on, for example "0,1".')  # fmt: skip
        if int(text) in indices:
            raise invalid("gpus", value, f"names GPU {int(text)} twice", "Name every GPU once.")
        indices.append(int(text))
    return tuple(sorted(indices))


def named(assignment: Assignment, known: Iterable[int]) -> tuple[int, ...]:
    """The indices of an assignment; all are those that are known where it is asked."""
    return tuple(sorted(known)) if assignment == "all" else assignment


def wanted_devices(
    assignment: Assignment,
    capabilities: Sequence[int] | None,
    nodes: Mapping[str, DeviceNode],
    drivers: Mapping[int, str],
    listed: Sequence[int] = (),
) -> tuple[Device, ...]:
    """The devices of an assignment, each proven to be on the node. No capabilities named: all that the node has.

    A GPU that the driver lists only lacks its device node; of any other, the assignment is wrong.
    """
    present = _minors(nodes, r"/dev/nvidia(\d+)")
    if assignment == "all" and not present:
        raise _not_ready("/dev/nvidia0", "does not exist", "gpus: all needs at least one GPU on the node")
    indices = named(assignment, present)
    if not indices:
        return ()
    if present and (absent := sorted(set(indices) - {*present, *listed})):
        raise _no_such_gpu(absent, {*present, *listed})
    majors = {name: major for major, name in drivers.items()}
    devices = [
        _proven(nodes, f"/dev/nvidia{index}", STATIC_MAJOR, index, f"the node has: {_numbers(present)}")
        for index in indices
    ]
    devices.append(_proven(nodes, "/dev/nvidiactl", STATIC_MAJOR, 255))
    devices.append(_proven(nodes, "/dev/nvidia-uvm", majors.get("nvidia-uvm"), 0))
    if "/dev/nvidia-uvm-tools" in nodes:
        devices.append(_proven(nodes, "/dev/nvidia-uvm-tools", majors.get("nvidia-uvm"), 1))
    if "/dev/nvidia-modeset" in nodes:
        devices.append(_proven(nodes, "/dev/nvidia-modeset", STATIC_MAJOR, 254))
    if capabilities is None:
        capabilities = _minors(nodes, r"/dev/nvidia-caps/nvidia-cap(\d+)")
    elif len(set(capabilities)) < len(capabilities):
        raise invalid("capabilities", list(capabilities), "names a node twice", "Name every capability once.")
    devices += [
        _proven(nodes, f"/dev/nvidia-caps/nvidia-cap{minor}", majors.get("nvidia-caps"), minor)
        for minor in capabilities
    ]
    return tuple(devices)


def _minors(nodes: Mapping[str, DeviceNode], pattern: str) -> list[int]:
    return sorted(int(found[1]) for path in nodes if (found := re.fullmatch(pattern, path)))


def _numbers(indices: Sequence[int]) -> str:
    return ", ".join(map(str, indices)) or "none"


def _proven(nodes: Mapping[str, DeviceNode], path: str, major: int | None, minor: int, hint: str = "") -> Device:
    node = nodes.get(path)
    if node is None:
        raise _not_ready(path, "does not exist", hint)
    if not node.is_char:
        raise _not_ready(
            path, "is no character device", "an empty file there is what a bind mount without source leaves"
        )
    if major is None:
        raise _not_ready(path, "belongs to a driver that is not loaded", "its major is not in /proc/devices")
    if node.number != (major, minor):
        found, expected = (f"{number[0]}:{number[1]}" for number in (node.number, (major, minor)))
        raise _not_ready(path, f"is device {found} where the loaded driver has {expected}", "the node is stale")
    # The capability nodes guard what MIG may do; the others are open to all, as NVIDIA's own tools make them.
    return Device(path, major, minor, node.mode if "/nvidia-caps/" in path else 0o666)


def _no_such_gpu(absent: Sequence[int], known: Collection[int]) -> PhoenixError:
    return PhoenixError(
        f"gpus: the node has no GPU {_numbers(absent)}, only {_numbers(sorted(known))}",
        remedy="Correct gpu_assignment in phoenix_lxc_configs.json (the option gpus).",
        code=Code.INPUT,
    )


def _not_ready(path: str, problem: str, hint: str) -> PhoenixError:
    return PhoenixError(
        f"gpus: {path} on the node {problem}" + (f" ({hint})" if hint else ""),
        remedy="Load the driver and let it make its device nodes (`nvidia-smi -L; nvidia-modprobe -c 0 -u`; a stale "
        "node is removed first), or correct the assignment. This module changed nothing.",
        code=Code.INPUT,
    )


def reconcile(config: ConfigFile, wanted: Wanted, drivers: Mapping[int, str]) -> Plan:
    """The file with exactly the wanted GPU lines, whoever wrote the others."""
    options = config.main.options
    kept, removed = _split_dev_entries(options, config.pending.options, wanted)
    new = config
    for key in removed:
        new = new.without_option(key)
    added = {}
    if wanted.method == "dev":
        taken = {*kept, *(set(options) - set(removed)), *config.pending.options}
        free = (f"dev{n}" for n in range(256) if f"dev{n}" not in taken)
        missing = [device for device in wanted.devices if device.path not in kept.values()]
        added = {next(free): _dev_value(device) for device in missing}
    for key, value in added.items():
        new = new.with_option(key, value)
    owned_raw = owned_raw_lines(config.main.raw, drivers, wanted.raw)
    # A duplicate of a wanted line is a leftover, too: take all of them out and put one back.
    keep_raw = [line for line in wanted.raw if owned_raw.count(line) == 1]
    drop_raw = [line for line in dict.fromkeys(owned_raw) if line not in keep_raw]
    add_raw = [line for line in wanted.raw if line not in keep_raw]
    new = new.with_raw(remove=drop_raw, add=add_raw)
    return Plan(
        config=new,
        removed=(*(f"{key}: {options[key]}" for key in removed), *(f"{key}: {value}" for key, value in drop_raw)),
        added=(*(f"{key}: {value}" for key, value in added.items()), *(f"{key}: {value}" for key, value in add_raw)),
        revert=_pending_about_gpus(config, {*kept, *removed, *added}),
    )


def _split_dev_entries(
    options: Mapping[str, str], pending: Mapping[str, str], wanted: Wanted
) -> tuple[dict[str, str], list[str]]:
    """The devN keys that stay (with their paths) and those that go."""
    by_path = {device.path: device for device in wanted.devices} if wanted.method == "dev" else {}
    kept: dict[str, str] = {}
    removed = []
    for key in _dev_keys(options):
        path = _dev_path(options[key])
        if not _is_gpu_path(path):
            continue
        right = path in by_path and _same_entry(options[key], by_path[path])
        # A key for which somebody parked another device belongs to that device from the next start on.
        parked = key in pending and not _is_gpu_path(_dev_path(pending[key]))
        if right and not parked and path not in kept.values():
            kept[key] = path
        else:
            removed.append(key)
    return kept, removed


def _pending_about_gpus(config: ConfigFile, ours: set[str]) -> tuple[str, ...]:
    pending = config.pending.options
    changed = [key for key in pending if _is_dev_key(key) and _is_gpu_path(_dev_path(pending[key]))]
    deleted = [key for key in config.pending_delete if key in ours]
    return tuple(sorted({*changed, *deleted}))


def _is_dev_key(key: str) -> bool:
    return re.fullmatch(r"dev\d+", key) is not None


def _dev_keys(options: Iterable[str]) -> list[str]:
    return sorted(filter(_is_dev_key, options), key=lambda key: int(key[3:]))


def _dev_path(value: str) -> str:
    return parse_properties(value, "path").get("path", "")


def _is_gpu_path(path: str) -> bool:
    return path.startswith("/dev/nvidia")


def _dev_value(device: Device) -> str:
    return format_properties({"path": device.path, "mode": f"{device.mode:04o}"})


def _same_entry(value: str, device: Device) -> bool:
    return parse_properties(value, "path") == parse_properties(_dev_value(device))


def owned_raw_lines(
    raw: Iterable[tuple[str, str]], drivers: Mapping[int, str], wanted: Sequence[tuple[str, str]] = ()
) -> list[tuple[str, str]]:
    """The raw lines that pass NVIDIA devices or libraries into a container, seen beside those that it will have."""
    lines = list(raw)
    has_gpu_mounts = any(key == _MOUNT_KEY and _is_gpu_mount(value) for key, value in (*lines, *wanted))
    return [
        (key, value)
        for key, value in lines
        if (key, value) in wanted
        or (key == _MOUNT_KEY and _is_gpu_mount(value))
        or (key in _RULE_KEYS and _is_gpu_rule(value, drivers, has_gpu_mounts))
    ]


def _is_gpu_mount(value: str) -> bool:
    source, target = (*value.split(), "", "")[:2]
    return _is_gpu_path(source) or _is_gpu_path("/" + target.lstrip("/")) or _is_library(source)


def _is_library(path: str) -> bool:
    return _LIBRARY.fullmatch(path.rpartition("/")[2]) is not None


def _is_gpu_rule(value: str, drivers: Mapping[int, str], has_gpu_mounts: bool) -> bool:
    rule = re.match(r"c\s+(\d+):", value)
    if not rule:
        return False
    major = int(rule[1])
    stale = has_gpu_mounts and major not in drivers and major in _DYNAMIC_MAJORS
    return major == STATIC_MAJOR or drivers.get(major, "").startswith("nvidia") or stale


def gpu_entries(
    options: Mapping[str, str], raw: Iterable[tuple[str, str]], drivers: Mapping[int, str]
) -> list[tuple[str, str]]:
    """The entries and raw lines about GPUs among those of a container."""
    # In an order of their own: PVE sorts the keys of a file when it writes the next time.
    entries = [(key, options[key]) for key in _dev_keys(options) if _is_gpu_path(_dev_path(options[key]))]
    return [*entries, *owned_raw_lines(raw, drivers)]


def gpu_lines(config: ConfigFile, drivers: Mapping[int, str]) -> list[str]:
    """The lines about GPUs of a file's main part, as they are shown to people."""
    return [f"{key}: {value}" for key, value in gpu_entries(config.main.options, config.main.raw, drivers)]


def assigned_indices(lines: Iterable[str]) -> list[int]:
    """The GPUs that the lines of a file pass into the container."""
    return sorted({int(index) for line in lines for index in re.findall(r"/dev/nvidia(\d+)\b", line)})


def differences(
    wanted: Wanted,
    running: Mapping[str, DeviceNode],
    rules: Sequence[str] | None,
    mounts: frozenset[str],
    drivers: Mapping[int, str],
) -> list[str]:
    """How a running container differs from what is wanted, in words; nothing when it is right."""
    found = [problem for device in wanted.devices if (problem := _device_problem(device, wanted, running, rules))]
    found += [f"{path} is not mounted" for path in wanted.libraries if path not in mounts]
    found += [
        f"{path} is mounted and is not asked for"
        for path in sorted(mounts)
        if _is_library(path) and path not in wanted.libraries
    ]
    paths = {device.path for device in wanted.devices}
    for path, node in running.items():
        if (
            path not in paths
            and node.is_char
            and (node.mounted or (rules is not None and permitted(rules, node.number)))
        ):
            found.append(f"{path} is there and is not assigned")
    numbers = {device.number for device in wanted.devices}
    for rule in rules or ():
        granted = re.match(r"c\s+(\d+):(\d+|\*)\s+\w*[rw]", rule)
        if granted and _is_gpu_rule(rule, drivers, has_gpu_mounts=False):
            minor = granted[2]
            if minor == "*" or (int(granted[1]), int(minor)) not in numbers:
                found.append(f"the device rule {rule!r} allows more than is assigned")
    return found


def _device_problem(
    device: Device, wanted: Wanted, running: Mapping[str, DeviceNode], rules: Sequence[str] | None
) -> str | None:
    node = running.get(device.path)
    if node is None:
        return f"{device.path} is missing"
    if not node.is_char:
        return f"{device.path} is an ordinary file and no device"
    if node.number != device.number:
        return f"{device.path} is device {node.major}:{node.minor} and should be {device.major}:{device.minor}"
    if wanted.method == "dev" and node.mode != device.mode:
        return f"{device.path} has mode {node.mode:04o} and should have {device.mode:04o}"
    if rules is not None and not permitted(rules, device.number):
        return f"{device.path} cannot be opened: no device rule allows {device.major}:{device.minor}"
    return None


def permitted(rules: Iterable[str], number: tuple[int, int]) -> bool:
    """Whether the rules a container was started with let it read and write a character device."""
    for rule in rules:
        if rule.strip() == "a":
            return True
        granted = re.match(r"[ac]\s+(\d+|\*):(\d+|\*)\s+(\w+)", rule.strip())
        if (
            granted
            and granted[1] in ("*", str(number[0]))
            and granted[2] in ("*", str(number[1]))
            and {"r", "w"} <= set(granted[3])
        ):
            return True
    return False
