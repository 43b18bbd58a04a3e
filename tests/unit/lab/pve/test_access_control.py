# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.pve import access_control, authentication, user_config
from lab.pve.exceptions import PermissionDenied
from lab.pve.rest_environment import RestEnvironment
from lab.pve.rest_handler import Method
from lab.pve.roles import ALL_PRIVILEGES, BUILT_IN_ROLES
from lab.pve.simulated import SimulatedSystem

NOW = 1_800_000_000
SECRET = "00000000-0000-4000-8000-000000000010"
USERS = """\
user:root@pam:1:0::::::
token:root@pam!full:0:0::
token:root@pam!sep:0:1::
token:root@pam!x:0:0::
user:alice@pve:1:0:Alice::a@lab:comment%3A with colon::
token:alice@pve!own:0:0::
token:alice@pve!sep:0:1::
token:alice@pve!old:1799999999:0::
token:alice@pve!new:1800000001:0::
user:bob@pve:1:0::::::
user:off@pve:0:0::::::
token:off@pve!tk:0:0::
user:exp@pve:1:1::::::
token:exp@pve!tk:0:0::
nonsense
user:without-realm:1:0::::::

group:ops:bob@pve:The operators:

pool:lab:the lab:200,201:local-zfs:

role:Look:VM.Audit,No.Such:

acl:1:/vms:alice@pve:PVEVMAdmin:
acl:0:/vms/100:alice@pve:NoAccess:
acl:1:/vms/101:alice@pve:Look:
acl:0:/storage:alice@pve:PVEDatastoreAdmin:
acl:1:/vms/102:alice@pve!sep:PVEVMUser:
acl:1:/vms:@ops:Look:
acl:1:/pool/lab:bob@pve:PVEVMUser:
acl:1:/nodes:root@pam!sep:PVEAuditor:
acl:1:/vms:ghost@pve!tk:Look:
acl:1:/vms:bob@pve:NoSuchRole:
"""


@pytest.fixture
def system(tmp_path: Path) -> SimulatedSystem:
    system = SimulatedSystem(tmp_path, now=lambda: NOW)
    (tmp_path / "etc/pve/priv").mkdir(parents=True)
    (tmp_path / "etc/pve/user.cfg").write_text(USERS, encoding="utf-8")
    names = "root@pam!full root@pam!sep root@pam!x alice@pve!own alice@pve!old alice@pve!new off@pve!tk exp@pve!tk"
    lines = "".join(f"{name} {SECRET}\n" for name in names.split())
    (tmp_path / "etc/pve/priv/token.cfg").write_text(lines, encoding="utf-8")
    return system


def test_built_in_roles_are_those_of_pve_9() -> None:
    # api-transcripts 13: what a PVEVMAdmin may on a container.
    assert (
        sorted(BUILT_IN_ROLES["PVEVMAdmin"])
        == (
            "VM.Allocate VM.Audit VM.Backup VM.Clone VM.Config.CDROM VM.Config.CPU VM.Config.Cloudinit VM.Config.Disk "
            "VM.Config.HWType VM.Config.Memory VM.Config.Network VM.Config.Options VM.Console VM.GuestAgent.Audit "
            "VM.GuestAgent.FileRead VM.GuestAgent.FileSystemMgmt VM.GuestAgent.FileWrite VM.GuestAgent.Unrestricted "
            "VM.Migrate VM.PowerMgmt VM.Replicate VM.Snapshot VM.Snapshot.Rollback"
        ).split()
    )
    assert BUILT_IN_ROLES["PVESDNUser"] == {"SDN.Use", "SDN.Audit"}
    assert BUILT_IN_ROLES["PVEDatastoreUser"] == {"Datastore.AllocateSpace", "Datastore.Audit"}
    assert BUILT_IN_ROLES["NoAccess"] == frozenset()
    assert BUILT_IN_ROLES["Administrator"] == ALL_PRIVILEGES
    assert "Sys.Modify" not in BUILT_IN_ROLES["PVEAdmin"]


