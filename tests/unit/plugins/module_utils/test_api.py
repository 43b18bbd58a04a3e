# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import typing as t

import pytest
import requests
from ansible_collections.phoenix.hypervisor.plugins.module_utils._api import Api
from ansible_collections.phoenix.hypervisor.plugins.module_utils._api_client import ApiError, Connection
from ansible_collections.phoenix.hypervisor.plugins.module_utils._api_task import TaskError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import (
    Guest,
    Guests,
    Snapshot,
    SnapshotConfig,
)
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.api_server import (
    FakePve,
    refused,
)
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import FakeClock

# Sections are those of api-transcripts unless another file is named.
NODE = "nodes/pve1"
CT = f"{NODE}/lxc/160"

# 16: CT 160 running, with three snapshots, shortened
CONFIG: dict[str, t.Any] = {
    "digest": "d953019d73330d0b3b89a9b765c97184a8befb8d",
    "dev0": "path=/dev/nvidia0,mode=0666",
    "swap": 0,
    "lxc": [["lxc.cgroup2.devices.allow", "c 195:* rwm"]],
    "net0": "name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:3D:9C:70,ip=10.10.10.101/24,type=veth",
    "hostname": "newname",
    "memory": 600,
    "unprivileged": 1,
    "rootfs": "local-zfs:subvol-160-disk-1,size=3G",
    "mp0": "local-zfs:subvol-160-disk-0,mp=/data,size=1G",
    "description": "d\n",
    "parent": "pending",
    "features": "nesting=1,keyctl=1",
}
# 15: the entries with a pending or delete field
PENDING = [
    {"key": "memory", "value": 600},
    {"key": "features", "value": "nesting=1,keyctl=1", "pending": "nesting=0,keyctl=1"},
    {"value": "1.1.1.1", "delete": 1, "key": "nameserver"},
]
SNAPSHOTS = [
    {"snaptime": 1795168014, "name": "pending", "parent": "s2", "description": ""},
    {"snaptime": 1795168010, "description": "first\nline2\n", "name": "s1"},
    {"description": "", "parent": "s1", "name": "s2", "snaptime": 1795168011, "snapstate": "delete"},
    {"name": "current", "description": "You are here!", "parent": "pending", "running": 1, "digest": "6293"},
]
READ: dict[str, list[t.Any]] = {
    f"GET {CT}/config?current=1": [CONFIG],
    f"GET {CT}/pending": [PENDING],
    f"GET {CT}/status/current": [{"status": "running", "vmid": 160}],
    f"GET {CT}/snapshot": [SNAPSHOTS],
}
# 1: GET config?snapshot=clean
SNAPSHOT_CONFIG = {
    "hostname": "gpu1",
    "memory": 1024,
    "lxc": [["lxc.cgroup2.devices.allow", "c 195:* rwm"]],
    "digest": "fb4d4bb053dcb132d69c1c444f9ebb37ed93df8d",
    "snaptime": 1795166186,
}
GUEST = Guest(
    ctid=160,
    running=False,
    config={"rootfs": "local-zfs:subvol-160-disk-1,size=3G", "mp0": "local-zfs:subvol-160-disk-0,mp=/data"},
)
MISSING = refused(500, "Configuration file 'nodes/pve1/lxc/160.conf' does not exist")


def api_of(answers: dict[str, list[t.Any]], clock: FakeClock | None = None) -> tuple[Api, FakePve]:
    pve = FakePve(answers)
    return Api(Connection(pve, "pve1:8006", "root@pam!full"), "pve1", clock or FakeClock()), pve


def upid(kind: str, ctid: int = 160) -> str:
    return f"UPID:pve1:00000A53:00028D81:6B0016A9:{kind}:{ctid}:root@pam!full:"


def done(kind: str, ctid: int = 160, exitstatus: str = "OK") -> dict[str, list[t.Any]]:
    """A task that has ended, as seen through its two endpoints."""
    task = f"GET {NODE}/tasks/{upid(kind, ctid)}"
    return {
        f"{task}/status": [{"status": "stopped", "exitstatus": exitstatus}],
        f"{task}/log?start=0&limit=500": [[{"n": 1, "t": f"TASK ERROR: {exitstatus}"}]],
    }


def test_it_is_one_of_the_two_ways_to_act() -> None:
    guests: Guests = api_of({})[0]
    assert guests.node_name == "pve1"


