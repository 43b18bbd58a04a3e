# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._download import (
    Cache,
    CachedFile,
    Checksum,
    checksum_from,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia import Identity
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Clock
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.nvidia_server import (
    TYPE,
    Answer,
    Handler,
    Server,
    answer,
    serving,
)
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.nvidia_world import VERSION, runfile
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.support import FakeClock

NAME = f"NVIDIA-Linux-x86_64-{VERSION}.run"
DATA = runfile(size=300_000)
DIGEST = hashlib.sha256(DATA).hexdigest()
EXPECTED = Identity(VERSION, "x86_64")
NOTHING = Checksum()


def ranged(data: bytes = DATA, *, etag: str = '"one"') -> Answer:
    """A server that knows ranges, and sends everything when its file is another one by now."""

    def send(handler: Handler) -> None:
        wanted = handler.headers.get("Range", "")
        if wanted and handler.headers.get("If-Range") == etag:
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            place = f"bytes {start}-{len(data) - 1}/{len(data)}"
            answer(data[start:], status=206, headers={"ETag": etag, "Content-Range": place})(handler)
        else:
            answer(data, headers={"ETag": etag})(handler)

    return send


def cut(at: int, *, data: bytes = DATA, headers: dict[str, str] | None = None) -> Answer:
    """An answer that ends before its time."""
    return answer(data[:at], length=len(data), headers={"ETag": '"one"'} if headers is None else headers)


@dataclasses.dataclass
class Bench:
    server: Server
    cache: Cache
    clock: FakeClock

    @property
    def directory(self) -> Path:
        return self.cache.directory

    def fetch(self, url: str, checksum: Checksum = NOTHING, *, timeout: float = 1000) -> CachedFile:
        return self.cache.fetch(url, checksum, EXPECTED, self.clock.deadline(timeout))

    def fails(self, url: str, checksum: Checksum = NOTHING, *, timeout: float = 1000) -> PhoenixError:
        """The failure, after having proven that nothing got its final name."""
        with pytest.raises(PhoenixError) as caught:
            self.fetch(url, checksum, timeout=timeout)
        assert not (self.directory / NAME).exists()
        return caught.value

    @property
    def kept(self) -> set[str]:
        return {path.name for path in self.directory.iterdir() if not path.name.endswith(".lock")}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        yield server


@pytest.fixture
def bench(server: Server, tmp_path: Path) -> Bench:
    return Bench(server, Cache(tmp_path / "cache", stall=0.5), FakeClock())


class TestFetch:
    def test_whole(self, bench: Bench) -> None:
        url = bench.server.gives(answer(DATA))
        file = bench.fetch(url, Checksum(sha256=DIGEST))
        assert file == CachedFile(bench.directory / NAME, DIGEST)
        assert file.path.read_bytes() == DATA
        assert file.path.stat().st_mode & 0o7777 == 0o644
        assert bench.kept == {NAME, f"{NAME}.sha256"}

    def test_second_run_asks_nobody(self, bench: Bench) -> None:
        url = bench.server.gives(answer(DATA))
        first = bench.fetch(url, Checksum(sha256=DIGEST))
        assert bench.fetch(url, Checksum(sha256=DIGEST)) == first
        assert len(bench.server.requests) == 1

    def test_without_length(self, bench: Bench) -> None:
        url = bench.server.gives(answer(DATA, length=-1))
        assert bench.fetch(url).sha256 == DIGEST

    def test_no_sum_is_a_warning(self, bench: Bench) -> None:
        file = bench.fetch(bench.server.gives(answer(DATA)))
        assert file.warnings == (f"{NAME} was checked against no sum: set checksum to be sure of what is installed.",)

    def test_redirect(self, bench: Bench) -> None:
        target = bench.server.gives(answer(DATA), path="/elsewhere")
        url = bench.server.gives(answer(b"", status=302, headers={"Location": target}))
        assert bench.fetch(url).path.name == NAME

    def test_quoted_and_queried_url(self, bench: Bench) -> None:
        url = bench.server.gives(answer(DATA), path=f"/a%20b/{NAME}?token=1")
        assert bench.fetch(url).path == bench.directory / NAME


