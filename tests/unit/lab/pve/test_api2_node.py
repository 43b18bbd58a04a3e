# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab.pve.api2 import cluster, network, nodes, storage, version
from lab.pve.api_call import Router, call, merge
from lab.pve.exceptions import NotImplementedHere, ParameterError, PermissionDenied, PVEError
from lab.pve.rest_environment import RestEnvironment
from lab.pve.rest_handler import Method
from lab.pve.simulated import SimulatedSystem

ROUTER = Router((*version.METHODS, *nodes.METHODS, *network.METHODS, *storage.METHODS, *cluster.METHODS))
STORAGES = """\
dir: local
	path /var/lib/vz
	content vztmpl

zfspool: local-zfs
	pool rpool/data
	mountpoint /rpool/data
"""
USERS = """\
user:sees@pve:1:0::::::
user:blind@pve:1:0::::::
acl:1:/storage/local:sees@pve:PVEDatastoreUser:
acl:1:/sdn/zones/localnetwork/vmbr1:sees@pve:PVESDNUser:
acl:1:/nodes:sees@pve:PVEAuditor:
acl:1:/vms/100:sees@pve:PVEAuditor:
"""


@pytest.fixture
def system(tmp_path: Path) -> SimulatedSystem:
    system = SimulatedSystem(tmp_path)
    system.prepare(STORAGES, bridges=("vmbr0", "vmbr1"))
    (tmp_path / "etc/pve/user.cfg").write_text(USERS, encoding="utf-8")
    (tmp_path / "var/lib/vz/template/cache").mkdir(parents=True)
    (tmp_path / "rpool/data").mkdir(parents=True)
    (tmp_path / "var/lib/vz/template/cache/debian.tar.zst").write_bytes(b"123")
    return system


def ask(system: SimulatedSystem, path: str, user: str = "root@pam", **sent: str) -> Any:
    method, parameters = ROUTER.find("GET", path)
    return call(RestEnvironment(system, "pub", user), method, merge(parameters, sent))


def test_version_is_the_recorded_one(system: SimulatedSystem) -> None:
    # api-transcripts 1
    recorded = {"repoid": "14a22df35955d97d", "release": "9.2", "version": "9.2.11"}
    assert ask(system, "/version") == ask(system, "/nodes/pve1/version") == recorded


def test_a_node_without_pvestatd_is_unknown(system: SimulatedSystem) -> None:
    # api-transcripts 1
    assert ask(system, "/nodes") == [{"id": "node/pve1", "node": "pve1", "type": "node", "status": "unknown"}]


def test_a_node_that_reports(system: SimulatedSystem, tmp_path: Path) -> None:
    (tmp_path / "proc/uptime").write_text("123.45 99.0\n", encoding="ascii")
    meminfo = "MemTotal: 1000 kB\nMemAvailable: 400 kB\nSwapTotal: 10 kB\nSwapFree: 10 kB\n"
    (tmp_path / "proc/meminfo").write_text(meminfo, encoding="ascii")
    (row,) = ask(system, "/nodes", "sees@pve")
    assert (row["status"], row["uptime"], row["mem"], row["maxmem"]) == ("online", 123, 600 * 1024, 1000 * 1024)
    (row,) = ask(system, "/nodes", "blind@pve")
    assert row == {"id": "node/pve1", "node": "pve1", "type": "node", "status": "online"}
    status = ask(system, "/nodes/pve1/status", "sees@pve")
    assert status["pveversion"] == "pve-manager/9.2.11/14a22df35955d97d"
    assert status["swap"] == {"total": 10240, "used": 0, "free": 10240}
    with pytest.raises(PermissionDenied, match=r"\(/nodes/pve1, Sys.Audit\)"):
        ask(system, "/nodes/pve1/status", "blind@pve")


def test_another_node_has_no_address(system: SimulatedSystem) -> None:
    # api-transcripts 2
    with pytest.raises(PVEError) as error:
        ask(system, "/nodes/nope/version")
    assert error.value.message == (
        "hostname lookup 'nope' failed - failed to get address info for: nope: Temporary failure in name resolution"
    )


