# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker import Docker, environment, last_line
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import FakeRunner, failed, ok


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (ok("28.5.1\n"), ""),
        (failed("docker: No such file or directory", rc=127), "Docker is not installed"),
        (
            failed("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.\n", rc=1),
            "Docker does not run: Cannot connect to the Docker daemon at unix:///var/run/docker.sock.",
        ),
    ],
    ids=["it runs", "not installed", "it does not run"],
)
def test_whether_it_can_be_used(answer: Completed, problem: str) -> None:
    docker = Docker(FakeRunner({"docker version --format {{.Server.Version}}": answer}))
    assert docker.problem() == problem
    if problem:
        with pytest.raises(PhoenixError) as error:
            docker.check()
        assert (error.value.reason, error.value.code) == (problem, 4)
    else:
        docker.check()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (ok('[{"Id": "sha256:1"}]'), {"Id": "sha256:1"}),
        (ok("[]"), None),
        (ok("{}"), None),
        (ok("not JSON"), None),
        (failed("Error: No such object: x", rc=1, stdout="[]"), None),
    ],
    ids=["there", "none", "no list", "no JSON", "unknown"],
)
def test_what_there_is(answer: Completed, expected: object) -> None:
    docker = Docker(FakeRunner({"docker image inspect x": answer, "docker container inspect x": answer}))
    assert docker.image("x") == expected
    assert docker.container("x") == expected


def test_containers_with_a_label() -> None:
    runner = FakeRunner({"docker ps --all --quiet --no-trunc --filter label=a": "1\n2\n", "docker rm": ""})
    docker = Docker(runner)
    assert docker.labelled("a") == ["1", "2"]
    docker.remove(["1", "2"])
    assert runner.commands[-1] == "docker rm --force --volumes 1 2"
    runner.on("docker ps --all --quiet --no-trunc --filter label=a", failed("permission denied\n", rc=1))
    with pytest.raises(PhoenixError, match="docker ps failed: permission denied"):
        docker.labelled("a")


def test_a_log_has_both_streams() -> None:
    runner = FakeRunner({"docker logs --tail 9 x": ok("out\n", "err\n")})
    assert Docker(runner).log("x", 9) == "out\nerr\n"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({"Config": {"Env": ["A=1", "B=x=y", "C"]}}, {"A": "1", "B": "x=y", "C": ""}),
        ({"Config": {"Env": None}}, {}),
        ({}, {}),
    ],
    ids=["some", "none", "no configuration"],
)
def test_variables_of_an_image(image: dict[str, object], expected: dict[str, str]) -> None:
    assert environment(image) == expected


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        (failed("docker: it failed.\n\nRun 'docker run --help' for more information\n"), "docker: it failed."),
        (failed("", stdout="only out\n"), "only out"),
        (failed("", rc=3), "exit code 3"),
    ],
    ids=["advice", "standard output", "nothing"],
)
def test_the_last_line(done: Completed, expected: str) -> None:
    assert last_line(done) == expected
