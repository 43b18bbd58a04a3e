# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PVE::CLIHandler: from a command line through the table of commands to a method, and its result to the terminal.

from __future__ import annotations

import importlib
import os
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from .environment import Environment
from .exceptions import PVEError
from .getopt import EXTRA_ARGS, get_options
from .json_schema import get_standard_option
from .rest_handler import Method
from .system import System

PATH = "/sbin:/bin:/usr/sbin:/usr/bin"
START_DELAY = "etc/phoenix-lab/start-delay"
"""How many seconds a command takes to start, for who wants the cost of the real one's."""

_FAILED = 255
_SIGPIPE = 128 + 13
_BAD_REQUEST = 400


class Command(NamedTuple):
    """A line of a command table."""

    group: str
    """PVE's class that has the method: the usage text is sorted by it."""
    method: str
    """ "module:name" of the Method, imported when it is needed."""
    arguments: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = types.MappingProxyType({})
    """Parameters that the command line gives itself; NODE stands for the node's name."""
    output: Callable[[Environment, Any], int | None] | None = None
    """Prints the result; may return the exit code."""
    mapped: Mapping[str, Callable[[str], str]] = types.MappingProxyType({})
    """Parameters that the command line gives in another form than the method takes (param_mapping)."""

    def load(self) -> Method:
        module, _colon, name = self.method.partition(":")
        method: Method = getattr(importlib.import_module(module), name)
        return method


NODE = {"node": object()}

_HELP = Command("PVE::CLIHandler", f"{__name__}:help_method", (EXTRA_ARGS,))


class _Usage(Exception):
    """Wrong use: the whole usage text on stderr, and -1."""


class CLIHandler:
    def __init__(self, name: str, commands: Mapping[str, Command | str], system: System) -> None:
        """`commands` has an alias as the name of its command."""
        self.name = name
        self.commands: dict[str, Command | str] = {**commands, "help": _HELP}
        self.system = system

    def run(self, words: Sequence[str]) -> int:
        """Its exit code. What a command raises beyond PVEError (a broken stand-in) is not caught."""
        os.environ["PATH"] = PATH
        try:
            code = self._run(list(words))
        except PVEError as error:
            sys.stdout.flush()
            sys.stderr.write(error.text())
            code = error.errno
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        except BrokenPipeError:
            # `pct pending 100 | head -1`: Perl dies of SIGPIPE without a word.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = _SIGPIPE
        except _Usage as problem:
            sys.stderr.write(f"ERROR: {problem}\n{self.usage()}")
            code = _FAILED
        return code

    def _run(self, words: list[str]) -> int:
        if not words:
            raise _Usage("no command specified")
        name, command = self._resolve(words[0])
        if command is _HELP:
            return self._help(words[1:])
        method = command.load()
        prefix = f"{self.name} {name}"
        from .rest_environment import setup_cli_env  # noqa: PLC0415  (it costs time to load, and help needs none)

        environment = setup_cli_env(self.system)
        try:
            parameters = get_options(method.parameters, words[1:], command.arguments, command.fixed)
            parameters.update(self._fixed(command))
            for parameter in command.mapped.keys() & parameters.keys():
                parameters[parameter] = command.mapped[parameter](parameters[parameter])
            result = method.handle(environment, parameters, verify_result=True)
        except PVEError as error:
            if error.code == _BAD_REQUEST:
                from .cli_usage import usage  # noqa: PLC0415

                error.usage = usage(method, prefix, command.arguments, command.fixed).removesuffix("\n")
            raise
        code = command.output(environment, result) if command.output else 0
        sys.stdout.flush()
        return code or 0

    def _fixed(self, command: Command) -> dict[str, Any]:
        return {name: self.system.node if value is NODE["node"] else value for name, value in command.fixed.items()}

    def _resolve(self, word: str) -> tuple[str, Command]:
        """The command, which may be abbreviated as long as it is clear."""
        names = [name for name in self.commands if name == word]
        names = names or [
            name for name, found in self.commands.items() if name.startswith(word) and isinstance(found, Command)
        ]
        if len(names) != 1:
            raise _Usage(f"unknown command '{self.name} {word}'")
        found = self.commands[names[0]]
        return self._resolve(found) if isinstance(found, str) else (names[0], found)

    def _help(self, words: Sequence[str]) -> int:
        from .cli_usage import usage  # noqa: PLC0415

        try:
            parameters = get_options(help_method.parameters, words, (EXTRA_ARGS,), ())
        except PVEError as error:
            error.usage = usage(help_method, f"{self.name} help", (EXTRA_ARGS,), ()).removesuffix("\n")
            raise
        asked = parameters.get(EXTRA_ARGS)
        if not asked:
            sys.stdout.write(self.usage())
            return 0
        name, command = self._resolve(asked[0])
        full = bool(parameters.get("verbose", 1))
        text = usage(command.load(), f"{self.name} {name}", command.arguments, command.fixed, full=full)
        sys.stdout.write(f"{text}\n" if full else f"USAGE: {text}\n")
        return 0

    def usage(self) -> str:
        """Every command, by the class that has it."""
        from .cli_usage import usage  # noqa: PLC0415

        real = [(found.group, name, found) for name, found in self.commands.items() if isinstance(found, Command)]
        lines = [f"USAGE: {self.name} <COMMAND> [ARGS] [OPTIONS]\n\n"]
        before = None
        for group, name, command in sorted(real, key=lambda entry: entry[:2]):
            if before not in (None, group):
                lines.append("\n")
            before = group
            text = usage(command.load(), f"{self.name} {name}", command.arguments, command.fixed)
            lines.append(" " * 7 + text)
        return "".join(lines)


def _no_help(_environment: Environment, _parameters: dict[str, Any]) -> None:
    """The handler does it itself."""


help_method = Method(
    name="help",
    method="GET",
    path="help",
    description="Get help about specified command.",
    parameters={
        EXTRA_ARGS: get_standard_option("extra-args", description="Shows help for a specific command"),
        "verbose": {"description": "Verbose output format.", "type": "boolean", "optional": 1},
    },
    code=_no_help,
)


def run_command(
    name: str, commands: Mapping[str, Command | str], argv: Sequence[str] | None = None, system: System | None = None
) -> int:
    """The main function of pct and its likes: the delay, the command, the log of calls."""
    words = list(sys.argv[1:] if argv is None else argv)
    if system is None:
        from .real_system import RealSystem  # noqa: PLC0415

        system = RealSystem()
    for stream in (sys.stdout, sys.stderr):
        # What a file holds is printed as it is, also when it is no UTF-8; a test's stream may not know this.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="surrogateescape")
    start = system.time()
    delay = system.path(START_DELAY)
    if delay.exists():
        system.sleep(float(delay.read_text().strip() or 0))
    code = _FAILED
    try:
        code = CLIHandler(name, commands, system).run(words)
    finally:
        from .call_log import log_call  # noqa: PLC0415

        log_call(system, name, words, rc=code, seconds=system.time() - start, user="root@pam")
    return code
