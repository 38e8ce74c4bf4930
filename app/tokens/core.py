"""The refresh ladder, pure: when a token is tried, where it stands, and when somebody has to look again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

from app.catalog import App
from app.catalog import Tokens as Settings
from app.tokens.provider import Traits

_A_DAY = timedelta(days=1)
_MOST = 0.75
"""Share of a life in which it is refreshed: with more of it, each refresh would be due at once again."""
WORTHWHILE = timedelta(minutes=1)
"""What a refresh has to add to a life that the end of a consent bounds; platforms count in whole seconds."""


class Grant(StrEnum):
    """What is left of the owner's consent."""

    NONE = ""
    GOOD = "good"
    DEAD = "dead"
    LOST = "lost"


class Step(StrEnum):
    """Steps of the ladder, the lowest first. LAST: less than a day is left, or the platform refuses the token now."""

    NONE = ""
    RECONNECT = "reconnect"
    URGENT = "urgent"
    LAST = "last"
    EXPIRED = "expired"

    @property
    def height(self) -> int:
        """0 for none, 4 for expired."""
        return _STEPS.index(self)


_STEPS = list(Step)


class Level(StrEnum):
    """A token in one word, as the daily report counts."""

    HEALTHY = "healthy"
    EXPIRING_SOON = "expiring_soon"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Ladder:
    """The figures for one platform's tokens. `daily`: they live for weeks, and are tried at the daily time.

    `lead`, `urgent`, `last` are before a token's own end, `login` and `login_*` before that of a consent.
    """

    lead: timedelta
    urgent: timedelta
    last: timedelta
    login: timedelta
    login_urgent: timedelta
    login_last: timedelta
    attempts: int
    retry: timedelta
    then: timedelta
    spread: timedelta
    daily: bool


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token, without the token. `blocked`: its app is held, so that nothing can be tried."""

    generation: int
    grant: Grant
    has_refresh: bool = False
    disabled: bool = False
    blocked: bool = False
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    refresh_expires_at: datetime | None = None
    attempts: int = 0
    tried_at: datetime | None = None
    wait_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a token stands. `login`: only its owner can help; `client`: it is the owner's business at all."""

    step: Step
    paused: bool = False
    login: bool = False
    client: bool = False


@dataclass(frozen=True, slots=True)
class Daily:
    """The daily time of a tenant, and the share of the spread that an account's id gives it."""

    at: time
    zone: ZoneInfo
    offset: timedelta = timedelta()

    def after(self, moment: datetime) -> datetime:
        """The first daily time that is not before `moment`; a time that a clock change skips falls right after it."""
        day = moment.astimezone(self.zone).date()
        while True:
            found = datetime.combine(day, self.at, self.zone).astimezone(moment.tzinfo)
            if found >= moment:
                return found + self.offset
            day += _A_DAY


NOWHERE = Place(Step.NONE)


def ladder_of(settings: Settings, traits: Traits, app: App | None = None) -> Ladder:
    """The ladder of a platform's tokens: days for those that live for weeks, shares of their lead for the others."""
    days = timedelta(days=settings.refresh_days)
    lead = traits.lead or days
    if app is not None and app.refresh_minutes is not None:
        lead = timedelta(minutes=app.refresh_minutes)
    if traits.life is not None:
        lead = min(lead, traits.life * _MOST)
    daily = lead >= _A_DAY
    return Ladder(
        lead=lead,
        urgent=min(lead, timedelta(days=settings.urgent_days)) if daily else timedelta(),
        last=min(lead, timedelta(days=settings.pause_days)) if daily else timedelta(),
        login=days,
        login_urgent=timedelta(days=settings.urgent_days),
        login_last=timedelta(days=settings.pause_days),
        attempts=settings.attempts,
        retry=settings.retry if daily else min(settings.retry, lead / settings.attempts),
        then=_A_DAY if daily else settings.retry,
        spread=timedelta(minutes=settings.spread_minutes) if daily else timedelta(),
        daily=daily,
    )


def daily_of(settings: Settings, ladder: Ladder, zone: str, account_id: UUID) -> Daily:
    """The daily time for one account: the tenant's, and its own place within the spread."""
    return Daily(settings.daily_at, ZoneInfo(zone), offset_of(ladder, account_id))


def offset_of(ladder: Ladder, account_id: UUID) -> timedelta:
    """An account's place within the spread: always the same."""
    return ladder.spread * ((account_id.int % 10_007) / 10_007)


def is_renewable(token: Token, traits: Traits, now: datetime) -> bool:
    """Can it be refreshed without its owner?"""
    if token.grant is not Grant.GOOD:
        return False
    if traits.one_token:
        return token.expires_at is None or token.expires_at > now
    if not token.has_refresh or token.refresh_expires_at is None:
        return token.has_refresh
    if traits.deadline and token.expires_at is not None and token.refresh_expires_at < token.expires_at + WORTHWHILE:
        return False
    return token.refresh_expires_at > now


def place_of(token: Token, ladder: Ladder, traits: Traits, now: datetime) -> Place:
    """Where it stands on the ladder: the higher of what its own end and that of its refresh token say."""
    if token.disabled or token.grant is Grant.NONE:
        return NOWHERE
    own, deadline = _by_access(token, ladder, traits, now), _by_deadline(token, ladder, traits, now)
    if deadline.step.height <= own.step.height:
        return own
    return Place(deadline.step, paused=own.paused, login=True, client=True)


