# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Shell lines written for a machine whose files lie below a root folder.

from __future__ import annotations

import re
from collections.abc import Sequence

# What is the same everywhere, so that programs are found and /dev/null is one.
SHARED = ("/bin/", "/lib/", "/sbin/", "/usr/", "/nowhere", "/dev/null", "/dev/zero", "/dev/urandom", "/proc/self/")
_STARTS_A_COMMAND = {"do", "then", "else", "time", "!", "{"}
_TOKEN = re.compile(
    r"""
    (?P<blank>\s+)
    | (?P<open>[$<>]?\()
    | (?P<redirection>\d?(?:<|>>?)(?:&[-\d]+)?)
    | (?P<end>&&|\|\||[;|&)])
    | (?P<word>(?:\$?'[^']*'|"[^"]*"|\$(?!\()|[^\s;|&()<>'"$])+)
    """,
    re.VERBOSE,
)


def map_paths(script: str, root: str, *, opaque: frozenset[str] = frozenset(), shared: Sequence[str] = SHARED) -> str:
    """The script with its absolute paths moved below root. Quoted text stays as it is, and so do the arguments of the
    `opaque` commands, which know themselves where a path of that machine lies: what they are redirected to moves."""
    mapper = _Mapper(root, opaque, tuple(shared))
    return "".join(mapper.mapped(match) for match in _tokens(script))


def _tokens(script: str) -> list[re.Match[str]]:
    tokens = []
    position = 0
    while position < len(script):
        match = _TOKEN.match(script, position)
        if match is None:
            raise ValueError(f"cannot read this shell line from character {position} on: {script!r}")
        tokens.append(match)
        position = match.end()
    return tokens


class _Mapper:
    def __init__(self, root: str, opaque: frozenset[str], shared: tuple[str, ...]) -> None:
        self.root = root
        self.opaque = opaque
        self.shared = shared
        self.redirected = False
        # One entry for each open bracket: whether the command's name is still to come, and whether it is an opaque one.
        self.commands = [(True, False)]

    def mapped(self, token: re.Match[str]) -> str:
        text = token[0]
        if token.lastgroup == "word":
            return self._word(text, continued=self._follows_a_bracket(token))
        if token.lastgroup == "redirection":
            self.redirected = "&" not in text
        elif token.lastgroup == "open":
            self.commands.append((True, False))
        elif text == ")" and len(self.commands) > 1:
            self.commands.pop()
        elif token.lastgroup == "end" or "\n" in text:
            self.commands[-1] = (True, False)
        return text

    @staticmethod
    def _follows_a_bracket(token: re.Match[str]) -> bool:
        return token.string[: token.start()].endswith(")")

    def _word(self, word: str, *, continued: bool) -> str:
        name_expected, is_opaque = self.commands[-1]
        if name_expected and word in _STARTS_A_COMMAND:
            return word
        is_assignment = name_expected and re.match(r"\w+=", word) is not None
        if not is_assignment and not self.redirected:
            self.commands[-1] = (False, is_opaque or word in self.opaque)
        as_it_is = continued or is_assignment or (is_opaque and not self.redirected)
        self.redirected = False
        return word if as_it_is else self._place(word)

    def _place(self, word: str) -> str:
        return re.sub(r"(?:^|(?<==))/[^\s'\"]*", self._below_root, word)

    def _below_root(self, path: re.Match[str]) -> str:
        return path[0] if path[0].startswith(self.shared) else self.root + path[0]
