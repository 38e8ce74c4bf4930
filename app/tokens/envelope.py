"""Tokens sealed for their place: tenant, platform, account, field and generation, so that rows cannot be swapped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from app.infra.crypto import Keyring, Sealed
from app.infra.secret import Secret

Field = Literal["access", "refresh", "verifier"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a token belongs."""

    tenant: str
    platform: str
    external_id: str

    def of(self, field: Field, generation: int) -> bytes:
        """The associated data, without ambiguity whatever the names hold."""
        return json.dumps([self.tenant, self.platform, self.external_id, field, generation]).encode()


def seal(keys: Keyring, place: Place, field: Field, generation: int, token: Secret) -> Sealed:
    """Encrypt a token for its place."""
    return keys.seal(token, place.of(field, generation))


def unseal(keys: Keyring, place: Place, field: Field, generation: int, sealed: Sealed) -> Secret:
    """The token. Raises KeyMissing, or Damaged where it is of another row, field or generation."""
    return keys.open(sealed, place.of(field, generation))
