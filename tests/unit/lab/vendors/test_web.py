# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ctypes
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.vendors import ca, names, nginx
from lab.vendors.elf import shared_library

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")


def test_every_host_is_served() -> None:
    served = {name for line in re.findall(r"server_name ([^;]*);", nginx.CONFIGURATION) for name in line.split()}
    assert served == set(names.VENDOR_HOSTS)
    assert {"registry-1.docker.io", "mirror.lab", "developer.download.nvidia.com"} <= served


def test_the_configuration_is_balanced() -> None:
    assert nginx.CONFIGURATION.count("{") == nginx.CONFIGURATION.count("}")
    assert "{{" not in nginx.CONFIGURATION


@needs_openssl
def test_one_certificate_for_all_names(tmp_path: Path) -> None:
    ca.create(tmp_path)
    chain = subprocess.run(
        ["openssl", "verify", "-CAfile", tmp_path / "ca.pem", "-purpose", "sslserver", tmp_path / "server.pem"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert chain.stdout.endswith(": OK\n")
    for host in names.VENDOR_HOSTS:
        done = subprocess.run(
            ["openssl", "x509", "-noout", "-in", tmp_path / "server.pem", "-checkhost", host],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "does match" in done.stdout
    assert (tmp_path / "server.pem").read_text().count("BEGIN CERTIFICATE") == 2


@needs_openssl
def test_a_certificate_for_addresses(tmp_path: Path) -> None:
    ca.create(tmp_path)
    ca.issue(tmp_path, "node", ("pve1", "pve1.lab"), ("10.99.0.10",))
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-in", tmp_path / "node.pem", "-checkip", "10.99.0.10"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "does match" in shown.stdout


@needs_openssl
def test_openssl_says_why(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="openssl req failed"):
        ca.issue(tmp_path, "node", ("pve1",))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the libraries are for x86_64")
def test_an_empty_library_can_be_loaded(tmp_path: Path) -> None:
    file = tmp_path / "libcudart.so.12"
    file.write_bytes(shared_library("libcudart.so.12"))
    assert ctypes.CDLL(str(file))._handle
