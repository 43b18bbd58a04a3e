# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Whether a replay says what was recorded. Everything counts except what another run of the real pct would say
# differently as well: what is replaced here.

from __future__ import annotations

import re
from collections.abc import Callable

from .transcript import Case, Outcome

_CLOCK = r"\d\d:\d\d(?::\d\d(?:\.\d+)?)?"
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
# In this order. A name in upper case stands for values that can occur again: equal ones get the same number.
_REPLACED = (
    (r"BC:24:11(?::[0-9A-F]{2}){3}", "<MAC>"),
    (r"\b[0-9a-f]{40}\b", "<SHA1>"),
    (r"^\d{2,} \d{2,}$", "<two pids>"),
    (r"(?:\w{3} )?\d{4}-\d\d-\d\d " + _CLOCK + r"(?: \+0000| UTC)?", "<time>"),
    (rf"(?:{_MONTHS}) [ \d]\d +(?:\d\d:\d\d|\d{{4}})(?= )", "<time>"),
    (rf"\w{{3}} (?:{_MONTHS}) [ \d]\d \d\d:\d\d:\d\d \d{{4}}", "<time>"),
    (r"^snaptime: \d{4,}$", "snaptime: <time>"),
    (r"^(real|user|sys)\t\d+m[\d.]+s$", r"\1 <duration>"),
    (r"(UPID:\w+):[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8}:", r"\1:<pid>:<started>:<time>:"),
    (r"(?<= )[0-9A-F]{8}(?= )", "<time>"),
    (r"^(PID: +|pid: |pid=|MainPID=)\d+$", r"\1<pid>"),
    # Sizes: of the template, of a copy, of what the kernel counted.
    (r"^Total bytes read: .*$", "Total bytes read: <size>"),
    (r"^((?:Number of|Total|Literal|Matched|File list)[^:]*): \d[^\n]*$", r"\1: <size>"),
    (r"^(sent|total size is) \d.*$", r"\1 <size>"),
    (r"^((?:TX|RX|Total) bytes:) .*$", r"\1 <size>"),
    (r"^( TX| RX| Total) bytes: .*$", r"\1 bytes: <size>"),
    (r"^(rpool\S*)\t[\d.]+[BKMG]", r"\1\t<size>"),
    (r"\bSystemd \d+ detected", "Systemd <version> detected"),
    # What lies in the template: the recorded one had no SSH server.
    (r"^(?:Creating SSH host key .*|done: SHA256:.*)\n", ""),
    (r"^\d+:(?=lxc\.)", "<line>:"),
    # Lines of LXC's source.
    (r"\b([a-z_]+): \d+ (?=[A-Z])", r"\1: <line> "),
    # How long somebody waited for a lock that he got.
    (r"^trying to acquire lock\.\.\.\n OK\n", ""),
)
_LIST = re.compile(r"^([-dlcbps][-rwxsStT]{9})[.+]? +(\d+) +(\S+) +(\S+) +(\d+(?:, *\d+)?) +<time> (.+)$", re.MULTILINE)
_COUNTED = re.compile(r"^(disk|diskread|diskwrite|mem|netin|netout|pid|pressure\w+|swap|uptime): [\d.]+$", re.MULTILINE)
_RC = re.compile(r"\brc=(\d+)")
# A die of Perl exits with whatever errno holds: all of it means "failed" only.
_ERRNO = {2, 4}


def normalised(text: str) -> str:
    for pattern, replacement in _REPLACED:
        numbered = _numbering(replacement) if re.fullmatch("<[A-Z0-9]+>", replacement) else replacement
        text = re.sub(pattern, numbered, text, flags=re.MULTILINE)
    if "status: running" in text:
        text = _COUNTED.sub(r"\1: <counted>", text)
    return _LIST.sub(_list_line, re.sub(r"^total \d+$", "total <size>", text, flags=re.MULTILINE))


def _numbering(name: str) -> Callable[[re.Match[str]], str]:
    known: dict[str, int] = {}
    return lambda found: f"{name[:-1]} {known.setdefault(found[0], len(known) + 1)}>"


def _list_line(found: re.Match[str]) -> str:
    """A line of `ls -l`: the columns are as wide as the widest size; a folder's size is the file system's matter."""
    mode, links, owner, group, size, name = found.groups()
    if mode.startswith("d"):
        links = size = "<size>"
    return f"{mode} {links} {owner} {group} {re.sub(', +', ', ', size)} <time> {name}"


def differences(case: Case, got: Outcome, *, unordered: bool = False) -> list[tuple[str, str, str]]:
    """(what, recorded, replayed) of everything that is not equal."""
    expected = case.expected
    stdout, stderr = normalised(expected.stdout), normalised(expected.stderr)
    replayed = _with_errnos_of(stdout, normalised(got.stdout))
    if unordered:
        stdout, replayed = ("".join(sorted(text.splitlines(keepends=True))) for text in (stdout, replayed))
    pairs = [
        ("stdout", stdout, replayed),
        ("stderr", stderr, normalised(got.stderr)),
        ("rc", str(expected.rc), str(expected.rc if _same_rc(case, got.rc) else got.rc)),
    ]
    return [pair for pair in pairs if pair[1] != pair[2]]


def _with_errnos_of(recorded: str, text: str) -> str:
    """`text` with the recorded exit code wherever both say "failed" and the recorded number means nothing."""
    codes = [int(found[1]) for found in _RC.finditer(recorded)]
    if len(codes) != len(_RC.findall(text)):
        return text
    wanted = iter(codes)

    def as_recorded(found: re.Match[str]) -> str:
        code = next(wanted)
        return f"rc={code}" if _both_failed(code, int(found[1])) else found[0]

    return _RC.sub(as_recorded, text)


def _both_failed(recorded: int, got: int) -> bool:
    return recorded in _ERRNO and got != 0


def _same_rc(case: Case, got: int) -> bool:
    last = re.split(";|&&", case.command)[-1].strip()
    passed_through = last.startswith("pct exec") and not re.search(
        "^(?:400 |Configuration file )", case.expected.stderr, re.MULTILINE
    )
    means_failed = last.startswith("pct") and not passed_through and _both_failed(case.expected.rc, got)
    return got == case.expected.rc or means_failed
