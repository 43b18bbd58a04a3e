# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The modules that run inside containers: their arguments, and that what they return is documented.

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker import Docker
from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker_config import DockerConfig
from ansible_collections.phoenix.hypervisor.plugins.module_utils._package_groups import PackageGroups
from ansible_collections.phoenix.hypervisor.plugins.module_utils._pinned_image import PinnedImage, Request
from ansible_collections.phoenix.hypervisor.plugins.module_utils._vllm_api import Answer
from ansible_collections.phoenix.hypervisor.plugins.modules import (
    apt_packages,
    docker_check,
    docker_config,
    guest_ready,
    layer_clean,
    pinned_image,
    vllm_check,
)
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import FakeRunner

ABOUT_FAILURES = {"code", "reason", "remedy"}


def run(module: t.Any, capsys: pytest.CaptureFixture[str], **arguments: object) -> dict[str, t.Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    return result


def documented(module: t.Any) -> set[str]:
    return set(yaml.safe_load(module.RETURN)) - ABOUT_FAILURES


def test_apt_packages(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(apt_packages, capsys)
    assert not result["changed"]
    assert documented(apt_packages) == result.keys() - {"changed", "diff", "invocation"}
    result = run(apt_packages, capsys, held=[{"packages": []}])
    assert (result["failed"], result["code"]) == (True, 2)
    assert PackageGroups(runner=FakeRunner()).run().keys() == {"changed", "packages", "commands", "diff"}


def test_docker_config(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = DockerConfig({}, nvidia=False, root=tmp_path, runner=FakeRunner()).run()
    assert documented(docker_config) == result.keys() - {"changed", "diff"}
    result = run(docker_config, capsys, _ansible_check_mode=True)
    assert documented(docker_config) <= result.keys()


def test_docker_check(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(docker_check, capsys, _ansible_check_mode=True)
    assert not result.get("failed")
    assert not result["changed"]
    assert {"assigned", "version", "storage_driver", "cgroup_driver", "runtimes", "gpus", "nvidia_smi"} == documented(
        docker_check
    )


def test_guest_ready(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(guest_ready, capsys, timeout=0, hosts=["name.invalid"])
    assert result["failed"]
    assert result["code"] in (1, 6)
    assert documented(guest_ready) == {"system_state"}


IMAGE = "vllm/vllm-openai:latest"


def test_pinned_image(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    record = tmp_path / "etc/image.json"
    result = run(pinned_image, capsys, image="Not An Image", record=str(record))
    assert (result["failed"], result["code"], result["reason"]) == (True, 2, "image: 'Not An Image' is no image")
    assert result["msg"] == f"{result['reason']}. {result['remedy']}"
    assert run(pinned_image, capsys, image=IMAGE)["msg"] == "missing required arguments: record"
    # The record is on its way: a layer that is made by the real run.
    result = run(pinned_image, capsys, record=str(record), _ansible_check_mode=True)
    assert (result["changed"], result["reference"], result["image"]) == (True, "", "")
    assert not record.parent.exists()


def test_a_warning_of_pinned_image_is_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = {"image": IMAGE, "record": str(tmp_path / "image.json"), "_ansible_check_mode": True}
    with patch_module_args(arguments), pytest.raises(SystemExit):
        pinned_image.main()
    written = capsys.readouterr()
    result = json.loads(written.out)
    assert (result["changed"], result["reference"]) == (True, IMAGE)
    # Where Ansible itself was imported before, it shows a module's warnings instead of returning them.
    shown = " ".join(f"{result.get('warnings')} {written.err}".split())
    # The first where Docker is missing, the second where it runs.
    assert "nothing is known of images yet" in shown or "means another image every few days" in shown


def test_what_pinned_image_returns_is_documented(tmp_path: Path) -> None:
    there = json.dumps([{"Id": "sha256:1", "RepoDigests": [f"vllm/vllm-openai@sha256:{'1' * 64}"]}])
    docker = Docker(FakeRunner({"docker version": "28.5.1\n", "docker image inspect": there}))
    now = dt.datetime(2026, 11, 20, 14, 5, tzinfo=dt.UTC)
    result = PinnedImage(
        Request(IMAGE, None, str(tmp_path / "image.json"), 60), docker, check_mode=False, now=now
    ).run()
    assert documented(pinned_image) == result.keys() - {"changed", "warnings"}


class Guard:
    """While it is on, this process removes nothing and starts nothing: what it runs looks at the tests' own machine."""

    EVENTS = frozenset({"os.remove", "os.rename", "os.rmdir", "os.truncate", "shutil.rmtree", "subprocess.Popen"})

    def __init__(self) -> None:
        self._on = False
        # Such a hook stays for as long as the process lives.
        sys.addaudithook(self._judge)

    def __enter__(self) -> None:
        self._on = True

    def __exit__(self, *_: object) -> None:
        self._on = False

    def _judge(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._on and event in self.EVENTS:
            raise AssertionError(f"{event}{arguments}")


@pytest.fixture(scope="module")
def guard() -> Guard:
    return Guard()


def test_the_guard_keeps_what_is_there(guard: Guard, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    file = tmp_path / "file"
    file.write_text("text")
    with guard:
        for act in (file.unlink, (tmp_path / "folder").rmdir, lambda: os.truncate(file, 0)):
            with pytest.raises(AssertionError):
                act()
    assert file.read_text() == "text"


@pytest.mark.skipif(Path("/run/docker.sock").exists(), reason="it would ask the Docker of this machine")
def test_layer_clean_predicts_and_removes_nothing(capsys: pytest.CaptureFixture[str], guard: Guard) -> None:
    with guard:
        result = run(layer_clean, capsys, images=[IMAGE], _ansible_check_mode=True)
    assert not result.get("failed")
    assert result["changed"] == bool(result["removed"])
    assert result["diff"] == {"before": "".join(f"{path}\n" for path in result["removed"]), "after": ""}
    assert documented(layer_clean) == result.keys() - {"changed", "diff", "invocation"}


def test_layer_clean_takes_a_list_of_images(capsys: pytest.CaptureFixture[str], guard: Guard) -> None:
    with guard:
        result = run(layer_clean, capsys, images={"name": IMAGE})
    assert (result["failed"], "cannot be converted to a list" in result["msg"]) == (True, True)


UNIT = "phoenix-no-such-unit.service"
KEY = "key-of-the-test"


def test_vllm_check_of_a_server_that_does_not_run_yet(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(vllm_check, capsys, unit=UNIT, model="tiny", _ansible_check_mode=True)
    assert (result["changed"], result["skipped_reason"]) == (False, f"{UNIT} does not run yet.")


def test_vllm_check_of_a_server_that_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(vllm_check, capsys, unit=UNIT, model="tiny", api_key=KEY, timeout=0)
    assert (result["failed"], result["code"], result["problem"]) == (True, 4, "unknown")
    assert result["msg"] == f"{result['reason'].rstrip('.')}. {result['remedy']}"
    assert KEY not in json.dumps(result)
    failure = {"problem", "cause", "log_tail"}
    assert failure <= result.keys()
    assert documented(vllm_check) == {"skipped_reason", "seconds", "answer"} | failure
    fields = yaml.safe_load(vllm_check.RETURN)["answer"]["contains"]
    assert fields.keys() == {field.name for field in dataclasses.fields(Answer)}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": "tiny"}, "missing required arguments: unit"),
        ({"unit": UNIT, "model": "tiny", "kind": "image"}, "value of kind must be one of: chat, embedding"),
        ({"unit": UNIT, "model": "tiny", "port": "http"}, "cannot be converted to an int"),
    ],
    ids=["no unit", "no kind", "no number"],
)
def test_what_vllm_check_refuses(capsys: pytest.CaptureFixture[str], given: dict[str, str], said: str) -> None:
    result = run(vllm_check, capsys, **given)
    assert (result["failed"], said in result["msg"]) == (True, True), result["msg"]
