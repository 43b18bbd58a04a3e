# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# Brings the firewall file of one container to what is asked for.

from __future__ import annotations

import contextlib
import os
import re
import typing as t
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._firewall import (
    FirewallFile,
    Names,
    checked_rules,
    known_protocols,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import Guest, check_ctid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._lxc_config import (
    parse_properties,
    replace_file,
    unwritable,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node

# PVE's own patience with this lock.
_LOCK_SECONDS = 10.0


class ContainerFirewall:
    """One request, from arguments to result."""

    def __init__(
        self,
        node: Node,
        ctid: int,
        *,
        enabled: bool,
        rules: Sequence[Mapping[str, str | None]],
        check_mode: bool = False,
    ) -> None:
        self._node, self._ctid = node, ctid
        self._enabled, self._rules = enabled, rules
        self._check_mode = check_mode
        self._path = node.path(f"etc/pve/firewall/{ctid}.fw")

    def run(self) -> dict[str, t.Any]:
        check_ctid(self._ctid)
        guest = self._node.existing(self._ctid)
        before = _read(self._path)
        datacenter = FirewallFile.parse(_read(self._node.path("etc/pve/firewall/cluster.fw")))
        protocols = known_protocols(self._node.read_text("etc/protocols"))
        current = FirewallFile.parse(before)
        rules = checked_rules(self._rules, Names(current, datacenter, protocols))
        after = current.with_enabled(self._enabled).with_rules(rules).render()
        changed = after != before
        if changed:
            self._node.check_writable()
        if changed and not self._check_mode:
            self._write(before, after)
            after = _read(self._path)
        found = FirewallFile.parse(after)
        header = f"/etc/pve/firewall/{self._ctid}.fw"
        return {
            "changed": changed,
            "ctid": self._ctid,
            "enabled": found.enabled,
            "rules": list(found.own_rules),
            "warnings": self._warnings(guest, datacenter) if changed and self._enabled else [],
            "diff": {
                "before_header": header,
                "after_header": header,
                "before": before.decode(errors="replace"),
                "after": after.decode(errors="replace"),
            },
        }

    def _warnings(self, guest: Guest, datacenter: FirewallFile) -> list[str]:
        """Why the rules would have no effect."""
        found = []
        if not datacenter.datacenter_enabled:
            found.append(
                f"The firewall of the datacenter is off, so the rules of container {self._ctid} have no effect. Switch "
                "it on under Datacenter > Firewall > Options once the nodes themselves stay reachable."
            )
        interfaces = [value for key, value in guest.config.items() if re.fullmatch(r"net\d+", key)]
        if not any(parse_properties(value).get("firewall") == "1" for value in interfaces):
            found.append(
                f"No network interface of container {self._ctid} has firewall=1, so its rules have no effect. Set "
                "firewall: true for the interfaces that have to be filtered."
            )
        return found

    def _write(self, before: bytes, after: bytes) -> None:
        with self._locked():
            if _read(self._path) != before:
                raise PhoenixError(
                    f"{self._path.name} was changed by somebody else while this run decided what to write",
                    remedy="Nothing was written. Run again: the decision is then made on the new content.",
                )
            self._path.parent.mkdir(exist_ok=True)
            replace_file(self._path, after)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """PVE's lock around the file, which all nodes of the cluster see: a directory."""
        lock = self._node.path(f"etc/pve/priv/lock/firewall-vm-{self._ctid}")
        deadline = self._node.clock.deadline(_LOCK_SECONDS)
        while not self._taken(lock):
            if not deadline.pause(1.0):
                raise PhoenixError(
                    f"{lock} is held by another process for more than {_LOCK_SECONDS:g} s",
                    remedy="Wait until somebody has finished with the container's firewall, then run again.",
                )
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                lock.rmdir()

    def _taken(self, lock: Path) -> bool:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            lock.mkdir()
        except FileExistsError:
            # This is how pmxcfs is asked to remove a lock whose owner has died.
            with contextlib.suppress(OSError):
                os.utime(lock, (0, 0))
            return False
        except OSError as error:
            raise unwritable(lock, error) from error
        return True


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise PhoenixError(
            f"{path} cannot be read: {error.strerror}",
            remedy="Run as root (become: true), and see that /etc/pve is mounted (`systemctl status pve-cluster`).",
        ) from error
