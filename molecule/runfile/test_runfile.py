# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest

LIBRARIES = "/usr/lib/x86_64-linux-gnu"
OLDER = "570.172.08"


@pytest.fixture(scope="module")
def url(fleet):
    return fleet["libraries"]["phoenix_nvidia"]["runfile_url"]


@pytest.fixture(scope="module")
def version(url):
    return re.search(r"-(\d+\.\d+\.\d+)\.run$", url)[1]


@pytest.fixture(scope="module")
def cached(node, fleet, url):
    return node.file(f"{fleet['libraries']['phoenix_cache_dir']}/{url.rpartition('/')[2]}")


def test_the_node_has_the_module_of_that_version(node, version) -> None:
    assert version in node.file("/proc/driver/nvidia/version").content_string
    assert f"nvidia/{version}, {node.check_output('uname -r')}, x86_64: installed" in node.check_output("dkms status")


def test_the_cache_has_what_nvidia_published(node, cached, url) -> None:
    published = node.check_output("curl -sSf %s", f"{url}.sha256sum").split()
    assert published[0] == cached.sha256sum


def test_the_cache_has_nothing_half_written(node, cached) -> None:
    folder, _slash, name = cached.path.rpartition("/")
    assert [found for found in node.file(folder).listdir() if found.endswith((".run", ".part"))] == [name]


def test_the_container_has_the_libraries_of_that_version(inside, version) -> None:
    found = inside(140).check_output("find %s -name 'libcuda.so.*.*' -printf '%%f\\n'", LIBRARIES)
    assert found == f"libcuda.so.{version}"
    assert inside(140).check_output("readlink -f %s/libcuda.so.1", LIBRARIES) == f"{LIBRARIES}/libcuda.so.{version}"


def test_the_container_counts_its_gpus_with_that_version(inside, version) -> None:
    lines = inside(140).check_output("nvidia-smi --query-gpu=driver_version,uuid --format=csv,noheader").splitlines()
    assert [line.split(", ")[0] for line in lines] == [version, version]
    assert len(set(lines)) == 2


def test_the_container_has_no_kernel_module(inside) -> None:
    assert not inside(140).check_output("find /lib/modules /usr/src /var/lib/dkms -name '*nvidia*' 2>/dev/null || true")


def test_no_runfile_is_left_in_the_container(inside) -> None:
    assert not inside(140).check_output("find / -xdev -name '*.run' -size +10k 2>/dev/null || true")


def test_the_older_driver_was_there_and_is_gone(node, inside) -> None:
    assert node.file("/root/runfile.before").content_string.strip() == f"{LIBRARIES}/libcuda.so.{OLDER}"
    assert not inside(140).check_output("find /usr -name %s", f"*.so.{OLDER}")


def test_the_container_did_not_download_it(inside) -> None:
    assert inside(140).check_output("getent hosts us.download.nvidia.com").split()[0] == "192.0.2.1"


def test_the_broken_file_was_replaced_by_the_one_from_before(node, cached) -> None:
    assert node.file("/root/runfile.sum").content_string.split()[0] == cached.sha256sum
