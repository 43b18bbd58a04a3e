# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# The proof that a driver works where this runs, on the node or in a container: one version everywhere, exactly the
# assigned GPUs, and a computation. Nothing is changed.
#
# nvidia-smi proves little: it lists GPUs and exits with 0 where CUDA is dead, and says 0 for "No devices found", too.

from __future__ import annotations

import dataclasses
import json
import re
import sys
import typing as t
from collections.abc import Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils import _gpu
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError, invalid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import check_timeout
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Gpu, Node
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia import expected_identity, is_version
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia_state import (
    Userspace,
    read_userspace,
    version_on_disk,
)
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Clock, Runner
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree

NVCC = "/usr/local/cuda/bin/nvcc"

# A process of its own: a driver that hangs or crashes takes no more than it along. Each step is told as it is done.
PROBE = """\
import ctypes, json, sys
steps = {"uuids": []}
def done(step, code):
    steps["step"], steps["code"] = step, code
    if code:
        print(json.dumps(steps))
        sys.exit(0)
try:
    cuda = ctypes.CDLL("libcuda.so.1")
except OSError as error:
    done("libcuda.so.1: " + str(error), -1)
count, context, address = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
uuid, device = (ctypes.c_ubyte * 16)(), ctypes.c_int()
done("cuInit", cuda.cuInit(0))
done("cuDeviceGetCount", cuda.cuDeviceGetCount(ctypes.byref(count)))
for number in range(count.value):
    done("cuDeviceGet", cuda.cuDeviceGet(ctypes.byref(device), number))
    done("cuDeviceGetUuid", cuda.cuDeviceGetUuid(ctypes.byref(uuid), device))
    text = bytes(uuid).hex()
    steps["uuids"].append("GPU-" + "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])))
    done("cuCtxCreate", cuda.cuCtxCreate_v2(ctypes.byref(context), 0, device))
    done("cuMemAlloc", cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(1 << 20)))
    done("cuMemFree", cuda.cuMemFree_v2(address))
    done("cuCtxDestroy", cuda.cuCtxDestroy_v2(context))
print(json.dumps(steps))
"""

# What CUDA's numbers mean here (facts of a real GPU in a real container).
_CUDA_CODES = {
    -1: ("the library cannot be loaded", "Install the driver's libraries (nvidia_runfile) and run `ldconfig`."),
    2: ("the GPU has no memory left", "See who holds it: `nvidia-smi` on the node."),
    3: ("the driver is not initialised", "Look at `dmesg` on the node."),
    100: ("no GPU can be opened", "See that the assigned /dev/nvidiaN and /dev/nvidiactl are there and allowed."),
    803: (
        "libraries and kernel module differ",
        "Install the version that the node has loaded, and restart what runs with the old one.",
    ),
    999: (
        "/dev/nvidia-uvm is missing, stale or not allowed, or a GPU is lost",
        "Run lxc_gpu_passthrough for the container; look for Xid messages in `dmesg` on the node.",
    ),
}


@dataclasses.dataclass(frozen=True)
class Request:
    """The module's options."""

    version: str | None = None
    url: str | None = None
    gpus: object = "all"
    cuda: str | None = None
    timeout: int = 60