class TestRead:
    def test_everything_pve_holds(self) -> None:
        api, _connection = api_of(READ)
        guest = api.read(160)
        assert guest is not None
        assert guest.ctid == 160
        assert guest.running
        assert guest.config == {key: str(value) for key, value in CONFIG.items() if key not in {"digest", "lxc"}}
        assert guest.raw == (("lxc.cgroup2.devices.allow", "c 195:* rwm"),)
        assert guest.pending == {"features": "nesting=0,keyctl=1"}
        assert guest.pending_delete == {"nameserver"}
        assert guest.restart_required
        assert guest.digest == CONFIG["digest"]
        assert guest.snapshots == {
            "pending": Snapshot("pending", "", "s2", 1795168014),
            "s1": Snapshot("s1", "first\nline2\n", "", 1795168010),
            "s2": Snapshot("s2", "", "s1", 1795168011, "delete"),
        }

    def test_configurations_of_snapshots_are_asked_for_once_and_when_needed(self) -> None:
        api, pve = api_of({**READ, f"GET {CT}/config?snapshot=s1": [SNAPSHOT_CONFIG]})
        guest = api.read(160)
        assert guest is not None
        assert len(pve.asked) == 4
        assert list(guest.snapshot_configs) == ["pending", "s1", "s2"]
        assert len(guest.snapshot_configs) == 3
        assert "nosuch" not in guest.snapshot_configs
        expected = SnapshotConfig(
            {"hostname": "gpu1", "memory": "1024", "snaptime": "1795166186"},
            (("lxc.cgroup2.devices.allow", "c 195:* rwm"),),
        )
        assert guest.snapshot_configs["s1"] == expected
        assert guest.snapshot_configs["s1"] == expected
        assert len(pve.asked) == 5

    @pytest.mark.parametrize("request_", list(READ))
    def test_a_container_that_is_not_there_or_goes_meanwhile(self, request_: str) -> None:
        # 2: GET of 999
        assert api_of({**READ, request_: [MISSING]})[0].read(160) is None

    def test_a_token_without_rights_is_no_missing_container(self) -> None:
        # 5: 403 also for a container that does not exist
        answers = {f"GET {CT}/config?current=1": [refused(403, "Permission check failed (/vms/160, VM.Audit)")]}
        with pytest.raises(ApiError, match=r"VM\.Audit"):
            api_of(answers)[0].read(160)

    def test_a_creation_under_way(self) -> None:
        # 8: the placeholder while a container is created
        placeholder = {"digest": "a7e9f8c42935261b36fcd1d7d6cd8cd41648da49", "lock": "create"}
        guest = api_of({**READ, f"GET {CT}/config?current=1": [placeholder]})[0].read(160)
        assert guest is not None
        assert guest.lock == "create"
        assert guest.raw == ()


RESOURCES = "GET cluster/resources?type=vm"
# 1: cluster/resources, with a VM and a second node
ROWS = [
    {"vmid": 101, "name": "gpu1", "id": "lxc/101", "node": "pve1", "type": "lxc"},
    {"vmid": 105, "name": "win", "id": "qemu/105", "node": "pve2", "type": "qemu"},
    {"vmid": 106, "name": "other", "id": "lxc/106", "node": "pve2", "type": "lxc"},
]


class TestOwner:
    @pytest.mark.parametrize(
        ("ctid", "owner"), [(101, None), (105, "VM 105 on node pve2"), (106, "container 106 on node pve2")]
    )
    def test_who_else_has_the_id(self, ctid: int, owner: str | None) -> None:
        assert api_of({RESOURCES: [ROWS]})[0].owner_of(ctid) == owner

    def test_nobody(self) -> None:
        # 13: access/permissions of a path
        permissions = {"/vms/107": {"VM.Audit": 1, "VM.Allocate": 1}}
        api, _connection = api_of({RESOURCES: [ROWS], "GET access/permissions?path=/vms/107": [permissions]})
        assert api.owner_of(107) is None

    @pytest.mark.parametrize("permissions", [{"/vms/107": {}}, {}])
    def test_an_empty_list_that_means_missing_rights(self, permissions: dict[str, t.Any]) -> None:
        # 5: a token without ACL gets 200 and an empty list
        api, _connection = api_of({RESOURCES: [[]], "GET access/permissions?path=/vms/107": [permissions]})
        with pytest.raises(PhoenixError) as caught:
            api.owner_of(107)
        assert str(caught.value) == (
            "ctid: whether 107 is taken cannot be seen: the token root@pam!full lacks VM.Audit on /vms/107. Give it a "
            "role with VM.Audit on /vms (PVEAuditor, or PVEVMAdmin to change containers)."
        )
        assert caught.value.code is Code.INPUT


