# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# NVIDIA's CUDA repository as one source of apt, whatever was there before, and the pins that keep a driver out.

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
import typing as t
from collections.abc import Callable, Mapping
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._apt_get import SOURCES, Apt, source_files
from ansible_collections.phoenix.hypervisor.plugins.module_utils._apt_sources import has_entries, without_cuda
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError, from_os, invalid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._files import replace
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import check_timeout
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Clock, Runner
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import run as run_command
from ansible_collections.phoenix.hypervisor.plugins.module_utils._transfer import Transfer
from ansible_collections.phoenix.hypervisor.plugins.module_utils._tree import Tree

SOURCE = "/etc/apt/sources.list.d/nvidia-cuda.sources"
KEY = "/etc/apt/keyrings/nvidia-cuda.asc"
# Before the files of others: the first record that names a package decides.
PINS = "/etc/apt/preferences.d/00-phoenix-nvidia.pref"

# A repository keeps its key. Since Debian 13, NVIDIA gives every new distribution a key of its own.
_KEY_NAME = "3bf863cc.pub"
_KEY_NAMES = {"debian13": "8793F200.pub", "ubuntu2604": "60DF8A40.pub"}

_MARK = "# Managed by phoenix.hypervisor.cuda_repository: changes are overwritten."
_BLOCK = re.compile(r"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n.*\n-----END PGP PUBLIC KEY BLOCK-----\s*", re.DOTALL)

# What a driver comes in, on Ubuntu, on Debian and in NVIDIA's repository. Not libnvidia-*, which would also bar the
# NVIDIA Container Toolkit's libnvidia-container.
DRIVER_PACKAGES = (
    "nvidia-alternative*", "nvidia-compute-*", "nvidia-dkms*", "nvidia-driver*", "nvidia-egl*", "nvidia-firmware*",
    "nvidia-fabricmanager*", "nvidia-headless*", "nvidia-installer-cleanup", "nvidia-kernel-*", "nvidia-legacy*",
    "nvidia-modprobe", "nvidia-open*", "nvidia-opencl*", "nvidia-persistenced", "nvidia-prime*", "nvidia-settings*",
    "nvidia-smi", "nvidia-suspend*", "nvidia-utils*", "nvidia-vaapi*", "nvidia-vdpau*", "nvidia-vulkan*",
    "nvidia-xconfig",
    "libnvidia-allocator*", "libnvidia-api*", "libnvidia-cfg*", "libnvidia-common*", "libnvidia-compiler*",
    "libnvidia-compute*", "libnvidia-decode*", "libnvidia-egl*", "libnvidia-eglcore*", "libnvidia-encode*",
    "libnvidia-extra*", "libnvidia-fbc*", "libnvidia-gl*", "libnvidia-gpucomp*", "libnvidia-ifr*", "libnvidia-ml*",
    "libnvidia-ngx*", "libnvidia-nvvm*", "libnvidia-opencl*", "libnvidia-opticalflow*", "libnvidia-pkcs11*",
    "libnvidia-present*", "libnvidia-ptxjitcompiler*", "libnvidia-rtcore*", "libnvidia-sandboxutils*",
    "libcuda1*", "libcudadebugger1", "libnvcuvid1", "libnvoptix1", "libgl1-nvidia*", "libglx-nvidia*",
    "libegl-nvidia*", "libgles-nvidia*", "cuda-drivers*", "firmware-nvidia-gsp*", "glx-alternative-nvidia",
    "xserver-xorg-video-nvidia*",
)  # fmt: skip
TOOLKIT_PACKAGES = ("libnvidia-container*", "nvidia-container-*")


def pins() -> str:
    return f"""\
{_MARK}

Explanation: The driver comes from NVIDIA's runfile. A second one beside it breaks both.
Package: {" ".join(DRIVER_PACKAGES)}
Pin: version *
Pin-Priority: -1

Explanation: The NVIDIA Container Toolkit has a repository of its own, whose packages must not be mixed with these.
Package: {" ".join(TOOLKIT_PACKAGES)}
Pin: release l=NVIDIA CUDA
Pin-Priority: -1
"""


def source(url: str, key: str) -> str:
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f"""\
{_MARK}
# The key has sha256 {digest}
Types: deb
URIs: {url}
Suites: /
Signed-By: {KEY}
"""


def key_name(url: str) -> str:
    """The file beside the packages that has their key, by the distribution in the address."""
    return next((name for part, name in _KEY_NAMES.items() if part in url.split("/")), _KEY_NAME)


