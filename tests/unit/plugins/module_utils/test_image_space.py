# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re
import shutil
import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker import Docker
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._image_space import (
    Place,
    amd64_digest,
    check_space,
    download_size,
    free_bytes,
    judge,
    tightest,
)
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import Answer, FakeRunner, failed
from hypothesis import given
from hypothesis import strategies as st

MIB, GIB = 1 << 20, 1 << 30
REPOSITORY = "vllm/vllm-openai"
TAGGED = f"{REPOSITORY}:v0.25.1"
AMD64, ARM64, OTHER = ("sha256:" + digit * 64 for digit in "123")
INSPECT = "docker manifest inspect"
ASKED_ROOT = "docker info --format '{{.DockerRootDir}}'"
TOO_SLOW = PhoenixError("docker did not end within 30 s and was stopped", remedy="")


def entry(digest: str, system: str = "linux", architecture: str = "amd64", **more: str) -> dict[str, t.Any]:
    return {"digest": digest, "size": 1234, "platform": {"os": system, "architecture": architecture, **more}}


def image(*layers: object, config: object = 3060) -> dict[str, t.Any]:
    return {"schemaVersion": 2, "config": {"size": config}, "layers": [{"size": size} for size in layers]}


INDEX = {"schemaVersion": 2, "manifests": [entry(ARM64, architecture="arm64", variant="v8"), entry(AMD64)]}


@pytest.mark.parametrize(
    ("manifest", "size"),
    [
        # What `docker manifest inspect vllm/vllm-openai:latest` said in a lab.
        (image(3854520, 355, 11014315, 104520), 14976770),
        ({"layers": [{"size": 5}, {"size": 7}]}, 12),
        ({"layers": [{"size": 5}], "config": {}}, 5),
        ({"layers": []}, 0),
        (image(5, "7"), None),
        (image(5, None), None),
        ({"layers": [{"digest": AMD64}]}, None),
        ({"layers": ["layer"]}, None),
        ({"layers": "layers"}, None),
        ({"fsLayers": [{"blobSum": AMD64}]}, None),
        (INDEX, None),
        ([], None),
        (None, None),
    ],
    ids=[
        "of the lab",
        "no configuration",
        "a configuration without a size",
        "no layers",
        "a size that is text",
        "a size that is null",
        "a layer without a size",
        "a layer that is text",
        "layers that are text",
        "of before 2016",
        "an index",
        "a list",
        "nothing",
    ],
)
def test_what_is_downloaded(manifest: object, size: int | None) -> None:
    assert download_size(manifest) == size


@pytest.mark.parametrize(
    ("manifest", "digest"),
    [
        (INDEX, AMD64),
        ({"manifests": [entry(OTHER, system="windows"), entry(AMD64), entry(ARM64)]}, AMD64),
        # What BuildKit adds to an index: where an image comes from.
        ({"manifests": [entry(OTHER, "unknown", "unknown"), entry(AMD64)]}, AMD64),
        ({"manifests": [entry(ARM64, architecture="arm64")]}, None),
        ({"manifests": [{"digest": OTHER}, {"platform": {"os": "linux", "architecture": "amd64"}}, "entry"]}, None),
        ({"manifests": {}}, None),
        (image(5), None),
        (None, None),
    ],
    ids=["the second", "of Linux", "an attestation", "of ARM only", "halves", "no list", "an image", "nothing"],
)
def test_the_image_of_this_platform(manifest: object, digest: str | None) -> None:
    assert amd64_digest(manifest) == digest


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["layers", "config", "size", "manifests", "digest", "platform", "os"]), inner)
    ),
)


@given(JSON)
def test_whatever_a_registry_says(answer: object) -> None:
    assert isinstance(download_size(answer), int | None)
    assert isinstance(amd64_digest(answer), str | None)


@given(st.lists(st.integers(0, 1 << 40)), st.integers(0, 1 << 20))
def test_every_layer_counts(layers: list[int], config: int) -> None:
    assert download_size(image(*layers, config=config)) == sum(layers) + config


def free_at(**free: int) -> Callable[[Path], int]:
    """Free bytes by the last name of a folder; what is not named does not exist."""

    def there(path: Path) -> int:
        if path.name not in free:
            raise FileNotFoundError(path)
        return free[path.name]

    return there


DOCKER, CONTAINERD = Path("/var/lib/docker"), Path("/var/lib/containerd")


@pytest.mark.parametrize(
    ("free", "place"),
    [
        ({"docker": 5, "containerd": 5}, Place(DOCKER, 5)),
        ({"docker": 7, "containerd": 5}, Place(CONTAINERD, 5)),
        ({"docker": 5, "containerd": 7}, Place(DOCKER, 5)),
        ({"docker": 5}, Place(DOCKER, 5)),
        ({"containerd": 0}, Place(CONTAINERD, 0)),
        ({}, None),
    ],
    ids=["one file system", "less in the second", "less in the first", "no second", "no first", "neither"],
)
def test_the_place_with_the_least_space_counts(free: dict[str, int], place: Place | None) -> None:
    assert tightest([DOCKER, CONTAINERD], free_at(**free)) == place


