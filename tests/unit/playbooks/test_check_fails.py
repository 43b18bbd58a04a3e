# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# phoenix_check_fails: a check that fails if there is anything to do, for schedules.

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.phoenix.hypervisor.tests.unit.playbooks.played import CHECKOUT, PLAYBOOKS, load, play
from ansible_collections.phoenix.hypervisor.tests.unit.playbooks.tags import words_of

STALE = {"phoenix_decision": {"stale": "its parent was sealed anew since"}}
CHANGED = {"phoenix_changed": True}
ABOVE = "what would be changed stands above"
SINCE = "it is stale (its parent was sealed anew since), and made anew only with -e phoenix_rebuild=base"
FAILED = {"phoenix_failure": {"attempted": True, "code": 1, "task": "Try", "reason": "no reason"}}


def test_what_notifies_a_handler_of_its_own_is_noted_as_well() -> None:
    (handler,) = load("tasks/changed.yml")
    files = [path for folder in ("tasks", "handlers") for path in CHECKOUT.glob(f"roles/*/{folder}/*.yml")]
    names = {name for path in files for name in words_of(yaml.safe_load(path.read_text()), "notify")}
    assert handler["listen"] == ["changed", *sorted(names)]


def test_a_change_is_noted_wherever_it_is_made(tmp_path: Path) -> None:
    """In a role, in what it includes, and beside a handler of its own: as depth.yml and hypervisor.yml begin them."""
    tasks = tmp_path / "roles/some/tasks"
    tasks.mkdir(parents=True)
    (tasks / "main.yml").write_text(yaml.safe_dump([{"ansible.builtin.include_tasks": "inner.yml"}]))
    change = {"ansible.builtin.debug": {}, "changed_when": "inventory_hostname == 'inner'"}
    own = {"ansible.builtin.debug": {}, "changed_when": "inventory_hostname == 'own'", "notify": "Restart vLLM"}
    (tasks / "inner.yml").write_text(yaml.safe_dump([change, own]))
    include = {"ansible.builtin.include_role": {"name": "some"}}
    begun = {"hosts": "all", "gather_facts": False, "handlers": load("depth.yml")[0]["handlers"]}
    begun["tasks"] = [{"notify": load("depth.yml")[0]["tasks"][1]["notify"], "block": [include]}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump([begun]))
    (tmp_path / "tasks").symlink_to(PLAYBOOKS / "tasks")
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"inner": {}, "own": {}, "nothing": {}}}}))
    handlers = tmp_path / "roles/some/handlers"
    handlers.mkdir()
    restart = {"name": "Restart vLLM", "ansible.builtin.debug": {}}
    (handlers / "main.yml").write_text(yaml.safe_dump([restart]))
    done = play(tmp_path, "-i", tmp_path / "hosts.yml", tmp_path / "play.yml")
    noted = done.stdout.partition("RUNNING HANDLER [Note that something was changed]")[2].partition("\n\n")[0]
    assert sorted(line for line in noted.splitlines() if line.startswith("ok:")) == ["ok: [inner]", "ok: [own]"]


@pytest.mark.parametrize(("playbook", "place"), [("hypervisor.yml", 0), ("depth.yml", 1)])
def test_every_play_that_changes_something_notes_it(playbook: str, place: int) -> None:
    (one,) = load(playbook)
    assert one["handlers"] == load("depth.yml")[0]["handlers"]
    assert one["tasks"][place]["notify"] == "changed"


def outcome(home: Path, variables: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
    hosts = {
        "phoenix_nodes": {"hosts": {"pve1": {}}},
        "phoenix_containers": {"hosts": {"base": {"phoenix_ctid": 900, **variables}}},
    }
    (home / "hosts.yml").write_text(yaml.safe_dump(hosts))
    return play(home, "-i", home / "hosts.yml", *options, PLAYBOOKS / "outcome.yml")


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        (CHANGED, ABOVE),
        (STALE, SINCE),
        ({**CHANGED, **STALE}, f"{ABOVE}; {SINCE}"),
    ],
    ids=["changed", "stale", "both"],
)
def test_what_differs_is_named(tmp_path: Path, variables: dict[str, Any], told: str) -> None:
    done = outcome(tmp_path, variables, "--check", "-e", "phoenix_check_fails=true")
    assert done.returncode == 2
    said = " ".join(done.stdout.split())
    assert f"900 base is not what its configuration says: {told}. Run without --check to have that done." in said
    assert "fatal: [pve1]" not in done.stdout


@pytest.mark.parametrize(
    ("variables", "options"),
    [
        ({}, ["--check", "-e", "phoenix_check_fails=true"]),
        ({"phoenix_decision": {"stale": ""}}, ["--check", "-e", "phoenix_check_fails=true"]),
        ({**CHANGED, **STALE}, ["--check"]),
        ({**CHANGED, **STALE}, ["--check", "-e", "phoenix_check_fails=false"]),
        ({**CHANGED, **STALE}, ["-e", "phoenix_check_fails=true"]),
    ],
    ids=["as it should be", "prepared", "not asked", "asked not to", "no check"],
)
def test_otherwise_the_run_succeeds(tmp_path: Path, variables: dict[str, Any], options: list[str]) -> None:
    assert outcome(tmp_path, variables, *options).returncode == 0


def test_what_failed_is_named_once(tmp_path: Path) -> None:
    done = outcome(tmp_path, {**FAILED, **CHANGED}, "--check", "-e", "phoenix_check_fails=true")
    assert done.returncode == 2
    assert "is not what its configuration says" not in done.stdout
