# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import LabError
from lab.gpu import Options, kernel, switches
from lab.gpu.__main__ import main
from lab.gpu.kernel import Kernel
from lab.gpu.switches import switch


def facts(node: Path, minor: int) -> dict[str, str]:
    text = (node / f"proc/driver/nvidia/lab/gpu{minor}").read_text()
    return dict(line.split("=", 1) for line in text.splitlines())


def test_a_wrong_version_is_loaded_and_unloaded(node: Path) -> None:
    switch(node, "loaded", "570.172.08-proprietary")
    assert "x86_64 Kernel Module  570.172.08" in (node / "proc/driver/nvidia/version").read_text()
    assert facts(node, 0)["state"] == "unsupported"
    switch(node, "loaded", "none")
    assert not (node / "proc/driver/nvidia").exists()


def test_another_driver_holds_the_gpus(node: Path) -> None:
    switch(node, "loaded", "580.76.05")
    for name, driver in (("nouveau", "nouveau"), ("vfio", "vfio-pci")):
        switch(node, name, "on")
        link = node / "sys/bus/pci/devices/0000:01:00.0/driver"
        assert link.readlink().name == driver
        assert link.resolve().is_dir()
        assert not (node / "proc/driver/nvidia").exists()
        switch(node, name, "off")
        assert not link.is_symlink()


def test_one_gpu_is_lost_and_memory_of_another_taken(node: Path) -> None:
    for name, value in (("loaded", "580.76.05"), ("gpu1", "lost"), ("memory0", "15000")):
        switch(node, name, value)
    assert (facts(node, 0)["state"], facts(node, 0)["reserved"]) == ("ok", "15000")
    assert facts(node, 1)["state"] == "lost"
    switch(node, "gpu1", "ok")
    assert facts(node, 1)["state"] == "ok"


def test_the_hardware_changes(node: Path) -> None:
    for name, value in (("loaded", "580.76.05"), ("gpus", "3"), ("model", "rtx-3090")):
        switch(node, name, value)
    assert facts(node, 2)["name"] == "NVIDIA GeForce RTX 3090"
    assert len(list((node / "proc/driver/nvidia/gpus").iterdir())) == 3


def test_new_majors_make_the_nodes_stale(node: Path) -> None:
    switch(node, "loaded", "580.76.05")
    before = Kernel(node).majors
    switch(node, "majors", "new")
    after = Kernel(node).majors
    assert before["nvidia-uvm"] != after["nvidia-uvm"]
    assert before["nvidia"] == after["nvidia"]


def test_a_device_becomes_a_file_or_nothing(node: Path) -> None:
    switch(node, "loaded", "580.76.05")
    switch(node, "uvm", "file", node)
    assert (node / "dev/nvidia-uvm").read_bytes() == b""
    switch(node, "uvm", "missing", node)
    assert not (node / "dev/nvidia-uvm").exists()


def test_the_nodes_of_a_working_driver() -> None:
    majors = {"nvidia": 195, "nvidiactl": 195, "nvidia-modeset": 195, "nvidia-uvm": 500, "nvidia-caps": 400}
    assert kernel.device_nodes(majors, [0, 1]) == {
        "nvidia0": (195, 0, 0o666),
        "nvidia1": (195, 1, 0o666),
        "nvidiactl": (195, 255, 0o666),
        "nvidia-modeset": (195, 254, 0o666),
        "nvidia-uvm": (500, 0, 0o666),
        "nvidia-uvm-tools": (500, 1, 0o666),
        "nvidia-caps/nvidia-cap1": (400, 1, 0o400),
        "nvidia-caps/nvidia-cap2": (400, 2, 0o444),
    }


def test_headers_go_and_come_back(node: Path) -> None:
    build = node / "usr/lib/modules/6.14.11-4-pve/build"
    build.symlink_to("/usr/src/linux-headers-6.14.11-4-pve")
    switch(node, "headers", "off", node)
    assert not build.is_symlink()
    switch(node, "headers", "on", node)
    assert build.is_symlink()


def test_a_key_is_enrolled_by_the_person_at_the_console(node: Path) -> None:
    with kernel.locked(node) as changed:
        changed.machine.requested = [b"certificate".hex()]
    switch(node, "mok", "enroll")
    assert Kernel(node).machine.enrolled == [b"certificate".hex()]
    variable = node / "sys/firmware/efi/efivars/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23"
    assert b"certificate" in variable.read_bytes()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("foo", "on", "gpu: there is no switch 'foo'"),
        ("nouveau", "yes", "gpu: nouveau cannot be 'yes'. Use on or off."),
        ("uvm", "broken", "gpu: uvm is about the files of the node, which does not run. Start it first."),
        ("gpu0", "away", "gpu: gpu0 cannot be 'away'. Use lost or ok."),
        ("loaded", "new", "gpu: loaded cannot be 'new'. Use none or a version"),
    ],
)
def test_a_wrong_switch_is_refused_and_changes_nothing(node: Path, name: str, value: str, message: str) -> None:
    before = Kernel(node)
    with pytest.raises(LabError) as refused:
        switch(node, name, value)
    assert str(refused.value).startswith(message)
    assert (Kernel(node).state, Kernel(node).machine) == (before.state, before.machine)


def test_the_command_line(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["loaded=580.76.05", "memory1=10"], node) == 0
    assert main([], node) == 0
    shown = capsys.readouterr().out
    assert "driver        580.76.05 (open) loaded; none at a boot without one on disk" in shown
    assert "nvidia, 10 MiB taken" in shown
    assert shown.splitlines() == switches.overview(node)
    assert main(["loaded"], node) == 2
    assert main(["foo=bar"], node) == 2
    assert "ERROR: gpu: there is no switch 'foo'" in capsys.readouterr().err


def test_options_travel_as_json() -> None:
    assert Options(count=4, driver="").to_json() == '{"count": 4, "driver": "", "model": "rtx-5060-ti"}'