class TestResume:
    def test_within_one_run(self, bench: Bench) -> None:
        url = bench.server.gives(cut(100_000), ranged())
        assert bench.fetch(url, Checksum(sha256=DIGEST)).path.read_bytes() == DATA
        assert [wanted for _path, wanted in bench.server.requests] == ["", "bytes=100000-"]
        assert bench.clock.slept == [2]

    def test_by_the_next_run(self, bench: Bench) -> None:
        url = bench.server.gives(cut(100_000))
        bench.fails(url, timeout=1)
        bench.server.gives(ranged())
        bench.fetch(url, Checksum(sha256=DIGEST))
        assert bench.server.requests[-1] == (f"/{NAME}", "bytes=100000-")
        assert bench.kept == {NAME, f"{NAME}.sha256"}

    @pytest.mark.parametrize(
        "then",
        [
            pytest.param(answer(DATA), id="server ignores the range"),
            pytest.param(ranged(etag='"two"'), id="another file by now"),
        ],
    )
    def test_from_zero(self, bench: Bench, then: Answer) -> None:
        url = bench.server.gives(cut(100_000, data=runfile(size=300_000)[::-1]), then)
        assert bench.fetch(url, Checksum(sha256=DIGEST)).path.read_bytes() == DATA

    @pytest.mark.parametrize(
        "place", ["bytes 0-299999/300000", "bytes 100000-299999/400000", "bytes */300000", "nonsense"]
    )
    def test_wrong_place(self, bench: Bench, place: str) -> None:
        wrong = answer(DATA[100_000:], status=206, headers={"Content-Range": place})
        url = bench.server.gives(cut(100_000), wrong, answer(DATA))
        assert bench.fetch(url, Checksum(sha256=DIGEST)).path.read_bytes() == DATA
        assert [wanted for _path, wanted in bench.server.requests] == ["", "bytes=100000-", ""]

    def test_range_not_satisfiable(self, bench: Bench) -> None:
        url = bench.server.gives(cut(100_000), answer(b"", status=416), answer(DATA))
        assert bench.fetch(url, Checksum(sha256=DIGEST)).path.read_bytes() == DATA

    @pytest.mark.parametrize(
        "headers",
        [{}, {"ETag": 'W/"weak"'}],
        ids=["nothing to confirm by", "a weak tag"],
    )
    def test_never_without_a_promise(self, bench: Bench, headers: dict[str, str]) -> None:
        url = bench.server.gives(cut(100_000, headers=headers), answer(DATA))
        bench.fetch(url, Checksum(sha256=DIGEST))
        assert [wanted for _path, wanted in bench.server.requests] == ["", ""]

    def test_by_date(self, bench: Bench) -> None:
        date = "Wed, 06 Aug 2025 10:00:00 GMT"
        url = bench.server.gives(cut(100_000, headers={"Last-Modified": date}), ranged(etag=date))
        bench.fetch(url, Checksum(sha256=DIGEST))
        assert bench.server.requests[-1][1] == "bytes=100000-"

    def test_of_another_url(self, bench: Bench) -> None:
        bench.fails(bench.server.gives(cut(100_000)), timeout=1)
        other = bench.server.gives(ranged(), path=f"/other/{NAME}")
        bench.fetch(other, Checksum(sha256=DIGEST))
        assert bench.server.requests[-1][1] == ""


