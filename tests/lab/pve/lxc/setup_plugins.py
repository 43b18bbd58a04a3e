# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::LXC::Setup::{Base,Debian,Ubuntu}: the files that PVE writes into a container.

from __future__ import annotations

import re
from collections.abc import Callable

from ..exceptions import PVEError
from ..guest.abstract_config import Conf
from ..system import System
from ..tools import split_list, warn
from .config import Config
from .rootfs import Rootfs, remove_pve_sections
from .setup_network import Interface, networkd_file, parse_interface, rewrite_interfaces

_DEBIAN_NEWEST = 14
_CODENAMES = {"stretch": 9, "buster": 10, "bullseye": 11, "bookworm": 12, "trixie": 13, "forky": 14, "duke": 15}
_PRESET = {
    "sys-kernel-config.mount": False,
    "sys-kernel-debug.mount": False,
    "getty@.service": False,
    "container-getty@.service": True,
}


class Plugin:
    ostype = ""

    def __init__(self, system: System, conf: Conf, rootfs: Rootfs, log_warn: Callable[[str], None]) -> None:
        self.system = system
        self.rootfs = rootfs
        self.log_warn = log_warn
        if self.ostype:
            conf["ostype"] = self.ostype

    def pre_start_hook(self, conf: Conf) -> None:
        self.rootfs.write("/fastboot", "")
        self._write_configuration(conf)

    def post_create_hook(self, conf: Conf, password: str | None, ssh_keys: str | None) -> None:
        self.clear_machine_id(clone=False)
        self.template_fixup()
        self._set_password(password)
        if ssh_keys:
            self.rootfs.make_path("/root/.ssh", 0o700)
            self.rootfs.modify("/root/.ssh/authorized_keys", ssh_keys)
        self._write_configuration(conf)

    def _write_configuration(self, conf: Conf) -> None:
        self.setup_init(conf)
        self.setup_network(conf)
        self._set_hostname(conf)
        self._set_dns(conf)
        self._set_timezone(conf)

    # What the distributions differ in

    def template_fixup(self) -> None: ...

    def setup_init(self, conf: Conf) -> None: ...

    def setup_network(self, conf: Conf) -> None: ...

    # What they have in common

    def clear_machine_id(self, *, clone: bool) -> None:
        files = self.rootfs
        systemd = any(files.is_executable(f"{folder}/systemd/systemd") for folder in ("/lib", "/usr/lib"))
        dbus = "/var/lib/dbus/machine-id"
        if systemd and files.exists(dbus) and not files.is_symlink(dbus):
            files.unlink(dbus)
        if not files.exists("/etc/machine-id"):
            return
        if not clone:
            files.unlink("/etc/machine-id")
        elif systemd and files.first_line("/etc/machine-id") != "uninitialized":
            files.write("/etc/machine-id", "\n")

    def interfaces(self, conf: Conf) -> list[Interface]:
        keys = sorted((key for key in conf if re.fullmatch(r"net\d+", key)), key=lambda key: int(key[3:]))
        networks = (Config(self.system).parse_lxc_network(conf[key]) for key in keys)
        return [parse_interface(network) for network in networks if network.get("name")]

    def _dns(self, conf: Conf) -> tuple[list[str], list[str]]:
        """Search domains and name servers: the container's, else the node's."""
        text = ""
        host = self.system.path("etc/resolv.conf")
        if host.is_file():
            text = host.read_text(encoding="utf-8", errors="replace")
        servers = split_list(conf["nameserver"]) if "nameserver" in conf else []
        if "nameserver" not in conf:
            servers = re.findall(r"^\s*nameserver\s+(\S+)", text, re.MULTILINE)[:3]
        if "searchdomain" in conf:
            return split_list(conf["searchdomain"]), servers
        search = re.search(r"^\s*(?:search|domain)\s+(\S+)", text, re.MULTILINE)
        return ([search[1]] if search else []), servers

    def _set_dns(self, conf: Conf) -> None:
        search, servers = self._dns(conf)
        lines = [f"search {' '.join(search)}"] if search else []
        lines += [f"nameserver {server}" for server in servers]
        self.rootfs.modify("/etc/resolv.conf", "\n".join(lines), replace=True)

    def _set_hostname(self, conf: Conf) -> None:
        hostname = str(conf.get("hostname") or "localhost")
        short = hostname.partition(".")[0]
        self._update_hosts(self._primary_address(conf), hostname, short, self._dns(conf)[0])
        self.rootfs.write("/etc/hostname", f"{short}\n")

    def _primary_address(self, conf: Conf) -> str | None:
        network = Config(self.system).parse_lxc_network(conf.get("net0"))
        for key, words in (("ip", ("dhcp", "manual")), ("ip6", ("auto", "dhcp", "manual"))):
            if network.get(key) and network[key] not in words:
                return str(network[key]).partition("/")[0]
        return None

    def _update_hosts(self, address: str | None, hostname: str, short: str, search: list[str]) -> None:
        name = "/etc/hosts"
        names = [hostname, short] if "." in hostname else [*(f"{hostname}.{domain}" for domain in search), hostname]
        section = ""
        existing = remove_pve_sections(self.rootfs.read(name)) if self.rootfs.exists(name) else ""
        for loopback, pattern in (("127.0.0.1", r"^[ \t]*127\.0\.0\.1[ \t]+"), ("::1", r"^[ \t]*::1[ \t]+")):
            if not re.search(pattern, existing, re.MULTILINE):
                section += f"{loopback} localhost.localnet localhost\n"
        if address is not None:
            section += f"{address} {' '.join(names)}\n"
        else:
            section += f"127.0.1.1 {' '.join(names) if short != 'localhost' else short}\n"
        self.rootfs.modify(name, section)

    def _set_timezone(self, conf: Conf) -> None:
        zone = conf.get("timezone")
        if not zone:
            return
        if zone == "host":
            link = self.system.path("etc/localtime")
            zone = str(link.readlink()).rpartition("zoneinfo/")[2] if link.is_symlink() else "UTC"
        path = f"/usr/share/zoneinfo/{zone}"
        if not self.rootfs.exists(path):
            warn(f"container does not have {path}, timezone can not be modified")
            return
        self.rootfs.unlink("/etc/localtime")
        self.rootfs.symlink(path, "/etc/localtime")
        if self.rootfs.exists("/etc/timezone"):
            self.rootfs.write("/etc/timezone", f"{zone}\n")

    def _set_password(self, password: str | None) -> None:
        if not self.rootfs.exists("/etc/shadow"):
            return
        secret = "*"
        if password is not None:
            result = self.system.run(["openssl", "passwd", "-6", "-stdin"], stdin=password)
            if result.returncode:
                raise PVEError(f"unable to encrypt the password: {result.stderr.strip()}")
            secret = result.stdout.strip()
        lines = self.rootfs.read("/etc/shadow").splitlines()
        changed = [re.sub(r"^root:[^:]*", lambda _found: f"root:{secret}", line) for line in lines]
        self.rootfs.write("/etc/shadow", "\n".join(changed) + "\n", 0o640)

    def write_preset(self, extra: dict[str, bool]) -> None:
        """What systemd enables at the first boot."""
        preset = {**_PRESET, **extra}
        lines = [f"{'enable' if preset[name] else 'disable'} {name}" for name in sorted(preset)]
        self.rootfs.make_path("/etc/systemd/system-preset")
        comment = "# Added by PVE at create-time for first-boot configuration."
        self.rootfs.write("/etc/systemd/system-preset/00-pve.preset", "\n".join([comment, *lines]) + "\n")

    def setup_container_getty(self, conf: Conf) -> None:
        folder = (
            "/lib/systemd/system" if self.rootfs.is_executable("/lib/systemd/systemd") else "/usr/lib/systemd/system"
        )
        template = f"{folder}/container-getty@.service"
        if not self.rootfs.exists(template):
            return
        text = self.rootfs.read(template)
        tty = "tty%I" if self.ostype in ("debian", "ubuntu") else "lxc/tty%I"
        changed = re.sub(r"pts/%I|lxc/tty%I", tty, text)
        if changed != text:
            self.rootfs.write(template, changed)
        wants = "/etc/systemd/system/getty.target.wants"
        self.rootfs.make_path(wants)
        count = int(Config(self.system).default(conf, "tty"))
        for number in range(1, 7):
            self.rootfs.unlink(f"{wants}/getty@tty{number}.service")
            self.rootfs.unlink(f"{wants}/container-getty@{number}.service")
            if number <= count:
                self.rootfs.symlink(template, f"{wants}/container-getty@{number}.service")
        self.rootfs.unlink("/etc/systemd/system/getty.target")


