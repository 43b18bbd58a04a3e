# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The commands in the documentation, and what can be said of one without running it: that its program is known, that
# this program takes these words, and that what the words name is there.

from __future__ import annotations

import argparse
import functools
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from ansible.cli import CLI
from ansible.cli.adhoc import AdHocCLI
from ansible.cli.doc import DocCLI
from ansible.cli.galaxy import GalaxyCLI
from ansible.cli.inventory import InventoryCLI
from ansible.cli.playbook import PlaybookCLI
from ansible.cli.vault import VaultCLI
from ansible_collections.phoenix.hypervisor.scripts.harness import cli as test_cli
from ansible_collections.phoenix.hypervisor.scripts.harness import demo
from ansible_collections.phoenix.hypervisor.scripts.harness.molecule import chosen
from ansible_collections.phoenix.hypervisor.tests.unit.playbooks.tags import Loader, tags_of

from lab import cli as lab_cli

CHECKOUT = Path(__file__).resolve().parents[3]
PAGES = ("README.md", "docs/*.md", "molecule/README.md", "tests/lab/README.md", "roles/*/README.md")
COLLECTION = "phoenix.hypervisor."

# What the reader makes: inventories by the pages' own commands or texts, and the node that has an address for examples.
READERS_INVENTORIES = {"inventories/home": "inventories/example", "inventory.yml": ""}
READERS_ANSWERS = "@awx.yml"
NODE = "192.0.2.10"
IMAGE = "registry.example.com/phoenix:1.0.0"
ON_THE_NODE = {"pveversion": 0, "pveam update": 0, "pveam download": 2, "pct list": 0, "pct enter": 1}
# The playbooks' variables that are answered on the command line, with the answers that are possible anywhere.
ANSWERS = {
    "phoenix_reboot": {"never", "if_required"},
    "phoenix_rebuild": {"stale"},
    "phoenix_destroy": set(),
    "phoenix_inventory": None,
    "phoenix_inventory_check": {"true", "false"},
    "phoenix_check_fails": {"true", "false"},
}


class Command(NamedTuple):
    page: str
    line: int
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)


class Wrong(Exception):
    """A command that does not work, or that nobody knows."""


def commands() -> list[Command]:
    paths = [path for pattern in PAGES for path in sorted(CHECKOUT.glob(pattern))]
    return [command for path in paths for command in read(path.relative_to(CHECKOUT).as_posix(), path.read_text())]


def read(page: str, text: str) -> Iterator[Command]:
    """Every command of every block that is marked as a console's."""
    inside, begun = False, ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip().startswith("```"):
            inside = line.strip() == "```console"
        elif inside and line.strip():
            begun += line.strip().removeprefix("$ ")
            if begun.endswith("\\"):
                begun = begun[:-1]
            else:
                if Command(page, number, begun).words:
                    yield Command(page, number, begun)
                begun = ""


def judge(command: Command) -> None:
    """Raise Wrong unless it is known to work."""
    words = command.words
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        _setting(words.pop(0))
    if words[:1] == ["sudo"]:
        words = words[1:]
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            _setting(words.pop(0))
    if not words or words[0] not in PROGRAMS:
        raise Wrong(f"nobody knows how to judge this: teach it to {Path(__file__).name}")
    try:
        PROGRAMS[words[0]](words[1:])
    except SystemExit as error:
        raise Wrong(f"{words[0]} does not take these words") from error


def _check(fits: bool, problem: str) -> None:
    if not fits:
        raise Wrong(problem)


def _setting(word: str) -> None:
    known = {"PYTHON": r"python3\.\d+", "PHOENIX_LAB_MIRROR": r"http://\S+"}
    name, _equals, value = word.partition("=")
    _check(bool(re.fullmatch(known.get(name, "(?!)"), value)), f"nobody reads {word}")


# --- the scripts of a checkout


def _test(words: list[str]) -> None:
    for part, arguments in test_cli.parse(words):
        if part == "molecule":
            chosen(CHECKOUT / "molecule", arguments)
        for argument in arguments:
            _check(argument.startswith("-") or part != "roles" or (CHECKOUT / argument).exists(), f"no {argument}")


def _demo(words: list[str]) -> None:
    demo.parse(words)


