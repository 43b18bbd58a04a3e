# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The privileges of Proxmox VE 9 and the roles that are built of them (PVE::AccessControl::create_roles).

from __future__ import annotations

# Category → who has it from which level on: root (nobody's PVE…Admin role), admin, user, audit.
_PRIVILEGE_GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "VM": {
        "admin": (
            "VM.Allocate",
            "VM.Clone",
            "VM.Config.CPU",
            "VM.Config.Disk",
            "VM.Config.HWType",
            "VM.Config.Memory",
            "VM.Config.Network",
            "VM.Config.Options",
            "VM.GuestAgent.Unrestricted",
            "VM.Migrate",
            "VM.Replicate",
            "VM.Snapshot",
            "VM.Snapshot.Rollback",
        ),
        "user": (
            "VM.Backup",
            "VM.Config.CDROM",
            "VM.Config.Cloudinit",
            "VM.Console",
            "VM.GuestAgent.FileRead",
            "VM.GuestAgent.FileSystemMgmt",
            "VM.GuestAgent.FileWrite",
            "VM.PowerMgmt",
        ),
        "audit": ("VM.Audit", "VM.GuestAgent.Audit"),
    },
    "Sys": {
        "root": ("Permissions.Modify", "Sys.AccessNetwork", "Sys.Incoming", "Sys.Modify", "Sys.PowerMgmt"),
        "admin": ("Sys.Console", "Sys.Syslog"),
        "audit": ("Sys.Audit",),
    },
    "Datastore": {
        "admin": ("Datastore.Allocate", "Datastore.AllocateTemplate"),
        "user": ("Datastore.AllocateSpace",),
        "audit": ("Datastore.Audit",),
    },
    "SDN": {"admin": ("SDN.Allocate",), "user": ("SDN.Use",), "audit": ("SDN.Audit",)},
    "User": {"root": ("Realm.Allocate",), "admin": ("Group.Allocate", "Realm.AllocateUser", "User.Modify")},
    "Pool": {"admin": ("Pool.Allocate",), "user": ("Pool.Audit",), "audit": ("Pool.Audit",)},
    "Mapping": {"admin": ("Mapping.Modify",), "user": ("Mapping.Use",), "audit": ("Mapping.Audit",)},
}


def _roles() -> dict[str, frozenset[str]]:
    roles: dict[str, set[str]] = {"NoAccess": set(), "PVETemplateUser": {"VM.Audit", "VM.Clone"}}
    for category, levels in _PRIVILEGE_GROUPS.items():
        audit = set(levels.get("audit", ()))
        user = set(levels.get("user", ()))
        admin = set(levels.get("admin", ())) | user | audit
        roles.setdefault("Administrator", set()).update(admin | set(levels.get("root", ())))
        roles[f"PVE{category}Admin"] = admin
        roles.setdefault("PVEAdmin", set()).update(admin)
        roles.setdefault("PVEAuditor", set()).update(audit)
        if user:
            roles[f"PVE{category}User"] = user | audit
    return {name: frozenset(privileges) for name, privileges in roles.items()}


BUILT_IN_ROLES = _roles()
ALL_PRIVILEGES = BUILT_IN_ROLES["Administrator"]
