# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Who may do what: PVE::RPCEnvironment's checks over the ACLs of user.cfg, and the limits that no ACL lifts for anybody
# but root@pam itself (PVE::LXC::check_ct_modify_config_perm).

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import user_config
from .environment import Environment
from .exceptions import PermissionDenied
from .rest_handler import Method
from .roles import ALL_PRIVILEGES
from .system import System
from .user_config import RolesOf, UserConfig, normalize_path, split_token_id

ROOT = "root@pam"
# The zone of every bridge of a node that is no virtual network of its own.
_LOCAL_ZONE = "localnetwork"

# Option → VM.Config.<…>; "Options" for all others.
_CONFIG_PRIVILEGES = {
    **dict.fromkeys(("cores", "cpulimit", "cpuunits"), "CPU"),
    **dict.fromkeys(("memory", "swap"), "Memory"),
    **dict.fromkeys(("nameserver", "searchdomain", "hostname"), "Network"),
}

# Privilege → whether it is handed down.
Privileges = dict[str, bool]


def permissions(config: UserConfig, user: str, path: str) -> Privileges:
    """What a user or token has on a path."""
    if user == ROOT:
        return dict.fromkeys(ALL_PRIVILEGES, True)
    token_parts = split_token_id(user)
    if token_parts is None:
        return _privileges(config, user, path)
    token = config.token(user)
    if token is None:
        return {}
    of_owner = permissions(config, token_parts[0], path)
    if not token.privsep:
        return of_owner
    own = _privileges(config, user, path)
    if token_parts[0] == ROOT:
        return own
    return {name: down and of_owner[name] for name, down in own.items() if name in of_owner}


def _privileges(config: UserConfig, user: str, path: str) -> Privileges:
    roles = _roles_on(config, user, path)
    from_pools = _roles_of_pools(config, user, path)
    if "NoAccess" not in roles:
        # No privilege of a pool helps against the pool's NoAccess, and none of them is handed down.
        roles = {"NoAccess": False} if "NoAccess" in from_pools else {**dict.fromkeys(from_pools, False), **roles}
    result: Privileges = {}
    for role, down in roles.items():
        for privilege in config.roles.get(role, ()):
            result[privilege] = result.get(privilege, False) or down
    return result


def _roles_on(config: UserConfig, user: str, path: str) -> RolesOf:
    """The roles of the nearest path above (or the path itself) on which the user, or else its groups, got any."""
    roles: RolesOf = {}
    for above, acl in sorted(config.acl.items()):
        final = above == path
        if not (final or above == "/" or path.startswith(f"{above}/")):
            continue
        of_groups: RolesOf = {}
        for group, given in acl.groups.items():
            if user in config.groups.get(group, ()):
                of_groups.update(given)
        # A token's own roles count before those of a user, those before the ones of its groups.
        for given in (acl.tokens.get(user, {}), acl.users.get(user, {}), of_groups):
            effective = {role: down for role, down in given.items() if final or down}
            if effective:
                roles = effective
                break
    return {"NoAccess": roles["NoAccess"]} if "NoAccess" in roles else roles


def _roles_of_pools(config: UserConfig, user: str, path: str) -> set[str]:
    kind, _, name = path.strip("/").partition("/")
    names: set[str] = set()
    for pool_name, pool in config.pools.items():
        if (kind == "vms" and name.isdigit() and int(name) in pool.vms) or (
            kind == "storage" and name in pool.storages
        ):
            names |= set(_roles_on(config, user, f"/pool/{pool_name}"))
    return names


def effective_permissions(config: UserConfig, user: str) -> dict[str, Privileges]:
    """GET /access/permissions without a path: the top-level paths and every path that an ACL or a pool names."""
    paths = {"/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms", *config.acl}
    for pool in config.pools.values():
        paths |= {f"/vms/{vmid}" for vmid in pool.vms} | {f"/storage/{storage}" for storage in pool.storages}
    found = {path: permissions(config, user, path) for path in sorted(paths)}
    return {path: privileges for path, privileges in found.items() if privileges}


