# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._package_groups import (
    Group,
    Offer,
    Package,
    PackageGroups,
    check_actions,
    choose,
    matches,
    parse_installed,
    parse_offers,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import (
    Call,
    FakeClock,
    FakeRunner,
    failed,
    ok,
)

DOCKER = "https://download.docker.com/linux/ubuntu noble/stable amd64 Packages"
NVIDIA = "https://nvidia.github.io/libnvidia-container/stable/deb/amd64  Packages"
CUDA = "https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64  Packages"


ENTERPRISE = """\
E: Failed to fetch https://enterprise.proxmox.com/debian/pve/dists/trixie/InRelease  401  Unauthorized [IP: 1.2.3.4 443]
E: The repository 'https://enterprise.proxmox.com/debian/pve trixie InRelease' is not signed.
"""
REFUSED = (
    "https://enterprise.proxmox.com/debian/pve (/etc/apt/sources.list.d/pve-enterprise.sources) answers 401 "
    "Unauthorized"
)
SUBSCRIBE = (
    "That is a repository for nodes with a subscription: write `Enabled: no` into "
    "/etc/apt/sources.list.d/pve-enterprise.sources and have the one without subscription instead, or register the "
    "node's key (`pvesubscription set KEY`)."
)


class Apt:
    """dpkg and apt of a container: what the sources have, what is installed, what is held."""

    def __init__(self, offers: dict[str, list[tuple[str, str]]], installed: dict[str, tuple[str, str]]) -> None:
        self.offers, self.installed = dict(offers), installed
        self.updated = False
        self.dry_run: str | Completed = ""
        self.update_answers: list[Completed] = []
        self.install_answer: Completed | None = None
        self.runner = FakeRunner(
            {
                "dpkg-query": self._query,
                "apt-cache madison": self._madison,
                "apt-get -s": lambda _call: self.dry_run,
                "apt-get -y": self._get,
                "apt-mark hold": self._hold,
            }
        )

    def _query(self, call: Call) -> Completed:
        rows = [f"{n}\t{v}\t{s}\n" for n, (v, s) in self.installed.items() if n in call.argv]
        return failed("dpkg-query: no packages found matching something\n", rc=1, stdout="".join(rows))

    def _madison(self, call: Call) -> str:
        rows = [f"{n} | {v} | {s}\n" for n in call.argv[2:] for v, s in self.offers.get(n, []) if self.updated]
        return "".join(rows)

    def _get(self, call: Call) -> str | Completed:
        if "update" in call.argv:
            self.updated = True
            return self.update_answers.pop(0) if self.update_answers else ""
        if self.install_answer:
            return self.install_answer
        for word in call.argv[call.argv.index("install") :]:
            name, _equals, version = word.partition("=")
            if name in self.offers:
                self.installed[name] = (version or self.offers[name][0][0], "ii ")
        return ""

    def _hold(self, call: Call) -> str:
        for name in call.argv[2:]:
            self.installed[name] = (self.installed[name][0], "hi ")
        return ""


def both(*versions: str) -> list[tuple[str, str]]:
    return [(version, DOCKER) for version in versions]


ENGINE = Group(("docker-ce", "docker-ce-cli"), origin="download.docker.com")
OFFERS = {
    "docker-ce": both("5:29.0.1-1~noble", "5:28.5.10-1~noble", "5:28.5.1-1~noble"),
    "docker-ce-cli": both("5:29.0.1-1~noble", "5:28.5.10-1~noble", "5:28.5.1-1~noble"),
    "jq": [("1.7", "http://archive.ubuntu.com/ubuntu noble/main amd64 Packages")],
}


def run(apt: Apt, *present: str, held: t.Sequence[Group] = (), **options: t.Any) -> dict[str, t.Any]:
    return PackageGroups(present, held, runner=apt.runner, **options).run()


def test_installed_and_held() -> None:
    output = "jq\t1.7\tii \ndocker-ce\t5:28\thi \nvim\t9\trc \nhalf\t1\tiU \nbroken\t1\tiFR\n"
    assert parse_installed(output) == {"jq": Package("1.7"), "docker-ce": Package("5:28", True)}


