"""The keys for who is about to seal: the first one is made then, unless something is sealed with keys that are gone."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import clock
from app.config import settings
from app.infra.crypto import Keyring
from app.infra.db import UnitOfWork, read_only
from app.tokens import keyring

_NEEDED = """
    SELECT key_id FROM token_status WHERE access IS NOT NULL
     UNION SELECT previous_key_id FROM token_status WHERE previous_access IS NOT NULL
     UNION SELECT key_id FROM token_connects WHERE verifier IS NOT NULL AND used_at IS NULL AND expires_at > :now"""


def keys(uow: UnitOfWork) -> Keyring:
    """To seal with. Raises Misconfigured where the keys are missing and no first one may be made."""
    found = keyring.at_hand()
    if found is not None:
        return found
    # Until the end of the transaction: who comes next sees the key, or what was sealed with it.
    uow.execute("SELECT pg_advisory_xact_lock(hashtext('tokens: the first key'))")
    return keyring.first(_needed(uow.session))


def require() -> None:
    """Find out whether something could be sealed, and make nothing. Raises Misconfigured."""
    if keyring.at_hand() is None:
        with read_only() as session:
            keyring.require_first(settings(), _needed(session))


def _needed(session: Session) -> frozenset[str]:
    return frozenset(session.execute(text(_NEEDED), {"now": clock.now()}).scalars())
