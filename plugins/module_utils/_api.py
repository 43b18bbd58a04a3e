# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# The way to act on containers through the REST API of Proxmox VE, from any machine, with an API token.

from __future__ import annotations

import re
import typing as t
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from ansible_collections.phoenix.hypervisor.plugins.module_utils._api_answers import (
    LazyConfigs,
    own_addresses,
    raw_lines,
    settings,
    snapshot,
    snapshot_config,
    volumes,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._api_client import (
    ApiError,
    Connection,
    open_connection,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._api_limits import check_token_limits
from ansible_collections.phoenix.hypervisor.plugins.module_utils._api_task import TaskError, Tasks, Upid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError, invalid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import (
    Guest,
    Interrupted,
    SnapshotConfig,
    device_missing,
    taken_after_all,
    took,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Clock

# PVE has to be able to say itself that the time it was told to wait for a shutdown is over.
POWER_PATIENCE = 30.0


class Api:
    """The containers of one node. PVE's answer or task is waited for; what it refused for a lock is tried again."""

    def __init__(self, connection: Connection, node_name: str, clock: Clock | None = None) -> None:
        self.node_name = node_name
        self._connection = connection
        self._clock = clock or Clock()
        self._tasks = Tasks(connection, node_name, self._clock)

    def read(self, ctid: int) -> Guest | None:
        try:
            config = self._get("lxc", ctid, "config", current=1)
            pending = self._get("lxc", ctid, "pending")
            status = self._get("lxc", ctid, "status", "current")
            listed = self._get("lxc", ctid, "snapshot")
        except ApiError as error:
            if error.code is Code.NO_CONTAINER:
                return None
            raise
        snapshots = {row["name"]: snapshot(row) for row in listed if row["name"] != "current"}
        return Guest(
            ctid=ctid,
            running=status["status"] == "running",
            config=settings(config),
            raw=raw_lines(config),
            pending={row["key"]: str(row["pending"]) for row in pending if "pending" in row},
            pending_delete=frozenset(row["key"] for row in pending if row.get("delete")),
            snapshots=snapshots,
            snapshot_configs=LazyConfigs(
                list(snapshots), lambda name: snapshot_config(self._get("lxc", ctid, "config", snapshot=name))
            ),
            digest=config["digest"],
        )

    def owner_of(self, ctid: int) -> str | None:
        for row in self._connection.call("get", ("cluster", "resources"), {"type": "vm"}):
            if row["vmid"] == ctid:
                if row["type"] == "lxc" and row["node"] == self.node_name:
                    return None
                return f"{'VM' if row['type'] == 'qemu' else 'container'} {ctid} on node {row['node']}"
        # Lists are cut down to what the token may see: "not in it" says something only with the right to see it.
        if not self._may(f"/vms/{ctid}", "VM.Audit"):
            raise PhoenixError(
                f"ctid: whether {ctid} is taken cannot be seen: the token {self._connection.token} lacks VM.Audit on "
                f"/vms/{ctid}",
                remedy="Give it a role with VM.Audit on /vms (PVEAuditor, or PVEVMAdmin to change containers).",
                code=Code.INPUT,
            )
        return None

    def check_possible(
        self,
        options: Mapping[str, str],
        *,
        delete: Sequence[str] = (),
        current: Guest | SnapshotConfig | None = None,
        creating: bool = False,
    ) -> None:
        check_token_limits(options, delete, current.config if current else {}, creating=creating)
        if creating and options.get("unprivileged") == "0" and not self._may("/", "Sys.Modify"):
            raise PhoenixError(
                f"unprivileged: the token {self._connection.token} may not create privileged containers: it lacks "
                "Sys.Modify on /",
                remedy="Give it a role with Sys.Modify on /, create the container unprivileged, or run the task on "
                "the node as root without the api_* options.",
                code=Code.INPUT,
            )

    def check_place(self, *, storages: Sequence[str], bridges: Sequence[str], ostemplate: str | None) -> None:
        """Raise for what is surely not there. A list that the token may not see leaves the verdict to PVE."""
        known = {row["storage"]: row for row in self._list("storage")} if storages else {}
        for storage in storages if known else ():
            if storage not in known:
                raise invalid(
                    "storage",
                    storage,
                    f"is no storage of node {self.node_name}, or the token may not see it",
                    f"Use one of {', '.join(sorted(known))}, or give the token Datastore.AllocateSpace on "
                    f"/storage/{storage}.",
                )
            if "rootdir" not in known[storage].get("content", "").split(","):
                raise invalid(
                    "storage",
                    storage,
                    "does not take containers",
                    f"Allow it (pvesm set {storage} --content rootdir,...), or use another storage.",
                )
        present = {row["iface"] for row in self._list("network", type="any_bridge")} if bridges else set()
        for bridge in bridges if present else ():
            if bridge not in present:
                raise invalid(
                    "bridge",
                    bridge,
                    f"is no bridge of node {self.node_name}, or the token may not see it",
                    f"Use one of {', '.join(sorted(present))}.",
                )
        if ostemplate and (found := re.fullmatch(r"([^:/\s]+):vztmpl/.+", ostemplate)):
            volumes = {row["volid"] for row in self._list("storage", found.group(1), "content", content="vztmpl")}
            if volumes and ostemplate not in volumes:
                raise invalid(
                    "ostemplate",
                    ostemplate,
                    "is not there",
                    f"Download it (pveam download {found.group(1)} ...), or use one of {', '.join(sorted(volumes))}.",
                )

    def create(
        self,
        ctid: int,
        ostemplate: str,
        options: Mapping[str, str],
        *,
        ssh_public_keys: Sequence[str] = (),
        timeout: float,
    ) -> Sequence[str]:
        params = {"vmid": ctid, "ostemplate": ostemplate, **options}
        if ssh_public_keys:
            params["ssh-public-keys"] = "\n".join(ssh_public_keys)
        return self._tasks.act(ctid, "post", (), params, timeout=timeout, repeat_task=False)

    def clone(
        self,
        source: int,
        ctid: int,
        *,
        snapshot: str | None,
        full: bool,
        hostname: str | None,
        storage: str | None,
        timeout: float,
    ) -> Sequence[str]:
        wishes = {"snapname": snapshot, "hostname": hostname, "storage": storage}
        params = {"newid": ctid, "full": int(full), **{key: value for key, value in wishes.items() if value}}
        return self._tasks.act(source, "post", (source, "clone"), params, timeout=timeout, repeat_task=False)

    def set(
        self,
        ctid: int,
        options: Mapping[str, str],
        *,
        delete: Sequence[str] = (),
        digest: str = "",
        timeout: float,
    ) -> Sequence[str]:
        if not options and not delete:
            return []
        params = dict(options)
        if delete:
            params["delete"] = ",".join(delete)
        if digest:
            params["digest"] = digest
        try:
            return self._tasks.act(ctid, "put", (ctid, "config"), params, timeout=timeout)
        except ApiError as error:
            if not (error.outcome_unknown or device_missing(error)):
                raise
            return [taken_after_all(error, taken=self._took(ctid, options, delete))]

    def resize(self, ctid: int, disk: str, size: str, *, timeout: float) -> Sequence[str]:
        return self._tasks.act(ctid, "put", (ctid, "resize"), {"disk": disk, "size": size}, timeout=timeout)

    def start(self, ctid: int, *, timeout: float) -> Sequence[str]:
        return self._power(ctid, "start", {}, timeout, wanted="running")

    def stop(self, ctid: int, *, timeout: float) -> Sequence[str]:
        return self._power(ctid, "stop", {}, timeout, wanted="stopped")

    def shutdown(self, ctid: int, *, timeout: float) -> Sequence[str]:
        return self._power(ctid, "shutdown", {"timeout": max(1, int(timeout))}, timeout, wanted="stopped")

    def _power(
        self, ctid: int, verb: str, params: Mapping[str, t.Any], timeout: float, *, wanted: str
    ) -> Sequence[str]:
        try:
            return self._tasks.act(
                ctid,
                "post",
                (ctid, "status", verb),
                params,
                timeout=timeout,
                code=Code.POWER,
                patience=POWER_PATIENCE,
            )
        except (ApiError, TaskError) as error:
            # Somebody else was faster, or the answer was lost: what counts is how the container is now. PVE also says
            # of one that does not exist that it is not running.
            try:
                now = self._get("lxc", ctid, "status", "current")["status"]
            except ApiError as lost:
                raise (lost if lost.code is Code.NO_CONTAINER else error) from None
            if now == wanted:
                return []
            raise

    def destroy(self, ctid: int, *, timeout: float) -> Sequence[str]:
        self._check_quorum(ctid)
        return self._tasks.act(ctid, "delete", (ctid,), {"purge": 1}, timeout=timeout)

    def snapshot(self, ctid: int, name: str, description: str, *, timeout: float) -> Sequence[str]:
        params = {"snapname": name, "description": description}
        return self._tasks.act(ctid, "post", (ctid, "snapshot"), params, timeout=timeout, code=Code.SNAPSHOT)

    def delete_snapshot(self, ctid: int, name: str, *, timeout: float) -> Sequence[str]:
        return self._tasks.act(ctid, "delete", (ctid, "snapshot", name), timeout=timeout, code=Code.SNAPSHOT)

    def rollback(self, ctid: int, name: str, *, timeout: float) -> Sequence[str]:
        """Roll back and leave the container stopped.

        C(start=1) is never sent: the task of the rollback ends before that of the start, whose name PVE does not tell.
        """
        return self._tasks.act(ctid, "post", (ctid, "snapshot", name, "rollback"), timeout=timeout, code=Code.SNAPSHOT)

    def snapshot_obstacle(self, guest: Guest) -> PhoenixError | None:
        if guest.is_pve_template:
            return PhoenixError(
                f"ctid: {guest.ctid} is a PVE template, and templates cannot be snapshotted",
                remedy="Take the snapshot of an ordinary container.",
                code=Code.SNAPSHOT,
            )
        if self._get("lxc", guest.ctid, "feature", feature="snapshot")["hasFeature"]:
            return None
        binds = [key for key, value in sorted(volumes(guest.config).items()) if value.startswith("/")]
        why = f"bind or device mounts ({', '.join(binds)})" if binds else "a volume lies on a storage without it"
        return PhoenixError(
            f"ctid: {guest.ctid}: the snapshot feature is not available: {why}",
            remedy="Take bind and device mount points out, and use a storage that can snapshot (ZFS, LVM-thin, Ceph, "
            "btrfs).",
            code=Code.SNAPSHOT,
        )

    def check_startable(self, ctid: int, options: Mapping[str, str], raw: Sequence[tuple[str, str]]) -> None:
        """The node's files cannot be seen from here; PVE's task says what is missing."""

    def dependents(self, guest: Guest, snapshot: str) -> Sequence[str]:
        """Nothing: the API does not show what was cloned from a snapshot; PVE itself refuses to delete it then."""
        return []

    def newest_only_rollback(self, guest: Guest) -> bool:
        used = {value.partition(":")[0] for value in volumes(guest.config).values()}
        return any(row["storage"] in used for row in self._list("storage") if row["type"] == "zfspool")

    def wait_unlocked(self, ctid: int, *, timeout: float) -> None:
        self._tasks.wait_unlocked(ctid, timeout=timeout)

    def interrupted(self, ctid: int, guest: Guest | None) -> Interrupted:
        """Never anything of ours: the API cannot tell who made what, so a half-made container is reported."""
        if guest is None or guest.lock != "create" or any(self._creates(upid, ctid) for upid in self._tasks.active()):
            return ""
        raise PhoenixError(
            f"ctid: {ctid} is half made (lock: create), and no running task that makes it can be seen",
            remedy=f"Look at the task list of node {self.node_name} (tasks of others are seen with Sys.Audit on "
            f"/nodes/{self.node_name} only). If none is at work, remove it on the node: pct unlock {ctid}, then "
            f"pct destroy {ctid} --purge.",
        )

    def clear(self, ctid: int) -> None:
        """Nothing: no creation is ever known to be ours."""

    def finished(self, ctid: int) -> None:
        """Nothing: no note is kept of what was begun."""

    def check_inside(self) -> None:
        raise _needs_the_node()

    def booted(self, ctid: int) -> str:
        raise _needs_the_node()

    def addresses(self, ctid: int) -> Sequence[str]:
        return own_addresses(self._get("lxc", ctid, "interfaces") or ())

    def resolves(self, ctid: int) -> bool:
        raise _needs_the_node()

    def _get(self, *path: str | int, **params: t.Any) -> t.Any:
        return self._connection.call("get", ("nodes", self.node_name, *path), params)

    def _list(self, *path: str | int, **params: t.Any) -> list[dict[str, t.Any]]:
        """Rows of the node, none when the token may not see them."""
        try:
            rows: list[dict[str, t.Any]] = self._get(*path, **params)
        except ApiError as error:
            if error.status == HTTPStatus.FORBIDDEN:
                return []
            raise
        return rows

    def _may(self, path: str, privilege: str) -> bool:
        permissions = self._connection.call("get", ("access", "permissions"), {"path": path})
        return bool(permissions.get(path, {}).get(privilege))

    def _check_quorum(self, ctid: int) -> None:
        """Without quorum PVE destroys the volumes first and then cannot delete the configuration."""
        try:
            status = self._connection.call("get", ("cluster", "status"))
            clusters = [entry for entry in status if entry["type"] == "cluster"]
            # A member of a cluster whose corosync is down looks like a node without a cluster, but for this list.
            alone = not clusters and not self._connection.call("get", ("cluster", "config", "nodes"))
        except ApiError as error:
            raise error.with_context("Nothing is destroyed before it is known that the cluster has quorum") from None
        if not alone and not all(cluster.get("quorate") for cluster in clusters or [{}]):
            raise PhoenixError(
                f"ctid: {ctid} was not destroyed: the cluster of node {self.node_name} has no quorum",
                remedy="Bring the other nodes back (pvecm status), then run again: without quorum PVE would destroy "
                "the volumes and keep the configuration.",
            )

    def _took(self, ctid: int, options: Mapping[str, str], delete: Sequence[str]) -> bool:
        try:
            have = settings(self._get("lxc", ctid, "config"))
        except ApiError:
            return False
        return took(have, options, delete)

    def _creates(self, upid: Upid, ctid: int) -> bool:
        if upid.type == "vzclone":
            # A clone's task bears the source's id; the new one stands in its log only.
            return any(line.endswith(f" with ID {ctid}") for line in self._tasks.log(upid))
        return upid.id == str(ctid)


def connect(params: Mapping[str, t.Any], clock: Clock | None = None) -> Api:
    """The API of the node that the arguments (API_ARGUMENTS) name. Nothing is sent yet."""
    return Api(open_connection(params), params["node"], clock)


def _needs_the_node() -> PhoenixError:
    return PhoenixError(
        "wait: 'booted' and 'network' need the node: the API runs no command inside a container",
        remedy="Use wait: running, or leave the api_* options out and run the task on the node as root.",
        code=Code.INPUT,
    )
