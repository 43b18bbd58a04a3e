# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import importlib.util
import json
import sys
import traceback
import typing as t
from pathlib import Path

import pytest
import requests
import yaml
from ansible_collections.phoenix.hypervisor.plugins.doc_fragments.api import ModuleDocFragment
from ansible_collections.phoenix.hypervisor.plugins.module_utils import _api_client
from ansible_collections.phoenix.hypervisor.plugins.module_utils._api import Api, connect
from ansible_collections.phoenix.hypervisor.plugins.module_utils._api_client import ApiError, Connection, explain
from ansible_collections.phoenix.hypervisor.plugins.module_utils._arguments import API_ARGUMENTS
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.api_server import (
    Answer,
    ApiServer,
    FakePve,
    make_certificates,
    refused,
    serving,
)
from proxmoxer import ProxmoxAPI

SECRET = "12345678-0000-4000-8000-0000000000ff"

# api-transcripts 1: GET /nodes/pve1/lxc/101/config?current=1
CONFIG_101 = Answer(
    body='{"data":{"features":"nesting=1,keyctl=1","tags":"ai;gpu","arch":"amd64","mp0":"local-zfs:subvol-101-disk-1,'
    'mp=/data,size=1G","description":"# managed by ansible\\nkey: value 100%\\n\\ntail \\\\ ä\\n","cores":1,'
    '"unprivileged":1,"net0":"name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:14:19:9F,ip=10.10.10.101/24,'
    'type=veth","lxc":[["lxc.cgroup2.devices.allow","c 195:* rwm"],["lxc.mount.entry","/dev/nvidiactl dev/nvidiactl '
    'none bind,optional,create=file"],["lxc.mount.entry","/dev/nvidia-uvm dev/nvidia-uvm none bind,optional,'
    'create=file"]],"nameserver":"1.1.1.1","dev0":"path=/dev/nvidia0,mode=0666","onboot":0,"parent":"clean",'
    '"ostype":"debian","rootfs":"local-zfs:subvol-101-disk-0,size=2G","hostname":"gpu1","memory":1024,"swap":0,'
    '"digest":"fb4d4bb053dcb132d69c1c444f9ebb37ed93df8d"}}'
)
# api-transcripts 1: GET /nodes/pve1/lxc/101/pending, shortened to what differs from the configuration: nothing
PENDING_101 = Answer(
    body='{"data":[{"key":"rootfs","value":"local-zfs:subvol-101-disk-0,size=2G"},{"value":0,"key":"swap"},'
    '{"value":"fb4d4bb053dcb132d69c1c444f9ebb37ed93df8d","key":"digest"},{"key":"memory","value":1024}]}'
)
# api-transcripts 1: GET /nodes/pve1/lxc/101/status/current
STATUS_101 = Answer(
    body='{"data":{"disk":0,"cpus":1,"name":"gpu1","maxmem":1073741824,"uptime":0,"netout":0,"maxdisk":2147483648,'
    '"status":"stopped","type":"lxc","tags":"ai;gpu","maxswap":0,"swap":0,"mem":0,"ha":{"managed":0},"netin":0,'
    '"vmid":101,"diskwrite":0,"cpu":0,"diskread":0}}'
)
# api-transcripts 1: GET /nodes/pve1/lxc/101/snapshot
SNAPSHOTS_101 = Answer(
    body='{"data":[{"name":"clean","description":"golden state\\n","snaptime":1795166186},{"name":"current",'
    '"description":"You are here!","parent":"clean","running":0,"digest":"fb4d4bb053dcb132d69c1c444f9ebb37ed93df8d"}]}'
)


@pytest.fixture(scope="module", name="certificates")
def _certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def arguments(server: ApiServer | None = None, **changed: t.Any) -> dict[str, t.Any]:
    return {
        "api_host": "127.0.0.1",
        "api_port": server.port if server else 8006,
        "api_user": "root@pam",
        "api_token_id": "full",
        "api_token_secret": SECRET,
        "validate_certs": True,
        "ca_path": None,
        "node": "pve1",
        **changed,
    }


def failure(api: Api, ctid: int = 101) -> ApiError:
    with pytest.raises(ApiError) as caught:
        api.read(ctid)
    return caught.value


