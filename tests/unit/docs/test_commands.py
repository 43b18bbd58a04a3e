# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Every command in the README and the guides: judged without being run, run where that is cheap and safe, and else with
# the name of what runs it.

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.tests.unit.docs.commands import (
    CHECKOUT,
    Command,
    Wrong,
    commands,
    judge,
    read,
)

COMMANDS = commands()

# Run here, in a copy of the checkout.
RUN = re.compile(
    r"ansible-doc |ansible-inventory |ansible-galaxy collection (?!install 'awx)|cp |mkdir |ln "
    r"|ansible-playbook (?:playbooks/inventory\.yml|phoenix\.hypervisor\.inventory) "
)
# Run by somebody or something else: the beginning of the command, and what runs it. A path has to be there.
ELSEWHERE = (
    (r"(sudo )?(PYTHON=\S+ )?scripts/test", ".ci/run"),
    (r"(sudo (PHOENIX_LAB_MIRROR=\S+ )?)?scripts/lab", "tests/lab/smoke"),
    (r"(sudo (PHOENIX_LAB_MIRROR=\S+ )?)?scripts/demo", "scripts/harness/demo.py"),
    (r"ansible-playbook .*(site\.yml|phoenix\.hypervisor\.site)", "molecule/hierarchy"),
    (r"ansible-playbook .*(hypervisor\.yml)", "molecule/hierarchy"),
    (r"ansible-playbook .*verify\.yml", "molecule/hierarchy"),
    (r"ansible-playbook -i inventory\.yml ", "tests/lab/smoke/test_readme.py"),
    (r"ansible-playbook .*(status\.yml|phoenix\.hypervisor\.status)", "scripts/harness/demo.py"),
    (r"ansible-playbook .*destroy\.yml", "molecule/hierarchy"),
    (r"ansible-playbook .*phoenix\.hypervisor\.awx", "tests/unit/awx"),
    (r"ansible ", "tests/lab/smoke/test_readme.py"),
    (r"molecule ", "scripts/harness/molecule.py"),
    (r"ansible-builder |antsibull-changelog release", "scripts/harness/build.py"),
    (r"ssh |ssh-copy-id |ssh-keygen |git |cd |export |python3 -m venv |\. |\$EDITOR ", "the reader"),
    (r"ansible-vault |ansible-galaxy collection install 'awx|pip |podman ", "the reader"),
)


def names(command: Command) -> str:
    return f"{command.page}:{command.line}"


def test_there_are_commands_on_every_page_that_has_some() -> None:
    pages = {command.page for command in COMMANDS}
    assert {"README.md", "docs/getting-started.md", "docs/operating.md", "tests/lab/README.md"} <= pages


@pytest.mark.parametrize("command", COMMANDS, ids=names)
def test_a_command_takes_its_words(command: Command) -> None:
    judge(command)


@pytest.mark.parametrize("command", COMMANDS, ids=names)
def test_something_runs_it(command: Command) -> None:
    runs = [where for beginning, where in ELSEWHERE if re.match(beginning, command.text)]
    assert RUN.match(command.text) or runs, "nothing runs this: name it in RUN or ELSEWHERE"
    for where in runs[:1]:
        assert where == "the reader" or (CHECKOUT / where).exists()


