"""A current access token for another service: given or refused for a named reason, and always written down.

What is asked is written in the transaction that reads the token, and committed before the answer leaves. Nothing is
kept in clear, and a refresh token is given to nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.access.callers import Caller, NotAllowed
from app.access.scopes import TOKENS_READ, Scope
from app.errors import Misconfigured, NotFound
from app.infra import ids
from app.infra.crypto import Damaged, KeyMissing
from app.infra.db import UnitOfWork, unit_of_work
from app.infra.logging import get_logger
from app.infra.plain import plain
from app.infra.secret import Secret
from app.infra.text import storable
from app.tokens import store, storing, unopened
from app.tokens.core import Grant
from app.tokens.store import Account, Held, Status

GIVEN, NOT_ALLOWED = "given", "not_allowed"
"""Outcomes as they are written down; the others are the states of a Withheld."""
LONGEST_PURPOSE, LONGEST_ADDRESS = 200, 100

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Given:
    """A token that is good for `at_least` more."""

    account: Account
    status: Status
    access: Secret

    @property
    def outcome(self) -> str:
        return GIVEN

    def document(self, now: datetime) -> dict[str, Any]:
        """JSON with the token in clear: for the one answer that may hold it."""
        end = self.status.expires_at
        return {
            "platform": self.account.platform,
            "account": self.account.external_id,
            "access_token": self.access.reveal(),
            "token_type": self.status.token_type or "bearer",
            "scopes": list(self.status.scopes),
            "expires_at": plain(end),
            "expires_in": None if end is None else int((end - now).total_seconds()),
            "generation": self.status.generation,
        }


@dataclass(frozen=True, slots=True)
class Withheld:
    """No token. `state`: disabled, unconnected, dead, expired, short, key_missing, damaged; `broken`: ours to mend.

    `since`: when that began, where it is known; `again_at`: when the token is tried next, where it is.
    """

    state: str
    detail: str
    reason: str = ""
    since: datetime | None = None
    again_at: datetime | None = None
    broken: bool = False

    @property
    def outcome(self) -> str:
        return self.state


@dataclass(frozen=True, slots=True)
class Ask:
    """Who wants a token, for what, from where, and for how long at least it must be good."""

    caller: Caller
    purpose: str
    address: str = ""
    at_least: timedelta = timedelta()


def give(platform: str, external_id: str, ask: Ask, *, now: datetime) -> Given | Withheld:
    """The account's token of now. Raises NotFound, NotAllowed, Transient.

    Who may not read an account is not told whether it exists.
    """
    with unit_of_work() as uow:
        try:
            held = store.load(uow.session, platform, external_id)
        except NotFound:
            ask.caller.require_account(TOKENS_READ, "", platform, external_id)
            raise
        account = held.account
        is_allowed = ask.caller.reach(TOKENS_READ).covers(account.tenant, platform, external_id)
        found = (decide(held, ask.at_least, now) or _opened(uow, held, now)) if is_allowed else None
        outcome = NOT_ALLOWED if found is None else found.outcome
        _write_down(uow, held, ask, outcome, now)
    log.info(
        "token asked for", account=account.key, by=ask.caller.name, outcome=outcome, generation=held.status.generation
    )
    if found is None:
        raise NotAllowed(ask.caller.name, str(Scope(TOKENS_READ, account.key)))
    return found


def decide(held: Held, at_least: timedelta, now: datetime) -> Withheld | None:
    """Why there is no token to give; None: there is one. Pure."""
    account, status = held.account, held.status
    if account.disabled_at is not None:
        why = account.disabled_reason
        return Withheld("disabled", "the account is disabled", why, since=account.disabled_at)
    if status.grant is Grant.NONE or not status.has_access:
        return Withheld("unconnected", "the account was never connected", since=account.created_at)
    if status.grant is Grant.DEAD:
        said = "the platform has withdrawn the consent: the owner must log in again"
        return Withheld("dead", said, status.reason, since=status.failing_since)
    left = None if status.expires_at is None else status.expires_at - now
    if left is not None and left <= timedelta():
        return Withheld("expired", "the token has expired", status.reason, status.expires_at, _next(status, now))
    if left is not None and left < at_least:
        said = f"the token is good for {int(left.total_seconds())} s, less than was asked for"
        return Withheld("short", said, status.reason, status.failing_since, _next(status, now))
    return None


def _next(status: Status, now: datetime) -> datetime | None:
    """When somebody looks at it next, maybe now."""
    return None if status.next_at is None else max(status.next_at, now)


def _opened(uow: UnitOfWork, held: Held, now: datetime) -> Given | Withheld:
    """The token in clear; what keeps it closed is told to staff."""
    key_id = held.status.key_id
    try:
        return Given(held.account, held.status, storing.reveal(held).access)
    except KeyMissing:
        found = Withheld("key_missing", f'its encryption key "{key_id}" is missing here', broken=True)
    except Damaged:
        found = Withheld("damaged", f'what is stored does not open with its key "{key_id}"', broken=True)
    except Misconfigured as error:
        log.error("tokens cannot be opened", error=str(error))
        return Withheld("key_missing", "this installation has no encryption key", broken=True)
    unopened.tell(uow, held, found.state, by="reading", now=now)
    return found


def _write_down(uow: UnitOfWork, held: Held, ask: Ask, outcome: str, now: datetime) -> None:
    account = held.account
    uow.execute(
        "INSERT INTO token_reads"
        " (id, at, account_id, tenant, platform, external_id, generation, by, outcome, purpose, address) VALUES"
        " (:id, :at, :account, :tenant, :platform, :external_id, :generation, :by, :outcome, :purpose, :address)",
        id=ids.uuid7(now),
        at=now,
        account=account.id,
        tenant=account.tenant,
        platform=account.platform,
        external_id=account.external_id,
        generation=held.status.generation,
        by=ask.caller.name,
        outcome=outcome,
        purpose=storable(ask.purpose, limit=LONGEST_PURPOSE),
        address=storable(ask.address, limit=LONGEST_ADDRESS),
    )
