# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The workflows for GitHub and GitLab run every part of scripts/test, and know nothing else.

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.phoenix.hypervisor.scripts.harness.cli import PARTS

TREE = Path(__file__).parents[3]
WORKFLOWS = sorted((TREE / ".github/workflows").glob("*.yml"))
CALL = re.compile(r"(?:sudo XDG_CACHE_HOME=\"\$\w+(?:/\.cache)?\" )?scripts/test (?P<parts>[\w ]+)")
Job = dict[str, Any]


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((TREE / name).read_text())
    return found


def of_github() -> list[str]:
    """The commands of each job, once for each part of its matrix."""
    commands = []
    for job in load(".github/workflows/ci.yml")["jobs"].values():
        runs = [step["run"] for step in job["steps"] if "run" in step]
        for part in job.get("strategy", {}).get("matrix", {}).get("part", [""]):
            commands += [run.replace("${{ matrix.part }}", part) for run in runs if "chown" not in run]
    return commands


def of_gitlab() -> list[str]:
    document = load(".gitlab-ci.yml")
    commands = []
    for name, job in document.items():
        if not name.startswith(".") and isinstance(job, dict) and ("extends" in job or "script" in job):
            whole = extended(document, job)
            variables = whole.get("variables", {})
            values = [value for row in whole.get("parallel", {}).get("matrix", []) for value in row.get("PART", [])]
            for part in values or [variables.get("PART", "")]:
                commands += [line.replace("$PART", part) for line in whole["script"]]
    return commands


def extended(document: dict[str, Any], job: Job) -> Job:
    return {**extended(document, document[job["extends"]]), **job} if "extends" in job else job


@pytest.mark.parametrize("commands", [of_github(), of_gitlab()], ids=["GitHub", "GitLab"])
def test_every_part_is_run_and_nothing_else(commands: list[str]) -> None:
    found: set[str] = set()
    for command in commands:
        call = CALL.fullmatch(command)
        assert call, command
        found |= set(call["parts"].split())
    assert found == set(PARTS)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read(path: Path) -> None:
    workflow = load(str(path.relative_to(TREE)))
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 120
        assert job["runs-on"] == "ubuntu-24.04"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_githubs_own_and_pinned(path: Path) -> None:
    used = re.findall(r"uses: (.+)", path.read_text())
    assert used
    assert [name for name in used if not re.fullmatch(r"actions/[a-z-]+@v\d+", name)] == []


def test_the_tools_are_cached() -> None:
    for name, job in load(".github/workflows/ci.yml")["jobs"].items():
        (cache,) = [step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/cache@")]
        assert cache["path"] == "~/.cache/phoenix-hypervisor", name
        assert "hashFiles('tests/requirements/*')" in cache["key"], name
    assert load(".gitlab-ci.yml")[".python"]["cache"]["paths"] == [".cache/phoenix-hypervisor/"]


def test_what_only_ci_needs_is_not_in_the_artefact() -> None:
    ignored = load("galaxy.yml")["build_ignore"]
    assert {".github", ".gitlab-ci.yml", "execution-environment.yml"} <= set(ignored)


def test_a_release_is_published_with_a_secret_that_is_nowhere_else() -> None:
    text = (TREE / ".github/workflows/release.yml").read_text()
    assert re.findall(r"\$\{\{ secrets\.(\w+) \}\}", text) == ["GALAXY_TOKEN"]
    assert "--token" not in text


def test_the_image_gets_this_version() -> None:
    version = load("galaxy.yml")["version"]
    definition = load("execution-environment.yml")
    artefact = f"phoenix-hypervisor-{version}.tar.gz"
    (file,) = definition["additional_build_files"]
    assert file["src"] == artefact
    assert definition["dependencies"]["galaxy"]["collections"] == [
        {"name": f"{file['dest']}/{artefact}", "type": "file"}
    ]


def test_the_collection_names_files_that_are_there() -> None:
    needed = load("meta/execution-environment.yml")["dependencies"]
    assert needed == {"python": "requirements.txt", "system": "bindep.txt"}
    assert all((TREE / name).is_file() for name in needed.values())
