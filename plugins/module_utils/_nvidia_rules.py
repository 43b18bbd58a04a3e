# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# What may be installed where, and with which flags. Pure: nothing here reads or runs anything.

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError, invalid
from ansible_collections.phoenix.hypervisor.plugins.module_utils._nvidia import (
    kernel_order,
    order,
    without_architecture,
)

NODE_LOG = "/var/log/nvidia-installer.log"
UNINSTALL_LOG = "/var/log/nvidia-uninstall.log"
DKMS_KEY = "/var/lib/dkms/mok.key"
DKMS_CERTIFICATE = "/var/lib/dkms/mok.pub"

# The first devices of Turing and of Blackwell by their PCI device id, and the Hopper that is soldered to a Grace.
_TURING = 0x1E00
_BLACKWELL = 0x2900
_GRACE_HOPPER = range(0x2340, 0x2380)

_FIRST_OPEN = "515.43.04"
_FIRST_MODULE_TYPE = "555.42.02"
_FIRST_RUNNING_DRIVER = "545.23.06"
_FIRST_SKIP_MODULE_LOAD = "550.40.07"

# Flags younger than the oldest driver that anybody still installs, with the release that brought them.
_SINCE = {
    "--no-kernel-modules": _FIRST_OPEN,
    "--rebuild-initramfs": _FIRST_RUNNING_DRIVER,
    "--no-rebuild-initramfs": _FIRST_RUNNING_DRIVER,
    "--allow-installation-with-running-driver": _FIRST_RUNNING_DRIVER,
    "--skip-module-load": _FIRST_SKIP_MODULE_LOAD,
    "--no-systemd": "465.19.01",
}
_OLDER_NAMES = {"--no-kernel-modules": "--no-kernel-module"}

_NODE_FLAGS = (
    "--silent",
    "--dkms",
    "--disable-nouveau",
    "--no-x-check",
    "--no-install-compat32-libs",
    f"--log-file-name={NODE_LOG}",
    # Stated either way, so that a module of the driver before never wins from a stale initramfs.
    "--rebuild-initramfs",
)
_RUNNING_DRIVER_FLAGS = ("--allow-installation-with-running-driver", "--skip-module-load")
_CONTAINER_FLAGS = (
    "--silent",
    "--no-kernel-modules",
    "--no-nouveau-check",
    "--no-x-check",
    "--no-nvidia-modprobe",
    "--no-systemd",
    "--no-rebuild-initramfs",
    "--no-install-compat32-libs",
    "--no-backup",
    "--skip-depmod",
    "--no-check-for-alternate-installs",
)

_SHORT_OPTIONS = {
    "-s": "silent",
    "-q": "questions",
    "-m": "kernel-module-build-directory",
    "-M": "kernel-module-type",
    "-z": "no-nouveau-check",
    "-Z": "disable-nouveau",
    "-b": "no-backup",
    "-K": "kernel-module-only",
    "-k": "kernel-name",
    "-x": "extract-only",
    "-i": "driver-info",
    "-v": "version",
    "-h": "help",
    "-A": "advanced-options",
    "-e": "expert",
}
# Options that make the installer do another thing than install for the running kernel, or ask.
_OTHER_MODES = frozenset(
    (
        "add-this-kernel", "advanced-options", "apply-patch", "check", "driver-info", "expert", "extract-only", "help",
        "info", "keep", "kernel-module-only", "kernel-name", "label", "list", "lsm",
        "print-recommended-kernel-module-type", "sanity", "target", "ui", "uninstall", "version", "version-string",
    )
)  # fmt: skip
_OURS = {
    "questions": "implied by --silent",
    "kernel-module-build-directory": "the module's option kernel_module_type decides",
    "kernel-module-type": "the module's option kernel_module_type decides",
    "tmpdir": "the module unpacks below /var/tmp and removes it again",
    "module-signing-secret-key": "the module signs with the key of DKMS where Secure Boot is on",
    "module-signing-public-key": "the module signs with the key of DKMS where Secure Boot is on",
}