@pytest.mark.parametrize(
    ("user", "path", "privilege", "allowed"),
    [
        pytest.param("root@pam", "/", "Sys.Modify", True, id="root may everything"),
        pytest.param("root@pam!full", "/", "Sys.Modify", True, id="a token of root without privilege separation"),
        pytest.param("root@pam!sep", "/vms/100", "VM.Audit", False, id="a separated token has nothing by itself"),
        pytest.param("root@pam!sep", "/nodes/pve1", "Sys.Audit", True, id="… but what it was given"),
        pytest.param("alice@pve", "/vms", "VM.Allocate", True, id="on the path itself"),
        pytest.param("alice@pve", "/vms/999", "VM.Allocate", True, id="handed down"),
        pytest.param("alice@pve", "/vms/100", "VM.Audit", False, id="NoAccess further down"),
        pytest.param("alice@pve", "/vms/101", "VM.Audit", True, id="another role further down replaces"),
        pytest.param("alice@pve", "/vms/101", "VM.Allocate", False, id="… the one above"),
        pytest.param("alice@pve", "/storage", "Datastore.Allocate", True, id="not handed down: on the path itself"),
        pytest.param("alice@pve", "/storage/local", "Datastore.Audit", False, id="not handed down: not below"),
        pytest.param("alice@pve!own", "/vms/999", "VM.Allocate", True, id="a token without separation is its user"),
        pytest.param("alice@pve!sep", "/vms/102", "VM.PowerMgmt", True, id="a separated token: both have it"),
        pytest.param("alice@pve!sep", "/vms/102", "VM.Allocate", False, id="a separated token: only its user has it"),
        pytest.param("alice@pve!none", "/vms/102", "VM.Audit", False, id="no such token"),
        pytest.param("bob@pve", "/vms/300", "VM.Audit", True, id="through a group"),
        pytest.param("bob@pve", "/vms/200", "VM.PowerMgmt", True, id="through a pool"),
        pytest.param("bob@pve", "/vms/202", "VM.PowerMgmt", False, id="not in the pool"),
        pytest.param("bob@pve", "/storage/local-zfs", "VM.PowerMgmt", True, id="a storage in a pool"),
        pytest.param("nobody@pve", "/", "VM.Audit", False, id="no such user"),
    ],
)
def test_check(system: SimulatedSystem, user: str, path: str, privilege: str, allowed: bool) -> None:
    assert access_control.check(system, user, path, [privilege], noerr=True) is allowed


def test_check_says_what_is_missing(system: SimulatedSystem) -> None:
    with pytest.raises(PermissionDenied) as one:
        access_control.check(system, "bob@pve", "/vms/101", ["VM.Audit", "VM.Clone", "VM.Allocate"])
    assert one.value.message == "Permission check failed (/vms/101, VM.Clone)"
    with pytest.raises(PermissionDenied) as several:
        access_control.check(system, "bob@pve", "/vms/101", ["VM.Clone", "VM.Allocate"], any_of=True)
    assert several.value.message == "Permission check failed (/vms/101, VM.Clone|VM.Allocate)"
    assert access_control.check(system, "bob@pve", "/vms/101", ["VM.Clone", "VM.Audit"], any_of=True)


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        pytest.param(None, True, id="the code checks"),
        pytest.param(("user", "all"), True, id="all"),
        pytest.param(("perm", "/vms/{vmid}", ["VM.Audit"]), True, id="perm"),
        pytest.param(("perm", "/vms/{vmid}", ["VM.Clone"]), False, id="perm missing"),
        pytest.param(("perm", "/vms/{vmid}", ["VM.Clone", "VM.Audit"], "any"), True, id="any"),
        pytest.param(("or", ("perm", "/", ["VM.Audit"]), ("perm", "/vms/{vmid}", ["VM.Audit"])), True, id="or"),
        pytest.param(("or", ("perm", "/", ["VM.Audit"]), ("perm", "/", ["VM.Clone"])), False, id="or: none"),
        pytest.param(("and", ("user", "all"), ("perm", "/vms/{vmid}", ["VM.Clone"])), False, id="and"),
        pytest.param(("perm", "/vms/101", ["VM.Audit"], "require_param=vmid"), True, id="parameter given"),
        pytest.param(("perm", "/vms/101", ["VM.Audit"], "require_param=pool"), False, id="parameter not given"),
        pytest.param(("perm-modify",), False, id="perm-modify"),
        pytest.param(("userid-self",), True, id="oneself"),
    ],
)
def test_rules_of_methods(system: SimulatedSystem, rule: object, allowed: bool) -> None:
    method = Method("m", "GET", "/vms/{vmid}", {}, lambda _env, _parameters: None, permissions=rule)
    parameters = {"vmid": "101", "userid": "bob@pve", "path": "/vms/101"}
    if allowed:
        access_control.check_method(system, method, "bob@pve", parameters)
    else:
        with pytest.raises(PermissionDenied):
            access_control.check_method(system, method, "bob@pve", parameters)
    access_control.check_method(system, method, "root@pam", parameters)


