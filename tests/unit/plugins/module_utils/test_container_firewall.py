# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import stat
import typing as t
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._container_firewall import ContainerFirewall
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import FakeNode

CONF = "arch: amd64\nhostname: qdrant\nnet0: name=eth0,bridge=vmbr0,firewall=1,ip=10.0.0.152/24\n"
RULE = {"type": "in", "action": "ACCEPT", "source": "10.0.0.0/24", "proto": "tcp", "port": "6333", "comment": "LAN"}
LINE = "IN ACCEPT -source 10.0.0.0/24 -p tcp -dport 6333 # phoenix: LAN"
WRITTEN = f"[OPTIONS]\n\nenable: 1\n\n[RULES]\n\n{LINE}\n"
FILE = "etc/pve/firewall/952.fw"
LOCK = "etc/pve/priv/lock/firewall-vm-952"


@pytest.fixture
def fake(tmp_path: Path) -> FakeNode:
    node = FakeNode(tmp_path)
    node.conf(952, CONF)
    node.write("etc/pve/firewall/cluster.fw", "[OPTIONS]\nenable: 1\n")
    return node


def asked(fake: FakeNode, *, check: bool = False, **given: t.Any) -> dict[str, t.Any]:
    arguments = {"ctid": 952, "enabled": True, "rules": [RULE], **given}
    return ContainerFirewall(fake.node, **arguments, check_mode=check).run()


def refused(fake: FakeNode, **given: t.Any) -> PhoenixError:
    with pytest.raises(PhoenixError) as failure:
        asked(fake, **given)
    return failure.value


def test_a_file_is_made_and_a_second_run_changes_nothing(fake: FakeNode) -> None:
    (fake.root / "etc/pve/firewall/cluster.fw").unlink()
    (fake.root / "etc/pve/firewall").rmdir()
    first = asked(fake)
    assert fake.text(FILE) == WRITTEN
    assert (first["changed"], first["enabled"], first["rules"]) == (True, True, [LINE])
    assert first["diff"] == {
        "before_header": "/etc/pve/firewall/952.fw",
        "after_header": "/etc/pve/firewall/952.fw",
        "before": "",
        "after": WRITTEN,
    }
    second = asked(fake)
    assert not second["changed"]
    assert second["diff"]["before"] == second["diff"]["after"] == WRITTEN


def test_check_mode_predicts_and_writes_nothing(fake: FakeNode) -> None:
    predicted = asked(fake, check=True)
    assert not (fake.root / FILE).exists()
    assert not (fake.root / "etc/pve/priv").exists()
    assert predicted == asked(fake)


def test_without_a_wish_there_is_no_file(fake: FakeNode) -> None:
    assert not asked(fake, enabled=False, rules=[])["changed"]
    assert not (fake.root / FILE).exists()


def test_rules_are_taken_back(fake: FakeNode) -> None:
    fake.write(FILE, f"[OPTIONS]\nenable: 1\npolicy_in: DROP\n[RULES]\n{LINE}\nIN DROP # mine\n")
    assert asked(fake, enabled=False, rules=[])["rules"] == []
    assert fake.text(FILE) == "[OPTIONS]\nenable: 0\npolicy_in: DROP\n[RULES]\nIN DROP # mine\n"


def test_bytes_that_are_no_text_stay(fake: FakeNode) -> None:
    fake.write(FILE, b"# \xff\n[RULES]\nIN DROP # \xe9\n")
    asked(fake, enabled=False)
    written = b"# \xff\n[RULES]\n" + LINE.encode() + b"\nIN DROP # \xe9\n"
    assert (fake.root / FILE).read_bytes() == written


def test_it_is_written_as_pmxcfs_wants_it(fake: FakeNode) -> None:
    fake.write(FILE, "[RULES]\n")
    with (fake.root / FILE).open() as before:
        asked(fake)
        assert before.read() == "[RULES]\n"
    assert stat.S_IMODE((fake.root / FILE).stat().st_mode) & ~0o640 == 0
    assert sorted(os.listdir(fake.root / "etc/pve/firewall")) == ["952.fw", "cluster.fw"]
    assert os.listdir((fake.root / LOCK).parent) == []