def check(
    system: System,
    user: str,
    path: str,
    privileges: Sequence[str],
    *,
    any_of: bool = False,
    noerr: bool = False,
) -> bool:
    """Whether the user has all (any) of the privileges on the path; unless noerr, PVE's refusal."""
    if user == ROOT:
        return True
    own = permissions(user_config.load(system), user, path)
    missing = [name for name in privileges if name not in own]
    if not missing or (any_of and len(missing) < len(privileges)):
        return True
    if noerr:
        return False
    raise PermissionDenied(f"{path}, {'|'.join(privileges) if any_of else missing[0]}")


def check_method(system: System, method: Method, user: str, parameters: Mapping[str, Any]) -> None:
    """What the method's `permissions` demand of the caller."""
    if user == ROOT or method.permissions is None or method.permissions[0] == "user":
        return
    if not _evaluate(system, method.permissions, user, parameters, noerr=False):
        raise PermissionDenied


def _evaluate(system: System, rule: Sequence[Any], user: str, parameters: Mapping[str, Any], *, noerr: bool) -> bool:
    kind, *rest = rule
    if kind == "and":
        return all(_evaluate(system, part, user, parameters, noerr=noerr) for part in rest)
    if kind == "or":
        return any(_evaluate(system, part, user, parameters, noerr=True) for part in rest)
    if kind == "user":
        return True
    if kind == "perm":
        template, privileges, *options = rest
        needed = [option.removeprefix("require_param=") for option in options if option.startswith("require_param=")]
        if any(name not in parameters for name in needed):
            return False
        path = re.sub(r"\{(\w+)\}", lambda found: str(parameters.get(found[1], "")), template)
        return check(system, user, normalize_path(path) or "/", privileges, any_of="any" in options, noerr=noerr)
    if kind == "perm-modify":
        path = normalize_path(str(parameters.get("path", ""))) or "/access"
        return check_permissions_modify(system, user, path, noerr=noerr)
    if kind == "userid-self":
        return user == parameters.get("userid")
    raise AssertionError(f"no such permission rule: {kind}")


def check_permissions_modify(system: System, user: str, path: str, *, noerr: bool = False) -> bool:
    privileges = ["Permissions.Modify"]
    for prefix, privilege in (("/storage/", "Datastore"), ("/vms/", "VM"), ("/pool/", "Pool")):
        if path.startswith(prefix):
            privileges.append(f"{privilege}.Allocate")
    return check(system, user, path, privileges, any_of=True, noerr=noerr)


def check_vm(env: Environment, vmid: int, pool: str | None, privileges: list[str], *, any_of: bool = False) -> None:
    """A privilege on the container, or on the pool that it is to be in (PVE::RPCEnvironment::check_vm_perm)."""
    if pool and env.check(f"/pool/{pool}", privileges, any_of=any_of, noerr=True):
        return
    env.check(f"/vms/{vmid}", privileges, any_of=any_of)


def check_bridge_access(env: Environment, network: str) -> None:
    """The network that a netN value names: SDN.Use on its bridge, or on the VLAN of its tag."""
    properties = _properties(network)
    bridge, tag = properties.get("bridge"), properties.get("tag")
    if bridge is None:
        return
    path = f"/sdn/zones/{_LOCAL_ZONE}/{bridge}"
    if tag is not None:
        env.check(f"{path}/{tag}", ["SDN.Use"])
        return
    if env.user == ROOT or env.check(path, ["SDN.Use"], any_of=True, noerr=True):
        return
    below = [name for name in user_config.load(env.system).acl if name.startswith(f"{path}/")]
    if not any(env.check(name, ["SDN.Use"], any_of=True, noerr=True) for name in below):
        env.check(path, ["SDN.Use"], any_of=True)


