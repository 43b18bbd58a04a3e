# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The managers of containers and snapshots over the API: the transport alone is not the real one. It answers from the
# files of a FakeNode and lets FakePct act on them, as the API and pct are one code in PVE.

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._api import Api
from ansible_collections.phoenix.hypervisor.plugins.module_utils._api_client import Connection
from ansible_collections.phoenix.hypervisor.plugins.module_utils._container import Container
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._snapshots import Request, Snapshots
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.api_server import refused
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import failed
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.worlds import (
    BASE,
    CLONE,
    CREATE,
    ETH0,
    World,
    container_arguments,
)

PRIVILEGES = {"VM.Audit": 1, "VM.Allocate": 1, "Sys.Modify": 1}


class PveOverPct:
    """In place of proxmoxer.ProxmoxAPI."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sent: list[tuple[str, dict[str, t.Any]]] = []
        self.asked: list[str] = []
        self._ended: dict[str, str] = {}

    def get(self, *path: str, **params: t.Any) -> t.Any:
        self.asked.append("/".join(path[2:]))
        match path:
            case ("nodes", "pve1", "lxc", ctid, *what):
                return self._about(int(ctid), "/".join(what), params)
            case ("nodes", "pve1", "tasks", upid, "status"):
                return {"status": "stopped", "exitstatus": self._ended[upid]}
            case ("nodes", "pve1", "tasks", upid, "log"):
                return [{"n": 1, "t": f"TASK ERROR: {self._ended[upid]}"}]
            case ("nodes", "pve1", "storage"):
                storages = self.world.fake.node.storages().values()
                return [{"storage": s.name, "type": s.type, "content": ",".join(s.content)} for s in storages]
            case ("nodes", "pve1", "network"):
                return [{"iface": "vmbr0"}]
            case ("cluster", "status"):
                return [{"type": "cluster", "quorate": 1}]
            case ("access", "permissions"):
                return {params["path"]: PRIVILEGES}
        return []

    def _about(self, ctid: int, what: str, params: dict[str, t.Any]) -> t.Any:
        guest = self.world.fake.node.guest(ctid)
        if guest is None:
            raise refused(500, f"Configuration file 'nodes/pve1/lxc/{ctid}.conf' does not exist")
        if what == "config":
            section = guest.snapshot_configs[params["snapshot"]] if "snapshot" in params else guest
            options = section.config if "current" in params or "snapshot" in params else guest.wanted
            return {**options, "digest": guest.digest, "lxc": [list(line) for line in section.raw]}
        if what == "pending":
            deleted = [{"key": key, "delete": 1} for key in guest.pending_delete]
            return [*({"key": key, "pending": value} for key, value in guest.pending.items()), *deleted]
        if what == "snapshot":
            snapshots = guest.snapshots.values()
            return [{"name": s.name, "description": s.description, "snaptime": s.time} for s in snapshots]
        return {"status/current": {"status": "running" if guest.running else "stopped"}}.get(what, {"hasFeature": 1})

    def post(self, *path: str, **params: t.Any) -> t.Any:
        return self._act("post", path[2:], params)

    def put(self, *path: str, **params: t.Any) -> t.Any:
        return self._act("put", path[2:], params)

    def delete(self, *path: str, **params: t.Any) -> t.Any:
        return self._act("delete", path[2:], params)

    def _act(self, method: str, path: tuple[str, ...], params: dict[str, t.Any]) -> str | None:
        self.sent.append((f"{method} {'/'.join(path)}", dict(params)))
        argv = ["pct", *_pct(method, path, params)]
        for key, value in params.items():
            argv += [f"--{key}", str(value)]
        done = self.world.pct(argv)
        if argv[1] == "set":
            if not done.ok:
                raise refused(500, done.stderr.strip())
            return None
        upid = f"UPID:pve1:00000A53:00028D81:{len(self._ended):08X}:vz{argv[1]}:{argv[2]}:root@pam!full:"
        self._ended[upid] = "OK" if done.ok else done.stderr.strip()
        return upid


def _pct(method: str, path: tuple[str, ...], params: dict[str, t.Any]) -> list[str]:
    """The pct command for a request; takes what is no option out of the parameters."""
    ctid, *what = path[1:] or ("",)
    if what[:1] == ["status"]:
        return [what[1], ctid]
    verb, *named = {
        "post ": ("create", "vmid", "ostemplate"),
        "delete ": ("destroy",),
        "put config": ("set",),
        "put resize": ("resize", "disk", "size"),
        "post clone": ("clone", "newid"),
        "post snapshot": ("snapshot", "snapname"),
        "delete snapshot": ("delsnapshot",),
        "post snapshot rollback": ("rollback",),
    }[" ".join([method, *what[:1], *what[2:]]) if what else f"{method} "]
    words = [ctid] if ctid else []
    return [verb, *words, *what[1:2], *(str(params.pop(name)) for name in named)]


class ApiWorld(World):
    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.pve = PveOverPct(self)
        self.api = Api(Connection(self.pve, "pve1:8006", "root@pam!full"), "pve1", self.fake.clock)

    def container(self, *, check: bool = False, **given: t.Any) -> dict[str, t.Any]:
        arguments = container_arguments(**given)
        return Container(self.api, arguments, node=None, check_mode=check, clock=self.fake.clock).run()

    def snapshot(self, *, check: bool = False, **given: t.Any) -> dict[str, t.Any]:
        defaults = {"description": "", "metadata": None, "power": "keep", "replace": False, "timeout": 300}
        return Snapshots(self.api, Request(**{**defaults, **given}), check_mode=check).run()

    @property
    def requests(self) -> list[str]:
        return [request for request, _params in self.pve.sent]


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    world = ApiWorld(tmp_path)
    plain = "".join(line for line in BASE.splitlines(keepends=True) if not line.startswith(("lxc.", "dev0")))
    world.fake.conf(
        901,
        plain % ("unprivileged: 1\n", "") + "\n[sealed]\n#text\n" + plain % ("unprivileged: 1\n", "snaptime: 1\n"),
    )
    return world


PLAIN_CLONE: dict[str, t.Any] = {**CLONE, "clone": {"from": 901, "snapshot": "sealed"}}
PLAIN_CREATE = {**CREATE, "features": {"nesting": True}}

SCENARIOS: dict[str, tuple[dict[str, t.Any], list[str]]] = {
    "create": ({**PLAIN_CREATE, "state": "started"}, ["post lxc", "post lxc/905/status/start"]),
    "clone": (
        {**PLAIN_CLONE, "rootfs": {"size_gb": 40}, "state": "started"},
        [
            "post lxc/901/clone",
            "put lxc/902/config",
            "put lxc/902/resize",
            "post lxc/902/status/start",
        ],
    ),
    "configure": ({"ctid": 901, "memory_mb": 700, "cores": 3}, ["put lxc/901/config"]),
    "remove": ({"ctid": 901, "state": "absent"}, ["delete lxc/901"]),
}


@pytest.mark.parametrize(("arguments", "requests"), SCENARIOS.values(), ids=SCENARIOS)
def test_check_mode_tells_what_the_run_does_and_a_second_run_does_nothing(
    world: ApiWorld, arguments: dict[str, t.Any], requests: list[str]
) -> None:
    before = world.tree()
    predicted = world.container(check=True, **arguments)
    assert world.requests == []
    assert world.tree() == before
    result = world.container(**arguments)
    assert world.requests == requests
    assert (result["changed"], result["actions"], result["diff"]) == (
        True,
        predicted["actions"],
        predicted["diff"],
    )
    again = world.container(**arguments)
    assert again["changed"] is False
    assert world.requests == requests


@pytest.mark.parametrize(
    ("arguments", "required"),
    [
        ({"memory_mb": 700, "cores": 3}, False),
        ({"networks": [{**ETH0, "ip": "10.0.0.206/24"}]}, False),
        ({"nameserver": ["10.0.0.1"]}, True),
        ({"nameserver": ["10.0.0.1"], "state": "restarted"}, False),
    ],
)
def test_check_mode_tells_whether_a_restart_is_required(
    world: ApiWorld, arguments: dict[str, t.Any], required: bool
) -> None:
    world.fake.run_container(901)
    predicted = world.container(ctid=901, check=True, **arguments)["restart_required"]
    result = world.container(ctid=901, **arguments)["restart_required"]
    assert (predicted, result) == (required, required)


def test_without_changes_a_container_is_read_once(world: ApiWorld) -> None:
    world.container(ctid=901, state="stopped")
    assert sorted(world.pve.asked) == [
        "lxc/901/config",
        "lxc/901/pending",
        "lxc/901/snapshot",
        "lxc/901/status/current",
    ]


def test_a_new_container_is_made_by_one_request(world: ApiWorld) -> None:
    world.container(**PLAIN_CREATE)
    assert world.pve.sent == [
        (
            "post lxc",
            {
                "vmid": 905,
                "ostemplate": CREATE["ostemplate"],
                "unprivileged": "1",
                "rootfs": "local-zfs:8",
                "hostname": "fresh",
                "cores": "2",
                "memory": "1024",
                "onboot": "1",
                "tags": "ai;gpu",
                "description": "made by a test\nin two lines",
                "net0": "name=eth0,bridge=vmbr0,gw=10.0.0.1,ip=10.0.0.205/24",
                "features": "nesting=1",
            },
        )
    ]


def test_a_clone_is_set_up_before_its_first_start(world: ApiWorld) -> None:
    world.container(**PLAIN_CLONE, state="started")
    at_start = world.pct.file_at("pct start 902", 902)
    assert "10.0.0.200" not in at_start
    assert "memory: 2048\n" in at_start
    assert not at_start.startswith("#")


def test_options_are_set_on_the_very_file_that_was_read(world: ApiWorld) -> None:
    digest = world.container(ctid=901)["container"]["digest"]
    world.container(ctid=901, memory_mb=700)
    assert world.pve.sent == [("put lxc/901/config", {"memory": "700", "digest": digest})]


REFUSED: dict[str, tuple[dict[str, t.Any], str]] = {
    "a-source-with-gpus": (
        CLONE,
        (
            "dev0: configuring device passthrough is only allowed for root@pam; "
            "lxc.cgroup2.devices.allow: the API takes no lxc.* lines; lxc.mount.entry: the API takes no lxc.* lines"
        ),
    ),
    "feature-flags": (
        CREATE,
        "features: keyctl would change, changing feature flags (except nesting) is only allowed for root@pam",
    ),
    "a-directory": (
        {"ctid": 901, "mounts": [{"path": "/srv", "source": "/srv"}]},
        "mp0: mount point type bind is only allowed for root@pam",
    ),
    "booted": (
        {"ctid": 901, "state": "started", "wait": "booted"},
        "wait: 'booted' and 'network' need the node: the API runs no command inside a container",
    ),
    "network": (
        {**PLAIN_CLONE, "state": "started", "wait": "network"},
        "wait: 'booted' and 'network' need the node: the API runs no command inside a container",
    ),
    "bridge": (
        {**PLAIN_CLONE, "networks": [{**ETH0, "bridge": "vmbr9"}]},
        "bridge: 'vmbr9' is no bridge of node pve1, or the token may not see it",
    ),
}


@pytest.mark.parametrize(("arguments", "reason"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("check", [False, True], ids=["run", "check"])
def test_what_cannot_be_is_said_before_anything_is_tried(
    world: ApiWorld, check: bool, arguments: dict[str, t.Any], reason: str
) -> None:
    with pytest.raises(PhoenixError) as raised:
        world.container(check=check, **arguments)
    assert raised.value.reason == reason
    assert raised.value.code is Code.INPUT
    assert world.requests == []


def test_snapshots(world: ApiWorld) -> None:
    world.fake.run_container(901)
    arguments: dict[str, t.Any] = {
        "ctid": 901,
        "name": "s2",
        "metadata": {"a": 1},
        "power": "cycle",
        "state": "present",
    }
    predicted = world.snapshot(check=True, **arguments)
    assert world.requests == []
    result = world.snapshot(**arguments)
    assert world.requests == [
        "post lxc/901/status/shutdown",
        "post lxc/901/snapshot",
        "post lxc/901/status/start",
    ]
    assert (result["actions"], result["diff"]) == (predicted["actions"], predicted["diff"])
    assert result["snapshot"]["metadata"] == {"a": 1}
    assert world.snapshot(**arguments)["changed"] is False
    assert world.snapshot(ctid=901, name="s2", state="rolled_back")["changed"]
    assert world.snapshot(ctid=901, name="s2", state="absent")["changed"]
    assert world.snapshot(ctid=901, name="s2", state="absent")["changed"] is False


def test_a_run_with_nothing_to_do_does_not_wait_for_a_backup(world: ApiWorld) -> None:
    world.fake.lock(900, "backup")
    assert not world.container(ctid=900, memory_mb=4096)["changed"]
    assert not world.snapshot(ctid=900, name="base-snapshot", state="present")["changed"]
    assert world.requests == []
    assert world.fake.clock.elapsed == 0


def test_a_failed_snapshot_brings_the_container_back(world: ApiWorld) -> None:
    world.fake.run_container(901)
    world.pct.on("pct snapshot", failed("zfs error: cannot create snapshot: out of space\n"))
    with pytest.raises(PhoenixError) as raised:
        world.snapshot(ctid=901, name="s2", state="present", power="cycle")
    assert raised.value.reason == (
        "zfs error: cannot create snapshot: out of space. Done before: shut down. The container was started again"
    )
    assert raised.value.code is Code.SNAPSHOT
    assert world.fake.node.is_running(901)


def test_what_lives_on_a_snapshot_is_seen_by_pve_alone(world: ApiWorld) -> None:
    """The API shows no dependents. PVE leaves the container locked then, and the failure says how to free it."""
    world.fake.run_container(901)
    world.pct.dependents["rpool/data/subvol-900-disk-0@sealed"] = ["rpool/data/subvol-930-disk-0"]
    with pytest.raises(PhoenixError, match="snapshot has dependent clones") as raised:
        world.snapshot(ctid=901, name="sealed", state="present", replace=True)
    assert raised.value.code is Code.SNAPSHOT
