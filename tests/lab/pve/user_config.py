# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# /etc/pve/user.cfg and /etc/pve/priv/token.cfg (PVE::AccessControl::parse_user_config, PVE::TokenConfig).

from __future__ import annotations

import dataclasses
import os
import re
import urllib.parse

from .roles import ALL_PRIVILEGES, BUILT_IN_ROLES
from .system import System

USER_FILE = "etc/pve/user.cfg"
TOKEN_FILE = "etc/pve/priv/token.cfg"

_USER_ID = re.compile(r"(?P<name>[^\s:/]+)@(?P<realm>[A-Za-z][A-Za-z0-9.\-_]+)")
# Two characters or more: PVE drops a line with a shorter name.
_TOKEN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9.\-_]+")
_GROUP_OR_ROLE = re.compile(r"[A-Za-z0-9.\-_]+")


@dataclasses.dataclass
class Token:
    privsep: bool = True
    expire: int = 0
    comment: str = ""


@dataclasses.dataclass
class User:
    enable: bool = True
    expire: int = 0
    firstname: str = ""
    lastname: str = ""
    email: str = ""
    comment: str = ""
    keys: str = ""
    tokens: dict[str, Token] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Pool:
    comment: str = ""
    vms: set[int] = dataclasses.field(default_factory=set)
    storages: set[str] = dataclasses.field(default_factory=set)


# Role → whether it is handed down to the paths below.
RolesOf = dict[str, bool]


@dataclasses.dataclass
class Acl:
    """What was given on one path."""

    users: dict[str, RolesOf] = dataclasses.field(default_factory=dict)
    groups: dict[str, RolesOf] = dataclasses.field(default_factory=dict)
    tokens: dict[str, RolesOf] = dataclasses.field(default_factory=dict)

    def of_kind(self, member: str) -> tuple[dict[str, RolesOf], str]:
        """Where a member as ACL lines name it (@group, user@realm, user@realm!token) belongs, and its name there."""
        if member.startswith("@"):
            return self.groups, member[1:]
        return (self.tokens, member) if split_token_id(member) else (self.users, member)


@dataclasses.dataclass
class UserConfig:
    users: dict[str, User] = dataclasses.field(default_factory=dict)
    groups: dict[str, set[str]] = dataclasses.field(default_factory=dict)
    group_comments: dict[str, str] = dataclasses.field(default_factory=dict)
    roles: dict[str, frozenset[str]] = dataclasses.field(default_factory=lambda: dict(BUILT_IN_ROLES))
    pools: dict[str, Pool] = dataclasses.field(default_factory=dict)
    acl: dict[str, Acl] = dataclasses.field(default_factory=dict)

    def token(self, token_id: str) -> Token | None:
        parts = split_token_id(token_id)
        user = self.users.get(parts[0]) if parts else None
        return user.tokens.get(parts[1]) if user and parts else None


def realm_of(user_id: str) -> str | None:
    """None for what is no user id at all."""
    found = _USER_ID.fullmatch(user_id)
    return found["realm"] if found and len(user_id) <= 64 else None


def split_token_id(text: str) -> tuple[str, str] | None:
    user, mark, name = text.rpartition("!")
    if not mark or realm_of(user) is None or not _TOKEN_NAME.fullmatch(name):
        return None
    return user, name


def normalize_path(path: str) -> str | None:
    path = re.sub(r"/+", "/", path).removesuffix("/") or "/"
    if not path.startswith("/"):
        path = f"/{path}"
    return path if re.fullmatch(r"[A-Za-z0-9.\-_/]+", path) else None


def load(system: System) -> UserConfig:
    file = system.path(USER_FILE)
    return parse(file.read_text(encoding="utf-8") if file.exists() else "")


def save(system: System, config: UserConfig) -> None:
    _replace(system, USER_FILE, render(config), 0o640)


def load_tokens(system: System) -> dict[str, str]:
    """Token id → secret."""
    file = system.path(TOKEN_FILE)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    pairs = [line.split() for line in lines]
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and split_token_id(pair[0])}


def save_tokens(system: System, tokens: dict[str, str]) -> None:
    _replace(system, TOKEN_FILE, "".join(f"{name} {secret}\n" for name, secret in sorted(tokens.items())), 0o600)


