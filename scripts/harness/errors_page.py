# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes docs/errors.md from the sources of plugins, roles and playbooks: cd scripts; python3 -m harness.errors_page"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .errors_in_python import VARIES, Failure, failures, sentences

PAGE = "docs/errors.md"

HEAD = """\
<!--
Copyright: (c) 2026, the phoenix.hypervisor contributors
GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later

Generated from plugins, roles and playbooks by scripts/harness/errors_page.py: changes in this file are overwritten.
-->

# Every error, and what to do

Search this page for the words of the message. [By symptom](troubleshooting.md) is the page for when there is none.

A module's failure has `reason`, `remedy` and `code` among its results; `msg` is reason and remedy together. What varies
stands in angle brackets, what is not always said in square ones, and `…` stands for anything. Rows that begin and end
with `…` are what another program says (Proxmox VE, apt, Docker, NVIDIA's installer, vLLM), inside a longer message.

| Code | Meaning |
|---|---|
| 1 | anything else |
| 2 | invalid input: nothing was changed |
| 3 | no such container |
| 4 | verification: it was set up, and does not work |
| 5 | snapshot |
| 6 | shutdown or start |
| | as the operation that failed |
| - | the result has no code |

The codes are those of the first scripts, and stand in the results and in the recap. `ansible-playbook` itself exits
with its own status: 0 when all is well, 2 when a task failed, 4 when a host was unreachable.
"""

# What somebody was doing: the beginnings of the names of files. What fits nowhere is told at the end.
TOPICS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Describing a fleet",
        (
            "playbooks/inventory",
            "playbooks/before",
            "plugins/module_utils/_fleet",
            "plugins/module_utils/_schema",
            "plugins/module_utils/_inventory",
        ),
    ),
    (
        "Making, changing and removing containers",
        (
            "roles/lxc_container",
            "playbooks/destroy",
            "plugins/module_utils/_decision",
            "plugins/module_utils/_creation",
            "plugins/module_utils/_cloning",
            "plugins/module_utils/_container",
            "plugins/module_utils/_option",
            "plugins/module_utils/_lxc_config",
            "plugins/module_utils/_pct",
        ),
    ),
    ("Giving GPUs to containers", ("plugins/module_utils/_gpu", "plugins/module_utils/_passthrough")),
    (
        "Sealing layers, snapshots",
        ("roles/lxc_layer", "plugins/module_utils/_layer", "plugins/module_utils/_snapshots"),
    ),
    ("Acting over HTTPS", ("plugins/module_utils/_api",)),
    (
        "Running tasks inside a container",
        ("plugins/connection", "plugins/plugin_utils", "plugins/module_utils/_inside"),
    ),
    (
        "Installing packages in a container",
        (
            "roles/lxc_base",
            "plugins/module_utils/_guest_ready",
            "plugins/module_utils/_package",
            "plugins/module_utils/_apt",
        ),
    ),
    (
        "Installing and proving the NVIDIA driver",
        (
            "roles/hypervisor_nvidia",
            "roles/lxc_nvidia",
            "plugins/module_utils/_nvidia",
            "plugins/module_utils/_runfile",
            "plugins/module_utils/_download",
            "plugins/module_utils/_transfer",
            "plugins/module_utils/_cuda",
        ),
    ),
    (
        "Running Docker",
        (
            "roles/lxc_docker",
            "plugins/module_utils/_docker",
            "plugins/module_utils/_image_space",
            "plugins/module_utils/_pinned_image",
        ),
    ),
    ("Running vLLM", ("roles/vllm", "plugins/module_utils/_vllm")),
    ("Running other applications", ("roles/", "plugins/module_utils/_application")),
    ("The firewall of a container", ("plugins/module_utils/_firewall",)),
    ("Using AWX", ("playbooks/awx", "playbooks/tasks/awx")),
    ("Anything", ("",)),
)
UNKNOWN = "The message is all that is known: see the task's output, and what the node's or container's journal says."
QUOTED = "Look for the words at its end on this page; if they are not here, they come from the program that was run."

_EXPRESSION = re.compile(r"\{\{-?(.*?)-?\}\}", re.DOTALL)
_STATEMENT = re.compile(r"\{%.*?%\}", re.DOTALL)


