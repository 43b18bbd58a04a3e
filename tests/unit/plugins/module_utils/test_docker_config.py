# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import tempfile
import typing as t
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker_config import (
    DockerConfig,
    merge,
    parse_daemon,
    with_no_cgroups,
    with_nvidia,
    with_settings,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import (
    Call,
    FakeRunner,
    failed,
    full_disk,
)
from hypothesis import given
from hypothesis import strategies as st

PATH = "/etc/docker/daemon.json"

# As nvidia-container-toolkit 1.18 writes it at its installation.
TOOLKIT = """\
#accept-nvidia-visible-devices-envvar-when-unprivileged = true
disable-require = false

[nvidia-container-cli]
environment = []
ldconfig = "@/sbin/ldconfig"
load-kmods = true
#no-cgroups = false
#path = "/usr/bin/nvidia-container-cli"

[nvidia-container-runtime]
log-level = "info"
mode = "auto"
"""

# The names that are merged, and others; deep enough for a value of the wrong kind at each level.
NAMES = st.sampled_from(["runtimes", "nvidia", "path", "features", "cdi", "exec-opts", "default-runtime", "mine"])
VALUES = st.none() | st.booleans() | st.sampled_from(["nvidia", "runc", "native.cgroupdriver=systemd"])
JSON = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '{\n  "debug": true,\n}\n',
            # Python 3.13 found better words, and points at the comma.
            (
                "is no JSON: Expecting property name enclosed in double quotes in line 3, column 1",
                "is no JSON: Illegal trailing comma before end of object in line 2, column 16",
            ),
        ),
        ('{"debug": true', ("is no JSON: Expecting ',' delimiter in line 1, column 15",)),
        ('["debug"]', ("holds no JSON object",)),
        ('{"labels": [], "labels": []}', ("names 'labels' twice",)),
    ],
)
def test_what_is_no_configuration_is_refused_with_its_position(text: str, said: tuple[str, ...]) -> None:
    """33."""
    with pytest.raises(PhoenixError) as error:
        parse_daemon(text, PATH)
    assert str(error.value) in [
        f"{PATH} {each}. Correct the file, or move it away. It was not touched." for each in said
    ]
    assert error.value.code == 2


def test_an_empty_file_has_no_settings() -> None:
    assert parse_daemon(" \n", PATH) == {}


@pytest.mark.parametrize(
    ("current", "wanted", "merged"),
    [
        ({"debug": True}, {"log-driver": "json-file"}, {"debug": True, "log-driver": "json-file"}),
        ({"log-opts": {"max-file": "9", "x": 1}}, {"log-opts": {"max-file": "3"}},
         {"log-opts": {"max-file": "3", "x": 1}}),
        ({"labels": ["a", "b"]}, {"labels": ["b", "c"]}, {"labels": ["a", "b", "c"]}),
        ({"exec-opts": ["native.cgroupdriver=systemd"]}, {"exec-opts": ["native.cgroupdriver=cgroupfs"]},
         {"exec-opts": ["native.cgroupdriver=systemd"]}),
        ({"features": None}, {"features": {"cdi": True}}, {"features": {"cdi": True}}),
    ],
)  # fmt: skip
def test_what_others_wrote_stays(current: dict[str, t.Any], wanted: dict[str, t.Any], merged: dict[str, t.Any]) -> None:
    before = json.dumps(current)
    assert merge(current, wanted) == merged
    assert json.dumps(current) == before


OURS = {"max-size": "50m", "max-file": "3"}
JOURNAL = {"log-driver": "journald"}


@pytest.mark.parametrize(
    ("current", "wanted", "merged"),
    [
        ({}, {"log-opts": OURS}, {"log-opts": OURS}),
        ({"log-driver": None}, {"log-opts": OURS}, {"log-driver": None, "log-opts": OURS}),
        ({"log-driver": "local"}, {"log-opts": OURS}, {"log-driver": "local", "log-opts": OURS}),
        (JOURNAL, {"log-opts": OURS}, JOURNAL),
        (JOURNAL, {"log-opts": {"tag": "x", **OURS}}, {**JOURNAL, "log-opts": {"tag": "x"}}),
        ({**JOURNAL, "log-opts": {}}, {"debug": True}, {**JOURNAL, "log-opts": {}, "debug": True}),
        ({"log-driver": "loki", "log-opts": {"max-size": "9m"}}, {"log-opts": OURS},
         {"log-driver": "loki", "log-opts": {"max-size": "9m"}}),
        ({"log-opts": OURS}, JOURNAL, JOURNAL),
        ({"log-opts": {"tag": "x", **OURS}}, JOURNAL, {**JOURNAL, "log-opts": {"tag": "x"}}),
        ({"log-opts": OURS}, {"log-driver": "local"}, {"log-driver": "local", "log-opts": OURS}),
        ({"log-opts": OURS}, {"log-driver": "loki", "log-opts": {"max-size": "9m"}},
         {"log-driver": "loki", "log-opts": {"max-size": "9m"}}),
        (JOURNAL, {"log-driver": "json-file", "log-opts": OURS}, {"log-driver": "json-file", "log-opts": OURS}),
    ],
)  # fmt: skip
def test_logs_are_rotated_by_drivers_that_keep_files_only(
    current: dict[str, t.Any], wanted: dict[str, t.Any], merged: dict[str, t.Any]
) -> None:
    """Docker does not start with an option that its log driver does not know."""
    assert with_settings(current, wanted) == merged
    assert with_settings(merged, wanted) == merged


