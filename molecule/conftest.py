# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# How the scenarios' tests look at the node and into the containers. They see what anybody sees who logs in, and use
# nothing of the collection.

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

_LISTED = re.compile(r"^ *[`|]?-> (?P<name>\S+) +(?P<time>\S+ \S+)? *(?P<description>.*)$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Section:
    """The settings of a container, or those that a snapshot keeps."""

    lines: list[str]

    @property
    def values(self) -> dict[str, str]:
        """The lines that are KEY: VALUE; the last one where a key stands more than once."""
        return dict(line.split(": ", 1) for line in self.lines if ": " in line and not line.startswith("#"))

    def __getitem__(self, key: str) -> str:
        return self.values[key]


@dataclasses.dataclass(frozen=True)
class Config:
    """A container's file on the node: /etc/pve/lxc/<ctid>.conf."""

    main: Section
    snapshots: dict[str, Section]

    @classmethod
    def parse(cls, text: str) -> Config:
        sections: dict[str, list[str]] = {"": []}
        name = ""
        for line in text.splitlines():
            if found := re.fullmatch(r"\[(.+)\]", line):
                sections[name := found[1]] = []
            elif line:
                sections[name].append(line)
        main = Section(sections.pop(""))
        return cls(main, {name: Section(lines) for name, lines in sections.items()})


class _Inside(BaseBackend):
    """Commands in a container, as the node's administrator gives them."""

    NAME = "pct"

    def __init__(self, node: Host, ctid: int) -> None:
        super().__init__(f"{ctid}")
        self._node, self._ctid = node, ctid

    def run(self, command: str, *args: str, **_kwargs: Any) -> CommandResult:
        line = self.get_command(command, *args)
        done = self._node.run("pct exec %s -- sh -c %s", str(self._ctid), line)
        return self.result(done.rc, line.encode(), done.stdout_bytes, done.stderr_bytes)


@pytest.fixture(scope="session")
def inventory() -> AnsibleRunner:
    """The scenario's inventory."""
    scenario = os.environ["MOLECULE_SCENARIO_NAME"]
    return AnsibleRunner(str(Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "fleets" / scenario))


@pytest.fixture(scope="session")
def fleet(inventory: AnsibleRunner) -> dict[str, dict[str, Any]]:
    """The variables of each container, by its name."""
    return {name: inventory.get_variables(name) for name in inventory.get_hosts("phoenix_containers")}


@pytest.fixture(scope="session")
def node(inventory: AnsibleRunner) -> Host:
    """The node, by ssh."""
    (name,) = inventory.get_hosts("phoenix_nodes")
    return inventory.get_host(name)


@pytest.fixture(scope="session")
def inside(node: Host) -> Callable[[int], Host]:
    """A running container: inside(110).file("/etc/hostname").content_string"""
    return lambda ctid: Host(_Inside(node, ctid))


@pytest.fixture(scope="session")
def config(node: Host) -> Callable[[int], Config]:
    """What the node's file says of a container: config(110).main["memory"]"""
    return lambda ctid: Config.parse(node.file(f"/etc/pve/lxc/{ctid}.conf").content_string)


@pytest.fixture(scope="session")
def snapshots(node: Host) -> Callable[[int], list[str]]:
    """The names that `pct listsnapshot` shows, oldest first, without the current state."""

    def listed(ctid: int) -> list[str]:
        text = node.check_output("pct listsnapshot %s", str(ctid))
        return [found["name"] for found in _LISTED.finditer(text) if found["name"] != "current"]

    return listed


@pytest.fixture(scope="session")
def status(node: Host) -> Callable[[int], str]:
    """What `pct status` says: running or stopped."""
    return lambda ctid: node.check_output("pct status %s", str(ctid)).removeprefix("status: ")