def test_a_container_is_read_over_one_kept_tls_session(certificates: tuple[Path, Path]) -> None:
    ca_path, node = certificates
    config = "/nodes/pve1/lxc/101"
    answers = {
        f"GET {config}/config?current=1": [CONFIG_101],
        f"GET {config}/pending": [PENDING_101],
        f"GET {config}/status/current": [STATUS_101],
        f"GET {config}/snapshot": [SNAPSHOTS_101],
    }
    with serving(answers, node) as server:
        guest = connect(arguments(server, ca_path=str(ca_path))).read(101)
    assert guest is not None
    assert guest.config["memory"] == "1024"
    assert guest.config["unprivileged"] == "1"
    assert guest.config["description"] == "# managed by ansible\nkey: value 100%\n\ntail \\ ä\n"
    assert "digest" not in guest.config
    assert guest.raw[1] == ("lxc.mount.entry", "/dev/nvidiactl dev/nvidiactl none bind,optional,create=file")
    assert guest.digest == "fb4d4bb053dcb132d69c1c444f9ebb37ed93df8d"
    assert not guest.running
    assert list(guest.snapshots) == ["clean"]
    assert server.connections == 1
    assert {request.authorization for request in server.requests} == {f"PVEAPIToken=root@pam!full={SECRET}"}


def test_a_change_is_sent_as_a_form_with_numbers_for_booleans(certificates: tuple[Path, Path]) -> None:
    ca_path, node = certificates
    # api-transcripts 13: clone from a snapshot
    upid = "UPID:pve1:000009C7:000274BF:6B00166A:vzclone:101:root@pam!full:"
    status = Answer(body=f'{{"data":{{"upid":"{upid}","status":"stopped","exitstatus":"OK"}}}}')
    answers = {
        "POST /nodes/pve1/lxc/101/clone": [Answer(body=f'{{"data":"{upid}"}}')],
        f"GET /nodes/pve1/tasks/{upid}/status": [status],
        # api-transcripts 9: a description of two lines that is not ASCII
        "PUT /nodes/pve1/lxc/150/config": [Answer(body='{"data":null}')],
        # the snapshot's name is part of the path
        "DELETE /nodes/pve1/lxc/150/snapshot/a%2Fb%3F": [
            Answer(500, "snapshot 'a/b?' does not exist", '{"data":null}')
        ],
    }
    with serving(answers, node) as server:
        api = connect(arguments(server, ca_path=str(ca_path)))
        api.clone(101, 160, snapshot="clean", full=True, hostname="cl1", storage=None, timeout=60)
        api.set(150, {"description": "zwei\nZeilen ä %", "onboot": "1"}, delete=["nameserver", "tags"], timeout=60)
        with pytest.raises(ApiError, match="snapshot 'a/b\\?' does not exist"):
            api.delete_snapshot(150, "a/b?", timeout=60)
    assert server.requests[0].form == {"newid": "160", "full": "1", "snapname": "clean", "hostname": "cl1"}
    assert server.requests[2].form == {
        "description": "zwei\nZeilen ä %",
        "onboot": "1",
        "delete": "nameserver,tags",
    }


NO_RIGHTS = (
    "Give the token root@pam!full VM.Audit on /vms/101 (pveum acl modify /vms/101 --tokens 'root@pam!full' "
    "--roles ROLE). With privilege separation a token has only what was given to itself."
)
WRONG_TOKEN = (
    "The token root@pam!full does not exist, its secret is another one, or it or its user has expired or is disabled. "
    "Check api_user (user@realm), api_token_id (what follows the !) and api_token_secret; PVE gives this answer 3 s "
    "late on purpose."
)
CORRECT_IT = "Correct that value: PVE refused the request before doing anything."
PVE_SAYS = "These are PVE's own words; the node's journal (journalctl -u pvedaemon) may say more."


