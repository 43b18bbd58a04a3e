# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# The commands that install and remove a driver on a target, what their failures mean, and the proof that they worked:
# the installer's exit code proves nothing, so the state is read again afterwards.

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._apt_get import purge_command
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia import (
    dkms_status,
    failure_lines,
    simulated_removals,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_rules import (
    NODE_LOG,
    UNINSTALL_LOG,
    check_removals,
    failure_remedy,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_state import Kernel
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_targets import State, Target
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed, Deadline
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree

_LOG_TAIL = 20


class Actions:
    """What can be done to one target until a deadline."""

    def __init__(self, target: Target, deadline: Deadline) -> None:
        self._target = target
        self._deadline = deadline
        self.commands: list[str] = []
        """The commands that were run and change something, as they could be typed."""

    @property
    def _left(self) -> float:
        return max(self._deadline.left, 1)

    def _act(self, argv: Sequence[str]) -> Completed:
        self.commands.append(shlex.join(argv))
        return self._target.run(argv, timeout=self._left)

    def check_purge(self, packages: Sequence[str]) -> None:
        """Ask apt what a purge would take along, and refuse if that is more than driver packages."""
        if not packages:
            return
        simulated = self._target.run(purge_command(packages, simulate=True), timeout=120)
        if not simulated.ok:
            raise PhoenixError(
                f"apt cannot purge {', '.join(packages)} on {self._target.name}: {simulated.last_line}",
                remedy="Bring apt back in order (`apt-get --fix-broken install`, `dpkg --audit`). This module changed "
                "nothing.",
            )
        check_removals(simulated_removals(simulated.stdout), packages)

    def purge(self, packages: Sequence[str]) -> None:
        done = self._act(purge_command(packages, simulate=False))
        if not done.ok:
            raise PhoenixError(
                f"apt could not purge {', '.join(packages)} on {self._target.name}: {done.last_line}",
                remedy="Run the command by hand there, correct what it says, and run again.",
                stdout=done.stdout,
                stderr=done.stderr,
            )

    def install(self, state: State, version: str, file: Path, extra_args: Sequence[str]) -> None:
        before = _stamp(self._target.tree, NODE_LOG)
        with self._target.workplace(file, self._left) as (directory, runfile):
            # The archive and the installer both unpack below TMPDIR; /tmp may be a small memory file system.
            arguments = self._target.arguments(state, extra_args)
            done = self._act(["env", f"TMPDIR={directory}", "sh", runfile, *arguments])
        if not done.ok:
            raise self._failure(done, NODE_LOG, before, f"could not install {version} on")

    def uninstall(self, state: State, version: str) -> None:
        before = _stamp(self._target.tree, UNINSTALL_LOG)
        done = self._act(["nvidia-uninstall", *self._target.uninstall_arguments(state)])
        if not done.ok:
            raise self._failure(done, UNINSTALL_LOG, before, f"could not remove {version} from")

    def _failure(self, done: Completed, log: str, before: tuple[int, int], what: str) -> PhoenixError:
        # A log that this run did not write would blame the wrong run.
        text = self._target.tree.text(log) if _stamp(self._target.tree, log) != before else ""
        lines = failure_lines(text) or failure_lines(done.stderr)
        output = (text or done.stdout + done.stderr).splitlines()[-_LOG_TAIL:]
        return PhoenixError(
            f"the NVIDIA installer {what} {self._target.name} (exit code {done.rc}): "
            f"{' '.join(lines) or done.last_line}",
            remedy=f"{failure_remedy([*lines, *output])} The log is {log} on {self._target.name}.",
            log_tail=output,
        )

    def build(self, version: str, kernels: Sequence[Kernel]) -> None:
        """Have DKMS build for kernels that must have the module; the installer builds for the running one only."""
        for kernel in kernels:
            done = self._dkms_install(version, kernel)
            if not done.ok:
                log = f"/var/lib/dkms/nvidia/{version}/build/make.log"
                raise PhoenixError(
                    f"DKMS cannot build nvidia/{version} for kernel {kernel.release}: {done.last_line}",
                    remedy=f"Read {log}; use a newer driver, or pin or remove that kernel.",
                    code=Code.VERIFICATION,
                    log_tail=(self._target.tree.text(log) or done.stdout + done.stderr).splitlines()[-_LOG_TAIL:],
                )

    def try_build(self, version: str, kernels: Sequence[Kernel]) -> None:
        """The same for kernels that nobody will boot unless in need; what fails is seen in the state afterwards."""
        for kernel in kernels:
            self._dkms_install(version, kernel)

    def _dkms_install(self, version: str, kernel: Kernel) -> Completed:
        return self._act(["dkms", "install", f"nvidia/{version}", "-k", kernel.release, "--force"])

    def verify(self, state: State, version: str) -> None:
        wrong = self._target.problems(state)
        wrong += [f"DKMS has no module for kernel {kernel.release}" for kernel in self._target.kernels_to_build(state)]
        if state.node:
            wrong += self._dkms_complaints(version)
        if wrong:
            raise PhoenixError(
                f"{version} is not completely installed on {self._target.name}, although no command failed: "
                f"{'; '.join(wrong)}",
                remedy=f"Read {NODE_LOG} there. Another installation may lie over it: `ldconfig -p | grep libcuda`.",
                code=Code.VERIFICATION,
                problems=wrong,
                log_tail=self._target.tree.text(NODE_LOG).splitlines()[-_LOG_TAIL:],
            )

    def _dkms_complaints(self, version: str) -> list[str]:
        """What DKMS itself warns of and the links in its tree do not show, such as a module that somebody replaced."""
        status = self._target.run(["dkms", "status", "-m", "nvidia"], timeout=120)
        return [
            f"dkms status of kernel {entry.kernel}: {entry.notes}"
            for entry in dkms_status(status.stdout)
            if entry.version == version and "WARNING" in entry.notes
        ]

    def verify_absent(self, state: State, version: str) -> None:
        left = [f"{name} is {found}" for name, found in state.userspace.libraries.items() if found == version]
        if state.userspace.logged:
            left.append(f"/var/lib/nvidia/log names {state.userspace.logged}")
        kernels = state.node.kernels.values() if state.node else ()
        left += [f"DKMS has {kernel.dkms} for kernel {kernel.release}" for kernel in kernels if kernel.dkms == version]
        if left:
            raise PhoenixError(
                f"{version} is not completely removed from {self._target.name}: {'; '.join(left)}",
                remedy=f"Read {UNINSTALL_LOG} there. The uninstaller does nothing unless /var/lib/nvidia has mode 0700 "
                "and its log 0600.",
                code=Code.VERIFICATION,
                problems=left,
            )


def _stamp(tree: Tree, path: str) -> tuple[int, int]:
    """By what a file that was written anew is recognised."""
    try:
        status = tree.resolve(path).stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