@pytest.mark.parametrize(
    ("given", "reason", "code"),
    [
        ({"ctid": 12}, "ctid: 12 ", Code.INPUT),
        ({"ctid": 953}, "ctid: 953 does not exist on node pve1", Code.NO_CONTAINER),
        ({"rules": [{**RULE, "source": "office"}]}, "rules[0].source: 'office' is neither", Code.INPUT),
        ({"rules": [{**RULE, "proto": "tpc"}]}, "rules[0].proto: 'tpc' is no protocol", Code.INPUT),
    ],
    ids=["ctid", "no container", "alias", "protocol"],
)
def test_what_cannot_be_is_refused_and_nothing_written(
    fake: FakeNode, given: dict[str, t.Any], reason: str, code: Code
) -> None:
    fake.write("etc/protocols", "tcp 6 TCP\n")
    failure = refused(fake, **given)
    assert reason in failure.reason
    assert failure.code == code
    assert not (fake.root / FILE).exists()


def test_aliases_of_the_datacenter_are_known(fake: FakeNode) -> None:
    fake.write("etc/pve/firewall/cluster.fw", "[OPTIONS]\nenable: 1\n[ALIASES]\noffice 10.0.0.0/24\n")
    assert asked(fake, rules=[{**RULE, "source": "office"}])["rules"] == [LINE.replace("10.0.0.0/24", "office")]


@pytest.mark.parametrize(
    ("datacenter", "conf", "enabled", "warnings"),
    [
        ("[OPTIONS]\nenable: 1\n", CONF, True, []),
        (
            "[OPTIONS]\nenable: 0\n",
            CONF,
            True,
            [
                (
                    "The firewall of the datacenter is off, so the rules of container 952 have no "
                    "effect. Switch it on under "
                    "Datacenter > Firewall > Options once the nodes themselves stay reachable."
                )
            ],
        ),
        (
            "[OPTIONS]\nenable: 1\n",
            CONF.replace(",firewall=1", ""),
            True,
            [
                (
                    "No network interface of container 952 has firewall=1, so its rules have no effect. "
                    "Set firewall: true "
                    "for the interfaces that have to be filtered."
                )
            ],
        ),
        ("", CONF.replace(",firewall=1", ""), False, []),
    ],
    ids=["on", "datacenter off", "no interface", "not asked for"],
)
def test_warnings(fake: FakeNode, datacenter: str, conf: str, enabled: bool, warnings: list[str]) -> None:
    fake.write("etc/pve/firewall/cluster.fw", datacenter)
    fake.conf(952, conf)
    assert asked(fake, enabled=enabled, check=True)["warnings"] == warnings
    assert asked(fake, enabled=enabled)["warnings"] == warnings
    # Whoever has read it once, and left it so, need not read it every day.
    assert asked(fake, enabled=enabled)["warnings"] == []


def test_a_node_without_quorum_is_refused(fake: FakeNode) -> None:
    fake.read_only()
    assert "the node has no quorum" in refused(fake).reason
    assert "the node has no quorum" in refused(fake, check=True).reason


def test_the_lock_of_pve_is_waited_for(fake: FakeNode) -> None:
    lock = fake.root / LOCK
    lock.mkdir(parents=True)
    fake.clock.at(3, lock.rmdir)
    assert asked(fake)["changed"]
    assert not lock.exists()
    assert fake.clock.slept == [1.0, 1.0, 1.0]


def test_a_lock_that_stays_is_reported_and_kept(fake: FakeNode) -> None:
    lock = fake.root / LOCK
    lock.mkdir(parents=True)
    failure = refused(fake)
    assert str(failure) == (
        f"{lock} is held by another process for more than 10 s. Wait until somebody has finished with the container's "
        "firewall, then run again."
    )
    assert lock.exists()
    assert lock.stat().st_mtime == 0, "pmxcfs is not asked to look whether the owner lives"
    assert not (fake.root / FILE).exists()


def test_a_change_of_somebody_else_is_not_overwritten(fake: FakeNode) -> None:
    lock = fake.root / LOCK
    lock.mkdir(parents=True)

    def somebody_saves() -> None:
        fake.write(FILE, "[RULES]\nIN DROP\n")
        lock.rmdir()

    fake.clock.at(1, somebody_saves)
    assert refused(fake).reason == "952.fw was changed by somebody else while this run decided what to write"
    assert fake.text(FILE) == "[RULES]\nIN DROP\n"
    assert not lock.exists()


@pytest.mark.parametrize("place", [FILE, "etc/pve/firewall/cluster.fw"], ids=["container", "datacenter"])
def test_a_file_that_cannot_be_read(fake: FakeNode, place: str) -> None:
    (fake.root / place).unlink(missing_ok=True)
    (fake.root / place).mkdir()
    assert refused(fake).reason == f"{fake.root / place} cannot be read: Is a directory"


def test_a_lock_that_cannot_be_made(fake: FakeNode) -> None:
    fake.write("etc/pve/priv", "a file in its place")
    assert refused(fake).reason == f"{fake.root / LOCK} could not be written: Not a directory"
    assert not (fake.root / FILE).exists()
