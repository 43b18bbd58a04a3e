# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._decision import Parent, check_parent, decide
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._lxc_config import encode_text
from ansible_collections.phoenix.hypervisor.plugins.module_utils._recipe import describe, fingerprint
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import FakeNode

RECIPE = {"features": ["docker"]}
PARENT = Parent(900, "BaseTemplate", "base-snapshot")
OF_PARENT = fingerprint({"features": []})
WANTED = fingerprint(RECIPE, OF_PARENT)


def sealed(name: str, **metadata: str) -> str:
    text = encode_text(describe("sealed", metadata))
    return f"hostname: ct\n\n[{name}]\n" + "".join(f"#{line}\n" for line in text.splitlines()) + "snaptime: 1\n"


@pytest.fixture
def fake(tmp_path: Path) -> FakeNode:
    fake = FakeNode(tmp_path)
    fake.conf(900, sealed("base-snapshot", fingerprint=OF_PARENT))
    return fake


def test_a_bare_node(tmp_path: Path) -> None:
    found = decide(None, "docker-snapshot", RECIPE, PARENT, None)
    assert (found.exists, found.running, found.prepared, found.stale) == (False, False, False, "")
    assert not found.parent_sealed
    assert decide(None, "base-snapshot", RECIPE, None, None).parent_sealed
    assert found.metadata == {"fingerprint": fingerprint(RECIPE), "parent": ""}


@pytest.mark.parametrize(
    ("conf", "prepared", "stale"),
    [
        ("hostname: ct\n", False, ""),
        (sealed("docker-gpu-snapshot", fingerprint=WANTED, parent=OF_PARENT), False, ""),
        (sealed("docker-snapshot", fingerprint=WANTED, parent=OF_PARENT), True, ""),
        (sealed("docker-snapshot"), True, ""),
        (sealed("docker-snapshot", fingerprint="0" * 16, parent=OF_PARENT), True,
         "the configuration asks for something else now"),
        (sealed("docker-snapshot", fingerprint=WANTED, parent="0" * 16), True, "its parent was sealed anew since"),
    ],
    ids=["no snapshot", "another's name ends alike", "as asked for", "by hand", "other recipe", "other parent"],
)  # fmt: skip
def test_a_layer(fake: FakeNode, conf: str, prepared: bool, stale: str) -> None:
    fake.conf(902, conf)
    found = decide(fake.node.guest(902), "docker-snapshot", RECIPE, PARENT, fake.node.guest(900))
    assert (found.exists, found.prepared, found.stale) == (True, prepared, stale)
    assert found.parent_sealed
    assert found.metadata == {"fingerprint": WANTED, "parent": OF_PARENT}


def incomplete(conf: str, state: str) -> str:
    return f"{conf}snapstate: {state}\n"


@pytest.mark.parametrize("state", ["prepare", "delete"])
def test_a_layer_whose_snapshot_is_incomplete(fake: FakeNode, state: str) -> None:
    """pct-transcripts 4: PVE neither goes back to it nor takes another of its name, and clones are refused."""
    fake.conf(902, incomplete(sealed("docker-snapshot", fingerprint=WANTED, parent=OF_PARENT), state))
    with pytest.raises(PhoenixError) as caught:
        decide(fake.node.guest(902), "docker-snapshot", RECIPE, PARENT, fake.node.guest(900))
    assert str(caught.value) == (
        f"snapshot 'docker-snapshot' of container 902 is incomplete (snapstate: {state}): a task on it was cut short. "
        "Delete it (`pct delsnapshot 902 docker-snapshot --force 1`), then run again."
    )
    assert caught.value.code is Code.SNAPSHOT
    assert not decide(fake.node.guest(902), "other-snapshot", RECIPE, PARENT, fake.node.guest(900)).prepared
    assert not decide(fake.node.guest(902), "", RECIPE, PARENT, fake.node.guest(900)).prepared


