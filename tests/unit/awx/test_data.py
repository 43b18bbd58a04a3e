# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What AWX is given fits the playbooks: every playbook, tag, variable and choice that it names is there.

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.phoenix.hypervisor.plugins.module_utils._arguments import API_ARGUMENTS
from ansible_collections.phoenix.hypervisor.tests.unit.playbooks.played import play

TREE = Path(__file__).parents[3]
PLAYBOOKS = TREE / "playbooks"
ROLE = "phoenix.hypervisor."

# A playbook without a job template, and why.
WITHOUT_TEMPLATE = {
    "awx.yml": "makes the job templates, and needs an account that jobs do not have",
    "before.yml": "begins site.yml and containers.yml",
    "depth.yml": "is played by containers.yml for each depth",
    "outcome.yml": "is the end of other playbooks",
}
# Tags that no one names.
INNER_TAGS = {"always", "verify"}
# The roles' options that the answers end in.
ANSWERED = {"phoenix_reboot": ("hypervisor_nvidia", "hypervisor_nvidia_reboot")}

INCLUDES = ("ansible.builtin.import_playbook", "ansible.builtin.include_tasks", "ansible.builtin.import_tasks")
ROLES = ("ansible.builtin.include_role", "ansible.builtin.import_role")
WORD = re.compile(r"\w+")


