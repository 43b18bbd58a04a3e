# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The inside of a simulated container, as the recordings show the real one (pct-transcripts 3, 6 and 7).

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab.pve.simulated import STATE, SimulatedSystem
from lab.pve.simulated_inside import OWNERS

ATTACH = """
import json, sys
from pathlib import Path
from lab.pve.simulated_inside import attach
root, command, keep = json.loads(sys.argv[1])
sys.exit(attach(Path(root), 100, Path(root, "vol"), command, keep))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    SimulatedSystem(tmp_path).prepare("")
    state = tmp_path / STATE
    (state / "100.json").write_text(json.dumps({"pid": 7, "config": "lxc.uts.name = base\n"}), encoding="ascii")
    (state / "100.dev").mkdir()
    (state / "100.dev/nvidia0").write_text("fake-device c 195 0 0666\n", encoding="ascii")
    (state / "100.dev/nvidiactl").write_text("fake-device c 195 255 0660 65534 65534\n", encoding="ascii")
    (tmp_path / "vol/root").mkdir(parents=True)
    (tmp_path / "vol/etc").mkdir()
    (tmp_path / "vol/etc/hostname").write_text("base\n", encoding="ascii")
    (tmp_path / "vol/etc/hostname").chmod(0o644)
    return tmp_path


def run(root: Path, *command: str, keep: bool = True, given: str = "") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", ATTACH, json.dumps([str(root), command, keep])],
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.replace(str(root / "vol"), ""), done.stderr


@pytest.mark.parametrize(
    ("command", "code"), [("exit 0", 0), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
)
def test_exit_codes_pass_through(root: Path, command: str, code: int) -> None:
    assert run(root, "sh", "-c", command) == (code, "", "")


@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [("nosuchcmd", 127, "No such file or directory"), ("/etc/hostname", 126, "Permission denied")],
)
def test_what_cannot_be_run(root: Path, command: str, code: int, reason: str) -> None:
    text = f"lxc-attach: 100: ../src/lxc/attach.c: lxc_attach_run_command: 1845 {reason} - Failed to exec"
    assert run(root, command) == (code, "", f'{text} "{command}"\n')


def test_files_are_those_of_the_root_volume(root: Path) -> None:
    assert run(root, "cat", "/etc/hostname") == (0, "base\n", "")
    assert run(root, "sh", "-c", "cat > /root/bin; cat /root/bin", given="a\n") == (0, "a\n", "")
    assert (root / "vol/root/bin").read_text() == "a\n"


def test_words_are_not_expanded(root: Path) -> None:
    assert run(root, "echo", "$HOME", "*", "a b", "") == (0, "$HOME * a b \n", "")


def test_without_the_environment_there_are_three_variables(root: Path) -> None:
    code, stdout, _ = run(root, "env", keep=False)
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert (code, sorted(stdout.splitlines())) == (0, sorted([path, "container=lxc", "TERM=linux"]))


def test_the_host_name_is_that_of_the_start(root: Path) -> None:
    assert run(root, "hostname") == (0, "base\n", "")


def test_devices_look_like_devices(root: Path) -> None:
    code, stdout, _ = run(root, "ls", "-la", "/dev/nvidiactl", "/dev/nvidia0")
    first, second = stdout.splitlines()
    assert (code, first.split()[:6], first.split()[-1]) == (
        0,
        ["crw-rw-rw-", "1", "root", "root", "195,", "0"],
        "/dev/nvidia0",
    )
    assert second.split()[:6] == ["crw-rw----", "1", "nobody", "nogroup", "195,", "255"]


def test_what_is_missing_is_named_as_inside(root: Path) -> None:
    assert run(root, "ls", "/dev/gone") == (2, "", "ls: cannot access '/dev/gone': No such file or directory\n")
    assert run(root, "stat", "-c", "%a", "/x") == (1, "", "stat: cannot statx '/x': No such file or directory\n")


def test_owners_are_remembered(root: Path) -> None:
    (root / OWNERS).write_text(json.dumps({"vol/etc/hostname": [65534, 65534]}), encoding="ascii")
    form = "%a %u:%g %U:%G %s %n"
    assert run(root, "stat", "-c", form, "/etc/hostname")[1] == "644 65534:65534 nobody:nogroup 5 /etc/hostname\n"
    assert run(root, "ls", "-l", "/etc/hostname")[1].split()[2:5] == ["nobody", "nogroup", "5"]