@pytest.mark.parametrize(
    ("answer", "code", "reason", "remedy"),
    [
        pytest.param(
            Answer(401, "Authentication failed!"), Code.INPUT, "Authentication failed!", WRONG_TOKEN,
            id="3: wrong secret, unknown, expired or disabled token; empty body",
        ),
        pytest.param(Answer(401, "No ticket"), Code.INPUT, "No ticket", WRONG_TOKEN, id="3: no ticket"),
        pytest.param(
            Answer(
                403,
                "Permission check failed (/vms/101, VM.Audit)",
                '{"data":null,"message":"Permission check failed (/vms/101, VM.Audit)\\n"}',
            ),
            Code.INPUT, "Permission check failed (/vms/101, VM.Audit)", NO_RIGHTS,
            id="5: a token without rights",
        ),
        pytest.param(
            Answer(
                400,
                "Parameter verification failed.",
                '{"errors":{"vmid":"invalid format - value does not look like a valid VM ID\\n"},"data":null,'
                '"message":"Parameter verification failed.\\n"}',
            ),
            Code.INPUT, "vmid: invalid format - value does not look like a valid VM ID", CORRECT_IT,
            id="2: an error map",
        ),
        pytest.param(
            Answer(
                400,
                "Parameter verification failed.",
                '{"errors":{"net0":"invalid format - format error\\nnet0.name: property is missing and it is not '
                'optional\\n","cores":"value must have a minimum value of 1"},"data":null}',
            ),
            Code.INPUT,
            "cores: value must have a minimum value of 1; net0: invalid format - format error, net0.name: property "
            "is missing and it is not optional",
            CORRECT_IT,
            id="8/9: several keys, one with lines",
        ),
        pytest.param(
            Answer(
                500,
                "format error",
                '{"errors":{"volume":"property is missing and it is not optional"},"data":null,'
                '"message":"format error\\n"}',
            ),
            Code.GENERAL, "format error: volume: property is missing and it is not optional", PVE_SAYS,
            id="10: the odd 500 with an error map",
        ),
        pytest.param(
            Answer(
                500,
                "hostname lookup 'nope' failed - failed to get address info for: nope: Temporary failure in name "
                "resolution",
                '{"data":null}',
            ),
            Code.INPUT,
            "hostname lookup 'nope' failed - failed to get address info for: nope: Temporary failure in name "
            "resolution",
            "node: give the name that PVE itself uses for the node (pvesh get /nodes).",
            id="2: no such node",
        ),
        pytest.param(
            Answer(501, "Method 'GET /nosuch' not implemented", '{"data":null}'),
            Code.GENERAL, "Method 'GET /nosuch' not implemented",
            "127.0.0.1:PORT does not know this request: is it a Proxmox VE node, and a recent one?",
            id="2: unknown path",
        ),
        pytest.param(
            Answer(595, "Connection refused"), Code.GENERAL, "Connection refused",
            "127.0.0.1:PORT answers, but what it passes requests on to does not: see to pvedaemon and the node.",
            id="api.md Concurrency: pvedaemon down, empty body",
        ),
        pytest.param(
            Answer(500, "kein Platz für ä", '{"data":null}'), Code.GENERAL, "kein Platz für ä", PVE_SAYS,
            id="UTF-8 in the status line",
        ),
        pytest.param(Answer(502, "", "<html>"), Code.GENERAL, "HTTP status 502", PVE_SAYS, id="a reverse proxy"),
        pytest.param(
            Answer(body="<html>sign in</html>", content_type="text/html"), Code.INPUT,
            "api_host: 127.0.0.1:PORT did not answer like the Proxmox VE API",
            "Check that api_host and api_port lead to pveproxy and not to a portal or another service.",
            id="a portal",
        ),
        pytest.param(
            Answer(body='{"ok":true}'), Code.INPUT, "api_host: 127.0.0.1:PORT did not answer like the Proxmox VE API",
            "Check that api_host and api_port lead to pveproxy and not to a portal or another service.",
            id="JSON of another service",
        ),
        pytest.param(
            Answer(dropped=True), Code.GENERAL, "api_host: 127.0.0.1:PORT ended the connection without an answer",
            "See whether pveproxy was restarted on the node, then run again.",
            id="connection dropped while reading",
        ),
    ],
)  # fmt: skip
def test_every_refusal_says_what_pve_said_and_what_to_do(
    certificates: tuple[Path, Path], answer: Answer, code: Code, reason: str, remedy: str
) -> None:
    ca_path, node = certificates
    with serving({"GET /nodes/pve1/lxc/101/config?current=1": [answer]}, node) as server:
        error = failure(connect(arguments(server, ca_path=str(ca_path))))
    port = str(server.port)
    assert error.reason == reason.replace("PORT", port)
    assert error.remedy == remedy.replace("PORT", port)
    assert error.code is code
    assert error.details["api_request"] == "GET /nodes/pve1/lxc/101/config"
    assert not error.outcome_unknown
    assert SECRET not in json.dumps(error.as_result())


