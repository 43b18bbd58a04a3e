# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import shutil
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.phoenix.hypervisor.plugins.modules import fleet_inventory

COLLECTION = Path(__file__).parents[4]
EXAMPLE = COLLECTION / "inventories/example"
LXC = "fleet.cfg/phoenix_lxc_configs.json"
HYPERVISOR = "fleet.cfg/phoenix_hypervisor_config.json"


class Home:
    """A copy of the example's JSON files, and the module run on it."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.capsys = capsys
        self.stderr = ""
        shutil.copytree(EXAMPLE / "fleet.cfg", root / "fleet.cfg")

    def run(self, *, failed: bool = False, **arguments: t.Any) -> dict[str, t.Any]:
        paths = {
            "lxc_configs": str(self.root / LXC),
            "hypervisor_config": str(self.root / HYPERVISOR),
            "schemas": str(COLLECTION / "schemas"),
            "destination": str(self.root),
        }
        with patch_module_args({**paths, **arguments}), pytest.raises(SystemExit) as ended:
            fleet_inventory.main()
        assert ended.value.code == int(failed)
        written = self.capsys.readouterr()
        self.stderr = written.err
        result: dict[str, t.Any] = json.loads(written.out)
        return result

    def edit(self, change: t.Callable[[dict[str, t.Any]], object], file: str = LXC) -> None:
        document = json.loads((self.root / file).read_text())
        change(document)
        (self.root / file).write_text(json.dumps(document))

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.root)): path.read_bytes() for path in self.root.rglob("*.yml") if path.is_file()
        }


@pytest.fixture
def home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Home:
    return Home(tmp_path / "home", capsys)


def test_the_shipped_example_is_what_its_json_says(home: Home) -> None:
    result = home.run()
    assert result["changed"]
    assert result["unchanged"] == 0
    assert not result.get("warnings")
    files = {str(path.relative_to(EXAMPLE)): path.read_bytes() for path in EXAMPLE.rglob("*.yml")}
    # The other one is there for settings that no JSON has.
    shipped = {path: content for path, content in files.items() if not path.endswith("/local.yml")}
    assert home.files() == shipped
    assert result["written"] == sorted(shipped)


def test_check_mode_predicts_and_writes_nothing(home: Home) -> None:
    predicted = home.run(_ansible_check_mode=True, _ansible_diff=True)
    assert home.files() == {}
    assert home.run(_ansible_diff=True) == predicted
    again = home.run()
    assert (again["changed"], again["written"], again["removed"]) == (False, [], [])
    assert again["unchanged"] == len(predicted["written"])


def test_a_container_that_left_the_json(home: Home) -> None:
    home.run()
    (home.root / "host_vars/qdrant-lxc/local.yml").write_text("mine: 1\n")
    home.edit(lambda lxc: lxc["lxc_configs"].pop("952"))
    predicted = home.run(_ansible_check_mode=True)
    result = home.run()
    assert (predicted["written"], predicted["removed"]) == (result["written"], result["removed"])
    assert result["removed"] == ["host_vars/qdrant-lxc/phoenix.yml"]
    assert "hosts.yml" in result["written"]
    assert [path.name for path in (home.root / "host_vars/qdrant-lxc").iterdir()] == ["local.yml"]


def test_a_file_of_a_person_stops_everything(home: Home) -> None:
    (home.root / "hosts.yml").write_text("all: {}\n")
    result = home.run(failed=True)
    assert result["files"] == ["hosts.yml"]
    assert list(home.files()) == ["hosts.yml"]


def test_all_problems_at_once(home: Home) -> None:
    def spoil(lxc: dict[str, t.Any]) -> None:
        lxc["lxc_configs"]["903"]["memory_mb"] = "2 GB"
        lxc["lxc_configs"]["950"]["clone_from_template_ctid"] = "921"

    home.edit(spoil)
    result = home.run(failed=True)
    assert [(problem["file"], problem["path"]) for problem in result["problems"]] == [
        ("phoenix_lxc_configs.json", "$.lxc_configs.903.memory_mb"),
        ("phoenix_lxc_configs.json", "$.lxc_configs.950.clone_from_template_ctid"),
    ]
    first, *lines = result["msg"].splitlines()
    assert first == "the fleet has 2 problems, and nothing was written:"
    assert lines[0].startswith("- phoenix_lxc_configs.json: $.lxc_configs.903.memory_mb: ")
    assert result["code"] == 2
    assert home.files() == {}


def test_one_problem(home: Home) -> None:
    home.edit(lambda lxc: lxc["lxc_configs"]["903"].update(cores=0))
    result = home.run(failed=True)
    assert result["reason"] == "the fleet has 1 problem, and nothing was written"
    assert result["msg"].startswith(f"{result['reason']}:\n- ")


def test_warnings_do_not_stop_it(home: Home) -> None:
    home.edit(lambda lxc: lxc["lxc_configs"]["950"].update(vllm_gpu_memory_utilization=0.75))
    home.edit(lambda lxc: lxc["lxc_configs"].update({"951": {**lxc["lxc_configs"]["950"], **SECOND}}))
    result = home.run()
    assert result["changed"]
    # Where Ansible itself was imported before, it shows a module's warnings instead of returning them.
    shown = json.dumps(result.get("warnings")) + " ".join(home.stderr.split())
    assert "GPU 0 of node" in shown


SECOND = {
    "name": "second",
    "mac_address": "52:54:00:67:89:B9",
    "network_config": {"name": "eth0", "bridge": "vmbr0", "ip": "10.0.0.159/24", "gw": "10.0.0.1"},
}


def test_the_files_are_named_as_seen_from_the_inventory(home: Home, tmp_path: Path) -> None:
    home.run(destination=str(tmp_path / "other"))
    head = (tmp_path / "other/hosts.yml").read_text().splitlines()[1]
    assert head == (
        "# From: ../home/fleet.cfg/phoenix_lxc_configs.json, ../home/fleet.cfg/phoenix_hypervisor_config.json"
    )


def test_what_is_returned_is_documented(home: Home) -> None:
    documented = yaml.safe_load(fleet_inventory.RETURN)
    success = home.run().keys()
    home.edit(lambda document: document["lxc_configs"]["903"].update(memory_mb="2 GB"))
    failure = home.run(failed=True)
    everywhere = {"changed", "diff", "failed", "invocation", "msg", "warnings"}
    assert documented.keys() == (success | failure.keys()) - everywhere
    assert documented["problems"]["sample"] == failure["problems"]


def _add_applications(document: dict[str, t.Any], *, up_to: int) -> None:
    containers = document["lxc_configs"]
    for number in range(up_to - len(containers)):
        high, low = divmod(number, 250)
        containers[str(1000 + number)] = {
            **containers["952"],
            "name": f"app-{number}",
            "mac_address": f"52:54:00:01:{high:02X}:{low:02X}",
            "network_config": {
                "name": "eth0",
                "bridge": "vmbr0",
                "ip": f"10.1.{high}.{low + 1}/16",
                "gw": "10.1.255.1",
            },
            "start_at_boot": False,
        }


def test_a_fleet_of_500_containers_is_written(home: Home) -> None:
    home.edit(lambda document: _add_applications(document, up_to=500))
    result = home.run()
    assert sum(path.startswith("host_vars/") for path in result["written"]) == 501
    assert home.run()["changed"] is False
