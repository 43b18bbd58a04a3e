# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime as dt
import json
import typing as t
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker import Docker, last_line
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._pinned_image import PinnedImage, Reference, Request
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.archives import Archive

NOW = dt.datetime(2026, 11, 20, 14, 5, tzinfo=dt.UTC)
OLD, NEW = "sha256:" + "1" * 64, "sha256:" + "2" * 64
NAME = "vllm/vllm-openai"


class Saved(t.NamedTuple):
    """An image in an archive."""

    digest: str
    config: str


class Registry:
    """Docker's command line, and what tags mean in its registry."""

    def __init__(self, **tags: str) -> None:
        self.tags = tags
        self.here: dict[str, str] = {}
        self.archive: dict[str, str] = {}
        # The ids of images out of an archive, by name, and whether they keep their digest, as with containerd.
        self.ids: dict[str, str] = {}
        self.keeps_digests = False
        self.commands: list[str] = []
        self.down = False
        self.refusal = "manifest unknown"
        # How many bytes an image is downloaded as, when the registry says it.
        self.size: int | None = None
        self.questions: list[str] = []

    def __call__(self, argv: Sequence[str], **_: t.Any) -> Completed:
        words = list(argv[1:])
        if words[0] == "version":
            return Completed(tuple(argv), int(self.down), "28.5.1\n", "Cannot connect" if self.down else "")
        if words[:2] == ["image", "inspect"]:
            return self._inspect(argv, words[2])
        if words[:2] == ["manifest", "inspect"]:
            return self._manifest(argv, words[2])
        if words[0] == "info":
            return Completed(tuple(argv), 0, "/var/lib/docker\n")
        self.commands.append(" ".join(words))
        if words[0] == "load":
            if not self.archive:
                return Completed(tuple(argv), 1, "", "unexpected EOF")
            self.here |= self.archive
            self.here |= {self.ids[name]: digest for name, digest in self.archive.items() if name in self.ids}
            if self.keeps_digests:
                self.here |= {f"{NAME}@{digest}": digest for digest in self.archive.values()}
            return Completed(tuple(argv), 0, "".join(f"Loaded image: {name}\n" for name in self.archive))
        wanted = words[-1]
        name, at, digest = wanted.partition("@")
        found = digest if at else self.tags.get(wanted.rpartition(":")[2])
        if found is None:
            return Completed(tuple(argv), 1, "", f"Error response from daemon: {self.refusal}")
        self.here[wanted] = self.here[f"{name.rpartition(':')[0] or name}@{found}"] = found
        return Completed(tuple(argv), 0, wanted)

    def _manifest(self, argv: Sequence[str], name: str) -> Completed:
        self.questions.append(name)
        if self.size is None:
            return Completed(tuple(argv), 1, "", "no such manifest")
        return Completed(tuple(argv), 0, json.dumps({"layers": [{"size": self.size}]}))

    def _inspect(self, argv: Sequence[str], name: str) -> Completed:
        digest = self.here.get(name)
        if digest is None:
            return Completed(tuple(argv), 1, "[]", "No such image")
        loaded = digest in self.archive.values() and not self.keeps_digests
        known = {self.archive[loaded]: own for loaded, own in self.ids.items() if loaded in self.archive}
        image = {
            "Id": known.get(digest, digest.replace("sha256:", "sha256:id")),
            "RepoDigests": [] if loaded else [f"other/name@{OLD}", f"{NAME}@{digest}"],
            "Config": {"Env": ["PATH=/bin", "CUDA_VERSION=13.0.2"]},
        }
        return Completed(tuple(argv), 0, json.dumps([image]))


