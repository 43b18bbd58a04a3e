# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The lab's certificate authority, and one server certificate with the names of all vendors.

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from ..errors import LabError
from .names import VENDOR_HOSTS

_DAYS = "3650"


def create(folder: Path) -> None:
    """ca.pem and ca.key, server.pem (with the authority's certificate behind its own) and server.key."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    subject = "/O=phoenix.hypervisor lab/CN=phoenix.hypervisor lab CA"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    authority = ("-keyout", folder / "ca.key", "-out", folder / "ca.pem", "-subj", subject)
    usage = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    _openssl("req", "-x509", *curve, "-days", _DAYS, *authority, *usage)
    issue(folder, "server", VENDOR_HOSTS)
    with (folder / "server.pem").open("ab") as file:
        file.write((folder / "ca.pem").read_bytes())


def issue(folder: Path, name: str, hosts: Sequence[str], addresses: Sequence[str] = ()) -> None:
    """A certificate of the authority in the folder: <name>.pem, <name>.key."""
    names = ",".join([*(f"DNS:{host}" for host in hosts), *(f"IP:{address}" for address in addresses)])
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    by = ("-CA", folder / "ca.pem", "-CAkey", folder / "ca.key")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    usage = ("-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth")
    subject = ("-subj", f"/O=phoenix.hypervisor lab/CN={(*hosts, *addresses)[0]}", "-addext", f"subjectAltName={names}")
    _openssl("req", "-x509", *curve, "-days", _DAYS, *by, "-keyout", key, "-out", certificate, *subject, *usage)


def _openssl(*arguments: str | Path) -> None:
    # Without a configuration file: what a distribution writes there would be added to the certificates.
    command = ["openssl", arguments[0], "-config", "/dev/null", *arguments[1:]]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        raise LabError("openssl is missing, so the lab has no certificates", "Install openssl.") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        raise LabError(f"openssl {arguments[0]} failed: {said}") from error
