# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from lab.registry.build import ADDRESS, CONFIGURATION, registry_config
from lab.registry.oci import CONFIG, LAYER, MANIFEST, Image, Layer, RegistryStorage, Tree, digest_of, save_archive


def a_tree() -> Tree:
    tree = Tree()
    tree.file("usr/bin/tool", "#!/bin/sh\n", 0o755)
    tree.file("etc/motd", b"hello\n")
    tree.link("bin", "usr/bin")
    tree.folder("tmp", 0o1777)
    return tree


def an_image() -> Image:
    return Image([a_tree().layer()], {"Env": ["A=b"], "Cmd": ["/usr/bin/tool"]}, "x86_64")


def members(layer: Layer) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer.blob))) as archive:
        return {member.name: member for member in archive}


def test_layer_holds_what_was_put_in_and_the_folders_above() -> None:
    found = members(a_tree().layer())
    assert list(found) == ["bin", "etc", "etc/motd", "tmp", "usr", "usr/bin", "usr/bin/tool"]
    assert (found["usr/bin/tool"].mode, found["usr"].mode, found["tmp"].mode) == (0o755, 0o755, 0o1777)
    assert found["usr"].isdir()
    assert (found["bin"].issym(), found["bin"].linkname) == (True, "usr/bin")
    assert {(member.uid, member.gid, member.mtime) for member in found.values()} == {(0, 0, 0)}


def test_layer_is_the_same_whatever_the_order() -> None:
    other = Tree()
    other.folder("tmp", 0o1777)
    other.link("/bin", "usr/bin")
    other.file("/etc/motd", "hello\n")
    other.file("usr/bin/tool", b"#!/bin/sh\n", 0o755)
    assert other.layer() == a_tree().layer()


def test_digests_are_of_the_archive_and_of_what_is_stored() -> None:
    layer = a_tree().layer()
    assert layer.digest == f"sha256:{hashlib.sha256(layer.blob).hexdigest()}"
    assert layer.diff_id == f"sha256:{hashlib.sha256(gzip.decompress(layer.blob)).hexdigest()}"


def test_copy_takes_what_a_link_leads_to_and_no_bytecode(tmp_path: Path) -> None:
    (tmp_path / "a/__pycache__").mkdir(parents=True)
    (tmp_path / "a/__pycache__/x.pyc").write_text("")
    (tmp_path / "a/skipped").mkdir()
    (tmp_path / "a/sub").mkdir()
    (tmp_path / "a/sub/real").write_text("text")
    (tmp_path / "a/sub/real").chmod(0o755)
    (tmp_path / "a/link").symlink_to("sub/real")
    (tmp_path / "a/broken").symlink_to("nowhere")
    tree = Tree()
    tree.copy_folder(tmp_path / "a", "to", frozenset({"skipped"}))
    found = members(tree.layer())
    assert list(found) == ["to", "to/link", "to/sub", "to/sub/real"]
    assert (found["to/link"].isreg(), found["to/link"].mode) == (True, 0o755)
    assert "to/link" in tree
    assert "to/broken" not in tree


def test_manifest_and_config() -> None:
    image = an_image()
    layer = image.layers[0]
    manifest, config = json.loads(image.manifest()), json.loads(image.config())
    assert manifest["mediaType"] == MANIFEST
    assert manifest["config"] == {
        "mediaType": CONFIG,
        "size": len(image.config()),
        "digest": digest_of(image.config()),
    }
    assert manifest["layers"] == [{"mediaType": LAYER, "size": len(layer.blob), "digest": layer.digest}]
    assert config["rootfs"] == {"type": "layers", "diff_ids": [layer.diff_id]}
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    assert config["config"] == {"Env": ["A=b"], "Cmd": ["/usr/bin/tool"]}
    assert image.digest == digest_of(image.manifest())
    assert image.size == len(layer.blob)


def test_storage_as_distribution_reads_it(tmp_path: Path) -> None:
    image = an_image()
    storage = RegistryStorage(tmp_path)
    storage.add("nvidia/cuda", ["a", "latest"], image)
    storage.add("nvidia/cuda", ["b"], image)
    root = tmp_path / "docker/registry/v2"
    for blob in (image.manifest(), image.config(), image.layers[0].blob):
        digits = hashlib.sha256(blob).hexdigest()
        assert (root / "blobs/sha256" / digits[:2] / digits / "data").read_bytes() == blob
    repository = root / "repositories/nvidia/cuda"
    digits = image.digest.removeprefix("sha256:")
    for tag in ("a", "latest", "b"):
        assert (repository / f"_manifests/tags/{tag}/current/link").read_text() == image.digest
        assert (repository / f"_manifests/tags/{tag}/index/sha256/{digits}/link").read_text() == image.digest
    assert (repository / f"_manifests/revisions/sha256/{digits}/link").read_text() == image.digest
    for digest in (digest_of(image.config()), image.layers[0].digest):
        name = digest.removeprefix("sha256:")
        assert (repository / "_layers/sha256" / name / "link").read_text() == digest
    assert len(list((root / "blobs").rglob("data"))) == 3


def test_archive_for_docker_load(tmp_path: Path) -> None:
    image = an_image()
    save_archive(tmp_path / "sub/image.tar", ["nvidia/cuda:a"], image)
    with tarfile.open(tmp_path / "sub/image.tar") as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    listing = json.loads(files["manifest.json"])
    assert listing[0]["RepoTags"] == ["nvidia/cuda:a"]
    assert files[listing[0]["Config"]] == image.config()
    assert files[listing[0]["Layers"][0]] == image.layers[0].blob
    assert listing[0]["Config"] == f"blobs/sha256/{digest_of(image.config()).removeprefix('sha256:')}"


def test_unknown_machine_is_refused() -> None:
    with pytest.raises(KeyError):
        Image([], {}, "riscv64").config()


def test_registry_config() -> None:
    assert registry_config(Path("/srv/registry")) == CONFIGURATION
    assert f"addr: {ADDRESS}" in CONFIGURATION
    assert "rootdirectory: /srv/registry" in CONFIGURATION
    assert "  delete:\n    enabled: false\n" in CONFIGURATION
