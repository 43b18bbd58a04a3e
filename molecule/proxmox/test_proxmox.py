# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable

import pytest

NAMES = ["phoenix-molecule-layer", "phoenix-molecule-clone", "phoenix-molecule-made"]
EVERY = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def ctid(fleet) -> Callable[[str], int]:
    """The id of a container: ctid("made")"""
    return lambda name: fleet[name if name in NAMES else f"phoenix-molecule-{name}"]["phoenix_ctid"]


@EVERY
def test_it_runs(status, config, ctid, name) -> None:
    assert status(ctid(name)) == "running"
    assert config(ctid(name)).main["hostname"] == name


@EVERY
def test_inside_is_what_the_fleet_says(inside, fleet, ctid, name) -> None:
    assert inside(ctid(name)).check_output("hostname") == name
    address = fleet[name]["phoenix_container"]["networks"][0]["ip"]
    assert address in inside(ctid(name)).check_output("ip -oneline -4 address show eth0")


def test_the_layer_is_sealed(snapshots, config, ctid) -> None:
    assert snapshots(ctid("layer")) == ["phoenix-molecule"]
    kept = config(ctid("layer")).snapshots["phoenix-molecule"].lines
    assert any(line.startswith("#phoenix%3A ") for line in kept)


def test_the_clone_has_no_snapshot_and_an_identity_of_its_own(snapshots, inside, config, ctid) -> None:
    assert snapshots(ctid("clone")) == []
    assert config(ctid("clone")).main["net0"] != config(ctid("layer")).main["net0"]
    ids = {inside(ctid(name)).file("/etc/machine-id").content_string for name in ("layer", "clone")}
    assert len(ids) == 2


def test_the_clone_has_exactly_the_nodes_gpus(node, inside, ctid) -> None:
    present = "ls /dev | grep -E '^nvidia[0-9]+$' || true"
    assert inside(ctid("clone")).check_output(present) == node.check_output(present)
    assert not inside(ctid("layer")).check_output(present)


def test_nobody_forbids_to_open_its_devices(node, inside, ctid) -> None:
    if not node.file("/dev/nvidiactl").exists:
        pytest.skip("the node has no GPU")
    for device in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia-uvm"):
        assert inside(ctid("clone")).file(device).mode & 0o666 == 0o666
        # The lab has no driver behind its devices: "No such device or address" is past the control group's rules.
        said = inside(ctid("clone")).run("sh -c %s", f": <{device}").stderr
        assert "not permitted" not in said
        assert "denied" not in said


@pytest.fixture
def featured(fleet) -> Callable[[str], None]:
    """Only where the clone was asked to have that feature."""

    def check(feature: str) -> None:
        if feature not in fleet["phoenix-molecule-clone"]["phoenix_features"]:
            pytest.skip(f"{feature} is not in PHOENIX_PROXMOX_FEATURES")

    return check


def test_the_clone_has_the_driver_of_the_node(node, inside, ctid, featured) -> None:
    featured("nvidia")
    ask = "nvidia-smi --query-gpu=uuid,driver_version --format=csv,noheader"
    assert inside(ctid("clone")).check_output(ask) == node.check_output(ask)


def test_dockers_containers_have_the_gpus_of_the_clone(inside, ctid, featured) -> None:
    featured("docker")
    clone = inside(ctid("clone"))
    assert clone.service("docker").is_running
    featured("nvidia")
    image = "nvidia/cuda:12.8.0-base-ubuntu24.04"
    seen = clone.check_output(f"docker run --rm --device nvidia.com/gpu=all {image} nvidia-smi -L")
    assert seen == clone.check_output("nvidia-smi -L")


def test_going_back_brought_back_what_was_kept(inside, ctid) -> None:
    assert inside(ctid("made")).file("/root/kept").content_string == "kept\n"
    assert not inside(ctid("made")).file("/root/lost").exists


def test_what_was_changed_holds_and_nothing_waits_for_the_next_start(config, ctid) -> None:
    made = config(ctid("made"))
    assert made.main["memory"] == "768"
    assert "size=5G" in made.main["rootfs"]
    assert "#It was changed" in made.main.lines
    assert "pve:pending" not in made.snapshots