def test_bridges_are_those_that_the_caller_may_use(system: SimulatedSystem, tmp_path: Path) -> None:
    (tmp_path / "sys/class/net/eth0").mkdir()
    (tmp_path / "sys/class/net/veth900i0").mkdir()
    (tmp_path / "etc/network").mkdir(parents=True)
    (tmp_path / "etc/network/interfaces").write_text(
        "auto lo\niface lo inet loopback\n\nauto vmbr0\niface vmbr0 inet static\n\taddress 10.99.0.10/24\n"
        "\tgateway 10.99.0.1\n\tbridge-ports eth0\n# vmbr9\niface vmbr9 inet manual\n\tbridge-ports none\n",
        encoding="utf-8",
    )
    names = [row["iface"] for row in ask(system, "/nodes/pve1/network")]
    assert names == ["eth0", "vmbr0", "vmbr1", "vmbr9"]
    assert [row["iface"] for row in ask(system, "/nodes/pve1/network", type="any_bridge")] == [
        "vmbr0",
        "vmbr1",
        "vmbr9",
    ]
    assert [row["iface"] for row in ask(system, "/nodes/pve1/network", "sees@pve", type="any_bridge")] == ["vmbr1"]
    assert [row["iface"] for row in ask(system, "/nodes/pve1/network", type="eth")] == ["eth0"]
    shown = ask(system, "/nodes/pve1/network/vmbr0")
    assert (shown["cidr"], shown["gateway"], shown["autostart"], shown["active"]) == (
        "10.99.0.10/24",
        "10.99.0.1",
        1,
        1,
    )
    with pytest.raises(ParameterError):
        ask(system, "/nodes/pve1/network/vmbr7")
    with pytest.raises(ParameterError):
        ask(system, "/nodes/pve1/network", type="bogus")


def test_storages_are_those_that_the_caller_may_see(system: SimulatedSystem) -> None:
    rows = {row["storage"]: row for row in ask(system, "/nodes/pve1/storage")}
    assert set(rows) == {"local", "local-zfs"}
    assert rows["local"]["content"] == "vztmpl"
    assert rows["local-zfs"]["content"] == "images,rootdir"
    assert (rows["local"]["active"], rows["local"]["enabled"], rows["local"]["shared"]) == (1, 1, 0)
    assert rows["local"]["used"] <= rows["local"]["total"]
    assert [row["storage"] for row in ask(system, "/nodes/pve1/storage", "sees@pve")] == ["local"]
    assert ask(system, "/nodes/pve1/storage", "blind@pve") == []
    assert [row["storage"] for row in ask(system, "/nodes/pve1/storage", content="rootdir")] == ["local-zfs"]
    assert [row["storage"] for row in ask(system, "/nodes/pve1/storage", storage="local", enabled="1")] == ["local"]
    assert ask(system, "/nodes/pve1/storage/local/status")["type"] == "dir"
    assert ask(system, "/storage", "sees@pve") == [
        {"storage": "local", "type": "dir", "path": "/var/lib/vz", "content": "vztmpl"}
    ]
    with pytest.raises(PermissionDenied, match=r"\(/storage/local-zfs, Datastore.Audit|Datastore.AllocateSpace\)"):
        ask(system, "/nodes/pve1/storage/local-zfs/content", "sees@pve")
    with pytest.raises(PVEError, match="storage 'nostore' does not exist"):
        ask(system, "/nodes/pve1/storage", storage="nostore")


def test_content(system: SimulatedSystem) -> None:
    (row,) = ask(system, "/nodes/pve1/storage/local/content", "sees@pve", content="vztmpl")
    assert (row["volid"], row["size"], row["content"]) == ("local:vztmpl/debian.tar.zst", 3, "vztmpl")
    assert ask(system, "/nodes/pve1/storage/local-zfs/content") == []


def test_indexes(system: SimulatedSystem) -> None:
    assert ask(system, "/") == [{"subdir": name} for name in ("access", "cluster", "nodes", "version")]
    assert {"name": "lxc"} in ask(system, "/nodes/pve1")


# The cluster


@pytest.fixture
def guests(system: SimulatedSystem) -> SimulatedSystem:
    for vmid, name in ((100, "base"), (102, "other")):
        system.path(f"etc/pve/nodes/pve1/lxc/{vmid}.conf").write_text(
            f"arch: amd64\ncores: 1\nhostname: {name}\nmemory: 512\nostype: debian\n"
            f"rootfs: local-zfs:subvol-{vmid}-disk-0,size=2G\nswap: 0\ntags: x\n",
            encoding="utf-8",
        )
    return system


