# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::API2::User: users and their API tokens.

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

from .. import authentication, user_config
from ..environment import Environment
from ..exceptions import ParameterError, PVEError
from ..json_schema import parse_boolean
from ..rest_handler import Method, Parameters
from ..user_config import Token, User, UserConfig, realm_of, split_token_id

_USER: dict[str, dict[str, Any]] = {"userid": {"type": "string", "maxLength": 64}}
_TOKEN: dict[str, dict[str, Any]] = {
    **_USER,
    "tokenid": {"type": "string", "pattern": r"(?:[A-Za-z][A-Za-z0-9\.\-_]+)"},
}
_TEXT: dict[str, Any] = {"type": "string", "optional": 1}
_BOOLEAN: dict[str, Any] = {"type": "boolean", "optional": 1}
_EXPIRE: dict[str, Any] = {"type": "integer", "optional": 1, "minimum": 0}
_TEXTS = ("comment", "email", "firstname", "lastname", "keys")
_SETTINGS: dict[str, dict[str, Any]] = {**dict.fromkeys(_TEXTS, _TEXT), "enable": _BOOLEAN, "expire": _EXPIRE}
_TOKEN_SETTINGS: dict[str, dict[str, Any]] = {"comment": _TEXT, "expire": _EXPIRE, "privsep": _BOOLEAN}

_MODIFY_USERS = ("perm", "/access/groups", ["User.Modify"])
_SELF_OR_MODIFY = ("or", ("userid-self",), _MODIFY_USERS)
_SELF_OR_READ = ("or", ("userid-self",), ("perm", "/access/groups", ["User.Modify", "Sys.Audit"], "any"))


def _known_user(config: UserConfig, user_id: str) -> User:
    if user_id not in config.users:
        raise PVEError(f"no such user ('{user_id}')")
    return config.users[user_id]


def _known_token(config: UserConfig, user_id: str, name: str) -> Token:
    token = _known_user(config, user_id).tokens.get(name)
    if token is None:
        raise PVEError(f"no such token '{name}' for user '{user_id}'")
    return token


def _apply(target: User | Token, parameters: Parameters) -> None:
    for field in dataclasses.fields(target):
        if field.name not in parameters:
            continue
        value = parameters[field.name]
        if field.name in ("enable", "privsep"):
            setattr(target, field.name, bool(parse_boolean(value)))
        else:
            setattr(target, field.name, int(value) if field.name == "expire" else str(value))


def _describe(user: User) -> dict[str, Any]:
    texts = {name: getattr(user, name) for name in _TEXTS if getattr(user, name)}
    return {"enable": int(user.enable), "expire": user.expire, **texts}


def _describe_token(token: Token) -> dict[str, Any]:
    return {
        "expire": token.expire,
        "privsep": int(token.privsep),
        **({"comment": token.comment} if token.comment else {}),
    }


def _list(env: Environment, parameters: Parameters) -> list[dict[str, Any]]:
    config = user_config.load(env.system)
    may_see_all = env.check("/access/groups", ["User.Modify", "Sys.Audit"], any_of=True, noerr=True)
    caller = (split_token_id(env.user) or (env.user,))[0]
    rows = []
    for name, user in sorted(config.users.items()):
        if not may_see_all and name != caller:
            continue
        if "enabled" in parameters and user.enable != bool(parse_boolean(parameters["enabled"])):
            continue
        row = {"userid": name, "realm-type": realm_of(name) or "", **_describe(user)}
        if parse_boolean(parameters.get("full", 0)):
            row["tokens"] = _tokens_of(user)
        rows.append(row)
    return rows


def _tokens_of(user: User) -> list[dict[str, Any]]:
    return [{"tokenid": name, **_describe_token(token)} for name, token in sorted(user.tokens.items())]


def _create(env: Environment, parameters: Parameters) -> None:
    config = user_config.load(env.system)
    name = str(parameters["userid"])
    if realm_of(name) is None:
        raise ParameterError({"userid": f"invalid format - value '{name}' does not look like a valid user name\n"})
    if name in config.users:
        raise PVEError(f"create user failed: user '{name}' already exists")
    config.users[name] = User()
    _apply(config.users[name], parameters)
    if "password" in parameters:
        _set_password(env, name, str(parameters["password"]))
    user_config.save(env.system, config)


def _set_password(env: Environment, name: str, password: str) -> None:
    if realm_of(name) != "pve":
        raise PVEError("can't change password on auth type 'pam': set it on the node")
    authentication.set_password(env.system, name, password)


def _password(env: Environment, parameters: Parameters) -> None:
    name = str(parameters["userid"])
    _known_user(user_config.load(env.system), name)
    _set_password(env, name, str(parameters["password"]))


def _read(env: Environment, parameters: Parameters) -> dict[str, Any]:
    config = user_config.load(env.system)
    user = _known_user(config, str(parameters["userid"]))
    groups = [group for group, members in sorted(config.groups.items()) if parameters["userid"] in members]
    tokens = {name: _describe_token(token) for name, token in sorted(user.tokens.items())}
    return {**_describe(user), "groups": groups, "tokens": tokens}


