# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# pveum: users, tokens and rights on the command line. As much of it as it takes to set a token up:
#
#     pveum user add ansible@pve
#     pveum acl modify /vms --users ansible@pve --roles PVEVMAdmin
#     pveum user token add ansible@pve lab --privsep 0 --output-format json

from __future__ import annotations

import json
import sys
import time
from typing import Any

from .. import rest_environment
from ..api2.access import METHODS
from ..api_call import Router, call
from ..call_log import log_call
from ..exceptions import PVEError
from ..system import System
from .text_output import parse_options, render

# Command → verb, path, names of the arguments.
_COMMANDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "acl list": ("GET", "/access/acl", ()),
    "acl modify": ("PUT", "/access/acl", ("path",)),
    "acl delete": ("PUT", "/access/acl", ("path",)),
    "passwd": ("PUT", "/access/password", ("userid",)),
    "role add": ("POST", "/access/roles", ("roleid",)),
    "role delete": ("DELETE", "/access/roles/{roleid}", ("roleid",)),
    "role list": ("GET", "/access/roles", ()),
    "role modify": ("PUT", "/access/roles/{roleid}", ("roleid",)),
    "user add": ("POST", "/access/users", ("userid",)),
    "user delete": ("DELETE", "/access/users/{userid}", ("userid",)),
    "user list": ("GET", "/access/users", ()),
    "user modify": ("PUT", "/access/users/{userid}", ("userid",)),
    "user permissions": ("GET", "/access/permissions", ("userid",)),
    "user token add": ("POST", "/access/users/{userid}/token/{tokenid}", ("userid", "tokenid")),
    "user token list": ("GET", "/access/users/{userid}/token", ("userid",)),
    "user token modify": ("PUT", "/access/users/{userid}/token/{tokenid}", ("userid", "tokenid")),
    "user token remove": ("DELETE", "/access/users/{userid}/token/{tokenid}", ("userid", "tokenid")),
    "user token permissions": ("GET", "/access/permissions", ("userid", "tokenid")),
}
# What the commands were called once.
_ALIASES = {
    "aclmod": "acl modify",
    "acldel": "acl delete",
    "roleadd": "role add",
    "roledel": "role delete",
    "rolemod": "role modify",
    "useradd": "user add",
    "userdel": "user delete",
    "usermod": "user modify",
    "user token del": "user token remove",
}
_SINGULAR = {"user": "users", "role": "roles", "group": "groups", "token": "tokens"}


def main(argv: list[str] | None = None, system: System | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    node = system or _this_machine()
    began = time.monotonic()
    status = _run(node, words)
    log_call(node, "pveum", words, rc=status, seconds=time.monotonic() - began, user="root@pam")
    return status


def _this_machine() -> System:
    from ..real_system import RealSystem  # noqa: PLC0415 - tests do without it

    return RealSystem()


def _run(system: System, words: list[str]) -> int:
    command, rest = _split(words)
    if not command:
        known = "".join(f"       pveum {name}\n" for name in _COMMANDS)
        print(
            f"ERROR: unknown command '{' '.join(words)}'\nUSAGE: pveum <COMMAND> [ARGS] [OPTIONS]\n{known}",
            file=sys.stderr,
        )
        return 255
    verb, path, names = _COMMANDS[command]
    try:
        count = next((place for place, word in enumerate(rest) if word.startswith("-")), len(rest))
        arguments, options = rest[:count], parse_options(rest[count:])
        # user permissions can go without its argument.
        if len(arguments) > len(names) or (len(arguments) < len(names) and command != "user permissions"):
            problem = "too many arguments" if len(arguments) > len(names) else "not enough arguments"
            raise PVEError(f"{problem}\npveum {command} {' '.join(f'<{name}>' for name in names)} [OPTIONS]", 400)
        shape = options.pop("output-format", "text")
        parameters: dict[str, Any] = {_SINGULAR.get(name, name): value for name, value in options.items()}
        parameters |= dict(zip(names, arguments, strict=False))
        if command == "acl delete":
            parameters["delete"] = "1"
        if command == "user token permissions":
            parameters["userid"] = f"{parameters['userid']}!{parameters.pop('tokenid')}"
        if command == "passwd" and "password" not in parameters:
            parameters["password"] = sys.stdin.readline().rstrip("\n")
        method, _ = Router(METHODS).find(verb, path.format(**parameters))
        data = call(rest_environment.setup_cli_env(system), method, parameters)
    except PVEError as error:
        print(error.text(), end="", file=sys.stderr)
        return 255
    if data is not None:
        pretty = {"json": (None, (",", ":")), "json-pretty": (3, (",", " : "))}.get(shape)
        if pretty:
            print(json.dumps(data, ensure_ascii=False, indent=pretty[0], separators=pretty[1], sort_keys=True))
        else:
            print(render(data), end="")
    return 0


def _split(words: list[str]) -> tuple[str, list[str]]:
    for length in (3, 2, 1):
        name = " ".join(words[:length])
        name = _ALIASES.get(name, name)
        if name in _COMMANDS and len(words) >= length:
            return name, words[length:]
    return "", words
