# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# The life of a container: made, configured, switched on and off, taken away.

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import typing as t
from collections.abc import Callable, Mapping

from ansible_collections.phoenix.hypervisor.plugins.module_utils import _options
from ansible_collections.phoenix.hypervisor.plugins.module_utils._cloning import Cloning
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError, invalid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import (
    Guest,
    Guests,
    check_ctid,
    check_nothing_dropped,
    check_timeout,
    described,
    must_wait,
    no_container,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node
from ansible_collections.phoenix.hypervisor.plugins.module_utils._option_checks import check_arguments
from ansible_collections.phoenix.hypervisor.plugins.module_utils._options import Arguments, Changes
from ansible_collections.phoenix.hypervisor.plugins.module_utils._passthrough import strip_gpus
from ansible_collections.phoenix.hypervisor.plugins.module_utils._pct_errors import explain_warning
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Clock, Deadline

_UP = ("running", "degraded")
# The locks of what is being copied, and of what it is copied from.
_COPYING = ("create", "disk")


class Container:
    """Brings one container to the state a task asks for."""

    def __init__(
        self,
        guests: Guests,
        arguments: Arguments,
        *,
        node: Node | None,
        check_mode: bool,
        clock: Clock | None = None,
    ) -> None:
        self._guests = guests
        self._arguments = arguments
        self._node = node
        self._check_mode = check_mode
        self._cloning = Cloning(guests)
        self._clock = clock or (node.clock if node else Clock())
        self._ctid: int = arguments["ctid"]
        self._timeout: float = arguments["timeout"]
        self._copy_timeout: float = arguments["copy_timeout"]
        self._warnings: list[str] = []
        self._actions: list[str] = []
        self._before: dict[str, str] = {}
        self._after: dict[str, str] = {}
        self._unfinished = False

    def run(self) -> dict[str, t.Any]:
        check_ctid(self._ctid)
        check_timeout(self._timeout)
        check_timeout(self._copy_timeout, "copy_timeout")
        check_arguments(self._arguments)
        if self._arguments["wait"] in ("booted", "network"):
            self._guests.check_inside()
        guest = self._settled(self._guests.read(self._ctid))
        if self._arguments["state"] == "absent":
            self._absent(guest)
        else:
            guest = self._configured(guest) if guest else self._made()
            self._powered(guest)
        return self._result(guest)

    def _settled(self, guest: Guest | None) -> Guest | None:
        """What an interrupted run of ours left half-made is cleared away; then it is as if it had never begun."""
        state = self._guests.interrupted(self._ctid, guest)
        if guest is not None and state != "half-made" and not self._check_mode and must_wait(guest, self._dry_run):
            # What is decided on a locked container's file is void as soon as the lock leaves it.
            longest = self._copy_timeout if guest.lock in _COPYING else self._timeout
            self._guests.wait_unlocked(self._ctid, timeout=longest)
            guest = self._guests.read(self._ctid)
            state = self._guests.interrupted(self._ctid, guest)
        if state == "half-made":
            self._before["state"] = "half-made"
            self._after["state"] = "absent"
            self._do("removed what an interrupted creation left", lambda: self._guests.clear(self._ctid))
            return None
        self._unfinished = state == "unfinished"
        return guest

    def _dry_run(self) -> dict[str, t.Any]:
        return Container(self._guests, self._arguments, node=self._node, check_mode=True, clock=self._clock).run()

    def _absent(self, guest: Guest | None) -> None:
        if guest is None:
            self._check_free()
            return
        self._guests.check_possible({}, current=guest)
        if guest.config.get("protection") == "1":
            raise PhoenixError(
                f"container {self._ctid} is protected against removal",
                remedy=f"Take the protection off (`pct set {self._ctid} --protection 0`) if it really has to go.",
                code=Code.INPUT,
            )
        clones = [clone for name in guest.snapshots for clone in self._guests.dependents(guest, name)]
        if clones:
            raise PhoenixError(
                f"container {self._ctid} cannot go: {', '.join(clones)} live on its snapshots",
                remedy="Remove the containers of these volumes first.",
                code=Code.INPUT,
            )
        self._before["state"] = "running" if guest.running else "stopped"
        self._after["state"] = "absent"
        if guest.running:
            self._do("shut down", lambda: self._guests.shutdown(self._ctid, timeout=self._timeout))
        self._do("destroyed", lambda: self._guests.destroy(self._ctid, timeout=self._timeout))
        if not self._check_mode and self._guests.read(self._ctid):
            raise PhoenixError(
                f"container {self._ctid} is still there after PVE destroyed it",
                remedy=f"Look at `pct config {self._ctid}` and the node's task log.",
                code=Code.VERIFICATION,
            )
        self._finish()

    def _check_free(self) -> None:
        if owner := self._guests.owner_of(self._ctid):
            raise no_container(self._ctid, self._guests.node_name, owner)

    def _made(self) -> Guest:
        self._check_free()
        arguments = self._arguments
        self._before.setdefault("state", "absent")
        self._after["state"] = "stopped"
        if arguments.get("clone"):
            return self._cloned()
        if arguments.get("ostemplate"):
            return self._created()
        raise PhoenixError(
            f"ctid: {self._ctid} does not exist on node {self._guests.node_name}, "
            "and nothing says what to make it from",
            remedy="Give ostemplate or clone, or correct the id.",
            code=Code.NO_CONTAINER,
        )

    def _created(self) -> Guest:
        options = _options.creation_options(self._arguments)
        if "rootfs" not in options:
            raise PhoenixError(
                "rootfs.storage is missing: a new container needs a storage for its root file system",
                remedy="Give rootfs with storage and size_gb.",
                code=Code.INPUT,
            )
        self._guests.check_possible(options, creating=True)
        self._check_place(self._arguments["ostemplate"])
        self._after.update(options)
        self._do(
            "created",
            lambda: self._guests.create(
                self._ctid,
                self._arguments["ostemplate"],
                options,
                ssh_public_keys=self._arguments.get("ssh_public_keys") or [],
                timeout=self._copy_timeout,
            ),
        )
        if self._check_mode:
            return Guest(self._ctid, running=False, config=options)
        guest = self._checked()
        self._guests.finished(self._ctid)
        return guest

    def _cloned(self) -> Guest:
        plan = self._cloning.plan(self._arguments, self._copy_timeout)
        changes = self._clone_changes(plan.config)
        self._guests.check_possible(changes.options, delete=[*changes.delete, *plan.gpu_keys], current=plan.source)
        self._check_place(None, [plan.storage] if plan.storage else [])
        self._after.update({"clone": plan.description, **changes.options})
        self._after.update({f"{resize.disk} size": f"{resize.size_gb}G" for resize in changes.resize})
        if self._check_mode:
            self._do(f"cloned from {plan.description}", list)
            return Guest(self._ctid, running=False, config={**plan.config, **changes.options})
        self._do(f"cloned from {plan.description}", lambda: self._cloning.clone(plan, self._ctid))
        return self._completed()

    def _completed(self) -> Guest:
        """A fresh copy loses what it must not share with its source, before it can ever start."""
        if self._node:
            strip_gpus(self._node, self._ctid)
        self._apply(self._existing(), self._clone_changes)
        guest = self._checked()
        self._guests.finished(self._ctid)
        return guest

    def _clone_changes(self, config: Mapping[str, str]) -> Changes:
        """A clone takes over the description of a snapshot, which says nothing true about the clone."""
        changes = _options.changes(self._arguments, config)
        if "description" in config and self._arguments.get("description") is None:
            return dataclasses.replace(changes, delete=(*changes.delete, "description"))
        return changes

    def _configured(self, guest: Guest) -> Guest:
        check_nothing_dropped(self._ctid, guest.dropped)
        unprivileged = self._arguments.get("unprivileged")
        if unprivileged is not None and unprivileged != guest.unprivileged:
            raise PhoenixError(
                f"unprivileged: {str(unprivileged).lower()!r} cannot be set, container {self._ctid} was made "
                f"{'un' if guest.unprivileged else ''}privileged and PVE never changes that",
                remedy="Correct the argument, or destroy the container and make it anew.",
                code=Code.INPUT,
            )
        # Somebody who has started it since has taken it as it is.
        unfinished = self._unfinished and not guest.running
        changes_for = self._clone_changes if unfinished else functools.partial(_options.changes, self._arguments)
        changes = changes_for(guest.wanted)
        if unfinished:
            self._actions.append("finished an interrupted creation")
        elif not changes:
            self._finish()
            return guest
        self._guests.check_possible(changes.options, delete=changes.delete, current=guest)
        self._check_place(None)
        if changes:
            self._note(changes, guest.wanted)
        if self._check_mode:
            return guest.changed(changes.options, changes.delete)
        if unfinished:
            return self._completed()
        self._apply(guest, lambda _config: changes)
        guest = self._checked()
        self._finish()
        return guest

    def _finish(self) -> None:
        if self._unfinished and not self._check_mode:
            self._guests.finished(self._ctid)

    def _note(self, changes: Changes, config: Mapping[str, str]) -> None:
        for key in (*changes.options, *changes.delete):
            if key in config:
                self._before[key] = config[key]
        self._after.update(changes.options)
        for resize in changes.resize:
            self._before[f"{resize.disk} size"] = resize.before
            self._after[f"{resize.disk} size"] = f"{resize.size_gb}G"
        self._actions.append("configured")

    def _apply(self, guest: Guest, changes_for: Callable[[Mapping[str, str]], Changes]) -> None:
        changes = changes_for(guest.wanted)
        if changes.options or changes.delete:
            self._warnings += self._guests.set(
                self._ctid, changes.options, delete=changes.delete, digest=guest.digest, timeout=self._timeout
            )
        for resize in changes.resize:
            self._warnings += self._guests.resize(self._ctid, resize.disk, f"{resize.size_gb}G", timeout=self._timeout)

    def _checked(self) -> Guest:
        """Read back what was written: PVE drops and rewrites silently."""
        guest = self._existing()
        left = _options.changes(self._arguments, guest.wanted)
        if left:
            missing = [*left.options, *left.delete, *(resize.disk for resize in left.resize)]
            raise PhoenixError(
                f"container {self._ctid} did not keep what was set: {', '.join(missing)}",
                remedy=f"Compare `pct config {self._ctid}` with the arguments; somebody else may be changing it, too.",
                code=Code.VERIFICATION,
                config=dict(guest.wanted),
            )
        return guest

    def _existing(self) -> Guest:
        guest = self._guests.read(self._ctid)
        if guest is None:
            raise no_container(self._ctid, self._guests.node_name)
        return guest

    def _check_place(self, ostemplate: str | None, storages: list[str] | None = None) -> None:
        rootfs = self._arguments.get("rootfs") or {}
        mounts = self._arguments.get("mounts") or ()
        named = [rootfs.get("storage"), *(mount.get("storage") for mount in mounts), *(storages or ())]
        for source in filter(None, (mount.get("source") for mount in mounts)):
            if self._node and not self._node.path(source).is_dir():
                raise invalid("mounts.source", source, f"is no directory of node {self._guests.node_name}",
                              "Create it there, or correct the path.")  # fmt: skip
        bridges = [network.get("bridge") for network in self._arguments.get("networks") or ()]
        self._guests.check_place(
            storages=[name for name in dict.fromkeys(named) if name],
            bridges=[name for name in dict.fromkeys(bridges) if name],
            ostemplate=ostemplate,
        )

    def _powered(self, guest: Guest) -> None:
        state = self._arguments["state"]
        if state == "present":
            return
        if state == "stopped":
            if guest.running:
                self._turn("stopped", lambda: self._guests.shutdown(self._ctid, timeout=self._timeout))
            return
        if state == "restarted" or not guest.running:
            self._check_startable(guest)
        if state == "restarted" and guest.running:
            self._turn("running again", self._restart)
        elif not guest.running:
            self._turn("running", lambda: self._guests.start(self._ctid, timeout=self._timeout))
        if not self._check_mode:
            self._wait()

    def _check_startable(self, guest: Guest) -> None:
        if guest.is_pve_template:
            raise PhoenixError(
                f"container {self._ctid} is a PVE template and can never run",
                remedy="Clone it and start the clone.",
                code=Code.POWER,
            )
        # PVE would still shut the container down, and then not start it.
        self._guests.check_possible({}, current=guest)
        if guest.running:
            self._guests.check_startable(self._ctid, guest.wanted, guest.raw)

    def _turn(self, into: str, action: Callable[[], object]) -> None:
        self._before.setdefault("state", "stopped" if into == "running" else "running")
        self._after["state"] = into
        self._do(into, action)

    def _restart(self) -> None:
        self._guests.shutdown(self._ctid, timeout=self._timeout)
        self._guests.start(self._ctid, timeout=self._timeout)

    def _do(self, what: str, action: Callable[[], object]) -> None:
        self._actions.append(what)
        if not self._check_mode:
            done = action()
            self._warnings += done if isinstance(done, list) else []

    def _wait(self) -> None:
        wait = self._arguments["wait"]
        deadline = self._clock.deadline(self._timeout)
        if wait in ("booted", "network"):
            self._until(deadline, lambda: self._guests.booted(self._ctid), lambda said: said in _UP, "systemd says {}")
        if wait == "network":
            self._until(deadline, self._missing_addresses, lambda missing: not missing, "it has no {}")
            self._until(deadline, lambda: self._guests.resolves(self._ctid), bool, "no name can be resolved inside")

    def _until(
        self, deadline: Deadline, ask: Callable[[], t.Any], enough: Callable[[t.Any], bool], problem: str
    ) -> None:
        while not enough(answer := ask()):
            if not deadline.pause(0.2):
                raise PhoenixError(
                    f"container {self._ctid} was not up after {self._timeout:g} s: "
                    + problem.format(answer or "nothing yet"),
                    remedy=f"Look inside (`pct enter {self._ctid}`: `systemctl --failed`, `networkctl`), "
                    "or raise timeout.",
                    code=Code.POWER,
                )

    def _missing_addresses(self) -> str:
        have = {ipaddress.ip_address(address) for address in self._guests.addresses(self._ctid)}
        static = _options.static_addresses(self._existing().config).values()
        wanted = [ipaddress.ip_interface(address).ip for address in static]
        missing = [str(address) for address in wanted if address not in have]
        return ", ".join(missing) if missing else ("" if have else "address")

    def _result(self, found: Guest | None) -> dict[str, t.Any]:
        # Where nothing was done, what was found is still what there is.
        now = self._guests.read(self._ctid) if self._actions and not self._check_mode else found
        guest = None if self._check_mode else now
        # Whatever is switched on or off in a check has nothing parked then.
        turned = self._check_mode and "state" in self._after
        return {
            "changed": bool(self._actions),
            "ctid": self._ctid,
            "actions": self._actions,
            "warnings": [explain_warning(self._ctid, said) for said in dict.fromkeys(self._warnings)],
            "container": described(guest) if guest else None,
            "restart_required": bool(now and now.restart_required and not turned),
            "diff": {"before": _lines(self._before), "after": _lines(self._after)},
        }


def _lines(options: Mapping[str, str]) -> str:
    return "".join(f"{key}: {value}\n" for key, value in sorted(options.items()))
