"""What a platform's answer to a refresh changes: decided by the kind of answer, written by compare-and-set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.catalog import App
from app.infra.db import UnitOfWork, unit_of_work
from app.infra.text import storable
from app.tokens import apps_state, climbing, core, store, storing
from app.tokens.climbing import Block, Rules
from app.tokens.core import Grant
from app.tokens.provider import ACCOUNT_LIMITED, Answer, Granted, Refused, Trouble
from app.tokens.store import Held, Status

YOUNG_WAIT = timedelta(hours=24)
YOUNG_SLACK = timedelta(minutes=30)
"""By which a platform's clock may be behind ours."""
TOO_YOUNG = "too_young"
LIMITED_WAIT = timedelta(minutes=15)
NOT_EXTENDED = "not_extended"
REPLACED = "replaced"
"""While the platform was asked, somebody else stored a newer token."""
FAILED = "tokens.refresh_failed"


class Outcome(StrEnum):
    """What came of looking at a token."""

    REFRESHED = "refreshed"
    FAILED = "failed"
    DEAD = "dead"
    LOST = "lost"
    WAITING = "waiting"
    """Somebody else is at it, its platform wants it later, or its app is held."""
    NOTHING = "nothing"
    """There was nothing to do."""


@dataclass(frozen=True, slots=True)
class Attended:
    """What came of looking at a token, and why, in words that may be shown."""

    outcome: Outcome
    reason: str = ""
    detail: str = ""
    generation: int = 0
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """A refresh that was begun: what was sent was of this generation."""

    held: Held
    rules: Rules
    app: App
    by: str
    now: datetime


def settle(begun: Begun, answer: Answer, *, duration_ms: int | None = None) -> Attended:
    """Store the answer, unless the token was replaced meanwhile: then it says nothing about the present one."""
    with unit_of_work() as uow:
        held = store.lock(uow, begun.held.account.id)
        if held is None:
            return Attended(Outcome.NOTHING, "removed")
        if held.status.generation != begun.held.status.generation:
            if held.status.lease_by == begun.held.status.lease_by:
                store.save(uow, held.account.id, held.status, store.without_lease(held.status), now=begun.now)
            return Attended(Outcome.NOTHING, REPLACED, generation=held.status.generation)
        if isinstance(answer, Granted):
            return _granted(uow, begun, held, answer, duration_ms)
        return _refused(uow, begun, held, answer, duration_ms)


def lost(uow: UnitOfWork, held: Held, rules: Rules, *, now: datetime, by: str) -> Attended:
    """A rotating token was sent by somebody who did not live to store the answer: nobody has the new one."""
    refusal = Refused(Trouble.LOST, "lost_in_crash", "whoever refreshed it died before the answer was stored")
    app = rules.app or App(name=held.account.platform)
    return _refused(uow, Begun(held, rules, app, by, now), held, refusal, None)


def declare_dead(uow: UnitOfWork, held: Held, rules: Rules, refusal: Refused, *, now: datetime, by: str) -> Attended:
    """The platform does not accept the token any more, whoever found out. The caller holds the row."""
    app = rules.app or App(name=held.account.platform)
    return _refused(uow, Begun(held, rules, app, by, now), held, refusal, None)


def _granted(uow: UnitOfWork, begun: Begun, held: Held, answer: Granted, duration_ms: int | None) -> Attended:
    rules, now = begun.rules, begun.now
    end = answer.tokens.expires_at
    stays = rules.ladder.daily and end is not None and end - now < rules.ladder.lead
    failed = NOT_EXTENDED if stays else ""
    generation = storing.put(
        uow, held, answer.tokens, kind=storing.REFRESHED, by=begun.by, now=now, note=answer.note, failed=failed,
        duration_ms=duration_ms,
    )  # fmt: skip
    apps_state.answered(uow, begun.app)
    return Attended(Outcome.FAILED if failed else Outcome.REFRESHED, failed, generation=generation)


def _refused(uow: UnitOfWork, begun: Begun, held: Held, answer: Refused, duration_ms: int | None) -> Attended:
    before = store.without_lease(held.status)
    detail = storable(answer.detail, limit=store.LONGEST_DETAIL)
    after = replace(before, reason=answer.reason, detail=detail)
    after, outcome, counts = _judged(uow, begun, after, answer)
    if counts:
        after = replace(
            after, attempts=before.attempts + 1, tried_at=begun.now, failing_since=before.failing_since or begun.now
        )
    _remember(uow, begun, after, Attended(outcome, answer.trouble.value), duration_ms=duration_ms)
    block = apps_state.read(uow.session, begun.app.name).block(begun.now)
    climbing.follow(uow, held.account, held.status, after, begun.rules, now=begun.now, block=block)
    return Attended(outcome, answer.reason, detail, before.generation, after.wait_until)


