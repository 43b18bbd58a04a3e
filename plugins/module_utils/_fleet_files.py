# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# Reads the two files that describe a fleet, and says everything that is wrong with them at once.

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError, invalid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet import Fleet, Problem
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_model import normalise
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_rules import Schemas, validate
from ansible_collections.phoenix.hypervisor.plugins.module_utils._schema import loads

LXC_SCHEMA = "phoenix_lxc_configs.schema.json"
HYPERVISOR_SCHEMA = "phoenix_hypervisor_config.schema.json"


class Refused(PhoenixError):
    """The files are wrong: every problem is in the message, on a line of its own."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(
            f"the fleet has {count}, and nothing was written",
            remedy="Correct the files and run again.",
            code=Code.INPUT,
            problems=[dataclasses.asdict(problem) for problem in problems],
        )
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join([f"{self.reason}:", *(f"- {problem}" for problem in self.problems)])


def load(lxc_configs: Path, hypervisor_config: Path, schemas: Path) -> tuple[Fleet, list[Problem]]:
    """The fleet, and what is doubtful about it."""
    known = Schemas(_schema(schemas / LXC_SCHEMA), _schema(schemas / HYPERVISOR_SCHEMA))
    (lxc, problems), (hypervisor, more) = read_json(lxc_configs), read_json(hypervisor_config)
    errors = [*problems, *more]
    if lxc is None or hypervisor is None:
        raise Refused(errors)
    findings = validate(lxc, hypervisor, known, (lxc_configs.name, hypervisor_config.name))
    errors += findings.errors
    if errors:
        raise Refused(errors)
    return normalise(lxc, hypervisor), findings.warnings


def read_json(path: Path) -> tuple[t.Any, list[Problem]]:
    """The document in a file, None when there is none, and what is wrong with the text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        return None, [Problem(path.name, "$", None, f"byte {error.start + 1} is no UTF-8", "Save the file as UTF-8.")]
    except OSError as error:
        wrong = f"{path} cannot be read: {error.strerror}"
        return None, [Problem(path.name, "$", None, wrong, "Name a file that can be read.")]
    return loads(text, path.name)


def _schema(path: Path) -> t.Any:
    document, problems = read_json(path)
    if problems:
        raise invalid("schemas", str(path.parent), f"is not the folder schemas of this collection: {problems[0].wrong}",
                      "Name the folder that the collection ships.")  # fmt: skip
    return document