class Bench:
    def __init__(self, folder: Path) -> None:
        self.record = folder / "etc/image.json"
        self.archive = folder / "image.tar"
        self.registry = Registry(latest=OLD, one=OLD)
        self.free = 0

    def run(
        self, image: str | None = f"{NAME}:latest", *, check_mode: bool = False, archive: bool = False
    ) -> dict[str, t.Any]:
        request = Request(image, str(self.archive) if archive else None, str(self.record), 60)
        docker = Docker(self.registry)
        return PinnedImage(request, docker, check_mode=check_mode, now=NOW, free=lambda _path: self.free).run()

    def refused(self, *arguments: t.Any, **options: t.Any) -> PhoenixError:
        with pytest.raises(PhoenixError) as caught:
            self.run(*arguments, **options)
        return caught.value


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_tag_is_resolved_once(bench: Bench) -> None:
    """Pitfall 37."""
    first = bench.run()
    assert (first["changed"], first["image"], first["cuda"]) == (True, f"{NAME}@{OLD}", "13.0.2")
    assert first["resolved"] == "2026-11-20T14:05:00Z"
    assert "means another image every few days" in first["warnings"][0]
    bench.registry.tags["latest"] = NEW
    assert bench.run()["changed"] is False
    bench.registry.here.clear()
    again = bench.run()
    assert (again["changed"], again["image"]) == (True, f"{NAME}@{OLD}")
    assert bench.registry.commands == [f"pull --quiet {NAME}:latest", f"pull --quiet {NAME}@{OLD}"]
    assert again == first


def test_another_tag_is_resolved_anew(bench: Bench) -> None:
    bench.run()
    bench.registry.tags["v2"] = NEW
    second = bench.run(f"{NAME}:v2")
    assert (second["image"], second["warnings"]) == (f"{NAME}@{NEW}", [])
    assert json.loads(bench.record.read_text())["reference"] == f"{NAME}:v2"


def test_what_the_tag_means_by_now_is_not_taken_for_what_was_recorded(bench: Bench) -> None:
    bench.run()
    bench.registry.here = {f"{NAME}:latest": NEW}
    assert bench.run()["image"] == f"{NAME}@{OLD}"
    assert bench.registry.commands[1:] == [f"pull --quiet {NAME}@{OLD}"]


def test_without_an_image_it_is_the_recorded_one(bench: Bench) -> None:
    bench.run()
    found = bench.run(None)
    assert (found["changed"], found["image"], found["warnings"]) == (False, f"{NAME}@{OLD}", [])


def test_a_digest_is_exactly_that(bench: Bench) -> None:
    found = bench.run(f"{NAME}:latest@{NEW}")
    assert (found["image"], found["warnings"]) == (f"{NAME}@{NEW}", [])


def test_what_is_there_is_taken(bench: Bench) -> None:
    bench.registry.here[f"{NAME}:latest"] = NEW
    assert bench.run()["image"] == f"{NAME}@{NEW}"
    assert bench.registry.commands == []


def test_check_mode_predicts_and_does_nothing(bench: Bench) -> None:
    found = bench.run(check_mode=True)
    assert (found["changed"], found["image"]) == (True, "")
    assert bench.run(None, check_mode=True)["changed"] is True
    bench.registry.down = True
    assert bench.run(check_mode=True)["warnings"] == [
        "Docker does not run: Cannot connect: nothing is known of images yet"
    ]
    assert (bench.registry.commands, bench.record.exists()) == ([], False)
    bench.registry.down = False
    bench.registry.here[f"{NAME}:latest"] = NEW
    assert bench.run(check_mode=True)["changed"] is True
    assert not bench.record.exists()


def test_an_archive(bench: Bench) -> None:
    bench.archive.write_text("tar")
    bench.registry.archive = {f"{NAME}:latest": NEW}
    found = bench.run(archive=True)
    assert (found["image"], found["digest"]) == (f"{NAME}:latest", "")
    assert bench.registry.commands == [f"load --quiet --input {bench.archive}"]
    assert bench.run()["changed"] is False
    bench.registry.here[f"{NAME}:latest"] = OLD
    assert bench.refused().remedy == f"Load the recorded image again, or remove {bench.record} to accept this one."


def test_a_bad_archive_is_named(bench: Bench) -> None:
    assert "is not in this container. Bring it there" in str(bench.refused(archive=True))
    bench.archive.write_text("tar")
    assert "cannot be loaded: unexpected EOF" in str(bench.refused(archive=True))
    bench.registry.archive = {"other:1": NEW}
    assert f"has other:1, not {NAME}:latest." in str(bench.refused(archive=True))