class Unmanaged(Plugin):
    ostype = "unmanaged"

    def pre_start_hook(self, conf: Conf) -> None: ...

    def post_create_hook(self, conf: Conf, password: str | None, ssh_keys: str | None) -> None: ...

    def clear_machine_id(self, *, clone: bool) -> None: ...


class Debian(Plugin):
    ostype = "debian"

    def __init__(self, system: System, conf: Conf, rootfs: Rootfs, log_warn: Callable[[str], None]) -> None:
        super().__init__(system, conf, rootfs, log_warn)
        text = rootfs.first_line("/etc/debian_version")
        if not text:
            raise PVEError("unable to read version info")
        codename, slash, _sid = text.partition("/sid")
        found = re.match(r"\d+", str(_CODENAMES.get(codename, "")) if slash else text)
        if not found:
            raise PVEError(f"unable to parse version info '{text}'")
        self.version = int(found[0])
        if self.version > _DEBIAN_NEWEST:
            log_warn(
                f"The container's Debian version '{self.version}' is newer than the tested version '{_DEBIAN_NEWEST}'."
                " While everything may work fine, full compatibility cannot be guaranteed."
                " Please check for PVE system updates."
            )

    def setup_init(self, conf: Conf) -> None:
        if not (self.rootfs.link_target("/sbin/init") or "").endswith("/systemd"):
            return
        self.setup_container_getty(conf)
        if self.version >= 12:
            self.write_preset({"systemd-networkd.service": False})

    def setup_network(self, conf: Conf) -> None:
        interfaces = self.interfaces(conf)
        if not any(interface.is_set for interface in interfaces):
            return
        name = "/etc/network/interfaces"
        old = self.rootfs.read(name) if self.rootfs.exists(name) else ""
        self.rootfs.make_path("/etc/network")
        self.rootfs.write(name, rewrite_interfaces(old, interfaces))


