# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets up what the checks need, once: system packages, tools, collections, the tools' home."""

from __future__ import annotations

import ast
import configparser
import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from .report import HarnessError, say

DEPENDENCIES = ("community/docker", "community/library_inventory_filtering_v1")


def system_packages(checkout: Path) -> None:
    """Installs what is missing when root, else says how."""
    missing = []
    if not (importlib.util.find_spec("ensurepip") and importlib.util.find_spec("venv")):
        missing.append("python3-venv")
    if (checkout / ".git").exists() and not shutil.which("git"):
        missing.append("git")
    if not missing:
        return
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise HarnessError(
            f"missing on this machine: {', '.join(missing)}. Run: sudo apt-get update && sudo {' '.join(install)}"
        )
    with _step(f"system packages ({', '.join(missing)})"):
        for argv in (["apt-get", "update"], install):
            _run(argv, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def virtual_environment(cache: Path, checkout: Path) -> Path:
    """The tools, in a virtual environment that belongs to this Python and these pins."""
    pins = [checkout / "tests/requirements" / name for name in ("tools.txt", "constraints.txt")]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    venv = cache / f"tools-{version}-{_digest(sys.version, sys.base_prefix, *(pin.read_text() for pin in pins))}"
    complete = venv / ".complete"
    if not complete.exists():
        with _step(f"tools for Python {version}"):
            shutil.rmtree(venv, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(venv)])
            _pip(venv, "install", f"--requirement={pins[0]}", f"--constraint={pins[1]}")
            complete.touch()
    return venv


def collections(cache: Path, checkout: Path, venv: Path) -> Path:
    """The collections that galaxy.yml names, out of the package on PyPI that bundles them."""
    pin = checkout / "tests/requirements/collections.txt"
    target = cache / f"collections-{_digest(pin.read_text(), *DEPENDENCIES)}"
    if not target.exists():
        with _step("collections"), tempfile.TemporaryDirectory(dir=cache) as scratch:
            # Only collections are taken out of the wheel, so it need not suit the Python that runs here.
            _pip(
                venv,
                "download",
                f"--requirement={pin}",
                f"--dest={scratch}",
                "--no-deps",
                "--only-binary=:all:",
                "--python-version=3.12",
            )
            (wheel,) = Path(scratch).glob("*.whl")
            unpacked = Path(scratch) / "unpacked"
            wanted = tuple(f"ansible_collections/{name}/" for name in DEPENDENCIES)
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(unpacked, [name for name in archive.namelist() if name.startswith(wanted)])
            unpacked.rename(target)
    return target


def home(cache: Path, venv: Path) -> Path:
    """A home of their own for the tools: nothing of the user's leaks in, nothing is left in the user's."""
    path = cache / "home"
    path.mkdir(exist_ok=True)
    _pip_settings(path, venv)
    _get_pip(path, venv)
    return path


def _pip_settings(path: Path, venv: Path) -> None:
    """ansible-test hands pip neither the user's home nor PIP_*: a mirror or proxy set there has to be passed on."""
    settings: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for line in _pip(venv, "config", "list").splitlines():
        name, _equals, value = line.partition("=")
        section, _dot, option = name.rpartition(".")
        settings["global" if section == ":env:" else section][option] = ast.literal_eval(value)
    if proxy := urllib.request.getproxies().get("https"):
        settings["global"]["proxy"] = proxy
    config = configparser.RawConfigParser()
    config.read_dict(settings)
    target = path / ".config/pip/pip.conf"
    target.parent.mkdir(parents=True, exist_ok=True)
    # The address of an index can hold a password.
    with open(target, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        config.write(file)


def _get_pip(path: Path, venv: Path) -> None:
    (source,) = venv.glob("lib/python*/site-packages/ansible_test/_internal/python_requirements.py")
    wanted = re.search(r"pip='([0-9.]+)'", source.read_text())
    if not wanted:
        raise HarnessError(f"{source} no longer says which pip ansible-test wants. Adapt _get_pip in {__file__}")
    target = path / f".ansible/test/cache/get_pip_{wanted[1].replace('.', '_')}.py"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(__file__).with_name("get_pip.py"), target)


def _pip(venv: Path, *arguments: str) -> str:
    return _run([str(venv / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments])


def _run(argv: list[str], env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(argv, check=False, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise HarnessError(f"{' '.join(argv)}\nexit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


@contextlib.contextmanager
def _step(what: str) -> Iterator[None]:
    started = time.monotonic()
    say(f"setting up: {what} ...")
    yield
    say(f"setting up: {what} done ({time.monotonic() - started:.1f} s)")
