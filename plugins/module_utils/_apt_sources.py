# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# apt's lists of sources as text: the addresses in them, which entries are NVIDIA's CUDA repository, and the same text
# without them. Every other entry keeps its bytes. Nothing here reads or writes a file.

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

_CUDA_HOST = "developer.download.nvidia"
_CUDA_PATH = "/compute/cuda"
_MENTIONED = re.compile(rf"{re.escape(_CUDA_HOST)}\.\w+{_CUDA_PATH}")
_ONE_LINE = re.compile(r"deb(?:-src)?\s+(?:\[[^\]]*\]\s+)?(?P<uri>\S+)(?P<rest>(?:\s+[^\s#]+)*)\s*(?:#.*)?")
_OFF = ("no", "false", "without", "off", "disable", "0")
_FIELD = re.compile(r"^(?P<key>[A-Za-z-]+):[ \t]*(?P<value>.*(?:\n[ \t]+.*)*)", re.MULTILINE)


def is_cuda_name(name: str) -> bool:
    """Whether the name of a file says that it is about the CUDA repository: NVIDIA's own, and those of guides."""
    return re.match(r"(?:nvidia-)?cuda\b|(?:nvidia-)?cuda[-_.]", name) is not None


def is_cuda_uri(uri: str, url: str) -> bool:
    """Whether an address is below the CUDA repositories, is the beginning of theirs, or is the one that is wanted."""
    found, wanted = urlsplit(uri), urlsplit(url)
    if (found.netloc, found.path.rstrip("/")) == (wanted.netloc, wanted.path.rstrip("/")):
        return True
    path = found.path.rstrip("/")
    return found.netloc.startswith(_CUDA_HOST) and (
        path == _CUDA_PATH or path.startswith(f"{_CUDA_PATH}/") or _CUDA_PATH.startswith(path)
    )


def without_cuda(name: str, text: str, url: str) -> str:
    """The text of a file of sources without the CUDA repository, be it whole or half-written."""
    clean = _stanzas if name.endswith(".sources") else _lines
    return "".join(clean(text, url, is_ours=is_cuda_name(name)))


def has_entries(text: str) -> bool:
    """Whether anything but comments is left."""
    return any(line.strip() and not line.strip().startswith("#") for line in text.splitlines())


def addresses(name: str, text: str) -> list[str]:
    """The addresses of the repositories that a file of sources has switched on."""
    if not name.endswith(".sources"):
        entries = (_ONE_LINE.fullmatch(line.strip()) for line in text.splitlines())
        return [entry["uri"] for entry in entries if entry]
    found: list[str] = []
    for stanza in _split(text):
        fields = _fields(stanza)
        on = "enabled" not in fields or fields["enabled"]["value"].strip().lower() not in _OFF
        found += fields["uris"]["value"].split() if on and "uris" in fields else []
    return found


def _lines(text: str, url: str, *, is_ours: bool) -> Iterator[str]:
    for line in text.splitlines(keepends=True):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            yield line
            continue
        parsed = _ONE_LINE.fullmatch(entry)
        if parsed and _is_whole(parsed["rest"].split()):
            if not is_cuda_uri(parsed["uri"], url):
                yield line
        # apt reads no source at all while one is broken, so what is left of ours has to go from wherever it is.
        elif not is_ours and not _MENTIONED.search(entry) and not (parsed and is_cuda_uri(parsed["uri"], url)):
            yield line


def _is_whole(words: list[str]) -> bool:
    """A suite that ends with a slash has no components, and every other has."""
    return bool(words) and (words[0].endswith("/") == (len(words) == 1))


def _stanzas(text: str, url: str, *, is_ours: bool) -> Iterator[str]:
    for stanza in _split(text):
        kept = _stanza(stanza, url, is_ours=is_ours)
        if kept is not None:
            yield kept


def _split(text: str) -> list[str]:
    return re.split(r"(?<=\n)(?=[ \t]*\n)", text)


def _fields(stanza: str) -> dict[str, re.Match[str]]:
    return {found["key"].lower(): found for found in _FIELD.finditer(stanza)}


def _stanza(stanza: str, url: str, *, is_ours: bool) -> str | None:
    if not has_entries(stanza):
        return stanza
    fields = _fields(stanza)
    uris = fields["uris"]["value"].split() if "uris" in fields else []
    others = [uri for uri in uris if not is_cuda_uri(uri, url)]
    if uris and not others:
        return None
    if not {"types", "uris", "suites"} <= fields.keys():
        return None if is_ours or _MENTIONED.search(stanza) else stanza
    if len(others) < len(uris):
        start, end = fields["uris"].span("value")
        return stanza[:start] + " ".join(others) + stanza[end:]
    return stanza