def test_offers() -> None:
    text = f" docker-ce | 5:29 | {DOCKER}\n docker-ce | 5:28 | {DOCKER}\n docker-ce | 5:28 | x noble Sources\nN: what\n"
    assert parse_offers(text) == {"docker-ce": [Offer("5:29", DOCKER), Offer("5:28", DOCKER)]}


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("5:28.5.1-1~noble", "", True),
        ("5:28.5.1-1~noble", "28.5.1", True),
        ("5:28.5.1-1~noble", "5:28.5.1-1~noble", True),
        ("5:28.5.1-1~noble", "28", True),
        ("5:28.5.10-1~noble", "28.5.1", False),
        ("5:28.5.1-1~noble", "8.5.1", False),
        ("1.18.1-1", "1.18.1", True),
        ("1x18", "1.18", False),
    ],
)
def test_a_beginning_names_a_version(version: str, wanted: str, fits: bool) -> None:
    assert matches(version, wanted) is fits


def test_the_newest_is_installed_once_and_held() -> None:
    apt = Apt(OFFERS, {})
    result = run(apt, "jq", held=[ENGINE])
    assert result["changed"]
    assert result["packages"] == {"docker-ce": "5:29.0.1-1~noble", "docker-ce-cli": "5:29.0.1-1~noble", "jq": "1.7"}
    assert result["diff"]["before"] == ""
    assert result["diff"]["after"] == "docker-ce 5:29.0.1-1~noble held\ndocker-ce-cli 5:29.0.1-1~noble held\njq 1.7\n"
    (install,) = [line for line in apt.runner.commands if line.startswith("apt-get -y") and " install " in line]
    for word in ("--force-confold", "--force-confdef", "DPkg::Lock::Timeout=", "--no-install-recommends"):
        assert word in install
    assert result["commands"][-1] == "apt-mark hold docker-ce docker-ce-cli"

    apt.runner.calls.clear()
    apt.offers["docker-ce"] = apt.offers["docker-ce-cli"] = both("5:30-1~noble", "5:29.0.1-1~noble")
    assert not run(apt, "jq", held=[ENGINE])["changed"]
    assert [line.split()[0] for line in apt.runner.commands] == ["dpkg-query"]


def test_nothing_asked_for() -> None:
    apt = Apt({}, {})
    assert not run(apt)["changed"]
    assert apt.runner.commands == []


def test_check_mode_predicts() -> None:
    apt = Apt(OFFERS, {})
    apt.updated = True
    result = run(apt, "jq", held=[ENGINE], check_mode=True)
    assert result["changed"]
    assert result["diff"]["after"] == "docker-ce 5:29.0.1-1~noble held\ndocker-ce-cli 5:29.0.1-1~noble held\njq 1.7\n"
    assert (result["commands"], apt.installed) == ([], {})


def test_check_mode_before_there_are_package_lists() -> None:
    apt = Apt(OFFERS, {})
    group = Group(("docker-ce", "docker-ce-cli"), version="28.5.1")
    result = run(apt, "jq", held=[group], check_mode=True)
    assert result["diff"]["after"] == "docker-ce 28.5.1 held\ndocker-ce-cli 28.5.1 held\njq newest\n"
    assert [line for line in apt.runner.commands if "apt-get" in line] == []


def test_only_the_hold_is_missing() -> None:
    apt = Apt({}, {"docker-ce": ("5:28", "ii "), "docker-ce-cli": ("5:28", "hi ")})
    result = run(apt, held=[ENGINE])
    assert (result["changed"], result["commands"]) == (True, ["apt-mark hold docker-ce"])


def test_a_version_named_later_replaces_the_held_one() -> None:
    apt = Apt(OFFERS, {"docker-ce": ("5:29.0.1-1~noble", "hi "), "docker-ce-cli": ("5:29.0.1-1~noble", "hi ")})
    result = run(apt, held=[Group(ENGINE.packages, "28.5.1", ENGINE.origin)])
    assert set(result["packages"].values()) == {"5:28.5.1-1~noble"}
    assert set(apt.installed.values()) == {("5:28.5.1-1~noble", "hi ")}


def test_a_missing_half_gets_the_version_of_the_other() -> None:
    apt = Apt(OFFERS, {"docker-ce": ("5:28.5.1-1~noble", "hi ")})
    assert run(apt, held=[ENGINE])["packages"]["docker-ce-cli"] == "5:28.5.1-1~noble"