def test_log_options_that_are_none_are_refused_as_everything_is() -> None:
    with pytest.raises(PhoenixError, match=r"log-opts of daemon.json is \[\], where"):
        with_settings({"log-opts": []}, {"log-opts": OURS})


@pytest.mark.parametrize(
    ("current", "said"),
    [
        ({"features": {"cdi": {}}}, "features.cdi of daemon.json is {}, where true has to be merged in."),
        ({"features": [True]}, 'features of daemon.json is [true], where {"cdi": true} has to be merged in.'),
        ({"features": "cdi"}, 'features of daemon.json is "cdi", where {"cdi": true} has to be merged in.'),
    ],
)
def test_values_that_cannot_be_merged(current: dict[str, t.Any], said: str) -> None:
    with pytest.raises(PhoenixError) as error:
        merge(current, {"features": {"cdi": True}})
    assert str(error.value) == f"{said} Correct the file. It was not touched."


@given(st.dictionaries(NAMES, JSON, max_size=4))
def test_merging_twice_is_merging_once(current: dict[str, t.Any]) -> None:
    try:
        once = with_nvidia(current)
    except PhoenixError:
        return
    assert with_nvidia(once) == once
    assert {key: value for key, value in once.items() if key not in ("runtimes", "features", "exec-opts")} == {
        key: value
        for key, value in current.items()
        if key not in ("runtimes", "features", "exec-opts") and (key, value) != ("default-runtime", "nvidia")
    }


def test_nvidia_is_registered_but_not_the_default() -> None:
    merged = with_nvidia({"default-runtime": "nvidia", "runtimes": {"kata": {"path": "kata"}}})
    assert merged == {
        "runtimes": {"kata": {"path": "kata"}, "nvidia": {"args": [], "path": "nvidia-container-runtime"}},
        "features": {"cdi": True},
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
    }
    assert with_nvidia({"default-runtime": "kata"})["default-runtime"] == "kata"


@pytest.mark.parametrize(
    ("before", "wanted", "after"),
    [
        (TOOLKIT, False, TOOLKIT),
        (TOOLKIT, True, TOOLKIT.replace("#no-cgroups = false", "no-cgroups = true")),
        (TOOLKIT.replace("#no-cgroups = false", "  no-cgroups = true # mine"), True, None),
        (
            TOOLKIT.replace("#no-cgroups = false", "  no-cgroups = true # mine"),
            False,
            TOOLKIT.replace("#no-cgroups = false", "  no-cgroups = false"),
        ),
        ("[nvidia-container-cli]\n[x]\na = 1\n", True, "[nvidia-container-cli]\nno-cgroups = true\n[x]\na = 1\n"),
        ("", True, "[nvidia-container-cli]\nno-cgroups = true\n"),
        ("", False, ""),
        # Upstream's script wrote it here, where it has no effect.
        ("[nvidia-container-runtime]\nno-cgroups = true\n", True,
         "[nvidia-container-runtime]\nno-cgroups = true\n\n[nvidia-container-cli]\nno-cgroups = true\n"),
        ("[nvidia-container-runtime]\nno-cgroups = true\n", False, None),
    ],
)  # fmt: skip
def test_no_cgroups_lies_where_the_toolkit_reads_it(before: str, wanted: bool, after: str | None) -> None:
    expected = before if after is None else after
    assert with_no_cgroups(before, wanted=wanted) == expected
    assert with_no_cgroups(expected, wanted=wanted) == expected


class Container:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.runner = FakeRunner({"dockerd --validate": "configuration OK\n"})
        self.file("proc/self/uid_map", "         0          0 4294967295\n")
        self.file("etc/nvidia-container-runtime/config.toml", TOOLKIT)

    def file(self, path: str, text: str = "") -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def text(self, path: str) -> str:
        return (self.root / path).read_text()

    def run(
        self, settings: dict[str, t.Any] | None = None, *, nvidia: bool = True, check: bool = False
    ) -> dict[str, t.Any]:
        config = DockerConfig(settings or {}, nvidia=nvidia, check_mode=check, root=self.root, runner=self.runner)
        return config.run()


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


