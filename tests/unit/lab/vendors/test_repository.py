# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.vendors.deb import Package
from lab.vendors.keys import SigningKey, armor
from lab.vendors.repository import Suite, build_all, flat, pool

PACKAGES = [Package("a", "1:1-1", "First"), Package("b", "2-1", "Second", ("a",))]


def hashes_hold(folder: Path) -> bool:
    entries = re.findall(r"^ ([0-9a-f]{64}) (\d+) (\S+)$", (folder / "Release").read_text(), re.MULTILINE)
    contents = [(hashlib.sha256((folder / name).read_bytes()).hexdigest(), (folder / name)) for _, _, name in entries]
    return bool(entries) and [digest for digest, _ in contents] == [digest for digest, _, _ in entries]


def test_flat(tmp_path: Path, key: SigningKey) -> None:
    flat(tmp_path, build_all(PACKAGES), {"Origin": "NVIDIA", "Label": "NVIDIA CUDA"}, key)
    packages = (tmp_path / "Packages").read_text()
    assert re.findall(r"^Filename: (.*)$", packages, re.MULTILINE) == ["./a_1-1_amd64.deb", "./b_2-1_amd64.deb"]
    assert gzip.decompress((tmp_path / "Packages.gz").read_bytes()).decode() == packages
    assert (tmp_path / "Release").read_text().startswith("Origin: NVIDIA\nLabel: NVIDIA CUDA\nDate: Sat, 01 Nov 2025")
    assert hashes_hold(tmp_path)


def test_pool(tmp_path: Path, key: SigningKey) -> None:
    suite = Suite("noble", "stable", "dists/noble/pool/stable/amd64")
    pool(tmp_path, suite, build_all(PACKAGES), {"Origin": "Docker"}, key)
    dist = tmp_path / "dists/noble"
    stanza = (dist / "stable/binary-amd64/Packages").read_text().split("\n\n")[0]
    file = tmp_path / "dists/noble/pool/stable/amd64/a_1-1_amd64.deb"
    assert f"Filename: {file.relative_to(tmp_path)}\nSize: {file.stat().st_size}\n" in stanza
    assert f"SHA256: {hashlib.sha256(file.read_bytes()).hexdigest()}\n" in stanza
    assert stanza.endswith("Description: First")
    assert "Codename: noble\nArchitectures: amd64\nComponents: stable\n" in (dist / "Release").read_text()
    assert hashes_hold(dist)


@pytest.mark.skipif(shutil.which("gpg") is None, reason="no gpg here")
def test_gpg_believes_the_signatures(tmp_path: Path, key: SigningKey) -> None:
    flat(tmp_path / "repository", build_all(PACKAGES), {"Origin": "NVIDIA"}, key)
    for name, public in (("binary", key.public()), ("armored", key.armored())):
        home = tmp_path / name
        home.mkdir(mode=0o700)
        gpg = ["gpg", "--homedir", home, "--batch", "--no-autostart", "--status-fd", "1"]
        subprocess.run([*gpg, "--import"], input=public, check=True, capture_output=True)
        folder = tmp_path / "repository"
        for files in ([folder / "InRelease"], [folder / "Release.gpg", folder / "Release"]):
            done = subprocess.run([*gpg, "--verify", *files], check=True, capture_output=True)
            assert b"[GNUPG:] GOODSIG" in done.stdout
            assert key.fingerprint().hex().upper().encode() in done.stdout


def test_lines_that_look_like_armor_are_escaped(key: SigningKey) -> None:
    assert b"\n\na\n- -b\n-----BEGIN PGP SIGNATURE-----\n" in key.clear_signature("a\n-b\n")


def test_armor_of_nothing() -> None:
    # RFC 4880 6.1: the checksum of nothing is its initial value, B704CE.
    assert armor("SIGNATURE", b"") == b"-----BEGIN PGP SIGNATURE-----\n\n=twTO\n-----END PGP SIGNATURE-----\n"


def test_openssl_says_why(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="openssl genrsa failed"):
        SigningKey.create(tmp_path / "missing" / "key", "nobody")
