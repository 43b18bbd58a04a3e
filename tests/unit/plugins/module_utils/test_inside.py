# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._inside import Inside
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed, run
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import (
    Call,
    FakeNode,
    FakeRunner,
    failed,
    ok,
)

ATTACH = (
    "lxc-attach -n 100 --clear-env "
    "--set-var PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --set-var LC_ALL=C.UTF-8 --"
)
LATE = PhoenixError("it did not end within 10 s and was stopped", remedy="")


@pytest.fixture
def fake(tmp_path: Path) -> FakeNode:
    node = FakeNode(tmp_path)
    node.run_container(100)
    return node


def test_a_command_runs_with_a_clean_environment(fake: FakeNode) -> None:
    runner = FakeRunner({f"{ATTACH} id -u": "0\n"})
    assert Inside(fake.node, runner).attach(100, ["id", "-u"], timeout=7).stdout == "0\n"
    assert runner.commands == [f"{ATTACH} id -u"]
    assert runner.calls[0].timeout == 7


def test_looking_inside_needs_nothing_more_than_root(fake: FakeNode) -> None:
    Inside(fake.node, FakeRunner()).check_inside()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ok("running\n"), "running"),
        (failed("", 1, "degraded\n"), "degraded"),
        (failed("Failed to connect to bus: No such file or directory\n", 1), ""),
        (LATE, ""),
    ],
)
def test_what_systemd_says_of_itself(fake: FakeNode, answer: Completed | Exception, said: str) -> None:
    runner = FakeRunner({f"{ATTACH} systemctl is-system-running": answer})
    assert Inside(fake.node, runner).booted(100) == said


def test_addresses_are_read_without_a_command(fake: FakeNode) -> None:
    fake.address(100, "10.10.10.100")
    assert Inside(fake.node, FakeRunner()).addresses(100) == ["10.10.10.100"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("etc/apt/sources.list", "# deb http://old.example/\ndeb [signed-by=/k] http://mirror.example:8080/debian x\n"),
        ("etc/apt/sources.list.d/a.list", "deb https://mirror.example/debian x main\n"),
        ("etc/apt/sources.list.d/a.sources", "Types: deb\nURIs: https://mirror.example/debian\n"),
        (
            "etc/apt/sources.list.d/a.list",
            "deb [signed-by=/x] https://user:pw@mirror.example:8443/debian trixie main\n",
        ),
    ],
)
def test_names_are_resolved_for_the_first_package_source(fake: FakeNode, path: str, text: str) -> None:
    fake.inside(100, path, text)
    runner = FakeRunner({f"{ATTACH} getent ahosts mirror.example": "10.0.0.1 STREAM mirror.example\n"})
    assert Inside(fake.node, runner).resolves(100)
    assert len(runner.calls) == 1


def test_behind_a_proxy_there_is_nothing_to_resolve(fake: FakeNode) -> None:
    fake.inside(100, "etc/apt/sources.list", "deb http://mirror.example/debian x\n")
    fake.inside(100, "etc/apt/apt.conf.d/01proxy", 'Acquire::http::Proxy "http://10.0.0.1:3142";\n')
    assert Inside(fake.node, FakeRunner()).resolves(100)


@pytest.mark.parametrize("answer", [failed("", 2), LATE], ids=["unknown", "no-answer"])
def test_names_that_cannot_be_resolved_yet(fake: FakeNode, answer: Completed | Exception) -> None:
    fake.inside(100, "etc/apt/sources.list", "deb http://mirror.example/debian x\n")
    assert not Inside(fake.node, FakeRunner({f"{ATTACH} getent": answer})).resolves(100)


@pytest.mark.parametrize("text", ["", "deb file:///srv/mirror x\n"])
def test_without_a_remote_package_source_there_is_nothing_to_resolve(fake: FakeNode, text: str) -> None:
    fake.inside(100, "etc/apt/sources.list", text)
    assert Inside(fake.node, FakeRunner()).resolves(100)