def test_effective_permissions(system: SimulatedSystem) -> None:
    found = access_control.effective_permissions(user_config.load(system), "alice@pve")
    assert "/vms/100" not in found
    assert found["/vms/101"] == {"VM.Audit": True}
    assert found["/storage"]["Datastore.Audit"] is False


# The limits of tokens: api-transcripts 11 and 12.

_ONLY_ROOT = "is only allowed for root@pam)"


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        pytest.param({"new": {"memory": "512"}}, "", id="memory"),
        pytest.param({"new": {"dev0": "/dev/x"}}, "configuring device passthrough", id="a device"),
        pytest.param({"delete": ["dev3"]}, "configuring device passthrough", id="deleting a device"),
        pytest.param({"new": {"hookscript": "local:snippets/x"}}, "changing the hookscript", id="hookscript"),
        pytest.param({"new": {"mp1": "/srv,mp=/srv"}}, "mount point type bind", id="a bind mount"),
        pytest.param({"new": {"mp1": "volume=/dev/sda,mp=/x"}}, "mount point type device", id="a device mount"),
        pytest.param({"delete": ["mp1"]}, "", id="deleting a mount point"),
        pytest.param({"new": {"features": "nesting=0"}, "old": {"features": "nesting=1"}}, "", id="nesting"),
        pytest.param(
            {"new": {"features": "keyctl=1,nesting=0"}, "old": {"features": "nesting=1,keyctl=1"}},
            "",
            id="nesting beside unchanged keyctl",
        ),
        pytest.param(
            {"new": {"features": "nesting=1"}, "old": {"features": "nesting=1,keyctl=1"}},
            "changing feature flags (except nesting)",
            id="dropping keyctl",
        ),
        pytest.param(
            {"new": {"features": "nesting=1,fuse=1"}, "old": None},
            "changing feature flags (except nesting)",
            id="a flag at creation",
        ),
        pytest.param(
            {"delete": ["features"], "old": {"features": "nesting=1,keyctl=1"}},
            "changing feature flags (except nesting)",
            id="deleting flags",
        ),
        pytest.param({"delete": ["features"], "old": {"features": "nesting=1"}}, "", id="deleting nesting"),
        pytest.param(
            {"new": {"features": "nesting=1"}, "unprivileged": False},
            "changing feature flags for privileged container",
            id="privileged",
        ),
    ],
)
def test_limits_that_no_right_lifts(system: SimulatedSystem, change: dict[str, object], refusal: str) -> None:
    arguments = {"old": {}, "new": {}, "unprivileged": True, **change}
    administrator = RestEnvironment(system, "priv", "root@pam!full")
    if refusal:
        with pytest.raises(PermissionDenied) as error:
            access_control.check_ct_modify_config_perm(administrator, 101, **arguments)  # type: ignore[arg-type]
        assert error.value.message == f"Permission check failed ({refusal} {_ONLY_ROOT}"
    else:
        access_control.check_ct_modify_config_perm(administrator, 101, **arguments)  # type: ignore[arg-type]
    root = RestEnvironment(system, "priv", "root@pam")
    access_control.check_ct_modify_config_perm(root, 101, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("new", "missing"),
    [
        pytest.param({"cores": "2"}, "/vms/101, VM.Config.CPU", id="cores"),
        pytest.param({"swap": "2"}, "/vms/101, VM.Config.Memory", id="swap"),
        pytest.param({"hostname": "x"}, "/vms/101, VM.Config.Network", id="hostname"),
        pytest.param({"net0": "name=eth0,bridge=vmbr0"}, "/vms/101, VM.Config.Network", id="network"),
        pytest.param({"rootfs": "local-zfs:1"}, "/vms/101, VM.Config.Disk", id="disk"),
        pytest.param({"tags": "x"}, "/vms/101, VM.Config.Options", id="options"),
        pytest.param({"features": "nesting=1"}, "/vms/101, VM.Allocate", id="nesting"),
    ],
)
def test_options_need_their_privileges(system: SimulatedSystem, new: dict[str, str], missing: str) -> None:
    env = RestEnvironment(system, "priv", "bob@pve")
    with pytest.raises(PermissionDenied) as error:
        access_control.check_ct_modify_config_perm(env, 101, old={}, new=new, unprivileged=True)
    assert error.value.message == f"Permission check failed ({missing})"


