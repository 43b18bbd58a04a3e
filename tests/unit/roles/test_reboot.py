# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What hypervisor_nvidia does about guests when the node has to be rebooted, really played: with modules that only keep
# a record, and without the reboot itself.

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.phoenix.hypervisor.tests.unit.playbooks.played import CHECKOUT, play

TASKS = CHECKOUT / "roles/hypervisor_nvidia/tasks"
MODULE = """\
import json
from ansible.module_utils.basic import AnsibleModule

module = AnsibleModule({spec!r}, supports_check_mode=True)
state = json.load(open({state!r}))
running = [c for c in state["containers"] if c["running"]]
result = {{"changed": False}}
{body}
module.exit_json(**result)
"""
PREFLIGHT = """\
result["running_containers"] = [c["ctid"] for c in running]
result["running_guests"] = ["container %(ctid)d (%(name)s)" % c for c in running] + state["machines"]
"""
INFO = 'result["containers"] = {str(c["ctid"]): c for c in state["containers"]}'
CONTAINER = """\
(found,) = [c for c in state["containers"] if c["ctid"] == module.params["ctid"]]
wanted = module.params["state"] == "started"
result["changed"] = found["running"] != wanted
if result["changed"] and not module.check_mode:
    found["running"] = wanted
    state["done"].append([module.params["state"], found["ctid"]])
    json.dump(state, open({state!r}, "w"))
"""
BASE, GPU, MODEL = (900, "BaseTemplate"), (901, "BaseTemplateGPU"), (950, "vllmQwen3Coder")


