# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.vendors.toolkit import cdi, plain_yaml
from lab.vendors.toolkit.driver import Driver, Gpu, NvmlError
from lab.vendors.toolkit.log import Log, ToolkitError

QUIET = Log(quiet=True)
SPEC = """\
---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
    - name: "0"
      containerEdits:
        deviceNodes:
            - path: /dev/nvidia1
    - name: GPU-11
      containerEdits:
        deviceNodes:
            - path: /dev/nvidia1
    - name: all
      containerEdits:
        deviceNodes:
            - path: /dev/nvidia1
containerEdits:
    env:
        - NVIDIA_CTK_LIBCUDA_DIR=/usr/lib/x86_64-linux-gnu
        - NVIDIA_VISIBLE_DEVICES=void
    deviceNodes:
        - path: /dev/nvidia-uvm
        - path: /dev/nvidiactl
    hooks:
        - hookName: createContainer
          path: /usr/bin/nvidia-cdi-hook
          args:
            - nvidia-cdi-hook
            - create-symlinks
            - --link
            - libcuda.so.1::/usr/lib/x86_64-linux-gnu/libcuda.so
          env:
            - NVIDIA_CTK_DEBUG=false
        - hookName: createContainer
          path: /usr/bin/nvidia-cdi-hook
          args:
            - nvidia-cdi-hook
            - update-ldcache
            - --folder
            - /usr/lib/x86_64-linux-gnu
          env:
            - NVIDIA_CTK_DEBUG=false
    mounts:
        - hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.580.76.05
          containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.580.76.05
          options:
            - ro
            - nosuid
            - nodev
            - rbind
            - rprivate
"""

scalars = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
documents = st.recursive(
    scalars | st.integers() | st.booleans() | st.none(),
    lambda inner: (
        st.lists(inner.filter(lambda value: not isinstance(value, list)), max_size=4)
        | st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True), documents, min_size=1, max_size=4))
def test_yaml_is_read_as_it_was_written(document: dict[str, Any]) -> None:
    assert plain_yaml.load(plain_yaml.dump(document)) == document


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("0", '"0"'),
        ("0.5.0", "0.5.0"),
        ("true", '"true"'),
        ("", '""'),
        ("/dev/nvidia0", "/dev/nvidia0"),
        ("--link", "--link"),
        ("a: b", '"a: b"'),
        ("1.5", '"1.5"'),
        ("755", '"755"'),
        (None, "null"),
        ({}, "{}"),
    ],
)
def test_scalars(value: object, written: str) -> None:
    assert plain_yaml.dump({"key": value}) == f"---\nkey: {written}\n"


def test_json_is_yaml() -> None:
    assert plain_yaml.load('{"kind": "nvidia.com/gpu"}') == {"kind": "nvidia.com/gpu"}


@pytest.mark.parametrize("text", ["a: 1\n  b: 2\n", "just words\n"])
def test_what_is_no_yaml_of_ours(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not indented|is no `key"):
        plain_yaml.load(text)


def test_a_specification_to_the_letter(make_driver: Callable[..., Driver]) -> None:
    text = plain_yaml.dump(cdi.generate(make_driver((1,)), QUIET))
    assert text.startswith(SPEC)
    # The lab's own: what the stubs in a Docker container look into.
    assert "/proc/driver/nvidia\n          containerPath: /run/nvidia-lab/driver\n" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"library": ""}, "ERROR_LIBRARY_NOT_FOUND"),
        ({"module": ""}, "Driver Not Loaded"),
        ({"library": "580.95.05"}, "Driver/library version mismatch"),
    ],
    ids=["no driver", "no module", "another version"],
)
def test_what_nvml_says(make_driver: Callable[..., Driver], options: dict[str, str], said: str) -> None:
    with pytest.raises(ToolkitError) as caught:
        cdi.generate(make_driver(**options), QUIET)
    assert str(caught.value) == f"failed to create device CDI specs: failed to initialize NVML: {said}"


def test_a_control_node_that_may_not_be_opened(make_driver: Callable[..., Driver], tmp_path: Path) -> None:
    make_driver()
    with pytest.raises(NvmlError, match="Unknown Error"):
        Driver(tmp_path, accessible=lambda _path: False).initialize()


def test_gpus_are_numbered_among_those_that_can_be_opened(make_driver: Callable[..., Driver]) -> None:
    assert make_driver((1,)).gpus() == [Gpu(0, 1, "GPU-11")]


def test_a_regular_file_is_no_gpu(make_driver: Callable[..., Driver], tmp_path: Path) -> None:
    driver = make_driver((0,))
    (tmp_path / "dev/nvidia1").touch()
    assert [gpu.minor for gpu in driver.gpus()] == [0]


@pytest.mark.parametrize(("wanted", "minors"), [("all", [0, 1]), ("none", []), ("1", [1]), ("GPU-0,1", [0, 1])])
def test_selection(wanted: str, minors: list[int]) -> None:
    gpus = [Gpu(0, 0, "GPU-0"), Gpu(1, 1, "GPU-1")]
    assert [gpu.minor for gpu in cdi.select(gpus, wanted)] == minors


def test_names_that_nobody_knows() -> None:
    with pytest.raises(ToolkitError) as caught:
        cdi.resolve([], ["nvidia.com/gpu=all"])
    assert str(caught.value) == "unresolvable CDI devices nvidia.com/gpu=all"


def test_broken_specifications_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "etc/cdi"
    folder.mkdir(parents=True)
    (folder / "broken.yaml").write_text("nothing of use")
    (folder / "notes.txt").write_text(SPEC)
    (folder / "nvidia.yaml").write_text(SPEC)
    found = cdi.specs(cdi.SPEC_FOLDERS, tmp_path)
    assert cdi.device_names(found) == ["nvidia.com/gpu=0", "nvidia.com/gpu=GPU-11", "nvidia.com/gpu=all"]


def test_edits(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    for name in ("nvidia1", "nvidia-uvm", "nvidiactl"):
        (tmp_path / "dev" / name).symlink_to("/dev/null")
    spec = plain_yaml.load(SPEC)
    config: dict[str, Any] = {"process": {"env": ["A=1", "NVIDIA_VISIBLE_DEVICES=all"]}, "mounts": []}
    cdi.apply(config, cdi.resolve([spec], ["nvidia.com/gpu=0", "nvidia.com/gpu=all"]), tmp_path)
    assert config["process"]["env"][0] == "A=1"
    assert config["process"]["env"][-1] == "NVIDIA_VISIBLE_DEVICES=void"
    # By way of both names, but once.
    assert [device["path"] for device in config["linux"]["devices"]].count("/dev/nvidia1") == 1
    assert {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"} in config["linux"]["resources"][
        "devices"
    ]
    assert [hook["args"][1] for hook in config["hooks"]["createContainer"]] == ["create-symlinks", "update-ldcache"]
    assert config["mounts"][0]["type"] == "bind"


def test_a_node_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ToolkitError, match=r"failed to stat CDI host device .*no such file or directory"):
        cdi.apply({}, [{"deviceNodes": [{"path": "/dev/nvidia7"}]}], tmp_path)