class Proof:
    """One request, from arguments to result."""

    def __init__(
        self, request: Request, node: Node, runner: Runner, clock: Clock, *, python: str = sys.executable or "python3"
    ) -> None:
        check_timeout(request.timeout)
        self._request = request
        self._node = node
        self._tree = Tree(node.root)
        self._runner = runner
        self._deadline = clock.deadline(request.timeout)
        self._python = python

    def run(self) -> dict[str, t.Any]:
        version = self._version()
        assignment = _gpu.parse_assignment(self._request.gpus)
        if self._request.cuda is not None and not re.fullmatch(r"\d+\.\d+", self._request.cuda):
            raise invalid("cuda", self._request.cuda, "is no CUDA release", "Write it like 12.8.")
        userspace = read_userspace(self._tree)
        gpus = self._node.gpus()
        indices = _gpu.named(assignment, [gpu.index for gpu in gpus])
        wanted = [gpu for gpu in gpus if gpu.index in indices]
        missing = sorted(set(indices) - {gpu.index for gpu in gpus})
        result: dict[str, t.Any] = {"version": version, "gpus": [dataclasses.asdict(gpu) for gpu in wanted]}
        if missing and gpus:
            # A driver that lists others lists all that the node has: nothing is to be installed again.
            reason = f"the loaded driver lists no GPU {', '.join(map(str, missing))}"
            raise PhoenixError(
                reason,
                remedy="Correct gpu_assignment in phoenix_lxc_configs.json (the option gpus): the driver lists "
                f"{', '.join(str(gpu.index) for gpu in gpus)}.",
                code=Code.VERIFICATION,
                problems=[reason],
                **result,
            )
        problems = self._versions(version, userspace)
        if assignment and not gpus:
            problems.append("the loaded driver lists no GPU")
        problems += self._devices([gpu.index for gpu in wanted])
        remedies: list[str] = []
        if not problems and assignment:
            problems, remedies = self._computes(wanted)
        if self._request.cuda is not None:
            compiler = self._compiler()
            result["nvcc"] = compiler or None
            if compiler != self._request.cuda:
                problems.append(f"{NVCC} is {compiler or 'missing'}, and not of CUDA {self._request.cuda}")
        if problems:
            raise PhoenixError(
                "; ".join(problems),
                remedy=" ".join(dict.fromkeys(remedies))
                or "Run the role that installs the driver again (hypervisor_nvidia on the node, lxc_nvidia in a "
                "container).",
                code=Code.VERIFICATION,
                problems=problems,
                **result,
            )
        return {"changed": False, **result}

    def _version(self) -> str:
        if self._request.url is not None:
            return expected_identity(self._request.url, self._request.version).version
        version = self._request.version or ""
        if not is_version(version):
            raise invalid("version", version, "is no NVIDIA driver version", "Write it like 580.159.04, or use url.")
        return version

    def _versions(self, version: str, userspace: Userspace) -> list[str]:
        """Configured, installed, on disk, loaded: each against the first."""
        found = userspace.problems(version)
        if userspace.clashing:
            found.append(f"packages of a second driver are installed: {', '.join(userspace.clashing)}")
        loaded = self._node.driver_loaded()
        if loaded != version:
            found.append(f"the node's kernel has {f'driver {loaded}' if loaded else 'no NVIDIA driver'} loaded")
        # A container has no modules of its own.
        kernel = self._node.kernel
        on_disk = version_on_disk(self._tree, kernel)
        if on_disk and on_disk != version:
            found.append(f"the kernel module on disk for {kernel} is {on_disk}")
        return [f"{problem} (wanted: {version})" for problem in found]

    def _devices(self, indices: Sequence[int]) -> list[str]:
        if not indices:
            return []
        drivers = self._node.char_majors()
        majors = {name: major for major, name in drivers.items()}
        numbers = {f"/dev/nvidia{index}": (_gpu.STATIC_MAJOR, index) for index in indices}
        numbers["/dev/nvidiactl"] = (_gpu.STATIC_MAJOR, 255)
        numbers["/dev/nvidia-uvm"] = (majors.get("nvidia-uvm", -1), 0)
        devices = tuple(_gpu.Device(path, *number, 0o666) for path, number in numbers.items())
        there = self._node.device_nodes()
        return _gpu.differences(_gpu.Wanted("raw", devices), there, None, frozenset(), {})

    def _computes(self, wanted: Sequence[Gpu]) -> tuple[list[str], list[str]]:
        expected = {gpu.uuid for gpu in wanted}
        listed = self._runner(
            ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"], timeout=max(self._deadline.left, 1)
        )
        smi = {line.strip() for line in listed.stdout.splitlines() if line.startswith("GPU-")}
        problems, remedies = [], []
        if not listed.ok or smi != expected:
            said = (listed.stderr.strip() or listed.stdout.strip()).splitlines()
            detail = "" if smi or not said else f" ({said[-1].strip()})"
            problems.append(f"nvidia-smi lists {_counted(smi)} instead of {_counted(expected)}{detail}")
            remedies.append("Run lxc_gpu_passthrough for the container, or look at `dmesg` on the node.")
        probe = self._run_probe()
        if code := probe.get("code", -1):
            meaning, remedy = _CUDA_CODES.get(code, ("CUDA does not work", "Look at `dmesg` on the node."))
            problems.append(f"CUDA cannot compute: {probe.get('step')} gives {code}, {meaning}")
            remedies.insert(0, remedy)
        elif set(probe["uuids"]) != expected:
            problems.append(f"CUDA sees {_counted(set(probe['uuids']))} instead of {_counted(expected)}")
            remedies.append("See that no CUDA_VISIBLE_DEVICES is set, and run lxc_gpu_passthrough for the container.")
        return problems, remedies

    def _run_probe(self) -> dict[str, t.Any]:
        done = self._runner([self._python, "-I", "-c", PROBE], timeout=max(self._deadline.left, 1))
        try:
            answer: dict[str, t.Any] = json.loads(done.stdout)
        except ValueError:
            return {"step": f"the probe broke off ({done.last_line})", "code": -2}
        return answer

    def _compiler(self) -> str:
        if not self._tree.exists(NVCC):
            return ""
        done = self._runner([NVCC, "--version"], timeout=max(self._deadline.left, 1))
        release = re.search(r"\brelease (\d+\.\d+)", done.stdout)
        return release[1] if release else ""


def _counted(uuids: set[str]) -> str:
    return f"{len(uuids)} GPU{'' if len(uuids) == 1 else 's'}" + (f" ({', '.join(sorted(uuids))})" if uuids else "")
