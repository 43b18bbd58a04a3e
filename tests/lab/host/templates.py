# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Container templates as Proxmox offers them, out of one Debian root file system: Debian as it is, and one that presents
# itself as Ubuntu 24.04, for what decides by the distribution.

from __future__ import annotations

import subprocess
from pathlib import Path

_MASKED = ("sys-kernel-debug.mount", "systemd-modules-load.service", "systemd-udevd.service")
_SOURCES = "deb http://mirror.lab/debian trixie main\n"

_UBUNTU_RELEASE = """\
PRETTY_NAME="Ubuntu 24.04.3 LTS"
NAME="Ubuntu"
VERSION_ID="24.04"
VERSION="24.04.3 LTS (Noble Numbat)"
VERSION_CODENAME=noble
ID=ubuntu
ID_LIKE=debian
HOME_URL="https://www.ubuntu.com/"
SUPPORT_URL="https://help.ubuntu.com/"
BUG_REPORT_URL="https://bugs.launchpad.net/ubuntu/"
PRIVACY_POLICY_URL="https://www.ubuntu.com/legal/terms-and-policies/privacy-policy"
UBUNTU_CODENAME=noble
LOGO=ubuntu-logo
"""
_UBUNTU_LSB = """\
DISTRIB_ID=Ubuntu
DISTRIB_RELEASE=24.04
DISTRIB_CODENAME=noble
DISTRIB_DESCRIPTION="Ubuntu 24.04.3 LTS"
"""


def debian(root: Path) -> None:
    common(root)


def ubuntu(root: Path) -> None:
    common(root)
    (root / "usr/lib/os-release").write_text(_UBUNTU_RELEASE)
    (root / "etc/lsb-release").write_text(_UBUNTU_LSB)
    # Ubuntu's containers are set up through systemd-networkd; Debian's through ifupdown.
    wants = root / "etc/systemd/system/multi-user.target.wants"
    (wants / "networking.service").unlink(missing_ok=True)
    _mask(root, "networking.service")
    (wants / "systemd-networkd.service").symlink_to("/usr/lib/systemd/system/systemd-networkd.service")


def common(root: Path) -> None:
    for unit in _MASKED:
        _mask(root, unit)
    use_mirror(root)
    (root / "etc/machine-id").write_text("")
    (root / "etc/resolv.conf").write_text("")
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()


def use_mirror(root: Path) -> None:
    """Let apt fetch from the lab's mirror, and from nowhere else."""
    for file in (root / "etc/apt/sources.list.d").glob("*"):
        file.unlink()
    # What mmdebstrap was told (no recommended packages, no documentation) is not how a real template's apt works.
    for name in ("etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap"):
        (root / name).unlink(missing_ok=True)
    (root / "etc/apt/sources.list").write_text(_SOURCES)


def pack(root: Path, target: Path) -> None:
    """A tarball as pct wants it, fast rather than small."""
    part = target.with_suffix(".part")
    subprocess.run(
        [
            "tar",
            "--create",
            "--numeric-owner",
            "--xattrs",
            "--use-compress-program=zstd -1 -T0",
            "-f",
            part,
            "-C",
            root,
            ".",
        ],
        check=True,
    )
    part.rename(target)


def _mask(root: Path, unit: str) -> None:
    link = root / "etc/systemd/system" / unit
    link.unlink(missing_ok=True)
    link.symlink_to("/dev/null")


def unpack(tar: Path, root: Path) -> None:
    subprocess.run(
        ["tar", "--extract", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--file", tar, "--directory", root],
        check=True,
    )
