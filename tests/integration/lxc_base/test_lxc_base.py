# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The role lxc_base on containers of the lab. The numbers are those of the pitfalls.

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from integration.boxes import Box
from lab.smoke.running import RunningLab

HOLD = """
import fcntl, sys, time
file = open("/var/lib/dpkg/lock-frontend", "r+")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(float(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def box(lab: RunningLab) -> Iterator[Box]:
    one = Box(lab, 141).create()
    yield one
    one.destroy()


def test_a_template_without_python_becomes_the_base(box: Box) -> None:
    box.run("DEBIAN_FRONTEND=noninteractive apt-get -y -qq purge 'python3*' 'libpython3*' >/dev/null 2>&1")
    predicted = box.converged("lxc_base", "--check")
    assert predicted.changes == ["Install Python where it is missing"]
    assert "python3" not in box.run("ls /usr/bin")

    played = box.converged("lxc_base", lxc_base_timezone="Europe/Berlin", lxc_base_extra_packages=["tree"])
    assert "Install Python where it is missing" in played.changes
    box.run("command -v python3 curl jq rsync vim htop tree s-tui git wget")
    assert box.run("date +%Z").strip() in ("CET", "CEST")
    assert "en_US.utf8" in box.run("locale -a")
    assert box.run(". /etc/default/locale; echo $LANG") == "en_US.UTF-8\n"


def test_a_second_run_changes_nothing(box: Box) -> None:
    """46: packages are packages, not commands."""
    settings = {"lxc_base_timezone": "Europe/Berlin", "lxc_base_extra_packages": ["tree"]}
    box.converged("lxc_base", **settings)
    assert box.converged("lxc_base", **settings).changes == []
    assert box.converged("lxc_base", "--check", **settings).changes == []


def test_nothing_is_upgraded_behind_our_back(box: Box) -> None:
    """19, and what runc 1.3.3 did to many by an unattended upgrade."""
    box.converged("lxc_base")
    dump = box.run("apt-config dump").lower()
    assert 'apt::periodic::enable "0";' in dump
    assert 'dpkg::options:: "--force-confold";' in dump
    assert 'unattended-upgrade::package-blacklist:: "containerd";' in dump
    assert "forceipv4" not in dump
    assert box.converged("lxc_base", lxc_base_force_ipv4=True).changes == ["Set apt up"]
    assert 'Acquire::ForceIPv4 "true";' in box.run("apt-config dump")


def test_it_waits_for_who_installs_packages(box: Box) -> None:
    """16: the lock is waited for, and no lock file is ever removed."""
    box.converged("lxc_base")
    box.run(f"cat > /root/hold.py <<'EOF'\n{HOLD}\nEOF")
    before = box.run("stat -c %i /var/lib/dpkg/lock-frontend")
    box.run("systemd-run --quiet --unit hold python3 /root/hold.py 8; sleep 0.5")
    started = time.monotonic()
    box.converged("lxc_base")
    assert time.monotonic() - started > 4
    box.run("systemctl stop hold.service 2>/dev/null || true")
    box.run("systemd-run --quiet --unit hold2 python3 /root/hold.py 60; sleep 0.5")
    message = box.refused("lxc_base", lxc_base_wait_timeout=2)
    assert "/var/lib/dpkg/lock-frontend is still locked after 2 s, by python3 (process " in message
    box.run("systemctl stop hold2.service")
    assert box.run("stat -c %i /var/lib/dpkg/lock-frontend") == before


def test_a_name_that_does_not_resolve_is_named(box: Box) -> None:
    message = box.refused("lxc_base", lxc_base_wait_hosts=["nowhere.example.org"], lxc_base_wait_timeout=2)
    assert message.startswith("nowhere.example.org does not resolve in the container within 2 s. See its nameservers")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"lxc_base_locale": "english"}, 'lxc_base_locale: "english" is no UTF-8 locale'),
        ({"lxc_base_timezone": "../etc/passwd"}, 'lxc_base_timezone: "../etc/passwd" is no name of a time zone'),
        ({"lxc_base_timezone": "Europe/Nowhere"}, 'lxc_base_timezone: "Europe/Nowhere" could not be set'),
        ({"lxc_base_extra_packages": ["no-such-package"]}, "Unable to locate package no-such-package"),
        ({"lxc_base_extra_packages": ["nvidia-utils-580"]}, "nvidia-utils-580"),
    ],
)
def test_what_cannot_be_is_refused(box: Box, variables: dict[str, object], said: str) -> None:
    assert said in box.refused("lxc_base", **variables)