def check_volume_access(env: Environment, vmid: int | None, volume_id: str) -> None:
    """A volume that exists already (PVE::Storage::check_volume_access): a template, or a disk of a container."""
    storage, _, name = volume_id.partition(":")
    path = f"/storage/{storage}"
    if name.startswith(("vztmpl/", "iso/")):
        env.check(path, ["Datastore.AllocateSpace", "Datastore.Audit"], any_of=True)
        return
    owner = re.search(r"(?:subvol|vm|basevol|base)-(\d+)-", name)
    if vmid is not None and owner and int(owner[1]) == vmid:
        return
    env.check(path, ["Datastore.Allocate"])


def check_ct_modify_config_perm(
    env: Environment,
    vmid: int,
    *,
    pool: str | None = None,
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any],
    delete: Iterable[str] = (),
    unprivileged: bool,
) -> None:
    """Refuse options that the caller may not set, delete or revert; some nobody may but root@pam without a token.

    `old` is None for a container that is being created. Reverting a pending change counts as deleting the key.
    """
    if env.user == ROOT:
        return
    change = _Change(env, vmid, pool, old or {}, unprivileged)
    for key in delete:
        change.check(key, None)
    for key, value in new.items():
        change.check(key, str(value))


@dataclasses.dataclass(frozen=True)
class _Change:
    """What a caller other than root@pam wants to do to a container."""

    env: Environment
    vmid: int
    pool: str | None
    old: Mapping[str, Any]
    unprivileged: bool

    def check(self, key: str, value: str | None) -> None:
        """`value` is None for a key that is to be deleted."""
        if re.fullmatch(r"dev\d+", key):
            raise PermissionDenied("configuring device passthrough is only allowed for root@pam")
        if key == "hookscript":
            raise PermissionDenied("changing the hookscript is only allowed for root@pam")
        if key == "features":
            self._check_features(value)
        elif re.fullmatch(r"rootfs|mp\d+", key):
            self._demand("VM.Config.Disk")
            if value is not None:
                self._check_volume(value)
        elif re.fullmatch(r"net\d+", key):
            self._demand("VM.Config.Network")
            for network in (self.old.get(key), value):
                if network:
                    check_bridge_access(self.env, str(network))
        else:
            self._demand(f"VM.Config.{_CONFIG_PRIVILEGES.get(key, 'Options')}")

    def _demand(self, privilege: str) -> None:
        check_vm(self.env, self.vmid, self.pool, [privilege])

    def _check_volume(self, value: str) -> None:
        properties = _properties(value, first="volume")
        volume = properties.get("volume", "")
        if volume.startswith("/"):
            kind = "device" if volume.startswith("/dev/") else "bind"
            raise PermissionDenied(f"mount point type {kind} is only allowed for root@pam")
        if found := re.fullmatch(r"([^:\s]+):\d+(?:\.\d+)?", volume):
            self.env.check(f"/storage/{found[1]}", ["Datastore.AllocateSpace"])
        elif ":" in volume:
            check_volume_access(self.env, self.vmid, volume)

    def _check_features(self, value: str | None) -> None:
        if not self.unprivileged:
            raise PermissionDenied("changing feature flags for privileged container is only allowed for root@pam")
        before = _properties(str(self.old.get("features") or ""))
        after = _properties(value or "")
        changed = {name for name in {*before, *after} if before.get(name, "") != after.get(name, "")}
        if changed - {"nesting"}:
            raise PermissionDenied("changing feature flags (except nesting) is only allowed for root@pam")
        if changed:
            self._demand("VM.Allocate")


def _properties(text: str, first: str = "") -> dict[str, str]:
    """A property string that the schema has accepted already; `first` names a leading value without a key."""
    result = {}
    for part in text.split(","):
        key, mark, value = part.partition("=")
        if mark:
            result[key] = value
        elif first and part:
            result[first] = part
    return result
