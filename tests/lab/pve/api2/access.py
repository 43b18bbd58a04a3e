# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::API2::AccessControl: logging in, and who has which rights (ACLs, roles). Users and tokens: access_users.py.

from __future__ import annotations

from typing import Any

from .. import access_control, authentication, user_config
from ..environment import Environment
from ..exceptions import ParameterError, PermissionDenied, PVEError
from ..json_schema import parse_boolean
from ..rest_handler import Method, Parameters
from ..roles import ALL_PRIVILEGES, BUILT_IN_ROLES
from ..user_config import Acl, normalize_path, realm_of, split_list, split_token_id
from .access_users import METHODS as USER_METHODS
from .version import index

_ANYBODY = ("user", "all")
_NOBODY_YET = ("user", "world")
_BOOLEAN = {"type": "boolean", "optional": 1}
_TEXT = {"type": "string", "optional": 1}


def _ticket(env: Environment, parameters: Parameters) -> dict[str, Any]:
    user, password = str(parameters["username"]), str(parameters["password"])
    if realm_of(user) is None:
        user = f"{user}@{parameters.get('realm', 'pam')}"
    system = env.system
    if password.startswith("PVE:"):
        # A ticket that is still good is renewed.
        if authentication.verify_ticket(system, password) != user:
            raise authentication.NotAuthenticated("authentication failure")
    else:
        authentication.check_password(system, user, password)
    return {
        "username": user,
        "ticket": authentication.make_ticket(system, user),
        "CSRFPreventionToken": authentication.make_csrf_token(system, user),
        "cap": _capabilities(env, user),
    }


def _capabilities(env: Environment, user: str) -> dict[str, dict[str, int]]:
    """What the web interface may show: the privileges by the part of the tree that they count for."""
    config = user_config.load(env.system)
    parts: dict[str, tuple[str, ...]] = {
        "vms": ("VM.",),
        "access": ("User.", "Group."),
        "storage": ("Datastore.",),
        "nodes": ("Sys.",),
        "sdn": ("SDN.",),
        "mapping": ("Mapping.",),
    }
    result: dict[str, dict[str, int]] = {"dc": {}}
    for part, prefixes in parts.items():
        own = access_control.permissions(config, user, f"/{part}")
        result[part] = {name: 1 for name in own if name.startswith((*prefixes, "Permissions.Modify"))}
    on_top = access_control.permissions(config, user, "/")
    result["dc"] = {name: 1 for name in on_top if name.startswith(("Sys.Audit", "Sys.Modify", "SDN."))}
    return result


def _permissions(env: Environment, parameters: Parameters) -> dict[str, dict[str, int]]:
    config = user_config.load(env.system)
    user = str(parameters.get("userid") or env.user)
    own = user == env.user or (split_token_id(user) or ("",))[0] == env.user
    if not own and not env.check("/access", ["Sys.Audit"], noerr=True):
        raise PermissionDenied("/access, Sys.Audit")
    if wanted := parameters.get("path"):
        path = normalize_path(str(wanted))
        if path is None:
            raise ParameterError({"path": f"invalid ACL path '{wanted}'"})
        found = {path: access_control.permissions(config, user, path)}
    else:
        found = access_control.effective_permissions(config, user)
    return {path: {name: int(down) for name, down in sorted(privileges.items())} for path, privileges in found.items()}


def _roles(env: Environment, parameters: Parameters) -> list[dict[str, Any]]:
    del parameters
    return [
        {"roleid": name, "privs": ",".join(sorted(privileges)), "special": int(name in BUILT_IN_ROLES)}
        for name, privileges in sorted(user_config.load(env.system).roles.items())
    ]


def _role(env: Environment, parameters: Parameters) -> dict[str, int]:
    return dict.fromkeys(sorted(_known_role(env, str(parameters["roleid"]))), 1)


def _known_role(env: Environment, name: str) -> frozenset[str]:
    roles = user_config.load(env.system).roles
    if name not in roles:
        raise PVEError(f"role '{name}' does not exist")
    return roles[name]


def _create_role(env: Environment, parameters: Parameters) -> None:
    config = user_config.load(env.system)
    name = str(parameters["roleid"])
    if name in config.roles:
        raise PVEError(f"create role failed: role '{name}' already exists")
    config.roles[name] = _privileges(str(parameters.get("privs", "")))
    user_config.save(env.system, config)


def _update_role(env: Environment, parameters: Parameters) -> None:
    name = str(parameters["roleid"])
    before = _known_role(env, name)
    _refuse_built_in(name)
    config = user_config.load(env.system)
    privileges = _privileges(str(parameters.get("privs", "")))
    config.roles[name] = privileges | before if parse_boolean(parameters.get("append", 0)) else privileges
    user_config.save(env.system, config)


def _delete_role(env: Environment, parameters: Parameters) -> None:
    name = str(parameters["roleid"])
    _known_role(env, name)
    _refuse_built_in(name)
    config = user_config.load(env.system)
    del config.roles[name]
    user_config.save(env.system, config)


def _refuse_built_in(name: str) -> None:
    if name in BUILT_IN_ROLES:
        raise PVEError(f"auto-generated role '{name}' cannot be modified")


def _privileges(text: str) -> frozenset[str]:
    for name in (names := split_list(text)):
        if name not in ALL_PRIVILEGES:
            raise PVEError(f"invalid privilege '{name}'")
    return frozenset(names)


