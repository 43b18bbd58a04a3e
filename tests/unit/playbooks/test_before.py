# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What before.yml refuses, really run: tags that no task has, and what nodes do not have.

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.phoenix.hypervisor.tests.unit.playbooks.played import CHECKOUT, PLAYBOOKS, play
from ansible_collections.phoenix.hypervisor.tests.unit.playbooks.tags import Loader, tags_of

KNOWN = yaml.safe_load((PLAYBOOKS / "vars/before.yml").read_text())["phoenix_tags"]
NAMED = ", ".join(sorted(KNOWN))


def test_the_known_tags_are_those_of_the_playbooks() -> None:
    # awx.yml makes things in AWX, and has no tags of tasks.
    paths = [path for folder in (PLAYBOOKS, PLAYBOOKS / "tasks") for path in folder.glob("*.yml") if path.stem != "awx"]
    roles = CHECKOUT.glob("roles/*/tasks/*.yml")
    found = {tag for path in (*paths, *roles) for tag in tags_of(yaml.load(path.read_text(), Loader))}
    # A module's option of that name holds a template.
    assert set(KNOWN) == {tag for tag in found if not tag.startswith("{{")} - {"always"}
    assert len(KNOWN) == len(set(KNOWN))


@pytest.mark.parametrize("playbook", ["site.yml", "containers.yml"])
@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["--tags", "lxc_dokcer"], "lxc_dokcer: no task has this tag."),
        (["--tags", "lxc_docker,lxc_dokcer", "--skip-tags", "verfy"], "lxc_dokcer, verfy: no task has these tags."),
        # molecule skips its own tags in everything that it plays.
        (["--skip-tags", "molecule-notest,notest,verfy"], "verfy: no task has this tag."),
    ],
    ids=["misspelt", "one of two, and one to skip", "to skip"],
)
def test_a_tag_that_no_task_has_is_refused(tmp_path: Path, playbook: str, options: list[str], wrong: str) -> None:
    done = play(tmp_path, "-i", CHECKOUT / "inventories/lab", *options, PLAYBOOKS / playbook)
    said = " ".join(done.stdout.split())
    assert done.returncode == 2
    assert f"{wrong} Name tags of these: {NAMED}. Nothing was changed." in said
    assert "TASK [The node has what its containers need]" not in said


def test_an_answer_that_is_neither_yes_nor_no_is_refused(tmp_path: Path) -> None:
    """Ansible takes it for no, and a schedule would never fail."""
    done = tags_alone(tmp_path, "--check", "--extra-vars", "phoenix_check_fails=ture")
    assert done.returncode == 2
    said = " ".join(done.stdout.split())
    assert (
        'phoenix_check_fails is "ture". Write true to have a check fail that finds something to do, or false.' in said
    )


@pytest.mark.parametrize("answer", ["true", "false", "True", "yes"])
def test_an_answer_is_not(tmp_path: Path, answer: str) -> None:
    done = tags_alone(tmp_path, "--check", "--extra-vars", f"phoenix_check_fails={answer}")
    assert done.returncode == 0, done.stdout


