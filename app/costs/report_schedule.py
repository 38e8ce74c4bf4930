"""Which reports are due: those of days that are over where the tenant is, and of which none is kept yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import catalog, jobs
from app.costs import sums
from app.infra.db import UnitOfWork
from app.jobs import Priority, Submission
from app.limits import spending

REPORT = "tasks.costs.report"

SETTLE = timedelta(minutes=5)
"""After midnight: calls of the last minutes are still on their way."""
PATIENCE = timedelta(hours=2)
"""How long a report waits for calls that are recorded, but not written down yet."""
CATCH_UP_DAYS = 7
MOST = 500
"""Jobs of one pass; the next one is minutes away."""

EVERYBODY = ""
"""How all tenants together are called where a report is kept."""


@dataclass(frozen=True, slots=True)
class Day:
    """A tenant's day, from `since` to `until`."""

    tenant: str
    day: date
    since: datetime
    until: datetime


def days_over(zones: Mapping[str, str], now: datetime) -> Iterator[Day]:
    """The last days of each tenant that have been over for a while; `zones` by tenant. The oldest of each first."""
    for tenant, zone in zones.items():
        today = sums.day_of(now, zone)
        for back in range(CATCH_UP_DAYS, 0, -1):
            day = today - timedelta(days=back)
            since, until = sums.period_of(day, zone)
            if now >= until + SETTLE:
                yield Day(tenant, day, since, until)


def is_settled(day: Day, waiting_since: datetime | None, now: datetime) -> bool:
    """Are the day's calls written down, as far as can be waited for? `waiting_since`: of the oldest that is not."""
    is_behind = waiting_since is not None and waiting_since < day.until + SETTLE
    return not is_behind or now >= day.until + PATIENCE


def submit_due(uow: UnitOfWork, now: datetime) -> int:
    """Submit a job for each report that is due; how many. Raises Transient."""
    waiting_since = spending.backlog().oldest_at
    wanted = [day for day in missing(uow.session, now) if is_settled(day, waiting_since, now)][:MOST]
    jobs.submit_many(
        uow,
        [
            Submission(
                REPORT,
                {"tenant": day.tenant, "day": day.day.isoformat()},
                key=f"{REPORT}:{day.day}:{day.tenant}",
                priority=Priority.LOW,  # dozens after an outage: what looks for a runaway loop goes first
                caller="costs",
            )
            for day in wanted
        ],
    )
    return len(wanted)


def missing(session: Session, now: datetime) -> list[Day]:
    """Yesterday's reports of the catalogue's tenants, and those of every day on which something was spent, that are not
    kept yet; the earliest days first."""
    budgeting = catalog.current().budgeting
    first = now - timedelta(days=CATCH_UP_DAYS + 2)
    spenders = {row.name for row in sums.by(session, "tenant", first, now)} - {EVERYBODY}
    names = sorted({*budgeting.tenants, *spenders})
    zones = {EVERYBODY: "UTC", **{name: budgeting.zone_of(name) for name in names}}
    kept = _kept(session, first.date())
    spent: dict[tuple[datetime, datetime], frozenset[str]] = {}
    found = []
    for day in days_over(zones, now):
        if (day.tenant, day.day) in kept:
            continue
        period = (day.since, day.until)
        if period not in spent:
            spent[period] = _spenders(session, *period)
        is_yesterday = now - day.until < timedelta(days=1)
        if day.tenant in spent[period] or (is_yesterday and day.tenant in budgeting.tenants):
            found.append(day)
    return sorted(found, key=lambda day: (day.until, day.tenant))


def _kept(session: Session, since: date) -> set[tuple[str, date]]:
    rows = session.execute(text("SELECT tenant, day FROM cost_reports WHERE day >= :since"), {"since": since})
    return {(row.tenant, row.day) for row in rows}


def _spenders(session: Session, since: datetime, until: datetime) -> frozenset[str]:
    """Who had calls in the period; EVERYBODY where anybody had."""
    names = {row.name for row in sums.by(session, "tenant", since, until)}
    return frozenset({*names, EVERYBODY}) if names else frozenset()
