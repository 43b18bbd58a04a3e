# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable

from .errors import LabError
from .gpu import Options as GpuOptions
from .host.command import Command
from .host.lab import DEFAULT_NAME, DEFAULT_SUBNET, Lab
from .host.settings import Wanted
from .host.world import PATH

DESCRIPTION = """\
A Proxmox VE node with GPUs, made of containers on this machine: systemd, sshd, nested LXC containers, Docker, snapshots
and clones are real; pct, the API, the GPUs and the vendors' servers are stand-ins. Needs root.
"""


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    # Whatever the shell or sudo that this was called from is set to.
    os.environ["PATH"] = PATH
    os.umask(0o022)
    try:
        command = Command(Lab.named(arguments.name, arguments.subnet))
        action: Callable[[Command, argparse.Namespace], int | None] = arguments.action
        return action(command, arguments) or 0
    except LabError as error:
        print(f"scripts/lab: {error}", file=sys.stderr)
        return 1
    except (OSError, subprocess.SubprocessError) as error:
        print(f"scripts/lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("scripts/lab: interrupted; run the same command again, or scripts/lab down", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/lab", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--name", default=DEFAULT_NAME, help="of the lab, should there be several (default: %(default)s)"
    )
    parser.add_argument(
        "--subnet", help=f"a private /24 for up; inventories/lab is written for {DEFAULT_SUBNET}, the default"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    for name, text, action in (
        ("up", "start the lab, and make it first if there is none", _up),
        ("reset", "throw the lab away and start it as new", _reset),
    ):
        sub = commands.add_parser(name, help=text)
        sub.set_defaults(action=action)
        sub.add_argument("--nodes", type=int, default=1, help="pve1, pve2, … (default: %(default)s)")
        sub.add_argument("--gpus", type=int, default=GpuOptions.count, help="in each node (default: %(default)s)")
        sub.add_argument(
            "--driver",
            default=GpuOptions.driver,
            help="version that the nodes have loaded, or none (default: %(default)s)",
        )
        sub.add_argument(
            "--start-delay", type=float, default=0.0, help="seconds that each pct takes to start (a real one: 0.45)"
        )
        sub.add_argument("--fresh", action="store_true", help="make the images anew from the mirror")

    sub = commands.add_parser("down", help="end the lab and remove everything of it")
    sub.set_defaults(action=lambda command, _: command.down())
    sub = commands.add_parser("status", help="say what runs and how to reach it")
    sub.set_defaults(action=lambda command, _: command.status())
    sub = commands.add_parser("shell", help="a root shell in a node")
    sub.set_defaults(action=_shell)
    sub.add_argument("node", nargs="?", default="pve1")
    sub = commands.add_parser("exec", help="run one command in a node: exec pve1 -- pct list")
    sub.set_defaults(action=_exec)
    sub.add_argument("node")
    sub.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    sub = commands.add_parser("gpu", help="break or change a node's GPUs: gpu pve1 uvm=missing")
    sub.set_defaults(action=_gpu)
    sub.add_argument("node")
    sub.add_argument("switches", nargs="+", metavar="NAME=VALUE")
    return parser


def _wanted(arguments: argparse.Namespace) -> Wanted:
    driver = "" if arguments.driver == "none" else arguments.driver
    return Wanted(arguments.nodes, GpuOptions(count=arguments.gpus, driver=driver), arguments.start_delay)


def _up(command: Command, arguments: argparse.Namespace) -> None:
    command.up(_wanted(arguments), fresh=arguments.fresh)


def _reset(command: Command, arguments: argparse.Namespace) -> None:
    command.reset(_wanted(arguments), fresh=arguments.fresh)


def _shell(command: Command, arguments: argparse.Namespace) -> None:
    command.exec(command.lab.node(arguments.node), ["bash", "-l"])


def _exec(command: Command, arguments: argparse.Namespace) -> None:
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    if not words:
        raise LabError("exec needs a command", "scripts/lab exec pve1 -- pct list")
    command.exec(command.lab.node(arguments.node), words)


def _gpu(command: Command, arguments: argparse.Namespace) -> None:
    command.gpu(command.lab.node(arguments.node), arguments.switches)