class World:
    """A node that is this machine, with a few containers, as far as the role looks at it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.notes = home / "lib/stopped"
        self.state = home / "state.json"
        self.given: dict[str, Any] = {"hypervisor_nvidia_layers": [900, 901], "hypervisor_nvidia_reboot": "if_required"}
        modules = home / "collections/ansible_collections/phoenix/hypervisor/plugins/modules"
        modules.mkdir(parents=True)
        options = {"url": {}, "kernel_module_type": {}, "ctid": {"type": "int"}, "state": {}}
        bodies = {"nvidia_preflight": PREFLIGHT, "layer_info": INFO, "lxc_container": CONTAINER}
        for name, body in bodies.items():
            path = str(self.state)
            text = MODULE.format(spec=options, state=path, body=body.replace("{state!r}", repr(path)))
            (modules / f"{name}.py").write_text(text)
        for name in ("reboot", "layers"):
            tasks = yaml.safe_load((TASKS / f"{name}.yml").read_text())
            (home / f"{name}.yml").write_text(yaml.safe_dump(self._harmless(tasks)))
        (home / "packages.yml").write_text("- ansible.builtin.debug: {msg: headers}\n")
        self.runs()

    def _harmless(self, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for task in tasks:
            self._harmless(task.get("block", []))
            if task.pop("ansible.builtin.reboot", None):
                task["ansible.builtin.debug"] = {"msg": "REBOOTED"}
        return tasks

    def runs(self, *running: tuple[int, str], machines: tuple[str, ...] = ()) -> None:
        containers = [
            {"ctid": ctid, "name": name, "running": (ctid, name) in running} for ctid, name in (BASE, GPU, MODEL)
        ]
        self.state.write_text(json.dumps({"containers": containers, "machines": machines, "done": []}))

    def play(self, name: str, *options: str) -> subprocess.CompletedProcess[str]:
        variables = {
            "ansible_python_interpreter": sys.executable,
            "hypervisor_nvidia_runfile_url": "https://x.example/NVIDIA-Linux-x86_64-580.76.05.run",
            "hypervisor_nvidia_kernel_module_type": "auto",
            "hypervisor_nvidia_reboot_timeout": 900,
            "__hypervisor_nvidia_reason": "Driver 2 is installed, and 1 is loaded",
            "__hypervisor_nvidia_stopped": str(self.notes),
            **self.given,
        }
        tasks = [{"ansible.builtin.include_tasks": f"{name}.yml"}]
        book = self.home / "play.yml"
        hosts = {"hosts": "localhost", "connection": "local", "gather_facts": False}
        book.write_text(yaml.safe_dump([{**hosts, "vars": variables, "tasks": tasks}]))
        return play(self.home, *options, book)

    @property
    def done(self) -> list[tuple[str, int]]:
        return [tuple(each) for each in json.loads(self.state.read_text())["done"]]

    def noted(self) -> list[str]:
        return sorted(path.name for path in self.notes.glob("*"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def words(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join(done.stdout.split())


def test_layers_are_shut_down_and_started_again(world: World) -> None:
    world.runs(BASE)
    rebooted = world.play("reboot")
    assert (rebooted.returncode, "REBOOTED" in rebooted.stdout) == (0, True), rebooted.stdout
    assert (world.done, world.noted()) == ([("stopped", 900)], ["900"])
    assert world.play("layers").returncode == 0
    # 901 did not run before, and does not now.
    assert (world.done[1:], world.noted()) == ([("started", 900)], [])
    again = world.play("layers")
    assert "changed=0" in again.stdout
    assert len(world.done) == 2


def test_what_an_earlier_run_left_is_not_forgotten(world: World) -> None:
    world.runs(BASE, GPU)
    assert world.play("reboot").returncode == 0
    # The driver failed, somebody started one of them by hand, and the next run reboots once more.
    world.runs(GPU)
    assert world.play("reboot").returncode == 0
    assert world.noted() == ["900", "901"]
    assert world.play("layers").returncode == 0
    assert world.done == [("stopped", 901), ("started", 900), ("started", 901)]


def test_what_is_no_layer_of_the_fleet_any_more_is_left_alone(world: World) -> None:
    world.runs(BASE, GPU)
    assert world.play("reboot").returncode == 0
    world.given["hypervisor_nvidia_layers"] = [901, 999]
    (world.notes / "999").touch()
    assert world.play("layers").returncode == 0
    assert world.done == [("stopped", 900), ("stopped", 901), ("started", 901)]
    assert world.noted() == []


@pytest.mark.parametrize(
    ("running", "machines", "named"),
    [
        ((BASE, MODEL), (), "container 950 (vllmQwen3Coder)"),
        ((GPU,), ("virtual machine 200",), "virtual machine 200"),
    ],
    ids=["an application", "a virtual machine"],
)
def test_other_guests_block(
    world: World, running: tuple[tuple[int, str], ...], machines: tuple[str, ...], named: str
) -> None:
    # 950 begins with the id of a layer, and is none.
    world.given["hypervisor_nvidia_layers"] = [900, 901, 95]
    world.runs(*running, machines=machines)
    refused = world.play("reboot")
    assert refused.returncode == 2
    assert f"and these guests run on it: {named}. Shut them down" in words(refused)
    assert (world.done, world.noted()) == ([], [])


def test_without_the_option_a_layer_is_a_guest_like_any_other(world: World) -> None:
    world.given["hypervisor_nvidia_layers"] = []
    world.runs(BASE)
    assert "these guests run on it: container 900 (BaseTemplate)." in words(world.play("reboot"))
    assert world.done == []


def test_unasked_it_says_how_to_allow_it(world: World) -> None:
    world.given["hypervisor_nvidia_reboot"] = "never"
    world.runs(BASE)
    assert (
        "Reboot it (`systemctl reboot`) and run again, or allow it: -e phoenix_reboot=if_required (for the role alone: "
        "hypervisor_nvidia_reboot: if_required)."
    ) in words(world.play("reboot"))
    assert world.done == []


@pytest.mark.parametrize(
    ("reboot", "running", "said"),
    [
        ("never", (BASE,), "The node has to be rebooted for it. PLAY RECAP"),
        (
            "if_required",
            (BASE, GPU),
            "The node has to be rebooted for it. Its layers 900, 901 would be shut down and started again.",
        ),
        (
            "if_required",
            (BASE, MODEL),
            "The node has to be rebooted for it. That is refused as long as these guests run: container 950 (",
        ),
    ],
    ids=["not allowed", "layers", "others"],
)
def test_check_mode_says_what_it_does_not_do(
    world: World, reboot: str, running: tuple[tuple[int, str], ...], said: str
) -> None:
    world.given["hypervisor_nvidia_reboot"] = reboot
    world.runs(*running)
    checked = world.play("reboot", "--check")
    assert checked.returncode == 0, checked.stdout
    assert said in words(checked)
    assert "REBOOTED" not in checked.stdout
    assert (world.done, world.noted()) == ([], [])


def test_check_mode_predicts_the_start(world: World) -> None:
    world.runs(BASE)
    assert world.play("reboot").returncode == 0
    predicted = world.play("layers", "--check")
    assert "changed=2" in predicted.stdout
    assert (world.done, world.noted()) == ([("stopped", 900)], ["900"])


def test_the_role_starts_them_when_the_device_nodes_are_there() -> None:
    names = [task.get("ansible.builtin.import_tasks") for task in yaml.safe_load((TASKS / "main.yml").read_text())]
    assert names[-2:] == ["layers.yml", "verify.yml"]


def test_each_node_has_its_own_layers(tmp_path: Path) -> None:
    containers = {
        name: {"phoenix_ctid": ctid, "phoenix_node_name": node}
        for name, ctid, node in (("base", 900, "pve1"), ("other", 910, "pve2"), ("gpu", 901, "pve1"))
    }
    nodes = {name: {"ansible_connection": "local"} for name in ("pve1", "pve2", "pve3")}
    groups = {"phoenix_nodes": {"hosts": nodes}, "phoenix_layers": {"hosts": containers}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(groups))
    show = {"ansible.builtin.debug": {"msg": "{{ inventory_hostname }} has {{ hypervisor_nvidia_layers }}."}}
    files = [str(CHECKOUT / "playbooks/vars/node.yml")]
    book = {"hosts": "phoenix_nodes", "gather_facts": False, "vars_files": files, "tasks": [show]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([book]))
    # A limit leaves the layers out of the play, and not out of the inventory.
    said = play(tmp_path, "-i", tmp_path / "hosts.yml", "--limit", "phoenix_nodes", tmp_path / "play.yml").stdout
    for each in ("pve1 has [900, 901].", "pve2 has [910].", "pve3 has []."):
        assert each in said