def test_a_layer_that_may_be_sealed_right_now(fake: FakeNode) -> None:
    fake.conf(902, incomplete(f"lock: snapshot\n{sealed('docker-snapshot')}", "prepare"))
    with pytest.raises(PhoenixError) as caught:
        decide(fake.node.guest(902), "docker-snapshot", RECIPE, PARENT, fake.node.guest(900))
    assert str(caught.value) == (
        "snapshot 'docker-snapshot' of container 902 is incomplete (snapstate: prepare), and the container is locked "
        "(snapshot): a task on it is at work or was cut short. Wait for that task, and run again. If there is none, "
        "run `pct unlock 902`, delete the snapshot (`pct delsnapshot 902 docker-snapshot --force 1`), and run again."
    )


@pytest.mark.parametrize(
    "conf",
    [None, "hostname: ct\n", incomplete(sealed("base-snapshot", fingerprint="1" * 16), "prepare")],
    ids=["missing", "not sealed", "incomplete"],
)
def test_what_the_parent_is_going_to_be_makes_nothing_stale(tmp_path: Path, conf: str | None) -> None:
    """Whoever rebuilds what is stale would remove what cannot be cloned."""
    fake = FakeNode(tmp_path)
    if conf:
        fake.conf(900, conf)
    fake.conf(902, sealed("docker-snapshot", fingerprint=WANTED, parent=OF_PARENT))
    layer, source = fake.node.guest(902), fake.node.guest(900)
    found = decide(layer, "docker-snapshot", RECIPE, PARENT, source)
    assert (found.prepared, found.stale, found.parent_sealed) == (True, "", False)
    assert found.metadata == {"fingerprint": WANTED, "parent": OF_PARENT}
    other = decide(layer, "docker-snapshot", {"features": ["vllm"]}, PARENT, source)
    assert other.stale == "the configuration asks for something else now"
    new = decide(None, "docker-snapshot", RECIPE, PARENT, source)
    assert (new.parent_sealed, new.metadata) == (False, {"fingerprint": fingerprint(RECIPE), "parent": ""})


def test_a_parent_whose_snapshot_is_incomplete(fake: FakeNode) -> None:
    fake.conf(900, incomplete(sealed("base-snapshot", fingerprint=OF_PARENT), "prepare"))
    source = fake.node.guest(900)
    with pytest.raises(PhoenixError) as caught:
        check_parent(PARENT, source, expected=False)
    assert str(caught.value) == (
        "snapshot 'base-snapshot' of container 900 is incomplete (snapstate: prepare): a task on it was cut short. "
        "Delete it (`pct delsnapshot 900 base-snapshot --force 1`), then run again."
    )
    assert caught.value.code is Code.SNAPSHOT
    check_parent(PARENT, source, expected=True)


def test_an_application_is_never_prepared(fake: FakeNode) -> None:
    fake.conf(950, sealed("before-upgrade"))
    found = decide(fake.node.guest(950), "", RECIPE, PARENT, fake.node.guest(900))
    assert (found.exists, found.prepared) == (True, False)


def test_the_metadata_of_a_snapshot_is_json(fake: FakeNode) -> None:
    found = decide(None, "docker-snapshot", RECIPE, PARENT, fake.node.guest(900))
    assert json.loads(json.dumps(found.metadata)) == found.metadata


@pytest.mark.parametrize(
    ("conf", "reason", "code"),
    [
        (None, "the layer 900 (BaseTemplate) that this container is cloned from does not exist", 3),
        (
            "hostname: ct\n",
            "the layer 900 (BaseTemplate) that this container is cloned from has no snapshot base-snapshot",
            5,
        ),
    ],
    ids=["missing", "not sealed"],
)
def test_a_parent_that_cannot_be_cloned(tmp_path: Path, conf: str | None, reason: str, code: int) -> None:
    fake = FakeNode(tmp_path)
    if conf:
        fake.conf(900, conf)
    source = fake.node.guest(900)
    with pytest.raises(PhoenixError) as caught:
        check_parent(PARENT, source, expected=False)
    result = caught.value.as_result()
    assert (result["reason"], result["code"]) == (reason, code)
    assert result["remedy"] == "Build it first: leave out --limit, or name BaseTemplate there, too."
    check_parent(PARENT, source, expected=True)


def test_a_sealed_parent(fake: FakeNode) -> None:
    check_parent(PARENT, fake.node.guest(900), expected=False)