@pytest.fixture
def saved(bench: Bench) -> Saved:
    """An archive that has one image, under a tag, and its manifest."""
    archive = Archive()
    digest, config = archive.image("one")
    archive.write(bench.archive)
    bench.registry.archive, bench.registry.ids = {f"{NAME}:v1": digest}, {f"{NAME}:v1": config}
    return Saved(digest, config)


def test_a_digest_out_of_an_archive_is_proven_and_found_again(bench: Bench, saved: Saved) -> None:
    wanted = f"{NAME}:v1@{saved.digest}"
    predicted = bench.run(wanted, archive=True, check_mode=True)
    # Under which name it is going to be there depends on where Docker keeps images.
    assert (predicted["changed"], predicted["image"], bench.registry.commands) == (True, "", [])
    first = bench.run(wanted, archive=True)
    assert (first["changed"], first["image"]) == (True, f"{NAME}:v1")
    assert (first["digest"], first["id"]) == (saved.digest, saved.config)
    # The second run, a check, what verifies without the archive, and a clone that names nothing.
    for options in ({"archive": True}, {"archive": True, "check_mode": True}, {"check_mode": True}):
        assert bench.run(wanted, **options) == {**first, "changed": False}
    assert bench.run(None) == {**first, "changed": False}
    assert bench.registry.commands == [f"load --quiet --input {bench.archive}"]


def test_where_docker_keeps_the_digest_it_is_the_name(bench: Bench, saved: Saved) -> None:
    bench.registry.keeps_digests = True
    bench.registry.ids = {f"{NAME}:v1": saved.digest}
    found = bench.run(f"{NAME}:v1@{saved.digest}", archive=True)
    assert (found["image"], found["digest"], found["id"]) == (f"{NAME}@{saved.digest}", saved.digest, saved.digest)
    assert bench.run(f"{NAME}:v1@{saved.digest}", archive=True)["changed"] is False


def test_without_a_tag_its_own_identity_is_the_name(bench: Bench, saved: Saved) -> None:
    found = bench.run(f"{NAME}@{saved.digest}", archive=True)
    assert (found["image"], found["digest"]) == (saved.config, saved.digest)
    assert bench.run(f"{NAME}@{saved.digest}", archive=True)["changed"] is False


def test_an_archive_that_does_not_prove_the_digest_is_not_loaded(bench: Bench, saved: Saved) -> None:
    error = bench.refused(f"{NAME}:v1@{OLD}", archive=True)
    assert (
        error.reason
        == f"archive: {bench.archive} does not prove that it has {NAME}:v1@{OLD}: no such manifest is in it"
    )
    assert error.code == Code.INPUT
    assert (bench.registry.commands, bench.record.exists()) == ([], False)


def test_another_image_under_the_tag_is_not_taken(bench: Bench, saved: Saved) -> None:
    bench.registry.ids = {f"{NAME}:v1": NEW}
    error = bench.refused(f"{NAME}:v1@{saved.digest}", archive=True)
    assert error.reason == f"archive: {bench.archive} has {NAME}:v1, not {NAME}:v1@{saved.digest}"
    assert (error.code, bench.record.exists()) == (Code.INPUT, False)


def test_a_tag_that_was_moved_since_is_noticed(bench: Bench, saved: Saved) -> None:
    bench.run(f"{NAME}:v1@{saved.digest}", archive=True)
    bench.registry.here[f"{NAME}:v1"] = OLD
    error = bench.refused(f"{NAME}:v1@{saved.digest}", archive=True)
    assert error.reason == f"{NAME}:v1 is {OLD.replace(':', ':id')} here, and {saved.config} was recorded"


def test_what_is_lost_is_pulled_by_its_digest_where_there_is_no_archive(bench: Bench, saved: Saved) -> None:
    bench.run(f"{NAME}:v1@{saved.digest}", archive=True)
    bench.registry.here.clear()
    bench.registry.archive = {}
    wanted = f"{NAME}@{saved.digest}"
    assert bench.run(f"{NAME}:v1@{saved.digest}", check_mode=True)["image"] == wanted
    found = bench.run(f"{NAME}:v1@{saved.digest}")
    assert (found["changed"], found["image"]) == (True, wanted)
    assert bench.registry.commands[1:] == [f"pull --quiet {wanted}"]


