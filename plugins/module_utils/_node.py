# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# Everything that can be known about a node and its containers by reading files. Nothing here starts a process.

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import (
    Guest,
    Snapshot,
    SnapshotConfig,
    no_container,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._lxc_config import ConfigFile, ConfigWriter, Section
from ansible_collections.phoenix.hypervisor.plugins.module_utils._monitor import LxcMonitor, Monitor
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia import loaded_module
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Clock

_COMMAND_SOCKET = re.compile(r"@/var/lib/lxc/(\d+)/command\s*$", re.MULTILINE)
_STORAGE_HEADER = re.compile(r"^([a-z0-9]+):\s*([A-Za-z0-9._-]+)\s*$")
_LIBRARY_DIRECTORIES = ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64")
_DRIVER_TOOLS = ("/usr/bin/nvidia-smi", "/usr/bin/nvidia-debugdump")
_BOOKKEEPING = ("parent", "snaptime", "snapstate")


@dataclasses.dataclass(frozen=True)
class DeviceNode:
    """A device node as it stands in a /dev; C(is_char) tells an impostor (an empty regular file) from a device."""

    path: str
    is_char: bool
    major: int
    minor: int
    mode: int
    mounted: bool = False

    @property
    def number(self) -> tuple[int, int]:
        return self.major, self.minor


@dataclasses.dataclass(frozen=True)
class Storage:
    name: str
    type: str
    options: Mapping[str, str]

    @property
    def content(self) -> frozenset[str]:
        return frozenset(re.split(r"[,\s]+", self.options.get("content", "images,rootdir")))

    @property
    def template_directory(self) -> str | None:
        if self.type in ("dir", "btrfs"):
            base = self.options.get("path")
        elif self.type in ("nfs", "cifs", "cephfs"):
            base = self.options.get("path", f"/mnt/pve/{self.name}")
        else:
            base = None
        return f"{base}/template/cache" if base else None


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU as the loaded driver lists it."""

    index: int
    name: str
    uuid: str
    bus_id: str


class Node:
    """Reads one node below a root directory."""

    def __init__(
        self,
        root: str | Path = "/",
        monitor: Monitor | None = None,
        lstat: Callable[[Path], os.stat_result] = os.lstat,
        clock: Clock | None = None,
    ) -> None:
        self.root = Path(root)
        self.monitor = monitor or LxcMonitor()
        self._lstat = lstat
        self.clock = clock or Clock()

    def path(self, relative: str) -> Path:
        return self.root / relative.lstrip("/")

    def read_text(self, relative: str) -> str:
        """A file's text, empty when it cannot be read."""
        try:
            return self.path(relative).read_text(errors="surrogateescape")
        except OSError:
            return ""

    @property
    def name(self) -> str:
        return self.read_text("proc/sys/kernel/hostname").strip().partition(".")[0]

    @property
    def kernel(self) -> str:
        return self.read_text("proc/sys/kernel/osrelease").strip()

    def package_version(self, package: str) -> str:
        """The installed version of a Debian package, empty when it is not installed."""
        stanza = re.search(
            rf"^Package: {re.escape(package)}\n(?:.+\n)*?Status: \w+ ok installed\n(?:.+\n)*?Version: (\S+)$",
            self.read_text("var/lib/dpkg/status"),
            re.MULTILINE,
        )
        return stanza[1] if stanza else ""

    def check_is_pve(self) -> None:
        if not self.path("etc/pve/lxc").is_dir():
            raise PhoenixError(
                f"/etc/pve/lxc does not exist on {self.name or 'this machine'}: it is no Proxmox VE node, "
                "or its cluster file system is not mounted",
                remedy="Run the task on a Proxmox VE node as root; there, look at `systemctl status pve-cluster`.",
            )

    def check_writable(self) -> None:
        """Without quorum every file below /etc/pve loses its write bits."""
        directory = self.path("etc/pve/lxc")
        if not self._lstat(directory.resolve()).st_mode & stat.S_IWUSR:
            raise PhoenixError(
                f"/etc/pve is read-only on node {self.name}: the node has no quorum",
                remedy="Bring the cluster back to quorum (`pvecm status` shows it), then run again. "
                "This module changed nothing.",
            )

    def ctids(self) -> list[int]:
        try:
            names = os.listdir(self.path("etc/pve/lxc"))
        except OSError:
            return []
        return sorted(int(name[:-5]) for name in names if re.fullmatch(r"\d+\.conf", name))

    def config_path(self, ctid: int) -> Path:
        return self.path(f"etc/pve/lxc/{ctid}.conf")

    def config_file(self, ctid: int) -> ConfigFile | None:
        try:
            return ConfigFile.parse(self.config_path(ctid).read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PhoenixError(
                f"/etc/pve/lxc/{ctid}.conf cannot be read: {error.strerror}",
                remedy="Run as root (become: true), and see that /etc/pve is mounted (`systemctl status pve-cluster`).",
            ) from error

    def config_writer(self, ctid: int) -> ConfigWriter:
        flock = self.path(f"run/lock/lxc/pve-config-{ctid}.lock")
        return ConfigWriter(self.config_path(ctid), flock, self.flock_holder, self.clock)

    def guest(self, ctid: int) -> Guest | None:
        config = self.config_file(ctid)
        if config is None:
            return None
        return as_guest(ctid, config, running=self.is_running(ctid))

    def existing(self, ctid: int) -> Guest:
        self.check_is_pve()
        guest = self.guest(ctid)
        if guest is None:
            raise no_container(ctid, self.name, self.owner_of(ctid))
        return guest

    def owner_of(self, ctid: int) -> str | None:
        """Who else in the cluster has that id."""
        for kind, directory in (("VM", "qemu-server"), ("CT", "lxc")):
            for found in sorted(self.path("etc/pve/nodes").glob(f"*/{directory}/{ctid}.conf")):
                node = found.parent.parent.name
                if (kind, node) != ("CT", self.name):
                    return f"{kind} {ctid} on node {node}"
        return None

    def running_ctids(self) -> frozenset[int]:
        return frozenset(int(found) for found in _COMMAND_SOCKET.findall(self.read_text("proc/net/unix")))

    def is_running(self, ctid: int) -> bool:
        return ctid in self.running_ctids()

    def container_root(self, ctid: int) -> Path | None:
        """The running container's own file system as the node sees it."""
        pid = self.monitor.init_pid(ctid)
        return self.path(f"proc/{pid}/root") if pid else None

    def addresses(self, ctid: int) -> list[str]:
        pid = self.monitor.init_pid(ctid)
        return _addresses(self.read_text(f"proc/{pid}/net/fib_trie"), self.read_text(f"proc/{pid}/net/if_inet6"))

    def storages(self) -> dict[str, Storage]:
        return parse_storages(self.read_text("etc/pve/storage.cfg"))

    def template_file(self, ostemplate: str) -> str | None:
        """The tarball behind a volume id or a plain path, None when the storage cannot be looked into."""
        if ostemplate.startswith("/"):
            return ostemplate
        storage_name, _colon, volume = ostemplate.partition(":")
        storage = self.storages().get(storage_name)
        directory = storage.template_directory if storage else None
        return f"{directory}/{volume.removeprefix('vztmpl/')}" if directory else None

    def has_bridge(self, name: str) -> bool:
        return self.path(f"sys/class/net/{name}").exists()

    def char_majors(self) -> dict[int, str]:
        """The drivers of /proc/devices by their major number."""
        characters = self.read_text("proc/devices").partition("Block devices:")[0]
        return {int(major): name for major, name in re.findall(r"^\s*(\d+) (\S+)$", characters, re.MULTILINE)}

    def device_nodes(self) -> dict[str, DeviceNode]:
        """What stands under the node's /dev/nvidia*."""
        return self._nvidia_nodes(self.path("dev"), frozenset())

    def running_devices(self, ctid: int) -> dict[str, DeviceNode]:
        """What stands under /dev/nvidia* in the running container."""
        root = self.container_root(ctid)
        return self._nvidia_nodes(root / "dev", self.mount_points(ctid)) if root else {}

    def mount_points(self, ctid: int) -> frozenset[str]:
        """Where something is mounted in the running container."""
        mountinfo = self.read_text(f"proc/{self.monitor.init_pid(ctid)}/mountinfo")
        return frozenset(re.findall(r"^(?:\S+ ){4}(\S+) ", mountinfo, re.MULTILINE))

    def _nvidia_nodes(self, dev: Path, mounts: frozenset[str]) -> dict[str, DeviceNode]:
        found = {}
        for path in _listed(dev, "nvidia") + _listed(dev / "nvidia-caps", "nvidia-cap"):
            # A link in a container would be followed into the node's own tree.
            try:
                status = self._lstat(path)
            except OSError:
                # The container has ended since the directory was listed.
                continue
            if stat.S_ISDIR(status.st_mode):
                continue
            name = f"/dev/{path.relative_to(dev)}"
            device = status.st_rdev
            found[name] = DeviceNode(
                name,
                stat.S_ISCHR(status.st_mode),
                os.major(device),
                os.minor(device),
                stat.S_IMODE(status.st_mode),
                name in mounts,
            )
        return found

    def running_rules(self, ctid: int) -> tuple[str, ...] | None:
        """The device rules the container was started with, None when its monitor does not answer."""
        return self.monitor.config_item(ctid, "lxc.cgroup2.devices.allow")

    def driver_libraries(self) -> list[str]:
        """The user-space files of the loaded driver: what carries its version, the links to that, and the tools."""
        version = self.driver_loaded()
        found = []
        for directory in _LIBRARY_DIRECTORIES if version else ():
            for path in _listed(self.path(directory), "lib"):
                target = path.readlink().name if path.is_symlink() else path.name
                if target.endswith(f".so.{version}"):
                    found.append(f"/{directory}/{path.name}")
        tools = [tool for tool in _DRIVER_TOOLS if version and self.path(tool).exists()]
        return [*found, *tools]

    def driver_loaded(self) -> str:
        module = loaded_module(self.read_text("proc/driver/nvidia/version"))
        return module.version if module else ""

    def gpus(self) -> list[Gpu]:
        found = []
        for entry in _listed(self.path("proc/driver/nvidia/gpus"), ""):
            text = self.read_text(f"proc/driver/nvidia/gpus/{entry.name}/information")
            facts = dict(re.findall(r"^([^:\n]+?)[ \t]*:[ \t]*(.*?)[ \t]*$", text, re.MULTILINE))
            minor = facts.get("Device Minor", "")
            if minor.isdigit():
                found.append(Gpu(int(minor), facts.get("Model", ""), facts.get("GPU UUID", ""), entry.name))
        return sorted(found, key=lambda gpu: gpu.index)

    def active_tasks(self, ctid: int) -> list[str]:
        """The unfinished tasks on a container, as a person would name them."""
        described = []
        for line in self.read_text("var/log/pve/tasks/active").splitlines():
            upid, _space, rest = line.partition(" ")
            fields = upid.split(":")
            unfinished = len(rest.split()) < 2 and len(fields) == 9 and self._alive(*fields[2:4])
            if unfinished and (fields[6] == str(ctid) or self._clones_to(ctid, upid)):
                described.append(f"{fields[5]} by {fields[7]} ({upid})")
        return described

    def _clones_to(self, ctid: int, upid: str) -> bool:
        """PVE books a clone under its source; what it makes is only said in the task's log."""
        started, kind = upid.split(":")[4:6]
        log = self.read_text(f"var/log/pve/tasks/{started[-1]}/{upid}") if kind == "vzclone" else ""
        return f" with ID {ctid}\n" in log

    def _alive(self, pid: str, started: str) -> bool:
        """The list outlives a crash of the node; only the start time tells a task from a later process of its id."""
        fields = self.read_text(f"proc/{int(pid, 16)}/stat").rpartition(")")[2].split()
        return len(fields) > 19 and int(fields[19]) == int(started, 16)

    def flock_holder(self, lock: Path) -> str:
        """The process that holds a lock file, as the kernel lists it."""
        try:
            status = lock.stat()
        except OSError:
            return ""
        file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        held = re.search(rf"^\d+: FLOCK\s+\S+\s+\S+\s+(\d+) {file} ", self.read_text("proc/locks"), re.MULTILINE)
        if not held:
            return ""
        command = self.read_text(f"proc/{held[1]}/cmdline").replace("\0", " ").strip()
        return f"process {held[1]} ({command})" if command else f"process {held[1]}"


def as_guest(ctid: int, config: ConfigFile, *, running: bool) -> Guest:
    main = config.main.options
    if description := config.main.description:
        main["description"] = description
    pending = config.pending.options
    pending.pop("delete", None)
    return Guest(
        ctid=ctid,
        running=running,
        config=main,
        raw=config.main.raw,
        pending=pending,
        pending_delete=config.pending_delete,
        snapshots={name: _snapshot(section) for name, section in config.snapshots.items()},
        snapshot_configs={name: _snapshot_config(section) for name, section in config.snapshots.items()},
        digest=config.digest,
        dropped=config.dropped,
    )


def _snapshot(section: Section) -> Snapshot:
    options = section.options
    return Snapshot(
        name=section.name,
        description=section.description,
        parent=options.get("parent", ""),
        time=int(options["snaptime"]) if options.get("snaptime", "").isdigit() else 0,
        state=options.get("snapstate", ""),
    )


def _snapshot_config(section: Section) -> SnapshotConfig:
    options = {key: value for key, value in section.options.items() if key not in _BOOKKEEPING}
    return SnapshotConfig(options, section.raw)


def parse_storages(text: str) -> dict[str, Storage]:
    storages: dict[str, Storage] = {}
    options: dict[str, str] = {}
    for line in text.splitlines():
        if header := _STORAGE_HEADER.match(line):
            options = {}
            storages[header[2]] = Storage(header[2], header[1], options)
        elif line[:1].isspace() and line.strip():
            key, _space, value = line.strip().partition(" ")
            options[key] = value.strip()
    # PVE has this one even when nobody wrote it down.
    storages.setdefault(
        "local",
        Storage("local", "dir", {"path": "/var/lib/vz", "content": "backup,images,iso,rootdir,snippets,vztmpl"}),
    )
    return storages


def _listed(directory: Path, prefix: str) -> list[Path]:
    try:
        return sorted(directory / name for name in os.listdir(directory) if name.startswith(prefix))
    except OSError:
        return []


def _addresses(fib_trie: str, if_inet6: str) -> list[str]:
    local = re.findall(r"(\d+\.\d+\.\d+\.\d+)\s*\n\s*/32 host LOCAL", fib_trie)
    ipv4 = sorted({address for address in local if not address.startswith(("127.", "169.254."))})
    # Columns: address, index, prefix length, scope (00 is global), flags, device.
    wide = re.findall(r"^([0-9a-f]{32}) \S+ \S+ 00 ", if_inet6, re.MULTILINE)
    ipv6 = sorted({str(ipaddress.IPv6Address(bytes.fromhex(address))) for address in wide})
    return [*ipv4, *ipv6]
