# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# The file /etc/pve/firewall/<ctid>.fw as PVE reads and writes it. A file is kept as its lines, so that an edit changes
# nothing but the lines it owns: the option enable, and the rules whose comment begins with the marker.

from __future__ import annotations

import dataclasses
import ipaddress
import itertools
import re
from collections.abc import Collection, Mapping, Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError, invalid

MARKER = "phoenix:"

ACTIONS = ("ACCEPT", "DROP", "REJECT")

_PLAIN_HEADER = re.compile(r"\[(options|aliases|rules)\]", re.ASCII | re.IGNORECASE)
_NAMED_HEADER = re.compile(r"\[(ipset|group)\s+(\S+)\]\s*(?:#.*)?", re.ASCII | re.IGNORECASE)
_ENABLE = re.compile(r"enable:\s*(\d+)\s*", re.ASCII | re.IGNORECASE)
_ALIAS = re.compile(r"(\S+)\s(\S+?)\s*(?:#.*)?", re.ASCII)
_COMMENT = re.compile(r"#\s*(.*?)\s*$", re.ASCII)
_ALIAS_NAME = re.compile(r"(dc/|guest/)?([A-Za-z][A-Za-z0-9_-]+)", re.ASCII)
_IPSET_NAME = re.compile(r"\+(dc/|guest/|sdn/)?([A-Za-z][A-Za-z0-9_-]+)", re.ASCII)
_PORT = re.compile(r"([0-9]{1,5})(?::([0-9]{1,5}))?", re.ASCII)
_MOST_PORTS = 15
_LAST_PORT = 65535
_WITH_PORTS = frozenset("tcp 6 udp 17 dccp 33 sctp 132 udplite 136".split())
_VERSION_OF_PROTOCOL = {"icmp": 4, "icmpv6": 6, "ipv6-icmp": 6}


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule that is asked for."""

    type: str
    action: str
    source: str = ""
    dest: str = ""
    proto: str = ""
    port: str = ""
    comment: str = ""

    @property
    def line(self) -> str:
        """As PVE itself writes it, so that it stays the same when somebody saves the file in the web interface."""
        options = {"-source": self.source, "-dest": self.dest, "-p": self.proto, "-dport": self.port}
        words = [self.type.upper(), self.action, *(f"{name} {value}" for name, value in options.items() if value)]
        return " ".join([*words, "#", MARKER, *([self.comment] if self.comment else [])])


@dataclasses.dataclass(frozen=True)
class Line:
    """One line, and the section that PVE sees it in."""

    text: str
    section: str
    header: bool = False

    @property
    def entry(self) -> str:
        """What PVE makes an option, an alias or a rule of; empty for headers, comments and blank lines."""
        stripped = self.text.strip(" \t")
        return "" if self.header or stripped.startswith("#") else stripped

    @property
    def own(self) -> bool:
        comment = _COMMENT.search(self.entry) if self.section == "rules" else None
        return comment is not None and comment[1].startswith(MARKER)


@dataclasses.dataclass(frozen=True)
class FirewallFile:
    """The file of a container, or of the datacenter."""

    lines: tuple[Line, ...]

    @classmethod
    def parse(cls, data: bytes) -> FirewallFile:
        section = ""
        lines = []
        for text in data.decode("utf-8", "surrogateescape").split("\n"):
            header = _section(text.strip(" \t"))
            section = header or section
            lines.append(Line(text, section, bool(header)))
        return cls(tuple(lines))

    def render(self) -> bytes:
        return "\n".join(line.text for line in self.lines).encode("utf-8", "surrogateescape")

    @property
    def enabled(self) -> bool:
        """Whether the container's firewall is on: the last line that says so counts, and without one it is off."""
        values = [value for _position, value in self._enable_lines if value <= 1]
        return bool(values) and values[-1] == 1

    @property
    def datacenter_enabled(self) -> bool:
        """The same for the datacenter's file, where PVE takes every number."""
        values = [value for _position, value in self._enable_lines]
        return bool(values) and values[-1] != 0

    @property
    def _enable_lines(self) -> list[tuple[int, int]]:
        matches = [(n, _ENABLE.fullmatch(line.entry)) for n, line in enumerate(self.lines) if line.section == "options"]
        return [(n, int(match[1])) for n, match in matches if match]

    @property
    def own_rules(self) -> tuple[str, ...]:
        return tuple(line.entry for line in self.lines if line.own)

    @property
    def aliases(self) -> dict[str, int]:
        """The names, which know no upper case, with the IP version of what they stand for, 0 for nonsense."""
        matches = [_ALIAS.fullmatch(line.entry) for line in self.lines if line.section == "aliases"]
        return {match[1].lower(): _version(match[2]) for match in matches if match}

    @property
    def ipsets(self) -> frozenset[str]:
        return frozenset(line.section.partition(" ")[2] for line in self.lines if line.section.startswith("ipset "))

    def with_enabled(self, enabled: bool) -> FirewallFile:
        if enabled == self.enabled:
            return self
        option = Line(f"enable: {int(enabled)}", "options")
        if self._enable_lines:
            position = self._enable_lines[-1][0]
            return FirewallFile((*self.lines[:position], option, *self.lines[position + 1 :]))
        start = self._below("options")
        if start is not None:
            return self._with(start, [option])
        section = [Line("[OPTIONS]", "options", header=True), Line("", "options"), option]
        first = next((n for n, line in enumerate(self.lines) if line.header), None)
        if first is None:
            return self._with_section(section)
        return self._with(first, [*section, Line("", "options")])

    def with_rules(self, rules: Sequence[Rule]) -> FirewallFile:
        """The own rules are these, in this order, at the place where the first of them stood.

        Where none stood they come before all others, as PVE places a new rule.
        """
        wanted = [Line(rule.line, "rules") for rule in rules]
        if self.own_rules == tuple(line.text for line in wanted):
            return self
        own = [n for n, line in enumerate(self.lines) if line.own]
        others = FirewallFile(tuple(line for line in self.lines if not line.own))
        start = own[0] if own else self._below("rules")
        if start is None:
            return others._with_section([Line("[RULES]", "rules", header=True), Line("", "rules"), *wanted])
        return others._with(start, wanted)

    def _below(self, section: str) -> int | None:
        """Where the content of a section begins: PVE leaves one line blank below the header."""
        header = next((n for n, line in enumerate(self.lines) if line.header and line.section == section), None)
        if header is None:
            return None
        following = self.lines[header + 1 : -1]
        return header + 2 if following and not following[0].text.strip(" \t") else header + 1

    def _with(self, position: int, new: Sequence[Line]) -> FirewallFile:
        # A file that ends without a line feed gets one.
        end = [Line("", "")] if new and position == len(self.lines) else []
        return FirewallFile((*self.lines[:position], *new, *self.lines[position:], *end))

    def _with_section(self, new: Sequence[Line]) -> FirewallFile:
        lines = list(self.lines)
        if not lines[-1].text:
            lines.pop()
        between = [Line("", "")] if lines and lines[-1].text.strip(" \t") else []
        return FirewallFile((*lines, *between, *new, Line("", "")))


