# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# Packages of a container: some only present, others in one version that they are held at. Nothing is installed without
# a dry run, and nothing that belongs to an NVIDIA driver: that is the runfile's.

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Callable, Iterable, Mapping, Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils._apt_errors import Refusal, because_of
from ansible_collections.phoenix.hypervisor.plugins.module_utils._apt_get import Apt
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError, invalid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_rules import clashing_packages
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Clock, Runner
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import run as run_command
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree

_ACTION = re.compile(r"^(Inst|Remv) (\S+)", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Group:
    """Packages of one version that stay at it."""

    packages: tuple[str, ...]
    version: str = ""
    origin: str = ""
    """The host of the repository that they come from; any if empty."""

    @classmethod
    def of(cls, value: Mapping[str, t.Any]) -> Group:
        if not value["packages"]:
            raise invalid("held", dict(value), "names no packages", "List at least one.")
        return cls(tuple(value["packages"]), value.get("version") or "", value.get("origin") or "")


@dataclasses.dataclass(frozen=True)
class Package:
    version: str
    hold: bool = False


@dataclasses.dataclass(frozen=True)
class Offer:
    version: str
    source: str

    def is_from(self, origin: str) -> bool:
        return not origin or re.match(rf"\w+://(?:[^/@ ]*@)?{re.escape(origin)}[:/ ]", self.source) is not None


def parse_installed(output: str) -> dict[str, Package]:
    """From dpkg-query's name, version, and status such as "ii " or "hi "; what is half installed is not."""
    found = {}
    for line in output.splitlines():
        name, version, status = line.split("\t")
        if status[1:2] == "i":
            found[name] = Package(version, status[0] == "h")
    return found


def parse_offers(output: str) -> dict[str, list[Offer]]:
    """From `apt-cache madison`, which prints the newest first."""
    found: dict[str, list[Offer]] = {}
    for line in output.splitlines():
        parts = [part.strip() for part in line.split("|")]
        if len(parts) == 3 and parts[2].endswith("Packages"):
            found.setdefault(parts[0], []).append(Offer(parts[1], parts[2]))
    return found


def matches(version: str, wanted: str) -> bool:
    """28.5.1 is enough to name 5:28.5.1-1~ubuntu.24.04~noble, but not 5:28.5.10-1."""
    bare = version.partition(":")[2] or version
    return not wanted or any(re.match(rf"{re.escape(wanted)}(?![0-9])", text) is not None for text in (version, bare))


def choose(group: Group, installed: Mapping[str, Package], offers: Mapping[str, Sequence[Offer]]) -> str:
    """The version for all packages of a group; what is there already wins over what is newer."""
    allowed = [[each.version for each in offers.get(name, ()) if each.is_from(group.origin)] for name in group.packages]
    common = [version for version in allowed[0] if all(version in others for others in allowed[1:])]
    fitting = [version for version in common if matches(version, group.version)]
    kept = [installed[name].version for name in group.packages if name in installed]
    if fitting:
        return next((version for version in kept if version in fitting), fitting[0])
    where = f" of {group.origin}" if group.origin else ""
    if group.version and common:
        raise invalid(
            "version", group.version, f"of {group.packages[0]} is not in the repository{where}",
            f"Leave it empty for the newest, or take one of: {', '.join(common[:8])}.",
        )  # fmt: skip
    raise PhoenixError(
        f"the package sources{where} have no version that fits all of {', '.join(group.packages)}",
        remedy="See with `apt-cache madison` in the container what they offer, and for which distribution.",
    )


def check_actions(output: str, removable: Iterable[str]) -> None:
    """Refuse a dry run that would bring a driver, or take away what nobody named."""
    actions = [(action, name.partition(":")[0]) for action, name in _ACTION.findall(output)]
    if brought := clashing_packages({name for action, name in actions if action == "Inst"}):
        raise PhoenixError(
            f"the installation would bring {', '.join(brought)}, and with it a second NVIDIA driver",
            remedy="The driver is the runfile's. See in the container which package asks for these (`apt-get -s "
            "install`), and leave it out. Nothing was installed.",
        )
    if lost := sorted({name for action, name in actions if action == "Remv"} - set(removable)):
        raise PhoenixError(
            f"the installation would remove {', '.join(lost)}",
            remedy="Remove or replace these packages by hand first. Nothing was installed or removed.",
        )


class PackageGroups:
    """Brings packages to what was asked for; asks dpkg alone when there is nothing to do."""

    def __init__(
        self,
        present: Sequence[str] = (),
        held: Sequence[Group] = (),
        *,
        removable: Sequence[str] = (),
        timeout: float = 1800,
        check_mode: bool = False,
        warn: Callable[[str], object] = lambda _text: None,
        runner: Runner = run_command,
        clock: Clock | None = None,
        tree: Tree | None = None,
    ) -> None:
        self.present, self.held, self.removable = tuple(present), tuple(held), removable
        self.check_mode, self.warn, self.runner = check_mode, warn, runner
        self.apt = Apt(runner, (clock or Clock()).deadline(timeout), tree)

    def run(self) -> dict[str, t.Any]:
        before = self._installed()
        wanted = self._missing(before)
        after = self._install(wanted, before) if wanted else before
        # An installation in another version may have ended a hold.
        unheld = [name for group in self.held for name in group.packages if not after[name].hold]
        if unheld:
            after = self._hold(unheld, after)
        return {
            "changed": bool(wanted or unheld),
            "packages": {name: package.version for name, package in sorted(after.items())},
            "commands": self.apt.commands,
            "diff": {"before": _listing(before), "after": _listing(after)},
        }

    def _installed(self) -> dict[str, Package]:
        names = [*self.present, *(name for group in self.held for name in group.packages)]
        if not names:
            return {}
        # The exit status says whether dpkg knows all of them, which is no failure here.
        query = ["dpkg-query", "-W", "-f", "${Package}\t${Version}\t${db:Status-Abbrev}\n", "--", *names]
        return parse_installed(self.runner(query).stdout)

    def _missing(self, installed: Mapping[str, Package]) -> list[str]:
        missing = [name for name in self.present if name not in installed]
        for group in self.held:
            versions = {installed[name].version if name in installed else "" for name in group.packages}
            if len(versions) > 1 or not all(version and matches(version, group.version) for version in versions):
                missing += group.packages
        return missing

    def _install(self, wanted: Sequence[str], before: Mapping[str, Package]) -> Mapping[str, Package]:
        refused = self._update()
        offers = parse_offers(self.apt.offers(wanted))
        groups = [group for group in self.held if group.packages[0] in wanted]
        if self.check_mode and not all(name in offers for name in wanted):
            # The package lists, or the repository itself, come only with the real run.
            asked = {name: Package(group.version or "newest") for group in groups for name in group.packages}
            return {**before, **{name: Package("newest") for name in wanted}, **asked}
        try:
            versions = {name: choose(group, before, offers) for group in groups for name in group.packages}
            words = [f"{name}={versions[name]}" if name in versions else name for name in wanted]
            simulated = self.apt.simulate(words)
        except PhoenixError as error:
            raise because_of(refused, error) if refused else error from None
        check_actions(simulated, self.removable)
        if self.check_mode:
            newest = {name: offers[name][0].version for name in wanted}
            return {**before, **{name: Package(version) for name, version in (newest | versions).items()}}
        self.apt.install(words)
        after = self._installed()
        if still := self._missing(after):
            raise PhoenixError(
                f"apt-get reported success, but {', '.join(still)} is not installed as it was asked for",
                remedy="See /var/log/apt/term.log in the container.",
            )
        return after

    def _update(self) -> Sequence[Refusal]:
        refused = () if self.check_mode else self.apt.update()
        for refusal in refused:
            self.warn(f"apt goes on without a repository: {refusal}. {refusal.remedy}")
        return refused

    def _hold(self, names: Sequence[str], installed: Mapping[str, Package]) -> Mapping[str, Package]:
        if not self.check_mode:
            self.apt.hold(names)
        return {**installed, **{name: Package(installed[name].version, True) for name in names}}


def _listing(installed: Mapping[str, Package]) -> str:
    return "".join(f"{name} {each.version}{' held' * each.hold}\n" for name, each in sorted(installed.items()))
