"""What follows from where a token stands: its owner is told, its operations pause or go on, somebody looks again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from app import catalog, signals
from app.catalog import App
from app.catalog import Tokens as Settings
from app.infra.db import UnitOfWork
from app.tokens import core, store, telling
from app.tokens.core import Daily, Ladder, Place, Step
from app.tokens.provider import ProviderModule, Traits
from app.tokens.providers import platforms
from app.tokens.store import Account, Status

CLIMBED, RECOVERED = "tokens.climbed", "tokens.recovered"
PAUSED, RESUMED = "tokens.paused", "tokens.resumed"
DAMAGED = "damaged"
"""The reason of a token that does not open although its key is right: staff know of it without any step."""
RESTORED = "restored"
"""The message that the trouble is over."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for an account: its platform, its app, its ladder. `app` None: it names one that is not there."""

    settings: Settings
    provider: ProviderModule
    app: App | None
    ladder: Ladder
    daily: Daily

    @property
    def traits(self) -> Traits:
        """How the platform's tokens behave."""
        return self.provider.TRAITS


@dataclass(frozen=True, slots=True)
class Block:
    """Why nothing can be tried now, whatever the token: its app is held, its key is missing.

    `is_trouble` False: it only waits for its turn, which nobody need hear of before it has expired.
    """

    until: datetime | None = None
    is_trouble: bool = True

    def counts(self, status: Status, now: datetime) -> bool:
        """Does the ladder go by it?"""
        return self.is_trouble or (status.expires_at is not None and status.expires_at <= now)


def rules_of(account: Account) -> Rules | None:
    """By the catalogue of now; None for a platform that is not known here."""
    provider = platforms().get(account.platform)
    if provider is None:
        return None
    now = catalog.current()
    settings = now.connecting.tokens
    app = now.connecting.app_of(account.platform, account.app)
    ladder = core.ladder_of(settings, provider.TRAITS, app)
    daily = core.daily_of(settings, ladder, now.budgeting.zone_of(account.tenant), account.id)
    return Rules(settings, provider, app, ladder, daily)


def follow(
    uow: UnitOfWork,
    account: Account,
    before: Status,
    after: Status,
    rules: Rules,
    *,
    now: datetime,
    block: Block | None = None,
    how: str = "",
) -> None:
    """Write `after`, and whatever its place on the ladder asks for. The caller holds the row locked."""
    is_blocked = block is not None and block.counts(after, now)
    token = store.token_of(account, after, blocked=is_blocked, held_until=None if block is None else block.until)
    place = core.place_of(token, rules.ladder, rules.traits, now)
    earlier = core.place_of(store.token_of(account, before), rules.ladder, rules.traits, now)
    if place.step is Step.NONE:
        was_told = after.told is not Step.NONE or (before.reason == DAMAGED and not after.reason)
        after = _over(uow, account, after, now=now, how=how) if was_told else after
    else:
        after = _told(uow, account, after, (earlier, place), now=now)
    after = _paused(uow, account, after, place, now=now)
    if after.lease_until is None:
        after = replace(after, next_at=core.look_at(token, rules.ladder, rules.traits, rules.daily, now))
    store.save(uow, account.id, before, after, now=now)


def facts_of(status: Status, now: datetime) -> dict[str, Any]:
    """What every signal about a token says."""
    return {
        "reason": status.reason,
        "detail": status.detail,
        "generation": status.generation,
        "expires_at": status.expires_at,
        "days_remaining": days_left(status, now),
    }


def days_left(status: Status, now: datetime) -> float | None:
    """Days until it expires, never rounded up, below zero when it has; None where no end is known."""
    return None if status.expires_at is None else (status.expires_at - now) // (timedelta(days=1) / 100) / 100


def tell(uow: UnitOfWork, kind: str, account: Account, facts: Mapping[str, Any], **labels: str) -> None:
    """A signal of an account."""
    signals.record(uow, kind, account.subject, labels=account.labels | labels, facts=dict(facts))


def _told(uow: UnitOfWork, account: Account, after: Status, places: tuple[Place, Place], *, now: datetime) -> Status:
    """Who is concerned learns of a higher step; the owner also where it becomes the owner's business only now."""
    earlier, place = places
    higher = place.step.height > after.told.height
    if higher:
        climb = after.climb + (after.told is Step.NONE)
        after = replace(after, told=place.step, climb=climb)
        facts = facts_of(after, now) | {
            "paused": place.paused,
            "login": place.login,
            "attempts": after.attempts,
            "contacts": len(telling.contacts_of(account)),
            **telling.urgency_of(place.step),
        }
        tell(uow, CLIMBED, account, facts, step=place.step.value)
    if place.client and (higher or not earlier.client):
        telling.plan(uow, account, climb=after.climb, step=after.told.value, now=now)
    return after


def _over(uow: UnitOfWork, account: Account, after: Status, *, now: datetime, how: str) -> Status:
    tell(uow, RECOVERED, account, facts_of(after, now) | {"how": how})
    if after.told is not Step.NONE:
        telling.plan(uow, account, climb=after.climb, step=RESTORED, now=now)
    return replace(after, told=Step.NONE)


def _paused(uow: UnitOfWork, account: Account, after: Status, place: Place, *, now: datetime) -> Status:
    """Operations pause with the step, and go on as soon as the token is good."""
    if place.paused == after.paused:
        return after
    kind = PAUSED if place.paused else RESUMED
    tell(uow, kind, account, facts_of(after, now))
    store.record(
        uow, account, kind.removeprefix("tokens."), by="ladder", now=now, generation=after.generation,
        reason=after.reason, step=place.step.value, expires_at=after.expires_at,
    )  # fmt: skip
    return replace(after, paused=place.paused)
