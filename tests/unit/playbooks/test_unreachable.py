# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A container that cannot be reached: no rescue sees it, and the run still has to tell what became of everything.

from __future__ import annotations

import sys

import pytest
import yaml
from ansible_collections.phoenix.hypervisor.tests.unit.playbooks.played import PLAYBOOKS, play

# Nothing listens there, so that ssh is refused at once.
NOBODY = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_connection": "ssh"}
LAYER = {
    "phoenix_all_features": [],
    "phoenix_container": {"unprivileged": True},
    "phoenix_features": [],
    "phoenix_gpus": "none",
    "phoenix_is_layer": True,
    "phoenix_node_name": "pve1",
    "phoenix_snapshot": "sealed",
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    tmp_path = tmp_path_factory.mktemp("unreachable")
    base = {**LAYER, "phoenix_ctid": 900}
    leaf = {**LAYER, "phoenix_ctid": 901, "phoenix_parent": {"ctid": 900, "name": "base", "snapshot": "sealed"}}
    # Ansible ends a run in which all hosts of a play are lost, so one beside it fails in another way.
    beside = {**LAYER, "phoenix_ctid": 910, "phoenix_node_name": "elsewhere"}
    elsewhere = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts: dict[str, dict[str, dict[str, object]]] = {
        "phoenix_nodes": {"hosts": {"pve1": NOBODY, "elsewhere": elsewhere}},
        "phoenix_containers": {"hosts": {"base": base, "beside": beside, "leaf": leaf}},
        "phoenix_depth_0": {"hosts": {"base": {}, "beside": {}}},
        "phoenix_depth_1": {"hosts": {"leaf": {}}},
    }
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(hosts))
    done = play(tmp_path, "-i", tmp_path / "hosts.yml", PLAYBOOKS / "containers.yml")
    assert done.returncode, done.stdout
    return " ".join(done.stdout.split())


def test_what_was_lost_is_named_at_the_end(said: str) -> None:
    assert "900 base could not be reached" in said.partition("PLAY [The outcome]")[2]


def test_what_needs_it_is_not_attempted(said: str) -> None:
    assert "901 leaf: not attempted, because base failed" in said
    assert "UNREACHABLE!" not in said.partition("PLAY [Containers at depth 1]")[2]


def test_what_is_looked_at_before_does_not_end_the_run(said: str) -> None:
    before, _play, after = said.partition("PLAY [Containers at depth 0]")
    assert "UNREACHABLE!" in before
    assert "ok: [beside -> elsewhere]" in before
    assert "910 beside failed" in after
