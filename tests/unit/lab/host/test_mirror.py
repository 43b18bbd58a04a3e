# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import http.server
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.host import mirror

DEB822 = """\
Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"sources.list.d/debian.sources": DEB822}, "http://mirror.example/debian"),
        ({"sources.list": "deb https://mirror.example/debian/ trixie main\n"}, "https://mirror.example/debian"),
        (
            {"sources.list": "deb [signed-by=/k arch=amd64] http://a.example/debian trixie main\n"},
            "http://a.example/debian",
        ),
    ],
    ids=["deb822", "https", "options"],
)
def test_the_mirror_of_the_machine(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert mirror.machine_mirror(tmp_path) == expected


# The head of a file of python-apt-common.
INFO = """\
ChangelogURI: https://changes.example/changelogs/%s

Suite: {series}
RepositoryType: deb
BaseURI: https://first.example/debian/
MirrorsFile: Debian.mirrors

Suite: {series}/updates
BaseURI: https://second.example/debian-security/
"""


@pytest.mark.parametrize(
    "files",
    [
        {"sources.list": "# deb http://old.example/debian sid main\n"},
        {"sources.list.d/ubuntu.sources": "URIs: http://archive.example/ubuntu\n"},
        {"sources.list.d/debian.sources": "URIs: mirror+file:///etc/apt/mirrors/debian.list\n"},
        {"sources.list.d/x.list.save": "deb http://saved.example/debian sid main\n"},
        {},
    ],
    ids=["comment", "ubuntu", "list of mirrors", "not read by apt", "nothing"],
)
def test_a_machine_without_a_debian_mirror(tmp_path: Path, files: dict[str, str]) -> None:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    info = tmp_path / "Debian.info"
    assert mirror.to_be_installed(tmp_path, None, info) == ["ca-certificates", "python-apt-common"]
    with pytest.raises(LabError) as caught:
        mirror.machine_mirror(tmp_path, info=info)
    assert str(caught.value) == (
        "apt on this machine knows no Debian mirror, and the lab's images are Debian's. "
        "Name one: PHOENIX_LAB_MIRROR=http://…/debian"
    )
    info.write_text(INFO)
    assert mirror.to_be_installed(tmp_path, None, info) == []
    assert mirror.machine_mirror(tmp_path, info=info) == "https://first.example/debian"


def test_a_machine_with_a_mirror_needs_nothing_to_find_one(tmp_path: Path) -> None:
    info = tmp_path / "Debian.info"
    assert mirror.to_be_installed(tmp_path, "http://named.example/debian", info) == []
    (tmp_path / "sources.list").write_text("deb http://mirror.example/debian trixie main\n")
    assert mirror.to_be_installed(tmp_path, None, info) == []


def test_a_mirror_that_is_named_comes_first(tmp_path: Path) -> None:
    assert mirror.machine_mirror(tmp_path, "http://named.example/debian/") == "http://named.example/debian"


@pytest.mark.parametrize("named", ["foo", "ftp://named.example/debian", "http://", "http:///debian"])
def test_a_mirror_that_is_none(tmp_path: Path, named: str) -> None:
    with pytest.raises(LabError) as caught:
        mirror.machine_mirror(tmp_path, named)
    assert str(caught.value) == f"PHOENIX_LAB_MIRROR {named!r} is no address. Give one like http://…/debian"


class Upstream:
    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []
        upstream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                upstream.asked.append(self.path)
                body = upstream.files.get(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write((body or b"")[: upstream.cut])

            def log_message(self, *_: object) -> None:
                pass

        self.cut: int | None = None
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    one = Upstream({"/pool/a_1%2b2.deb": b"package", "/dists/trixie/InRelease": b"first"})
    yield one
    one.close()


def get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=10) as answer:
        body: bytes = answer.read()
    return body


def test_a_package_is_fetched_once_and_an_index_every_time(tmp_path: Path, upstream: Upstream) -> None:
    with mirror.on_loopback(tmp_path, upstream.address) as local:
        assert [get(f"{local}/pool/a_1%2b2.deb") for _ in range(2)] == [b"package"] * 2
        assert get(f"{local}/dists/trixie/InRelease") == b"first"
        upstream.files["/dists/trixie/InRelease"] = b"second"
        assert get(f"{local}/dists/trixie/InRelease") == b"second"
    assert upstream.asked.count("/pool/a_1%2b2.deb") == 1
    assert (tmp_path / "pool/a_1+2.deb").read_bytes() == b"package"


def test_what_was_fetched_is_there_without_a_network(tmp_path: Path, upstream: Upstream) -> None:
    with mirror.on_loopback(tmp_path, upstream.address) as local:
        get(f"{local}/dists/trixie/InRelease")
        upstream.close()
        assert get(f"{local}/dists/trixie/InRelease") == b"first"
        with pytest.raises(urllib.error.HTTPError, match="502"):
            get(f"{local}/pool/a_1%2b2.deb")


def test_what_the_mirror_has_not(tmp_path: Path, upstream: Upstream) -> None:
    with mirror.on_loopback(tmp_path, upstream.address) as local:
        for path in ("/pool/none.deb", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                get(f"{local}{path}")
    assert upstream.asked == ["/pool/none.deb"]


def test_half_a_file_is_none(tmp_path: Path, upstream: Upstream) -> None:
    upstream.cut = 3
    with mirror.on_loopback(tmp_path, upstream.address) as local:
        with pytest.raises(urllib.error.HTTPError, match="502"):
            get(f"{local}/pool/a_1%2b2.deb")
        upstream.cut = None
        assert get(f"{local}/pool/a_1%2b2.deb") == b"package"
    assert [file.name for file in (tmp_path / "pool").iterdir()] == ["a_1+2.deb"]


def test_a_mirror_is_looked_at_before_anything_is_made_from_it(tmp_path: Path, upstream: Upstream) -> None:
    with pytest.raises(LabError, match=rf"the Debian mirror {upstream.address} is not to be had: it has no sid"):
        mirror.check(tmp_path, upstream.address, "sid")
    mirror.check(tmp_path, upstream.address, "trixie")
    upstream.close()
    mirror.check(tmp_path, upstream.address, "trixie")
    with pytest.raises(LabError, match=r"is not to be had: .*Connection refused"):
        mirror.check(tmp_path / "empty", upstream.address, "trixie")
