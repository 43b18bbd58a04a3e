# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Command lines as Go's flag libraries read them: -name, --name, --name=value, --name value; an option may have several
# names.

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .log import ToolkitError


class Options(dict[str, list[str]]):
    def on(self, name: str) -> bool:
        return self.get(name, ["false"])[-1] in {"true", "1", "t"}

    def text(self, name: str, default: str = "") -> str:
        return self.get(name, [default])[-1]


def parse(words: Sequence[str], flags: Mapping[str, str], values: Mapping[str, str]) -> tuple[Options, list[str]]:
    """Options before the first argument, and what follows; both mappings lead from a spelling to the option's name."""
    options = Options()
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        spelling, equals, text = word.lstrip("-").partition("=")
        if spelling in flags:
            options.setdefault(flags[spelling], []).append(text if equals else "true")
        elif spelling in values:
            if not equals:
                if not rest:
                    raise ToolkitError(f"flag needs an argument: {word}")
                text = rest.pop(0)
            options.setdefault(values[spelling], []).append(text)
        else:
            raise ToolkitError(f"flag provided but not defined: -{spelling}")
    return options, rest
