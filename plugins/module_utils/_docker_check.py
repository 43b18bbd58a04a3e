# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# Whether Docker works in this container, and sees exactly the GPUs that the container was given.

from __future__ import annotations

import io
import json
import re
import struct
import tarfile
import tempfile
import typing as t
from collections.abc import Callable
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker import Docker
from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker_errors import explain
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._gpu import named, parse_assignment
from ansible_collections.phoenix.hypervisor.plugins.module_utils._node import Node
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Completed, Runner
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import run as run_command

STORAGE_DRIVERS = ("overlay2", "overlayfs")
PROBE = "phoenix-probe:latest"
_WATCHED = "phoenix-gpu-check"
_UUID = re.compile(r"\(UUID: (GPU-[0-9a-fA-F-]+)\)")
# nvidia-smi may say these and still end with 0.
_SMI_FAILURES = re.compile(r"No devices (?:were )?found|Failed to initialize NVML|version mismatch", re.IGNORECASE)
_TIMEOUT = 120.0


def probe_image() -> bytes:
    """The file system of an image: one program that ends at once with 0, for x86-64 as all of Proxmox VE is."""
    code = b"\x31\xff\xb8\x3c\x00\x00\x00\x0f\x05"  # exit(0)
    base, offset = 0x400000, 64 + 56
    size = offset + len(code)
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = identity + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + offset, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    program = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    data = header + program + code
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("probe")
        entry.mode, entry.size = 0o755, len(data)
        tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