def test_free_space_is_read(tmp_path: Path) -> None:
    assert 0 <= free_bytes(tmp_path) <= shutil.disk_usage(tmp_path).total
    with pytest.raises(OSError, match="nowhere"):
        free_bytes(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("size", "free", "message"),
    [
        (
            9 * GIB,
            4 * GIB + 1,
            f"{TAGGED} needs at least 36.0 GiB to be downloaded and unpacked, but /var/lib/docker has 4.0 GiB free",
        ),
        (
            15 * MIB,
            MIB - 1,
            f"{TAGGED} needs at least 60 MiB to be downloaded and unpacked, but /var/lib/docker has 0 MiB free",
        ),
        (
            GIB // 4 + 1,
            GIB,
            f"{TAGGED} needs at least 1.1 GiB to be downloaded and unpacked, but /var/lib/docker has 1.0 GiB free",
        ),
        (
            5 * GIB,
            700 * MIB,
            f"{TAGGED} needs at least 20.0 GiB to be downloaded and unpacked, but /var/lib/docker has 700 MiB free",
        ),
    ],
    ids=["vLLM", "small", "a byte too much", "two units"],
)
def test_too_little_space(size: int, free: int, message: str) -> None:
    with pytest.raises(PhoenixError) as caught:
        judge(TAGGED, size, Place(DOCKER, free))
    assert caught.value.reason == message
    assert caught.value.remedy == (
        "Raise storage_size_gb of the container in phoenix_lxc_configs.json, which makes its disk larger without a "
        "rebuild, or make room with `docker image prune`."
    )
    assert caught.value.code == Code.VERIFICATION


@given(st.integers(1, 1 << 42), st.integers(0, 1 << 43))
def test_four_times_the_download_has_to_be_free(size: int, free: int) -> None:
    try:
        judge(TAGGED, size, Place(DOCKER, free))
    except PhoenixError as error:
        assert free < 4 * size
        shown = re.findall(r"([\d.]+) ([MG])iB", error.reason)
        needed, there = (float(number) * (GIB if unit == "G" else MIB) for number, unit in shown)
        assert needed > there
    else:
        assert free >= 4 * size


def docker(root: Answer = "/var/lib/docker\n") -> FakeRunner:
    return FakeRunner({f"{INSPECT} {TAGGED}": json.dumps(image(10 * MIB, config=0)), ASKED_ROOT: root})


def check(runner: FakeRunner, **free: int) -> None:
    check_space(Docker(runner), TAGGED, REPOSITORY, free_at(**free))


def test_the_registry_is_asked_first() -> None:
    runner = docker()
    check(runner, docker=40 * MIB, containerd=40 * MIB)
    assert runner.commands == [f"{INSPECT} {TAGGED}", ASKED_ROOT]
    assert {call.timeout for call in runner.calls} == {30}
    with pytest.raises(PhoenixError, match="but /var/lib/containerd has 39 MiB free"):
        check(runner, docker=40 * MIB, containerd=40 * MIB - 1)


def test_an_index_leads_to_the_image_of_this_platform() -> None:
    runner = docker()
    runner.on(f"{INSPECT} {TAGGED}", json.dumps(INDEX))
    runner.on(f"{INSPECT} {REPOSITORY}@{AMD64}", json.dumps(image(10 * MIB)))
    with pytest.raises(PhoenixError, match=re.escape(f"{TAGGED} needs at least 41 MiB")):
        check(runner, docker=40 * MIB)
    assert runner.commands == [f"{INSPECT} {TAGGED}", f"{INSPECT} {REPOSITORY}@{AMD64}", ASKED_ROOT]
    assert {call.timeout for call in runner.calls} == {30}


@pytest.mark.parametrize(
    "answer",
    [
        failed("no such manifest: docker.io/vllm/vllm-openai:v0.25.1", 1),
        # An old client, or none at all.
        failed("docker: 'manifest' is not a docker command", 127),
        TOO_SLOW,
        "",
        "{",
        "{}",
        json.dumps({"manifests": [entry(ARM64, architecture="arm64")]}),
    ],
    ids=["unknown", "no command", "too slow", "nothing", "half", "empty", "of ARM only"],
)
def test_without_an_answer_nothing_is_refused(answer: Answer) -> None:
    runner = FakeRunner({INSPECT: answer})
    check(runner, docker=0)
    assert runner.commands == [f"{INSPECT} {TAGGED}"]


@pytest.mark.parametrize("answer", [failed("denied", 1), TOO_SLOW, json.dumps(INDEX)], ids=["no", "slow", "an index"])
def test_without_the_second_answer_nothing_is_refused(answer: Answer) -> None:
    runner = FakeRunner({f"{INSPECT} {TAGGED}": json.dumps(INDEX), f"{INSPECT} {REPOSITORY}@{AMD64}": answer})
    check(runner, docker=0)
    assert len(runner.calls) == 2


@pytest.mark.parametrize("answer", [failed("no", 1), TOO_SLOW, "\n"], ids=["no", "slow", "nothing"])
def test_docker_that_does_not_say_where_it_stores(answer: Answer) -> None:
    runner = docker(answer)
    with pytest.raises(PhoenixError, match="but /var/lib/docker has 39 MiB free"):
        check(runner, docker=39 * MIB, containerd=80 * MIB)


def test_docker_that_stores_elsewhere() -> None:
    runner = docker("/srv/images\n")
    check(runner, docker=0, images=40 * MIB)
    with pytest.raises(PhoenixError, match="but /srv/images has 1 MiB free"):
        check(runner, docker=80 * MIB, images=MIB)


def test_free_space_that_is_not_told_is_no_problem() -> None:
    check(docker())
