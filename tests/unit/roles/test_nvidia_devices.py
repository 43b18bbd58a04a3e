# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The program that the role's unit runs at boot.

from __future__ import annotations

import importlib.util
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import FakeNode

PROGRAM = Path(__file__).parents[3] / "roles/hypervisor_nvidia/files/nvidia_devices.py"


def load() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("nvidia_devices", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


devices = load()
EVERY = [
    "nvidia0",
    "nvidia1",
    "nvidiactl",
    "nvidia-modeset",
    "nvidia-uvm",
    "nvidia-uvm-tools",
    "nvidia-caps/nvidia-cap1",
]


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    found = FakeNode(tmp_path)
    for index in range(2):
        found.gpu(index)
    found.majors({195: "nvidia", 511: "nvidia-uvm", 240: "nvidia-caps"})
    found.write("proc/driver/nvidia/capabilities/mig/config", "DeviceFileMinor: 1\nDeviceFileMode: 256\n")
    return found


def maker(node: FakeNode, calls: list[list[str]], *, works: bool = True) -> Callable[[list[str]], None]:
    """nvidia-modprobe: by its options, the nodes of the GPUs, of uvm, of modeset or of a capability."""

    def execute(argv: list[str]) -> None:
        calls.append(argv[1:])
        if not works:
            return
        options = argv[1:]
        if options[0] == "-u":
            for minor, name in enumerate(("nvidia-uvm", "nvidia-uvm-tools")):
                node.device(f"dev/{name}", 511, minor)
        elif options[0] == "-m":
            node.device("dev/nvidia-modeset", 195, 254)
        elif options[0] == "-f":
            node.device("dev/nvidia-caps/nvidia-cap1", 240, 1)
        else:
            for minor in options[1::2]:
                node.device("dev/nvidiactl" if minor == "255" else f"dev/nvidia{minor}", 195, int(minor))

    return execute


def make(node: FakeNode, *, works: bool = True) -> tuple[list[str], list[str], list[list[str]], list[float]]:
    calls: list[list[str]] = []
    pauses: list[float] = []
    before, left = devices.make(node.root, maker(node, calls, works=works), pauses.append, node.lstat)
    return before, left, calls, pauses


def test_every_node_is_made_once(node: FakeNode) -> None:
    before, left, calls, pauses = make(node)
    assert (before, left, pauses) == (EVERY, [], [])
    capability = "/proc/driver/nvidia/capabilities/mig/config"
    assert calls == [["-c", "0", "-c", "1", "-c", "255"], ["-u", "-c", "0", "-c", "1"], ["-m"], ["-f", capability]]
    assert make(node) == ([], [], [], [])


def test_a_stale_node_and_an_empty_file_are_replaced(node: FakeNode) -> None:
    make(node)
    node.device("dev/nvidia-uvm", 510, 0)
    node.remove_device("dev/nvidia0")
    node.write("dev/nvidia0", "")
    assert make(node)[:2] == (["nvidia0", "nvidia-uvm"], [])


def test_what_cannot_be_made_is_tried_for_a_bounded_time(node: FakeNode) -> None:
    before, left, _calls, pauses = make(node, works=False)
    assert before == left == EVERY
    assert pauses == [devices.PAUSE] * (devices.ATTEMPTS - 1)


def test_modules_that_are_not_loaded_are_loaded_first(node: FakeNode) -> None:
    node.majors({195: "nvidia"})
    assert make(node, works=False)[2][0] == ["-u", "-c", "0"]