class TestBroken:
    def test_truncated(self, bench: Bench) -> None:
        url = bench.server.gives(cut(100_000, headers={}))
        error = bench.fails(url)
        assert str(error) == (
            f"url: {url}: the answer ended after 100000 of 300000 bytes. Look at the network or the server, and run "
            "again: the download is taken up where it stopped if the server allows it."
        )
        assert len(bench.server.requests) == 5

    @pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/xhtml+xml"])
    def test_page(self, bench: Bench, kind: str) -> None:
        url = bench.server.gives(answer(b"<html>log in</html>", kind=kind))
        error = bench.fails(url)
        assert str(error) == (
            f"url: {url} is no NVIDIA installer: the answer has 19 bytes of type {kind}. It is an error page, a login "
            "page or another file: open the URL and correct it. Nothing was kept."
        )
        assert bench.kept == set()

    def test_page_in_disguise(self, bench: Bench) -> None:
        url = bench.server.gives(answer(b"<html>log in</html>"))
        error = bench.fails(url)
        assert error.reason == f"url: {url} is no NVIDIA installer: the answer has 19 bytes of type {TYPE}"
        assert error.code == Code.INPUT
        assert bench.kept == set()

    def test_not_found(self, bench: Bench) -> None:
        url = bench.server.gives(answer(b"", status=404))
        error = bench.fails(url)
        assert str(error) == (
            f"url: {url} answered 404 Not Found. Correct the version, which occurs twice in NVIDIA's URLs: in the "
            "directory and in the file name."
        )
        assert error.code == Code.INPUT

    def test_forbidden(self, bench: Bench) -> None:
        url = bench.server.gives(answer(b"", status=403))
        assert str(bench.fails(url)) == (
            f"url: {url} answered 403 Forbidden. Open the URL in a browser or with curl -I, and correct it."
        )

    def test_server_in_trouble(self, bench: Bench) -> None:
        url = bench.server.gives(answer(b"", status=503), answer(DATA))
        assert bench.fetch(url).sha256 == DIGEST

    def test_unreachable(self, bench: Bench) -> None:
        error = bench.fails(f"http://127.0.0.1:1/{NAME}")
        assert str(error) == (
            f"url: http://127.0.0.1:1/{NAME} cannot be reached: [Errno 111] Connection refused. Look at DNS, proxy "
            "(http_proxy, https_proxy) and certificates of the node, or copy the file there and use path."
        )

    def test_connection_lost(self, bench: Bench) -> None:
        def hang_up(handler: Handler) -> None:
            handler.close_connection = True

        url = bench.server.gives(hang_up, answer(DATA))
        assert bench.fetch(url).sha256 == DIGEST

    def test_other_version(self, bench: Bench) -> None:
        url = bench.server.gives(answer(runfile("580.142")))
        error = bench.fails(url)
        assert error.reason == f"url: {url}"[5:] + f": {VERSION} was asked for, but the file's own header says 580.142"
        assert bench.kept == set()

    def test_other_sum(self, bench: Bench) -> None:
        url = bench.server.gives(answer(DATA))
        error = bench.fails(url, Checksum(sha256="0" * 64))
        assert str(error) == (
            f"url: {url} has sha256 {DIGEST}, but {'0' * 64} was expected. "
            "Correct checksum, or find out who changed the file. Nothing was kept."
        )
        assert error.code == Code.VERIFICATION
        assert bench.kept == set()

    def test_no_space(self, bench: Bench) -> None:
        url = bench.server.gives(answer(DATA))
        bench.cache = Cache(bench.directory, free=lambda path: 1 << 17)
        assert str(bench.fails(url)) == (
            f"cache_dir: {bench.directory} has 0 MiB free, but {url} has 0 MiB. "
            "Make room there, or set cache_dir to another file system."
        )

    @pytest.mark.parametrize(
        "url", ["file:///etc/passwd", "ftp://h/x.run", "https://host", "https://h/", "https://h/a b"]
    )
    def test_no_url(self, bench: Bench, url: str) -> None:
        with pytest.raises(PhoenixError, match="is no http\\(s\\) URL of a file") as caught:
            bench.fetch(url)
        assert caught.value.code == Code.INPUT


