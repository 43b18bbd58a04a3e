# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# An image whose tag is resolved once: the digest that it had then is recorded and used from then on.

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
import typing as t
from collections.abc import Callable
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker import Docker, environment, last_line
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError, invalid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._files import replace
from ansible_collections.phoenix.hypervisor.plugins.module_utils._image_archive import identities
from ansible_collections.phoenix.hypervisor.plugins.module_utils._image_space import check_space, free_bytes

_REFERENCE = re.compile(
    r"(?P<repository>(?:[\w.-]+(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
# Tags that mean another image every few days.
MOVING = frozenset({"latest", "nightly", "main", "master", "edge", "dev"})
_PULL_PROBLEMS = (
    (
        r"manifest unknown|not found|does not exist|repository name must be",
        "The registry has no such image",
        "Correct the name and the tag.",
    ),
    (
        r"toomanyrequests|rate limit",
        "The registry refuses more downloads for now",
        "Log in with `docker login`, use a mirror, or load the image from an archive.",
    ),
    (
        r"denied|unauthorized|authentication required",
        "The registry does not hand the image out",
        "Log in with `docker login` inside the container.",
    ),
    (
        r"no space left on device",
        "The container's disk is full",
        "Make its root file system larger; vLLM's image needs more than 40 GB while it is unpacked.",
    ),
    (
        r"no such host|dial tcp|i/o timeout|deadline exceeded|connection refused|TLS handshake|unreachable|EOF",
        "The registry is not reached",
        "Check the container's network and name server, or load the image from an archive.",
    ),
)


@dataclasses.dataclass(frozen=True)
class Reference:
    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        found = _REFERENCE.fullmatch(text)
        if not found:
            raise invalid("image", text, "is no image", "Write it as repository:tag or repository:tag@sha256:digest.")
        tag, digest = found["tag"] or "", found["digest"] or ""
        return cls(found["repository"], tag or ("" if digest else "latest"), digest)

    def __str__(self) -> str:
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def short(self) -> str:
        """The repository as Docker lists it."""
        return re.sub(r"^(?:index\.)?docker\.io/(?:library/)?", "", self.repository)

    @property
    def tagged(self) -> str:
        """Its tag as Docker lists it, empty when only the digest is named."""
        return f"{self.short}:{self.tag}" if self.tag else ""

    @property
    def exact(self) -> str:
        return f"{self.repository}@{self.digest}" if self.digest else ""


@dataclasses.dataclass(frozen=True)
class Request:
    image: str | None
    archive: str | None
    record: str
    timeout: float


class PinnedImage:
    def __init__(
        self,
        request: Request,
        docker: Docker,
        *,
        check_mode: bool,
        now: dt.datetime,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._request = request
        self._docker = docker
        self._check_mode = check_mode
        self._now = now
        self._free = free
        self._path = Path(request.record)

    def run(self) -> dict[str, t.Any]:
        record = self._read()
        wanted = self._request.image or record.get("reference")
        if not wanted and self._check_mode:
            # The layer that records it may be made by the real run.
            return {"changed": True, "reference": "", "image": "", "warnings": []}
        if not wanted:
            raise PhoenixError(
                f"image: none is given, and {self._path} records none",
                remedy="Name an image, or clone the container from a layer that has one.",
                code=Code.INPUT,
            )
        reference = Reference.parse(wanted)
        if record.get("reference") != str(reference):
            record = {}
        result = {
            "changed": False,
            "reference": str(reference),
            "image": self._pin(reference, record),
            "warnings": self._warnings(reference),
        }
        if problem := self._docker.problem():
            if not self._check_mode:
                self._docker.check()
            return {**result, "changed": True, "warnings": [f"{problem}: nothing is known of images yet"]}
        name, found = self._first(self._names(reference, record))
        if found and record.get("id") not in (None, found["Id"]):
            raise PhoenixError(
                f"{name} is {found['Id']} here, and {record['id']} was recorded",
                remedy=f"Load the recorded image again, or remove {self._path} to accept this one.",
                code=Code.VERIFICATION,
            )
        if not found:
            result["changed"] = True
            if self._check_mode:
                return result
            name, found = self._fetch(reference, record)
        return self._recorded(result, reference, record, name, found)

    def _warnings(self, reference: Reference) -> list[str]:
        if not self._request.image or reference.digest or reference.tag not in MOVING:
            return []
        return [
            f"{reference} means another image every few days, and is resolved once. Name a version, and best its digest"
        ]

    def _pin(self, reference: Reference, record: t.Mapping[str, str]) -> str:
        """What is meant exactly, empty when that is not known before it has been fetched."""
        if reference.digest and not self._request.archive:
            return reference.exact
        return record.get("image", "")

    def _names(self, reference: Reference, record: t.Mapping[str, str]) -> list[str]:
        # What was loaded has no digest of a registry, so a record of ours says under which name it is there.
        known = [name for name in (record.get("image", ""), reference.exact) if name]
        return known or [str(reference)]

    def _first(self, names: t.Iterable[str], ids: t.Container[str] = ()) -> tuple[str, dict[str, t.Any] | None]:
        """The first of the names under which an image is there, one of the ids where some are given."""
        for name in names:
            found = self._docker.image(name)
            if found and (not ids or found["Id"] in ids):
                return name, found
        return "", None

    def _fetch(self, reference: Reference, record: t.Mapping[str, str]) -> tuple[str, dict[str, t.Any]]:
        if self._request.archive:
            return self._load(self._request.archive, reference)
        wanted = reference.exact or record.get("image", "") or str(reference)
        check_space(self._docker, wanted, reference.repository, self._free)
        done = self._docker.call("pull", "--quiet", wanted, timeout=self._request.timeout)
        if not done.ok:
            raise _pull_failure(wanted, last_line(done))
        return wanted, self._present(wanted, "docker pull")

    def _load(self, archive: str, reference: Reference) -> tuple[str, dict[str, t.Any]]:
        if not Path(archive).is_file():
            raise PhoenixError(
                f"archive: {archive} is not in this container",
                remedy="Bring it there, for example with `pct push`, or mount its directory.",
                code=Code.INPUT,
            )
        proven = self._proven(archive, reference) if reference.digest else frozenset()
        done = self._docker.call("load", "--quiet", "--input", archive, timeout=self._request.timeout)
        if not done.ok:
            raise PhoenixError(
                f"archive: {archive} cannot be loaded: {last_line(done)}",
                remedy="Make it again with `docker save`, and look at the disk's free space.",
                code=Code.VERIFICATION,
            )
        names = [name for name in (reference.exact, reference.tagged, *sorted(proven)) if name]
        name, found = self._first(names, proven)
        if not found:
            loaded = ", ".join(re.findall(r"Loaded image(?: ID)?: (\S+)", done.stdout)) or "nothing"
            wanted = str(reference) if reference.digest else reference.tagged
            raise PhoenixError(
                f"archive: {archive} has {loaded}, not {wanted}",
                remedy=f"Save the right one with `docker save --output FILE {wanted}`, or correct the image's name.",
                code=Code.INPUT,
            )
        return name, found

    def _proven(self, archive: str, reference: Reference) -> frozenset[str]:
        """The ids that the image of the digest may have. A tag in an archive may belong to any image."""
        ids = identities(Path(archive), reference.digest)
        if not ids:
            raise PhoenixError(
                f"archive: {archive} does not prove that it has {reference}: no such manifest is in it",
                remedy="Save it with a Docker that keeps its images in containerd, as Docker 29 does. Or leave the "
                "digest out, and the image is pinned to its own identity.",
                code=Code.INPUT,
            )
        return ids

    def _present(self, wanted: str, by: str) -> dict[str, t.Any]:
        found = self._docker.image(wanted)
        if not found:
            raise PhoenixError(f"{wanted} is not there after {by}", remedy="See the journal of docker.service.")
        return found

    def _recorded(
        self,
        result: dict[str, t.Any],
        reference: Reference,
        old: t.Mapping[str, str],
        name: str,
        found: t.Mapping[str, t.Any],
    ) -> dict[str, t.Any]:
        variables = environment(found)
        listed = _listed(reference, found.get("RepoDigests") or ())
        # An image out of an archive has no digest of a registry: it is what its name or its own identity says.
        own = name if reference.digest else reference.tagged
        new = {
            "reference": str(reference),
            "image": f"{reference.repository}@{listed}" if listed else own,
            "digest": reference.digest or listed,
            "id": found["Id"],
            "cuda": variables.get("CUDA_VERSION", ""),
            "resolved": old.get("resolved") or self._now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        if new != old:
            result["changed"] = True
            if not self._check_mode:
                replace(self._path, json.dumps(new, indent=2) + "\n")
        return {**result, **new}

    def _read(self) -> dict[str, str]:
        try:
            found = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        except ValueError:
            # Half a file of somebody else's making; the image is resolved anew.
            return {}
        return found if isinstance(found, dict) else {}


def _listed(reference: Reference, listed: t.Sequence[str]) -> str:
    """The digest under which the image's own repository has it, the one that is asked for where one is."""
    for text in listed:
        repository, _at, digest = text.partition("@")
        if Reference(repository).short == reference.short and reference.digest in ("", digest):
            return digest
    return ""


def _pull_failure(wanted: str, text: str) -> PhoenixError:
    for pattern, reason, remedy in _PULL_PROBLEMS:
        if re.search(pattern, text):
            return PhoenixError(f"{wanted}: {reason}: {text}", remedy=remedy, code=Code.VERIFICATION)
    return PhoenixError(
        f"{wanted} cannot be pulled: {text}", remedy="See the journal of docker.service.", code=Code.VERIFICATION
    )