# api-transcripts 3: self-signed CA; closed port
TLS_REMEDY = (
    "Set ca_path to the certificate of the cluster's CA (/etc/pve/pve-root-ca.pem on every node), and api_host to a "
    "name or address that the node's certificate carries."
)


def test_a_certificate_of_an_unknown_authority_is_refused(certificates: tuple[Path, Path]) -> None:
    with serving({}, certificates[1]) as server:
        error = failure(connect(arguments(server)))
    assert error.reason == (
        f"api_host: 127.0.0.1:{server.port} cannot be trusted: unable to get local issuer certificate"
    )
    assert error.remedy == TLS_REMEDY
    assert error.code is Code.INPUT
    assert error.unreachable
    assert server.requests == []


def test_a_name_that_the_certificate_does_not_carry_is_refused(certificates: tuple[Path, Path]) -> None:
    ca_path, node = certificates
    with serving({}, node) as server:
        error = failure(connect(arguments(server, api_host="localhost", ca_path=str(ca_path))))
    assert error.reason == (
        f"api_host: localhost:{server.port} cannot be trusted: Hostname mismatch, certificate is not valid for "
        "'localhost'."
    )
    assert error.remedy == TLS_REMEDY


def test_a_port_without_tls_is_refused() -> None:
    with serving({}, None) as server:
        error = failure(connect(arguments(server)))
    assert error.reason == (
        f"api_host: 127.0.0.1:{server.port} cannot be trusted: there is no TLS, or no certificate that can be checked"
    )
    assert server.requests == []


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_laboratory_can_do_without_the_check(certificates: tuple[Path, Path]) -> None:
    missing = "Configuration file 'nodes/pve1/lxc/999.conf' does not exist"
    answers = {"GET /nodes/pve1/lxc/999/config?current=1": [Answer(500, missing, '{"data":null}')]}
    with serving(answers, certificates[1]) as server:
        assert connect(arguments(server, validate_certs=False, ca_path="/nowhere")).read(999) is None


def test_a_closed_port_is_named(certificates: tuple[Path, Path]) -> None:
    with serving({}, certificates[1]) as server:
        port = server.port
    error = failure(connect(arguments(api_port=port)))
    assert error.reason == f"api_host: 127.0.0.1:{port} cannot be reached: Connection refused"
    assert error.remedy == "Check api_host and api_port, the network in between, and that pveproxy runs on the node."
    assert error.unreachable
    assert not error.outcome_unknown


MAYBE = "The server may still be doing it: look at the container and its tasks before running again."


@pytest.mark.parametrize(
    ("method", "answer", "reason", "remedy"),
    [
        # api.md Concurrency: ReadTimeout while the server goes on
        ("put", Answer(delay=1.0), "did not answer within 30 s", MAYBE),
        ("get", Answer(delay=1.0), "did not answer within 30 s", "See what keeps the node busy, then run again."),
        ("put", Answer(dropped=True), "ended the connection without an answer", MAYBE),
    ],
    ids=["a change that takes too long", "a read that takes too long", "a change whose connection is dropped"],
)
def test_a_change_without_an_answer_may_still_be_happening(
    certificates: tuple[Path, Path], method: t.Any, answer: Answer, reason: str, remedy: str
) -> None:
    ca_path, node = certificates
    with serving({"PUT /version": [answer], "GET /version": [answer]}, node) as server:
        transport = ProxmoxAPI(
            f"127.0.0.1:{server.port}",
            user="root@pam",
            token_name="full",
            token_value=SECRET,
            verify_ssl=str(ca_path),
            timeout=0.3,
        )
        with pytest.raises(ApiError) as caught:
            Connection(transport, "pve1:8006", "root@pam!full").call(method, ("version",))
    assert caught.value.reason == f"api_host: pve1:8006 {reason}"
    assert caught.value.remedy == remedy
    assert caught.value.outcome_unknown is (method == "put")
    assert caught.value.unreachable