class TestTime:
    def test_stall(self, bench: Bench) -> None:
        over = threading.Event()

        def stall(handler: Handler) -> None:
            cut(100_000)(handler)
            handler.wfile.flush()
            over.wait(10)

        url = bench.server.gives(stall)
        error = bench.fails(url, timeout=1)
        over.set()
        assert error.reason == f"url: {url}: no data for 0.5 s after 100000 of 300000 bytes"

    def test_trickle(self, bench: Bench) -> None:
        over = threading.Event()

        def trickle(handler: Handler) -> None:
            cut(100)(handler)
            while not over.wait(0.01):
                handler.wfile.write(b"x")

        url = bench.server.gives(trickle)
        with pytest.raises(PhoenixError, match=r"the timeout was reached after \d+ of 300000 bytes"):
            bench.cache.fetch(url, NOTHING, EXPECTED, Clock().deadline(0.5))
        over.set()

    def test_deadline_before_the_first_byte(self, bench: Bench) -> None:
        url = bench.server.gives(answer(DATA, before=lambda: bench.clock.advance(2000)))
        assert bench.fails(url).reason == f"url: {url}: the timeout was reached after 0 of 300000 bytes"


class TestParallel:
    def test_the_second_waits_and_finds_it(self, bench: Bench) -> None:
        started, go_on = threading.Event(), threading.Event()
        files: list[CachedFile] = []

        def hold() -> None:
            started.set()
            go_on.wait(10)

        url = bench.server.gives(answer(DATA, before=hold))

        def fetch() -> None:
            files.append(Cache(bench.directory).fetch(url, Checksum(sha256=DIGEST), EXPECTED, Clock().deadline(30)))

        threads = [threading.Thread(target=fetch) for _turn in range(2)]
        threads[0].start()
        assert started.wait(10)
        threads[1].start()
        go_on.set()
        for thread in threads:
            thread.join()
        assert files[0] == files[1]
        assert len(bench.server.requests) == 1

    def test_no_longer_than_the_timeout(self, bench: Bench) -> None:
        bench.directory.mkdir()
        lock = bench.directory / f".{NAME}.lock"
        with lock.open("a") as holder:
            fcntl.flock(holder, fcntl.LOCK_EX)
            error = bench.fails(bench.server.gives(answer(DATA)), timeout=60)
        assert str(error) == (
            f"another run has been downloading {NAME} for longer than the timeout. "
            f"Wait for it, or raise the timeout; `fuser {lock}` shows the process."
        )
        assert bench.clock.elapsed == 60


