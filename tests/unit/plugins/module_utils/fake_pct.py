# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A pct that does on a FakeNode's files what the recorded one did on a node's, with its messages. It knows only what
# the collection starts; everything else, and every read through pct, fails the test. Answers given with on() come
# first, so a test can make any single command fail.

from __future__ import annotations

import copy
import hashlib
import re

from ansible_collections.phoenix.hypervisor.plugins.module_utils._lxc_config import format_properties, parse_properties
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils import pve_conf
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.fake_pct_base import (
    FAST,
    HOT,
    FakePctBase,
    Refused,
    refuse_parameter,
    unuse,
    volumes,
)
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import ok

_SNAPSHOT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]+")
_SNAPSHOT_STORAGES = ("zfspool", "btrfs", "lvmthin", "rbd")
_NOT_COPIED = re.compile(r"lock|parent|template|snaptime|snapstate|unused\d+")


class FakePct(FakePctBase):
    def _create(self, ctid: int, ostemplate: str, **options: str) -> Completed:
        usage = "pct create <vmid> <ostemplate> [OPTIONS]"
        self._verify(options, usage)
        self._refuse_existing(ctid, 2)
        tarball = self.fake.node.template_file(ostemplate)
        if tarball is None or not self.fake.node.path(tarball).is_file():
            missing = f"volume '{ostemplate}' does not exist"
            raise Refused(f"unable to create CT {ctid} - {missing}", stdout=f"{missing}\n")
        storage = options.pop("storage", "local")
        options.setdefault("rootfs", f"{storage}:4")
        unprivileged = options.pop("unprivileged", "1")
        conf = pve_conf.parse("arch: amd64\nmemory: 512\nostype: debian\nswap: 512\n")
        if unprivileged == "1":
            conf.main.options["unprivileged"] = "1"
        for key in sorted(options, key=lambda key: (key != "rootfs", key)):
            self._put(ctid, conf, conf.main, key, options[key])
        self._save(ctid, conf)
        text = f"extracting archive '{tarball}'\nDetected container architecture: amd64\n"
        if "nesting=1" in options.get("features", ""):
            return ok(text)
        warning = "WARN: Systemd 252 detected. You may need to enable nesting.\n"
        return ok(text + warning, "Task finished with 1 warning(s)!\n")

    def _clone(self, source: int, ctid: int, **options: str) -> Completed:
        self._verify(options, "pct clone <vmid> <newid> [OPTIONS]")
        conf = self._load(source, 2, unlocked=False)
        self._refuse_existing(ctid, 255)
        conf = self._load(source)
        snapshot = options.get("snapname")
        if snapshot is not None and snapshot not in conf.snapshots:
            raise Refused(f"snapshot '{snapshot}' does not exist", 2)
        template = conf.main.options.get("template") == "1"
        full = options.get("full", "0" if template else "1") == "1"
        if full and snapshot is None and self._running(source):
            raise Refused("Full clone of a running container is only possible from a snapshot", 2)
        section = copy.deepcopy(conf.snapshots[snapshot] if snapshot else conf.main)
        for key, volume in volumes(section.options):
            if volume.startswith("/"):
                raise Refused(f"unable to clone mountpoint '{key}' (type bind)", 2)
            if not full and not template and self._storage_type(volume) == "zfspool":
                raise Refused(f"Linked clone feature for '{volume}' is not available", 2)
        section.options = {key: value for key, value in section.options.items() if not _NOT_COPIED.fullmatch(key)}
        if "hostname" in options:
            section.options["hostname"] = options["hostname"]
        section.description = options.get("description", section.description)
        for number, (key, volume) in enumerate(sorted(volumes(section.options), key=lambda pair: pair[0] != "rootfs")):
            storage = options.get("storage", volume.partition(":")[0])
            section.options[key] = section.options[key].replace(volume, f"{storage}:subvol-{ctid}-disk-{number}", 1)
        for key in [key for key in section.options if key.startswith("net")]:
            kept = {k: v for k, v in parse_properties(section.options[key]).items() if k != "hwaddr"}
            section.options[key] = self._net(key, format_properties(kept))
        self._save(ctid, pve_conf.PveConf(section, pve_conf.PveSection(), {}, []))
        return ok(f"creating a clone of container {source} with ID {ctid}\n")

    def _destroy(self, ctid: int, **options: str) -> Completed:
        conf = self._load(ctid, 2, unlocked=False)
        if conf.main.options.get("protection") == "1":
            raise Refused(f"can't remove CT {ctid} - protection mode enabled")
        self._load(ctid)
        if self._running(ctid):
            raise Refused(f"unable to destroy CT {ctid} - container is running")
        self.fake.node.config_path(ctid).unlink()
        return ok(f"purging CT {ctid} from related configurations..\n" if options.get("purge") == "1" else "")

    # set, resize, unlock

    def _set(self, ctid: int, **options: str) -> Completed | None:
        usage = "pct set <vmid> [OPTIONS]"
        if not options:
            raise Refused("no options specified", 2)
        self._verify({k: v for k, v in options.items() if k not in ("delete", "revert", "digest")}, usage)
        conf = self._load(ctid, 2)
        digest, delete, revert = (options.pop(name, "") for name in ("digest", "delete", "revert"))
        if digest and digest != hashlib.sha1(self.fake.node.config_path(ctid).read_bytes()).hexdigest():
            raise Refused("detected modified configuration - file changed by other user? Try again.")
        warnings = ""
        waiting = {name for name in conf.pending.options.get("delete", "").split(",") if name}
        for key in filter(None, revert.split(",")):
            waiting.discard(key)
            conf.pending.options.pop(key, None)
        for key in filter(None, delete.split(",")):
            if key in options:
                text = f"delete: you can't use '-{key}' and -delete {key}' at the same time"
                raise Refused(f"400 Parameter verification failed.\n{text}\n{usage}")
            if key in ("memory", "rootfs", "arch"):
                raise Refused(f"unable to delete required option '{key}'")
            known = conf.main.options.keys() | conf.pending.options.keys()
            if key in known or (key == "description" and conf.main.description):
                waiting.add(key)
            else:
                warnings += f"cannot delete '{key}' - not set in current configuration!\n"
        for key, value in options.items():
            if key in ("unprivileged", "template"):
                raise Refused(f"unable to modify read-only option: '{key}'")
            waiting.discard(key)
            self._put(ctid, conf, conf.pending, key, value)
        _park(conf, {key for key in waiting if key in conf.main.options or key == "description"})
        for key in [key for key, value in conf.pending.options.items() if conf.main.options.get(key) == value]:
            del conf.pending.options[key]
        before = set(conf.main.options)
        running = self._running(ctid)
        self._apply(conf, _plugged_at_once(conf) if running else None)
        self._save(ctid, conf)
        for key in sorted(conf.main.options.keys() - before if running else ()):
            self._make_device(ctid, key, conf.main.options[key])
        # PVE writes first and looks at the devices afterwards.
        self._refuse_missing_devices(conf.main.options, 2)
        return ok(stderr=warnings)

    def _apply(self, conf: pve_conf.PveConf, only: set[str] | None = None) -> None:
        """Make pending changes effective: all of them, or only those keys."""
        waiting = {name for name in conf.pending.options.pop("delete", "").split(",") if name}
        for key in sorted(waiting if only is None else waiting & only):
            waiting.discard(key)
            if key == "description":
                conf.main.description = ""
            value = conf.main.options.pop(key, "")
            if key.startswith("mp") and not value.startswith("/"):
                unuse(conf.main.options, value.partition(",")[0])
        for key in [key for key in conf.pending.options if only is None or key in only]:
            conf.main.options[key] = conf.pending.options.pop(key)
        if conf.pending.description and (only is None or "description" in only):
            conf.main.description, conf.pending.description = conf.pending.description, ""
        _park(conf, waiting)

    def _resize(self, ctid: int, disk: str, size: str) -> None:
        conf = self._load(ctid, 2)
        if disk not in conf.main.options:
            raise Refused(f"mount point '{disk}' does not exist", 2)
        properties = parse_properties(conf.main.options[disk], "volume")
        old = int(properties["size"].rstrip("G"))
        number = int(size.strip("+G"))
        new = old + number if size.startswith("+") else number
        if new < old:
            raise Refused("unable to shrink disk size", 255)
        conf.main.options[disk] = format_properties({**properties, "size": f"{new}G"}, "volume")
        self._save(ctid, conf)

    def _unlock(self, ctid: int) -> None:
        conf = self._load(ctid, 2, unlocked=False)
        if conf.main.options.pop("lock", None) is None:
            raise Refused("no lock found trying to remove any lock")
        self._save(ctid, conf)

    # power

    def _start(self, ctid: int, **_options: str) -> None:
        if self._running(ctid):
            raise Refused(f"CT {ctid} already running")
        conf = self._load(ctid)
        if conf.main.options.get("template") == "1":
            raise Refused("you can't start a CT if it's a template")
        self._apply(conf)
        self._save(ctid, conf)
        self._refuse_missing_devices(conf.main.options, 255)
        for key, value in conf.main.lxc:
            source, target, _type, flags = [*value.split(), "", "", "", ""][:4]
            if key == "lxc.mount.entry" and "optional" not in flags and not self.fake.node.path(source).exists():
                place = f'"{source}" onto "/usr/lib/x86_64-linux-gnu/lxc/rootfs/{target}"'
                reason = f"safe_mount: 1334 No such file or directory - Failed to mount {place}\n"
                self.fake.write(f"run/pve/ct-{ctid}.stderr", f"lxc-start: {ctid}: ../src/lxc/utils.c: {reason}")
                raise Refused(f"startup for container '{ctid}' failed", stdout=reason)
        self._boot(ctid, conf.main)

    def _boot(self, ctid: int, main: pve_conf.PveSection) -> None:
        rules = ["a"] if main.options.get("unprivileged") == "1" else []
        self.fake.run_container(ctid)
        for key, value in sorted(main.options.items()):
            rules += self._make_device(ctid, key, value)
        for key, value in main.lxc:
            if key == "lxc.cgroup2.devices.allow":
                rules.append(value)
            elif key == "lxc.mount.entry":
                self._bind(ctid, value)
        self.fake.monitor.items[ctid, "lxc.cgroup2.devices.allow"] = tuple(rules)

    def _make_device(self, ctid: int, key: str, value: str) -> list[str]:
        """Put a devN into the running container; gives the rule that a start of the container asks LXC for."""
        if not re.fullmatch(r"dev\d+", key):
            return []
        properties = parse_properties(value, "path")
        path = properties["path"]
        major, minor, _mode = self._device(path)
        self.fake.device(path, major, minor, mode=int(properties.get("mode", "0660"), 8), ctid=ctid)
        self.fake.mount(ctid, path)
        return [f"c {major}:{minor} {'r' if properties.get('deny-write') == '1' else 'rw'}"]

    def _bind(self, ctid: int, entry: str) -> None:
        source, target, _type, flags = entry.split()[:4]
        # A target with a leading slash is looked for outside of the container and silently left out.
        if target.startswith("/") or "create=file" not in flags:
            return
        if not target.startswith("dev/"):
            if self.fake.node.path(source).exists():
                self.fake.mount(ctid, f"/{target}", source)
            return
        if self.fake.node.path(source).exists():
            major, minor, mode = self._device(source)
            self.fake.device(f"/{target}", major, minor, mode=mode, ctid=ctid)
            self.fake.mount(ctid, f"/{target}", source)
        else:
            self.fake.impostor(f"/{target}", ctid=ctid)

    def _stop(self, ctid: int, **_options: str) -> None:
        if not self._running(ctid):
            raise Refused(f"CT {ctid} not running")
        self._load(ctid)
        self.fake.stop_container(ctid)

    def _shutdown(self, ctid: int, **options: str) -> None:
        if not (self._running(ctid) and ctid in self.stubborn):
            self._stop(ctid)
            return
        self._load(ctid)
        timeout = options.get("timeout", "60")
        # lxc-stop waits that long, and pct afterwards once more.
        self.fake.clock.advance(2 * float(timeout) + 5)
        text = f"command 'lxc-stop -n {ctid} --nokill --timeout {timeout}' failed: exit code 1\n"
        raise Refused("container did not stop", stdout=text)

    def _reboot(self, ctid: int, **_options: str) -> None:
        if not self._running(ctid):
            raise Refused(f"VM {ctid} not running")
        self._stop(ctid)
        self._start(ctid)

    # snapshots

    def _snapshot(self, ctid: int, name: str, **options: str) -> None:
        usage = "pct snapshot <vmid> <snapname> [OPTIONS]"
        if not _SNAPSHOT_NAME.fullmatch(str(name)):
            refuse_parameter("snapname", f"invalid format - invalid configuration ID '{name}'\n", usage)
        if len(name) > 40:
            refuse_parameter("snapname", "value may only be 40 characters long", usage)
        if name in ("current", "vzdump"):
            raise Refused(f"unable to use snapshot name '{name}' (reserved name)", 2)
        conf = self._load(ctid)
        main = conf.main
        if main.options.get("template") == "1":
            raise Refused("you can't take a snapshot if it's a template")
        if name in conf.snapshots:
            raise Refused(f"snapshot name '{name}' already used")
        if any(self._storage_type(volume) not in _SNAPSHOT_STORAGES for _key, volume in volumes(main.options)):
            raise Refused("snapshot feature is not available")
        kept = {key: value for key, value in main.options.items() if key == "parent" or not _NOT_COPIED.fullmatch(key)}
        kept["snaptime"] = str(self.now)
        self.now += 10
        description = options.get("description", "")
        conf.snapshots[name] = pve_conf.PveSection(kept, description, list(main.lxc))
        main.options["parent"] = name
        self._save(ctid, conf)

    def _delsnapshot(self, ctid: int, name: str, **_options: str) -> None:
        conf = self._load(ctid, unlocked=False)
        if name not in conf.snapshots:
            raise Refused(f"snapshot '{name}' does not exist")
        self._load(ctid)
        gone = conf.snapshots[name]
        for _key, volume in volumes(gone.options):
            dataset = f"rpool/data/{volume.partition(':')[2]}@{name}"
            if self.dependents.get(dataset):
                conf.main.options["lock"] = "snapshot-delete"
                gone.options["snapstate"] = "delete"
                self._save(ctid, conf)
                raise Refused(f"zfs error: cannot destroy '{dataset}': snapshot has dependent clones")
        del conf.snapshots[name]
        for section in (conf.main, *conf.snapshots.values()):
            if section.options.get("parent") == name:
                del section.options["parent"]
                if "parent" in gone.options:
                    section.options["parent"] = gone.options["parent"]
        self._save(ctid, conf)

    def _rollback(self, ctid: int, name: str, **options: str) -> None:
        conf = self._load(ctid, unlocked=False)
        if name not in conf.snapshots:
            raise Refused(f"snapshot '{name}' does not exist")
        section = conf.snapshots[name]
        if state := section.options.get("snapstate"):
            raise Refused(f"unable to rollback to incomplete snapshot (snapstate = {state})")
        for _key, volume in volumes(section.options):
            newer = [other for other in conf.snapshots.values() if _age(other) > _age(section)]
            if self._storage_type(volume) == "zfspool" and any(
                volume in dict(volumes(n.options)).values() for n in newer
            ):
                raise Refused(f"can't rollback, '{name}' is not most recent snapshot on '{volume}'")
        self._load(ctid)
        if self._running(ctid):
            self._stop(ctid)
        old = conf.main
        kept = {key: value for key, value in section.options.items() if key not in ("snaptime", "snapstate")}
        unused = {key: value for key, value in old.options.items() if key.startswith("unused")}
        conf.main = pve_conf.PveSection({**kept, **unused, "parent": name}, old.description, list(section.lxc))
        remaining = dict(volumes(kept)).values()
        for _key, volume in volumes(old.options):
            if volume not in remaining:
                unuse(conf.main.options, volume)
        conf.pending = pve_conf.PveSection()
        self._save(ctid, conf)
        if options.get("start") == "1":
            self._start(ctid)


def _park(conf: pve_conf.PveConf, waiting: set[str]) -> None:
    conf.pending.options.pop("delete", None)
    if waiting:
        conf.pending.options["delete"] = ",".join(sorted(waiting))


def _plugged_at_once(conf: pve_conf.PveConf) -> set[str]:
    """What a running container takes without a restart (pct-transcripts 3)."""
    pending = conf.pending.options
    new = {key for key in pending if re.fullmatch(r"(?:mp|dev)\d+", key) and key not in conf.main.options}
    deleted = set(pending.get("delete", "").split(","))
    nets = {key for key in pending.keys() | deleted if re.fullmatch(r"net\d+", key)}
    return {*FAST, *HOT, *new, *nets}


def _age(section: pve_conf.PveSection) -> int:
    return int(section.options.get("snaptime", "0"))