def tags_alone(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    lines = (PLAYBOOKS / "before.yml").read_text().partition("    - name: The node has what its containers need")[0]
    (tmp_path / "vars").symlink_to(PLAYBOOKS / "vars")
    (tmp_path / "before.yml").write_text(lines)
    return play(tmp_path, "-i", CHECKOUT / "inventories/lab", *options, tmp_path / "before.yml")


@pytest.mark.parametrize(
    "options",
    [
        ["--tags", ",".join([*KNOWN, "all", "always", "tagged", "untagged", "never"])],
        ["--skip-tags", "verify"],
        ["--tags", "backup", "--extra-vars", '{"phoenix_own_tags": ["backup"]}'],
    ],
    ids=["all that there are", "to skip", "of a playbook that imports these"],
)
def test_other_tags_are_not(tmp_path: Path, options: list[str]) -> None:
    done = tags_alone(tmp_path, *options)
    assert done.returncode == 0, done.stdout


def container(ctid: int, node: str, **more: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"unprivileged": True, **more.pop("phoenix_container", {})}
    fixed = {"phoenix_features": [], "phoenix_is_layer": False, "phoenix_gpus": "none"}
    return {**fixed, "phoenix_ctid": ctid, "phoenix_node_name": node, "phoenix_container": options, **more}


def fleet(home: Path, containers: dict[str, dict[str, Any]]) -> Path:
    """An inventory whose nodes are this machine."""
    node = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    nodes = {variables["phoenix_node_name"]: node for variables in containers.values()}
    layers: dict[str, Any] = {name: {} for name, host in containers.items() if host["phoenix_is_layer"]}
    groups = {
        "phoenix_nodes": {"hosts": nodes},
        "phoenix_containers": {"hosts": containers},
        "phoenix_layers": {"hosts": layers},
    }
    (home / "hosts.yml").write_text(yaml.safe_dump(groups))
    return home / "hosts.yml"


FLEET = {
    "base": container(
        900,
        "pve1",
        phoenix_is_layer=True,
        phoenix_ostemplate="local:vztmpl/debian.tar.zst",
        phoenix_container={
            "rootfs": {"storage": "lab", "size_gb": 10},
            "mounts": [
                {"path": "/data", "storage": "fast", "size_gb": 1},
                {"path": "/models", "source": "/fastData/models"},
            ],
        },
    ),
    "leaf": container(
        960,
        "pve1",
        phoenix_gpus=[0, 7],
        phoenix_ostemplate="local:vztmpl/not-of-a-clone.tar.zst",
        phoenix_parent={"ctid": 900, "name": "base", "snapshot": "sealed"},
    ),
    "other": container(970, "pve2"),
}
BASE = {
    "ctid": 900,
    "name": "base",
    "storage": "lab",
    "volume_storages": ["fast"],
    "ostemplate": "local:vztmpl/debian.tar.zst",
    "anew": False,
    "sources": ["/fastData/models"],
    "gpus": [],
}
NOTHING = {"storage": "", "volume_storages": [], "ostemplate": "", "anew": False, "sources": [], "gpus": []}
LEAF = {**NOTHING, "ctid": 960, "name": "leaf", "gpus": [0, 7]}
OTHER = {**NOTHING, "ctid": 970, "name": "other"}


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ([], {"pve1": [BASE, LEAF], "pve2": [OTHER]}),
        (["--limit", "leaf,other"], {"pve1": [LEAF], "pve2": [OTHER]}),
        (["--limit", "pve2,base"], {"pve1": [BASE]}),
        (["--extra-vars", "phoenix_rebuild=base"], {"pve1": [{**BASE, "anew": True}, LEAF], "pve2": [OTHER]}),
        (["--extra-vars", "phoenix_rebuild=stale"], {"pve1": [{**BASE, "anew": True}, LEAF], "pve2": [OTHER]}),
    ],
    ids=["all", "some", "a node that is named, too", "made anew", "all that are stale"],
)
def test_each_node_is_asked_once_for_its_containers_of_this_run(
    tmp_path: Path, options: list[str], asked: dict[str, list[dict[str, Any]]]
) -> None:
    """The vars as before.yml uses them, with a task in the place of the module that shows what it is given."""
    text = (PLAYBOOKS / "before.yml").read_text()
    module = 'phoenix.hypervisor.fleet_preflight:\n        containers: "{{ phoenix_needs }}"\n'
    assert module in text
    shown = "ansible.builtin.copy:\n        content: '{{ phoenix_needs | to_json }}'\n"
    shown += f"        dest: '{tmp_path}/asked-{{{{ phoenix_node_name }}}}'\n        mode: '0600'\n"
    (tmp_path / "vars").symlink_to(PLAYBOOKS / "vars")
    (tmp_path / "before.yml").write_text(text.replace(module, shown))
    done = play(tmp_path, "-i", fleet(tmp_path, FLEET), *options, tmp_path / "before.yml")
    assert done.returncode == 0, done.stdout
    found = {path.name.removeprefix("asked-"): yaml.safe_load(path.read_text()) for path in tmp_path.glob("asked-*")}
    assert found == asked


@pytest.mark.skipif(Path("/etc/pve").exists(), reason="this machine is a Proxmox VE node")
@pytest.mark.parametrize("options", [[], ["--check"]], ids=["run", "check"])
def test_one_node_that_lacks_something_ends_the_run_everywhere(tmp_path: Path, options: list[str]) -> None:
    done = play(tmp_path, "-i", fleet(tmp_path, FLEET), *options, PLAYBOOKS / "site.yml")
    said = " ".join(done.stdout.split())
    assert done.returncode == 2
    assert "ok: [other -> pve2]" in said
    assert "Not on pve1: what is named above. Correct that, and run again. Nothing was changed on any node." in said
    assert "PLAY [The nodes]" not in said
