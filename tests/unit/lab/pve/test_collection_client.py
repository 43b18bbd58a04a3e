# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection's own API client against the stand-in of the API, on a simulated node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._api import Api, connect
from ansible_collections.phoenix.hypervisor.plugins.module_utils._api_client import ApiError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._api_task import TaskError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import Guest

from lab.contract.api_node import ApiNode
from lab.pve.http_server import CERTIFICATE

TEMPLATE = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"
OPTIONS = {
    "rootfs": "local-zfs:1",
    "hostname": "web",
    "memory": "256",
    "net0": "name=eth0,bridge=vmbr0,ip=10.10.10.150/24",
    "unprivileged": "1",
    "features": "nesting=1",
    "tags": "a;b",
    "description": "made by the client\nzwei ä",
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiNode]:
    node = ApiNode(tmp_path_factory.mktemp("node"))
    node.start()
    yield node
    node.stop()


def api_of(node: ApiNode, token: str, secret: str = "", name: str = "pve1") -> Api:
    user, _, token_name = token.partition("!")
    return connect(
        {
            "api_host": "127.0.0.1",
            "api_port": node.port,
            "api_user": user,
            "api_token_id": token_name,
            "api_token_secret": secret or node.secrets[token],
            "validate_certs": True,
            "ca_path": str(node.system.path(CERTIFICATE)),
            "node": name,
        }
    )


@pytest.fixture
def api(node: ApiNode) -> Api:
    return api_of(node, "auto@pve!tk")


@pytest.fixture
def root(node: ApiNode) -> Api:
    """The quorum, which is looked at before a container is destroyed, is not for everybody to see."""
    return api_of(node, "root@pam!full")


def read(api: Api, ctid: int) -> Guest:
    guest = api.read(ctid)
    assert guest is not None
    return guest


def test_the_life_of_a_container(api: Api, root: Api) -> None:
    assert api.read(150) is None
    assert api.owner_of(150) is None
    api.check_place(storages=["local-zfs"], bridges=["vmbr0"], ostemplate=TEMPLATE)
    api.check_possible(OPTIONS, creating=True)
    assert api.create(150, TEMPLATE, OPTIONS, timeout=60) == []
    made = read(api, 150)
    assert (made.running, made.config["hostname"], made.config["memory"]) == (False, "web", "256")
    assert made.config["rootfs"] == "local-zfs:subvol-150-disk-0,size=1G"
    assert api.owner_of(150) is None

    assert api.set(150, {"memory": "512"}, delete=["tags"], digest=made.digest, timeout=30) == []
    changed = read(api, 150)
    assert changed.config["memory"] == "512"
    assert "tags" not in changed.config
    with pytest.raises(ApiError, match="detected modified configuration"):
        api.set(150, {"memory": "300"}, digest=made.digest, timeout=30)

    assert api.resize(150, "rootfs", "+1G", timeout=30) == []
    assert read(api, 150).config["rootfs"] == "local-zfs:subvol-150-disk-0,size=2G"

    assert api.start(150, timeout=30) == []
    assert read(api, 150).running
    assert api.start(150, timeout=30) == []
    assert api.set(150, {"features": "nesting=0"}, timeout=30) == []
    assert read(api, 150).pending == {"features": "nesting=0"}

    assert api.snapshot_obstacle(read(api, 150)) is None
    assert api.snapshot(150, "before", "one\ntwo", timeout=30) == []
    assert read(api, 150).snapshots["before"].description.rstrip("\n") == "one\ntwo"
    with pytest.raises(TaskError, match="snapshot name 'before' already used"):
        api.snapshot(150, "before", "", timeout=30)
    assert api.set(150, {"memory": "600"}, timeout=30) == []
    assert api.rollback(150, "before", timeout=30) == []
    back = read(api, 150)
    assert (back.running, back.config["memory"]) == (False, "512")
    with pytest.raises(TaskError, match="snapshot 'nosuch' does not exist"):
        api.rollback(150, "nosuch", timeout=30)

    wishes = {"snapshot": "before", "full": True, "hostname": "copy", "storage": None}
    assert api.clone(150, 151, **wishes, timeout=60) == []
    assert read(api, 151).config["hostname"] == "copy"
    assert api.delete_snapshot(150, "before", timeout=30) == []
    assert read(api, 150).snapshots == {}

    assert api.start(151, timeout=30) == []
    with pytest.raises(ApiError, match="unable to destroy CT 151 - container is running"):
        root.destroy(151, timeout=30)
    assert api.shutdown(151, timeout=10) == []
    assert api.shutdown(151, timeout=10) == []
    assert api.start(151, timeout=30) == []
    assert api.stop(151, timeout=30) == []
    for ctid in (150, 151):
        assert root.destroy(ctid, timeout=30) == []
        assert api.read(ctid) is None


def test_what_a_token_may_not_do(api: Api) -> None:
    with pytest.raises(PhoenixError) as device:
        api.check_possible({"dev0": "/dev/nvidia0"}, creating=True)
    assert device.value.code is Code.INPUT
    with pytest.raises(PhoenixError, match=r"Sys\.Modify"):
        api.check_possible({"unprivileged": "0"}, creating=True)
    with pytest.raises(ApiError, match="configuring device passthrough is only allowed for root@pam"):
        api.set(102, {"dev0": "/dev/nvidia0"}, timeout=10)


def test_locks_are_waited_for(api: Api) -> None:
    with pytest.raises(PhoenixError, match=r"is locked \(snapshot-delete\) and was not freed"):
        api.set(100, {"memory": "600"}, timeout=1)


@pytest.mark.parametrize(
    ("token", "secret", "node_name", "text"),
    [
        pytest.param("root@pam!full", "wrong", "pve1", "Authentication failed!", id="secret"),
        pytest.param("exp@pve!tk", "", "pve1", "Authentication failed!", id="expired"),
        pytest.param("bob@pve!none", "", "pve1", r"Permission check failed \(/vms/101, VM.Audit\)", id="rights"),
        pytest.param("root@pam!full", "", "nope", "hostname lookup 'nope' failed", id="node"),
    ],
)
def test_who_is_refused(node: ApiNode, token: str, secret: str, node_name: str, text: str) -> None:
    with pytest.raises(ApiError, match=text) as error:
        api_of(node, token, secret, node_name).read(101)
    assert error.value.code is Code.INPUT