class Loader(yaml.SafeLoader):
    """YAML as Ansible has it."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


def load(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader)


DATA = load(PLAYBOOKS / "vars/awx.yml")
TEMPLATES = {template["name"]: template for template in DATA["phoenix_awx_job_templates"]}
NODES = {node["identifier"]: node for node in DATA["phoenix_awx_workflow"]["nodes"]}
QUESTIONS = DATA["phoenix_awx_questions"]
CREDENTIALS = {credential["name"] for credential in DATA["phoenix_awx_credentials"]}
each_template = pytest.mark.parametrize("template", TEMPLATES.values(), ids=list(TEMPLATES))
each_node = pytest.mark.parametrize("node", NODES.values(), ids=list(NODES))


def files_of(path: Path) -> set[Path]:
    """A playbook with everything that it plays, includes and reads."""
    found = {path}
    for item in every_item(load(path)):
        for key in INCLUDES:
            if key in item:
                name = item[key] if isinstance(item[key], str) else item[key]["file"]
                found |= files_of(path.parent / name)
        for key in ROLES:
            if key in item:
                role = TREE / "roles" / item[key]["name"].removeprefix(ROLE)
                found |= {file for folder in ("tasks", "defaults") for file in (role / folder).glob("*.yml")}
        found |= {path.parent / name for name in item.get("vars_files", [])}
    return found


def every_item(value: Any) -> Iterator[dict[str, Any]]:
    """The plays and tasks of a file, blocks included."""
    for item in value if isinstance(value, list) else []:
        yield item
        for key in ("tasks", "block", "rescue", "always"):
            yield from every_item(item.get(key))


def tags_of(path: Path) -> set[str]:
    """The tags that choose something of a playbook."""
    files = {file for file in files_of(path) if PLAYBOOKS in file.parents and file.parent.name != "vars"}
    return {tag for file in files for item in every_item(load(file)) for tag in item.get("tags", [])} - INNER_TAGS


def test_every_playbook_has_a_template_or_a_reason() -> None:
    played = {template["playbook"] for template in TEMPLATES.values()}
    there = {path.name for path in PLAYBOOKS.glob("*.yml")}
    assert played | set(WITHOUT_TEMPLATE) == there
    assert played & set(WITHOUT_TEMPLATE) == set()
    assert all(WITHOUT_TEMPLATE.values())


@pytest.mark.parametrize("kind", ["job_templates", "schedules", "credentials", "credential_types"])
def test_names_are_given_once(kind: str) -> None:
    names = [item["name"] for item in DATA[f"phoenix_awx_{kind}"]]
    assert sorted(set(names)) == sorted(names)


@each_template
def test_a_template_says_what_it_does(template: dict[str, Any]) -> None:
    assert template["description"]
    known = {
        "name", "description", "playbook", "job_type", "survey", "prompts", "tags", "credentials", "extra_vars",
    }  # fmt: skip
    assert set(template) <= known
    assert set(template.get("prompts", [])) <= {"limit", "tags", "job_type"}
    assert template.get("job_type", "run") in ("run", "check")
    assert set(template.get("credentials", [])) <= CREDENTIALS


@each_template
def test_the_tags_are_the_playbooks(template: dict[str, Any]) -> None:
    """All of them, and none that chooses nothing. A playbook with one tag has nothing to choose from."""
    assert ("tags" in template) == ("tags" in template.get("prompts", []))
    if "tags" in template:
        assert set(template["tags"]) == tags_of(PLAYBOOKS / template["playbook"])
        assert len(template["tags"]) > 1


@each_template
def test_the_playbook_uses_every_variable(template: dict[str, Any]) -> None:
    text = "\n".join(path.read_text() for path in files_of(PLAYBOOKS / template["playbook"]))
    given = {*template.get("survey", []), *template.get("extra_vars", {})}
    assert given - set(WORD.findall(text)) == set()


@each_template
def test_what_a_playbook_asks_for_is_asked(template: dict[str, Any]) -> None:
    """Unless it changes nothing anyway."""
    if "Changes nothing" not in template["description"]:
        text = "\n".join(path.read_text() for path in files_of(PLAYBOOKS / template["playbook"]))
        assert [name for name in QUESTIONS if name in WORD.findall(text)] == template.get("survey", [])


@each_template
def test_a_template_that_changes_something_can_check_first(template: dict[str, Any]) -> None:
    changes = "Changes nothing" not in template["description"]
    assert changes == ("job_type" in template.get("prompts", []))


def test_questions_are_as_awx_wants_them() -> None:
    for variable, question in QUESTIONS.items():
        assert question["variable"] == variable
        assert question["type"] in ("text", "multiplechoice")
        assert question["question_name"].endswith("?")
        assert question["question_description"].endswith(".")
        if question["type"] == "multiplechoice":
            assert question["default"] in question["choices"]
        elif question["required"]:
            assert question["min"] == 1


def test_choices_are_the_roles() -> None:
    assert set(ANSWERED) == {name for name, question in QUESTIONS.items() if "choices" in question}
    for variable, (role, option) in ANSWERED.items():
        specifications = load(TREE / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
        documented = specifications["main"]["options"][option]
        assert QUESTIONS[variable]["choices"] == documented["choices"]
        assert QUESTIONS[variable]["default"] == documented["default"]


def test_what_a_playbook_insists_on_has_to_be_answered() -> None:
    """destroy.yml refuses to do anything without it."""
    (play,) = load(PLAYBOOKS / "destroy.yml")
    assert "phoenix_destroy_list | length > 0" in play["tasks"][0]["ansible.builtin.assert"]["that"]
    assert [name for name, question in QUESTIONS.items() if question["required"] and "default" not in question] == [
        "phoenix_destroy"
    ]


def test_credential_types_set_what_the_modules_read() -> None:
    read = {name for option in API_ARGUMENTS.values() if "fallback" in option for name in option["fallback"][1]}
    (credential_type,) = DATA["phoenix_awx_credential_types"]
    fields = [field["id"] for field in credential_type["inputs"]["fields"]]
    assert credential_type["injectors"] == {"env": {f"PROXMOX_{name.upper()}": f"{{{{ {name} }}}}" for name in fields}}
    assert set(credential_type["injectors"]["env"]) == read
    assert credential_type["inputs"]["required"] == fields
    secret = [field["id"] for field in credential_type["inputs"]["fields"] if field.get("secret")]
    assert secret == ["token_secret"]


def test_nothing_secret_is_given() -> None:
    for credential in DATA["phoenix_awx_credentials"]:
        assert set(credential) == {"name", "type", "description"}


@each_node
def test_a_node_refers_to_what_is_there(node: dict[str, Any]) -> None:
    assert ("job_template" in node) != ("approval" in node)
    for link in [*node.get("success", []), *node.get("failure", [])]:
        assert link in NODES
    if "job_template" in node:
        template = TEMPLATES[node["job_template"]]
        assert set(node.get("extra_data", {})) <= set(template.get("survey", []))
        assert "limit" not in node or "limit" in template["prompts"]
        for name, answer in node.get("extra_data", {}).items():
            assert answer in QUESTIONS[name]["choices"]


@each_node
def test_a_limit_is_a_group_of_every_inventory(node: dict[str, Any]) -> None:
    for inventory in sorted((TREE / "inventories").glob("*/hosts.yml")):
        assert set(node.get("limit", "phoenix_nodes").split(":")) <= set(load(inventory)["all"]["children"])


@pytest.mark.parametrize("limit", sorted({node["limit"] for node in NODES.values() if "limit" in node}))
def test_a_fleet_without_such_containers_does_not_end_the_workflow(tmp_path: Path, limit: str) -> None:
    """An inventory has no empty group, and Ansible fails where a limit leaves no host."""
    (tmp_path / "hosts.yml").write_text("phoenix_nodes: {hosts: {pve1: {}}}\n")
    done = play(tmp_path, "-i", tmp_path / "hosts.yml", "--limit", limit, PLAYBOOKS / "containers.yml")
    assert (done.returncode, "changed=0" in done.stdout) == (0, True), done.stdout + done.stderr


def ways_to(identifier: str) -> list[list[tuple[str, str]]]:
    """Each way from a beginning of the workflow to a node: the nodes before it, with how each of them ended."""
    before = [
        (name, how) for name, node in NODES.items() for how in ("success", "failure") if identifier in node.get(how, [])
    ]
    return [[*way, step] for step in before for way in ways_to(step[0])] or [[]]


def test_nobody_is_rebooted_without_having_been_asked() -> None:
    allowed = [name for name, node in NODES.items() if may_reboot(node)]
    assert allowed
    for name in allowed:
        for way in ways_to(name):
            assert any("approval" in NODES[step] and how == "success" for step, how in way), way


def may_reboot(node: dict[str, Any]) -> bool:
    template = TEMPLATES.get(node.get("job_template", ""), {})
    asked = "phoenix_reboot" in template.get("survey", [])
    return asked and node.get("extra_data", {}).get("phoenix_reboot", "if_required") != "never"


def test_the_workflow_ends_with_the_proof() -> None:
    last = [node for node in NODES.values() if not node.get("success")]
    assert [node["job_template"] for node in last] == ["Phoenix verify"]
    groups = [node["limit"] for node in NODES.values() if "limit" in node]
    assert groups == ["phoenix_layers:phoenix_nodes", "phoenix_applications:phoenix_nodes"]


@pytest.mark.parametrize("schedule", DATA["phoenix_awx_schedules"], ids=lambda schedule: schedule["name"])
def test_a_schedule_changes_nothing(schedule: dict[str, Any]) -> None:
    template = TEMPLATES[schedule["job_template"]]
    assert "Changes nothing" in template["description"]
    assert not template.get("survey")


@pytest.mark.parametrize("schedule", DATA["phoenix_awx_schedules"], ids=lambda schedule: schedule["name"])
def test_a_schedule_is_one_that_awx_takes(schedule: dict[str, Any]) -> None:
    """As AWX checks it: one start in UTC, one rule, with an interval."""
    start, rule = schedule["rrule"].split(" ")
    assert re.fullmatch(r"DTSTART:\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3])[0-5]\d[0-5]\dZ", start)
    parts = dict(part.split("=") for part in rule.removeprefix("RRULE:").split(";"))
    assert parts["FREQ"] in ("HOURLY", "DAILY", "WEEKLY", "MONTHLY")
    assert int(parts["INTERVAL"]) > 0
    assert set(parts) <= {"FREQ", "INTERVAL", "BYDAY", "BYMONTHDAY"}


def test_verification_and_drift_are_scheduled() -> None:
    scheduled = {TEMPLATES[schedule["job_template"]]["name"] for schedule in DATA["phoenix_awx_schedules"]}
    assert scheduled == {"Phoenix verify", "Phoenix drift", "Phoenix inventory check"}
