# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The images that fleets ask for, under their real names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from . import userland
from .elf import closure
from .oci import Image, Layer, Tree
from .userland import Root

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CUDA_PATH = f"/usr/local/nvidia/bin:/usr/local/cuda/bin:{PATH}"
BRANDS = "unknown grid tesla nvidia quadro quadrortx nvidiartx vapps vpc vcs vws cloudgaming".split()
HELLO = """
Hello from Docker!
This message shows that your installation appears to be working correctly.
"""
CUDA_VERSION_JSON = """\
{
   "cuda" : {
      "name" : "CUDA SDK",
      "version" : "12.8.0"
   }
}
"""
DIST_PACKAGES = "usr/lib/python3/dist-packages"
VLLM_COMMAND = "#!/usr/bin/python3\nimport sys\n\nfrom vllm.main import main\n\nsys.exit(main(sys.argv[1:]))\n"
VLLM_SERVER = 'import sys\n\nfrom vllm.main import main\n\nsys.exit(main(sys.argv[1:], "api_server.py"))\n'


@dataclasses.dataclass(frozen=True)
class Published:
    repository: str
    tags: Sequence[str]
    image: Image
    # Also as an archive for `docker load`.
    archive: bool = False

    @property
    def reference(self) -> str:
        return f"{self.repository.removeprefix('library/')}:{self.tags[0]}"


def require_cuda(version: str, branches: Sequence[int]) -> str:
    """NVIDIA_REQUIRE_CUDA as NVIDIA's images have it: newer drivers, or a branch with forward compatibility."""
    older = [f"brand={brand},driver>={branch},driver<{branch + 1}" for branch in branches for brand in BRANDS]
    return " ".join([f"cuda>={version}", *older])


def cuda_environment(version: str, cudart: str, branches: Sequence[int]) -> list[str]:
    major_minor = version.rpartition(".")[0]
    return [
        f"PATH={CUDA_PATH}",
        "NVARCH=x86_64",
        f"NVIDIA_REQUIRE_CUDA={require_cuda(major_minor, branches)}",
        f"NV_CUDA_CUDART_VERSION={cudart}",
        f"CUDA_VERSION={version}",
        "LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64",
        "NVIDIA_VISIBLE_DEVICES=all",
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    ]


CUDA_12_8_0 = cuda_environment("12.8.0", "12.8.57-1", (470, 535, 550, 560, 565))
CUDA_12_8_1 = cuda_environment("12.8.1", "12.8.90-1", (470, 535, 550, 560, 565))
CUDA_13_0 = cuda_environment("13.0.2", "13.0.96-1", (535, 550, 570, 575))


def all_images(root: Root) -> list[Published]:
    base = userland.distribution(root)
    small = userland.small(root)
    python = userland.python(root, sorted(closure([root.program("bash")], root.libraries)))
    ubuntu = [base, userland.identity(userland.NOBLE)]
    return [
        Published("nvidia/cuda", ["12.8.0-base-ubuntu24.04"], _cuda([*ubuntu, _cuda_layer()]), archive=True),
        *_vllm(base, python),
        *_services([base, userland.identity(userland.BOOKWORM), python]),
        Published(
            "library/hello-world", ["latest"], Image([small, _hello()], {"Env": [f"PATH={PATH}"], "Cmd": ["/hello"]})
        ),
        Published("library/busybox", ["latest"], Image([small], {"Env": [f"PATH={PATH}"], "Cmd": ["sh"]})),
        Published(
            "library/alpine",
            ["latest", "3.22"],
            Image([small, userland.identity(userland.ALPINE)], {"Env": [f"PATH={PATH}"], "Cmd": ["/bin/sh"]}),
        ),
    ]


def _cuda_layer() -> Layer:
    tree = Tree()
    tree.file("etc/ld.so.conf.d/nvidia.conf", "/usr/local/nvidia/lib\n/usr/local/nvidia/lib64\n")
    tree.folder("usr/local/cuda-12.8/lib64")
    tree.link("usr/local/cuda", "cuda-12.8")
    tree.file("usr/local/cuda-12.8/version.json", CUDA_VERSION_JSON)
    return tree.layer()