def _section(text: str) -> str:
    plain = _PLAIN_HEADER.fullmatch(text)
    named = _NAMED_HEADER.fullmatch(text)
    if plain:
        return plain[1].lower()
    return f"{named[1]} {named[2]}".lower() if named else ""


@dataclasses.dataclass(frozen=True)
class Names:
    """What a rule can refer to."""

    container: FirewallFile
    datacenter: FirewallFile
    # The names and numbers of the node's /etc/protocols, empty when they are not known.
    protocols: Collection[str] = frozenset()

    def files(self, scope: str | None) -> list[FirewallFile]:
        """Where a name is looked up: the container's own come first, as they do for PVE."""
        scopes = {"guest/": [self.container], "dc/": [self.datacenter]}
        return scopes.get(scope or "", [self.container, self.datacenter])


def known_protocols(text: str) -> frozenset[str]:
    """The names and numbers in a file /etc/protocols."""
    entries = re.findall(r"^([^#\s]\S*)\s+(\d+)\s", text, re.MULTILINE)
    return frozenset(itertools.chain.from_iterable(entries))


def checked_rules(rules: Sequence[Mapping[str, str | None]], names: Names) -> tuple[Rule, ...]:
    """The rules; PVE would take a wrong one without a word and leave it out, so it is refused here."""
    return tuple(_checked(f"rules[{n}]", rule, names) for n, rule in enumerate(rules))


def _checked(key: str, given: Mapping[str, str | None], names: Names) -> Rule:
    rule = Rule(**{name: value for name, value in given.items() if value})
    if rule.type not in ("in", "out"):
        raise invalid(f"{key}.type", rule.type, "is no direction", "Write in or out.")
    if rule.action not in ACTIONS:
        raise invalid(f"{key}.action", rule.action, "is no action", "Write ACCEPT, DROP or REJECT.")
    if names.protocols and rule.proto and rule.proto not in names.protocols:
        raise invalid(
            f"{key}.proto", rule.proto, "is no protocol that the node knows", "Write a name of its /etc/protocols."
        )
    if rule.port:
        _check_ports(key, rule)
    versions = {
        f"{key}.proto": _VERSION_OF_PROTOCOL.get(rule.proto, 0),
        f"{key}.source": _checked_address(f"{key}.source", rule.source, names),
        f"{key}.dest": _checked_address(f"{key}.dest", rule.dest, names),
    }
    if {4, 6} <= set(versions.values()):
        fields = " and ".join(name for name, version in versions.items() if version)
        raise invalid(fields, rule.line, "mix IPv4 and IPv6", "Write one rule for each.")
    if not rule.comment.isprintable() or rule.comment != rule.comment.strip():
        raise invalid(
            f"{key}.comment", rule.comment, "does not fit on one line", "Leave line breaks and blanks at its ends out."
        )
    return rule