def test_nothing_shows_the_secret_even_when_the_library_quotes_the_header() -> None:
    quoting = requests.exceptions.InvalidHeader(
        f"return character in header value: 'PVEAPIToken=root@pam!full={SECRET}'"
    )
    connection = Connection(FakePve({"GET version": [quoting]}), "pve1:8006", "root@pam!full")
    with pytest.raises(ApiError) as caught:
        connection.call("get", ("version",))
    assert caught.value.reason == "api_host: the request to pve1:8006 failed (InvalidHeader)"
    assert caught.value.remedy == "Check api_host, api_port and ca_path."
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_proxy_that_lost_the_connection_later_leaves_the_outcome_open() -> None:
    lost = refused(596, "Connection timed out", {"errors": b""})
    with pytest.raises(ApiError) as caught:
        Connection(FakePve({"PUT version": [lost]}), "pve1:8006", "root@pam!full").call("put", ("version",))
    assert caught.value.reason == "Connection timed out"
    assert caught.value.outcome_unknown
    assert caught.value.unreachable


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(
            requests.exceptions.ConnectTimeout("connect timeout=30"),
            "api_host: pve1:8006 cannot be reached: no answer",
            id="connect timeout",
        ),
        pytest.param(
            requests.exceptions.ConnectionError(), "api_host: pve1:8006 ended the connection without an answer",
            id="a connection error that says nothing",
        ),
        pytest.param(
            AttributeError("'list' object has no attribute 'get'"),
            "api_host: pve1:8006 did not answer like the Proxmox VE API",
            id="a list for an error body",
        ),
    ],
)  # fmt: skip
def test_failures_that_a_server_cannot_play(error: Exception, reason: str) -> None:
    connection = Connection(FakePve({"GET version": [error]}), "pve1:8006", "root@pam!full")
    with pytest.raises(ApiError) as caught:
        connection.call("get", ("version",))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "phrase", ["no \u201croom\u201d", "no r\u00f6\u00f6m"], ids=["not Latin-1", "Latin-1 that is no UTF-8"]
)
def test_a_status_line_of_another_kind_is_left_as_it_is(phrase: str) -> None:
    connection = Connection(FakePve({"GET version": [refused(500, phrase)]}), "pve1:8006", "root@pam!full")
    with pytest.raises(ApiError) as caught:
        connection.call("get", ("version",))
    assert caught.value.reason == phrase


ROOT_ONLY = (
    "No API token may do this, not even one of root@pam: leave the api_* options out and run the task on the node as "
    "root."
)


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        pytest.param(
            "Permission check failed (configuring device passthrough is only allowed for root@pam)", ROOT_ONLY,
            id="11: devN",
        ),
        pytest.param(
            "Permission check failed (changing feature flags (except nesting) is only allowed for root@pam)", ROOT_ONLY,
            id="11: features",
        ),
        pytest.param(
            "Permission check failed (/vms/101, VM.Snapshot|VM.Snapshot.Rollback)",
            "Give the token bob@pve!tk VM.Snapshot or VM.Snapshot.Rollback on /vms/101 (pveum acl modify /vms/101 "
            "--tokens 'bob@pve!tk' --roles ROLE). With privilege separation a token has only what was given to itself.",
            id="5: alternatives",
        ),
        pytest.param(
            "Permission check failed",
            "The token bob@pve!tk lacks a privilege that PVE does not name. One that builds containers needs the roles "
            "PVEVMAdmin on /vms, PVEDatastoreUser on /storage and PVESDNUser on /sdn, and one that destroys them "
            "PVEAuditor on /.",
            id="5b: create without any right",
        ),
    ],
)  # fmt: skip
def test_a_missing_right_is_named_with_its_path(content: str, remedy: str) -> None:
    connection = Connection(FakePve({"PUT nodes": [refused(403, content)]}), "pve1:8006", "bob@pve!tk")
    with pytest.raises(ApiError) as caught:
        connection.call("put", ("nodes",))
    assert caught.value.reason == content
    assert caught.value.remedy == remedy
    assert caught.value.code is Code.INPUT