def _cuda(layers: Sequence[Layer]) -> Image:
    labels = {
        "maintainer": "NVIDIA CORPORATION <cudatools@nvidia.com>",
        "org.opencontainers.image.ref.name": "ubuntu",
        "org.opencontainers.image.version": "24.04",
    }
    return Image(layers, {"Env": CUDA_12_8_0, "Cmd": ["/bin/bash"], "Labels": labels, "WorkingDir": ""})


def _vllm(base: Layer, python: Layer) -> list[Published]:
    layers = [base, userland.identity(userland.JAMMY), python]
    current = _vllm_image(layers, "0.25.1", 0.92, CUDA_13_0, ["vllm", "serve"])
    older = _vllm_image(layers, "0.10.0", 0.9, CUDA_12_8_1, ["python3", "-m", "vllm.entrypoints.openai.api_server"])
    return [
        Published("vllm/vllm-openai", ["v0.25.1", "latest"], current, archive=True),
        Published("vllm/vllm-openai", ["v0.10.0"], older),
    ]


def _vllm_image(
    layers: Sequence[Layer], version: str, utilization: float, environment: Sequence[str], entrypoint: Sequence[str]
) -> Image:
    tree = Tree()
    package = f"{DIST_PACKAGES}/vllm"
    texts = userland.package(Path(__file__).parent / "vllm", package)
    texts[f"{package}/version.py"] = (
        f'from __future__ import annotations\n\nVERSION = "{version}"\nDEFAULT_UTILIZATION = {utilization}\n'
    )
    texts |= {f"{package}/{folder}/__init__.py": "" for folder in ("entrypoints", "entrypoints/openai")}
    texts[f"{package}/entrypoints/openai/api_server.py"] = VLLM_SERVER
    userland.modules(tree, texts)
    tree.file("usr/local/bin/vllm", VLLM_COMMAND, 0o755)
    tree.folder("vllm-workspace")
    defaults = {
        "Env": [*environment, "VLLM_USAGE_SOURCE=production-docker-image", "PYTHONUNBUFFERED=1"],
        "Entrypoint": list(entrypoint),
        "WorkingDir": "/vllm-workspace",
        "Labels": {"org.opencontainers.image.ref.name": "ubuntu", "org.opencontainers.image.version": "22.04"},
    }
    return Image([*layers, tree.layer()], defaults)


def _services(layers: Sequence[Layer]) -> list[Published]:
    tree = Tree()
    userland.modules(tree, userland.package(Path(__file__).parent / "services", f"{DIST_PACKAGES}/services"))
    tree.file("qdrant/entrypoint.sh", "#!/bin/sh\nexec python3 -m services.qdrant\n", 0o755)
    for path, role in (("portainer", "server"), ("app/agent", "agent")):
        tree.file(path, f"#!/bin/sh\nexec python3 -m services.portainer {role}\n", 0o755)
    all_layers = [*layers, tree.layer()]

    def image(**defaults: object) -> Image:
        return Image(all_layers, {"Env": [f"PATH={PATH}"], **defaults})

    qdrant = image(
        Entrypoint=["./entrypoint.sh"],
        WorkingDir="/qdrant",
        ExposedPorts=_ports(6333, 6334),
        Volumes={"/qdrant/storage": {}},
    )
    server = image(
        Entrypoint=["/portainer"], WorkingDir="/", ExposedPorts=_ports(8000, 9000, 9443), Volumes={"/data": {}}
    )
    agent = image(Entrypoint=["./agent"], WorkingDir="/app", ExposedPorts=_ports(9001))
    return [
        Published("qdrant/qdrant", ["v1.15.4", "latest"], qdrant),
        Published("portainer/portainer-ce", ["2.33.1", "lts", "latest"], server),
        Published("portainer/agent", ["2.33.1", "lts", "latest"], agent),
    ]


def _ports(*ports: int) -> dict[str, dict[str, str]]:
    return {f"{port}/tcp": {} for port in ports}


def _hello() -> Layer:
    tree = Tree()
    tree.file("hello", f"#!/bin/sh\ncat <<'END'\n{HELLO}\nEND\n", 0o755)
    return tree.layer()
