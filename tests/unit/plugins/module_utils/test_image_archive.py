# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._image_archive import LARGEST, identities
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.archives import Archive

NOWHERE = "sha256:" + "0" * 64


@pytest.fixture
def archive() -> Archive:
    return Archive()


@pytest.mark.parametrize(("mode", "prefix"), [("w", ""), ("w:gz", ""), ("w", "./")], ids=["plain", "gzip", "by tar"])
def test_an_image_is_known_by_its_manifest_and_by_its_configuration(
    tmp_path: Path, archive: Archive, mode: t.Literal["w", "w:gz"], prefix: str
) -> None:
    manifest, config = archive.image("one")
    archive.image("another")
    assert identities(archive.write(tmp_path / "image.tar", mode, prefix), manifest) == {manifest, config}


def test_an_index_leads_to_its_images_of_which_some_may_be_missing(tmp_path: Path, archive: Archive) -> None:
    manifest, config = archive.image("one")
    index = archive.blob({"manifests": [{"digest": manifest}, {"digest": NOWHERE}, {"size": 7}, "entry"]})
    assert identities(archive.write(tmp_path / "image.tar"), index) == {index, manifest, config}


def test_what_is_not_in_the_archive_is_not_proven(tmp_path: Path, archive: Archive) -> None:
    _manifest, config = archive.image("one")
    path = archive.write(tmp_path / "image.tar")
    assert identities(path, NOWHERE) == frozenset()
    # A configuration is no image of a registry, but it is what it says.
    assert identities(path, config) == {config}


@pytest.mark.parametrize("content", [b"not what its name says", b'{"config": {"digest": "sha256:1"}}'])
def test_a_document_under_another_ones_name_proves_nothing(tmp_path: Path, archive: Archive, content: bytes) -> None:
    manifest, _config = archive.image("one")
    archive.files[f"blobs/sha256/{manifest.removeprefix('sha256:')}"] = content
    assert identities(archive.write(tmp_path / "image.tar"), manifest) == frozenset()


@pytest.mark.parametrize("content", [b"[]", b"7", b"{", b"\xff", b"{" + b" " * LARGEST + b"}"])
def test_what_is_no_document_is_left_out(tmp_path: Path, archive: Archive, content: bytes) -> None:
    digest = archive.blob(content)
    assert identities(archive.write(tmp_path / "image.tar"), digest) == frozenset()


@pytest.mark.parametrize("document", [{"config": None}, {"config": {"digest": 7}}, {"manifests": {"digest": NOWHERE}}])
def test_half_a_manifest_leads_nowhere(tmp_path: Path, archive: Archive, document: object) -> None:
    digest = archive.blob(document)
    assert identities(archive.write(tmp_path / "image.tar"), digest) == {digest}


@pytest.mark.parametrize("content", [b"", b"tar", b"\x1f\x8b\x08half", b"BZhalf", b"\xfd7zXZ\x00half"])
def test_what_is_no_archive_proves_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "image.tar").write_bytes(content)
    assert identities(tmp_path / "image.tar", NOWHERE) == frozenset()


def test_half_an_archive_proves_nothing(tmp_path: Path, archive: Archive) -> None:
    manifest, _config = archive.image("one")
    whole = archive.write(tmp_path / "image.tar", "w:gz").read_bytes()
    (tmp_path / "image.tar").write_bytes(whole[: len(whole) // 2])
    assert identities(tmp_path / "image.tar", manifest) == frozenset()
