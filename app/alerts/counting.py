"""What another signal does to an open alert: counted, confirmed, refreshed, ended. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.alerts.core import Episode, State
from app.alerts.rules import Raise

LATE = timedelta(minutes=1)
"""How much later than it happened a signal may be handled and still be counted with those before it."""


@dataclass(frozen=True, slots=True)
class Counted:
    """An alert that is open, and the moments of the last signals that its count is made of, in their order."""

    life: Episode
    recent: tuple[datetime, ...]
    occurrences: int = 1


def begin(raised: Raise, now: datetime) -> Counted:
    """The alert that a first signal opens: firing at once, or pending until it is confirmed."""
    life = Episode(state=State.PENDING, starts_at=raised.starts_at)
    return _with(Counted(life, (), 0), (raised.at,), raised, now)


def again(known: Counted, raised: Raise, now: datetime) -> Counted:
    """The open alert after one more signal. One that ended and was not yet seen to goes on as if it never had.

    A pending one whose row of signals was broken starts over.
    """
    if _is_broken(known.life, raised, now):
        return begin(raised, now)
    return _with(known, _recent(known.recent, raised), raised, now)


def ended(life: Episode, at: datetime, now: datetime) -> Episode:
    """Its trouble was over at that moment; time does the rest. An end that is known already stays as it is."""
    if life.held or (life.ends_explicitly and life.ends_at is not None and life.ends_at <= now):
        return life
    return replace(life, ends_at=min(now, max(life.starts_at, at)), ends_explicitly=True)


def _is_broken(life: Episode, raised: Raise, now: datetime) -> bool:
    over = life.state is State.PENDING and life.ends_at is not None and life.ends_at <= now
    return over and (life.ends_explicitly or raised.within is None)


def _recent(before: tuple[datetime, ...], raised: Raise) -> tuple[datetime, ...]:
    """The last `count` moments, none of them longer before the newest than the rule looks back."""
    moments = sorted((*before, raised.at))[-raised.count :]
    if raised.within is None:
        return tuple(moments)
    return tuple(moment for moment in moments if moments[-1] - moment <= raised.within)


def _with(known: Counted, recent: tuple[datetime, ...], raised: Raise, now: datetime) -> Counted:
    life = replace(known.life, starts_at=min(known.life.starts_at, raised.starts_at), ends_explicitly=False, held=False)
    if life.state is State.PENDING and life.fires_at is None:
        life = _confirmed(life, raised, now) if len(recent) >= raised.count else _waiting(life, recent, raised)
    life = replace(life, ends_at=_ends_at(life, raised, now))
    return Counted(life, recent, known.occurrences + 1)


def _confirmed(life: Episode, raised: Raise, now: datetime) -> Episode:
    if raised.wait:
        return replace(life, fires_at=now + raised.wait)
    return replace(life, state=State.FIRING, fired_at=now)


def _waiting(life: Episode, recent: tuple[datetime, ...], raised: Raise) -> Episode:
    """Within a window the trouble begins with the first signal that still counts."""
    return replace(life, starts_at=recent[0]) if raised.within is not None else life


def _ends_at(life: Episode, raised: Raise, now: datetime) -> datetime | None:
    """When silence is its end: after the rule's time; sooner while its window can still pass without the rest."""
    spans = [raised.expires_after] if raised.expires_after is not None else []
    if life.state is State.PENDING and life.fires_at is None and raised.within is not None:
        spans.append(raised.within + LATE)
    return now + min(spans) if spans else None