class TestVerified:
    def put(self, bench: Bench, data: bytes = DATA) -> Path:
        path = bench.directory / NAME
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return path

    def test_not_there(self, bench: Bench) -> None:
        assert bench.cache.verified(bench.directory / NAME, NOTHING, EXPECTED, write=True) == (None, "")

    def test_notes_the_sum_once(self, bench: Bench) -> None:
        path = self.put(bench)
        found, _wrong = bench.cache.verified(path, Checksum(sha256=DIGEST), EXPECTED, write=True)
        assert found == CachedFile(path, DIGEST)
        status = path.stat()
        note = path.with_name(f"{NAME}.sha256")
        assert note.read_text() == (
            f"{DIGEST}  {NAME}\n# size={status.st_size} mtime_ns={status.st_mtime_ns} from=sha256\n"
        )
        assert bench.cache.known_sha256(path) == DIGEST
        # A sum that was noted is believed: the file is not read again.
        note.write_text(note.read_text().replace(DIGEST, "1" * 64))
        found, _wrong = bench.cache.verified(path, Checksum(sha256="1" * 64), EXPECTED, write=True)
        assert found == CachedFile(path, "1" * 64)

    def test_writes_nothing_in_check_mode(self, bench: Bench) -> None:
        path = self.put(bench)
        bench.cache.verified(path, NOTHING, EXPECTED, write=False)
        assert bench.kept == {NAME}

    @pytest.mark.parametrize("what", ["time", "size"])
    def test_a_changed_file_is_read_again(self, bench: Bench, what: str) -> None:
        path = self.put(bench)
        bench.cache.verified(path, Checksum(sha256=DIGEST), EXPECTED, write=True)
        if what == "time":
            path.write_bytes(DATA[:-1] + b"x")
            os.utime(path, ns=(1, 1))
        else:
            times = path.stat()
            path.write_bytes(DATA + b"x")
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        found, wrong = bench.cache.verified(path, Checksum(sha256=DIGEST), EXPECTED, write=True)
        assert found is None
        assert wrong.startswith(f"{path} has sha256 ")
        assert wrong.endswith(f" and not {DIGEST}")

    @pytest.mark.parametrize("note", ["", "garbage", "\xff\xfe", f"{DIGEST}  x\n# size=1 mtime_ns=1 from=sha256\n"])
    def test_a_useless_note(self, bench: Bench, note: str) -> None:
        path = self.put(bench)
        path.with_name(f"{NAME}.sha256").write_bytes(note.encode("latin-1"))
        assert bench.cache.known_sha256(path) == ""
        assert bench.cache.verified(path, Checksum(sha256=DIGEST), EXPECTED, write=True)[0] is not None

    def test_a_wrong_file_is_replaced(self, bench: Bench) -> None:
        path = self.put(bench, DATA + b"x")
        file = bench.fetch(bench.server.gives(answer(DATA)), Checksum(sha256=DIGEST))
        assert path.read_bytes() == DATA
        other = hashlib.sha256(DATA + b"x").hexdigest()
        assert file.warnings == (f"{path} has sha256 {other} and not {DIGEST}: it was downloaded again.",)

    def test_a_cached_page_is_replaced(self, bench: Bench) -> None:
        path = self.put(bench, b"<html>")
        file = bench.fetch(bench.server.gives(answer(DATA)), Checksum(sha256=DIGEST))
        assert path.read_bytes() == DATA
        assert file.warnings == (f"{path} is no NVIDIA installer (6 bytes): it was downloaded again.",)


