# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._layer_clean import Clean, summary
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed

IMAGES = "nvidia/cuda:12.8.0-base-ubuntu24.04 1\nvllm/vllm-openai:v0.25.1 2\n<none>:<none> 3\n"

GONE = {
    "etc/ssh/ssh_host_ed25519_key": "key",
    "root/.ansible/tmp/x": "",
    "root/.bash_history": "ls",
    "var/cache/apt/archives/a.deb": "",
    "var/cache/apt/pkgcache.bin": "",
    "var/lib/apt/lists/mirror_dists": "",
    "var/lib/dbus/machine-id": "id",
    "var/lib/docker/engine-id": "id",
    "var/log/journal/0123/system.journal": "",
    "var/log/apt/term.log.1": "x",
    "var/log/syslog.2.gz": "x",
    "tmp/left/over": "",
    "var/tmp/left": "",
}
EMPTIED = {"etc/machine-id": "0123\n", "var/log/dpkg.log": "text", "var/log/apt/history.log": "text"}
KEPT = {
    "etc/ssh/sshd_config": "Port 22",
    "etc/hostname": "layer",
    "var/lib/apt/lists/lock": "",
    "var/log/empty.log": "",
    "tmp/ansible_payload/x": "",
    "tmp/systemd-private-abc/tmp": "",
    "root/.bashrc": "",
}


class Docker:
    def __init__(self, containers: str = "", images: str = IMAGES) -> None:
        self.answers = {"ps": containers, "image": images}
        self.removed: list[str] = []
        self.others: list[list[str]] = []

    def __call__(self, argv: Sequence[str], **_options: object) -> Completed:
        if argv[0] != "docker":
            self.others.append(list(argv))
            return Completed(list(argv), 0, "", "")
        if argv[1:3] == ["image", "rm"]:
            self.removed.append(argv[3])
            return Completed(list(argv), 0, "", "")
        return Completed(list(argv), 0, self.answers[argv[1]], "")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {**GONE, **EMPTIED, **KEPT}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def with_docker(root: Path) -> Path:
    for name in ("usr/bin/docker", "run/docker.sock"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_what_every_clone_would_share_is_gone(root: Path) -> None:
    removed = Clean(root, Docker(), images=()).run(check_mode=False)
    assert contents(root) == {**dict.fromkeys(EMPTIED, ""), **KEPT}
    assert "/etc/ssh/ssh_host_ed25519_key" in removed
    assert "/etc/machine-id" in removed
    assert "/var/log/empty.log" not in removed


def test_the_journal_does_not_come_back_before_the_shutdown(root: Path) -> None:
    docker = Docker()
    Clean(root, docker, images=()).run(check_mode=True)
    assert docker.others == []
    Clean(root, docker, images=()).run(check_mode=False)
    assert docker.others == [["journalctl", "--relinquish-var"]]
    Clean(root, docker, images=()).run(check_mode=False)
    assert len(docker.others) == 1


def test_a_second_time_there_is_nothing_to_do(root: Path) -> None:
    Clean(root, Docker(), images=()).run(check_mode=False)
    assert Clean(root, Docker(), images=()).run(check_mode=False) == []


def test_check_mode_says_the_same_and_touches_nothing(root: Path) -> None:
    before = contents(with_docker(root))
    docker = Docker()
    predicted = Clean(root, docker, images=()).run(check_mode=True)
    assert contents(root) == before
    assert docker.removed == []
    assert Clean(root, docker, images=()).run(check_mode=False) == predicted


@pytest.mark.parametrize(
    ("belong", "removed"),
    [
        (["vllm/vllm-openai:v0.25.1"], ["3", "nvidia/cuda:12.8.0-base-ubuntu24.04"]),
        (["docker.io/vllm/vllm-openai:v0.25.1@sha256:00"], ["3", "nvidia/cuda:12.8.0-base-ubuntu24.04"]),
        (["vllm/vllm-openai"], ["3", "nvidia/cuda:12.8.0-base-ubuntu24.04", "vllm/vllm-openai:v0.25.1"]),
    ],
    ids=["by tag", "by digest", "latest is another one"],
)
def test_images_that_do_not_belong(root: Path, belong: list[str], removed: list[str]) -> None:
    docker = Docker()
    done = Clean(with_docker(root), docker, images=belong).run(check_mode=False)
    assert docker.removed == removed
    assert [line for line in done if line.startswith("docker")] == [f"docker image {name}" for name in removed]


def test_an_image_that_was_pulled_by_its_digest_belongs(root: Path) -> None:
    docker = Docker(images="vllm/vllm-openai:<none> 2\nother/image:<none> 4\n")
    Clean(with_docker(root), docker, images=["vllm/vllm-openai:latest"]).run(check_mode=False)
    assert docker.removed == ["4"]


def test_a_container_is_refused_before_anything_is_removed(root: Path) -> None:
    before = contents(with_docker(root))
    with pytest.raises(PhoenixError) as caught:
        Clean(root, Docker("vllm-test\n"), images=()).run(check_mode=False)
    assert caught.value.as_result()["code"] == 4
    assert "and there is vllm-test" in str(caught.value)
    assert contents(root) == before


def test_docker_that_does_not_answer(root: Path) -> None:
    def broken(argv: Sequence[str], **_options: object) -> Completed:
        return Completed(list(argv), 1, "", "Cannot connect to the Docker daemon\n")

    with pytest.raises(PhoenixError, match="docker ps --all failed: Cannot connect to the Docker daemon"):
        Clean(with_docker(root), broken, images=()).run(check_mode=False)


def test_a_link_is_never_followed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "precious"
    outside.write_text("text")
    (root / "tmp/link").symlink_to(outside.parent)
    (root / "var/log/link.log").symlink_to(outside)
    (root / "var/lib/dbus/machine-id").unlink()
    os.symlink("/etc/machine-id", root / "var/lib/dbus/machine-id")
    Clean(root, Docker(), images=()).run(check_mode=False)
    assert outside.read_text() == "text"
    assert (root / "var/lib/dbus/machine-id").is_symlink()
    assert not (root / "tmp/link").exists()


def test_a_summary_has_a_line_for_each() -> None:
    assert summary(["docker image a", "/tmp/left"]) == "docker image a\n/tmp/left\n"
    assert summary([]) == ""
