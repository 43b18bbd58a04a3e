# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::LXC::Setup: which distribution a root file system is, and what PVE writes into it when it is created, cloned and
# started.

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..exceptions import PVEError
from ..guest.abstract_config import Conf
from ..system import System
from ..tools import warn
from .config import Config
from .idmap import parse_id_maps
from .rootfs import Rootfs
from .setup_plugins import Debian, Plugin, Ubuntu, Unmanaged

_PLUGINS: dict[str, type[Plugin]] = {"debian": Debian, "ubuntu": Ubuntu, "unmanaged": Unmanaged}
_MACHINES = {
    (1, 3): "i386",
    (2, 62): "amd64",
    (2, 183): "arm64",
    (1, 40): "armhf",
    (1, 243): "riscv32",
    (2, 243): "riscv64",
}
_KEY_TYPES = {"rsa": "ssh_host_rsa_key", "ecdsa": "ssh_host_ecdsa_key", "ed25519": "ssh_host_ed25519_key"}
_NESTING_NEEDED_ABOVE = 241


class Setup:
    def __init__(self, system: System, conf: Conf, rootdir: str, log_warn: Callable[[str], None]) -> None:
        self.system = system
        self.conf = conf
        self.log_warn = log_warn
        self.rootfs = Rootfs(system, system.path(rootdir), parse_id_maps(conf))
        self.plugin = self._find_plugin()
        if "arch" not in conf:
            conf["arch"] = self._detect_architecture()

    @classmethod
    def of_running(cls, system: System, conf: Conf, rootfs: Rootfs) -> Setup:
        setup = cls.__new__(cls)
        setup.system, setup.conf, setup.rootfs, setup.log_warn = system, conf, rootfs, warn
        setup.plugin = setup._find_plugin()
        return setup

    def pre_start_hook(self) -> None:
        self.plugin.pre_start_hook(self.conf)
        self._check_systemd_nesting()

    def post_clone_hook(self) -> None:
        self.plugin.clear_machine_id(clone=True)
        self._check_systemd_nesting()

    def post_create_hook(self, password: str | None, ssh_keys: str | None) -> None:
        self.plugin.post_create_hook(self.conf, password, ssh_keys)
        self._rewrite_ssh_host_keys()
        self._check_systemd_nesting()

    def _find_plugin(self) -> Plugin:
        release = self._os_release()
        expected = self.conf.get("ostype")
        kind = "unmanaged" if expected == "unmanaged" else self._detect_type(release)
        if expected not in (None, kind):
            if not self.rootfs.is_directory("/etc"):
                warn("WARNING: /etc not present in CT, is the rootfs mounted?")
            warn(f"got unexpected ostype ({kind} != {expected})")
        if kind not in _PLUGINS:
            raise PVEError(f"no such OS type '{kind}'")
        return _PLUGINS[kind](self.system, self.conf, self.rootfs, self.log_warn)

    def _detect_type(self, release: dict[str, str]) -> str:
        if identity := release.get("ID"):
            if identity in _PLUGINS:
                return identity
            warn(f"unknown ID '{identity}' in /etc/os-release file, trying fallback detection")
        if self.rootfs.exists("/etc/lsb-release") and "DISTRIB_ID=Ubuntu" in self.rootfs.read("/etc/lsb-release"):
            return "ubuntu"
        if self.rootfs.exists("/etc/debian_version"):
            return "debian"
        if self.rootfs.exists("/etc/os-release"):
            raise PVEError("unable to detect OS distribution")
        warn("/etc/os-release file not found and autodetection failed, falling back to 'unmanaged'")
        return "unmanaged"

    def _os_release(self) -> dict[str, str]:
        for name in ("/etc/os-release", "/usr/lib/os-release"):
            if self.rootfs.exists(name):
                found = re.findall(r"^\s*([A-Za-z_]\w*)=(['\"]?)(.*?)\2\s*$", self.rootfs.read(name), re.MULTILINE)
                return {key: value for key, _quote, value in found}
        return {}

    def _detect_architecture(self) -> str:
        try:
            header = self.rootfs.place("/bin/sh").read_bytes()[:20]
            architecture = _MACHINES[header[4], header[18]]
        except (OSError, KeyError, IndexError) as error:
            reason = error.strerror if isinstance(error, OSError) else "'/bin/sh' is not an ELF file"
            warn(f"Architecture detection failed: {reason}")
            print("Falling back to amd64.\nUse `pct set VMID --arch ARCH` to change.", flush=True)
            return "amd64"
        print(f"Detected container architecture: {architecture}", flush=True)
        return architecture

    def _check_systemd_nesting(self) -> None:
        features = Config(self.system).parse_features(self.conf.get("features"))
        if int(features.get("nesting", 0)):
            return
        init = self.rootfs.place("/sbin/init")
        if init.name != "systemd" or not init.is_file():
            return
        for folder in ("/usr/lib/systemd", "/usr/lib/x86_64-linux-gnu/systemd", "/usr/lib/aarch64-linux-gnu/systemd"):
            for library in self.rootfs.place(folder).glob("libsystemd-shared-*.so"):
                version = re.match(r"libsystemd-shared-(\d+)", library.name)
                if version and int(version[1]) > _NESTING_NEEDED_ABOVE:
                    self.log_warn(f"Systemd {version[1]} detected. You may need to enable nesting.")
                return

    def _rewrite_ssh_host_keys(self) -> None:
        if not self.rootfs.is_directory("/etc/ssh") or isinstance(self.plugin, Unmanaged):
            return
        comment = f"root@{str(self.conf.get('hostname') or 'localhost').partition('.')[0]}"
        for kind, name in _KEY_TYPES.items():
            print(f"Creating SSH host key '{name}' - this may take some time ...", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                key = Path(folder, name)
                command = ["ssh-keygen", "-f", str(key), "-t", kind, "-N", "", "-E", "sha256", "-C", comment]
                result = self.system.run(command)
                if result.returncode:
                    raise PVEError(f"command '{' '.join(command)}' failed: exit code {result.returncode}")
                found = re.search(rf"^SHA256:\S+ {re.escape(comment)}$", result.stdout, re.MULTILINE)
                print(f"done: {found[0] if found else ''}", flush=True)
                self.rootfs.write(f"/etc/ssh/{name}", key.read_text(encoding="ascii"), 0o600)
                public = key.with_name(f"{name}.pub").read_text(encoding="ascii")
                self.rootfs.write(f"/etc/ssh/{name}.pub", public, 0o644)