def _acl(env: Environment, parameters: Parameters) -> list[dict[str, Any]]:
    del parameters
    rows = []
    for path, acl in sorted(user_config.load(env.system).acl.items()):
        if not env.check(path, ["Sys.Audit"], noerr=True) and not access_control.check_permissions_modify(
            env.system, env.user, path, noerr=True
        ):
            continue
        for kind, members in (("user", acl.users), ("group", acl.groups), ("token", acl.tokens)):
            rows += [
                {"path": path, "type": kind, "ugid": member, "roleid": role, "propagate": int(down)}
                for member, roles in sorted(members.items())
                for role, down in sorted(roles.items())
            ]
    return rows


def _update_acl(env: Environment, parameters: Parameters) -> None:
    path = normalize_path(str(parameters["path"]))
    if path is None:
        raise ParameterError({"path": f"invalid ACL path '{parameters['path']}'"})
    config = user_config.load(env.system)
    delete = bool(parse_boolean(parameters.get("delete", 0)))
    down = bool(parse_boolean(parameters.get("propagate", 1)))
    members = split_list(str(parameters.get("users", ""))) + split_list(str(parameters.get("tokens", "")))
    members += [f"@{name}" for name in split_list(str(parameters.get("groups", "")))]
    if not members:
        raise ParameterError(
            dict.fromkeys(("users", "groups", "tokens"), "either 'users', 'groups' or 'tokens' is required.")
        )
    for member in members:
        _check_member(config, member)
    for role in (roles := split_list(str(parameters["roles"]))):
        if role not in config.roles:
            raise PVEError(f"role '{role}' does not exist")
    acl = config.acl.setdefault(path, Acl())
    for member in members:
        kind, name = acl.of_kind(member)
        given = kind.setdefault(name, {})
        for role in roles:
            if delete:
                given.pop(role, None)
            else:
                given[role] = down
    user_config.save(env.system, config)


def _check_member(config: user_config.UserConfig, member: str) -> None:
    if member.startswith("@"):
        if member[1:] not in config.groups:
            raise PVEError(f"no such group '{member[1:]}'")
    elif parts := split_token_id(member):
        if config.token(member) is None:
            raise PVEError(f"no such token '{parts[1]}' for user '{parts[0]}'")
    elif member not in config.users:
        raise PVEError(f"no such user ('{member}')")


def _domains(env: Environment, parameters: Parameters) -> list[dict[str, str]]:
    del env, parameters
    return [
        {"realm": "pam", "type": "pam", "comment": "Linux PAM standard authentication"},
        {"realm": "pve", "type": "pve", "comment": "Proxmox VE authentication server"},
    ]


_ROLE = {"roleid": {"type": "string"}}
_PRIVILEGES = {"privs": _TEXT}
_MODIFY_ROLES = ("perm", "/access", ["Sys.Modify"])

METHODS = (
    index("/access", "users", "groups", "domains", "acl", "roles", "permissions", "ticket"),
    Method("get_ticket", "GET", "/access/ticket", {}, lambda _env, _parameters: None, permissions=_NOBODY_YET),
    Method(
        "create_ticket",
        "POST",
        "/access/ticket",
        {
            "username": {"type": "string", "maxLength": 64},
            "password": {"type": "string"},
            "realm": _TEXT,
            "otp": _TEXT,
            "path": _TEXT,
            "privs": _TEXT,
            "new-format": _BOOLEAN,
            "tfa-challenge": _TEXT,
        },
        _ticket,
        permissions=_NOBODY_YET,
        protected=True,
    ),
    Method("domains", "GET", "/access/domains", {}, _domains, permissions=_NOBODY_YET),
    Method(
        "permissions",
        "GET",
        "/access/permissions",
        {"path": _TEXT, "userid": _TEXT},
        _permissions,
        permissions=_ANYBODY,
    ),
    Method("index", "GET", "/access/roles", {}, _roles, permissions=_ANYBODY),
    Method("read_role", "GET", "/access/roles/{roleid}", _ROLE, _role, permissions=_ANYBODY),
    Method(
        "create_role",
        "POST",
        "/access/roles",
        {**_ROLE, **_PRIVILEGES},
        _create_role,
        permissions=_MODIFY_ROLES,
        protected=True,
    ),
    Method(
        "update_role",
        "PUT",
        "/access/roles/{roleid}",
        {**_ROLE, **_PRIVILEGES, "append": _BOOLEAN},
        _update_role,
        permissions=_MODIFY_ROLES,
        protected=True,
    ),
    Method(
        "delete_role",
        "DELETE",
        "/access/roles/{roleid}",
        _ROLE,
        _delete_role,
        permissions=_MODIFY_ROLES,
        protected=True,
    ),
    Method("read_acl", "GET", "/access/acl", {}, _acl, permissions=_ANYBODY),
    Method(
        "update_acl",
        "PUT",
        "/access/acl",
        {
            "path": {"type": "string"},
            "roles": {"type": "string"},
            "users": _TEXT,
            "groups": _TEXT,
            "tokens": _TEXT,
            "propagate": _BOOLEAN,
            "delete": _BOOLEAN,
        },
        _update_acl,
        permissions=("perm-modify",),
        protected=True,
    ),
    *USER_METHODS,
)
