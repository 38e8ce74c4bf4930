"""Encryption at rest: AES-256-GCM under named keys, with associated data that says where a ciphertext belongs.

A sealed value is one byte of version, 12 of nonce, then the ciphertext with its tag of 16 bytes. Nonces are random; a
key is good for 2**32 values (NIST SP 800-38D, 8.3), after which another one should be the newest.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.errors import Misconfigured, SmmError
from app.infra.secret import Secret

KEY_BYTES = 32
KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_VERSION = b"\x01"
_NONCE = 12
_TAG = 16


class KeyMissing(SmmError):
    """A value is sealed with a key that is not at hand."""


class Damaged(SmmError):
    """A value does not open: changed, in another place than where it was sealed, or the key is not what it was."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A ciphertext and the id of its key."""

    key_id: str
    data: bytes = field(repr=False)


class Keyring:
    """Keys by their ids. The first one seals; all of them open."""

    __slots__ = ("_ciphers", "primary")

    def __init__(self, keys: Iterable[tuple[str, bytes]]) -> None:
        """Raises Misconfigured where there is no key, one twice, or one of the wrong length."""
        self._ciphers: dict[str, AESGCM] = {}
        for key_id, key in keys:
            if not KEY_ID.fullmatch(key_id):
                raise Misconfigured("an encryption key's id must be 1 to 40 letters, digits, dots, dashes")
            if len(key) != KEY_BYTES:
                raise Misconfigured(f'encryption key "{key_id}" has {len(key)} bytes: it must have {KEY_BYTES}')
            if key_id in self._ciphers:
                raise Misconfigured(f'encryption key "{key_id}" is there twice')
            self._ciphers[key_id] = AESGCM(key)
        if not self._ciphers:
            raise Misconfigured("there is no encryption key")
        self.primary = next(iter(self._ciphers))

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the keys, the one that seals first."""
        return tuple(self._ciphers)

    def seal(self, plain: Secret, place: bytes) -> Sealed:
        """Encrypt under the newest key; it opens only with the same `place`."""
        nonce = os.urandom(_NONCE)
        text = plain.reveal().encode()
        return Sealed(self.primary, _VERSION + nonce + self._ciphers[self.primary].encrypt(nonce, text, place))

    def open(self, sealed: Sealed, place: bytes) -> Secret:
        """Decrypt. Raises KeyMissing or Damaged, which name the key and never the value."""
        cipher = self._ciphers.get(sealed.key_id)
        if cipher is None:
            raise KeyMissing(f'encryption key "{sealed.key_id}" is not among those of this installation')
        data = sealed.data
        if data[:1] != _VERSION or len(data) < 1 + _NONCE + _TAG:
            raise Damaged("is no sealed value, or of a newer version")
        try:
            return Secret(cipher.decrypt(data[1 : 1 + _NONCE], data[1 + _NONCE :], place).decode())
        except (InvalidTag, UnicodeDecodeError):
            raise Damaged(f'does not open with key "{sealed.key_id}" in this place') from None


def parse(text: str, *, where: str) -> Keyring:
    """Keys as "ID:BASE64", separated by commas or lines; the first one seals. Raises Misconfigured without quoting."""
    found = []
    for place, line in enumerate((part.strip() for part in re.split(r"[,\n]", text)), start=1):
        if not line or line.startswith("#"):
            continue
        key_id, colon, encoded = line.partition(":")
        try:
            key = base64.b64decode(encoded.strip() + "=" * (-len(encoded.strip()) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            colon = ""
        if not colon:
            raise Misconfigured(f"{where}: entry {place} is no ID:BASE64")
        found.append((key_id.strip(), key))
    try:
        return Keyring(found)
    except Misconfigured as error:
        raise Misconfigured(f"{where}: {error}") from None


def new_key(key_id: str) -> str:
    """A fresh entry: "ID:BASE64"."""
    return f"{key_id}:{base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode()}"