_PROTECTED = re.compile(r"libnvidia-container.*|nvidia-container-.*|nvidia-docker.*")
_CLASHING = re.compile(
    r"nvidia-(?:alternative|compute|dkms|driver|egl|firmware|fabricmanager|headless|installer-cleanup|kernel|legacy"
    r"|modprobe|open|opencl|persistenced|prime|settings|smi|suspend|utils|vaapi|vdpau|vulkan|xconfig).*"
    r"|libnvidia-.*|libcuda1.*|libcudadebugger1|libnvcuvid1|libnvoptix1|lib(?:gl1?|glx|egl|gles\w*)-nvidia.*"
    r"|cuda-drivers.*|firmware-nvidia-(?!graphics).*|glx-alternative-nvidia|xserver-xorg-video-nvidia.*"
)
# What the installer's own words mean for the person who reads them.
_FAILURES = (
    (
        r"appears to (?:be already|already be) loaded in your kernel",
        "Stop what uses the GPU (containers, nvidia-persistenced; `fuser -v /dev/nvidia*` shows it) and run again.",
    ),
    (
        r"Nouveau kernel driver is currently in use",
        "Blacklist nouveau, run `update-initramfs -u -k all && proxmox-boot-tool refresh`, reboot, and run again.",
    ),
    (
        # The text of a module that cannot be loaded speaks of kernel sources, too.
        r"Unable to find the kernel (?:source|header)",
        "Install the headers of the running kernel (proxmox-headers-$(uname -r)) and run again.",
    ),
    (
        r"Key was rejected|module verification|Required key not available|[Ss]ecure [Bb]oot",
        "Enrol the key of DKMS: `mokutil --import /var/lib/dkms/mok.pub`, reboot, confirm at the console.",
    ),
    (
        r"Unable to find the (?:system|module) utility",
        "Install the package that the installer names (modprobe and depmod are in kmod), and run again.",
    ),
    (r"alternate driver installation", "Remove the distribution's driver packages (purge_packages: true)."),
    (r"No space left|not enough (?:free )?space", "Make room on the target's /, /usr and /var/tmp, and run again."),
    (
        r"Unable to load the kernel module|[Bb]uilding (?:the NVIDIA )?kernel modules?|build failed|conftest",
        "The module does not fit this kernel: read the first error in the log, and use a newer driver.",
    ),
)

# Empty packages that exist only to pull in a driver together with the toolkit, which itself stays.
_META_PACKAGES = re.compile(r"cuda(?:-\d+-\d+)?|cuda-(?:runtime|demo-suite)-\d+-\d+")


@dataclasses.dataclass(frozen=True)
class KernelRow:
    """From this kernel series on, drivers of the branch up to one release are known not to build."""

    kernel: tuple[int, int]
    fails_through: str
    builds_from: str
    reason: str

    @property
    def series(self) -> str:
        return f"{self.kernel[0]}.{self.kernel[1]}"


KERNEL_TABLE = (
    KernelRow(
        (6, 17), "580.76.05", "580.82.07", "distributions had to patch it for 6.17, and no longer from 580.82.07"
    ),
    KernelRow((7, 0), "580.119.02", "580.159.04", "580.119.02 does not build on 7.0.9"),
    KernelRow((7, 1), "580.159.03", "580.159.04", "580.142 does not build on 7.1, which 580.159.04 corrected"),
)


def check_kernel(version: str, kernel: str) -> str:
    """Refuse a driver that is known not to build on that kernel; a warning where nobody has reported either way."""
    driver, running = order(version), kernel_order(kernel)[:2]
    rows = [row for row in KERNEL_TABLE if running >= row.kernel]
    if not rows:
        return ""
    row = rows[-1]
    if driver[0] > order(row.builds_from)[0] or driver >= order(row.builds_from):
        return ""
    if driver[0] < order(row.fails_through)[0] or driver > order(row.fails_through):
        return (
            f"No report says whether driver {version} builds on kernel {kernel}; {row.builds_from} and later are "
            f"known to build there."
        )
    last_good = next(row for row in KERNEL_TABLE if driver <= order(row.fails_through))
    raise PhoenixError(
        f"driver {version} does not build on kernel {kernel}: {row.reason}",
        remedy=f"Bump the pin to >= {row.builds_from}, or pin the kernel to a series before {last_good.series} "
        "(`proxmox-boot-tool kernel pin <kernel>`, then reboot).",
        kernel=kernel,
        version=version,
    )


def module_type(requested: str, device_ids: Sequence[int], version: str) -> tuple[str, list[str]]:
    """The kernel module that these GPUs need, and what the user should know about it."""
    needs_open = [device for device in device_ids if device >= _BLACKWELL or device in _GRACE_HOPPER]
    older = [device for device in device_ids if device < _TURING]
    ignored = f"GPU {_ids(older)} is older than Turing: the open kernel module ignores it."
    if requested == "proprietary" or (requested == "auto" and older and not needs_open):
        if needs_open:
            raise PhoenixError(
                f"kernel_module_type: proprietary does not drive GPU {_ids(needs_open)}, which needs the open module",
                remedy="Use kernel_module_type auto or open.",
                code=Code.INPUT,
            )
        return "proprietary", []
    if order(version) < order(_FIRST_OPEN):
        if requested == "auto" and not needs_open:
            return "proprietary", []
        raise PhoenixError(
            f"kernel_module_type: driver {version} has no open kernel module",
            remedy=f"Use a driver from {_FIRST_OPEN} on.",
            code=Code.INPUT,
        )
    if older and len(older) == len(device_ids):
        raise PhoenixError(
            f"kernel_module_type: open does not drive GPU {_ids(older)}, which is older than Turing",
            remedy="Use kernel_module_type auto or proprietary.",
            code=Code.INPUT,
        )
    return "open", [ignored] if older else []