def test_resources_are_what_the_caller_may_see(guests: SimulatedSystem) -> None:
    everything = ask(guests, "/cluster/resources")
    assert sorted(row["id"] for row in everything) == [
        "lxc/100",
        "lxc/102",
        "node/pve1",
        "sdn/pve1/localnetwork",
        "storage/pve1/local",
        "storage/pve1/local-zfs",
    ]
    (row,) = ask(guests, "/cluster/resources", "sees@pve", type="vm")
    # api-transcripts 1
    assert row == {
        "id": "lxc/100",
        "vmid": 100,
        "name": "base",
        "node": "pve1",
        "type": "lxc",
        "status": "stopped",
        "tags": "x",
        "template": 0,
        "maxcpu": 1,
        "maxmem": 536870912,
        "maxdisk": 2147483648,
        "memhost": 0,
        **dict.fromkeys("cpu disk diskread diskwrite mem netin netout uptime".split(), 0),
    }
    assert ask(guests, "/cluster/resources", "blind@pve", type="vm") == []
    assert [row["id"] for row in ask(guests, "/cluster/resources", type="node")] == ["node/pve1"]
    assert ask(guests, "/cluster/resources", "blind@pve", type="sdn") == []
    with pytest.raises(ParameterError) as error:
        ask(guests, "/cluster/resources", type="bogus")
    assert error.value.errors == {
        "type": "value 'bogus' does not have a value in the enumeration 'vm, storage, node, sdn'"
    }


def test_the_next_free_id(guests: SimulatedSystem) -> None:
    assert ask(guests, "/cluster/nextid") == "101"
    assert ask(guests, "/cluster/nextid", vmid="500") == "500"
    with pytest.raises(ParameterError) as error:
        ask(guests, "/cluster/nextid", vmid="102")
    assert error.value.errors == {"vmid": "VM 102 already exists"}


def test_a_node_without_a_cluster(guests: SimulatedSystem, tmp_path: Path) -> None:
    (tmp_path / "etc/hosts").write_text("127.0.0.1 localhost pve1\n10.99.0.10 pve1.lab pve1 # us\n", encoding="utf-8")
    assert ask(guests, "/cluster/status") == [
        {
            "id": "node/pve1",
            "type": "node",
            "name": "pve1",
            "nodeid": 0,
            "ip": "10.99.0.10",
            "local": 1,
            "online": 1,
            "level": "",
        }
    ]
    assert ask(guests, "/cluster/config/nodes") == []
    with pytest.raises(PermissionDenied, match=r"\(/, Sys\.Audit\)"):
        ask(guests, "/cluster/status", "sees@pve")


def test_tasks_of_others_need_a_right(guests: SimulatedSystem) -> None:
    upid = RestEnvironment(guests, "cli", "root@pam!full").fork_worker("vzstart", "100", lambda _upid: None)
    (row,) = ask(guests, "/cluster/tasks", "sees@pve")
    assert (row["upid"], row["user"], row["tokenid"]) == (upid, "root@pam", "full")
    assert (row["status"], row["saved"], row["id"], row["type"]) == ("OK", "1", "100", "vzstart")
    assert ask(guests, "/cluster/tasks", "blind@pve") == []


# The way from a path to a method.


def _method(verb: str, path: str, **more: Any) -> Method:
    return Method("m", verb, path, {"a": {"type": "string", "optional": 1}}, lambda _env, sent: sent, **more)


def test_a_fixed_name_counts_before_a_variable() -> None:
    fixed, variable = _method("GET", "/x/fixed"), _method("GET", "/x/{a}")
    router = Router([variable, fixed])
    assert router.find("GET", "/x/fixed") == (fixed, {})
    assert router.find("GET", "/x/other/") == (variable, {"a": "other"})
    assert router.children("/x") == ["fixed", "{a}"]
    assert router.verbs("/x/other") == {"GET"}
    assert router.verbs("/y") == set()
    for verb, path in (("POST", "/x/fixed"), ("GET", "/x"), ("GET", "/x/a/b"), ("GET", "/y")):
        with pytest.raises(NotImplementedHere) as error:
            router.find(verb, path)
        assert error.value.message == f"Method '{verb} {path}' not implemented"
    with pytest.raises(NotImplementedHere):
        router.children("/y")


def test_a_parameter_of_the_path_cannot_be_sent_again() -> None:
    with pytest.raises(ParameterError) as error:
        merge({"node": "pve1"}, {"node": "pve2"})
    assert error.value.errors == {"node": "duplicate parameter (already defined in URI)"}


def test_rights_come_before_the_parameters(system: SimulatedSystem) -> None:
    method = _method("GET", "/x/{a}", permissions=("perm", "/vms/{a}", ["VM.Audit"]))
    with pytest.raises(PermissionDenied, match="/vms/1"):
        call(RestEnvironment(system, "pub", "blind@pve"), method, {"a": "1", "b": "2"})
    with pytest.raises(ParameterError):
        call(RestEnvironment(system, "pub", "root@pam"), method, {"a": "1", "b": "2"})
    assert json.dumps(call(RestEnvironment(system, "pub", "root@pam"), method, {"a": "1"})) == '{"a": "1"}'
