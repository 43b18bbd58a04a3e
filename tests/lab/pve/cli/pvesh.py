# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# pvesh: the API on the command line, as root@pam and without HTTP.
#
#     pvesh get /nodes --output-format json
#     pvesh create /nodes/pve1/lxc/101/snapshot --snapname before

from __future__ import annotations

import json
import sys
import time
from typing import Any

from .. import rest_environment
from ..api2.methods import all_methods
from ..api_call import Router, call, merge
from ..call_log import log_call
from ..cli_handler import START_DELAY
from ..environment import Environment
from ..exceptions import NotImplementedHere, PVEError
from ..rest_handler import Parameters
from ..system import System
from .text_output import parse_options, render

_VERBS = {"get": "GET", "set": "PUT", "create": "POST", "delete": "DELETE"}
# Options about the layout of a table, which has one layout here.
_LAYOUT = ("noborder", "noheader", "human-readable")
_FORMATS = ("text", "json", "json-pretty", "yaml")
# How ls shows what can be done with a path.
_LETTERS = {"r": "GET", "w": "PUT", "c": "POST", "d": "DELETE"}
_USAGE = """USAGE: pvesh <COMMAND> [ARGS] [OPTIONS]

       pvesh create <api_path> [OPTIONS] [FORMAT_OPTIONS]
       pvesh delete <api_path> [OPTIONS] [FORMAT_OPTIONS]
       pvesh get <api_path> [OPTIONS] [FORMAT_OPTIONS]
       pvesh ls <api_path> [OPTIONS] [FORMAT_OPTIONS]
       pvesh set <api_path> [OPTIONS] [FORMAT_OPTIONS]
       pvesh usage <api_path> [OPTIONS]

       pvesh help [<extra-args>] [OPTIONS]
"""


def main(argv: list[str] | None = None, system: System | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    node = system or _this_machine()
    began = time.monotonic()
    if (delay := node.path(START_DELAY)).exists():
        node.sleep(float(delay.read_text(encoding="ascii")))
    status = _run(node, words)
    log_call(node, "pvesh", words, rc=status, seconds=time.monotonic() - began, user="root@pam")
    return status


def _this_machine() -> System:
    from ..real_system import RealSystem  # noqa: PLC0415 - tests do without it

    return RealSystem()


def _run(system: System, words: list[str]) -> int:
    command = words[0] if words else "no command"
    if command == "help":
        print(_USAGE, end="")
        return 0
    if command not in (*_VERBS, "ls", "usage"):
        problem = f"unknown command '{command}'" if words else "no command specified"
        print(f"ERROR: {problem}\n{_USAGE}", end="", file=sys.stderr)
        return 255
    if len(words) < 2:
        print(f"400 not enough arguments\npvesh {command} <api_path> [OPTIONS] [FORMAT_OPTIONS]", file=sys.stderr)
        return 255
    path = "/" + words[1].strip("/")
    router = Router(all_methods())
    try:
        options = parse_options(words[2:])
        shape = options.pop("output-format", "text")
        quiet = options.pop("quiet", None) is not None
        for name in _LAYOUT:
            options.pop(name, None)
        if shape not in _FORMATS:
            raise PVEError(f"value '{shape}' does not have a value in the enumeration '{', '.join(_FORMATS)}'", 400)
        if command in ("ls", "usage"):
            return _show_path(router, path, command)
        env = rest_environment.setup_cli_env(system)
        return _call(env, router, _VERBS[command], path, options, shape="quiet" if quiet else shape)
    except PVEError as error:
        print(error.text(), end="", file=sys.stderr)
        return 255 if error.code < 400 else 2


def _show_path(router: Router, path: str, command: str) -> int:
    if command == "usage":
        for name, verb in _VERBS.items():
            if verb in router.verbs(path):
                method, _ = router.find(verb, path)
                options = [f"--{option} <string>" for option in method.parameters if f"{{{option}}}" not in method.path]
                print(" ".join(["USAGE: pvesh", name, path, *options]))
        return 0
    for child in sorted(router.children(path)):
        below = f"{path.rstrip('/')}/{child}"
        verbs = router.verbs(below)
        rights = "".join(letter if verb in verbs else "-" for letter, verb in _LETTERS.items())
        print(f"{'D' if router.children(below) else '-'}{rights}        {child}")
    return 0


def _call(env: Environment, router: Router, verb: str, path: str, options: Parameters, *, shape: str) -> int:
    try:
        method, uri_parameters = router.find(verb, path)
    except NotImplementedHere:
        commands = {"GET": "get", "PUT": "set", "POST": "create", "DELETE": "delete"}
        print(f"No '{commands[verb]}' handler defined for '{path}'", file=sys.stderr)
        return 255
    parameters = merge(uri_parameters, options)
    data = call(env, method, parameters)
    _print(data, shape)
    if isinstance(data, str) and data.startswith("UPID:"):
        return 0 if _succeeded(env.system, data) else 255
    return 0


def _succeeded(system: System, upid: str) -> bool:
    status = rest_environment.upid_read_status(system, upid)
    return status == "OK" or status.startswith("WARNINGS")


def _print(data: Any, shape: str) -> None:
    if shape == "quiet" or (data is None and shape == "text"):
        return
    if shape == "json":
        print(json.dumps(data, ensure_ascii=False, separators=(",", ":"), sort_keys=True))
    elif shape == "json-pretty":
        # Perl's JSON: three blanks, and " : " between key and value.
        print(json.dumps(data, ensure_ascii=False, indent=3, separators=(",", " : "), sort_keys=True))
    else:
        print(render(data), end="")
