# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# The places a driver is installed to behind one interface, and the first of them: the node with its kernel modules.

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
import typing as t
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils import _nvidia_rules as rules
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia import Identity, KernelModule
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_state import (
    Kernel,
    NodeState,
    Userspace,
    key_enrolled,
    missing_tools,
    read_node,
    read_userspace,
    secure_boot,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed, Runner
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree

WORKPLACE = "/var/tmp/phoenix-nvidia."
# A runfile of 463 MB unpacks to 1.8 GB.
_SPACE_FACTOR = 5
_ALTERNATE_INSTALL = "/usr/lib/nvidia/alternate-install-present"


@dataclasses.dataclass(frozen=True)
class State:
    """Everything that was read of a target."""

    userspace: Userspace
    loaded: KernelModule | None
    """The module in the node's kernel, which is also every container's."""
    node: NodeState | None = None


class Target(t.Protocol):
    name: str
    tree: Tree

    def read(self) -> State: ...

    def check(self, state: State) -> None:
        """Refuse what can never become right, even when there is nothing to do."""

    def problems(self, state: State) -> list[str]:
        """Why only the installer brings the target to the wanted version."""

    def kernels_to_build(self, state: State) -> list[Kernel]:
        """The kernels for which DKMS alone still has to build."""

    def preflight(self, state: State, *, installs: bool, size: int) -> None:
        """Refuse what would fail half-way, before anything is written."""

    def warnings(self, state: State) -> list[str]: ...

    def arguments(self, state: State, extra_args: Sequence[str]) -> list[str]: ...

    def uninstall_arguments(self, state: State) -> list[str]: ...

    def other_kernels(self, state: State) -> list[Kernel]:
        """The kernels that DKMS could build for as well, so that they can be booted in need."""

    def predicted(self, state: State, *, installs: bool, purges: bool) -> State:
        """The state that the real run will read in the end."""

    def predicted_absent(self, state: State) -> State: ...

    def run(self, argv: Sequence[str], timeout: float) -> Completed: ...

    def workplace(self, file: Path, timeout: float) -> contextlib.AbstractContextManager[tuple[str, str]]:
        """A directory to unpack in and the runfile, both as the target sees them; the directory goes afterwards."""


def installed_userspace(userspace: Userspace, version: str, *, purges: bool) -> Userspace:
    return Userspace(
        logged=version,
        libraries=dict.fromkeys(userspace.libraries, version),
        nvidia_smi=True,
        uninstaller=True,
        clashing=[] if purges else userspace.clashing,
    )


def removed_userspace(userspace: Userspace) -> Userspace:
    kept = {name: "" if version == userspace.logged else version for name, version in userspace.libraries.items()}
    return dataclasses.replace(userspace, logged="", libraries=kept, nvidia_smi=False, uninstaller=False)


def check_space(tree: Tree, name: str, size: int, free: Callable[[Path], int]) -> None:
    needed = size * _SPACE_FACTOR
    for directory in ("var/tmp", "usr"):
        there = free(tree.resolve(directory))
        if there < needed:
            raise PhoenixError(
                f"{name} has {there >> 20} MiB free at /{directory}, but unpacking and installing needs "
                f"{needed >> 20} MiB",
                remedy="Make room there, or grow the disk (rootfs size_gb of lxc_container).",
            )


def check_architecture(wanted: Identity, machine: str) -> None:
    if wanted.architecture and wanted.architecture != machine:
        raise PhoenixError(
            f"the runfile is for {wanted.architecture}, but this node is {machine}",
            remedy=f"Use NVIDIA's runfile for Linux-{machine}.",
            code=Code.INPUT,
        )


class OnNode:
    """The node itself: libraries, programs and the kernel modules by DKMS."""

    name = "the node"

    def __init__(
        self,
        tree: Tree,
        wanted: Identity,
        module_type: str,
        *,
        machine: str,
        runner: Runner,
        free: Callable[[Path], int],
    ) -> None:
        self.tree = tree
        self._wanted = wanted
        self._requested_type = module_type
        self._machine = machine
        self._runner = runner
        self._free = free

    def read(self) -> State:
        node = read_node(self.tree, self._machine, self._runner)
        return State(read_userspace(self.tree), node.loaded, node)

    def check(self, state: State) -> None:
        self._module_type(state)

    def _module_type(self, state: State) -> tuple[str, list[str]]:
        return rules.module_type(self._requested_type, _node(state).device_ids, self._wanted.version)

    def problems(self, state: State) -> list[str]:
        version, node = self._wanted.version, _node(state)
        found = state.userspace.problems(version)
        wanted_type = self._module_type(state)[0]
        module = node.on_disk
        if module is not None and module.version == version and module.type != wanted_type:
            found.append(f"the kernel module of {node.running} is the {module.type} one, not the {wanted_type} one")
        elif not self.tree.exists(f"var/lib/dkms/nvidia/{version}/source/dkms.conf"):
            found.append(f"DKMS does not know nvidia/{version}")
        return found

    def kernels_to_build(self, state: State) -> list[Kernel]:
        return [kernel for kernel in _node(state).bootable if kernel.headers and not self._is_built(kernel)]

    def _is_built(self, kernel: Kernel) -> bool:
        version = self._wanted.version
        return kernel.dkms == version and kernel.module is not None and kernel.module.version == version

    def preflight(self, state: State, *, installs: bool, size: int) -> None:
        node, version = _node(state), self._wanted.version
        check_architecture(self._wanted, self._machine)
        if node.running not in node.kernels or not node.kernels[node.running].headers:
            raise PhoenixError(
                f"the headers of the running kernel are missing: /lib/modules/{node.running}/build is not there",
                remedy=f"Install proxmox-headers-{node.running} (or pve-headers-{node.running}) and "
                "proxmox-default-headers. If apt no longer has them, reboot into the newest kernel first.",
            )
        if missing := missing_tools(self.tree, ("dkms", "gcc", "make")):
            raise PhoenixError(
                f"the node lacks {', '.join(missing)}, without which no kernel module can be built",
                remedy="Run `apt-get install dkms build-essential`.",
            )
        for kernel in node.bootable:
            if installs or not self._is_built(kernel):
                rules.check_kernel(version, kernel.release)
        if secure_boot(self.tree) and not key_enrolled(self.tree):
            raise PhoenixError(
                "Secure Boot is on, and the key that DKMS signs modules with is not enrolled: the kernel would "
                "reject the driver",
                remedy="Run `dkms generate_mok` and `mokutil --import /var/lib/dkms/mok.pub`, reboot and confirm at "
                "the console, or turn Secure Boot off in the firmware.",
            )
        if installs:
            self._check_install(state, size)

    def _check_install(self, state: State, size: int) -> None:
        node = _node(state)
        if node.nouveau:
            raise PhoenixError(
                "nouveau drives a GPU of this node, and the installer aborts while it does",
                remedy="Write `blacklist nouveau` and `options nouveau modeset=0` to /etc/modprobe.d/nouveau.conf, run "
                "`update-initramfs -u -k all && proxmox-boot-tool refresh`, and reboot.",
            )
        if node.in_use and not rules.can_replace_running_driver(self._wanted.version):
            raise PhoenixError(
                f"the loaded driver is in use, and the installer of {self._wanted.version} cannot work beside it",
                remedy="Stop the containers with GPUs and nvidia-persistenced (`fuser -v /dev/nvidia*`), and run "
                "again.",
            )
        if self.tree.exists(_ALTERNATE_INSTALL) and not state.userspace.clashing:
            raise PhoenixError(
                f"{_ALTERNATE_INSTALL} says that another method has installed a driver here",
                remedy=f"Find its package (`dpkg -S {_ALTERNATE_INSTALL}`) and purge it, or delete the file when "
                "no package owns it.",
            )
        check_space(self.tree, self.name, size, self._free)

    def warnings(self, state: State, coming: Collection[str] = ()) -> list[str]:
        """What should be known about the node; the packages that are about to come are as good as there."""
        node, version = _node(state), self._wanted.version
        found = self._module_type(state)[1]
        for kernel in node.kernels.values():
            if kernel in node.bootable:
                found.extend(self._doubts(kernel))
                if not kernel.headers and header_packages(kernel.release).isdisjoint(coming):
                    found.append(
                        f"Kernel {kernel.release} has no headers, so DKMS cannot build for it: install "
                        f"proxmox-headers-{kernel.release}."
                    )
            elif kernel.dkms != version:
                found.append(
                    f"DKMS has no nvidia/{version} for the older kernel {kernel.release}: run "
                    f"`dkms install nvidia/{version} -k {kernel.release}` to be able to boot it with a driver."
                )
        if state.loaded and state.loaded.version != version:
            found.append(f"Driver {state.loaded.version} is still loaded: {version} takes effect with the next boot.")
        return found

    def _doubts(self, kernel: Kernel) -> list[str]:
        try:
            doubt = rules.check_kernel(self._wanted.version, kernel.release)
        except PhoenixError as error:
            if not self._is_built(kernel):
                raise
            doubt = f"Kernel {kernel.release} has its module all the same, although {error.reason}."
        return [doubt] if doubt else []

    def arguments(self, state: State, extra_args: Sequence[str]) -> list[str]:
        return rules.node_arguments(
            self._wanted.version,
            self._module_type(state)[0],
            running_driver=_node(state).in_use,
            signed=secure_boot(self.tree),
            extra_args=extra_args,
        )

    def uninstall_arguments(self, state: State) -> list[str]:
        return rules.uninstall_arguments(unload=not _node(state).in_use, depmod=True)

    def other_kernels(self, state: State) -> list[Kernel]:
        node = _node(state)
        return [
            kernel
            for kernel in node.kernels.values()
            if kernel.headers and kernel not in node.bootable and kernel.dkms != self._wanted.version
        ]

    def predicted(self, state: State, *, installs: bool, purges: bool) -> State:
        node, version = _node(state), self._wanted.version
        module = KernelModule(version, self._module_type(state)[0] == "open")
        kernels = {}
        for release, kernel in node.kernels.items():
            if kernel.headers and (installs or kernel in node.bootable):
                kernels[release] = dataclasses.replace(kernel, dkms=version, module=module)
            elif installs:
                # The installer removes the driver before from every kernel.
                kernels[release] = dataclasses.replace(kernel, dkms="", module=None)
            else:
                kernels[release] = kernel
        loaded = module if installs and not node.in_use else state.loaded
        userspace = installed_userspace(state.userspace, version, purges=purges)
        return State(userspace, loaded, dataclasses.replace(node, kernels=kernels, loaded=loaded))

    def predicted_absent(self, state: State) -> State:
        node = _node(state)
        kernels = {
            release: dataclasses.replace(kernel, dkms="", module=None)
            if kernel.dkms == state.userspace.logged
            else kernel
            for release, kernel in node.kernels.items()
        }
        loaded = state.loaded if node.in_use else None
        return State(
            removed_userspace(state.userspace), loaded, dataclasses.replace(node, kernels=kernels, loaded=loaded)
        )

    def run(self, argv: Sequence[str], timeout: float) -> Completed:
        return self._runner(argv, timeout=timeout)

    @contextlib.contextmanager
    def workplace(self, file: Path, timeout: float) -> Iterator[tuple[str, str]]:
        directory = tempfile.mkdtemp(prefix=Path(WORKPLACE).name, dir=self.tree.resolve("var/tmp"))
        try:
            yield directory, str(file)
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def header_packages(kernel: str) -> set[str]:
    """The names that the headers of a kernel go by: Proxmox renamed them with its kernel 6.5."""
    return {f"{kind}-headers-{kernel}" for kind in ("proxmox", "pve")}


def _node(state: State) -> NodeState:
    if state.node is None:
        raise TypeError("a container's state has no node's side")
    return state.node