@pytest.mark.parametrize(
    ("new", "missing"),
    [
        pytest.param({"net0": "name=eth0,bridge=vmbr0"}, "/sdn/zones/localnetwork/vmbr0, SDN.Use", id="bridge"),
        pytest.param({"net0": "name=eth0,bridge=vmbr0,tag=5"}, "/sdn/zones/localnetwork/vmbr0/5, SDN.Use", id="VLAN"),
        pytest.param({"mp0": "local-zfs:4,mp=/x"}, "/storage/local-zfs, Datastore.AllocateSpace", id="new volume"),
        pytest.param(
            {"mp0": "local-zfs:subvol-7-disk-0,mp=/x"}, "/storage/local-zfs, Datastore.Allocate", id="another's volume"
        ),
    ],
)
def test_networks_and_storages_have_their_own_rights(
    system: SimulatedSystem, new: dict[str, str], missing: str
) -> None:
    env = RestEnvironment(system, "priv", "alice@pve")
    with pytest.raises(PermissionDenied) as error:
        access_control.check_ct_modify_config_perm(env, 999, old={}, new=new, unprivileged=True)
    assert error.value.message == f"Permission check failed ({missing})"
    own = {"mp0": "local-zfs:subvol-999-disk-0,mp=/x"}
    access_control.check_ct_modify_config_perm(env, 999, old={}, new=own, unprivileged=True)


def test_a_right_on_a_vlan_lets_the_bridge_be_used(system: SimulatedSystem) -> None:
    config = user_config.load(system)
    acl = config.acl.setdefault("/sdn/zones/localnetwork/vmbr0/5", user_config.Acl())
    acl.users["alice@pve"] = {"PVESDNUser": True}
    user_config.save(system, config)
    access_control.check_bridge_access(RestEnvironment(system, "priv", "alice@pve"), "name=eth0,bridge=vmbr0")


# Logging in.


@pytest.mark.parametrize(
    ("token", "user"),
    [
        pytest.param(f"root@pam!full={SECRET}", "root@pam!full", id="right"),
        pytest.param(f"alice@pve!new={SECRET}", "alice@pve!new", id="expires later"),
        pytest.param("root@pam!full=00000000-0000-4000-8000-0000000000ff", None, id="wrong secret"),
        pytest.param("root@pam!full=", None, id="no secret"),
        pytest.param(f"root@pam!nosuch={SECRET}", None, id="no such token"),
        pytest.param(f"nobody@pam!tk={SECRET}", None, id="no such user"),
        pytest.param(f"root@pam!x={SECRET}", None, id="a name of one character is dropped"),
        pytest.param(f"alice@pve!old={SECRET}", None, id="expired"),
        pytest.param(f"off@pve!tk={SECRET}", None, id="user disabled"),
        pytest.param(f"exp@pve!tk={SECRET}", None, id="user expired"),
        pytest.param("garbage", None, id="malformed"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_tokens(system: SimulatedSystem, token: str, user: str | None) -> None:
    if user:
        assert authentication.verify_token(system, token) == user
    else:
        with pytest.raises(authentication.NotAuthenticated, match=r"^Authentication failed!$"):
            authentication.verify_token(system, token)


def test_tickets(system: SimulatedSystem) -> None:
    ticket = authentication.make_ticket(system, "root@pam")
    assert ticket.startswith(f"PVE:root@pam:{NOW:08X}::")
    assert authentication.verify_ticket(system, ticket) == "root@pam"
    csrf = authentication.make_csrf_token(system, "root@pam")
    authentication.verify_csrf_token(system, "root@pam", csrf)
    with pytest.raises(authentication.NotAuthenticated, match="invalid csrf token"):
        authentication.verify_csrf_token(system, "alice@pve", csrf)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda ticket: ticket.replace("root@pam", "bob@pve"), id="another user"),
        pytest.param(lambda ticket: ticket[:-1], id="another signature"),
        pytest.param(lambda ticket: ticket.partition("::")[0], id="no signature"),
        pytest.param(lambda ticket: f"x{ticket}", id="no ticket"),
    ],
)
def test_forged_tickets(system: SimulatedSystem, spoil: Callable[[str], str]) -> None:
    ticket = spoil(authentication.make_ticket(system, "root@pam"))
    with pytest.raises(authentication.NotAuthenticated, match="permission denied - invalid PVE ticket"):
        authentication.verify_ticket(system, ticket)