def _judged(uow: UnitOfWork, begun: Begun, after: Status, answer: Refused) -> tuple[Status, Outcome, bool]:
    """The row, the outcome, and whether it was one of the three tries."""
    now, app = begun.now, begun.app
    match answer.trouble:
        case Trouble.DEAD:
            return _ended(after, Grant.DEAD, now), Outcome.DEAD, False
        case Trouble.LOST:
            apps_state.failed(uow, app, now=now, lost=True)
            return _ended(after, Grant.LOST, now), Outcome.LOST, False
        case Trouble.TOO_YOUNG if _may_be_young(begun):
            return replace(after, wait_until=now + (answer.retry_after or _until_old(begun))), Outcome.WAITING, False
        case Trouble.APP:
            again = now + timedelta(minutes=begun.rules.settings.app_retry_minutes)
            apps_state.refused(uow, app, reason=answer.reason, detail=answer.detail, until=again)
            return after, Outcome.WAITING, False
        case Trouble.LIMITED if answer.reason != ACCOUNT_LIMITED:
            apps_state.limited(uow, app, until=now + (answer.retry_after or LIMITED_WAIT))
        case Trouble.TRANSIENT:
            apps_state.failed(uow, app, now=now, lost=False, first=after.attempts == 0)
        case Trouble.UNKNOWN:
            apps_state.odd(uow, app, reason=answer.reason, detail=answer.detail)
    wait = None if answer.retry_after is None else now + answer.retry_after
    return replace(after, wait_until=wait), Outcome.FAILED, True


def _ended(status: Status, grant: Grant, now: datetime) -> Status:
    return replace(status, grant=grant, tried_at=now, failing_since=status.failing_since or now, wait_until=None)


def _may_be_young(begun: Begun) -> bool:
    """A platform that never finds it old enough is trouble like any other, or its end would come unnoticed."""
    status = begun.held.status
    if status.issued_at is None:
        return status.reason != TOO_YOUNG or (status.wait_until is not None and status.wait_until > begun.now)
    return begun.now < status.issued_at + begun.rules.traits.minimum_age + YOUNG_SLACK


def _until_old(begun: Begun) -> timedelta:
    age, issued = begun.rules.traits.minimum_age, begun.held.status.issued_at
    return YOUNG_WAIT if issued is None else max(timedelta(minutes=1), issued + age - begun.now)


def _remember(uow: UnitOfWork, begun: Begun, after: Status, came: Attended, *, duration_ms: int | None) -> None:
    """What came of it, with the kind of trouble as its reason."""
    account, now, outcome = begun.held.account, begun.now, came.outcome
    facts: dict[str, Any] = {"trouble": came.reason, "attempt": after.attempts, "of": begun.rules.ladder.attempts}
    store.record(
        uow, account, outcome.value, by=begun.by, now=now, generation=after.generation, reason=after.reason,
        detail=after.detail or None, duration_ms=duration_ms, expires_at=after.expires_at, **facts,
    )  # fmt: skip
    if outcome is Outcome.FAILED:
        used_up = after.attempts >= begun.rules.ladder.attempts
        climbing.tell(uow, FAILED, account, climbing.facts_of(after, now) | facts | {"used_up": used_up})


def hold(
    uow: UnitOfWork, held: Held, rules: Rules, *, now: datetime, block: Block, reason: str = "", detail: str = ""
) -> Attended:
    """Nothing can be tried now; time goes on all the same, and the ladder with it."""
    before = held.status
    after = replace(before, reason=reason, detail=detail) if reason else before
    climbing.follow(uow, held.account, before, store.without_lease(after), rules, now=now, block=block)
    return Attended(Outcome.WAITING, reason or "app_held", detail, before.generation, block.until)


def standing(held: Held, rules: Rules, now: datetime) -> core.Place:
    """Where a token stands, whatever its app does."""
    return core.place_of(held.token(), rules.ladder, rules.traits, now)


__all__ = ["Attended", "Begun", "Outcome", "declare_dead", "hold", "lost", "settle", "standing"]