def test_a_link_of_the_container_leads_to_the_containers_file(fake: FakeNode) -> None:
    fake.inside(100, "srv/sources", "deb http://mirror.example/debian x\n")
    fake.write("srv/sources", "deb http://the-nodes.example/debian x\n")
    link = fake.inside(100, "etc/apt/sources.list", "")
    link.unlink()
    link.symlink_to("/srv/sources")
    fake.inside(100, "etc/apt/sources.list.d/nothing.list", "").unlink()
    (link.parent / "sources.list.d/nothing.list").symlink_to("/nowhere")
    runner = FakeRunner({f"{ATTACH} getent ahosts mirror.example": "10.0.0.1 STREAM mirror.example\n"})
    assert Inside(fake.node, runner).resolves(100)


def test_a_stopped_container_has_no_package_source(fake: FakeNode) -> None:
    fake.stop_container(100)
    assert Inside(fake.node, FakeRunner()).resolves(100)


# push


def _arrives(call: Call) -> Completed:
    return ok(f"{hashlib.sha256(call.stdin or b'').hexdigest()}  -\n")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "NVIDIA driver.run"
    path.write_bytes(b"\x00\xff" * 70000)
    return path


def test_a_file_is_streamed_in_and_its_checksum_compared(fake: FakeNode, source: Path) -> None:
    runner = FakeRunner({f"{ATTACH} sh -c": _arrives})
    Inside(fake.node, runner).push(100, source, "/root/a file.run", mode="0755", timeout=60)
    (call,) = runner.calls
    assert call.stdin == source.read_bytes()
    assert call.argv[-3:] == ("sh", "/root/a file.run", "0755")
    assert call.timeout == 60


def test_a_truncated_copy_is_an_error(fake: FakeNode, source: Path) -> None:
    # pct-transcripts 7: 8 MiB of 64 arrived on a full disk, and pct push said nothing and returned 0.
    short = hashlib.sha256(source.read_bytes()[:100]).hexdigest()
    whole = hashlib.sha256(source.read_bytes()).hexdigest()
    runner = FakeRunner({f"{ATTACH} sh -c": f"{short}  -\n"})
    with pytest.raises(PhoenixError) as caught:
        Inside(fake.node, runner).push(100, source, "/mnt/r")
    assert caught.value.reason == (
        f"NVIDIA driver.run did not arrive in container 100 as /mnt/r: its SHA-256 there is {short}, not {whole}"
    )


@pytest.mark.parametrize(
    "stderr",
    [
        # pct-transcripts 7: a missing directory, a directory as destination; 6: a stopped container.
        "sh: 1: cannot create /nodir/f: Directory nonexistent",
        "sh: 1: cannot create /root/: Is a directory",
        "lxc-attach: 101: ../src/lxc/attach.c: get_attach_context: 406 Connection refused - Failed to get init pid",
    ],
)
def test_a_copy_that_failed_says_why(fake: FakeNode, source: Path, stderr: str) -> None:
    runner = FakeRunner({f"{ATTACH} sh -c": failed(f"{stderr}\n", 1)})
    with pytest.raises(PhoenixError) as caught:
        Inside(fake.node, runner).push(100, source, "/x")
    assert caught.value.reason == f"NVIDIA driver.run did not arrive in container 100 as /x: {stderr}"
    assert "df -h" in caught.value.remedy


def test_the_script_inside_does_what_it_says(fake: FakeNode, source: Path, tmp_path: Path) -> None:
    # The very script, run here instead of in a container.
    target = tmp_path / "in side"
    target.write_text("longer than nothing")
    target.chmod(0o600)

    def locally(argv: list[str], **options: object) -> Completed:
        return run(argv[argv.index("--") + 1 :], **options)  # type: ignore[arg-type]

    Inside(fake.node, locally).push(100, source, str(target), mode="0755")
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_mode & 0o7777 == 0o755
    with pytest.raises(PhoenixError, match=r"did not arrive in container 100 as /dev/full: .*No space left on device"):
        Inside(fake.node, locally).push(100, source, "/dev/full")