def test_tickets_end(system: SimulatedSystem, tmp_path: Path) -> None:
    ticket, csrf = authentication.make_ticket(system, "root@pam"), authentication.make_csrf_token(system, "root@pam")
    later = SimulatedSystem(tmp_path, now=lambda: NOW + authentication.TICKET_LIFETIME)
    with pytest.raises(authentication.NotAuthenticated):
        authentication.verify_ticket(later, ticket)
    with pytest.raises(authentication.NotAuthenticated):
        authentication.verify_csrf_token(later, "root@pam", csrf)


def test_a_disabled_user_has_no_ticket(system: SimulatedSystem) -> None:
    with pytest.raises(authentication.NotAuthenticated):
        authentication.verify_ticket(system, authentication.make_ticket(system, "off@pve"))


def test_passwords(system: SimulatedSystem, tmp_path: Path) -> None:
    stored = authentication.hash_password("secret of root", "$5$saltsalt")
    (tmp_path / "etc/shadow").write_text(f"daemon:*:1::::::\nroot:{stored}:1::::::\n", encoding="utf-8")
    authentication.check_password(system, "root@pam", "secret of root")
    authentication.set_password(system, "alice@pve", "secret of alice")
    authentication.set_password(system, "alice@pve", "new secret")
    authentication.check_password(system, "alice@pve", "new secret")
    for user, password in (
        ("root@pam", "wrong"),
        ("alice@pve", "secret of alice"),
        ("bob@pve", "no password was set"),
        ("off@pve", "x"),
        ("nobody@pam", "x"),
        ("daemon@pam", "*"),
    ):
        with pytest.raises(authentication.NotAuthenticated, match=r"^authentication failure$"):
            authentication.check_password(system, user, password)


# user.cfg


def test_what_pve_does_not_understand_is_left_out(system: SimulatedSystem) -> None:
    config = user_config.load(system)
    assert "without-realm" not in config.users
    assert "x" not in config.users["root@pam"].tokens
    assert config.roles["Look"] == {"VM.Audit"}
    assert "ghost@pve!tk" not in config.acl["/vms"].tokens
    assert "bob@pve" not in config.acl["/vms"].users


def test_the_file_survives_being_written_again(system: SimulatedSystem) -> None:
    config = user_config.load(system)
    user_config.save(system, config)
    assert user_config.load(system) == config
    text = system.path(user_config.USER_FILE).read_text(encoding="utf-8")
    assert "user:alice@pve:1:0:Alice::a@lab:comment%3A with colon::\n" in text
    assert "token:alice@pve!old:1799999999:0::\n" in text
    assert "group:ops:bob@pve:The operators:\n" in text
    assert "pool:lab:the lab:200,201:local-zfs:\n" in text
    assert "acl:0:/vms/100:alice@pve:NoAccess:\n" in text
    assert "role:Look:VM.Audit:\n" in text


def test_a_node_without_files_has_root_only(tmp_path: Path) -> None:
    system = SimulatedSystem(tmp_path)
    assert list(user_config.load(system).users) == ["root@pam"]
    assert user_config.load_tokens(system) == {}


@pytest.mark.parametrize(
    ("path", "normal"),
    [("/", "/"), ("", "/"), ("vms//100/", "/vms/100"), ("/vms", "/vms"), ("/vms/a b", None)],
)
def test_normalize_path(path: str, normal: str | None) -> None:
    assert user_config.normalize_path(path) == normal