def _replace(system: System, name: str, text: str, mode: int) -> None:
    file = system.path(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.tmp.{os.getpid()}")
    new.write_text(text, encoding="utf-8")
    new.chmod(mode)
    new.rename(file)


def parse(text: str) -> UserConfig:
    """Lines that PVE would not understand are left out, as it does."""
    config = UserConfig()
    # A line can name what only a later one defines.
    order = ("user", "group", "role", "pool", "token", "acl")
    lines = [[field.strip() for field in line.strip().split(":")] for line in text.splitlines() if line.strip()]
    for kind in order:
        for line in lines:
            if line[0] == kind:
                _PARSERS[kind](config, [*line[1:], *[""] * 8])
    config.users.setdefault("root@pam", User())
    return config


def _parse_user(config: UserConfig, fields: list[str]) -> None:
    name, enable, expire, first, last, email, comment, keys = fields[:8]
    if realm_of(name) is None or not (expire or "0").isdigit():
        return
    config.users[name] = User(
        enable=enable not in ("", "0"),
        expire=int(expire or 0),
        firstname=_decode(first),
        lastname=_decode(last),
        email=email,
        comment=_decode(comment),
        keys=keys,
    )


def _parse_token(config: UserConfig, fields: list[str]) -> None:
    token_id, expire, privsep, comment = fields[:4]
    parts = split_token_id(token_id)
    if parts and parts[0] in config.users and (expire or "0").isdigit():
        config.users[parts[0]].tokens[parts[1]] = Token(
            privsep=privsep not in ("", "0"), expire=int(expire or 0), comment=_decode(comment)
        )


def _parse_group(config: UserConfig, fields: list[str]) -> None:
    name, members, comment = fields[:3]
    if _GROUP_OR_ROLE.fullmatch(name):
        config.groups[name] = {member for member in split_list(members) if realm_of(member)}
        config.group_comments[name] = _decode(comment)


def _parse_role(config: UserConfig, fields: list[str]) -> None:
    name, privileges = fields[:2]
    if _GROUP_OR_ROLE.fullmatch(name) and name not in BUILT_IN_ROLES:
        config.roles[name] = ALL_PRIVILEGES & set(split_list(privileges))


def _parse_pool(config: UserConfig, fields: list[str]) -> None:
    name, comment, vms, storages = fields[:4]
    config.pools[name] = Pool(
        comment=_decode(comment),
        vms={int(vmid) for vmid in split_list(vms) if vmid.isdigit()},
        storages=set(split_list(storages)),
    )


def _parse_acl(config: UserConfig, fields: list[str]) -> None:
    propagate, path, members, roles = fields[:4]
    normal = normalize_path(path) if path else None
    if normal is None:
        return
    for role in split_list(roles):
        for member in split_list(members) if role in config.roles else ():
            if split_token_id(member) and config.token(member) is None:
                continue
            kind, name = config.acl.setdefault(normal, Acl()).of_kind(member)
            kind.setdefault(name, {})[role] = propagate not in ("", "0")


_PARSERS = {
    "user": _parse_user,
    "group": _parse_group,
    "role": _parse_role,
    "pool": _parse_pool,
    "token": _parse_token,
    "acl": _parse_acl,
}


def render(config: UserConfig) -> str:
    lines = []
    for name, user in sorted(config.users.items()):
        texts = [_encode(user.firstname), _encode(user.lastname), user.email, _encode(user.comment), user.keys]
        lines.append(f"user:{name}:{int(user.enable)}:{user.expire}:{':'.join(texts)}:")
        lines += [
            f"token:{name}!{token_name}:{token.expire}:{int(token.privsep)}:{_encode(token.comment)}:"
            for token_name, token in sorted(user.tokens.items())
        ]
    lines.append("")
    for name, members in sorted(config.groups.items()):
        lines.append(f"group:{name}:{','.join(sorted(members))}:{_encode(config.group_comments.get(name, ''))}:")
    lines.append("")
    for name, pool in sorted(config.pools.items()):
        vms = ",".join(sorted(str(vmid) for vmid in pool.vms))
        lines.append(f"pool:{name}:{_encode(pool.comment)}:{vms}:{','.join(sorted(pool.storages))}:")
    lines.append("")
    for name, privileges in sorted(config.roles.items()):
        if name not in BUILT_IN_ROLES:
            lines.append(f"role:{name}:{','.join(sorted(privileges))}:")
    lines.append("")
    for path, acl in sorted(config.acl.items()):
        lines += _render_acl(path, acl)
    return "\n".join(lines) + "\n"


def _render_acl(path: str, acl: Acl) -> list[str]:
    members = {f"@{name}": roles for name, roles in acl.groups.items()} | acl.users | acl.tokens
    lines = []
    for propagate in (False, True):
        by_roles: dict[str, list[str]] = {}
        for member, roles in members.items():
            names = ",".join(sorted(role for role, down in roles.items() if down is propagate))
            # PVE does not keep anything of root@pam, which may do everything.
            if names and member != "root@pam":
                by_roles.setdefault(names, []).append(member)
        lines += [
            f"acl:{int(propagate)}:{path}:{','.join(sorted(who))}:{names}:" for names, who in sorted(by_roles.items())
        ]
    return lines


def split_list(text: str) -> list[str]:
    return [part for part in re.split(r"[,;\s\0]+", text) if part]


def _encode(text: str) -> str:
    return urllib.parse.quote(text, safe=" !\"#$&'()*+,-./;<=>?@[\\]^_`{|}~")


def _decode(text: str) -> str:
    return urllib.parse.unquote(text)