class TestPossible:
    def test_what_no_token_can_do_is_said_without_a_request(self) -> None:
        api, pve = api_of({})
        with pytest.raises(PhoenixError, match="configuring device passthrough is only allowed for root@pam"):
            api.check_possible({}, delete=["dev0"], current=GUEST)
        with pytest.raises(PhoenixError, match="cannot be set on an existing container"):
            api.check_possible({"unprivileged": "1"}, current=SnapshotConfig({}))
        api.check_possible({"memory": "512"}, current=GUEST)
        api.check_possible({"unprivileged": "1"}, creating=True)
        assert pve.asked == []

    def test_a_privileged_container_needs_a_right_on_everything(self) -> None:
        # 12: create unprivileged=0 as PVEVMAdmin: Permission check failed (/, Sys.Modify)
        api, _connection = api_of(
            {"GET access/permissions?path=/": [{"/": {"Sys.Audit": 1}}, {"/": {"Sys.Modify": 1}}]}
        )
        with pytest.raises(PhoenixError) as caught:
            api.check_possible({"unprivileged": "0"}, creating=True)
        assert str(caught.value) == (
            "unprivileged: the token root@pam!full may not create privileged containers: it lacks Sys.Modify on /. "
            "Give it a role with Sys.Modify on /, create the container unprivileged, or run the task on the node as "
            "root without the api_* options."
        )
        assert caught.value.code is Code.INPUT
        api.check_possible({"unprivileged": "0"}, creating=True)


STORAGES = [
    {"storage": "local", "type": "dir", "content": "vztmpl,iso"},
    {"storage": "local-zfs", "type": "zfspool", "content": "images,rootdir"},
]
TEMPLATE = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"
PLACE: dict[str, list[t.Any]] = {
    f"GET {NODE}/storage": [STORAGES],
    f"GET {NODE}/network?type=any_bridge": [[{"iface": "vmbr0", "type": "bridge"}]],
    f"GET {NODE}/storage/local/content?content=vztmpl": [[{"volid": TEMPLATE}]],
}


class TestPlace:
    def test_what_is_there_is_fine(self) -> None:
        api_of(PLACE)[0].check_place(storages=["local-zfs"], bridges=["vmbr0"], ostemplate=TEMPLATE)

    def test_nothing_asked_is_nothing_looked_up(self) -> None:
        api, pve = api_of({})
        api.check_place(storages=[], bridges=[], ostemplate=None)
        api.check_place(storages=[], bridges=[], ostemplate="/var/lib/vz/template/cache/x.tar.zst")
        assert pve.asked == []

    @pytest.mark.parametrize(
        ("storages", "bridges", "ostemplate", "message"),
        [
            (
                ["nostore"],
                [],
                None,
                (
                    "storage: 'nostore' is no storage of node pve1, or the token may not see it. Use one of local, "
                    "local-zfs, or give the token Datastore.AllocateSpace on /storage/nostore."
                ),
            ),
            (
                ["local"],
                [],
                None,
                (
                    "storage: 'local' does not take containers. Allow it (pvesm set local --content rootdir,...), or "
                    "use another storage."
                ),
            ),
            (
                [],
                ["nobr"],
                None,
                "bridge: 'nobr' is no bridge of node pve1, or the token may not see it. Use one of vmbr0.",
            ),
            (
                [],
                [],
                "local:vztmpl/nope.tar.zst",
                (
                    "ostemplate: 'local:vztmpl/nope.tar.zst' is not there. Download it (pveam download local ...), or "
                    f"use one of {TEMPLATE}."
                ),
            ),
        ],
    )
    def test_what_is_not_there(
        self, storages: list[str], bridges: list[str], ostemplate: str | None, message: str
    ) -> None:
        with pytest.raises(PhoenixError) as caught:
            api_of(PLACE)[0].check_place(storages=storages, bridges=bridges, ostemplate=ostemplate)
        assert str(caught.value) == message
        assert caught.value.code is Code.INPUT

    @pytest.mark.parametrize("answer", [[], refused(403, "Permission check failed (/storage/local, Datastore.Audit)")])
    def test_lists_that_the_token_may_not_see_leave_it_to_pve(self, answer: t.Any) -> None:
        api, _connection = api_of({key: [answer] for key in PLACE})
        api.check_place(storages=["nostore"], bridges=["nobr"], ostemplate=TEMPLATE)

    def test_a_template_on_a_storage_that_is_not_there(self) -> None:
        gone = refused(500, "storage 'nostore' does not exist")
        api, _connection = api_of({f"GET {NODE}/storage/nostore/content?content=vztmpl": [gone]})
        with pytest.raises(ApiError, match="storage 'nostore' does not exist") as caught:
            api.check_place(storages=[], bridges=[], ostemplate="nostore:vztmpl/x.tar.zst")
        assert caught.value.code is Code.INPUT


