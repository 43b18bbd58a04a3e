# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# What apt says when something is wrong, and what to do about it. No I/O.

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils._apt_sources import addresses
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed

_ENTERPRISE = "enterprise.proxmox.com"
_REFUSED = re.compile(r"[EW]: Failed to fetch (?P<url>\S+)  (?P<answer>40[13]  ?\w+)")
# What apt adds about a repository that it could not fetch.
_FOLLOWS = re.compile(
    r"[EW]: (?:The repository '(?P<uri>\S+) |Some index files failed to download|Unable to fetch some archives)"
)
# A warning that says that lists are not what they could be; others do not matter here.
_FAILURE = re.compile(r"^(?:E: |W: (?:Failed to fetch|GPG error|An error occurred))", re.MULTILINE)


class _Known(t.NamedTuple):
    pattern: str
    remedy: str


_OUTDATED_KEY = _Known(
    r"SHA1 is not considered secure|Policy rejected",
    "This apt accepts no key that is signed with SHA1 any more. NVIDIA's CUDA repositories up to Debian 12 and Ubuntu "
    "24.04 have such a key: name the repository of the machine's own distribution (debian13 for Proxmox VE 9). A node "
    "needs no CUDA toolkit: without nvidia_driver.host_repo_url it gets none.",
)
_REMEDIES = (
    # apt says that the repository is not signed, too.
    _OUTDATED_KEY,
    _Known(
        r"Conflicting values set for option Signed-By",
        "Two files below /etc/apt/sources.list.d name the same repository with different keys: remove the one that is "
        "not ours.",
    ),
    _Known(
        r"Could not get lock|Unable to acquire the dpkg frontend lock",
        "Another program installs packages. Let it finish, and run again.",
    ),
    _Known(
        r"Temporary failure resolving|Could not resolve",
        "The container resolves no names: see its nameserver (`pct config`, /etc/resolv.conf) and the way out.",
    ),
    _Known(
        r"NO_PUBKEY|is not signed|couldn't be verified|Missing key",
        "The repository's key is missing or another one: remove its keyring below /etc/apt/keyrings and run again.",
    ),
    _Known(
        r"Unable to locate package cuda-toolkit-|Package '?cuda-toolkit-\S+ has no installation candidate",
        "The CUDA repository does not have this release of the toolkit (NVIDIA's for Debian 13 begins with CUDA 13): "
        "name another release (nvidia_driver.cuda_version) or repository. A node needs no CUDA toolkit: without "
        "nvidia_driver.host_repo_url it gets none.",
    ),
    _Known(r"dpkg was interrupted", "Run `dpkg --configure -a` in the container, correct what it says, and run again."),
    _Known(
        r"No space left|enough free space", "Make room in the container's root file system, or give it a larger one."
    ),
    _Known(
        r"(?:Could not|Cannot|Failed to) (?:connect|fetch|initiate)|Unable to connect",
        "See that the container reaches the repository: its route, a firewall, IPv6 (lxc_base_force_ipv4), a proxy.",
    ),
)


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A repository that exists and does not let this machine in."""

    uri: str
    answer: str
    file: str = ""
    """The file of sources that names it, as far as it was found."""

    def __str__(self) -> str:
        return f"{self.uri}{f' ({self.file})' if self.file else ''} answers {self.answer}"

    @property
    def remedy(self) -> str:
        file = self.file or "the file below /etc/apt that names it"
        off = f"write `Enabled: no` into {file}" if file.endswith(".sources") else f"comment it out in {file}"
        if _ENTERPRISE in self.uri:
            return (
                f"That is a repository for nodes with a subscription: {off} and have the one without subscription "
                "instead, or register the node's key (`pvesubscription set KEY`)."
            )
        return f"If it is not needed, {off}; else see its password (/etc/apt/auth.conf.d) and the proxy."


def complaints(done: Completed) -> str:
    """apt's own words about what went wrong, on one line."""
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    said = [line for line in lines if line.startswith(("E:", "W: Failed"))] or lines[-3:]
    return " ".join(dict.fromkeys(said)) or f"exit status {done.rc}"


def remedy(text: str) -> str | None:
    """What to do about the first known failure in a text, repositories that refuse this machine aside."""
    _refused, rest = _sorted_out(text, {})
    return next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, rest)), None)


def outdated_key(text: str) -> str | None:
    """What to do where a repository's key is the reason, and a good one of yesterday."""
    return _OUTDATED_KEY.remedy if re.search(_OUTDATED_KEY.pattern, text) else None


def refusals(text: str, sources: Mapping[str, str]) -> tuple[Refusal, ...]:
    """The repositories that refuse this machine, if nothing else is wrong; sources: apt's files with their texts."""
    refused, rest = _sorted_out(text, sources)
    return () if _FAILURE.search(rest) else refused


def because_of(refused: Sequence[Refusal], error: PhoenixError) -> PhoenixError:
    """The same failure, with what most likely is behind it."""
    return PhoenixError(
        "; ".join([error.reason.rstrip("."), *map(str, refused)]),
        remedy=" ".join(dict.fromkeys(refusal.remedy for refusal in refused)),
        code=error.code,
        **error.details,
    )


def _sorted_out(text: str, sources: Mapping[str, str]) -> tuple[tuple[Refusal, ...], str]:
    """The refusals in a text, and the text without them and what follows from them."""
    lines = text.splitlines()
    parsed = (_REFUSED.match(line) for line in lines)
    found = [_refusal(refused["url"], " ".join(refused["answer"].split()), sources) for refused in parsed if refused]
    refused = {refusal.uri: refusal for refusal in found}
    return tuple(refused.values()), "\n".join(line for line in lines if not refused or not _is_about(line, refused))


def _is_about(line: str, uris: Iterable[str]) -> bool:
    follows = _FOLLOWS.match(line)
    if follows and follows["uri"]:
        return any(_is_below(uri, follows["uri"]) for uri in uris)
    return bool(follows or _REFUSED.match(line))


def _refusal(url: str, answer: str, sources: Mapping[str, str]) -> Refusal:
    for file, text in sources.items():
        for uri in addresses(file, text):
            if _is_below(url, uri):
                return Refusal(uri.rstrip("/"), answer, file)
    return Refusal(re.split(r"/dists/|/(?=[^/]*$)", url)[0], answer)


def _is_below(url: str, uri: str) -> bool:
    return f"{url}/".startswith(f"{uri.rstrip('/')}/")
