"""Is an account's token good: by what is known of it, and where that does not say, by asking its platform."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from app import clock
from app.errors import Misconfigured, NotFound
from app.infra.db import read_only
from app.tokens import attending, climbing, store
from app.tokens.core import Grant
from app.tokens.provider import Known, Refused, Trouble
from app.tokens.store import Held

State = Literal["good", "refused", "disabled", "limited", "platform", "status", "app", "key", "unknown"]
BY = "probe"

_A_DAY = timedelta(days=1)
_CLOSED = frozenset({"key_missing", "damaged"})
_STATES: dict[Trouble, State] = {
    Trouble.DEAD: "refused",
    Trouble.APP: "app",
    Trouble.LIMITED: "limited",
    Trouble.TRANSIENT: "platform",
    Trouble.LOST: "platform",
    Trouble.TOO_YOUNG: "status",
    Trouble.UNKNOWN: "status",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """`latency_ms`: of the platform's answer, None where it was not asked. `days_remaining`: of a token, or a consent,
    that lives for weeks."""

    state: State
    why: str = ""
    latency_ms: float | None = None
    days_remaining: float | None = None


def look(platform: str, external_id: str, *, now: datetime | None = None) -> Standing:
    """How it stands. A token that is dead is declared dead, or refreshed. Raises Transient."""
    moment = now or clock.now()
    try:
        held = _held(platform, external_id)
        known = by_status(held, moment)
        if known is not None:
            return known
        started = clock.monotonic()
        answer = attending.check(held.account.id, by=BY, now=moment)
        latency_ms = round((clock.monotonic() - started) * 1000, 2)
        held = _held(platform, external_id)
    except NotFound as error:
        return Standing("unknown", str(error))
    except Misconfigured:
        return Standing("key", "there is no encryption key here")
    days = days_remaining(held, moment)
    if isinstance(answer, Known):
        return Standing("good", latency_ms=latency_ms, days_remaining=days)
    if answer.trouble is Trouble.DEAD and by_status(held, moment) is None:
        return Standing("good", "it was refused, and has been refreshed", latency_ms, days)
    return _refused(answer, latency_ms)


def by_status(held: Held, now: datetime) -> Standing | None:
    """What is known without asking; None: the platform has to be asked. Pure."""
    account, status = held.account, held.status
    if account.disabled_at is not None:
        return Standing("disabled", "the account is disabled: nobody looks after its token")
    if status.grant is Grant.NONE or not status.has_access:
        return Standing("refused", "the account was never connected")
    why = f" ({status.reason})" if status.reason else ""
    if status.grant is Grant.DEAD:
        return Standing("refused", f"the owner must log in again{why}")
    if status.grant is Grant.LOST:
        return Standing("refused", f"its refresh token was lost: the owner must log in again{why}")
    if status.expires_at is not None and status.expires_at <= now:
        return Standing("refused", f"the token has expired{why}")
    return None


def days_remaining(held: Held, now: datetime) -> float | None:
    """Days until somebody is needed: of tokens that live for weeks, and of consents that end on a day."""
    rules = climbing.rules_of(held.account)
    if rules is None:
        return None
    ends = [
        held.status.expires_at if rules.ladder.daily else None,
        held.status.refresh_expires_at if rules.traits.deadline else None,
    ]
    known = [end for end in ends if end is not None]
    return round((min(known) - now) / _A_DAY, 2) if known else None


def _refused(answer: Refused, latency_ms: float) -> Standing:
    state = "key" if answer.reason in _CLOSED else _STATES[answer.trouble]
    why = f"{answer.reason}: {answer.detail}" if answer.detail else answer.reason
    return Standing(state, why, latency_ms)


def _held(platform: str, external_id: str) -> Held:
    with read_only() as session:
        return store.load(session, platform, external_id)