def test_halves_of_different_versions_become_one() -> None:
    apt = Apt(OFFERS, {"docker-ce": ("5:28.5.1-1~noble", "hi "), "docker-ce-cli": ("5:29.0.1-1~noble", "hi ")})
    assert set(run(apt, held=[ENGINE])["packages"].values()) == {"5:28.5.1-1~noble"}


def test_the_origin_is_the_one_that_is_named() -> None:
    """14: the CUDA repository has copies of the toolkit."""
    offers = {"tool": [Offer("1.19.0-1", CUDA), Offer("1.18.1-1", NVIDIA)], "lib": [Offer("1.18.1-1", NVIDIA)]}
    assert choose(Group(("tool", "lib"), origin="nvidia.github.io"), {}, offers) == "1.18.1-1"
    assert choose(Group(("tool",)), {}, offers) == "1.19.0-1"
    assert not Offer("1", "https://evil.example/nvidia.github.io/ x Packages").is_from("nvidia.github.io")
    assert Offer("1", "https://me:x@nvidia.github.io:443/ x Packages").is_from("nvidia.github.io")


NEWEST = (
    "version: '27.0' of docker-ce is not in the repository of download.docker.com. Leave it empty for the newest, or "
    "take one of: 5:29.0.1-1~noble, 5:28.5.10-1~noble, 5:28.5.1-1~noble."
)
MISSING = (
    "the package sources{} have no version that fits all of {}. See with `apt-cache madison` in the container what "
    "they offer, and for which distribution."
)


@pytest.mark.parametrize(
    ("group", "said"),
    [
        (Group(("docker-ce",), "27.0", "download.docker.com"), NEWEST),
        (
            Group(("docker-ce", "gone"), "", "download.docker.com"),
            MISSING.format(" of download.docker.com", "docker-ce, gone"),
        ),
        (Group(("gone",), "1"), MISSING.format("", "gone")),
    ],
)
def test_what_the_sources_do_not_have(group: Group, said: str) -> None:
    with pytest.raises(PhoenixError) as error:
        choose(group, {}, parse_offers("".join(f"docker-ce | {v} | {s}\n" for v, s in OFFERS["docker-ce"])))
    assert str(error.value) == said


def test_no_driver_comes_along() -> None:
    """14."""
    apt = Apt(OFFERS, {})
    apt.dry_run = (
        "Inst jq (1.7 Ubuntu)\nInst libnvidia-compute-580:amd64 (580 NVIDIA)\nInst libnvidia-container1 (1.18 NVIDIA)\n"
    )
    with pytest.raises(PhoenixError) as error:
        run(apt, "jq")
    assert error.value.reason == (
        "the installation would bring libnvidia-compute-580, and with it a second NVIDIA driver"
    )
    assert apt.installed == {}


def test_nothing_is_removed_that_was_not_named() -> None:
    check_actions("Remv docker.io [26]\nInst docker-ce (5:28)\n", ["docker.io"])
    with pytest.raises(PhoenixError, match="would remove openssh-server"):
        check_actions("Remv docker.io [26]\nRemv openssh-server [9]\n", ["docker.io"])


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("E: Conflicting values set for option Signed-By regarding source x", "Two files below"),
        ("E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 12", "Another program"),
        ("E: Failed to fetch x  Temporary failure resolving 'archive.ubuntu.com'", "The container resolves no names"),
        ("E: The repository 'x InRelease' is not signed.", "The repository's key is missing"),
        ("E: Unable to locate package cuda-toolkit-12-8", "The CUDA repository does not have this"),
        ("E: Package 'cuda-toolkit-12-8' has no installation candidate", "The CUDA repository does not have this"),
        ("E: dpkg was interrupted, you must manually run", "Run `dpkg --configure -a`"),
        ("E: You don't have enough free space in /var/cache/apt/archives/.", "Make room"),
        ("E: Failed to fetch http://x  Could not connect to x:80", "See that the container reaches"),
        ("E: Unable to locate package jq", "Run the command below"),
        ("something else", "Run the command below"),
        ("", "Run the command below"),
    ],
)
def test_a_failure_names_its_remedy(said: str, remedy: str) -> None:
    apt = Apt(OFFERS, {})
    apt.install_answer = failed(f"{said}\n", rc=100)
    with pytest.raises(PhoenixError) as error:
        run(apt, "jq")
    assert error.value.reason == f"apt-get -y failed: {said or 'exit status 100'}"
    assert error.value.remedy.startswith(remedy)


