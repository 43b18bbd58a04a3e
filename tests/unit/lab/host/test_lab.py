# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import LabError
from lab.host.lab import Lab
from lab.host.settings import Wanted, recorded

INVENTORY = Path(__file__).resolve().parents[4] / "inventories/lab"


@pytest.mark.parametrize(
    ("name", "subnet", "reason"),
    [
        ("Lab", "10.99.0.0/24", "--name 'Lab' is no name for a lab"),
        ("1", "10.99.0.0/24", "--name '1' is no name for a lab"),
        ("../x", "10.99.0.0/24", "--name '../x' is no name for a lab"),
        ("a" * 21, "10.99.0.0/24", f"--name '{'a' * 21}' is no name for a lab"),
        ("lab", "10.99.0.1/24", "--subnet '10.99.0.1/24': 10.99.0.1/24 has host bits set"),
        ("lab", "10.99.0.0/16", "--subnet 10.99.0.0/16 is no private /24 network"),
        ("lab", "127.0.0.0/24", "--subnet 127.0.0.0/24 is no private /24 network"),
        ("lab", "169.254.3.0/24", "--subnet 169.254.3.0/24 is no private /24 network"),
        ("lab", "240.0.0.0/24", "--subnet 240.0.0.0/24 is no private /24 network"),
        ("lab", "8.8.8.0/24", "--subnet 8.8.8.0/24 is no private /24 network"),
        ("lab", "fd00::/64", "--subnet 'fd00::/64': Expected 4 octets in 'fd00::'"),
    ],
)
def test_refused(name: str, subnet: str, reason: str) -> None:
    with pytest.raises(LabError) as caught:
        Lab.named(name, subnet)
    assert caught.value.reason == reason
    assert caught.value.remedy


@given(st.from_regex(r"[a-z][a-z0-9-]{0,19}", fullmatch=True))
def test_every_lab_has_an_interface_that_the_kernel_takes(name: str) -> None:
    assert len(Lab.named(name, "10.99.0.0/24").interface) <= 15


def test_labs_with_long_names_do_not_share_an_interface() -> None:
    names = ("molecule-hierarchy-a", "molecule-hierarchy-b")
    assert len({Lab.named(name, "10.99.0.0/24").interface for name in names}) == 2


def test_nodes() -> None:
    first, second = Lab().nodes(2)
    assert (first.name, first.address, first.hwaddr) == ("pve1", "10.99.0.10", "bc:24:63:00:ff:0a")
    assert (second.name, second.address, second.hwaddr) == ("pve2", "10.99.0.11", "bc:24:63:00:ff:0b")


def test_a_node_that_the_lab_has_not(tmp_path: Path) -> None:
    lab = Lab(state_root=tmp_path)
    with pytest.raises(LabError, match="the lab lab has no node 'pve9'"):
        lab.node("pve9")
    assert lab.node("pve2").address == "10.99.0.11"
    lab.folder.mkdir()
    lab.record.write_text(recorded(lab, Wanted(nodes=1)))
    with pytest.raises(LabError, match=r"the lab lab has no node 'pve2'\. It has pve1"):
        lab.node("pve2")


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "{}", '{"nodes": "many"}', "\0"])
def test_a_record_that_is_none(tmp_path: Path, text: str) -> None:
    lab = Lab(state_root=tmp_path)
    assert lab.settings() is None
    lab.folder.mkdir()
    lab.record.write_text(text)
    assert lab.settings() is None


def test_the_inventory_of_the_checkout_points_at_the_default_lab() -> None:
    lab = Lab()
    address = yaml.safe_load((INVENTORY / "host_vars/pve1/phoenix.yml").read_text())
    assert address["ansible_host"] == lab.node("pve1").address
    for group in ("phoenix_nodes", "phoenix_containers"):
        settings = yaml.safe_load((INVENTORY / f"group_vars/{group}/lab.yml").read_text())
        assert settings["ansible_ssh_private_key_file"] == str(lab.ssh_key)
        assert f"UserKnownHostsFile={lab.known_hosts}" in settings["ansible_ssh_common_args"]
