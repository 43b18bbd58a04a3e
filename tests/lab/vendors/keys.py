# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The vendors' signing keys, made anew whenever the lab's cache is built: nobody outside the lab trusts them. OpenPGP
# (RFC 4880) by openssl: gpg would leave an agent running, which keeps the root file system busy that it was started in.

from __future__ import annotations

import base64
import dataclasses
import hashlib
import struct
import subprocess
from pathlib import Path

from ..errors import LabError
from .deb import EPOCH

_RSA, _SHA512 = 1, 10
_SIGNATURE, _PUBLIC_KEY, _USER = 2, 6, 13
_OVER_BINARY, _OVER_TEXT, _CERTIFICATION = 0x00, 0x01, 0x13
_CREATED, _ISSUER, _FLAGS, _FINGERPRINT = 2, 16, 27, 33
_MAY_CERTIFY_AND_SIGN = b"\x03"


@dataclasses.dataclass(frozen=True)
class SigningKey:
    file: Path
    user: str
    modulus: int
    exponent: int = 65537

    @staticmethod
    def create(file: Path, user: str) -> SigningKey:
        _openssl("genrsa", "-out", str(file), "3072")
        modulus = _openssl("rsa", "-in", str(file), "-noout", "-modulus").decode().strip().partition("=")[2]
        return SigningKey(file, user, int(modulus, 16))

    def public(self) -> bytes:
        """As a key ring: what lies in /usr/share/keyrings/*.gpg."""
        body, user = self._body(), self.user.encode()
        over = b"\x99" + struct.pack(">H", len(body)) + body + b"\xb4" + struct.pack(">I", len(user)) + user
        own = self._signature(_CERTIFICATION, over, _subpacket(_FLAGS, _MAY_CERTIFY_AND_SIGN))
        return _packet(_PUBLIC_KEY, body) + _packet(_USER, user) + own

    def armored(self) -> bytes:
        return armor("PUBLIC KEY BLOCK", self.public())

    def detached_signature(self, text: str) -> bytes:
        return armor("SIGNATURE", self._signature(_OVER_BINARY, text.encode()))

    def clear_signature(self, text: str) -> bytes:
        """The text with its signature below it; what is signed has no space at the end of lines, nor a last newline."""
        lines = text.rstrip("\n").split("\n")
        signed = "\r\n".join(line.rstrip(" \t") for line in lines)
        shown = "\n".join(f"- {line}" if line.startswith("-") else line for line in lines)
        head = f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{shown}\n"
        return head.encode() + armor("SIGNATURE", self._signature(_OVER_TEXT, signed.encode()))

    def fingerprint(self) -> bytes:
        body = self._body()
        return hashlib.sha1(b"\x99" + struct.pack(">H", len(body)) + body, usedforsecurity=False).digest()

    def _body(self) -> bytes:
        return struct.pack(">BIB", 4, EPOCH, _RSA) + _number(self.modulus) + _number(self.exponent)

    def _signature(self, kind: int, data: bytes, more: bytes = b"") -> bytes:
        fingerprint = self.fingerprint()
        hashed = _subpacket(_CREATED, struct.pack(">I", EPOCH)) + _subpacket(_FINGERPRINT, b"\x04" + fingerprint) + more
        head = struct.pack(">BBBBH", 4, kind, _RSA, _SHA512, len(hashed)) + hashed
        signed = data + head + b"\x04\xff" + struct.pack(">I", len(head))
        value = _openssl("dgst", "-sha512", "-sign", str(self.file), data=signed)
        unhashed = _subpacket(_ISSUER, fingerprint[-8:])
        tail = struct.pack(">H", len(unhashed)) + unhashed + hashlib.sha512(signed).digest()[:2]
        return _packet(_SIGNATURE, head + tail + _number(int.from_bytes(value)))


def armor(what: str, data: bytes) -> bytes:
    encoded = base64.b64encode(data).decode()
    lines = [encoded[at : at + 64] for at in range(0, len(encoded), 64)]
    check = base64.b64encode(_crc24(data).to_bytes(3)).decode()
    return "\n".join([f"-----BEGIN PGP {what}-----", "", *lines, f"={check}", f"-----END PGP {what}-----", ""]).encode()


def _crc24(data: bytes) -> int:
    value = 0xB704CE
    for byte in data:
        value ^= byte << 16
        for _ in range(8):
            value <<= 1
            if value & 0x1000000:
                value ^= 0x1864CFB
    return value & 0xFFFFFF


def _packet(tag: int, body: bytes) -> bytes:
    """In the old format, with a length of two bytes."""
    return bytes([0x80 | tag << 2 | 1]) + struct.pack(">H", len(body)) + body


def _subpacket(kind: int, body: bytes) -> bytes:
    return bytes([len(body) + 1, kind]) + body


def _number(value: int) -> bytes:
    return struct.pack(">H", value.bit_length()) + value.to_bytes((value.bit_length() + 7) // 8)


def _openssl(*arguments: str, data: bytes = b"") -> bytes:
    try:
        return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout
    except FileNotFoundError:
        raise LabError(
            "openssl is missing, so the vendors' repositories cannot be signed", "Install openssl."
        ) from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        raise LabError(f"openssl {arguments[0]} failed: {said}") from error