def _lab(words: list[str]) -> None:
    options = lab_cli._parser().parse_args(words)
    _check(getattr(options, "node", "pve1") in ("pve1", "pve2"), "the lab has no such node")
    command = [word for word in getattr(options, "words", []) if word != "--"]
    if "words" in options:
        _node(command)


def _node(words: list[str]) -> None:
    """A command on a Proxmox VE node."""
    known = [name for name in ON_THE_NODE if words[: len(name.split())] == name.split()]
    _check(bool(known), f"nobody knows what {shlex.join(words)} does on a node")
    _check(len(words) == len(known[0].split()) + ON_THE_NODE[known[0]], f"{known[0]} takes other words")


# --- Ansible


def _parsed(cli: type[CLI], words: Sequence[str]) -> argparse.Namespace:
    tool = cli([f"ansible-{cli.name}", *words])
    tool.init_parser()
    options: argparse.Namespace = tool.parser.parse_args(list(words))
    return options


def _playbook(words: list[str]) -> None:
    options = _parsed(PlaybookCLI, words)
    given = dict(word.split("=", 1) for word in options.extra_vars or [] if not _is_file_of(word))
    for name in options.args:
        path = _path_of(name)
        _check(path.is_file(), f"there is no playbook {name}")
        texts = _sources(path)
        there = {tag for text in texts for tag in tags_of(yaml.load(text, Loader))}
        for tag in (tag for tags in options.tags or [] for tag in tags.split(",")):
            _check(tag in there, f"{name} has no tag {tag}")
        for variable in given:
            _check(variable in ANSWERS, f"nobody asks for {variable}")
            _check(any(re.search(rf"\b{variable}\b", text) for text in texts), f"{name} does not use {variable}")
    hosts = _hosts(options.inventory) if options.inventory else set()
    for variable, value in given.items():
        answers = ANSWERS[variable]
        if answers is None:
            _inventory_folder(value)
        else:
            for answer in value.split(","):
                _check(answer in answers | hosts, f"{variable} cannot be {answer}")
    for part in (part for limit in [options.subset or ""] for part in re.split("[,:]", limit) if part):
        _check(part in hosts, f"the inventory has no {part}")


def _is_file_of(word: str) -> bool:
    # Ansible's parser has made its path absolute.
    return word.startswith("@") and Path(word).name == READERS_ANSWERS.removeprefix("@")


def _path_of(name: str) -> Path:
    if name.startswith(COLLECTION):
        return CHECKOUT / "playbooks" / f"{name.removeprefix(COLLECTION)}.yml"
    return CHECKOUT / name


@functools.cache
def _sources(playbook: Path) -> list[str]:
    """The texts of a playbook and of all files that it names, and that these name."""
    waiting = [playbook]
    for path in waiting:
        named = (Path(name) for name in re.findall(r"[\w./-]+\.yml", path.read_text()))
        places = [folder / name for name in named for folder in (path.parent, CHECKOUT / "playbooks")]
        waiting += dict.fromkeys(place for place in places if place.is_file() and place not in waiting)
    return [path.read_text() for path in waiting]


def _inventory_folder(name: str) -> str:
    source = READERS_INVENTORIES.get(name, name)
    _check(not source or (CHECKOUT / source).exists(), f"there is no inventory {name}")
    return source


def _hosts(inventories: Sequence[str]) -> set[str]:
    """The hosts and groups of an inventory. A group phoenix_on_… may be of a node that the reader adds."""
    found = {"phoenix_nodes", "phoenix_containers", "BaseTemplate", "pve1", "pve2", "phoenix_on_pve2"}
    for name in inventories:
        if source := _inventory_folder(name):
            groups = yaml.safe_load((CHECKOUT / source / "hosts.yml").read_text())["all"]["children"]
            found |= {*groups, *(host for group in groups.values() for host in group["hosts"])}
    return found


def _adhoc(words: list[str]) -> None:
    options = _parsed(AdHocCLI, words)
    _check(options.args in _hosts(options.inventory or []), f"the inventory has no {options.args}")
    _check(options.module_name.startswith(("ansible.builtin.", COLLECTION)), f"which module is {options.module_name}?")


def _inventory(words: list[str]) -> None:
    _hosts(_parsed(InventoryCLI, words).inventory)


