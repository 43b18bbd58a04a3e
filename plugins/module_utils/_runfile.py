# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# Brings a runfile into the cache, onto the node or into a container: what is there, what is missing, what to do.

from __future__ import annotations

import dataclasses
import os
import typing as t
from collections.abc import Callable, Sequence
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._download import (
    DEFAULT_DIRECTORY,
    Cache,
    CachedFile,
    Checksum,
    checksum_from,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError, from_os, invalid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import check_timeout
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia import Identity, expected_identity
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_actions import Actions
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_container import InContainer, Inside, NodeView
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_rules import check_extra_args
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_targets import OnNode, State, Target
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Clock, Deadline, Runner
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import run as run_command
from ansible_collections.phoenix.hypervisor.plugins.module_utils._transfer import free_bytes
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree

# What a runfile of today has, for one that is not at hand yet to be measured.
_USUAL_SIZE = 400 << 20


@dataclasses.dataclass(frozen=True)
class Request:
    """The module's options."""

    state: str = "installed"
    url: str | None = None
    path: str | None = None
    checksum: str | None = None
    version: str | None = None
    cache_dir: str = DEFAULT_DIRECTORY
    ctid: int | None = None
    kernel_module_type: str = "auto"
    purge_packages: bool = True
    extra_args: Sequence[str] = ()
    timeout: int = 1800


@dataclasses.dataclass(frozen=True)
class Source:
    """Where the runfile comes from, and what it must be."""

    cache: Cache
    url: str | None
    path: Path
    identity: Identity
    checksum: Checksum

    def find(self, *, write: bool) -> tuple[CachedFile | None, str]:
        """The runfile as it lies on the node now, verified; a wrong one in the cache is as good as none."""
        if self.url is None:
            return self.cache.check_path(self.path, self.checksum, self.identity, write=write), ""
        return self.cache.verified(self.path, self.checksum, self.identity, write=write)

    def download(self, deadline: Deadline) -> CachedFile:
        """The runfile that find() did not find."""
        return self.cache.fetch(self.url or "", self.checksum, self.identity, deadline)

    def known(self) -> CachedFile | None:
        """The runfile if it is there, unverified, for a run that does not use it."""
        return CachedFile(self.path, self.cache.known_sha256(self.path)) if self.path.is_file() else None

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else _USUAL_SIZE


class Runfile:
    """One request, from arguments to result."""

    def __init__(
        self,
        request: Request,
        node: NodeView,
        inside: Inside,
        runner: Runner = run_command,
        *,
        check_mode: bool = False,
        clock: Clock | None = None,
        machine: str | None = None,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        check_timeout(request.timeout)
        self._request = request
        self._node = node
        self._inside = inside
        self._runner = runner
        self._check_mode = check_mode
        self._deadline = (clock or Clock()).deadline(request.timeout)
        self._machine = machine or os.uname().machine
        self._free = free
        self._cache = Cache(Path(request.cache_dir), free=free)
        self._warnings: list[str] = []

    def run(self) -> dict[str, t.Any]:
        try:
            if self._request.state == "absent":
                return self._absent()
            source = self._source()
            check_extra_args(self._request.extra_args)
            return self._cached(source) if self._request.state == "cached" else self._installed(source)
        except OSError as error:
            raise from_os(error) from error

    def _source(self) -> Source:
        request = self._request
        identity = expected_identity(request.url or request.path or "", request.version)
        checksum = checksum_from(request.checksum, request.url)
        path = self._cache.path_of(request.url) if request.url else Path(request.path or "")
        return Source(self._cache, request.url, path, identity, checksum)

    def _cached(self, source: Source) -> dict[str, t.Any]:
        if self._request.ctid is not None:
            raise invalid("ctid", self._request.ctid, "means nothing with state cached", "Leave it out.")
        file, was_there = self._at_hand(source)
        return {
            **self._file_result(source.identity.version, file or CachedFile(source.path, source.checksum.sha256)),
            "changed": not was_there,
            "diff": {"before": {"cached": was_there}, "after": {"cached": True}},
        }

    def _at_hand(self, source: Source) -> tuple[CachedFile | None, bool]:
        """The verified runfile, and whether it was there; in check mode none when it would have to be downloaded."""
        file, wrong = source.find(write=not self._check_mode)
        was_there = file is not None
        if file is None and not self._check_mode:
            file = source.download(self._deadline)
        elif wrong:
            self._warnings.append(f"{wrong}: it would be downloaded again.")
        self._warnings.extend(file.warnings if file else ())
        return file, was_there

    def _target(self, wanted: Identity) -> Target:
        if self._request.ctid is not None:
            return InContainer(
                self._node, self._request.ctid, wanted, machine=self._machine, inside=self._inside, free=self._free
            )
        return OnNode(
            Tree(self._node.root),
            wanted,
            self._request.kernel_module_type,
            machine=self._machine,
            runner=self._runner,
            free=self._free,
        )

    def _installed(self, source: Source) -> dict[str, t.Any]:
        if source.url is None and not source.path.is_file():
            raise invalid("path", str(source.path), "is not there", "Copy the runfile to the node first, or use url.")
        version = source.identity.version
        target = self._target(source.identity)
        actions = Actions(target, self._deadline)
        before = target.read()
        target.check(before)
        problems, kernels = target.problems(before), target.kernels_to_build(before)
        purge = self._to_purge(before.userspace.clashing, installs=bool(problems))
        file = source.known()
        if not (problems or kernels or purge):
            after = before
        else:
            # A package that is purged takes files along that the installer has put in the place of its own.
            target.preflight(before, installs=bool(problems or purge), size=source.size)
            actions.check_purge(purge)
            # At hand before anything is taken away.
            if problems or purge:
                file = self._at_hand(source)[0] or file
            if self._check_mode:
                after = target.predicted(before, installs=bool(problems), purges=bool(purge))
            else:
                after = self._bring_about(target, actions, before, purge, source)
        self._warnings.extend(target.warnings(after))
        return {
            **self._file_result(version, file),
            **_state_result(before, after),
            "changed": after is not before,
            "problems": [*problems, *(f"DKMS has no module for kernel {kernel.release}" for kernel in kernels)],
            "purged": purge,
            "commands": actions.commands,
        }

    def _to_purge(self, clashing: list[str], *, installs: bool) -> list[str]:
        if self._request.purge_packages or not clashing:
            return clashing
        if installs:
            raise PhoenixError(
                f"packages of the distribution clash with the runfile: {', '.join(clashing)}",
                remedy="Set purge_packages: true, or purge them by hand.",
                packages=clashing,
            )
        self._warnings.append(f"Packages that clash with the runfile are installed: {', '.join(clashing)}.")
        return []

    def _bring_about(
        self, target: Target, actions: Actions, state: State, purge: Sequence[str], source: Source
    ) -> State:
        version = source.identity.version
        try:
            if purge:
                actions.purge(purge)
                state = target.read()
            installs = bool(target.problems(state))
            if installs:
                actions.install(state, version, source.path, self._request.extra_args)
                state = target.read()
            kernels = target.kernels_to_build(state)
            # Where the installer failed without saying so, what it left out is no work for DKMS.
            if not target.problems(state):
                actions.build(version, kernels)
            if installs:
                actions.try_build(version, target.other_kernels(state))
            state = target.read()
            actions.verify(state, version)
        except PhoenixError as error:
            raise _with_commands(error, actions.commands) from error
        return state

    def _absent(self) -> dict[str, t.Any]:
        target = self._target(Identity(self._request.version or "0", ""))
        actions = Actions(target, self._deadline)
        before = target.read()
        installed = before.userspace.logged
        if not installed:
            after = before
        elif not before.userspace.uninstaller:
            raise PhoenixError(
                f"nvidia-uninstall is missing on {target.name}, although /var/lib/nvidia/log names {installed}",
                remedy=f"Run the runfile of {installed} there with --uninstall --silent.",
            )
        elif self._check_mode:
            after = target.predicted_absent(before)
        else:
            try:
                actions.uninstall(before, installed)
                after = target.read()
                actions.verify_absent(after, installed)
            except PhoenixError as error:
                raise _with_commands(error, actions.commands) from error
        return {
            **_state_result(before, after),
            "warnings": self._warnings,
            "changed": after is not before,
            "commands": actions.commands,
        }

    def _file_result(self, version: str, file: CachedFile | None) -> dict[str, t.Any]:
        return {
            "version": version,
            "path": str(file.path) if file else None,
            "sha256": (file.sha256 or None) if file else None,
            "warnings": self._warnings,
        }


def _with_commands(error: PhoenixError, commands: list[str]) -> PhoenixError:
    details = {**error.details, "commands": commands}
    return PhoenixError(error.reason, remedy=error.remedy, code=error.code, **details)


def _state_result(before: State, after: State) -> dict[str, t.Any]:
    return {
        "installed": {"before": before.userspace.version, "after": after.userspace.version},
        "loaded": {"before": _loaded(before), "after": _loaded(after)},
        "reboot_required": after.node is not None and after.node.reboot_required,
        "diff": {"before": _shown(before), "after": _shown(after)},
    }


def _loaded(state: State) -> str | None:
    return state.loaded.version if state.loaded else None


def _shown(state: State) -> dict[str, t.Any]:
    shown: dict[str, t.Any] = {"driver": state.userspace.version, "clashing_packages": state.userspace.clashing}
    if state.node is not None:
        shown["kernel_module"] = state.node.on_disk.type if state.node.on_disk else None
        shown["dkms"] = {kernel.release: kernel.dkms or None for kernel in state.node.bootable}
    return shown
