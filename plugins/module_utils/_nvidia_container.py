# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# The second place a driver is installed to: a running container, which gets no kernel module.

from __future__ import annotations

import contextlib
import re
import typing as t
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils import _nvidia_rules as rules
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import Guest, check_ctid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia import Identity
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_state import (
    Kernel,
    missing_tools,
    read_loaded,
    read_userspace,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_targets import (
    WORKPLACE,
    State,
    check_architecture,
    check_space,
    installed_userspace,
    removed_userspace,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree

# The installer looks for them whatever it is told to install.
_TOOLS = ("modprobe", "rmmod", "lsmod", "depmod")
_MOUNTED_LIBRARY = re.compile(r"^(?:\S+ ){4}(\S*/lib(?:cuda|nvidia-ml)\.so\S*) ", re.MULTILINE)


class Inside(t.Protocol):
    """How commands and files get into a container."""

    def attach(self, ctid: int, argv: Sequence[str], *, timeout: float | None = None) -> Completed: ...

    def push(
        self, ctid: int, source: Path, destination: str, *, mode: str = ..., timeout: float | None = ...
    ) -> None: ...


class NodeView(t.Protocol):
    """What must be known about the node's containers."""

    root: Path

    def existing(self, ctid: int) -> Guest: ...

    def container_root(self, ctid: int) -> Path | None: ...


class InContainer:
    """A running container: libraries and programs only, for the module that the node has loaded."""

    def __init__(
        self,
        node: NodeView,
        ctid: int,
        wanted: Identity,
        *,
        machine: str,
        inside: Inside,
        free: Callable[[Path], int],
    ) -> None:
        check_ctid(ctid)
        self.name = f"container {ctid}"
        guest = node.existing(ctid)
        root = node.container_root(ctid) if guest.running else None
        if root is None:
            raise PhoenixError(
                f"ctid: {ctid} is not running, and the installer has to run inside",
                remedy=f"Start it first (`pct start {ctid}`, or lxc_container with state: started).",
                code=Code.POWER,
            )
        self.tree = Tree(root)
        self._node_tree = Tree(node.root)
        self._ctid = ctid
        self._wanted = wanted
        self._machine = machine
        self._inside = inside
        self._free = free

    def read(self) -> State:
        return State(read_userspace(self.tree), read_loaded(self._node_tree))

    def check(self, state: State) -> None:
        version = self._wanted.version
        if state.loaded is None:
            raise PhoenixError(
                f"the node has no NVIDIA kernel module loaded, so {version} cannot work in {self.name}",
                remedy="Install the driver on the node first (nvidia_runfile without ctid), and reboot it if that says "
                "reboot_required.",
                code=Code.VERIFICATION,
            )
        if state.loaded.version != version:
            raise PhoenixError(
                f"the node has kernel module {state.loaded.version} loaded, but {version} was asked for in "
                f"{self.name}: libraries and module must be the same version",
                remedy=f"Install {version} on the node and reboot it, or use the runfile of {state.loaded.version}.",
                code=Code.VERIFICATION,
                node_version=state.loaded.version,
                version=version,
            )

    def problems(self, state: State) -> list[str]:
        return state.userspace.problems(self._wanted.version)

    def kernels_to_build(self, state: State) -> list[Kernel]:
        return []

    def preflight(self, state: State, *, installs: bool, size: int) -> None:
        check_architecture(self._wanted, self._machine)
        if installs:
            self._check_mounts()
            if missing := missing_tools(self.tree, _TOOLS):
                raise PhoenixError(
                    f"{self.name} lacks {', '.join(missing)}, without which the installer does not run, although it "
                    "installs no kernel module there",
                    remedy=f"Run `apt-get install kmod` in {self.name}.",
                )
            check_space(self.tree, self.name, size, self._free)

    def _check_mounts(self) -> None:
        mounted = _MOUNTED_LIBRARY.search(self.tree.text("proc/1/mountinfo"))
        if mounted:
            raise PhoenixError(
                f"{self.name} has the node's own {mounted[1]} mounted, which nothing can be installed over",
                remedy="Such a container needs no installation. To change that, set driver_libraries: false in "
                "lxc_gpu_passthrough.",
                code=Code.INPUT,
            )

    def warnings(self, state: State) -> list[str]:
        return []

    def arguments(self, state: State, extra_args: Sequence[str]) -> list[str]:
        return rules.container_arguments(self._wanted.version, extra_args)

    def uninstall_arguments(self, state: State) -> list[str]:
        return rules.uninstall_arguments(unload=False, depmod=False)

    def other_kernels(self, state: State) -> list[Kernel]:
        return []

    def predicted(self, state: State, *, installs: bool, purges: bool) -> State:
        return State(installed_userspace(state.userspace, self._wanted.version, purges=purges), state.loaded)

    def predicted_absent(self, state: State) -> State:
        return State(removed_userspace(state.userspace), state.loaded)

    def run(self, argv: Sequence[str], timeout: float) -> Completed:
        return self._inside.attach(self._ctid, argv, timeout=timeout)

    @contextlib.contextmanager
    def workplace(self, file: Path, timeout: float) -> Iterator[tuple[str, str]]:
        made = self.run(["mktemp", "-d", f"{WORKPLACE}XXXXXXXX"], timeout=60)
        directory = made.stdout.strip()
        if not made.ok or not re.fullmatch(rf"{re.escape(WORKPLACE)}\w+", directory):
            said = made.stderr.strip() or made.stdout.strip()
            raise PhoenixError(
                f"no directory could be made below /var/tmp in {self.name}: {said}",
                remedy="See that / in the container is writable and not full.",
            )
        try:
            destination = f"{directory}/{file.name}"
            self._inside.push(self._ctid, file, destination, mode="0600", timeout=timeout)
            yield directory, destination
        finally:
            # What failed before matters more than what is left behind here.
            with contextlib.suppress(PhoenixError):
                self.run(["rm", "-rf", "--", directory], timeout=120)