def test_a_fresh_container(container: Container) -> None:
    predicted = container.run({"debug": True}, check=True)
    assert not (container.root / "etc/docker").exists()
    result = container.run({"debug": True})
    assert result == predicted
    assert (result["changed"], result["restart_required"], result["unprivileged"]) == (True, True, False)
    text = container.text("etc/docker/daemon.json")
    assert json.loads(text)["debug"] is True
    assert result["diff"] == [{"before_header": PATH, "after_header": PATH, "before": "", "after": text}]
    assert (container.root / "etc/docker/daemon.json").stat().st_mode & 0o777 == 0o644
    again = container.run({"debug": True})
    assert (again["changed"], again["diff"]) == (False, [])


def test_without_nvidia_and_settings_nothing_is_written(container: Container) -> None:
    assert container.run(nvidia=False) == {
        "changed": False, "unprivileged": False, "restart_required": False, "cdi_stale": False, "diff": [],
    }  # fmt: skip
    assert container.runner.commands == []


def test_the_text_of_others_stays_as_it_is(container: Container) -> None:
    text = '{"debug":true,\n\n"log-level" : "warn"}'
    file = container.file("etc/docker/daemon.json", text)
    file.chmod(0o600)
    assert not container.run({"debug": True}, nvidia=False)["changed"]
    assert file.read_text() == text
    container.run({"debug": False}, nvidia=False)
    assert json.loads(file.read_text()) == {"debug": False, "log-level": "warn"}
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_unprivileged_container(container: Container) -> None:
    """34."""
    container.file("proc/self/uid_map", "         0     100000      65536\n")
    result = container.run()
    assert result["unprivileged"]
    assert "\nno-cgroups = true\n" in container.text("etc/nvidia-container-runtime/config.toml")
    assert len(result["diff"]) == 2
    container.file("proc/self/uid_map", "0 0 4294967295\n")
    again = container.run()
    assert (again["changed"], again["restart_required"]) == (True, False)
    assert "\nno-cgroups = false\n" in container.text("etc/nvidia-container-runtime/config.toml")


def test_a_full_disk_leaves_the_file_as_it_was(container: Container) -> None:
    place = container.file("etc/docker/daemon.json", '{"debug": false}')
    place.chmod(0o600)
    with pytest.raises(OSError, match="File too large") as caught, full_disk():
        container.run({"debug": True}, nvidia=False)
    assert caught.value.filename == tempfile.gettempdir()
    assert place.read_text() == '{"debug": false}'
    container.run({"debug": True}, nvidia=False)
    assert place.stat().st_mode & 0o777 == 0o600


def test_dockerd_has_the_last_word(container: Container) -> None:
    container.runner.on(
        "dockerd --validate", failed("unable to configure the Docker daemon: unknown directive: x\n", rc=1)
    )
    with pytest.raises(PhoenixError, match=r"dockerd refuses the settings .* unknown directive: x"):
        container.run({"x": 1})
    assert not (container.root / "etc/docker/daemon.json").exists()
    container.runner.on("dockerd --validate", failed("dockerd: No such file or directory", rc=127))
    assert container.run({"x": 1})["changed"]


def test_dockerd_sees_what_will_be_written(container: Container) -> None:
    seen = []

    def look(call: Call) -> str:
        seen.append(Path(call.argv[-1].partition("=")[2]).read_text())
        return ""

    container.runner.on("dockerd --validate", look)
    container.run({"debug": True})
    assert seen == [container.text("etc/docker/daemon.json")]


def test_a_dockerd_that_is_older_than_its_configuration(container: Container) -> None:
    """A run that was interrupted before the restart is made good by the next one."""
    container.run()
    assert not container.run()["restart_required"]
    pid = container.file("run/docker.pid", "1")
    os.utime(pid, (1000, 1000))
    result = container.run()
    assert (result["changed"], result["restart_required"]) == (False, True)
    os.utime(container.root / "etc/docker/daemon.json", (900, 900))
    assert not container.run()["restart_required"]


def test_a_stale_cdi_specification(container: Container) -> None:
    spec = "path: /dev/nvidia0\npath: /dev/nvidiactl\nhostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.580.76.05\n"
    assert not container.run()["cdi_stale"]
    container.file("dev/nvidia0")
    container.file("dev/nvidiactl")
    assert not container.run()["cdi_stale"], "there is no driver to make a specification with"
    library = container.file("usr/lib/x86_64-linux-gnu/libcuda.so.580.76.05")
    library.with_name("libcuda.so.1").symlink_to(library.name)
    assert container.run()["cdi_stale"]
    container.file("var/run/cdi/nvidia.yaml", spec)
    assert not container.run()["cdi_stale"]
    assert not container.run(nvidia=False)["cdi_stale"]
    container.file("dev/nvidia1")
    assert container.run()["cdi_stale"]
    container.file("var/run/cdi/nvidia.yaml", spec + "path: /dev/nvidia1\n")
    assert not container.run()["cdi_stale"]
    library.with_name("libcuda.so.1").unlink()
    library.rename(library.with_name("libcuda.so.580.82.07")).with_name("libcuda.so.1").symlink_to(
        "libcuda.so.580.82.07"
    )
    assert container.run()["cdi_stale"]
