"""The period that a question is about, as it was written: a day, or from when until when, in whose time zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from app import catalog
from app.costs.sums import day_of, period_of
from app.errors import Invalid, Problem

_NEAR = {"today": 0, "yesterday": -1}
_BACK = re.compile(r"(\d{1,5})([hd])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1)}
_YEARS = range(2000, 2201)
_LOST_PLUS = re.compile(r"(\d) (\d\d:?\d\d)$")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was written; None: nothing. `zone` is where dates begin."""

    zone: str = "UTC"
    day: str | None = None
    since: str | None = None
    until: str | None = None


def period(asked: Asked, now: datetime) -> tuple[datetime, datetime]:
    """From, and up to and without, in UTC; without anything written: today, as far as it is known.

    Raises Invalid that names everything wrong with it.
    """
    problems: list[Problem] = []
    if asked.day is not None:
        if asked.since is not None or asked.until is not None:
            problems.append(Problem("day", "is a period by itself: give it, or since and until"))
        day = _day(asked.day, asked.zone, now, problems)
        found = (now, now) if day is None else period_of(day, asked.zone)
    else:
        found = _between(asked, now, problems)
    if problems:
        raise Invalid(problems, subject="period")
    return found


def zone_of(tenant: str | None) -> str:
    """Where a tenant's days begin at midnight; those of all begin in UTC. Raises Invalid without a usable catalogue."""
    return catalog.current().budgeting.zone_of(tenant) if tenant else "UTC"


def zone_named(written: str) -> str:
    """An IANA name. Raises Invalid."""
    try:
        ZoneInfo(written)
    except (ValueError, OSError, LookupError):  # a directory, a path, a name that nobody knows
        raise Invalid([Problem("zone", "is no time zone, such as Europe/Berlin")], subject="period") from None
    return written


def _day(written: str, zone: str, now: datetime, problems: list[Problem]) -> date | None:
    if written in _NEAR:
        return day_of(now, zone) + timedelta(days=_NEAR[written])
    try:
        found = date.fromisoformat(written)
    except ValueError:
        problems.append(Problem("day", "is no date: today, yesterday, or one such as 2026-11-20"))
        return None
    if found.year not in _YEARS:
        problems.append(Problem("day", _far()))
        return None
    return found


def _between(asked: Asked, now: datetime, problems: list[Problem]) -> tuple[datetime, datetime]:
    until = now if asked.until is None else _moment("until", asked.until, asked.zone, now, problems)
    if asked.since is not None:
        since = _moment("since", asked.since, asked.zone, until or now, problems)
    elif asked.until is None:
        since = period_of(day_of(now, asked.zone), asked.zone)[0]
    else:
        problems.append(Problem("since", "is required with until"))
        since = None
    if since is not None and until is not None and since > until:
        problems.append(Problem("until", "is before since"))
    return since or now, until or now


def _moment(field: str, written: str, zone: str, end: datetime, problems: list[Problem]) -> datetime | None:
    """A date is its first moment in the zone; `7d` is so long before the end of the period."""
    found: datetime | None
    back = _BACK.fullmatch(written) if field == "since" else None
    if back is not None:
        found = end - int(back[1]) * _UNITS[back[2]]
    else:
        # A "+" that was not escaped comes as a blank.
        found = _written(_LOST_PLUS.sub(r"\1+\2", written), zone)
        if found is None:
            known = "a date, a time with its offset such as 2026-11-20T09:00:00Z" + (", 24h or 7d" * (field == "since"))
            problems.append(Problem(field, f"must be {known}"))
            return None
    if found.year not in _YEARS:
        problems.append(Problem(field, _far()))
        return None
    return found.astimezone(UTC)


def _written(text: str, zone: str) -> datetime | None:
    try:
        if len(text) <= len("2026-11-20"):
            day = date.fromisoformat(text)
            return period_of(day, zone)[0] if day.year in _YEARS else datetime(day.year, 1, 1, tzinfo=UTC)
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _far() -> str:
    return f"must be from {_YEARS[0]} to {_YEARS[-1]}"