class DockerCheck:
    """The checks in their order; the first that fails says why. Nothing that they make is left."""

    def __init__(
        self,
        *,
        nvidia: bool = False,
        image: str = "",
        gpus: object = "none",
        root: Path = Path("/"),
        runner: Runner = run_command,
    ) -> None:
        self.nvidia, self.image, self.assignment = nvidia, image, parse_assignment(gpus)
        self.node, self.runner = Node(root), runner
        self.docker = Docker(runner)

    def read(self) -> dict[str, t.Any]:
        """What can be told without starting anything."""
        self._service()
        info = self._info()
        return {
            "assigned": sorted(self._assigned()),
            "version": info.get("ServerVersion", ""),
            "storage_driver": info.get("Driver", ""),
            "cgroup_driver": info.get("CgroupDriver", ""),
            "runtimes": sorted(info.get("Runtimes") or {}),
        }

    def read_if_installed(self) -> dict[str, t.Any]:
        """For check mode, where Docker itself may come only with the real run."""
        return self.read() if self.docker.call("--version").ok else {}

    def run(self) -> dict[str, t.Any]:
        found = self.read()
        if not self.image:
            self._probe()
            return found
        return {**found, **self._check_gpus()}

    def _ask(self, *argv: str) -> Completed:
        return self.runner(argv, timeout=_TIMEOUT)

    def _service(self) -> None:
        state = self._ask("systemctl", "is-active", "docker").stdout.strip()
        if state != "active":
            journal = self._ask("journalctl", "-u", "docker", "-n", "20", "--no-pager", "-o", "cat").stdout
            reason, remedy = explain(journal) or (
                "see its journal below",
                "Correct what `journalctl -u docker` says in the container, and run again.",
            )
            raise PhoenixError(
                f"the service docker is {state or 'unknown'}: {reason}",
                remedy=remedy, code=Code.VERIFICATION, stdout=journal,
            )  # fmt: skip

    def _info(self) -> dict[str, t.Any]:
        done = self.docker.call("info", "--format", "{{json .}}")
        if not done.ok:
            raise _failed("docker info", done)
        info: dict[str, t.Any] = json.loads(done.stdout)
        driver = info.get("Driver", "")
        if driver not in STORAGE_DRIVERS:
            raise PhoenixError(
                f"Docker's storage driver is {driver}, not one of {', '.join(STORAGE_DRIVERS)}"
                + (": every layer of an image would be a full copy" if driver == "vfs" else ""),
                remedy="Overlay needs a root file system that can be its upper layer: ZFS 2.2 or newer on the node "
                "(`zfs version`), or a storage of another type; and the container's feature nesting. Correct that, "
                "remove storage-driver from /etc/docker/daemon.json, empty /var/lib/docker, and run again.",
                code=Code.VERIFICATION,
            )
        runtimes = info.get("Runtimes") or {}
        if self.nvidia and "nvidia" not in runtimes:
            raise PhoenixError(
                f"Docker does not list the nvidia runtime, only {', '.join(sorted(runtimes))}",
                remedy="Run the role lxc_docker with lxc_docker_nvidia: true, which registers it and restarts Docker.",
                code=Code.VERIFICATION,
            )
        if info.get("DefaultRuntime") == "nvidia":
            raise PhoenixError(
                "Docker's default runtime is nvidia, which stops every container where there is no GPU",
                remedy="Remove default-runtime from /etc/docker/daemon.json, and restart Docker.",
                code=Code.VERIFICATION,
            )
        return info

    def _probe(self) -> None:
        with tempfile.NamedTemporaryFile(suffix=".tar") as file:
            file.write(probe_image())
            file.flush()
            done = self.docker.call("import", "--change", 'CMD ["/probe"]', file.name, PROBE)
        if not done.ok:
            raise _failed("docker import", done)
        try:
            done = self.docker.call("run", "--rm", PROBE)
            if not done.ok:
                raise _failed("docker run of an image with a single program", done)
        finally:
            self.docker.call("image", "rm", "--force", PROBE)

    def _check_gpus(self) -> dict[str, t.Any]:
        expected = set(self._assigned().values())
        # The command that a user would try first, as the seed has it.
        shown = self._smi("run", "--rm", "--gpus", "all", self.image, "nvidia-smi")
        self._compare("--device nvidia.com/gpu=all", expected, self._listed(
            "run", "--rm", "--device", "nvidia.com/gpu=all", self.image))  # fmt: skip
        self._while_running(lambda: self._watch(expected))
        return {"gpus": sorted(expected), "nvidia_smi": shown}

    def _assigned(self) -> dict[int, str]:
        """The assigned GPUs with their UUIDs, by the list of the node's driver, which every container can read."""
        known = {gpu.index: gpu.uuid for gpu in self.node.gpus() if gpu.uuid}
        assigned = named(self.assignment, known)
        if self.assignment == "all" and not known:
            raise PhoenixError(
                "lxc_docker_gpus: all GPUs are assigned, and the node's driver lists none",
                remedy="Correct the assignment, or see on the node with nvidia-smi why the GPUs are lost.",
                code=Code.VERIFICATION,
            )
        missing = [gpu for gpu in assigned if gpu not in known]
        if missing:
            raise PhoenixError(
                f"lxc_docker_gpus: the node's driver knows no GPU {', '.join(map(str, missing))}, only "
                f"{', '.join(map(str, sorted(known))) or 'none'}",
                remedy="Correct the assignment, or see on the node with nvidia-smi why the GPU is lost.",
                code=Code.VERIFICATION,
            )
        return {gpu: known[gpu] for gpu in assigned}

    def _while_running(self, check: Callable[[], None]) -> None:
        self.docker.call("rm", "--force", _WATCHED)
        try:
            done = self.docker.call("run", "--detach", "--gpus", "all", "--name", _WATCHED, self.image, "sleep", "300")
            if not done.ok:
                raise _failed("docker run --detach --gpus all", done)
            check()
        finally:
            self.docker.call("rm", "--force", _WATCHED)

    def _watch(self, expected: set[str]) -> None:
        self._compare("--gpus all", expected, self._listed("exec", _WATCHED))
        self._ask("systemctl", "daemon-reload")
        try:
            self._compare("--gpus all", expected, self._listed("exec", _WATCHED))
        except PhoenixError as error:
            raise PhoenixError(
                f"after systemctl daemon-reload a running container has lost its GPUs: {error.reason}",
                remedy="Let Docker use the cgroup driver cgroupfs: remove native.cgroupdriver from exec-opts in "
                "/etc/docker/daemon.json and run the role lxc_docker again.",
                code=Code.VERIFICATION,
            ) from None

    def _listed(self, *words: str) -> set[str]:
        return set(_UUID.findall(self._smi(*words, "nvidia-smi", "-L")))

    def _smi(self, *words: str) -> str:
        done = self.docker.call(*words)
        if not done.ok or _SMI_FAILURES.search(done.stdout + done.stderr):
            raise _failed(done.command, done)
        return done.stdout

    def _compare(self, how: str, expected: set[str], seen: set[str]) -> None:
        if seen == expected:
            return
        parts = [
            f"{len(group)} that {what} ({', '.join(sorted(group))})"
            for what, group in (("are missing", expected - seen), ("are not assigned", seen - expected))
            if group
        ]
        raise PhoenixError(
            f"with {how} a Docker container sees {len(seen)} GPUs, not exactly the {len(expected)} assigned ones: "
            + ", ".join(parts),
            remedy="Let lxc_gpu_passthrough reconcile the container's GPU lines and restart it; then "
            "`systemctl restart phoenix-nvidia-cdi` in it renews what Docker knows of them.",
            code=Code.VERIFICATION,
        )


def _failed(what: str, done: Completed) -> PhoenixError:
    text = f"{done.stderr}\n{done.stdout}".strip()
    lines = [line for line in text.splitlines() if line.strip()]
    reason, remedy = explain(text) or (
        (lines[-1] if lines else f"exit status {done.rc}").strip(),
        "Run the command below in the container, correct what it says, and run again.",
    )
    return PhoenixError(
        f"{what} failed: {reason}", remedy=remedy, code=Code.VERIFICATION,
        command=done.command, rc=done.rc, stdout=done.stdout[-4000:], stderr=done.stderr[-4000:],
    )  # fmt: skip
