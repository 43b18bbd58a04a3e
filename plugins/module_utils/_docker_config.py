# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# Docker's daemon.json, which others write to as well, and what the NVIDIA Container Toolkit needs beside it.

from __future__ import annotations

import copy
import json
import re
import tempfile
import typing as t
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError, about
from ansible_collections.phoenix.hypervisor.plugins.module_utils._files import replace
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Runner
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import run as run_command

DAEMON = "etc/docker/daemon.json"
TOOLKIT = "etc/nvidia-container-runtime/config.toml"
CDI_SPEC = "var/run/cdi/nvidia.yaml"
# With systemd as cgroup driver, a daemon-reload takes away what the toolkit's hook allowed a container.
_NVIDIA: Mapping[str, t.Any] = {
    "runtimes": {"nvidia": {"args": [], "path": "nvidia-container-runtime"}},
    "features": {"cdi": True},
    "exec-opts": ["native.cgroupdriver=cgroupfs"],
}
_NOT_INSTALLED = 127
# Of the drivers that keep logs in files, the first is Docker's own choice.
_LOG_FILES = ("json-file", "local")
_ROTATION = ("max-size", "max-file")
_LIBCUDA = "usr/lib/x86_64-linux-gnu/libcuda.so.1"
_SECTION = re.compile(r"^\s*\[\s*nvidia-container-cli\s*\]\s*$", re.MULTILINE)
_SETTING = re.compile(r"^\s*(#?)\s*no-cgroups\s*=\s*(\w+).*$", re.MULTILINE)