def _ids(device_ids: Iterable[int]) -> str:
    return ", ".join(f"10de:{device:04x}" for device in device_ids)


def node_arguments(
    version: str, kernel_module_type: str, *, running_driver: bool, signed: bool, extra_args: Sequence[str]
) -> list[str]:
    """How the installer is called on the node, with its kernel module."""
    flags = [*_NODE_FLAGS]
    flags.insert(2, _module_type_flag(version, kernel_module_type))
    if running_driver:
        flags.extend(_RUNNING_DRIVER_FLAGS)
    if signed:
        # The installer tests its modules before DKMS ever sees them, and unsigned ones would be rejected.
        flags.append(f"--module-signing-secret-key={DKMS_KEY}")
        flags.append(f"--module-signing-public-key={DKMS_CERTIFICATE}")
    return [*_known(flags, version), *extra_args]


def container_arguments(version: str, extra_args: Sequence[str]) -> list[str]:
    """How the installer is called in a container, whose kernel module is the node's."""
    return [*_known(_CONTAINER_FLAGS, version), *extra_args]


def uninstall_arguments(*, unload: bool, depmod: bool) -> list[str]:
    """How nvidia-uninstall is called; a module in use stays loaded until the next boot."""
    flags = ["--silent", f"--log-file-name={UNINSTALL_LOG}"]
    if not unload:
        flags.append("--skip-module-unload")
    if not depmod:
        flags.append("--skip-depmod")
    return flags


def can_replace_running_driver(version: str) -> bool:
    return order(version) >= order(_FIRST_RUNNING_DRIVER)


def _module_type_flag(version: str, kernel_module_type: str) -> str:
    if order(version) >= order(_FIRST_MODULE_TYPE):
        return f"--kernel-module-type={kernel_module_type}"
    return "-m=kernel-open" if kernel_module_type == "open" else ""


def _known(flags: Iterable[str], version: str) -> list[str]:
    known = []
    for flag in flags:
        if order(version) >= order(_SINCE.get(flag, "100.0")):
            known.append(flag)
        elif flag in _OLDER_NAMES:
            known.append(_OLDER_NAMES[flag])
    return [flag for flag in known if flag]


def check_extra_args(extra_args: Sequence[str]) -> None:
    """Refuse what repeats or contradicts a flag of ours, for the node and for containers alike."""
    ours = {_option(flag): "" for flag in (*_NODE_FLAGS, *_RUNNING_DRIVER_FLAGS, *_CONTAINER_FLAGS)} | _OURS
    for argument in extra_args:
        option = _option(argument)
        if option in _OTHER_MODES:
            raise invalid("extra_args", argument, "makes the installer do something else than install", "Leave it out.")
        if option in ours:
            why = ours[option] or "the module sets or omits it as node and container need it"
            raise invalid("extra_args", argument, "is a flag that the module owns", f"Leave it out: {why}.")


def _option(argument: str) -> str:
    """What an argument is about: --no-dkms, --dkms and --dkms=1 are the same question."""
    if not argument.startswith("-"):
        return ""
    name = argument.partition("=")[0]
    name = _SHORT_OPTIONS.get(name, name).lstrip("-").removeprefix("no-")
    return re.sub(r"^kernel-modules(?=$|-only$)", "kernel-module", name)


def failure_remedy(lines: Iterable[str]) -> str:
    text = "\n".join(lines)
    known = (remedy for pattern, remedy in _FAILURES if re.search(pattern, text))
    return next(known, "Read the log named below on the target, correct what it says, and run again.")


def clashing_packages(installed: Iterable[str]) -> list[str]:
    """The distribution's packages whose files the installer would overwrite, or that would overwrite its own."""
    return sorted(
        package
        for package, name in ((package, package.partition(":")[0]) for package in installed)
        if _CLASHING.fullmatch(name) and not _PROTECTED.fullmatch(name)
    )


def check_removals(simulated: Iterable[str], clashing: Sequence[str]) -> None:
    """Refuse a purge that would take more with it than driver packages."""
    expected = set(without_architecture(clashing))
    others = [
        package
        for package, name in ((package, package.partition(":")[0]) for package in simulated)
        if name not in expected
        and (_PROTECTED.fullmatch(name) or not (_CLASHING.fullmatch(name) or _META_PACKAGES.fullmatch(name)))
    ]
    if others:
        raise PhoenixError(
            f"purging {', '.join(clashing)} would also remove {', '.join(others)}",
            remedy="Remove or replace these packages by hand first (apt-get purge shows why they depend on each "
            "other). This module changed nothing.",
        )