def _by_access(token: Token, ladder: Ladder, traits: Traits, now: datetime) -> Place:
    refused = token.grant in (Grant.DEAD, Grant.LOST)
    login = refused or not is_renewable(token, traits, now)
    client = login or token.attempts > 0
    left = None if token.expires_at is None else token.expires_at - now
    if not client and not token.blocked:
        return NOWHERE
    if left is not None and left <= timedelta():
        return Place(Step.EXPIRED, paused=True, login=login, client=client)
    if (token.grant is Grant.DEAD and traits.one_token) or (left is not None and left <= ladder.last):
        return Place(Step.LAST, paused=True, login=login, client=client)
    if left is not None and left <= ladder.urgent:
        return Place(Step.URGENT, login=login, client=client)
    is_near = left is not None and left <= (ladder.lead if ladder.daily else ladder.login)
    if refused or (login and is_near) or token.attempts >= ladder.attempts:
        return Place(Step.RECONNECT, login=login, client=client)
    return NOWHERE


def _by_deadline(token: Token, ladder: Ladder, traits: Traits, now: datetime) -> Place:
    """A consent that ends on a day that no refresh moves. What it gave lives on to its own end: nothing pauses."""
    if not traits.deadline or token.refresh_expires_at is None:
        return NOWHERE
    left = token.refresh_expires_at - now
    steps = ((ladder.login_last, Step.LAST), (ladder.login_urgent, Step.URGENT), (ladder.login, Step.RECONNECT))
    for bound, step in steps:
        if left <= bound:
            return Place(step, login=True, client=True)
    return NOWHERE


def try_at(token: Token, ladder: Ladder, traits: Traits, daily: Daily, now: datetime) -> datetime | None:
    """When it is refreshed next, maybe in the past; None: it need not be, or cannot be without its owner."""
    if token.disabled or token.expires_at is None or not is_renewable(token, traits, now):
        return None
    lead, retry = _pace_of(token, ladder)
    if token.attempts == 0:
        moment = token.expires_at - lead
        if traits.minimum_age and token.issued_at is not None:
            moment = max(moment, token.issued_at + traits.minimum_age)
        if ladder.daily and token.expires_at - now > ladder.urgent:
            moment = daily.after(moment)
    elif token.tried_at is None:
        moment = now
    elif token.attempts < ladder.attempts:
        moment = token.tried_at + retry
    elif ladder.daily:
        moment = daily.after(token.tried_at + ladder.retry)
    else:
        moment = token.tried_at + ladder.then
    return moment if token.wait_until is None else max(moment, token.wait_until)


def _pace_of(token: Token, ladder: Ladder) -> tuple[timedelta, timedelta]:
    """How long before its end it is tried, and from one try to the next: less, where it lives shorter than usual."""
    if ladder.daily or token.issued_at is None or token.expires_at is None or token.issued_at >= token.expires_at:
        return ladder.lead, ladder.retry
    lead = min(ladder.lead, (token.expires_at - token.issued_at) * _MOST)
    return lead, min(ladder.retry, lead / ladder.attempts)


def look_at(token: Token, ladder: Ladder, traits: Traits, daily: Daily, now: datetime) -> datetime | None:
    """When somebody has to look at it next: for a try, or for a step that time alone brings. None: never by itself."""
    if token.disabled or token.grant is Grant.NONE:
        return None
    moments = [moment for moment in _crossings(token, ladder, traits, daily, now) if moment > now]
    tried = try_at(token, ladder, traits, daily, now)
    return min([*moments, tried] if tried is not None else moments, default=None)


def _crossings(token: Token, ladder: Ladder, traits: Traits, daily: Daily, now: datetime) -> Iterator[datetime]:
    """Moments at which the step changes by itself. People are asked at the daily time; what pauses, pauses at once."""
    login = not is_renewable(token, traits, now)
    if token.expires_at is not None:
        in_trouble = login or token.attempts > 0 or token.blocked
        if login and ladder.daily:
            yield daily.after(token.expires_at - ladder.lead)
        if ladder.urgent and in_trouble:
            yield daily.after(token.expires_at - ladder.urgent)
        if ladder.last and in_trouble:
            yield token.expires_at - ladder.last
        yield token.expires_at  # in trouble or not: one that has to wait for a try may end before it
    if traits.deadline and token.refresh_expires_at is not None:
        yield daily.after(token.refresh_expires_at - ladder.login)
        yield daily.after(token.refresh_expires_at - ladder.login_urgent)
        yield token.refresh_expires_at - ladder.login_last


def level_of(token: Token, ladder: Ladder, traits: Traits, now: datetime) -> Level | None:
    """The token in one word; None where there is none to speak of."""
    if token.disabled or token.grant is Grant.NONE:
        return None
    place = place_of(token, ladder, traits, now)
    if token.grant is not Grant.GOOD or place.step.height >= Step.URGENT.height:
        return Level.CRITICAL
    is_near = ladder.daily and token.expires_at is not None and token.expires_at - now < ladder.lead
    return Level.EXPIRING_SOON if is_near or token.attempts or place.step is not Step.NONE else Level.HEALTHY


ZoneOf = Callable[[str], str]