class TestRequests:
    """What is sent, and that its task is waited for: sections 8, 9, 10, 12, 13, 14, 16."""

    @pytest.mark.parametrize(
        ("call", "request_", "kind", "params"),
        [
            pytest.param(
                lambda api: api.create(160, TEMPLATE, {"rootfs": "local-zfs:1", "unprivileged": "1"}, timeout=60),
                f"POST {NODE}/lxc", "vzcreate",
                {"vmid": 160, "ostemplate": TEMPLATE, "rootfs": "local-zfs:1", "unprivileged": "1"},
                id="8: create",
            ),
            pytest.param(
                lambda api: api.create(160, TEMPLATE, {}, ssh_public_keys=["ssh-rsa A", "ssh-rsa B"], timeout=60),
                f"POST {NODE}/lxc", "vzcreate",
                {"vmid": 160, "ostemplate": TEMPLATE, "ssh-public-keys": "ssh-rsa A\nssh-rsa B"},
                id="8: create with keys",
            ),
            pytest.param(
                lambda api: api.clone(
                    160, 161, snapshot="clean", full=True, hostname="cl1", storage="local-zfs", timeout=60
                ),
                f"POST {CT}/clone", "vzclone",
                {"newid": 161, "full": 1, "snapname": "clean", "hostname": "cl1", "storage": "local-zfs"},
                id="13: clone from a snapshot",
            ),
            pytest.param(
                lambda api: api.clone(160, 161, snapshot=None, full=False, hostname=None, storage=None, timeout=60),
                f"POST {CT}/clone", "vzclone", {"newid": 161, "full": 0}, id="13: linked clone",
            ),
            pytest.param(
                lambda api: api.resize(160, "rootfs", "+1G", timeout=60), f"PUT {CT}/resize", "resize",
                {"disk": "rootfs", "size": "+1G"}, id="10: resize",
            ),
            pytest.param(
                lambda api: api.start(160, timeout=60), f"POST {CT}/status/start", "vzstart", {}, id="14: start",
            ),
            pytest.param(lambda api: api.stop(160, timeout=60), f"POST {CT}/status/stop", "vzstop", {}, id="14: stop"),
            pytest.param(
                lambda api: api.shutdown(160, timeout=60.5), f"POST {CT}/status/shutdown", "vzshutdown",
                {"timeout": 60}, id="14: shutdown",
            ),
            pytest.param(
                lambda api: api.shutdown(160, timeout=0.5), f"POST {CT}/status/shutdown", "vzshutdown",
                {"timeout": 1}, id="14: shutdown at once",
            ),
            pytest.param(
                lambda api: api.snapshot(160, "s1", "first\nline2", timeout=60), f"POST {CT}/snapshot", "vzsnapshot",
                {"snapname": "s1", "description": "first\nline2"}, id="16: snapshot",
            ),
            pytest.param(
                lambda api: api.delete_snapshot(160, "s1", timeout=60), f"DELETE {CT}/snapshot/s1", "vzdelsnapshot",
                {}, id="16: delete a snapshot, never by force",
            ),
            pytest.param(
                lambda api: api.rollback(160, "s1", timeout=60), f"POST {CT}/snapshot/s1/rollback", "vzrollback", {},
                id="16: rollback, never with start=1",
            ),
        ],
    )  # fmt: skip
    def test_one_request_and_its_task(
        self, call: t.Callable[[Api], t.Any], request_: str, kind: str, params: dict[str, t.Any]
    ) -> None:
        api, pve = api_of({request_: [upid(kind)], **done(kind)})
        assert call(api) == []
        assert pve.sent == [params]
        assert pve.asked == [request_, f"GET {NODE}/tasks/{upid(kind)}/status"]

    def test_the_start_of_nothing_fails_in_its_task(self) -> None:
        # 14: POST status/start of 999 answers 200
        missing = "Configuration file 'nodes/pve1/lxc/160.conf' does not exist"
        api, _connection = api_of(
            {
                f"POST {CT}/status/start": [upid("vzstart")],
                f"GET {CT}/status/current": [MISSING],
                **done("vzstart", exitstatus=missing),
            }
        )
        with pytest.raises(PhoenixError) as caught:
            api.start(160, timeout=60)
        assert caught.value.reason == missing
        assert caught.value.code is Code.NO_CONTAINER

    @pytest.mark.parametrize(
        ("call", "request_", "answer", "now"),
        [
            pytest.param(
                lambda api: api.start(160, timeout=9), f"POST {CT}/status/start",
                refused(500, "CT 160 already running"), "running", id="14: start when running",
            ),
            pytest.param(
                lambda api: api.stop(160, timeout=9), f"POST {CT}/status/stop",
                refused(500, "CT 160 not running"), "stopped", id="14: stop when stopped",
            ),
            pytest.param(
                lambda api: api.shutdown(160, timeout=9), f"POST {CT}/status/shutdown",
                refused(500, "CT 160 not running"), "stopped", id="14: shutdown when stopped",
            ),
            pytest.param(
                lambda api: api.start(160, timeout=9), f"POST {CT}/status/start",
                requests.exceptions.ReadTimeout("read timeout=30"), "running", id="the answer was lost",
            ),
        ],
    )  # fmt: skip
    def test_power_that_is_already_what_was_asked_for(
        self, call: t.Callable[[Api], t.Any], request_: str, answer: Exception, now: str
    ) -> None:
        api, pve = api_of({request_: [answer], f"GET {CT}/status/current": [{"status": now}]})
        assert call(api) == []
        assert len(pve.writes) == 1

    def test_a_container_that_is_not_there_is_not_a_stopped_one(self) -> None:
        # 14: stop of 999: CT 999 not running
        answers = {
            f"POST {CT}/status/stop": [refused(500, "CT 160 not running")],
            f"GET {CT}/status/current": [MISSING],
        }
        with pytest.raises(ApiError) as caught:
            api_of(answers)[0].stop(160, timeout=9)
        assert caught.value.reason == "Configuration file 'nodes/pve1/lxc/160.conf' does not exist"
        assert caught.value.code is Code.NO_CONTAINER

    def test_a_power_state_that_cannot_be_read_afterwards(self) -> None:
        gone = refused(595, "Connection refused")
        answers = {f"POST {CT}/status/start": [refused(500, "no quorum")], f"GET {CT}/status/current": [gone]}
        with pytest.raises(ApiError, match="no quorum"):
            api_of(answers)[0].start(160, timeout=9)

    @pytest.mark.parametrize(
        ("call", "request_", "kind", "text", "code"),
        [
            pytest.param(
                lambda api: api.snapshot(160, "s1", "", timeout=9), f"POST {CT}/snapshot", "vzsnapshot",
                "snapshot name 's1' already used", Code.SNAPSHOT, id="16: name used",
            ),
            pytest.param(
                lambda api: api.rollback(160, "s1", timeout=9), f"POST {CT}/snapshot/s1/rollback", "vzrollback",
                "can't rollback, 's1' is not most recent snapshot on 'local-zfs:subvol-160-disk-1'", Code.SNAPSHOT,
                id="16: not the newest",
            ),
            pytest.param(
                lambda api: api.delete_snapshot(160, "s1", timeout=9), f"DELETE {CT}/snapshot/s1", "vzdelsnapshot",
                "dataset is busy", Code.SNAPSHOT, id="an unknown failure of a snapshot",
            ),
            pytest.param(
                lambda api: api.start(160, timeout=9), f"POST {CT}/status/start", "vzstart", "dataset is busy",
                Code.POWER, id="an unknown failure of a start",
            ),
            pytest.param(
                lambda api: api.stop(160, timeout=9), f"POST {CT}/status/stop", "vzstop", "dataset is busy",
                Code.POWER, id="an unknown failure of a stop",
            ),
            pytest.param(
                lambda api: api.shutdown(160, timeout=9), f"POST {CT}/status/shutdown", "vzshutdown",
                "dataset is busy", Code.POWER, id="an unknown failure of a shutdown",
            ),
            pytest.param(
                lambda api: api.create(160, TEMPLATE, {}, timeout=9), f"POST {NODE}/lxc", "vzcreate",
                "CT is locked (create)", Code.GENERAL, id="a creation is not repeated",
            ),
            pytest.param(
                lambda api: api.clone(160, 161, snapshot=None, full=True, hostname=None, storage=None, timeout=9),
                f"POST {CT}/clone", "vzclone", "CT is locked (disk)", Code.GENERAL, id="a clone is not repeated",
            ),
        ],
    )  # fmt: skip
    def test_a_task_that_fails(
        self, call: t.Callable[[Api], t.Any], request_: str, kind: str, text: str, code: Code
    ) -> None:
        unchanged = {"status": "stopped" if kind == "vzstart" else "running"}
        api, pve = api_of(
            {
                request_: [upid(kind)],
                f"GET {CT}/status/current": [unchanged],
                **done(kind, exitstatus=text),
            }
        )
        with pytest.raises(TaskError) as caught:
            call(api)
        assert caught.value.reason == text
        assert caught.value.code is code
        assert len(pve.writes) == 1

    def test_a_shutdown_gets_as_long_as_it_was_told_and_time_to_answer(self) -> None:
        clock = FakeClock()
        running = {f"GET {NODE}/tasks/{upid('vzshutdown')}/status": [{"status": "running"}]}
        api, _connection = api_of({f"POST {CT}/status/shutdown": [upid("vzshutdown")], **running}, clock)
        with pytest.raises(PhoenixError, match="vzshutdown of 160 was not done after 90 s; the task goes on"):
            api.shutdown(160, timeout=60)
        assert clock.elapsed == pytest.approx(90)

    def test_two_clones_of_one_source_wait_for_each_other(self) -> None:
        # 13: the second one is refused at once with CT is locked (disk), the lock is the source's
        api, pve = api_of(
            {
                f"POST {CT}/clone": [refused(500, "CT is locked (disk)"), upid("vzclone")],
                f"GET {CT}/config?current=1": [{"lock": "disk"}, {}],
                **done("vzclone"),
            }
        )
        assert api.clone(160, 161, snapshot=None, full=True, hostname=None, storage=None, timeout=60) == []
        assert len(pve.writes) == 2

    def test_an_id_that_a_failed_creation_still_holds_is_not_tried_again(self) -> None:
        # 8: retry at once got CT 151 already exists
        api, pve = api_of({f"POST {NODE}/lxc": [refused(500, "CT 160 already exists on node 'pve1'")]})
        with pytest.raises(ApiError, match="CT 160 already exists"):
            api.create(160, TEMPLATE, {}, timeout=60)
        assert len(pve.writes) == 1


