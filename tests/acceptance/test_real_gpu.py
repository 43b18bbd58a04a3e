# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What the collection says of a real GPU. For a machine with an NVIDIA driver, as root, with nothing but Python:
#     python3 -m unittest -v tests/acceptance/test_real_gpu.py

from __future__ import annotations

import dataclasses
import json
import os
import stat
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Sequence
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]
_NAMESPACE = tempfile.TemporaryDirectory()
(Path(_NAMESPACE.name) / "ansible_collections/phoenix").mkdir(parents=True)
(Path(_NAMESPACE.name) / "ansible_collections/phoenix/hypervisor").symlink_to(_CHECKOUT)
sys.path.insert(0, _NAMESPACE.name)

# After the path that they are found on.
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError  # noqa: E402
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node  # noqa: E402
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_proof import PROBE, Proof, Request  # noqa: E402
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import run  # noqa: E402


def said(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def without(path: str, argv: Sequence[str]) -> str:
    """What a program says where a device is not what it should be."""
    script = 'mount --bind /dev/null "$0" && exec "$@"'
    return said("unshare", "--mount", "sh", "-c", script, path, *argv)


@unittest.skipUnless(Path("/proc/driver/nvidia/version").exists(), "no NVIDIA driver is loaded")
class RealGpu(unittest.TestCase):
    def setUp(self) -> None:
        self.node = Node()
        self.loaded = self.node.driver_loaded()

    def problems(self, request: Request) -> list[str]:
        try:
            Proof(request, self.node, run, self.node.clock).run()
        except PhoenixError as error:
            return list(error.details["problems"])
        return []

    def test_the_version_is_what_the_driver_says(self) -> None:
        words = said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").split()
        assert {self.loaded} == set(words)

    def test_the_gpus_are_what_the_driver_says(self) -> None:
        listed = said("nvidia-smi", "--query-gpu=index,name,uuid", "--format=csv,noheader").splitlines()
        assert listed == [f"{gpu.index}, {gpu.name}, {gpu.uuid}" for gpu in self.node.gpus()]

    def test_the_nodes_have_the_numbers_that_the_kernel_gives(self) -> None:
        drivers = self.node.char_majors()
        for path, device in self.node.device_nodes().items():
            found = os.stat(path)
            assert stat.S_ISCHR(found.st_mode), path
            assert (os.major(found.st_rdev), os.minor(found.st_rdev)) == (device.major, device.minor), path
            assert device.major in drivers, path

    def test_it_computes(self) -> None:
        # Whoever lends the machine may have brought the driver without the installer, which leaves a log.
        script = 'mount -t tmpfs none /var/lib && mkdir /var/lib/nvidia && echo "$0" >/var/lib/nvidia/log && exec "$@"'
        log = f"1.0-0000 ({self.loaded})"
        prove = [sys.executable, __file__, "prove", str(self.loaded)]
        proof = json.loads(said("unshare", "--mount", "sh", "-c", script, log, *prove))
        assert proof["gpus"] == [dataclasses.asdict(gpu) for gpu in self.node.gpus()]

    def test_another_version_is_noticed(self) -> None:
        found = self.problems(Request(version="470.0.1"))
        assert any(f"driver {self.loaded} loaded (wanted: 470.0.1)" in problem for problem in found), found

    def test_a_gpu_that_is_not_there_is_noticed(self) -> None:
        assert "the loaded driver lists no GPU 15" in self.problems(Request(version=self.loaded, gpus=[15]))

    def test_cuda_is_dead_without_uvm_while_smi_is_content(self) -> None:
        probe = json.loads(without("/dev/nvidia-uvm", [sys.executable, "-I", "-c", PROBE]))
        assert (probe["step"], probe["code"]) == ("cuInit", 999)
        assert "GPU 0" in without("/dev/nvidia-uvm", ["nvidia-smi", "-L"])


if __name__ == "__main__":
    if sys.argv[1:2] == ["prove"]:
        here = Node()
        print(json.dumps(Proof(Request(version=sys.argv[2]), here, run, here.clock).run()))
    else:
        unittest.main()