@dataclasses.dataclass(frozen=True)
class Request:
    """The module's options."""

    url: str | None = None
    key_url: str | None = None
    timeout: int = 300


class CudaRepository:
    """One request, from arguments to result."""

    def __init__(
        self,
        request: Request,
        tree: Tree,
        fetch: Callable[[str, str], str],
        runner: Runner = run_command,
        clock: Clock | None = None,
        *,
        check_mode: bool = False,
    ) -> None:
        self._request = request
        self._tree = tree
        check_timeout(request.timeout)
        self._fetch = fetch
        self._apt = Apt(runner, (clock or Clock()).deadline(request.timeout), tree)
        self._check_mode = check_mode

    def run(self) -> dict[str, t.Any]:
        wanted: dict[str, str | None] = {PINS: pins()}
        if self._request.url is not None:
            wanted |= self._repository(_checked(self._request.url))
        before = {path: self._text(path) for path in wanted}
        changed = {path: text for path, text in wanted.items() if text != before[path]}
        if changed and not self._check_mode:
            self._bring_about(changed, before)
        return {
            "changed": bool(changed),
            "files": sorted(path for path, text in changed.items() if text is not None),
            "removed": sorted(path for path, text in changed.items() if text is None),
            "diff": [
                {"before_header": path, "after_header": path, "before": before[path] or "", "after": text or ""}
                for path, text in changed.items()
            ],
        }

    def _bring_about(self, changed: Mapping[str, str | None], before: Mapping[str, str | None]) -> None:
        try:
            # The pins and the key first: whoever runs apt meanwhile finds each source with its key, and no driver.
            for path in sorted(changed, key=(PINS, KEY).__contains__, reverse=True):
                self._write(path, changed[path])
            if self._request.url is not None:
                self._apt.read_source(SOURCE)
        except (PhoenixError, OSError) as error:
            # A source that apt cannot read makes every later `apt-get update` fail, and looks done to the next run.
            lost = [path for path in changed if not self._is_put_back(path, before[path])]
            if not lost:
                raise
            known = error if isinstance(error, PhoenixError) else from_os(error)
            raise known.with_context(f"Could not be put back: {', '.join(lost)}") from error

    def _is_put_back(self, path: str, text: str | None) -> bool:
        # On a full disk nothing can be written again that is as it was.
        with contextlib.suppress(OSError):
            if self._text(path) != text:
                self._write(path, text)
            return True
        return False

    def _text(self, path: str) -> str | None:
        return self._tree.text(path) if self._tree.exists(path) else None

    def _repository(self, url: str) -> dict[str, str | None]:
        key = self._key(url)
        return {**self._cleaned(url), KEY: key, SOURCE: source(url, key)}

    def _cleaned(self, url: str) -> dict[str, str | None]:
        """The files of others that have the repository, too, each without it; a file with nothing else in it goes."""
        found: dict[str, str | None] = {}
        for path in source_files(self._tree):
            if path == SOURCE:
                continue
            text = self._tree.text(path)
            cleaned = without_cuda(path.rpartition("/")[2], text, url)
            if cleaned != text:
                goes = path != SOURCES and not has_entries(cleaned)
                found[path] = None if goes else cleaned
        return found

    def _key(self, url: str) -> str:
        """The key as it lies there if it is the one that was noted, else the server's."""
        there = self._tree.text(KEY)
        if there and _BLOCK.fullmatch(there) and self._tree.text(SOURCE) == source(url, there):
            return there
        key_url = self._request.key_url or f"{url}{key_name(url)}"
        key = self._fetch("key_url", key_url)
        if not _BLOCK.fullmatch(key):
            raise PhoenixError(
                f"key_url: {key_url} is no public key, but begins with {key[:40]!r}",
                remedy="Correct url or key_url: NVIDIA's key lies beside its packages. This module changed nothing.",
                code=Code.INPUT,
            )
        return key

    def _write(self, path: str, text: str | None) -> None:
        place = self._tree.resolve(path)
        if text is None:
            place.unlink(missing_ok=True)
        else:
            replace(place, text)


def _checked(url: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+/\S*", url):
        raise invalid(
            "url", url, "is no address of a repository",
            "Write it like https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64/.",
        )  # fmt: skip
    return url.rstrip("/") + "/"


def manager(parameters: Mapping[str, t.Any], *, check_mode: bool) -> CudaRepository:
    """For the machine that this runs on."""
    return CudaRepository(Request(**parameters), Tree(Path("/")), Transfer(stall=30).text, check_mode=check_mode)