class TestSet:
    def test_keys_to_set_and_to_delete_go_in_one_request(self) -> None:
        # 9 and 15: PUT config answers at once, without a task
        api, pve = api_of({f"PUT {CT}/config": [None]})
        assert api.set(160, {"memory": "512"}, delete=["nameserver", "onboot"], digest="afc7", timeout=60) == []
        assert pve.sent == [{"memory": "512", "delete": "nameserver,onboot", "digest": "afc7"}]

    def test_nothing_to_set_is_nothing_to_send(self) -> None:
        # 9: PUT without options: no options specified
        api, pve = api_of({})
        assert api.set(160, {}, timeout=60) == []
        assert pve.asked == []

    def test_a_digest_that_no_longer_fits(self) -> None:
        # 9: detected modified configuration
        text = "detected modified configuration - file changed by other user? Try again."
        api, _connection = api_of({f"PUT {CT}/config": [refused(500, text)]})
        with pytest.raises(ApiError) as caught:
            api.set(160, {"memory": "512"}, digest="70e9", timeout=60)
        assert caught.value.reason == text

    @pytest.mark.parametrize(
        ("answer", "warning"),
        [
            pytest.param(
                refused(500, "Device /dev/gone does not exist"),
                "PVE wrote the change, although it answered: Device /dev/gone does not exist",
                id="api.md: a vanished device",
            ),
            pytest.param(
                requests.exceptions.ReadTimeout("read timeout=30"),
                "PVE wrote the change, although it answered: api_host: pve1:8006 did not answer within 30 s",
                id="api.md: PUT was applied after the client's timeout",
            ),
        ],
    )
    def test_a_change_that_was_written_all_the_same(self, answer: Exception, warning: str) -> None:
        api, _connection = api_of({f"PUT {CT}/config": [answer], f"GET {CT}/config": [CONFIG]})
        wishes = {
            "memory": "600",
            "description": "d",
            "features": "keyctl=1,nesting=1",
            "net0": "name=eth0,bridge=vmbr0,ip=10.10.10.101/24,gw=10.10.10.1",
        }
        assert api.set(160, wishes, delete=["nameserver"], timeout=60) == [warning]

    @pytest.mark.parametrize(
        ("options", "delete"),
        [
            ({"memory": "512"}, []),
            ({"nameserver": "1.1.1.1"}, []),
            ({"features": "nesting=1"}, []),
            ({"net0": "name=eth0,bridge=vmbr0"}, []),
            ({}, ["swap"]),
        ],
    )
    def test_a_change_that_cannot_be_found(self, options: dict[str, str], delete: list[str]) -> None:
        answer = refused(500, "Device /dev/gone does not exist")
        api, _connection = api_of({f"PUT {CT}/config": [answer], f"GET {CT}/config": [CONFIG]})
        with pytest.raises(PhoenixError) as caught:
            api.set(160, options, delete=delete, timeout=60)
        assert str(caught.value) == (
            "Device /dev/gone does not exist. Read again, the configuration does not show the change. Bring the "
            "device back on the node, or take the devN entry out with a task that runs on the node as root."
        )

    def test_a_server_that_is_gone_for_the_second_look_too(self) -> None:
        gone = requests.exceptions.ReadTimeout("read timeout=30")
        api, _connection = api_of(
            {f"PUT {CT}/config": [gone], f"GET {CT}/config": [refused(595, "Connection refused")]}
        )
        with pytest.raises(PhoenixError) as caught:
            api.set(160, {"memory": "512"}, timeout=60)
        assert str(caught.value) == (
            "api_host: pve1:8006 did not answer within 30 s. Read again, the configuration does not show the change. "
            "The server may still be doing it: look at the container and its tasks before running again."
        )

    def test_a_post_without_an_answer_is_reported_and_not_repeated(self) -> None:
        api, pve = api_of({f"POST {CT}/snapshot": [requests.exceptions.ReadTimeout("read timeout=30")]})
        with pytest.raises(ApiError) as caught:
            api.snapshot(160, "s1", "", timeout=60)
        assert caught.value.outcome_unknown
        assert pve.asked == [f"POST {CT}/snapshot"]