@pytest.mark.parametrize(
    ("text", "code", "remedy"),
    [
        pytest.param(
            "Configuration file 'nodes/pve1/lxc/999.conf' does not exist", Code.NO_CONTAINER,
            "Create it first (phoenix.hypervisor.lxc_container), or correct the id or the node.", id="2",
        ),
        pytest.param(
            "cluster not ready - no quorum?", Code.GENERAL,
            "The cluster has no quorum, PVE can write nothing: bring the other nodes back (pvecm status), then run "
            "again.", id="api.md quorum: create, clone, start",
        ),
        pytest.param(
            "unable to open file '/etc/pve/nodes/pve1/lxc/102.conf.tmp.4711' - Permission denied", Code.GENERAL,
            "The cluster has no quorum, PVE can write nothing: bring the other nodes back (pvecm status), then run "
            "again.", id="api.md quorum: PUT",
        ),
        pytest.param(
            "detected modified configuration - file changed by other user? Try again.", Code.GENERAL,
            "Somebody else changed the container since it was read: run the task again.", id="9: digest",
        ),
        pytest.param(
            "CT 151 already exists on node 'pve1'", Code.GENERAL,
            "Another run has just created it, or a creation that failed still holds the id for a moment: look at it "
            "first.", id="8: id taken",
        ),
        pytest.param(
            "storage 'nostore' does not exist", Code.INPUT,
            "Name a storage of that node (pvesm status lists them).", id="13: storage",
        ),
        pytest.param(
            "volume 'local:vztmpl/nope.tar.zst' does not exist", Code.INPUT,
            "Put the template there first (pveam download), or correct its name.", id="8: template missing",
        ),
        pytest.param(
            "Linked clone feature for 'local-zfs:subvol-101-disk-1' is not available", Code.INPUT,
            "Use a full clone: a linked one needs a PVE template as its source, or a storage that links from "
            "snapshots.", id="13: linked clone",
        ),
        pytest.param(
            "Full clone of a running container is only possible from a snapshot", Code.INPUT,
            "Clone from one of its snapshots, or stop the source first.", id="15: running source",
        ),
        pytest.param(
            "unable to shrink disk size", Code.INPUT,
            "Give a size above the present one: a volume can grow, never shrink.", id="10: shrink",
        ),
        pytest.param(
            "disk is already at specified size", Code.INPUT,
            "Give a size above the present one: a volume can grow, never shrink.", id="10: same size",
        ),
        pytest.param(
            "unable to modify read-only option: 'unprivileged'", Code.INPUT,
            "PVE sets it at creation only: destroy the container and create it anew, or leave the option as it is.",
            id="11: unprivileged",
        ),
        pytest.param(
            "Device /dev/gone does not exist", Code.INPUT,
            "Bring the device back on the node, or take the devN entry out with a task that runs on the node as root.",
            id="api.md: vanished device",
        ),
        pytest.param(
            "snapshot name 's1' already used", Code.SNAPSHOT,
            "Choose another name, or delete that snapshot first.", id="16: name used",
        ),
        pytest.param(
            "snapshot 'nosuch' does not exist", Code.SNAPSHOT, "Name a snapshot that the container has.",
            id="16: no such snapshot",
        ),
        pytest.param(
            "can't rollback, 's1' is not most recent snapshot on 'local-zfs:subvol-160-disk-1'", Code.SNAPSHOT,
            "ZFS goes back to the newest snapshot only: roll back to that one, or delete the newer ones first.",
            id="16: not the newest",
        ),
        pytest.param(
            "snapshot feature is not available", Code.SNAPSHOT,
            "Take bind and device mount points out, and use a storage that can snapshot (ZFS, LVM-thin, Ceph, btrfs).",
            id="pct-transcripts: no snapshot feature",
        ),
        pytest.param(
            "unable to use snapshot name 'current' (reserved name)", Code.SNAPSHOT,
            "Choose another name for the snapshot.", id="16: reserved name",
        ),
        pytest.param(
            "unable to destroy CT 160 - container is running", Code.POWER, "Stop the container first.",
            id="15: destroy while running",
        ),
        pytest.param(
            "CT 160 not running", Code.POWER, "It is stopped already, or it does not exist.", id="14: stop",
        ),
        pytest.param(
            "VM 160 not running", Code.POWER, "It is stopped already, or it does not exist.", id="14: reboot",
        ),
        pytest.param(
            "CT 160 already running", Code.POWER, "It runs already: there is nothing to start.", id="14: start",
        ),
        pytest.param(
            "command 'lxc-stop -n 104 --nokill --timeout 3' failed: exit code 1", Code.POWER,
            "It did not end in time: see inside what holds its shutdown up, raise the timeout, or stop it hard.",
            id="pct-transcripts 8: shutdown timed out",
        ),
        pytest.param(
            "startup for container '103' failed", Code.POWER,
            "The task's log lines below and the node's journal say why.", id="pct-transcripts 8: start failed",
        ),
        pytest.param("no options specified", Code.GENERAL, PVE_SAYS, id="anything else"),
    ],
)  # fmt: skip
def test_what_pve_says_leads_to_a_remedy(text: str, code: Code, remedy: str) -> None:
    assert explain(text, Code.GENERAL) == (code, remedy)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"api_host": None},
            (
                "api_host: is missing, and without it the API cannot be used. Give the name or address of a node, "
                "without https:// and without a port."
            ),
        ),
        (
            {"api_host": "https://pve1:8006"},
            (
                "api_host: 'https://pve1:8006' is not usable. Give the name or address of a node, without https:// and "
                "without a port."
            ),
        ),
        (
            {"api_user": "root"},
            "api_user: 'root' is not usable. Give the token's user with its realm, like root@pam.",
        ),
        (
            {"api_token_id": "root@pam!full"},
            (
                "api_token_id: 'root@pam!full' is not usable. Give the token's own name, which is what follows the ! "
                "(two characters or more)."
            ),
        ),
        (
            # api-transcripts 3b: a token name of one character
            {"api_token_id": "t"},
            (
                "api_token_id: 't' is not usable. Give the token's own name, which is what follows the ! (two "
                "characters or more)."
            ),
        ),
        (
            {"api_token_secret": "geheim nis"},
            "api_token_secret: is not usable. Give the token's secret, which PVE shows once, when the token is made.",
        ),
        (
            {"node": ""},
            (
                "node: is missing, and without it the API cannot be used. Give the name that PVE itself uses for the "
                "node (pvesh get /nodes)."
            ),
        ),
        (
            {"ca_path": "/nowhere/ca.pem"},
            "ca_path: '/nowhere/ca.pem' is no file. Copy /etc/pve/pve-root-ca.pem of a node to that place.",
        ),
    ],
)
def test_arguments_that_cannot_be_right_are_refused_before_anything_is_sent(
    changed: dict[str, t.Any], message: str
) -> None:
    with pytest.raises(PhoenixError) as caught:
        connect(arguments(**changed))
    assert str(caught.value) == message
    assert caught.value.code is Code.INPUT