def _update(env: Environment, parameters: Parameters) -> None:
    config = user_config.load(env.system)
    _apply(_known_user(config, str(parameters["userid"])), parameters)
    user_config.save(env.system, config)


def _delete(env: Environment, parameters: Parameters) -> None:
    config = user_config.load(env.system)
    name = str(parameters["userid"])
    user = _known_user(config, name)
    for token in user.tokens:
        _forget(config, f"{name}!{token}")
    _forget(config, name)
    del config.users[name]
    for members in config.groups.values():
        members.discard(name)
    user_config.save(env.system, config)
    secrets = user_config.load_tokens(env.system)
    user_config.save_tokens(env.system, {key: value for key, value in secrets.items() if key.split("!")[0] != name})


def _forget(config: UserConfig, member: str) -> None:
    for acl in config.acl.values():
        kind, name = acl.of_kind(member)
        kind.pop(name, None)


def _list_tokens(env: Environment, parameters: Parameters) -> list[dict[str, Any]]:
    return _tokens_of(_known_user(user_config.load(env.system), str(parameters["userid"])))


def _read_token(env: Environment, parameters: Parameters) -> dict[str, Any]:
    config = user_config.load(env.system)
    return _describe_token(_known_token(config, str(parameters["userid"]), str(parameters["tokenid"])))


def _create_token(env: Environment, parameters: Parameters) -> dict[str, Any]:
    config = user_config.load(env.system)
    user_id, name = str(parameters["userid"]), str(parameters["tokenid"])
    user = _known_user(config, user_id)
    if name in user.tokens:
        raise ParameterError({"tokenid": "Token already exists."})
    user.tokens[name] = Token()
    _apply(user.tokens[name], parameters)
    user_config.save(env.system, config)
    return _new_secret(env, user_id, name, user.tokens[name])


def _new_secret(env: Environment, user_id: str, name: str, token: Token) -> dict[str, Any]:
    secret = str(uuid.uuid4())
    full_id = f"{user_id}!{name}"
    user_config.save_tokens(env.system, {**user_config.load_tokens(env.system), full_id: secret})
    return {"full-tokenid": full_id, "info": _describe_token(token), "value": secret}


def _update_token(env: Environment, parameters: Parameters) -> dict[str, Any]:
    config = user_config.load(env.system)
    token = _known_token(config, str(parameters["userid"]), str(parameters["tokenid"]))
    _apply(token, parameters)
    user_config.save(env.system, config)
    return _describe_token(token)


def _delete_token(env: Environment, parameters: Parameters) -> None:
    config = user_config.load(env.system)
    user_id, name = str(parameters["userid"]), str(parameters["tokenid"])
    _known_token(config, user_id, name)
    _forget(config, f"{user_id}!{name}")
    del config.users[user_id].tokens[name]
    user_config.save(env.system, config)
    secrets = user_config.load_tokens(env.system)
    secrets.pop(f"{user_id}!{name}", None)
    user_config.save_tokens(env.system, secrets)


_PATH = "/access/users/{userid}"
_TOKEN_PATH = f"{_PATH}/token/{{tokenid}}"

METHODS = (
    Method(
        "index", "GET", "/access/users", {"enabled": _BOOLEAN, "full": _BOOLEAN}, _list, permissions=("user", "all")
    ),
    Method(
        "create_user",
        "POST",
        "/access/users",
        {**_USER, **_SETTINGS, "password": _TEXT},
        _create,
        permissions=_MODIFY_USERS,
        protected=True,
    ),
    Method("read_user", "GET", _PATH, _USER, _read, permissions=_SELF_OR_READ),
    Method("update_user", "PUT", _PATH, {**_USER, **_SETTINGS}, _update, permissions=_MODIFY_USERS, protected=True),
    Method("delete_user", "DELETE", _PATH, _USER, _delete, permissions=_MODIFY_USERS, protected=True),
    Method(
        "change_password",
        "PUT",
        "/access/password",
        {**_USER, "password": {"type": "string", "minLength": 8, "maxLength": 64}},
        _password,
        permissions=_SELF_OR_MODIFY,
        protected=True,
    ),
    Method("token_index", "GET", f"{_PATH}/token", _USER, _list_tokens, permissions=_SELF_OR_READ),
    Method("read_token", "GET", _TOKEN_PATH, _TOKEN, _read_token, permissions=_SELF_OR_READ),
    Method(
        "generate_token",
        "POST",
        _TOKEN_PATH,
        {**_TOKEN, **_TOKEN_SETTINGS},
        _create_token,
        permissions=_SELF_OR_MODIFY,
        protected=True,
    ),
    Method(
        "update_token_info",
        "PUT",
        _TOKEN_PATH,
        {**_TOKEN, **_TOKEN_SETTINGS},
        _update_token,
        permissions=_SELF_OR_MODIFY,
        protected=True,
    ),
    Method("remove_token", "DELETE", _TOKEN_PATH, _TOKEN, _delete_token, permissions=_SELF_OR_MODIFY, protected=True),
)