QUORUM = "GET cluster/status"
# 1: cluster/status of a node without a cluster
ALONE = {"name": "pve1", "ip": "10.0.2.15", "id": "node/pve1", "nodeid": 0, "online": 1, "local": 1, "type": "node"}


MEMBERS = "GET cluster/config/nodes"
CLUSTER = {"type": "cluster", "name": "c", "nodes": 2}


class TestDestroy:
    @pytest.mark.parametrize(
        "answers",
        [
            pytest.param({QUORUM: [[ALONE]], MEMBERS: [[]]}, id="a node without a cluster"),
            pytest.param({QUORUM: [[{**CLUSTER, "quorate": 1}, ALONE]]}, id="a cluster with quorum"),
        ],
    )
    def test_the_quorum_is_asked_for_first(self, answers: dict[str, list[t.Any]]) -> None:
        # 12: DELETE with purge=1
        api, pve = api_of({**answers, f"DELETE {CT}": [upid("vzdestroy")], **done("vzdestroy")})
        assert api.destroy(160, timeout=60) == []
        assert pve.asked[0] == QUORUM
        assert pve.writes == [f"DELETE {CT}"]
        assert pve.sent == [{"purge": 1}]

    @pytest.mark.parametrize(
        "answers",
        [
            pytest.param({QUORUM: [[{**CLUSTER, "quorate": 0}, ALONE]]}, id="quorate:0"),
            pytest.param({QUORUM: [[ALONE]], MEMBERS: [[{"node": "pve1"}, {"node": "pve2"}]]}, id="corosync is down"),
        ],
    )
    def test_without_quorum_nothing_is_destroyed(self, answers: dict[str, list[t.Any]]) -> None:
        # api.md Concurrency: the task fails AFTER destroying the volume; the entry is absent when corosync is down
        api, pve = api_of(answers)
        with pytest.raises(PhoenixError) as caught:
            api.destroy(160, timeout=60)
        assert str(caught.value) == (
            "ctid: 160 was not destroyed: the cluster of node pve1 has no quorum. Bring the other nodes back (pvecm "
            "status), then run again: without quorum PVE would destroy the volumes and keep the configuration."
        )
        assert pve.writes == []

    def test_a_quorum_that_cannot_be_seen_is_none(self) -> None:
        api, pve = api_of({QUORUM: [refused(403, "Permission check failed (/, Sys.Audit)")]})
        with pytest.raises(PhoenixError) as caught:
            api.destroy(160, timeout=60)
        assert str(caught.value) == (
            "Permission check failed (/, Sys.Audit). Nothing is destroyed before it is known that the cluster has "
            "quorum. Give the token root@pam!full Sys.Audit on / (pveum acl modify / --tokens 'root@pam!full' --roles "
            "ROLE). With privilege separation a token has only what was given to itself."
        )
        assert pve.writes == []

    def test_a_running_container(self) -> None:
        # 15: DELETE of a running container
        answer = refused(500, "unable to destroy CT 160 - container is running")
        api, _connection = api_of({QUORUM: [[ALONE]], MEMBERS: [[]], f"DELETE {CT}": [answer]})
        with pytest.raises(ApiError) as caught:
            api.destroy(160, timeout=60)
        assert caught.value.code is Code.POWER


