# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# nvidia-container-cli: `configure` puts a driver into a container that runs already (its init waits for the hooks):
# bind mounts in its mount namespace, and its cgroup's device filter.

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from . import cdi, cdi_hook, device_filter, namespace
from .arguments import Options, parse
from .driver import DRIVER_IN_DOCKER, LIBRARY_NOT_FOUND, Driver, NvmlError
from .log import ToolkitError

_FLAGS = (
    "load-kmods no-cgroups no-devbind no-pivot no-fabricmanager no-gsp-firmware no-persistenced no-create-imex-channels"
    " compute compat32 display graphics ngx utility video device-files"
).split()
_VALUES = (
    "debug ldcache root user ldconfig device require pid mig-config mig-monitor imex-channel cuda-compat-mode".split()
)


def main(words: Sequence[str], version: str) -> int:
    if {"--version", "-V"} & set(words):
        print(f"cli-version: {version}\nlib-version: {version}\nbuild platform: x86_64")
        return 0
    driver = Driver()
    flags, values = {name: name for name in _FLAGS}, {name: name for name in _VALUES}
    try:
        options, rest = parse(words, flags, values)
        command, *rest = rest or [""]
        more, rest = parse(rest, flags, values)
        options.update(more)
        match command, rest:
            case "configure", [root] if options.text("pid"):
                configure(driver, options, Path(root))
            case "configure", _:
                raise ToolkitError("configure needs --pid and the container's root")
            case "info", []:
                _info(driver)
            case "list", []:
                _list(driver)
            case _:
                raise ToolkitError(f"unrecognized command: {command}" if command else "missing command")
    except ToolkitError as error:
        sys.stderr.write(f"nvidia-container-cli: {error}\n")
        return 1
    return 0


def _initialize(driver: Driver) -> None:
    try:
        driver.initialize()
    except NvmlError as error:
        text = f"{error.text}: no such file or directory" if error.said == LIBRARY_NOT_FOUND else error.text
        raise ToolkitError(f"initialization error: {text}") from error


def _info(driver: Driver) -> None:
    _initialize(driver)
    print(f"NVRM version:   {driver.version()}\nCUDA version:   {driver.cuda()}")
    for gpu in driver.gpus():
        print(f"\nDevice Index:   {gpu.index}\nDevice Minor:   {gpu.minor}\nGPU UUID:       {gpu.uuid}")


def _list(driver: Driver) -> None:
    _initialize(driver)
    nodes = [*driver.control_nodes(), *(gpu.node for gpu in driver.gpus())]
    print("\n".join([*nodes, *driver.programs(), *driver.libraries()]))


def configure(driver: Driver, options: Options, root: Path) -> None:
    _initialize(driver)
    for requirement in options.get("require", []):
        unsatisfied = check_requirement(requirement, driver)
        if unsatisfied:
            advice = "please update your driver to a newer version, or use an earlier cuda container"
            raise ToolkitError(f"requirement error: unsatisfied condition: {unsatisfied}, {advice}")
    wanted = options.text("device", "none")
    try:
        gpus = cdi.select(driver.gpus(), wanted)
    except KeyError as error:
        raise ToolkitError(f"device error: {error.args[0]}: unknown device") from error
    nodes = [*driver.control_nodes(), *(gpu.node for gpu in gpus)]
    pid = int(options.text("pid"))
    if not options.on("no-cgroups"):
        try:
            device_filter.allow(pid, [driver.path(node) for node in nodes])
        except OSError as error:
            said = (error.strerror or "").lower()
            raise ToolkitError(f"mount error: failed to add device rules: {error.filename} failed: {said}") from error
    files, state = [*driver.libraries(), *driver.programs()], driver.state_folder()
    with namespace.mounts_of(pid):
        try:
            for path in (*files, *nodes):
                namespace.bind(path, root, readonly=path in files)
            if state:
                namespace.bind(state, root, at=DRIVER_IN_DOCKER, readonly=False)
            cdi_hook.link_all(root, driver)
        except OSError as error:
            raise ToolkitError(f"mount error: {error.filename}: {(error.strerror or '').lower()}") from error


def check_requirement(requirement: str, driver: Driver) -> str | None:
    """The first condition that does not hold; alternatives are separated by spaces, conditions by commas."""
    facts = {"cuda": driver.cuda(), "driver": driver.version(), "arch": "9.0", "brand": "geforce"}
    first = None
    for alternative in requirement.split():
        broken = next((each for each in alternative.split(",") if not _holds(each, facts)), None)
        if broken is None:
            return None
        first = first or broken
    return first


def _holds(condition: str, facts: dict[str, str]) -> bool:
    match = re.fullmatch(r"(\w+)(>=|<=|!=|=|<|>)(.+)", condition)
    if not match or match[1] not in facts:
        return False
    have, want = facts[match[1]], match[3]
    if match[1] == "brand":
        return (have == want) == (match[2] == "=")
    left, right = ([int(part) for part in re.findall(r"\d+", text)] for text in (have, want))
    length = max(len(left), len(right))
    left += [0] * (length - len(left))
    right += [0] * (length - len(right))
    return {
        ">=": left >= right,
        "<=": left <= right,
        "!=": left != right,
        "=": left == right,
        "<": left < right,
        ">": left > right,
    }[match[2]]
