"""Rolling up: the present hours of every service each minute, days once they are over, and what was stored late.

Every pass makes whole hours anew from what is stored, so it may be repeated, interrupted, or done by two at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta

from app import clock
from app.config import settings
from app.health.availability import rollup_sql as sql
from app.health.availability.hours import DAY, HOUR, day_of, days, hour_of, hours, midnight
from app.infra import ids
from app.infra.db import UnitOfWork, unit_of_work

SETTLE = timedelta(minutes=10)
"""An hour is made anew until so long after its end; what is stored later than that is noted."""
IN_FLIGHT = timedelta(minutes=2)
"""Longer than a result may be on its way into the database."""
STEP = 3 * HOUR
"""How much of the backlog one transaction works off."""
CATCH_UP_SECONDS = 20.0
"""How long one job works on the backlog; the rest is for the next, a minute later."""

_LOCK = "hashtext('availability')"


def note_late(uow: UnitOfWork, moments: Iterable[datetime], now: datetime) -> None:
    """What is stored now counts from the earliest of these moments on: its hours are due again if they are settled."""
    until = hour_of(now + IN_FLIGHT - SETTLE)
    since = min((hour_of(moment) for moment in moments), default=until)
    if since < until:
        _owe(uow, since, until)


def roll_up(uow: UnitOfWork, now: datetime) -> bool:
    """Make the hours that are not settled yet, and the days that ended; is everything before them up to date?

    Two passes take turns.
    """
    uow.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
    last = uow.execute("SELECT rolled_at, days_until FROM rollup_clock WHERE id = 1").one()
    recent = hour_of(now - SETTLE)
    missed = hour_of(min(last.rolled_at, now) - SETTLE) if last.rolled_at is not None else _first_hour(uow, recent)
    if missed < recent:
        _owe(uow, missed, recent)
    _make(uow, recent, now, now)
    today = day_of(now)
    for day in days(midnight(last.days_until or today), midnight(today)):
        _sum_day(uow, day)
    uow.execute("UPDATE rollup_clock SET rolled_at = :now, days_until = :today WHERE id = 1", now=now, today=today)
    return not uow.execute("SELECT EXISTS (SELECT 1 FROM rollup_backlog)").scalar_one()


def catch_up(now: datetime) -> int:
    """Work off the backlog for a while, oldest first, each few hours in a transaction of their own; how many hours."""
    ends = clock.monotonic() + CATCH_UP_SECONDS
    made = 0
    while clock.monotonic() < ends:
        with unit_of_work() as uow:
            step = _step(uow, now)
        if step is None:
            break
        made += step
    return made


def _step(uow: UnitOfWork, now: datetime) -> int | None:
    """The next few hours of the backlog; None when nothing is left, or another is at it."""
    if not uow.execute(f"SELECT pg_try_advisory_xact_lock({_LOCK})").scalar_one():
        return None
    first = uow.execute("SELECT min(since) FROM rollup_backlog").scalar_one()
    if first is None:
        return None
    since = max(hour_of(first), _kept_since(now))
    rows = uow.execute(
        "SELECT id, until FROM rollup_backlog WHERE since < :until ORDER BY id FOR UPDATE", until=since + STEP
    ).all()
    until = max(since, min(since + STEP, max(row.until for row in rows)))
    made = _make(uow, since, until, now)
    for day in days(since, min(until, midnight(day_of(now)))):
        _sum_day(uow, day)
    done = [row.id for row in rows]
    uow.execute("UPDATE rollup_backlog SET since = :until WHERE id = ANY(:ids)", until=until, ids=done)
    uow.execute("DELETE FROM rollup_backlog WHERE id = ANY(:ids) AND since >= until", ids=done)
    return made


def _make(uow: UnitOfWork, since: datetime, until: datetime, now: datetime) -> int:
    """Make the hours that begin in a span, as far as they are over by `now`."""
    longest = timedelta(seconds=uow.execute(sql.LONGEST_STALE).scalar_one())
    made = 0
    for hour in hours(since, min(until, now)):
        uow.execute(
            sql.HOUR,
            hour=hour,
            until=hour + HOUR,
            now=now,
            low=ids.floor(hour),
            high=ids.floor(hour + HOUR),
            oldest=ids.floor(hour - longest),
        )
        made += 1
    return made


def _sum_day(uow: UnitOfWork, day: date) -> None:
    uow.execute(sql.DAY, day=day, midnight=midnight(day))


def _owe(uow: UnitOfWork, since: datetime, until: datetime) -> None:
    uow.execute("INSERT INTO rollup_backlog (since, until) VALUES (:since, :until)", since=since, until=until)


def _first_hour(uow: UnitOfWork, otherwise: datetime) -> datetime:
    """The hour of the oldest result or incident there is."""
    oldest = uow.execute(
        "SELECT least((SELECT started_at FROM system_health_log ORDER BY id LIMIT 1),"
        " (SELECT min(started_at) FROM incidents))"
    ).scalar_one()
    return otherwise if oldest is None else hour_of(oldest)


def _kept_since(now: datetime) -> datetime:
    """What is older has lost results to retention, or will soon: it stays as it was made."""
    config = settings()
    return hour_of(now) - (min(config.health_log_days, config.health_hour_days) - 1) * DAY