@pytest.mark.parametrize(
    "text",
    [
        "curl -sSf https://example.com",
        "scripts/nothing",
        "scripts/test no-such-part",
        "scripts/test lint -- -k gpu",
        "scripts/demo --up",
        "sudo scripts/lab exec pve1 -- rm -rf /",
        "scripts/lab --bogus up",
        "ansible-playbook -i inventories/lab playbooks/nothing.yml",
        "ansible-playbook -i inventories/nothing site.yml",
        "ansible-playbook -i inventories/lab site.yml --tags no_such_role",
        "ansible-playbook -i inventories/lab site.yml --limit nobody",
        "ansible-playbook -i inventories/lab site.yml -e phoenix_nothing=1",
        "ansible-playbook -i inventories/lab playbooks/status.yml -e phoenix_reboot=never",
        "ansible-playbook -i inventories/lab site.yml -e phoenix_reboot=always",
        "ansible-playbook -i inventories/lab site.yml --no-such-option",
        "ansible-galaxy collection install phoenix-hypervisor-0.0.1.tar.gz",
        "ansible-doc phoenix.hypervisor.nothing",
        "ansible-doc -t role phoenix.hypervisor.nothing",
        "ansible-vault create inventories/home/host_vars/nobody/vault.yml",
        "git clone https://example.com/other ansible_collections/phoenix/hypervisor",
        "git tag v0.0.1",
        "cp -r / inventories/home",
        "ssh root@192.0.2.10 reboot",
        "NO_SUCH=1 scripts/test",
    ],
)
def test_a_wrong_command_is_found(text: str) -> None:
    with pytest.raises(Wrong):
        judge(Command("page", 1, text))


def test_blocks_comments_and_continued_lines() -> None:
    page = "```console\nscripts/test \\\n  lint    # a part\n\n# nothing\n```\n```\nscripts/other\n```\n"
    assert [command.words for command in read("page", page)] == [["scripts/test", "lint"]]


def reader(folder: Path) -> dict[str, str]:
    """The variables of somebody who has nothing but the tools, and what this collection depends on."""
    home = folder / "home"
    known = os.environ.get("ANSIBLE_COLLECTIONS_PATH", "").split(":")
    dependencies = [path for path in known if (Path(path) / "ansible_collections/community/docker").is_dir()]
    if not dependencies:
        pytest.skip("community.docker is not in ANSIBLE_COLLECTIONS_PATH")
    there = home / ".ansible/collections/ansible_collections"
    there.mkdir(parents=True)
    for namespace in (Path(dependencies[0]) / "ansible_collections").iterdir():
        if namespace.name != "phoenix":
            (there / namespace.name).symlink_to(namespace)
    return {
        # Ansible finds collections in PYTHONPATH, too.
        **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHONPATH"))},
        "HOME": str(home),
        "NO_COLOR": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


def test_what_is_cheap_and_safe_is_run(tmp_path: Path) -> None:
    """In a clone where the README asks for one, in the order of the pages, each command once."""
    clone = tmp_path / "ansible_collections/phoenix/hypervisor"
    left_out = shutil.ignore_patterns(".*", "tests", "molecule", "__pycache__", "*.tar.gz", "output")
    shutil.copytree(CHECKOUT, clone, ignore=left_out, symlinks=True)
    # A clone anywhere else is found through a link.
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(clone, elsewhere, symlinks=True)
    variables = reader(tmp_path)

    def run(argv: list[str], cwd: Path, about: str) -> None:
        ended = subprocess.run(
            argv, cwd=cwd, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        # ansible-doc ends well, and with nothing but a warning, when it does not find what it is asked for.
        assert ended.returncode == 0, f"{about}\n{ended.stdout}\n{ended.stderr}"
        assert argv[0] != "ansible-doc" or ended.stdout, f"{about}\n{ended.stderr}"

    done: set[str] = set()
    for command in COMMANDS:
        text = command.text.partition(" #")[0].strip()
        if RUN.match(text) and text not in done:
            done.add(text)
            # No server is asked for what is there already.
            offline = ["--offline"] if "collection install" in text else []
            place = elsewhere if command.words[0] in ("mkdir", "ln") else clone
            run([*command.words, *offline], place, f"{names(command)}: {text}")
    # Wherever the inventory is, and not in the clone only.
    run(["ansible-doc", "phoenix.hypervisor.lxc_container"], tmp_path, "the installed collection is found")
    shutil.rmtree(tmp_path / "home/.ansible/collections/ansible_collections/phoenix")
    run(["ansible-doc", "phoenix.hypervisor.lxc_container"], elsewhere, "the linked collection is found")
    hosts = [(clone / "inventories" / name / "hosts.yml").read_text() for name in ("home", "example")]
    assert hosts[0] == hosts[1]