def _check_ports(key: str, rule: Rule) -> None:
    if rule.proto not in _WITH_PORTS:
        raise invalid(
            f"{key}.port", rule.port, f"needs a protocol that has ports, not {rule.proto!r}", f"Set {key}.proto to tcp."
        )
    numbers = 0
    for part in rule.port.split(","):
        match = _PORT.fullmatch(part)
        ends = [int(end) for end in match.groups() if end] if match else []
        if not ends or max(ends) > _LAST_PORT:
            raise invalid(
                f"{key}.port",
                rule.port,
                "is no list of ports",
                "Write ports from 0 to 65535 and ranges as in 6333,8000:8010.",
            )
        if ends != sorted(ends):
            raise invalid(f"{key}.port", rule.port, "has a range that runs backwards", f"Write {ends[1]}:{ends[0]}.")
        numbers += len(ends)
    if numbers > _MOST_PORTS:
        raise invalid(
            f"{key}.port", rule.port, "has more than 15 numbers, where a range counts as two", "Write several rules."
        )


def _checked_address(key: str, value: str, names: Names) -> int:
    """The IP version of an address, 0 when it can be both."""
    if not value:
        return 0
    ipset = _IPSET_NAME.fullmatch(value)
    alias = _ALIAS_NAME.fullmatch(value)
    if ipset:
        _check_ipset(key, value, ipset, names)
        return 0
    if alias:
        return _version_of_alias(key, value, alias, names)
    parts = value.split(",")
    versions = {_version_of_part(key, value, part) for part in parts}
    if len(parts) > 1 and "-" in value:
        raise invalid(key, value, "has a range in a list", "Write one rule for each range.")
    if len(versions) > 1:
        raise invalid(key, value, "mixes IPv4 and IPv6", "Write one rule for each.")
    return versions.pop()


def _check_ipset(key: str, value: str, match: re.Match[str], names: Names) -> None:
    # The sets of the software-defined network are made by PVE and stand in no file.
    if match[1] != "sdn/" and not any(match[2].lower() in file.ipsets for file in names.files(match[1])):
        raise invalid(
            key, value, "is no IP set", "Make it in the datacenter's or the container's firewall, or write addresses."
        )


def _version_of_alias(key: str, value: str, match: re.Match[str], names: Names) -> int:
    for file in names.files(match[1]):
        if match[2].lower() in file.aliases:
            return file.aliases[match[2].lower()]
    raise invalid(
        key,
        value,
        "is neither an address nor an alias",
        "Make the alias in the datacenter's or the container's firewall, or write an address.",
    )


def _version_of_part(key: str, value: str, part: str) -> int:
    first, dash, last = part.partition("-")
    version = _version(first)
    if dash:
        _check_range(key, value, first, last)
    elif not version:
        raise _no_address(key, value, first)
    return version


def _check_range(key: str, value: str, first: str, last: str) -> None:
    if "/" in value or not _version(first) or _version(first) != _version(last):
        raise invalid(key, value, "is no range of addresses", "Write it as in 10.0.0.10-10.0.0.20.")
    low, high = int(ipaddress.ip_address(first)), int(ipaddress.ip_address(last))
    if low > high:
        raise invalid(key, value, "runs backwards", f"Write {last}-{first}.")


def _no_address(key: str, value: str, part: str) -> PhoenixError:
    try:
        network = ipaddress.ip_network(part, strict=False)
    except ValueError:
        return invalid(
            key,
            value,
            "is no address, network, range, alias or IP set",
            "Write 10.0.0.5, 10.0.0.0/24, 10.0.0.10-10.0.0.20, a list of addresses, an alias, or +SET.",
        )
    return invalid(
        key, value, "names a host inside a network, and PVE leaves such a rule out", f"Write {network} or the address."
    )


def _version(text: str) -> int:
    """Of an address or a network as PVE reads it, 0 when it is none."""
    address, slash, prefix = text.partition("/")
    if "%" in text or (slash and not re.fullmatch("[0-9]{1,3}", prefix, re.ASCII)):
        return 0
    try:
        return ipaddress.ip_network(text).version if slash else ipaddress.ip_address(address).version
    except ValueError:
        return 0