@pytest.mark.parametrize("host", ["pve1", "pve1.example.org", "10.0.2.15", "fd00::15", "[fd00::15]"])
def test_hosts_of_every_kind_are_taken(host: str) -> None:
    assert connect(arguments(api_host=host)).node_name == "pve1"


def test_a_line_end_behind_the_secret_does_no_harm(certificates: tuple[Path, Path]) -> None:
    missing = "Configuration file 'nodes/pve1/lxc/999.conf' does not exist"
    answers = {"GET /nodes/pve1/lxc/999/config?current=1": [Answer(500, missing, '{"data":null}')]}
    with serving(answers, certificates[1]) as server:
        connect(arguments(server, ca_path=str(certificates[0]), api_token_secret=f"{SECRET}\n")).read(999)
    assert server.requests[0].authorization == f"PVEAPIToken=root@pam!full={SECRET}"


def test_without_proxmoxer_the_failure_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "proxmoxer", None)
    spec = importlib.util.spec_from_file_location("api_client_alone", _api_client.__file__)
    assert spec is not None
    assert spec.loader is not None
    alone = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "api_client_alone", alone)
    spec.loader.exec_module(alone)
    with pytest.raises(PhoenixError) as caught:
        alone.open_connection(arguments())
    assert "Failed to import the required Python library (proxmoxer)" in caught.value.reason
    assert caught.value.remedy == (
        "Install it where the task runs (python3-proxmoxer, or pip install proxmoxer requests), or leave the api_* "
        "options out and run the task on the node as root."
    )


def test_the_arguments_and_their_documentation_agree() -> None:
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    assert {key: (option["type"], option.get("default")) for key, option in documented.items()} == {
        key: (argument["type"], argument.get("default")) for key, argument in API_ARGUMENTS.items()
    }
    assert {key: argument["fallback"][1] for key, argument in API_ARGUMENTS.items() if "fallback" in argument} == {
        "api_host": ["PROXMOX_HOST"],
        "api_user": ["PROXMOX_USER"],
        "api_token_id": ["PROXMOX_TOKEN_ID"],
        "api_token_secret": ["PROXMOX_TOKEN_SECRET"],
    }
    assert API_ARGUMENTS["api_token_secret"]["no_log"] is True
