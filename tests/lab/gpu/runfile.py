# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# NVIDIA's installer as a file: a makeself archive with stubs in it.

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from . import elf

VERSIONS = ("535.261.03", "570.172.08", "580.76.05", "580.82.07", "580.159.04")
# The newest CUDA that a branch of the driver knows.
CUDA = {535: "12.2", 545: "12.3", 550: "12.4", 555: "12.5", 560: "12.6", 565: "12.7", 570: "12.8", 575: "12.9",
        580: "13.0", 590: "13.1"}  # fmt: skip
LIBRARIES = ("libnvidia-ml", "libcuda", "libnvidia-ptxjitcompiler", "libnvidia-cfg", "libnvidia-encode")
PROGRAMS = ("nvidia-smi", "nvidia-modprobe", "nvidia-persistenced", "nvidia-debugdump")
MODULES = ("nvidia", "nvidia-modeset", "nvidia-drm", "nvidia-uvm", "nvidia-peermem")

_HERE = Path(__file__).parent
_TEXT_MODE, _PROGRAM_MODE = 0o644, 0o755
_LICENSES = {"kernel-open": "Dual MIT/GPL", "kernel": "NVIDIA"}

_DKMS_CONF = """\
PACKAGE_NAME="nvidia"
PACKAGE_VERSION="{version}"
AUTOINSTALL="yes"

MAKE[0]="sh ./build-modules.sh ${{kernelver}}"
"""
_UNIT = """\
[Unit]
Description=NVIDIA system {name} actions
Before=systemd-{name}.service

[Service]
Type=oneshot
ExecStart=/bin/true

[Install]
WantedBy=systemd-{name}.service
"""
# The real one brings no unit for its daemon, only this archive of samples.
_PERSISTENCE_UNIT = """\
[Unit]
Description=NVIDIA Persistence Daemon
Wants=syslog.target

[Service]
Type=forking
ExecStart=/usr/bin/nvidia-persistenced --user __USER__
ExecStopPost=/bin/rm -rf /var/run/nvidia-persistenced

[Install]
WantedBy=multi-user.target
"""


def file_name(version: str) -> str:
    return f"NVIDIA-Linux-x86_64-{version}.run"


def cuda_version(version: str) -> str:
    branch = int(version.partition(".")[0])
    return CUDA[max(known for known in CUDA if known <= branch)]


def _library(name: str, version: str, stubs: Path) -> bytes:
    stub = stubs / f"{name}.so"
    binary = (stub if stub.is_file() else stubs / "libempty.so").read_bytes()
    return elf.with_versions(elf.without_executable_stack(binary), driver=version, cuda=cuda_version(version))


def build_library(name: str, version: str, path: Path, stubs: Path) -> None:
    """A driver's library, for packages that bring one of another version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_library(name, version, stubs))
    path.chmod(_PROGRAM_MODE)


def _sources(folder: str, version: str) -> Iterable[tuple[str, int, bytes]]:
    is_open = folder == "kernel-open"
    yield f"{folder}/dkms.conf", _TEXT_MODE, _DKMS_CONF.format(version=version).encode()
    yield f"{folder}/Makefile", _TEXT_MODE, b"modules:\n\tsh ./build-modules.sh $(KERNEL_UNAME)\n"
    for script in ("build-modules.sh", "sign-module.sh"):
        yield f"{folder}/{script}", _PROGRAM_MODE, (_HERE / "installer" / script).read_bytes()
    for name in MODULES:
        license_ = "Dual MIT/GPL" if name == "nvidia-uvm" or is_open else _LICENSES[folder]
        fields = {"firmware": f"nvidia/{version}/gsp_ga10x.bin", "import_ns": "DMA_BUF", "alias": "char-major-195-*",
                  "version": version, "supported": "external", "license": license_, "name": name.replace("-", "_"),
                  "description": "NVIDIA driver's stand-in"}  # fmt: skip
        yield f"{folder}/{name}.ko.in", _TEXT_MODE, elf.module_template(fields)


def _content(version: str, stubs: Path) -> Iterable[tuple[str, int, bytes]]:
    """Path, mode and bytes of what is in the archive."""
    script = (_HERE / "installer/nvidia-installer.sh").read_text().replace("@VERSION@", version)
    yield "nvidia-installer", _PROGRAM_MODE, script.encode()
    yield "installer.sh", _TEXT_MODE, (_HERE / "installer/installer.sh").read_bytes()
    for name in LIBRARIES:
        yield f"lib/{name}.so", _PROGRAM_MODE, _library(name, version, stubs)
    for name in PROGRAMS:
        binary = elf.with_versions((stubs / name).read_bytes(), driver=version, cuda=cuda_version(version))
        yield f"bin/{name}", _PROGRAM_MODE, binary
    for folder in _LICENSES:
        yield from _sources(folder, version)
    for name in ("suspend", "hibernate", "resume"):
        yield f"systemd/nvidia-{name}.service", _TEXT_MODE, _UNIT.format(name=name).encode()
    yield "firmware/gsp_ga10x.bin", _TEXT_MODE, b"no firmware\n"
    yield (
        "doc/LICENSE",
        _TEXT_MODE,
        b"A stand-in for tests, nothing of NVIDIA's: GPL-3.0-or-later.\n",
    )
    yield "doc/README.txt", _TEXT_MODE, b"See tests/lab/gpu of the collection phoenix.hypervisor.\n"
    samples = _archive([("nvidia-persistenced-init/systemd/nvidia-persistenced.service.template", _TEXT_MODE,
                         _PERSISTENCE_UNIT.encode())], "bz2")  # fmt: skip
    yield "doc/samples/nvidia-persistenced-init.tar.bz2", _TEXT_MODE, samples


def _archive(content: Iterable[tuple[str, int, bytes]], compression: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, mode, data in content:
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size, entry.mtime = mode, len(data), 1753288392
            archive.addfile(entry, io.BytesIO(data))
    plain = stream.getvalue()
    return bz2.compress(plain) if compression == "bz2" else gzip.compress(plain, mtime=0)


def build(folder: Path, version: str, stubs: Path) -> Path:
    """Write the installer of a version and NVIDIA's list of its sum beside it."""
    content = list(_content(version, stubs))
    payload = _archive(content, "gz")
    header = (_HERE / "installer/header.sh").read_text()
    values = {
        "VERSION": version,
        "MD5": hashlib.md5(payload, usedforsecurity=False).hexdigest(),
        "CRC": str(posix_sum(payload)),
        "SKIP": str(header.count("\n") + 1),
        "SIZE": str(sum(len(data) for _name, _mode, data in content)),
    }
    for key, value in values.items():
        header = header.replace(f"@{key}@", value)
    data = header.encode() + payload
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(version)
    path.write_bytes(data)
    path.chmod(_PROGRAM_MODE)
    (folder / f"{path.name}.sha256sum").write_text(f"{hashlib.sha256(data).hexdigest()}  {path.name}\n")
    return path


def posix_sum(data: bytes) -> int:
    """The sum of cksum."""
    table = []
    for byte in range(256):
        value = byte << 24
        for _bit in range(8):
            value = (value << 1) ^ 0x04C11DB7 if value & 0x80000000 else value << 1
        table.append(value & 0xFFFFFFFF)
    total, size = 0, len(data)
    tail = bytearray()
    while size:
        tail.append(size & 0xFF)
        size >>= 8
    for byte in data + bytes(tail):
        total = ((total << 8) & 0xFFFFFFFF) ^ table[(total >> 24) ^ byte]
    return ~total & 0xFFFFFFFF