def _galaxy(words: list[str]) -> None:
    options = _parsed(GalaxyCLI, words)
    requirements = getattr(options, "requirements", None)
    _check(not requirements or (CHECKOUT / requirements).is_file(), f"there is no {requirements}")
    galaxy = yaml.safe_load((CHECKOUT / "galaxy.yml").read_text())
    built = f"{galaxy['namespace']}-{galaxy['name']}-{galaxy['version']}.tar.gz"
    for name in getattr(options, "args", None) or []:
        _check(
            name.partition(":")[0] in (built, ".", "awx.awx"),
            f"{name} is neither {built} nor a collection that is needed",
        )


def _doc(words: list[str]) -> None:
    options = _parsed(DocCLI, words)
    folders = {"module": "plugins/modules/{}.py", "connection": "plugins/connection/{}.py", "role": "roles/{}/meta"}
    for name in options.args:
        _check(name.startswith(COLLECTION), f"{name} is none of ours")
        place = folders[options.type].format(name.removeprefix(COLLECTION))
        _check((CHECKOUT / place).exists(), f"there is no {options.type} {name}")


def _vault(words: list[str]) -> None:
    options = _parsed(VaultCLI, words)
    for name in options.args if options.action == "create" else ():
        inventory, _folder, host, _file = Path(name).parts[-5:-3], *Path(name).parts[-3:]
        _check(host in _hosts(["/".join(inventory)]), f"no inventory has {host}")


def _molecule(words: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("cleanup", "converge", "create", "destroy", "login", "test", "verify"))
    parser.add_argument("-s", dest="scenario", default="default")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--destroy", choices=("always", "never"))
    parser.add_argument("--host", choices=("pve1",))
    scenario = parser.parse_args(words).scenario
    _check((CHECKOUT / "molecule" / scenario / "molecule.yml").is_file(), f"there is no scenario {scenario}")


# --- everything else


def _git(words: list[str]) -> None:
    galaxy = yaml.safe_load((CHECKOUT / "galaxy.yml").read_text())
    version = galaxy["version"]
    known = (
        ["clone", galaxy["repository"], "ansible_collections/phoenix/hypervisor"],
        ["commit", "--all", "--message", f"Release {version}"],
        ["tag", f"v{version}"],
        ["push", "--tags"],
    )
    _check(words in known, f"another repository, place or version: {shlex.join(words)}")


def _exactly(*lines: str) -> Callable[[list[str]], None]:
    def check(words: list[str]) -> None:
        _check(shlex.join(words) in lines, f"only this is known: {'; '.join(lines)}")

    return check


def _ssh(words: list[str]) -> None:
    _check(words[:1] == [f"root@{NODE}"], f"the examples' node is {NODE}")
    _node(words[1:])


PROGRAMS: dict[str, Callable[[list[str]], None]] = {
    ".": _exactly(".venv/bin/activate"),
    "$EDITOR": _exactly("'inventories/home/fleet.cfg/*.json'"),
    "ansible": _adhoc,
    "antsibull-changelog": _exactly("release"),
    "ansible-builder": _exactly(f"build --tag {IMAGE}"),
    "ansible-doc": _doc,
    "ansible-galaxy": _galaxy,
    "ansible-inventory": _inventory,
    "ansible-playbook": _playbook,
    "ansible-vault": _vault,
    "cd": _exactly("ansible_collections/phoenix/hypervisor"),
    "cp": _exactly("-r inventories/example inventories/home"),
    "export": _exactly("CONTROLLER_HOST=https://awx.example.com", "CONTROLLER_OAUTH_TOKEN=..."),
    "git": _git,
    "ln": _exactly("-s ../../.. .collections/ansible_collections/phoenix/hypervisor"),
    "mkdir": _exactly("-p .collections/ansible_collections/phoenix"),
    "molecule": _molecule,
    "pip": _exactly("install ansible-builder", "install ansible-core", "install -r requirements.txt"),
    "podman": _exactly(f"push {IMAGE}"),
    "python3": _exactly("-m venv .venv"),
    "scripts/demo": _demo,
    "scripts/lab": _lab,
    "scripts/test": _test,
    "ssh": _ssh,
    "ssh-copy-id": _exactly(f"root@{NODE}", f"-i awx_ed25519.pub root@{NODE}"),
    "ssh-keygen": _exactly("-t ed25519 -N '' -C awx -f awx_ed25519"),
}
