# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from lab.vendors.deb import File, Link, Package, archive, control_files, members, with_control

EXAMPLE = Package(
    "example",
    "5:1.2-3~debian",
    "An example",
    ("libc6", "other (>= 2)"),
    {"Recommends": "nothing"},
    {
        "/usr/bin/example": File.program("#!/bin/sh\n"),
        "/usr/bin/same": Link("example"),
        "/etc/example.conf": File.text("a=1\n"),
    },
    conffiles=("/etc/example.conf",),
    scripts={"postinst": "#!/bin/sh\nexit 0\n"},
)


def test_control() -> None:
    assert EXAMPLE.control() == (
        "Package: example\n"
        "Version: 5:1.2-3~debian\n"
        "Architecture: amd64\n"
        "Maintainer: phoenix.hypervisor lab <lab@example.invalid>\n"
        "Installed-Size: 1\n"
        "Depends: libc6, other (>= 2)\n"
        "Recommends: nothing\n"
        "Section: misc\n"
        "Priority: optional\n"
        "Description: An example\n"
    )


def test_the_epoch_is_not_in_the_file_name() -> None:
    assert EXAMPLE.filename == "example_1.2-3~debian_amd64.deb"


def test_two_builds_are_the_same() -> None:
    assert EXAMPLE.build() == EXAMPLE.build()


def test_parts() -> None:
    deb = EXAMPLE.build()
    assert list(members(deb)) == ["debian-binary", "control.tar.gz", "data.tar.gz"]
    files = control_files(deb)
    assert files["conffiles"] == b"/etc/example.conf\n"
    # A configuration file may change, so it has no sum.
    assert files["md5sums"].split()[1::2] == [b"usr/bin/example"]
    with tarfile.open(fileobj=io.BytesIO(members(deb)["data.tar.gz"])) as tar:
        found = {entry.name: entry for entry in tar}
        assert found["./usr/bin/example"].mode == 0o755
        assert found["./usr/bin/same"].linkname == "example"
        assert {entry.uname for entry in found.values()} == {"root"}
        assert found["./etc"].isdir()


def test_archives_with_odd_sizes() -> None:
    parts = {"a": b"1", "b": b"22", "c": b""}
    assert members(archive(parts)) == parts


def test_what_is_no_archive() -> None:
    with pytest.raises(ValueError, match="no ar archive"):
        members(b"PK")


def test_other_fields_for_the_same_data() -> None:
    deb = EXAMPLE.build()
    changed = with_control(deb, {"Package": "ours", "Recommends": None, "Conflicts": "example"})
    files = control_files(changed)
    assert b"Package: ours\n" in files["control"]
    assert b"Recommends" not in files["control"]
    assert files["control"].endswith(b"Conflicts: example\n")
    assert files["postinst"] == control_files(deb)["postinst"]
    assert members(changed)["data.tar.gz"] == members(deb)["data.tar.gz"]


def test_folded_fields_survive() -> None:
    package = Package("a", "1", "Short\n Long\n .\n More")
    assert control_files(with_control(package.build(), {"Package": "b"}))["control"].endswith(
        b"Description: Short\n Long\n .\n More\n"
    )


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb here")
def test_dpkg_reads_it(tmp_path: Path) -> None:
    file = tmp_path / EXAMPLE.filename
    file.write_bytes(EXAMPLE.build())
    shown = subprocess.run(["dpkg-deb", "--field", file, "Version"], check=True, capture_output=True, text=True)
    assert shown.stdout == "5:1.2-3~debian\n"
    subprocess.run(["dpkg-deb", "--extract", file, tmp_path / "root"], check=True)
    assert (tmp_path / "root/usr/bin/same").readlink() == Path("example")
