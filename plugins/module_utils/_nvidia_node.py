# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# What has to be known about a node before a driver comes onto it, and why it could not work there. What the driver
# itself needs is decided where it is installed (_nvidia_targets); here is what belongs to the node around it.

from __future__ import annotations

import dataclasses
import os
import re
import typing as t
from collections.abc import Iterator

from ansible_collections.phoenix.hypervisor.plugins.module_utils._apt_get import candidates, would_install
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia import expected_identity
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_state import (
    NodeState,
    key_enrolled,
    secure_boot,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_targets import OnNode, State, header_packages
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Runner
from ansible_collections.phoenix.hypervisor.plugins.module_utils._transfer import free_bytes
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree

_FIRST_PVE = 8
_NVIDIA = "0x10de"
_DEFAULT_HEADERS = {"proxmox": "proxmox-default-headers", "pve": "pve-headers"}
_MODPROBE_FOLDERS = ("etc/modprobe.d", "usr/lib/modprobe.d", "run/modprobe.d")
# The framebuffer driver nvidiafb, which Proxmox VE itself blacklists, is none of the driver's modules.
_MODULE = r"nvidia(?:[_-](?:uvm|modeset|drm|peermem))?"
_BLACKLISTED = re.compile(
    rf"^[ \t]*(?:blacklist[ \t]+{_MODULE}|install[ \t]+{_MODULE}[ \t]+\S*/(?:false|true))[ \t]*$", re.MULTILINE
)


@dataclasses.dataclass(frozen=True)
class Request:
    """The module's options."""

    url: str
    version: str | None = None
    kernel_module_type: str = "auto"
    headers_follow: bool = False


class NodeCheck:
    """One request, from arguments to result."""

    def __init__(self, request: Request, node: Node, runner: Runner, *, machine: str | None = None) -> None:
        self._node = node
        self._runner = runner
        self._tree = Tree(node.root)
        self._target = OnNode(
            self._tree,
            expected_identity(request.url, request.version),
            request.kernel_module_type,
            machine=machine or os.uname().machine,
            runner=runner,
            free=free_bytes,
        )
        self._headers_follow = request.headers_follow
        self._version = expected_identity(request.url, request.version).version

    def run(self) -> dict[str, t.Any]:
        self._node.check_is_pve()
        self._check_release()
        state = self._target.read()
        if state.node is None:
            raise TypeError("a node's state has no node's side")
        self._check_gpus(state.node.device_ids)
        self._check_blacklist()
        # The type of the kernel module, and the table of kernels and drivers.
        self._target.check(state)
        headers = self._headers(state.node.running)
        warnings = [*self._target.warnings(state, self._coming(state.node, headers)), *self._secure_boot()]
        problems = self._target.problems(state)
        return {
            "changed": False,
            "version": self._version,
            "kernel": state.node.running,
            "headers": headers,
            "installed": state.userspace.version,
            "loaded": state.loaded.version if state.loaded else None,
            "nouveau": state.node.nouveau,
            "reboot_required": state.node.reboot_required,
            "problems": problems,
            "running_containers": sorted(self._node.running_ctids()),
            "running_guests": [*self._containers(), *self._machines()],
            "warnings": warnings if not _is_clean(state, problems) else [],
        }

    def _check_release(self) -> None:
        version = self._node.package_version("pve-manager")
        if int((re.match(r"\d+", version) or ["0"])[0]) < _FIRST_PVE:
            raise PhoenixError(
                f"the node has Proxmox VE {version or 'of an unknown version'}, and this collection needs "
                f"{_FIRST_PVE}.0 or newer",
                remedy="Upgrade the node (https://pve.proxmox.com/wiki/Category:Upgrade).",
                code=Code.INPUT,
            )

    def _check_gpus(self, device_ids: list[int]) -> None:
        if not device_ids:
            raise PhoenixError(
                "the node has no NVIDIA GPU: nothing with vendor 10de and class 03 is on its PCI bus",
                remedy="Look at `lspci -nn -d 10de:`; leave the role away on nodes without a GPU.",
                code=Code.INPUT,
            )
        held = [address for address in self._gpus() if self._driver(address) == "vfio-pci"]
        if held:
            raise PhoenixError(
                f"GPU {', '.join(held)} is bound to vfio-pci, which gives it to virtual machines: no container can "
                f"use it{self._vfio_settings()}",
                remedy="Take its ids out of vfio-pci's settings (modprobe.d, kernel command line) and hostpci lines "
                "out of the machines', run `update-initramfs -u -k all && proxmox-boot-tool refresh`, and reboot.",
                gpus=held,
            )

    def _gpus(self) -> Iterator[str]:
        for address in self._tree.names("sys/bus/pci/devices"):
            device = f"sys/bus/pci/devices/{address}"
            is_display = self._tree.text(f"{device}/class").startswith("0x03")
            if is_display and self._tree.text(f"{device}/vendor").strip() == _NVIDIA:
                yield address

    def _driver(self, address: str) -> str:
        return self._tree.resolve(f"sys/bus/pci/devices/{address}/driver").name

    def _settings(self) -> Iterator[tuple[str, str]]:
        for folder in _MODPROBE_FOLDERS:
            for name in self._tree.names(folder):
                if name.endswith(".conf"):
                    yield f"/{folder}/{name}", self._tree.text(f"{folder}/{name}")

    def _vfio_settings(self) -> str:
        """Where that is asked for, as far as it can be found."""
        places = [
            path
            for path, text in self._settings()
            if re.search(r"^[ \t]*options[ \t]+vfio[-_]pci\b.*\bids=", text, re.MULTILINE)
        ]
        if re.search(r"\bvfio[-_]pci\.ids=", self._tree.text("proc/cmdline")):
            places.append("the kernel command line")
        places += [
            f"/etc/pve/qemu-server/{name}"
            for name in self._tree.names("etc/pve/qemu-server")
            if re.search(r"^hostpci\d+:", self._tree.text(f"etc/pve/qemu-server/{name}"), re.MULTILINE)
        ]
        return f" (see {', '.join(places)})" if places else ""

    def _check_blacklist(self) -> None:
        found = [
            f"{path}: {' '.join(line[0].split())}"
            for path, text in self._settings()
            for line in _BLACKLISTED.finditer(text)
        ]
        if found:
            raise PhoenixError(
                f"the driver's own modules are blacklisted on the node ({'; '.join(found)}), so it would not be loaded",
                remedy="Remove these lines, and run `update-initramfs -u -k all && proxmox-boot-tool refresh`.",
                lines=found,
            )

    def _headers(self, kernel: str) -> list[str]:
        """The default ones follow what is installed later."""
        names = {kind: f"{kind}-headers-{kernel}" for kind in _DEFAULT_HEADERS}
        known = {name for name in names.values() if self._node.package_version(name)}
        if not known:
            known = candidates(list(names.values()), self._runner)
        kind = "pve" if names["pve"] in known and names["proxmox"] not in known else "proxmox"
        return [names[kind], _DEFAULT_HEADERS[kind]]

    def _coming(self, node: NodeState, headers: list[str]) -> set[str]:
        """The packages that are on the node once the headers were installed."""
        missing = [kernel for kernel in node.bootable if not kernel.headers]
        if not self._headers_follow or not missing:
            return set()
        if all(header_packages(kernel.release).intersection(headers) for kernel in missing):
            return set(headers)
        return would_install(headers, self._runner)

    def _secure_boot(self) -> list[str]:
        if secure_boot(self._tree) and not key_enrolled(self._tree):
            return ["Secure Boot is on and DKMS's key is not enrolled: the installation will be refused until it is."]
        return []

    def _containers(self) -> list[str]:
        found = []
        for ctid in sorted(self._node.running_ctids()):
            config = self._node.config_file(ctid)
            name = config.main.options.get("hostname", "") if config else ""
            found.append(f"container {ctid}" + (f" ({name})" if name else ""))
        return found

    def _machines(self) -> list[str]:
        """Virtual machines by the pid files of their processes."""
        found = []
        for name in self._tree.names("run/qemu-server"):
            number, dot, kind = name.partition(".")
            pid = self._tree.text(f"run/qemu-server/{name}").strip()
            if dot and kind == "pid" and number.isdigit() and pid and self._tree.exists(f"proc/{pid}"):
                found.append(f"virtual machine {number}")
        return found


def _is_clean(state: State, problems: list[str]) -> bool:
    """Nothing is left to do, so doubts about doing it are of no use."""
    return not problems and state.node is not None and not state.node.reboot_required
