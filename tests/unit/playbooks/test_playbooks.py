# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The order in which the playbooks build, and what they refuse before they reach a node.

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.tests.unit.playbooks.played import CHECKOUT, PLAYBOOKS, load, play


def test_the_node_comes_before_its_containers() -> None:
    imported = [play["ansible.builtin.import_playbook"] for play in load("site.yml")]
    assert imported == ["before.yml", "hypervisor.yml", "containers.yml", "verify.yml"]


def test_what_would_fail_later_is_refused_before_anything_is_changed() -> None:
    """containers.yml begins with it, too, but not where site.yml has played it already."""
    assert load("containers.yml")[0]["ansible.builtin.import_playbook"] == "before.yml"
    first, *others = load("site.yml")
    assert first["ansible.builtin.import_playbook"] == "before.yml"
    began = [one.get("vars", {}).get("phoenix_begins") for one in others if "containers.yml" in one.values()]
    assert began == [False]


def test_features_are_built_in_their_order() -> None:
    """Seeds 000 and 002: GPUs before Docker, everything proven before the layer is sealed, sealing last."""
    names: list[str | None] = []
    for task in load("tasks/build.yml"):
        role = task.get("ansible.builtin.include_role", {}).get("name", "")
        names.append(
            role.removeprefix("phoenix.hypervisor.") or task.get("ansible.builtin.include_tasks", {}).get("file")
        )
    order = ["lxc_container", "lxc_base", "lxc_nvidia", "lxc_docker", "verify.yml", "vllm_verify", "lxc_layer"]
    assert [name for name in names if name in order] == order
    after = [name for name in names[names.index("lxc_layer") + 1 :] if name]
    assert after == []


@pytest.mark.parametrize("options", [[], ["-e", "phoenix_destroy=no-such"]], ids=["not named", "not there"])
def test_nothing_is_destroyed_that_is_not_named(tmp_path: Path, options: list[str]) -> None:
    """Pitfall 49. It is refused before a node is reached."""
    done = play(tmp_path, "-i", CHECKOUT / "inventories/example", *options, PLAYBOOKS / "destroy.yml")
    assert done.returncode != 0
    assert "it has to repeat the names of the" in done.stdout
    assert "TASK [Read the node]" not in done.stdout


def test_nothing_is_destroyed_that_is_named_only_once(tmp_path: Path) -> None:
    """What stands beside a narrower limit looked as if it were destroyed, too, and its parent was."""
    names = "BaseTemplateVLLM,vllmQwen3Coder"
    words = ["-i", CHECKOUT / "inventories/example", "--limit", "BaseTemplateVLLM", "-e", f"phoenix_destroy={names}"]
    done = play(tmp_path, *words, PLAYBOOKS / "destroy.yml")
    said = " ".join(done.stdout.split())
    assert done.returncode == 2
    assert "phoenix_destroy names vllmQwen3Coder, and --limit leaves out what it names." in said
    assert f"--limit {names} -e phoenix_destroy={names}. Nothing was destroyed." in said
    assert "TASK [Read the node]" not in done.stdout
