# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# /var/lib/lxc/<id>/config, made from the configuration as PVE makes it (update_lxc_config), and below it what
# the lab needs: no AppArmor, and the mounts that carry the stand-in of the driver into every container.

from __future__ import annotations

import random
import re

from ..exceptions import PVEError
from ..guest.abstract_config import Conf
from ..system import System
from ..tools import warn
from .cgroup import calculate_memory_constraints, clamp_cpu_shares
from .config import Config
from .devices import get_device_mode_and_rdev

CONTAINER_MOUNTS = "etc/phoenix-lab/container-mounts"
_SHARED = "usr/share/lxc/config"
_COMMON_SECCOMP = """\
2
denylist
reject_force_umount  # comment this to allow umount -f;  not recommended
[all]
kexec_load errno 1
open_by_handle_at errno 1
init_module errno 1
finit_module errno 1
delete_module errno 1
"""


def update_lxc_config(system: System, vmid: int, conf: Conf) -> None:
    folder = system.path(f"var/lib/lxc/{vmid}")
    if str(conf.get("template", "0")) == "1":
        (folder / "config").unlink(missing_ok=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    lines = _Generator(system, vmid, conf).lines()
    (folder / "rootfs").mkdir(exist_ok=True)
    (folder / "config").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_bridge_mtu(system: System, bridge: str | None) -> int:
    if bridge is None or not system.bridge_exists(bridge):
        raise PVEError(f"bridge '{bridge or ''}' does not exist")
    try:
        return int(system.path(f"sys/class/net/{bridge}/mtu").read_text(encoding="ascii"))
    except FileNotFoundError:
        return 1500


class _Generator:
    def __init__(self, system: System, vmid: int, conf: Conf) -> None:
        self.system = system
        self.vmid = vmid
        self.conf = conf
        self.config = Config(system)
        self.features = self.config.parse_features(conf.get("features"))
        self.raw: list[list[str]] = conf.get("lxc", [])
        self.folder = f"/var/lib/lxc/{vmid}"
        self.controllers = _controllers(system)
        self.unprivileged = str(conf.get("unprivileged", "0")) == "1" or self._has_raw("lxc.idmap")

    def lines(self) -> list[str]:
        return [
            *self._cgroup_places(),
            *self._includes(),
            *self._seccomp(),
            *self._apparmor(),
            *self._feature_mounts(),
            *self._devices(),
            "lxc.monitor.unshare = 1",
            *self._idmap(),
            *self._console(),
            *self._limits(),
            *self._rootfs(),
            *self._networks(),
            *(f"{key} = {value}" for key, value in self.raw),
            *self._cpuset(),
            *self._lab(),
        ]

    def _has_raw(self, key: str) -> bool:
        return any(entry[0] == key for entry in self.raw)

    def _cgroup_places(self) -> list[str]:
        return [
            "lxc.cgroup.relative = 0",
            f"lxc.cgroup.dir.monitor = lxc.monitor/{self.vmid}",
            f"lxc.cgroup.dir.container = lxc/{self.vmid}",
            "lxc.cgroup.dir.container.inner = ns",
        ]

    def _includes(self) -> list[str]:
        for key in ("arch", "ostype"):
            if not self.conf.get(key):
                raise PVEError(f"missing '{key}' - internal error")
        lines = [f"lxc.arch = {self.conf['arch']}", f"lxc.include = {self._shared('common')}"]
        return [*lines, f"lxc.include = {self._shared('userns')}"] if self.unprivileged else lines

    def _shared(self, kind: str) -> str:
        own = f"{_SHARED}/{self.conf['ostype']}.{kind}.conf"
        return f"/{own}" if self.system.path(own).is_file() else f"/{_SHARED}/{kind}.conf"

    def _seccomp(self) -> list[str]:
        if self._has_raw("lxc.seccomp.profile"):
            if used := ", ".join(name for name in ("keyctl", "mknod") if self.features.get(name)):
                warn(f"explicitly configured lxc.seccomp.profile overrides the following settings: {used}")
            return []
        if not self.unprivileged:
            return []
        rules = ["ioctl errno 1 [1,0x9400,SCMP_CMP_MASKED_EQ,0xff00]"]
        if not self.features.get("keyctl"):
            rules.append("keyctl errno 38")
        rules.append("socket errno 97 [0,38,SCMP_CMP_EQ]")
        shared = self.system.path(f"{_SHARED}/common.seccomp")
        common = shared.read_text(encoding="utf-8") if shared.is_file() else _COMMON_SECCOMP
        text = common + "".join(f"{rule}\n" for rule in rules)
        self.system.path(f"{self.folder}/rules.seccomp").write_text(text, encoding="utf-8")
        return [f"lxc.seccomp.profile = {self.folder}/rules.seccomp"]

    def _apparmor(self) -> list[str]:
        lines = ["lxc.apparmor.profile = generated", "lxc.apparmor.raw = allow mqueue,"]
        used = ["features:fuse"] if self.features.get("fuse") else []
        if self.features.get("nesting"):
            used.append("features:nesting")
            lines += ["lxc.apparmor.allow_nesting = 1", "lxc.apparmor.raw = allow userns,"]
        else:
            lines += ["lxc.apparmor.raw = deny mount -> /proc/,", "lxc.apparmor.raw = deny mount -> /sys/,"]
        if mounts := self.features.get("mount"):
            used.append("features:mount")
            lines += [f"lxc.apparmor.raw = mount fstype={name}," for name in re.split(r"[;,\s]+", str(mounts))]
        if self._has_raw("lxc.apparmor.profile"):
            if used:
                settings = ", ".join(used)
                warn(f"explicitly configured lxc.apparmor.profile overrides the following settings: {settings}")
            return []
        return lines

    def _feature_mounts(self) -> list[str]:
        lines = []
        if self.features.get("fuse"):
            lines.append("lxc.apparmor.raw = mount fstype=fuse,")
            lines.append("lxc.mount.entry = /dev/fuse dev/fuse none bind,create=file 0 0")
        if self.unprivileged and not self.features.get("force_rw_sys"):
            lines.append("lxc.mount.auto = sys:mixed")
        return lines

    def _devices(self) -> list[str]:
        lines = []
        for _key, device in self.config.foreach_passthrough_device(self.conf):
            kind, major, minor = get_device_mode_and_rdev(self.system, device.get("path"))
            number = f"{kind} {major}:{minor}"
            if int(device.get("deny-write", 0)):
                lines += [f"lxc.cgroup2.devices.allow = {number} r", f"lxc.cgroup2.devices.deny = {number} w"]
            else:
                lines.append(f"lxc.cgroup2.devices.allow = {number} rw")
        return lines

    def _idmap(self) -> list[str]:
        if not self.unprivileged or self._has_raw("lxc.idmap"):
            return []
        return ["lxc.idmap = u 0 100000 65536", "lxc.idmap = g 0 100000 65536"]

    def _console(self) -> list[str]:
        lines = []
        if str(self.conf.get("console", "1")) == "0":
            lines += ["lxc.console.path = none", "lxc.cgroup2.devices.deny = c 5:1 rwm"]
        lines.append(f"lxc.tty.max = {self.config.default(self.conf, 'tty')}")
        lines.append("lxc.environment = TERM=linux")
        return [*lines, f"lxc.uts.name = {self.conf.get('hostname') or f'CT{self.vmid}'}"]

    def _limits(self) -> list[str]:
        lines = []
        if "memory" in self.controllers:
            most, high = calculate_memory_constraints(_number(self.conf.get("memory"), 512))
            swap = _number(self.conf.get("swap"), 0) * 1024 * 1024
            lines += [f"lxc.cgroup2.memory.max = {most}", f"lxc.cgroup2.memory.high = {high}"]
            lines.append(f"lxc.cgroup2.memory.swap.max = {swap}")
        if "cpu" in self.controllers:
            if limit := float(self.conf.get("cpulimit") or 0):
                lines.append(f"lxc.cgroup2.cpu.max = {int(100000 * limit)} 100000")
            if "cpuunits" in self.conf:
                lines.append(f"lxc.cgroup2.cpu.weight = {clamp_cpu_shares(int(self.conf['cpuunits']))}")
        return lines

    def _rootfs(self) -> list[str]:
        if not self.conf.get("rootfs"):
            raise PVEError("missing 'rootfs' configuration")
        lines = [f"lxc.rootfs.path = {self.folder}/rootfs"]
        if self.conf.get("entrypoint"):
            lines.append(f"lxc.init.cmd = {self.conf['entrypoint']}")
        return lines

    def _networks(self) -> list[str]:
        lines = []
        for key in sorted(key for key in self.conf if re.fullmatch(r"net\d+", key)):
            number = key.removeprefix("net")
            network = self.config.parse_lxc_network(self.conf[key])
            bridge_mtu = read_bridge_mtu(self.system, network.get("bridge"))
            mtu = int(network.get("mtu") or bridge_mtu)
            if mtu > bridge_mtu:
                raise PVEError(f"{key}: MTU size '{mtu}' is bigger than bridge MTU '{bridge_mtu}'")
            lines += [
                f"lxc.net.{number}.type = veth",
                f"lxc.net.{number}.veth.pair = veth{self.vmid}i{number}",
                f"lxc.net.{number}.hwaddr = {network['hwaddr']}",
                f"lxc.net.{number}.name = {network['name']}",
                f"lxc.net.{number}.mtu = {mtu}",
                f"lxc.net.{number}.script.up = /usr/share/lxc/lxcnetaddbr",
            ]
        return lines

    def _cpuset(self) -> list[str]:
        cores = int(self.conf.get("cores") or 0)
        if not cores or "cpuset" not in self.controllers or self._has_raw("lxc.cgroup2.cpuset.cpus"):
            return []
        text = self.system.path("sys/fs/cgroup/cpuset.cpus.effective").read_text(encoding="ascii")
        available = parse_cpuset(text)
        chosen = sorted(random.sample(available, min(cores, len(available))))
        return [f"lxc.cgroup2.cpuset.cpus = {print_cpuset(chosen)}"]

    def _lab(self) -> list[str]:
        lines = [] if self._has_raw("lxc.apparmor.profile") else ["lxc.apparmor.profile = unconfined"]
        mounts = self.system.path(CONTAINER_MOUNTS)
        if mounts.is_file():
            texts = (line.strip() for line in mounts.read_text(encoding="utf-8").splitlines())
            lines += [f"lxc.mount.entry = {text}" for text in texts if text and not text.startswith("#")]
        # Without the lab's file there is no lab: a configuration just as PVE's, for whoever compares.
        return lines if mounts.is_file() else []


def _controllers(system: System) -> frozenset[str]:
    try:
        text = system.path("sys/fs/cgroup/cgroup.controllers").read_text(encoding="ascii")
    except FileNotFoundError:
        return frozenset()
    return frozenset(text.split())


def _number(value: object, default: int) -> int:
    """As Perl reads a number that is none: with a warning, as 0."""
    if value is None:
        return default
    if not str(value).isdigit():
        where = "at /usr/share/perl5/PVE/LXC/Config.pm line 1603."
        warn(f'Argument "{value}" isn\'t numeric in multiplication (*) {where}')
        return 0
    return int(str(value))


def parse_cpuset(text: str) -> list[int]:
    found: list[int] = []
    for part in text.strip().split(","):
        first, _dash, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def print_cpuset(cpus: list[int]) -> str:
    runs: list[list[int]] = []
    for cpu in cpus:
        if runs and runs[-1][1] == cpu - 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
