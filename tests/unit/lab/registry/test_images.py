# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The images, made of a build root that looks like the lab's: a few small files instead of Debian's programs."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
from pathlib import Path

import pytest

from lab.registry.build import build
from lab.registry.elf import closure, needs
from lab.registry.images import CUDA_12_8_0, CUDA_13_0, Published, all_images, require_cuda
from lab.registry.userland import Root

LIBRARIES = "usr/lib/x86_64-linux-gnu"


def elf(needed: list[str], interpreter: str | None = None) -> bytes:
    """The least that a loader would look at: program headers, a dynamic section, its strings."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
    text = (interpreter or "").encode() + b"\0"
    count = 3 if interpreter else 2
    base = 64 + 56 * count
    string_at, text_at = base, base + len(strings)
    dynamic_at = text_at + len(text)
    offset, entries = 1, []
    for name in needed:
        entries.append((1, offset))
        offset += len(name) + 1
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in [*entries, (5, 0x1000 + string_at), (0, 0)])
    size = dynamic_at + len(dynamic)
    headers = [(1, 5, 0, 0x1000, 0, size), (2, 6, dynamic_at, 0, 0, len(dynamic)), (3, 4, text_at, 0, 0, len(text))]
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0
    )
    packed = b"".join(struct.pack("<IIQQQQQQ", *header, 0, 0) for header in headers[:count])
    return head + packed + strings + text + dynamic


@pytest.fixture
def root(tmp_path: Path) -> Root:
    root = tmp_path / "root"
    libraries = root / LIBRARIES
    stdlib = root / "usr/lib/python3.13"
    for folder in (
        libraries,
        root / "usr/bin",
        root / "usr/sbin",
        stdlib / "lib-dynload",
        stdlib / "test",
        stdlib / "json",
    ):
        folder.mkdir(parents=True)
    loader = "/lib64/ld-linux-x86-64.so.2"
    files = {
        "usr/bin/bash": elf(["libtinfo.so.6", "libc.so.6"], loader),
        "usr/sbin/ldconfig": elf([]),
        "usr/bin/busybox": b'#!/bin/sh\n[ "$1" = --list ] && printf "ls\\nsh\\ncat\\nbusybox\\nbash\\nnvidia-smi\\n"\n',
        "usr/bin/python3.13": elf(["libz.so.1", "libc.so.6"], loader),
        "usr/bin/openssl": elf(["libssl.so.3"], loader),
        f"{LIBRARIES}/libc.so.6": elf(["ld-linux-x86-64.so.2"]),
        f"{LIBRARIES}/ld-linux-x86-64.so.2": elf([]),
        f"{LIBRARIES}/libtinfo.so.6": elf(["libc.so.6"]),
        f"{LIBRARIES}/libz.so.1": elf(["libc.so.6"]),
        f"{LIBRARIES}/libssl.so.3": elf(["libcrypto.so.3"]),
        f"{LIBRARIES}/libcrypto.so.3": elf([]),
        f"{LIBRARIES}/libffi.so.8": elf([]),
        "usr/lib/python3.13/os.py": b"",
        "usr/lib/python3.13/json/__init__.py": b"",
        "usr/lib/python3.13/test/big.py": b"",
        "usr/lib/python3.13/lib-dynload/_ctypes.so": elf(["libffi.so.8"]),
        "usr/lib/python3.13/lib-dynload/_testcapi.so": elf(["libnothing.so"]),
    }
    for name, data in files.items():
        (root / name).write_bytes(data)
        (root / name).chmod(0o755)
    (root / "usr/bin/python3").symlink_to("python3.13")
    return Root(root)


def content(published: Published) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """What a container would see: later layers win."""
    found: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    for layer in published.image.layers:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer.blob))) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isreg() else None
                found[member.name] = (member, stream.read() if stream else b"")
    return found


@pytest.fixture
def images(root: Root) -> dict[str, Published]:
    return {f"{image.repository}:{tag}": image for image in all_images(root) for tag in image.tags}


def defaults(published: Published) -> dict[str, object]:
    return dict(json.loads(published.image.config())["config"])


def test_needs_reads_elf(tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(elf(["liba.so", "libb.so"], "/lib64/ld.so"))
    (tmp_path / "script").write_text("#!/bin/sh\n")
    (tmp_path / "static").write_bytes(elf([])[:64])
    assert needs(tmp_path / "program") == ("/lib64/ld.so", ["liba.so", "libb.so"])
    assert needs(tmp_path / "script") == (None, [])


def test_closure_follows_libraries_and_the_loader(tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(elf(["liba.so", "elsewhere.so"], "/lib64/ld.so"))
    (tmp_path / "liba.so").write_bytes(elf(["libb.so"]))
    (tmp_path / "libb.so").write_bytes(elf(["liba.so"]))
    (tmp_path / "ld.so").write_bytes(elf([]))
    assert closure([tmp_path / "program"], tmp_path) == {"liba.so", "libb.so", "ld.so"}


def test_names(images: dict[str, Published]) -> None:
    assert set(images) >= {
        "nvidia/cuda:12.8.0-base-ubuntu24.04",
        "vllm/vllm-openai:v0.25.1",
        "vllm/vllm-openai:latest",
        "vllm/vllm-openai:v0.10.0",
        "qdrant/qdrant:latest",
        "portainer/portainer-ce:2.33.1",
        "portainer/agent:2.33.1",
        "library/hello-world:latest",
        "library/busybox:latest",
        "library/alpine:latest",
    }
    assert images["vllm/vllm-openai:latest"] is images["vllm/vllm-openai:v0.25.1"]
    assert len({image.image.digest for image in images.values()}) == 9


@pytest.mark.parametrize("name", ["example", "lab"])
def test_what_the_inventories_name_is_there(images: dict[str, Published], name: str) -> None:
    file = Path(__file__).parents[4] / "inventories" / name / "fleet.cfg/phoenix_lxc_configs.json"
    containers = json.loads(file.read_text())["lxc_configs"].values()
    assert {image for config in containers for image in config.get("verify", {}).get("images", [])} <= set(images)


def test_cuda_image(images: dict[str, Published]) -> None:
    image = images["nvidia/cuda:12.8.0-base-ubuntu24.04"]
    assert defaults(image)["Env"] == CUDA_12_8_0
    assert {"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility", "CUDA_VERSION=12.8.0"} <= set(
        CUDA_12_8_0
    )
    assert "Entrypoint" not in defaults(image)
    files = content(image)
    assert b"ID=ubuntu" in files["usr/lib/os-release"][1]
    assert b'VERSION_ID="24.04"' in files["usr/lib/os-release"][1]
    assert files["usr/bin/sh"][0].linkname == "busybox"
    assert files["usr/bin/bash"][0].isreg()
    assert files["lib"][0].linkname == "usr/lib"
    assert files["usr/lib64/ld-linux-x86-64.so.2"][0].linkname == "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    assert f"{LIBRARIES}/libc.so.6" in files
    assert f"{LIBRARIES}/libtinfo.so.6" in files
    # It comes with the devices, by the container runtime.
    assert not [name for name in files if "nvidia-smi" in name or "libcuda" in name or "python" in name]


def test_required_cuda_is_nvidias_text() -> None:
    text = require_cuda("12.8", (470, 535))
    assert text.startswith(
        "cuda>=12.8 brand=unknown,driver>=470,driver<471 brand=grid,driver>=470,driver<471 brand=tesla,"
    )
    assert text.endswith("brand=vws,driver>=535,driver<536 brand=cloudgaming,driver>=535,driver<536")


def test_vllm_image(images: dict[str, Published]) -> None:
    current, older = images["vllm/vllm-openai:latest"], images["vllm/vllm-openai:v0.10.0"]
    assert defaults(current)["Entrypoint"] == ["vllm", "serve"]
    assert defaults(older)["Entrypoint"] == ["python3", "-m", "vllm.entrypoints.openai.api_server"]
    assert set(CUDA_13_0) < set(defaults(current)["Env"])  # type: ignore[call-overload]
    files = content(current)
    packages = "usr/lib/python3/dist-packages/vllm"
    assert files["usr/local/bin/vllm"][0].mode == 0o755
    assert {f"{packages}/main.py", f"{packages}/entrypoints/openai/api_server.py"} < set(files)
    assert b'VERSION = "0.25.1"' in files[f"{packages}/version.py"][1]
    assert b'VERSION = "0.10.0"' in content(older)[f"{packages}/version.py"][1]
    assert [name for name in files if name.startswith(f"{packages}/__pycache__/main.")]
    assert "usr/lib/python3.13/lib-dynload/_ctypes.so" in files
    assert f"{LIBRARIES}/libffi.so.8" in files
    assert f"{LIBRARIES}/libcrypto.so.3" in files
    assert not [name for name in files if "_testcapi" in name or name.startswith("usr/lib/python3.13/test")]


def test_layers_are_shared(images: dict[str, Published]) -> None:
    cuda, vllm, older, qdrant = (
        [layer.digest for layer in images[name].image.layers]
        for name in (
            "nvidia/cuda:12.8.0-base-ubuntu24.04",
            "vllm/vllm-openai:latest",
            "vllm/vllm-openai:v0.10.0",
            "qdrant/qdrant:latest",
        )
    )
    assert cuda[0] == vllm[0] == qdrant[0]
    assert vllm[:-1] == older[:-1]
    assert vllm[2] == qdrant[2]


@pytest.mark.parametrize(
    ("name", "ports"),
    [
        ("qdrant/qdrant:latest", ["6333/tcp", "6334/tcp"]),
        ("portainer/portainer-ce:latest", ["8000/tcp", "9000/tcp", "9443/tcp"]),
        ("portainer/agent:latest", ["9001/tcp"]),
    ],
)
def test_applications_expose_their_ports(images: dict[str, Published], name: str, ports: list[str]) -> None:
    assert list(defaults(images[name])["ExposedPorts"]) == ports  # type: ignore[call-overload]


def test_hello_world(images: dict[str, Published]) -> None:
    image = images["library/hello-world:latest"]
    assert defaults(image)["Cmd"] == ["/hello"]
    assert b"Hello from Docker!" in content(image)["hello"][1]


def test_build_twice_is_the_same(root: Root, tmp_path: Path) -> None:
    for name in ("one", "two"):
        build(tmp_path / name, root.path)
    one, two = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("one", "two")
    )
    # The configuration names its folder.
    assert one.pop(Path("config.yml")) != two.pop(Path("config.yml"))
    assert one == two
    assert {str(path) for path in one if path.parts[0] == "archives"} == {
        "archives/nvidia-cuda-12.8.0-base-ubuntu24.04.tar",
        "archives/vllm-vllm-openai-v0.25.1.tar",
    }


def test_a_program_that_the_root_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no program bash"):
        Root(tmp_path).program("bash")