FEATURE = f"GET {CT}/feature?feature=snapshot"
TAKE_OUT = "Take bind and device mount points out, and use a storage that can snapshot (ZFS, LVM-thin, Ceph, btrfs)."


class TestSnapshots:
    def test_no_obstacle(self) -> None:
        # 1: feature?feature=snapshot
        assert api_of({FEATURE: [{"hasFeature": 1}]})[0].snapshot_obstacle(GUEST) is None

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            (
                {"rootfs": "local-zfs:subvol-160-disk-1", "mp0": "/mnt/b,mp=/b", "mp1": "/dev/sdb1,mp=/c"},
                "ctid: 160: the snapshot feature is not available: bind or device mounts (mp0, mp1). " + TAKE_OUT,
            ),
            (
                {"rootfs": "local:160/vm-160-disk-0.raw"},
                "ctid: 160: the snapshot feature is not available: a volume lies on a storage without it. " + TAKE_OUT,
            ),
        ],
    )
    def test_why_it_cannot_be_snapshotted(self, config: dict[str, str], message: str) -> None:
        guest = dataclasses.replace(GUEST, config=config)
        obstacle = api_of({FEATURE: [{"hasFeature": 0}]})[0].snapshot_obstacle(guest)
        assert str(obstacle) == message
        assert obstacle is not None
        assert obstacle.code is Code.SNAPSHOT

    def test_a_template(self) -> None:
        # pct-transcripts 6: you can't take a snapshot if it's a template
        obstacle = api_of({})[0].snapshot_obstacle(dataclasses.replace(GUEST, config={"template": "1"}))
        assert str(obstacle) == (
            "ctid: 160 is a PVE template, and templates cannot be snapshotted. Take the snapshot of an ordinary "
            "container."
        )

    def test_dependents_cannot_be_seen(self) -> None:
        assert api_of({})[0].dependents(GUEST, "s1") == []

    @pytest.mark.parametrize(
        ("config", "answer", "expected"),
        [
            (GUEST.config, STORAGES, True),
            ({"rootfs": "local:160/vm-160-disk-0.raw", "hostname": "local-zfs:x"}, STORAGES, False),
            (GUEST.config, refused(403, "Permission check failed"), False),
        ],
    )
    def test_zfs_goes_back_to_the_newest_only(self, config: dict[str, str], answer: t.Any, expected: bool) -> None:
        api, _connection = api_of({f"GET {NODE}/storage": [answer]})
        assert api.newest_only_rollback(dataclasses.replace(GUEST, config=config)) is expected


