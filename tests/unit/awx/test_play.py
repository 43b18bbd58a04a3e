# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# playbooks/awx.yml is played: with stand-ins of awx.awx's modules that check and note their arguments, and, where
# awx.awx itself is installed, with the real ones against a stand-in of AWX.

from __future__ import annotations

import json
import os
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import ansible_collections.phoenix.hypervisor as collection
import pytest
import yaml

from .conftest import TOKEN, TREE, Awx

ARGUMENTS = yaml.safe_load(Path(__file__).with_name("awx_arguments.yml").read_text())
ROOT = Path(next(iter(collection.__path__))).parents[2]
SETTINGS = {
    "phoenix_awx_project": "https://git.example.com/home/fleet.git",
    "phoenix_awx_inventory": "inventories/example",
    "phoenix_awx_image": "registry.example.com/phoenix:1.0.0",
}

# Checks the arguments as the real one does, and that what they name was made before.
MODULE = """
import json, pathlib
from ansible.module_utils.basic import AnsibleModule

LOG = pathlib.Path({log!r})
# The argument that names something, and the module that makes it.
MAKERS = {{
    "organization": "organization", "inventory": "inventory", "project": "project", "source_project": "project",
    "execution_environment": "execution_environment", "workflow_job_template": "workflow_job_template",
    "unified_job_template": "job_template",
}}
module = AnsibleModule(argument_spec={specification!r})
given = {{key: value for key, value in module.params.items() if value is not None}}
calls = [json.loads(line) for line in LOG.read_text().splitlines()] if LOG.exists() else []
made = {{(call["module"], call["arguments"].get("name")) for call in calls}}
named = {{(MAKERS[key], value) for key, value in given.items() if key in MAKERS}} - {{({name!r}, given.get("name"))}}
named |= {{("credential", value) for value in given.get("credentials", [])}}
if named - made:
    module.fail_json(msg=f"not made before: {{sorted(named - made)}}")
with LOG.open("a") as file:
    file.write(json.dumps({{"module": {name!r}, "arguments": given}}) + chr(10))
module.exit_json(changed=True)
"""


def play(*collections: Path, settings: dict[str, str], **environment: str) -> subprocess.CompletedProcess[str]:
    answers = [f"--extra-vars={name}={value}" for name, value in settings.items()]
    return subprocess.run(
        [Path(sysconfig.get_path("scripts")) / "ansible-playbook", *answers, TREE / "playbooks/awx.yml"],
        env={
            **{name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ},
            "ANSIBLE_COLLECTIONS_PATH": ":".join(map(str, [ROOT, *collections])),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
            "ANSIBLE_NOCOLOR": "true",
            "LC_ALL": "C.UTF-8",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    modules = tmp_path / "ansible_collections/awx/awx/plugins/modules"
    modules.mkdir(parents=True)
    for name, specification in ARGUMENTS.items():
        text = MODULE.format(log=str(tmp_path / "calls"), specification=specification, name=name)
        (modules / f"{name}.py").write_text("#!/usr/bin/python\n" + text)
    return tmp_path


def test_everything_is_made_in_its_order(stand_in: Path) -> None:
    done = play(stand_in, settings=SETTINGS)
    assert done.returncode == 0, done.stdout + done.stderr
    calls = [json.loads(line) for line in (stand_in / "calls").read_text().splitlines()]
    made: dict[str, list[dict[str, Any]]] = {}
    for call in calls:
        made.setdefault(call["module"], []).append(call["arguments"])
    assert set(made) == set(ARGUMENTS)
    (source,) = made["inventory_source"]
    assert (TREE / source["source_path"]).is_file()
    templates = {template["name"]: template for template in made["job_template"]}
    assert all((TREE / template["playbook"]).is_file() for template in templates.values())
    assert templates["Phoenix drift"]["job_type"] == "check"
    assert templates["Phoenix inventory check"]["credentials"] == []
    assert templates["Phoenix inventory check"]["extra_vars"] == {
        "phoenix_inventory": "inventories/example",
        "phoenix_inventory_check": True,
    }
    site = templates["Phoenix site"]
    assert site["credentials"] == ["Phoenix nodes"]
    assert site["description"].endswith("portainer, vllm_server, docker_application")
    assert [site[f"ask_{what}_on_launch"] for what in ("limit", "tags", "job_type")] == [True, True, True]
    assert [question["variable"] for question in site["survey_spec"]["spec"]] == ["phoenix_reboot", "phoenix_rebuild"]
    assert "survey_spec" not in templates["Phoenix verify"]
    assert [credential["state"] for credential in made["credential"]] == ["exists"]
    assert not any("inputs" in credential for credential in made["credential"])
    (credential_type,) = made["credential_type"]
    assert credential_type["injectors"]["env"]["PROXMOX_TOKEN_SECRET"] == "{{ token_secret }}"


@pytest.mark.parametrize("missing", SETTINGS)
def test_what_was_not_given_is_named(stand_in: Path, missing: str) -> None:
    done = play(stand_in, settings={name: value for name, value in SETTINGS.items() if name != missing})
    assert done.returncode != 0
    assert f"{missing} is missing: " in done.stdout
    assert not (stand_in / "calls").exists()


def test_a_missing_collection_is_named(tmp_path: Path) -> None:
    done = play(tmp_path, settings=SETTINGS)
    assert done.returncode != 0
    assert "Install it: ansible-galaxy collection install awx.awx." in re.sub(r"\s+", " ", done.stdout)


def installed() -> Path | None:
    folders = [Path(folder) for folder in os.environ.get("ANSIBLE_COLLECTIONS_PATH", "").split(":") if folder]
    return next((folder for folder in folders if (folder / "ansible_collections/awx/awx/plugins").is_dir()), None)


@pytest.mark.skipif(not installed(), reason="awx.awx is on Galaxy only: name its folder in ANSIBLE_COLLECTIONS_PATH")
def test_awx_has_it_and_a_second_run_changes_nothing(awx: tuple[Awx, str]) -> None:
    made, address = awx
    real = installed()
    assert real
    account = {"CONTROLLER_HOST": address, "CONTROLLER_OAUTH_TOKEN": TOKEN}
    first = play(real, settings=SETTINGS, **account)
    assert first.returncode == 0, first.stdout + first.stderr
    nodes = made.named("workflow_job_template_nodes")
    assert nodes["hypervisor"]["failure_nodes"] == [nodes["approve_reboot"]["id"]]
    assert nodes["approve_reboot"]["success_nodes"] == [nodes["hypervisor_reboot"]["id"]]
    assert made.named("workflow_approval_templates")["Phoenix may reboot the nodes"]["timeout"] == 86400
    assert len(made.named("schedules")) == 3
    made.writes.clear()
    second = play(real, settings=SETTINGS, **account)
    assert second.returncode == 0, second.stdout + second.stderr
    assert made.writes == []
    assert re.search(r"localhost .* changed=0 ", second.stdout)
