# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shutil
import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_preflight import Lacking, Needs, check
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import TEMPLATE, FakeNode

CACHE = "/var/lib/vz/template/cache"
MORE_STORAGES = """
dir: off
\tpath /off
\tcontent rootdir
\tdisable

dir: on
\tpath /on
\tcontent rootdir
\tdisable 0

zfspool: elsewhere
\tpool tank
\tcontent rootdir
\tnodes pve2,pve3

lvmthin: thin
\tthinpool data
\tvgname pve
\tcontent rootdir
\tnodes pve1
"""
ON = "containers of pve1 can lie on local-zfs, local-dir, on, thin"
CORRECT = "correct it in phoenix_lxc_configs.json."


@pytest.fixture
def fake(tmp_path: Path) -> FakeNode:
    fake = FakeNode(tmp_path)
    fake.write("etc/pve/storage.cfg", fake.text("etc/pve/storage.cfg") + MORE_STORAGES)
    (fake.root / "fastData/models").mkdir(parents=True)
    fake.write("fastData/a-file", "")
    fake.gpu(0)
    fake.gpu(1)
    return fake


def pci(fake: FakeNode, address: str, vendor: str = "0x10de", kind: str = "0x030000") -> None:
    for name, value in (("vendor", vendor), ("class", kind), ("device", "0x2d04")):
        fake.write(f"sys/bus/pci/devices/{address}/{name}", f"{value}\n")


def without_driver(fake: FakeNode) -> None:
    shutil.rmtree(fake.root / "proc/driver/nvidia")


def said(fake: FakeNode, **needs: t.Any) -> list[str]:
    """What is wrong with one container, and that looking has changed nothing."""
    before = fake.snapshot_of_files()
    try:
        result = check(fake.node, [Needs(960, "leaf", **needs)])
    except Lacking as error:
        result = error.as_result()
    assert fake.snapshot_of_files() == before
    assert result.get("code", Code.INPUT) == Code.INPUT
    assert not result.get("changed", False)
    return [line.removeprefix("- 960 leaf: ") for line in result.get("msg", "").splitlines()[1:-1]]


@pytest.mark.parametrize(
    "needs",
    [
        {},
        {"storage": "local-zfs"},
        {"storage": "on"},
        {"storage": "thin"},
        {"volume_storages": ["local-dir", "local-zfs"]},
        {"ostemplate": TEMPLATE},
        {"ostemplate": f"{CACHE}/{TEMPLATE.rpartition('/')[2]}"},
        # Nobody can look into these.
        {"ostemplate": "local-zfs:vztmpl/debian.tar.zst"},
        {"sources": ["/fastData/models"]},
        {"gpus": [1, 0]},
    ],
    ids=str,
)
def test_what_is_there(fake: FakeNode, needs: dict[str, t.Any]) -> None:
    assert said(fake, **needs) == []