ACTIVE = f"GET {NODE}/tasks?source=active"
HALF_MADE = dataclasses.replace(GUEST, config={"lock": "create"})


class TestInterrupted:
    @pytest.mark.parametrize("guest", [None, GUEST, dataclasses.replace(GUEST, config={"lock": "backup"})])
    def test_there_is_nothing_half_made(self, guest: Guest | None) -> None:
        assert api_of({})[0].interrupted(160, guest) == ""

    def test_a_creation_that_still_runs_is_left_to_itself(self) -> None:
        active = [{"upid": upid("vzstart", 101)}, {"upid": upid("vzcreate")}]
        assert api_of({ACTIVE: [active]})[0].interrupted(160, HALF_MADE) == ""

    def test_a_clone_is_known_by_its_log(self) -> None:
        # 13: the clone's task bears the source's id; its log begins with both
        lines = [{"n": 1, "t": "creating a clone of container 101 with ID 160"}]
        log = f"GET {NODE}/tasks/{upid('vzclone', 101)}/log?start=0&limit=500"
        assert api_of({ACTIVE: [[{"upid": upid("vzclone", 101)}]], log: [lines]})[0].interrupted(160, HALF_MADE) == ""

    def test_nothing_is_removed_that_could_be_somebody_elses(self) -> None:
        lines = [{"n": 1, "t": "creating a clone of container 160 with ID 161"}]
        log = f"GET {NODE}/tasks/{upid('vzclone', 160)}/log?start=0&limit=500"
        api, pve = api_of({ACTIVE: [[{"upid": upid("vzclone", 160)}]], log: [lines]})
        with pytest.raises(PhoenixError) as caught:
            api.interrupted(160, HALF_MADE)
        assert str(caught.value) == (
            "ctid: 160 is half made (lock: create), and no running task that makes it can be seen. Look at the task "
            "list of node pve1 (tasks of others are seen with Sys.Audit on /nodes/pve1 only). If none is at work, "
            "remove it on the node: pct unlock 160, then pct destroy 160 --purge."
        )
        assert pve.writes == []

    def test_no_notes_are_kept(self) -> None:
        api, pve = api_of({})
        api.clear(160)
        api.finished(160)
        assert pve.asked == []

    def test_a_lock_is_waited_for(self) -> None:
        api, pve = api_of({f"GET {CT}/config?current=1": [{"lock": "create"}, {}]})
        api.wait_unlocked(160, timeout=60)
        assert len(pve.asked) == 2


class TestInside:
    def test_addresses_without_loopback_and_link_local(self) -> None:
        # 14: GET interfaces, with addresses on eth0
        interfaces = [
            {
                "name": "lo", "inet": "127.0.0.1/8", "inet6": "::1/128",
                "ip-addresses": [
                    {"ip-address": "127.0.0.1", "ip-address-type": "inet", "prefix": "8"},
                    {"ip-address": "::1", "ip-address-type": "inet6", "prefix": "128"},
                ],
            },
            {
                "name": "eth0", "hwaddr": "bc:24:11:3d:9c:70",
                "ip-addresses": [
                    {"ip-address": "10.10.10.101", "ip-address-type": "inet", "prefix": "24"},
                    {"ip-address": "fe80::be24:11ff:fe3d:9c70", "ip-address-type": "inet6", "prefix": "64"},
                ],
            },
        ]  # fmt: skip
        assert api_of({f"GET {CT}/interfaces": [interfaces]})[0].addresses(160) == ["10.10.10.101"]

    @pytest.mark.parametrize("answer", [[{"hwaddr": "bc:24:11:3d:9c:70", "name": "eth0", "ip-addresses": []}], None])
    def test_no_address_yet(self, answer: t.Any) -> None:
        # 14: GET interfaces right after the start
        assert api_of({f"GET {CT}/interfaces": [answer]})[0].addresses(160) == []

    @pytest.mark.parametrize(
        "call",
        [Api.check_inside, lambda api: api.booted(160), lambda api: api.resolves(160)],
        ids=["check_inside", "booted", "resolves"],
    )
    def test_nothing_can_be_run_inside(self, call: t.Callable[[Api], t.Any]) -> None:
        # api.md Token limits: no exec endpoint for containers
        with pytest.raises(PhoenixError) as caught:
            call(api_of({})[0])
        assert str(caught.value) == (
            "wait: 'booted' and 'network' need the node: the API runs no command inside a container. Use wait: "
            "running, or leave the api_* options out and run the task on the node as root."
        )
        assert caught.value.code is Code.INPUT