class Ubuntu(Plugin):
    ostype = "ubuntu"

    def __init__(self, system: System, conf: Conf, rootfs: Rootfs, log_warn: Callable[[str], None]) -> None:
        super().__init__(system, conf, rootfs, log_warn)
        text = rootfs.read("/etc/lsb-release") if rootfs.exists("/etc/lsb-release") else ""
        if not re.search(r"^DISTRIB_ID=Ubuntu$", text, re.MULTILINE | re.IGNORECASE):
            raise PVEError("got unknown DISTRIB_ID")
        found = re.search(r"^DISTRIB_RELEASE=(\d+)\.(\d+)$", text, re.MULTILINE | re.IGNORECASE)
        if not found:
            raise PVEError("unable to read version info")
        self.version = (int(found[1]), int(found[2]))
        if self.version[0] < 17:
            raise PVEError(f"unsupported ancient Ubuntu version '{found[1]}.{found[2]}'")

    def template_fixup(self) -> None:
        if self.version < (23, 4):
            wants = "/etc/systemd/system/multi-user.target.wants"
            self.rootfs.make_path(wants)
            self.rootfs.symlink("/lib/systemd/system/systemd-networkd.service", f"{wants}/systemd-networkd.service")
        self.rootfs.unlink("/etc/netplan/10-lxc.yaml")

    def setup_init(self, conf: Conf) -> None:
        if self.version >= (23, 4):
            self.write_preset({"systemd-networkd.service": True})
        self.setup_container_getty(conf)

    def setup_network(self, conf: Conf) -> None:
        for interface in self.interfaces(conf):
            self.rootfs.make_path("/etc/systemd/network")
            self.rootfs.write(f"/etc/systemd/network/{interface.name}.network", networkd_file(interface))
