# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A node with containers, and the managers as a task uses them: everything but pct, the clock and the root is real.

from __future__ import annotations

import typing as t
from collections.abc import Callable
from pathlib import Path

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.phoenix.hypervisor.plugins.module_utils._arguments import CONTAINER_ARGUMENTS
from ansible_collections.phoenix.hypervisor.plugins.module_utils._container import Container
from ansible_collections.phoenix.hypervisor.plugins.module_utils._creation import UNFINISHED
from ansible_collections.phoenix.hypervisor.plugins.module_utils._pct import Pct
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed
from ansible_collections.phoenix.hypervisor.plugins.module_utils._snapshots import Request, Snapshots
from ansible_collections.phoenix.hypervisor.plugins.modules.lxc_snapshot import ARGUMENTS as SNAPSHOT_ARGUMENTS
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.fake_pct import FakePct
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import (
    TEMPLATE,
    Answer,
    Call,
    FakeNode,
)

BASE = """\
arch: amd64
cores: 2
dev0: path=/dev/nvidia0,mode=0666
dev1: path=/dev/fuse,mode=0666
features: nesting=1
hostname: BaseTemplate
memory: 4096
net0: name=eth0,bridge=vmbr0,gw=10.0.0.1,hwaddr=BC:24:11:AA:AA:AA,ip=10.0.0.200/24,type=veth
ostype: ubuntu
%srootfs: local-zfs:subvol-900-disk-0,size=32G
%sswap: 512
lxc.cgroup2.devices.allow: c 195:* rwm
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,create=file
lxc.mount.entry: /dev/zero dev/testzero none bind,create=file
"""
DESCRIPTION = '#Ubuntu 24.04 with the base set-up\n#phoenix%3A {"fingerprint"%3A "4f6a"}\n'
PARENT = (
    BASE % ("parent: base-snapshot\n", "") + "\n[base-snapshot]\n" + DESCRIPTION + BASE % ("", "snaptime: 1795164000\n")
)
"""The file of 900, whose snapshot the clones below are made from."""

ETH0 = {"name": "eth0", "bridge": "vmbr0", "ip": "10.0.0.202/24", "gw": "10.0.0.1"}
CLONE: dict[str, t.Any] = {
    "ctid": 902,
    "clone": {"from": 900, "snapshot": "base-snapshot"},
    "hostname": "BaseTemplateDocker",
    "memory_mb": 2048,
    "networks": [ETH0],
}
CREATE: dict[str, t.Any] = {
    "ctid": 905,
    "ostemplate": TEMPLATE,
    "hostname": "fresh",
    "cores": 2,
    "memory_mb": 1024,
    "rootfs": {"storage": "local-zfs", "size_gb": 8},
    "networks": [{**ETH0, "ip": "10.0.0.205/24"}],
    "features": {"nesting": True, "keyctl": True},
    "tags": ["ai", "gpu"],
    "description": "made by a test\nin two lines",
    "onboot": True,
    "unprivileged": True,
}

# pct-transcripts 9: the target's file while pct clone copies
HALF_MADE = """\
arch: amd64
cores: 1
features: nesting=1
hostname: priv
lock: create
memory: 610
ostype: debian
swap: 512
unprivileged: 1
"""

# api-transcripts 13: the description that was asked for stands there while the clone is made.
HALF_CLONED = f"#{UNFINISHED}\n{HALF_MADE}"


class Killed(BaseException):
    """The run dies here: no handler of the code under test may live on."""


class WatchedPct(FakePct):
    """Remembers what the containers' files held when a command was started."""

    def __init__(self, fake: FakeNode) -> None:
        super().__init__(fake)
        self.files: list[tuple[str, dict[int, str]]] = []

    def __call__(self, argv: t.Sequence[str], **options: t.Any) -> Completed:
        texts = {ctid: self.fake.conf_text(ctid) for ctid in self.fake.node.ctids()}
        self.files.append((" ".join(argv[:3]), texts))
        return super().__call__(argv, **options)

    def file_at(self, command: str, ctid: int) -> str:
        return next(files[ctid] for started, files in self.files if started == command)

    def once(self, prefix: str, action: Callable[[Call], t.Any]) -> None:
        """Something else than usual happens the first time."""
        usual: Answer = self.unknown
        self.on(prefix, action, usual)

    def after(self, prefix: str, action: Callable[[], object]) -> None:
        """Something happens behind the back of the run, right after the first such command."""

        def command(call: Call) -> t.Any:
            answer = self.unknown(call)
            action()
            return answer

        self.once(prefix, command)

    def killed_at(self, prefix: str, leaving: Callable[[], object] = lambda: None) -> None:
        def die(_call: Call) -> t.NoReturn:
            leaving()
            raise Killed

        self.once(prefix, die)

    def killed_after(self, prefix: str) -> None:
        def die() -> t.NoReturn:
            raise Killed

        self.after(prefix, die)


class World:
    def __init__(self, root: Path) -> None:
        self.fake = FakeNode(root)
        self.fake.nvidia(1)
        self.fake.device("/dev/fuse", 10, 229)
        self.fake.device("/dev/zero", 1, 5)
        self.fake.conf(900, PARENT)
        self.pct = WatchedPct(self.fake)

    def container(self, *, check: bool = False, **given: t.Any) -> dict[str, t.Any]:
        """What lxc_container does with these arguments."""
        node = self.fake.node
        arguments = container_arguments(**given)
        return Container(Pct(node, self.pct), arguments, node=node, check_mode=check).run()

    def snapshot(self, *, check: bool = False, **given: t.Any) -> dict[str, t.Any]:
        """What lxc_snapshot does with these arguments."""
        request = Request(**_validated(SNAPSHOT_ARGUMENTS, given))
        return Snapshots(Pct(self.fake.node, self.pct), request, check_mode=check).run()

    @property
    def commands(self) -> list[str]:
        """The commands that were started, by program, verb and container."""
        return [" ".join(call.argv[:3]) for call in self.pct.calls]

    def forget(self) -> None:
        self.pct.calls.clear()

    def main_part(self, ctid: int) -> str:
        return self.fake.conf_text(ctid).partition("\n[")[0]

    def tree(self) -> dict[str, t.Any]:
        """Everything below the root, with its times: equal means that nothing was written, locks included."""
        return {
            str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns, path.is_file() and path.read_bytes())
            for path in self.fake.root.rglob("*")
        }


def container_arguments(**given: t.Any) -> dict[str, t.Any]:
    return _validated(CONTAINER_ARGUMENTS, given)


def _validated(specification: dict[str, t.Any], given: dict[str, t.Any]) -> dict[str, t.Any]:
    result = ArgumentSpecValidator(specification).validate(given)
    assert not result.error_messages, result.error_messages
    return dict(result.validated_parameters)