def test_success_that_is_none() -> None:
    apt = Apt(OFFERS, {})
    apt.install_answer = ok()
    with pytest.raises(PhoenixError, match="reported success, but jq is not installed"):
        run(apt, "jq")


def test_a_group_of_nothing() -> None:
    with pytest.raises(PhoenixError, match="names no packages"):
        Group.of({"packages": []})
    assert Group.of({"packages": ["a"], "version": None, "origin": None}) == Group(("a",))


@pytest.fixture
def enterprise(tmp_path: Path) -> Tree:
    """A fresh node: the enterprise repository, and no subscription."""
    folder = tmp_path / "etc/apt/sources.list.d"
    folder.mkdir(parents=True)
    (folder / "pve-enterprise.sources").write_text("Types: deb\nURIs: https://enterprise.proxmox.com/debian/pve\n")
    return Tree(tmp_path)


def test_a_repository_that_is_not_needed_may_refuse(enterprise: Tree) -> None:
    apt, warnings = Apt(OFFERS, {}), list[str]()
    apt.update_answers = [failed(ENTERPRISE, rc=100)]
    assert run(apt, "jq", tree=enterprise, warn=warnings.append)["packages"] == {"jq": "1.7"}
    assert warnings == [f"apt goes on without a repository: {REFUSED}. {SUBSCRIBE}"]


def test_a_package_of_a_repository_that_refuses(enterprise: Tree) -> None:
    apt, warnings = Apt(OFFERS, {}), list[str]()
    apt.update_answers = [failed(ENTERPRISE, rc=100)]
    apt.dry_run = failed("E: Unable to locate package proxmox-headers-6.17.2-1-pve\n", rc=100)
    with pytest.raises(PhoenixError) as error:
        run(apt, "proxmox-headers-6.17.2-1-pve", tree=enterprise, warn=warnings.append)
    assert error.value.reason == (
        f"apt-get -s failed: E: Unable to locate package proxmox-headers-6.17.2-1-pve; {REFUSED}"
    )
    assert (error.value.remedy, len(warnings)) == (SUBSCRIBE, 1)
    assert apt.installed == {}


def test_a_group_of_a_repository_that_refuses(enterprise: Tree) -> None:
    apt = Apt({}, {})
    apt.update_answers = [failed(ENTERPRISE, rc=100)]
    with pytest.raises(PhoenixError) as error:
        run(apt, held=[Group(("gone",))], tree=enterprise)
    assert error.value.reason == f"the package sources have no version that fits all of gone; {REFUSED}"


def test_a_package_that_only_an_older_list_has(enterprise: Tree) -> None:
    """The subscription ended, and the lists of before are still there."""
    apt = Apt(OFFERS, {})
    apt.install_answer = failed(
        "E: Failed to fetch https://enterprise.proxmox.com/debian/pve/dists/x/jq.deb  401  Unauthorized [IP: ::1 443]\n"
        "E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?\n",
        rc=100,
    )
    with pytest.raises(PhoenixError) as error:
        run(apt, "jq", tree=enterprise)
    assert error.value.reason.endswith(f"; {REFUSED}")
    assert error.value.remedy == SUBSCRIBE


def test_lists_that_are_not_what_they_could_be_are_a_failure(enterprise: Tree) -> None:
    apt = Apt(OFFERS, {})
    down = "E: Failed to fetch http://archive.ubuntu.com/ubuntu/dists/noble/InRelease  502  Bad Gateway\n"
    apt.update_answers = [failed(ENTERPRISE + down, rc=100)]
    with pytest.raises(PhoenixError, match="502  Bad Gateway") as error:
        run(apt, "jq", tree=enterprise)
    assert error.value.remedy.startswith("See that the container reaches the repository")
    assert apt.installed == {}


def test_what_passes_by_itself_is_waited_for() -> None:
    """16."""
    apt, clock = Apt(OFFERS, {}), FakeClock()
    lock = failed("E: Could not get lock /var/lib/apt/lists/lock. It is held by process 12\n", rc=100)
    apt.update_answers = [lock, failed("E: Failed to fetch x  Temporary failure resolving 'x'\n", rc=100)]
    assert run(apt, "jq", clock=clock)["changed"]
    assert clock.slept == [3, 3]