class TestChecksum:
    @pytest.mark.parametrize(
        ("option", "url", "checksum"),
        [
            (f"sha256:{DIGEST.upper()}", "https://h/x.run", Checksum(sha256=DIGEST, asked=True)),
            ("https://h/x.sha256sum", "https://h/x.run", Checksum(url="https://h/x.sha256sum", asked=True)),
            (None, "https://h/x.run", NOTHING),
            (None, None, NOTHING),
            (
                None,
                "https://us.download.nvidia.com/XFree86/Linux-x86_64/1/x.run",
                Checksum(url="https://us.download.nvidia.com/XFree86/Linux-x86_64/1/x.run.sha256sum"),
            ),
            (
                None,
                "https://download.nvidia.com/XFree86/x.run",
                Checksum(url="https://download.nvidia.com/XFree86/x.run.sha256sum"),
            ),
            (
                None,
                "https://download.nvidia.com/XFree86/x.run?from=here#top",
                Checksum(url="https://download.nvidia.com/XFree86/x.run.sha256sum"),
            ),
            (None, "https://us.download.nvidia.com/tesla/1/x.run", NOTHING),
            (None, "https://download.nvidia.com.example.com/XFree86/x.run", NOTHING),
        ],
    )
    def test_option(self, option: str | None, url: str | None, checksum: Checksum) -> None:
        assert checksum_from(option, url) == checksum

    @pytest.mark.parametrize("option", ["", "sha256:12", DIGEST, "md5:" + "0" * 32, "file:///x"])
    def test_refused(self, option: str) -> None:
        with pytest.raises(PhoenixError) as caught:
            checksum_from(option, None)
        assert str(caught.value) == (
            f"checksum: {option!r} is neither sha256:<64 hexadecimal digits> nor the http(s) URL of a .sha256sum file. "
            "Take the sum from NVIDIA's <file>.run.sha256sum beside the runfile."
        )

    def test_published(self, bench: Bench) -> None:
        listed = bench.server.gives(answer(f"{DIGEST}  {NAME}\n".encode()), path="/sums")
        url = bench.server.gives(answer(DATA))
        assert bench.fetch(url, Checksum(url=listed)).warnings == ()
        count = len(bench.server.requests)
        # What was verified against that list once needs no network any more.
        assert bench.fetch(url, Checksum(url=listed)).sha256 == DIGEST
        assert len(bench.server.requests) == count

    def test_published_for_what_is_cached(self, bench: Bench) -> None:
        url = bench.server.gives(answer(DATA))
        bench.fetch(url)
        listed = bench.server.gives(answer(f"{'0' * 64}  {NAME}\n".encode()), path="/sums")
        _found, wrong = bench.cache.verified(bench.directory / NAME, Checksum(url=listed), EXPECTED, write=False)
        assert wrong == f"{bench.directory / NAME} has sha256 {DIGEST} and not {'0' * 64}"

    def test_published_other_sum(self, bench: Bench) -> None:
        listed = bench.server.gives(answer(f"{'0' * 64}  {NAME}\n".encode()), path="/sums")
        assert bench.fails(bench.server.gives(answer(DATA)), Checksum(url=listed)).code == Code.VERIFICATION

    def test_not_listed(self, bench: Bench) -> None:
        listed = bench.server.gives(answer(b"<html>"), path="/sums")
        error = bench.fails(bench.server.gives(answer(DATA)), Checksum(url=listed))
        assert str(error) == (
            f"checksum: {listed} holds no sha256 sum for {NAME}. "
            "Correct the URL, or give the sum itself as sha256:<hex>."
        )

    def test_no_list_where_we_only_guessed(self, bench: Bench) -> None:
        listed = bench.server.gives(answer(b"", status=404), path="/sums")
        file = bench.fetch(bench.server.gives(answer(DATA)), Checksum(url=listed))
        assert "was checked against no sum" in file.warnings[0]

    @pytest.mark.parametrize(("status", "asked"), [(404, True), (500, False)])
    def test_no_list(self, bench: Bench, status: int, asked: bool) -> None:
        listed = bench.server.gives(answer(b"", status=status), path="/sums")
        error = bench.fails(bench.server.gives(answer(DATA)), Checksum(url=listed, asked=asked))
        assert error.reason.startswith(f"checksum: {listed} answered {status} ")

    def test_list_unreachable(self, bench: Bench) -> None:
        error = bench.fails(bench.server.gives(answer(DATA)), Checksum(url="http://127.0.0.1:1/sums"))
        assert error.reason.startswith("checksum: http://127.0.0.1:1/sums cannot be reached: ")


class TestPath:
    def test_never_changed(self, bench: Bench, tmp_path: Path) -> None:
        path = tmp_path / NAME
        path.write_bytes(DATA)
        before = sorted(tmp_path.glob("*.run*"))
        file = bench.cache.check_path(path, Checksum(sha256=DIGEST), EXPECTED, write=True)
        assert file == CachedFile(path, DIGEST)
        assert sorted(tmp_path.glob("*.run*")) == before
        assert bench.cache.known_sha256(path) == DIGEST

    def test_missing(self, bench: Bench) -> None:
        with pytest.raises(PhoenixError) as caught:
            bench.cache.check_path(Path("/nowhere.run"), NOTHING, EXPECTED, write=True)
        assert str(caught.value) == (
            "path: '/nowhere.run' is not there. Copy the runfile to the node first, or use url."
        )

    def test_wrong(self, bench: Bench, tmp_path: Path) -> None:
        path = tmp_path / NAME
        path.write_bytes(DATA)
        with pytest.raises(PhoenixError) as caught:
            bench.cache.check_path(path, Checksum(sha256="0" * 64), EXPECTED, write=True)
        assert str(caught.value) == (
            f"path: {path} has sha256 {DIGEST} and not {'0' * 64}. "
            "Fetch the file again, or correct checksum. The file was left as it is."
        )