class _Loader(yaml.SafeLoader):
    """With Ansible's own tags, such as !unsafe, whose texts are no messages."""


_Loader.add_multi_constructor("!", lambda _loader, _tag, _node: "")

_MESSAGES = {"ansible.builtin.assert": "fail_msg", "ansible.builtin.fail": "msg"}


def page(root: Path) -> str:
    """The page that belongs to the sources below this folder."""
    found = [*failures(root), *_of_yaml(root)]
    parts = [HEAD]
    told: set[tuple[str, str]] = set()
    for title, beginnings in TOPICS:
        rows = []
        for beginning in beginnings:
            for failure in found:
                if failure.file.startswith(beginning) and (failure.reason, failure.remedy) not in told:
                    told.add((failure.reason, failure.remedy))
                    rows.append(_row(failure))
        if rows:
            parts.append(f"## {title}\n\n| Message | Code | What to do |\n|---|---|---|\n{''.join(rows)}")
    return "\n".join(parts)


def _row(failure: Failure) -> str:
    remedy = failure.remedy or (QUOTED if failure.reason.endswith("<reason>") else UNKNOWN)
    cells = (failure.reason, failure.code if failure.code != VARIES else "", remedy)
    return f"| {' | '.join(_cell(text) for text in cells)} |\n"


def _cell(text: str) -> str:
    """Text in a table of Markdown, in which code between backticks stays as it is."""
    if re.match(r"(?!(?:apt|dockerd?) )[a-z]+ ", text):
        text = f"{text[:1].upper()}{text[1:]}"
    parts = text.split("`")
    for index in range(0, len(parts), 2):
        parts[index] = re.sub(r"[<*]|(?<!\w)_|_(?!\w)", r"\\\g<0>", parts[index])
    return "`".join(parts).replace("|", r"\|")


def _of_yaml(root: Path) -> Iterator[Failure]:
    for pattern in ("roles/*/tasks/*.yml", "roles/*/handlers/*.yml", "playbooks/**/*.yml"):
        for path in sorted(root.glob(pattern)):
            name = path.relative_to(root).as_posix()
            for failure in _of_tasks(yaml.load(path.read_text(encoding="utf-8"), _Loader), name):
                code = "1" if name.startswith("roles/") else "-"
                yield dataclasses.replace(failure, code=code)


def _of_tasks(node: Any, name: str) -> Iterator[Failure]:
    if isinstance(node, list):
        for entry in node:
            yield from _of_tasks(entry, name)
    elif isinstance(node, dict):
        for module, option in _MESSAGES.items():
            if option in (node.get(module) or {}):
                yield from _messages(str(node[module][option]), node.get("loop", []), name)
        for value in node.values():
            if isinstance(value, list | dict):
                yield from _of_tasks(value, name)


def _messages(message: str, loop: Any, name: str) -> Iterator[Failure]:
    rows = [row for row in loop if isinstance(row, dict) and "problem" in row] if isinstance(loop, list) else []
    texts = [f"{row['key']}: <value> {_said(row['problem'])}" for row in rows] or [_said(message)]
    for text in texts:
        reason, remedy = sentences(text, r":\s+(?=[a-z]{3}[^:]*$)")
        # A message of nothing but another one is that one, and told where it is made.
        if re.sub(r"<[^>]*>|[\W\d_]", "", reason) or remedy:
            yield Failure(reason, remedy, "", name, 0)


def _said(message: str) -> str:
    text = _EXPRESSION.sub(lambda found: f"<{_word(found[1])}>", _STATEMENT.sub("", message))
    return re.sub(r"\s+", " ", text).strip()


def _word(expression: str) -> str:
    """A word for what an expression of Jinja stands for."""
    found = re.match(r"\s*\(?([A-Za-z_][\w.]*)", expression)
    return found[1].rpartition(".")[2].strip("_").replace("_", " ") if found else "…"


def main() -> None:
    root = Path(__file__).resolve().parents[2]
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else root / PAGE
    target.write_text(page(root), encoding="utf-8")


if __name__ == "__main__":
    main()