def test_half_a_record_is_none(bench: Bench) -> None:
    bench.record.parent.mkdir()
    for text in ("{", "[]"):
        bench.record.write_text(text)
        assert bench.run()["image"] == f"{NAME}@{OLD}"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("manifest for x not found: manifest unknown", "The registry has no such image"),
        ("toomanyrequests: You have reached your pull rate limit", "The registry refuses more downloads for now"),
        ("denied: requested access to the resource is denied", "The registry does not hand the image out"),
        ("write /var/lib/docker: no space left on device", "The container's disk is full"),
        ("dial tcp: lookup registry-1.docker.io: no such host", "The registry is not reached"),
        ('Get "https://registry-1.docker.io/v2/": context deadline exceeded', "The registry is not reached"),
        ("something else", "cannot be pulled: Error response from daemon: something else"),
    ],
)
def test_a_failed_pull_is_named(bench: Bench, said: str, reason: str) -> None:
    bench.registry.refusal = said
    error = bench.refused(f"{NAME}:v9")
    assert (reason in error.reason, error.code) == (True, Code.VERIFICATION)


def test_an_image_without_room_is_not_pulled(bench: Bench) -> None:
    """Failure 7 of the field."""
    bench.registry.size = 9 << 30
    bench.free = (36 << 30) - 1
    error = bench.refused(f"{NAME}:one")
    assert error.reason == (
        f"{NAME}:one needs at least 36.0 GiB to be downloaded and unpacked, but /var/lib/docker has 35.9 GiB free"
    )
    assert error.code == Code.VERIFICATION
    assert (bench.registry.commands, bench.record.exists()) == ([], False)
    bench.free += 1
    assert bench.run(f"{NAME}:one")["changed"] is True
    assert bench.registry.commands == [f"pull --quiet {NAME}:one"]


def test_room_is_asked_for_under_the_name_that_is_pulled(bench: Bench) -> None:
    bench.run()
    bench.registry.here.clear()
    bench.registry.size = 1
    assert bench.refused().reason.startswith(f"{NAME}@{OLD} needs at least 1 MiB")
    assert bench.registry.questions == [f"{NAME}:latest", f"{NAME}@{OLD}"]


def test_no_registry_is_asked_when_nothing_is_pulled(bench: Bench) -> None:
    bench.registry.size = 1
    assert bench.run(check_mode=True)["changed"] is True
    bench.archive.write_text("tar")
    bench.registry.archive = {f"{NAME}:latest": NEW}
    bench.run(archive=True)
    bench.run()
    assert bench.registry.questions == []


def test_what_cannot_be_is_refused(bench: Bench) -> None:
    assert bench.refused("Not An Image").reason == "image: 'Not An Image' is no image"
    assert bench.refused(None).code == Code.INPUT
    bench.registry.down = True
    assert bench.refused().reason == "Docker does not run: Cannot connect"


@pytest.mark.parametrize(
    ("text", "parsed", "short"),
    [
        ("busybox", Reference("busybox", "latest"), "busybox"),
        ("docker.io/library/busybox:1", Reference("docker.io/library/busybox", "1"), "busybox"),
        ("registry:5000/a/b", Reference("registry:5000/a/b", "latest"), "registry:5000/a/b"),
        (f"a/b@{OLD}", Reference("a/b", "", OLD), "a/b"),
    ],
)
def test_references(text: str, parsed: Reference, short: str) -> None:
    assert Reference.parse(text) == parsed
    assert parsed.short == short


@pytest.mark.parametrize(
    ("stderr", "line"),
    [
        (
            "docker: Error response from daemon: what.\nSee 'docker run --help'.\n",
            "docker: Error response from daemon: what.",
        ),
        ("docker: what.\n\nRun 'docker run --help' for more information\n", "docker: what."),
        ("", "exit code 125"),
    ],
)
def test_the_last_line_is_what_is_wrong(stderr: str, line: str) -> None:
    assert last_line(Completed(("docker",), 125, "", stderr)) == line