def parse_daemon(text: str, path: str) -> dict[str, t.Any]:
    """The settings; text that Docker could not read either is refused with its position."""

    def unique(pairs: Sequence[tuple[str, t.Any]]) -> dict[str, t.Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _value in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise _unreadable(path, f"names {twice!r} twice")
        return found

    if not text.strip():
        return {}
    try:
        settings = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise _unreadable(path, f"is no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    if not isinstance(settings, dict):
        raise _unreadable(path, "holds no JSON object")
    return settings


def _unreadable(path: str, problem: str) -> PhoenixError:
    return PhoenixError(
        f"{path} {problem}",
        remedy="Correct the file, or move it away. It was not touched.",
        code=Code.INPUT,
    )


def merge(current: Mapping[str, t.Any], wanted: Mapping[str, t.Any], path: str = "") -> dict[str, t.Any]:
    """What is there, with what is wanted: objects are merged, lists are extended, other values are replaced."""
    merged = copy.deepcopy(dict(current))
    for key, value in wanted.items():
        name = f"{path}{key}"
        there = merged.get(key)
        if there is not None and _kind(there) is not _kind(value):
            raise PhoenixError(
                f"{name} of daemon.json is {json.dumps(there)}, where {json.dumps(value)} has to be merged in",
                remedy="Correct the file. It was not touched.",
                code=Code.INPUT,
            )
        if isinstance(value, Mapping):
            merged[key] = merge(there or {}, value, f"{name}.")
        elif isinstance(value, list):
            merged[key] = _extended(there or [], value, by_name=key == "exec-opts")
        else:
            merged[key] = value
    return merged


def _kind(value: t.Any) -> type:
    return next((kind for kind in (dict, list) if isinstance(value, kind)), str)


def _extended(there: Sequence[t.Any], wanted: Sequence[t.Any], *, by_name: bool) -> list[t.Any]:
    """An option such as native.cgroupdriver that somebody set already stays as it is."""
    names = {str(each).partition("=")[0] for each in there} if by_name else set()
    return [*there, *(each for each in wanted if each not in there and str(each).partition("=")[0] not in names)]


def with_settings(current: Mapping[str, t.Any], wanted: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Merged, and without a rotation of logs that their driver would not know: Docker would not start with it."""
    before, named = current.get("log-driver") or _LOG_FILES[0], wanted.get("log-driver")
    if not named and before not in _LOG_FILES:
        wanted = _unrotated(wanted)
    if named and named not in _LOG_FILES and before in _LOG_FILES:
        current = _unrotated(current)
    return merge(current, wanted)


def _unrotated(settings: Mapping[str, t.Any]) -> dict[str, t.Any]:
    there = settings.get("log-opts")
    if not isinstance(there, Mapping):
        return dict(settings)
    rest = {key: value for key, value in settings.items() if key != "log-opts"}
    kept = {key: value for key, value in there.items() if key not in _ROTATION}
    return {**rest, "log-opts": kept} if kept else rest


def with_nvidia(settings: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The nvidia runtime is there for who asks for it; as the default it would stop containers without a GPU."""
    merged = merge(settings, _NVIDIA)
    if merged.get("default-runtime") == "nvidia":
        del merged["default-runtime"]
    return merged


def with_no_cgroups(text: str, *, wanted: bool) -> str:
    """The toolkit's config.toml: true is right in unprivileged containers only, and false is what it does unasked."""
    section = _SECTION.search(text)
    start = section.end() if section else len(text)
    following = re.compile(r"^\s*\[", re.MULTILINE).search(text, start)
    end = following.start() if following else len(text)
    body = text[start:end]
    settings = list(_SETTING.finditer(body))
    active = [setting for setting in settings if not setting[1]]
    if (active[-1][2] == "true" if active else False) == wanted:
        return text
    line = f"no-cgroups = {str(wanted).lower()}"
    if not section:
        return f"{text.rstrip()}\n\n[nvidia-container-cli]\n{line}\n".lstrip()
    if settings:
        setting = (active or settings)[-1]
        indented = re.match(r"\s*", setting[0])
        body = f"{body[: setting.start()]}{indented[0] if indented else ''}{line}{body[setting.end() :]}"
    else:
        body = f"\n{line}{body}"
    return text[:start] + body + text[end:]


class DockerConfig:
    """One request, from arguments to result."""

    def __init__(
        self,
        settings: Mapping[str, t.Any],
        *,
        nvidia: bool,
        check_mode: bool = False,
        root: Path = Path("/"),
        runner: Runner = run_command,
    ) -> None:
        self.settings, self.nvidia, self.check_mode = settings, nvidia, check_mode
        self.root, self.runner = root, runner

    def run(self) -> dict[str, t.Any]:
        before = self._texts()
        after = {DAEMON: self._daemon(before[DAEMON])}
        if self.nvidia:
            after[TOOLKIT] = with_no_cgroups(before[TOOLKIT], wanted=self.unprivileged())
        changed = [path for path, text in after.items() if text != before[path]]
        if DAEMON in changed and not self.check_mode:
            self._check(after[DAEMON])
        for path in changed:
            if not self.check_mode:
                self._write(path, after[path])
        return {
            "changed": bool(changed),
            "unprivileged": self.unprivileged(),
            "restart_required": DAEMON in changed or self.older_daemon(),
            "cdi_stale": self.nvidia and self.cdi_stale(),
            "diff": [
                {"before_header": f"/{path}", "after_header": f"/{path}", "before": before[path], "after": after[path]}
                for path in changed
            ],
        }

    def _texts(self) -> dict[str, str]:
        return {path: self._text(path) for path in (DAEMON, TOOLKIT)}

    def _text(self, path: str) -> str:
        try:
            return (self.root / path).read_text()
        except FileNotFoundError:
            return ""

    def _daemon(self, text: str) -> str:
        current = parse_daemon(text, f"/{DAEMON}")
        wanted = with_settings(current, self.settings)
        if self.nvidia:
            wanted = with_nvidia(wanted)
        return text if wanted == current else json.dumps(wanted, indent=4, sort_keys=True) + "\n"

    def unprivileged(self) -> bool:
        """Whether root here is another user on the node."""
        return self._text("proc/self/uid_map").split()[:2] not in ([], ["0", "0"])

    def older_daemon(self) -> bool:
        """Whether dockerd runs with the configuration of before, for example after a run that was interrupted."""
        try:
            return (self.root / DAEMON).stat().st_mtime > (self.root / "run/docker.pid").stat().st_mtime
        except FileNotFoundError:
            return False

    def cdi_stale(self) -> bool:
        """Whether Docker would be told of other GPUs, or of another driver, than there are."""
        gpus = {entry.name for entry in (self.root / "dev").glob("nvidia[0-9]*")}
        library = self.root / _LIBCUDA
        if not gpus or not library.exists():
            return False
        spec = self._text(CDI_SPEC)
        listed = set(re.findall(r"/dev/(nvidia\d+)\b", spec))
        return listed != gpus or f"/{library.resolve().name}" not in spec

    def _check(self, text: str) -> None:
        """Ask dockerd itself, where there is one, before its file is replaced."""
        with about(tempfile.gettempdir()), tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(text)
            file.flush()
            done = self.runner(["dockerd", "--validate", f"--config-file={file.name}"], timeout=30)
        if not done.ok and done.rc != _NOT_INSTALLED:
            raise PhoenixError(
                f"dockerd refuses the settings that /{DAEMON} would get: {done.stderr.strip() or done.stdout.strip()}",
                remedy="Correct lxc_docker_daemon_settings, or the file. It was not touched.",
                code=Code.INPUT,
            )

    def _write(self, path: str, text: str) -> None:
        target = self.root / path
        replace(target, text, mode=target.stat().st_mode & 0o777 if target.exists() else 0o644)
