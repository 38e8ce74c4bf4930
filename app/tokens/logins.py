"""Logins that were begun at platforms, as rows: one `state`, good once, in the browser that began it, for some minutes.

Of the state and of the browser's cookie only SHA-256 is kept; PKCE's verifier is sealed. Never commits.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.infra import ids
from app.infra.crypto import Sealed
from app.infra.db import UnitOfWork
from app.infra.secret import Secret
from app.tokens import envelope, sealing
from app.tokens.consents import Outcome
from app.tokens.keyring import keyring
from app.tokens.rows import Account

COOKIE = "smm_connect_"
LONGEST_STATE = 200

_NO_GENERATION = 0
"""A verifier belongs to a login, and its account may be refreshed meanwhile."""
SKEW = timedelta(hours=1)
"""By which the clocks of two hosts may differ at most."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A new login: what its browser takes along."""

    state: str = field(repr=False)
    browser: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """A login that came back, whose state is used up now."""

    id: UUID
    account_id: UUID
    created_at: datetime
    sealed: Sealed | None

    def verifier(self, account: Account) -> Secret:
        """PKCE's; empty where the platform wants none. Raises KeyMissing, Damaged, Misconfigured."""
        if self.sealed is None:
            return Secret("")
        return envelope.unseal(keyring(), account.place, "verifier", _NO_GENERATION, self.sealed)


def cookie_name(state: str) -> str:
    """Each login has a cookie of its own, so that two tabs do not take each other's away."""
    return COOKIE + _hash(state[:LONGEST_STATE]).hex()[:16]


def begin(uow: UnitOfWork, account: Account, *, pkce: bool, now: datetime, life: timedelta) -> Opened:
    """Write a new login. Raises Misconfigured where there is no key for the verifier."""
    opened = Opened(*(secrets.token_urlsafe(32) for _ in range(3)))
    sealed = None
    if pkce:
        sealed = envelope.seal(sealing.keys(uow), account.place, "verifier", _NO_GENERATION, Secret(opened.verifier))
    uow.execute(
        "INSERT INTO token_connects (id, account_id, state_hash, browser_hash, verifier, key_id, created_at, "
        "expires_at) VALUES (:id, :account, :state, :browser, :verifier, :key_id, :now, :until)",
        id=ids.uuid7(now),
        account=account.id,
        state=_hash(opened.state),
        browser=_hash(opened.browser),
        verifier=None if sealed is None else sealed.data,
        key_id="" if sealed is None else sealed.key_id,
        now=now,
        until=now + life,
    )
    return opened


def take(uow: UnitOfWork, state: str, browser: str, *, now: datetime) -> Login | Outcome:
    """Use up the state, whoever brings it: one that was seen in another browser is not to be trusted any more."""
    if not state or len(state) > LONGEST_STATE:
        return Outcome.UNKNOWN
    row = uow.execute(
        "UPDATE token_connects SET used_at = :now WHERE state_hash = :state AND used_at IS NULL RETURNING *",
        now=now,
        state=_hash(state),
    ).one_or_none()
    if row is None:
        return _seen_before(uow, state, browser)
    if not hmac.compare_digest(bytes(row.browser_hash), _hash(browser)):
        return conclude(uow, row.id, Outcome.OTHER_BROWSER)
    if row.expires_at <= now:
        return conclude(uow, row.id, Outcome.EXPIRED)
    sealed = None if row.verifier is None else Sealed(row.key_id, bytes(row.verifier))
    return Login(row.id, row.account_id, row.created_at, sealed)


def account_of(uow: UnitOfWork, state: str) -> UUID:
    """Whose login a state is of that `take` knew."""
    query = "SELECT account_id FROM token_connects WHERE state_hash = :state"
    found: UUID = uow.execute(query, state=_hash(state)).scalar_one()
    return found


def conclude(uow: UnitOfWork, login_id: UUID, outcome: Outcome) -> Outcome:
    """Write down what came of a login; its verifier is of no more use."""
    uow.execute(
        "UPDATE token_connects SET outcome = :outcome, verifier = NULL WHERE id = :id", id=login_id, outcome=outcome
    )
    return outcome


def connected_since(session: Session, account_id: UUID, moment: datetime, *, generation: int = -1) -> bool:
    """Was the account connected after that moment, as one later than `generation`? A refresh does not count."""
    query = (
        "SELECT EXISTS (SELECT FROM token_history WHERE account_id = :account AND kind = 'connected' AND at > :moment "
        "AND generation > :generation AND id >= :floor)"
    )
    floor = ids.floor(moment - SKEW)  # of the partitions, only those that can matter
    given = {"account": account_id, "moment": moment, "generation": generation, "floor": floor}
    return bool(session.execute(text(query), given).scalar_one())


def _seen_before(uow: UnitOfWork, state: str, browser: str) -> Outcome:
    """A page that is loaded again tells the browser that began the login what came of it; nobody else."""
    row = uow.execute(
        "SELECT browser_hash, outcome FROM token_connects WHERE state_hash = :state", state=_hash(state)
    ).one_or_none()
    if row is None:
        return Outcome.UNKNOWN
    is_theirs = hmac.compare_digest(bytes(row.browser_hash), _hash(browser))
    return Outcome.ALREADY if is_theirs and row.outcome == Outcome.CONNECTED else Outcome.USED


def _hash(text_of_it: str) -> bytes:
    return hashlib.sha256(text_of_it.encode("utf-8", "surrogatepass")).digest()