@pytest.mark.parametrize(
    ("needs", "line"),
    [
        (
            {"storage": "lxc-disks"},
            (
                "storage_pool: 'lxc-disks' is no storage of pve1, whose containers can lie on local-zfs, local-dir, "
                "on, thin. Correct it in phoenix_lxc_configs.json."
            ),
        ),
        (
            {"volume_storages": ["fast", "fast"]},
            (
                "volumes[].pool: 'fast' is no storage of pve1, whose containers can lie on local-zfs, local-dir, "
                "on, thin. Correct it in phoenix_lxc_configs.json."
            ),
        ),
        (
            {"storage": "local"},
            (
                f"storage_pool: 'local' may not hold containers (content rootdir); {ON}. Allow it: "
                f"`pvesm set local --content backup,iso,vztmpl,rootdir`, or {CORRECT}"
            ),
        ),
        (
            {"storage": "off"},
            f"storage_pool: 'off' is disabled; {ON}. Enable it: `pvesm set off --disable 0`, or {CORRECT}",
        ),
        (
            {"storage": "elsewhere"},
            (
                f"storage_pool: 'elsewhere' is a storage of pve2, pve3 only; {ON}. Give it to pve1, too: "
                f"`pvesm set elsewhere --nodes pve2,pve3,pve1`, or {CORRECT}"
            ),
        ),
        (
            {"ostemplate": "local:vztmpl/ubuntu.tar.zst"},
            (
                f"template: 'local:vztmpl/ubuntu.tar.zst' is not on pve1: {CACHE} has {TEMPLATE.rpartition('/')[2]}. "
                f"Download it: `pveam update`, `pveam download local ubuntu.tar.zst`, or {CORRECT}"
            ),
        ),
        (
            {"ostemplate": "/templates/mine.tar.gz"},
            f"template: '/templates/mine.tar.gz' is not on pve1: /templates has none. Put it there, or {CORRECT}",
        ),
        (
            {"ostemplate": "nowhere:vztmpl/ubuntu.tar.zst"},
            (
                "template: 'nowhere:vztmpl/ubuntu.tar.zst' names no storage of pve1, whose templates can lie on local. "
                "Write STORAGE:vztmpl/FILE or an absolute path in phoenix_lxc_configs.json."
            ),
        ),
        (
            {"ostemplate": "ubuntu"},
            (
                "template: 'ubuntu' names no storage of pve1, whose templates can lie on local. "
                "Write STORAGE:vztmpl/FILE or an absolute path in phoenix_lxc_configs.json."
            ),
        ),
        (
            {"sources": ["/fastData/a-file"]},
            (
                "mount_points[].host_path or shared_volumes: '/fastData/a-file' is no directory of pve1. "
                "Make it there: `mkdir -p /fastData/a-file`, or correct the path."
            ),
        ),
        (
            {"gpus": [0, 7]},
            "gpu_assignment: 7 is no GPU of pve1, which has 0, 1. Correct it in phoenix_lxc_configs.json.",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_is_not_there(fake: FakeNode, needs: dict[str, t.Any], line: str) -> None:
    assert said(fake, **needs) == [line]


def test_everything_of_all_containers_at_once(fake: FakeNode) -> None:
    containers = [
        Needs(900, "base", storage="lxc-disks", ostemplate="ubuntu"),
        Needs(901, "right", storage="local-zfs"),
        Needs(960, "leaf", sources=["/a"], gpus=[7]),
    ]
    with pytest.raises(Lacking) as refused:
        check(fake.node, containers)
    lines = str(refused.value).splitlines()
    assert lines[0] == "pve1 does not have what its containers need:"
    assert [" ".join(line.split()[:4]) for line in lines[1:-1]] == [
        "- 900 base: storage_pool:",
        "- 900 base: template:",
        "- 960 leaf: mount_points[].host_path",
        "- 960 leaf: gpu_assignment:",
    ]
    assert lines[-1] == "Nothing was changed."
    result = refused.value.as_result()
    assert result["msg"] == str(refused.value)
    assert result["problems"][-1] == {
        "ctid": 960,
        "name": "leaf",
        "reason": "gpu_assignment: 7 is no GPU of pve1, which has 0, 1",
        "remedy": "Correct it in phoenix_lxc_configs.json.",
    }


@pytest.mark.parametrize(("anew", "problems"), [(False, 0), (True, 1)], ids=["stays", "made anew"])
def test_a_container_that_exists_needs_its_template_only_to_be_made_anew(
    fake: FakeNode, anew: bool, problems: int
) -> None:
    fake.conf(960)
    assert len(said(fake, ostemplate="local:vztmpl/ubuntu.tar.zst", anew=anew)) == problems


def nothing_of_nvidia(fake: FakeNode) -> None:
    pci(fake, "0000:00:02.0", vendor="0x1002")
    # The sound of a graphics card is no GPU.
    pci(fake, "0000:01:00.1", kind="0x040300")


def one_card(fake: FakeNode) -> None:
    nothing_of_nvidia(fake)
    pci(fake, "0000:01:00.0", kind="0x030200")


@pytest.mark.parametrize(
    ("bus", "lines"),
    [
        (lambda _fake: None, []),
        (nothing_of_nvidia, [0, 1]),
        (one_card, [1]),
    ],
    ids=["no bus", "no card", "one card"],
)
def test_without_a_driver_the_bus_is_asked(fake: FakeNode, bus: Callable[[FakeNode], object], lines: list[int]) -> None:
    without_driver(fake)
    bus(fake)
    have = "0" if bus is one_card else "none"
    assert said(fake, gpus=[0, 1]) == [
        f"gpu_assignment: {gpu} is no GPU of pve1, which has {have}. Correct it in phoenix_lxc_configs.json."
        for gpu in lines
    ]


def test_a_machine_that_is_no_node_is_what_is_wrong(fake: FakeNode) -> None:
    (fake.root / "etc/pve/lxc").unlink()
    with pytest.raises(PhoenixError, match="it is no Proxmox VE node"):
        check(fake.node, [Needs(960, "leaf", storage="local-zfs", gpus=[7])])
