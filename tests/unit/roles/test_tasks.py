# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What holds for the tasks of all roles and playbooks.

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

COLLECTION = Path(__file__).parents[3]
FILES = sorted(
    path
    for pattern in ("roles/*/tasks/*.yml", "roles/*/handlers/*.yml", "playbooks/*.yml", "playbooks/tasks/*.yml")
    for path in COLLECTION.glob(pattern)
)
# What a task has beside its module.
WORDS = ("name", "when", "vars", "loop", "register", "tags", "notify", "listen", "block", "rescue", "always")
SECRETS = ("password", "secret", "api_key", "hf_token")

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(COLLECTION)))


def tasks(entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for entry in entries or ():
        groups = [entry[key] for key in ("tasks", "block", "rescue", "always") if key in entry]
        for group in groups:
            yield from tasks(group)
        if not groups:
            yield entry


def used(path: Path) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Each module with its arguments, and the task."""
    for task in tasks(yaml.safe_load(path.read_text())):
        for key, value in task.items():
            if key not in WORDS and "." in key:
                yield key, value, task


@each_file
def test_no_shell_takes_a_command_apart(path: Path) -> None:
    """Pitfalls 17 and 18: words are words, and nothing of a container's command is done on the node."""
    for module, arguments, _task in used(path):
        assert module not in ("ansible.builtin.shell", "ansible.builtin.script", "ansible.builtin.expect")
        if module == "ansible.builtin.command":
            assert list(arguments) == ["argv"]
        if module == "ansible.builtin.raw":
            # Before Python is there, there is nothing else.
            assert path == COLLECTION / "roles/lxc_base/tasks/python.yml"


def test_what_the_role_installs_is_not_missed_before() -> None:
    """The preflight may only leave warnings out because the same role brings the headers right after it."""
    role = COLLECTION / "roles/hypervisor_nvidia/tasks"
    (preflight,) = [task for name, _arguments, task in used(role / "preflight.yml") if name.endswith("preflight")]
    assert preflight["phoenix.hypervisor.nvidia_preflight"]["headers_follow"] is True
    (install,) = [given for name, given, _task in used(role / "packages.yml") if name.endswith("apt_packages")]
    assert f"{preflight['register']}.headers" in install["present"]


@each_file
def test_containers_are_changed_by_the_modules_alone(path: Path) -> None:
    """D4, D7: no task starts pct, and none writes a container's file."""
    for module, arguments, _task in used(path):
        if module == "ansible.builtin.command":
            assert arguments["argv"][0] not in ("pct", "pvesh", "lxc-attach", "qm", "zfs", "zpool")
        elif module.startswith("ansible.builtin.") and isinstance(arguments, dict):
            assert "/etc/pve" not in str(arguments.get("dest", arguments.get("path", "")))


@each_file
def test_packages_come_by_one_way(path: Path) -> None:
    """Pitfalls 14 and 19: apt_packages alone refuses a second driver, asks nobody, and waits for locks."""
    found = {module.rpartition(".")[2] for module, _arguments, _task in used(path)}
    assert found.isdisjoint({"apt", "package", "apt_repository", "apt_key", "dpkg_selections"})


@each_file
def test_no_lock_is_removed_and_no_address_of_the_internet_asked(path: Path) -> None:
    """Pitfall 16."""
    text = path.read_text()
    assert "8.8.8.8" not in text
    assert "lock-frontend" not in text
    assert "/var/lib/apt/lists/lock" not in text


def test_one_place_reboots_and_asks_first() -> None:
    """D10, pitfall 12."""
    found = [path for path in FILES for module, *_rest in used(path) if module == "ansible.builtin.reboot"]
    assert found == [COLLECTION / "roles/hypervisor_nvidia/tasks/reboot.yml"]
    modules = [module for module, *_rest in used(found[0])]
    before = modules[: modules.index("ansible.builtin.reboot")]
    assert before.count("ansible.builtin.fail") == 2
    specification = yaml.safe_load((COLLECTION / "roles/hypervisor_nvidia/defaults/main.yml").read_text())
    assert specification["hypervisor_nvidia_reboot"] == "never"


@each_file
def test_secrets_do_not_show(path: Path) -> None:
    """Pitfall 48. The collection's own modules hide what is secret among their arguments."""
    for module, arguments, task in used(path):
        if module.startswith("phoenix.") or module == "ansible.builtin.assert":
            continue
        if any(secret in str(arguments) for secret in SECRETS) or "secrets.env" in str(arguments):
            assert task.get("no_log"), task["name"]
