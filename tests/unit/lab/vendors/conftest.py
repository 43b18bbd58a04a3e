# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.vendors.keys import SigningKey
from lab.vendors.toolkit.driver import Driver


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    return SigningKey.create(tmp_path_factory.mktemp("keys") / "key", "A Vendor <vendor@example.invalid>")


@pytest.fixture
def make_driver(tmp_path: Path) -> Callable[..., Driver]:
    """A root file system with a driver, and with GPUs (by minor number) whose nodes are as good as /dev/null."""

    def make(minors: tuple[int, ...] = (0, 1), *, library: str = "580.76.05", module: str = "580.76.05") -> Driver:
        libraries = tmp_path / "usr/lib/x86_64-linux-gnu"
        libraries.mkdir(parents=True)
        for name in ("libcuda", "libnvidia-ml") if library else ():
            (libraries / f"{name}.so.{library}").touch()
            (libraries / f"{name}.so.1").symlink_to(f"{name}.so.{library}")
        (tmp_path / "usr/bin").mkdir()
        (tmp_path / "usr/bin/nvidia-smi").touch()
        (tmp_path / "dev").mkdir()
        state = tmp_path / "proc/driver/nvidia"
        if module:
            (state / "gpus").mkdir(parents=True)
            text = f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {module}  Release Build\n"
            (state / "version").write_text(text)
        for name in ("nvidiactl", "nvidia-uvm", *(f"nvidia{minor}" for minor in minors)):
            (tmp_path / "dev" / name).symlink_to("/dev/null")
        for minor in (0, 1) if module else ():
            folder = state / f"gpus/0000:0{minor + 1}:00.0"
            folder.mkdir()
            (folder / "information").write_text(f"GPU UUID: \t GPU-{minor}{minor}\nDevice Minor: \t {minor}\n")
        return Driver(tmp_path)

    return make
