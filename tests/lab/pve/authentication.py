# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Who calls: API tokens, tickets with their CSRF token, passwords (PVE::AccessControl, PVE::Ticket, PVE::Auth).

from __future__ import annotations

import base64
import ctypes
import ctypes.util
import hashlib
import hmac
import os
import re
import secrets

from . import user_config
from .exceptions import PVEError
from .system import System
from .user_config import UserConfig, realm_of, split_token_id

TICKET_LIFETIME = 7200
# Clocks of the nodes may differ a little.
_CLOCK_SKEW = 300

_TICKET_KEY = "etc/pve/priv/authkey.key"
_CSRF_KEY = "etc/pve/pve-www.key"
_REALM_PASSWORDS = "etc/pve/priv/shadow.cfg"


class NotAuthenticated(PVEError):
    code = 401


def verify_token(system: System, text: str) -> str:
    """The user of `PVEAPIToken=user@realm!name=secret`, with the token's name."""
    token_id, _, secret = text.partition("=")
    config = user_config.load(system)
    parts = split_token_id(token_id)
    token = config.token(token_id)
    known = user_config.load_tokens(system).get(token_id, "")
    if parts is None or token is None or not known or not hmac.compare_digest(known.encode(), secret.encode()):
        raise NotAuthenticated("Authentication failed!")
    if not is_enabled(system, config, parts[0]) or _expired(system, token.expire):
        raise NotAuthenticated("Authentication failed!")
    return token_id


def is_enabled(system: System, config: UserConfig, user: str) -> bool:
    found = config.users.get(user)
    return found is not None and found.enable and not _expired(system, found.expire)


def _expired(system: System, expire: int) -> bool:
    return expire != 0 and expire <= system.time()


def make_ticket(system: System, user: str) -> str:
    plain = f"PVE:{user}:{int(system.time()):08X}"
    return f"{plain}::{_signature(system, _TICKET_KEY, plain)}"


def verify_ticket(system: System, ticket: str) -> str:
    """The user; a ticket that is too old, not of this cluster, or of a user that is gone or disabled is refused."""
    plain, _, signature = ticket.partition("::")
    found = re.fullmatch(r"PVE:(\S+):([0-9A-F]{8})", plain)
    if found is None or not hmac.compare_digest(_signature(system, _TICKET_KEY, plain), signature):
        raise NotAuthenticated("permission denied - invalid PVE ticket")
    age = system.time() - int(found[2], 16)
    if not -_CLOCK_SKEW < age < TICKET_LIFETIME or not is_enabled(system, user_config.load(system), found[1]):
        raise NotAuthenticated("permission denied - invalid PVE ticket")
    return found[1]


def make_csrf_token(system: System, user: str) -> str:
    stamp = f"{int(system.time()):08X}"
    return f"{stamp}:{_signature(system, _CSRF_KEY, f'{stamp}:{user}')}"


def verify_csrf_token(system: System, user: str, token: str) -> None:
    stamp, _, signature = token.partition(":")
    if (
        not re.fullmatch(r"[0-9A-F]{8}", stamp)
        or not hmac.compare_digest(_signature(system, _CSRF_KEY, f"{stamp}:{user}"), signature)
        or not -_CLOCK_SKEW < system.time() - int(stamp, 16) < TICKET_LIFETIME
    ):
        raise NotAuthenticated("Permission denied - invalid csrf token")


def _signature(system: System, key_file: str, text: str) -> str:
    return base64.b64encode(hmac.digest(_key(system, key_file), text.encode(), hashlib.sha256)).decode().rstrip("=")


def _key(system: System, name: str) -> bytes:
    """The key of the cluster, made when it is first needed; of two that make it at once the first wins."""
    file = system.path(name)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f"{file.name}.tmp.{os.getpid()}")
        new.write_text(secrets.token_hex(32), encoding="ascii")
        new.chmod(0o600)
        try:
            os.link(new, file)
        except FileExistsError:
            pass
        finally:
            new.unlink()
    return file.read_bytes()


def check_password(system: System, user: str, password: str) -> None:
    """Log a user in. PVE says the same about a wrong password, an unknown user and a disabled one."""
    if not is_enabled(system, user_config.load(system), user) or not _password_matches(system, user, password):
        raise NotAuthenticated("authentication failure")


def _password_matches(system: System, user: str, password: str) -> bool:
    name = user.rpartition("@")[0]
    realm = realm_of(user)
    file = system.path({"pam": "etc/shadow", "pve": _REALM_PASSWORDS}.get(realm or "", "etc/nothing"))
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    stored = next((line.split(":")[1] for line in lines if line.startswith(f"{name}:")), "")
    # A locked or empty password lets nobody in.
    return stored.startswith("$") and hmac.compare_digest(hash_password(password, stored), stored)


def set_password(system: System, user: str, password: str) -> None:
    """The password of a user of the realm pve; those of the realm pam are the node's own."""
    name = user.rpartition("@")[0]
    file = system.path(_REALM_PASSWORDS)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    kept = [line for line in lines if not line.startswith(f"{name}:")]
    salt = base64.b64encode(secrets.token_bytes(6)).decode().replace("+", ".")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([*kept, f"{name}:{hash_password(password, f'$5${salt}')}:"]) + "\n", encoding="utf-8")
    file.chmod(0o600)


def hash_password(password: str, setting: str) -> str:
    """crypt(3), which Python no longer has."""
    library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    result: bytes | None = library.crypt(password.encode(), setting.encode())
    return (result or b"*").decode()
