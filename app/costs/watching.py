"""Budgets are watched: what each subject spent is read, its course foretold, and what begins or ends is told.

Everybody's hours of four weeks would be millions of rows, every five minutes. So the last two days are read by the hour
and all days before as their sums, which are spread over their hours as the last day was: what is lost is how Sundays
differ from Mondays by the hour, not in all. A single subject's forecast (`forecasting`) reads its hours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import fmean

from sqlalchemy.orm import Session

from app import clock, signals
from app.catalog import Budget
from app.costs import burning, in_force, watch_store
from app.costs.burning import Trend, Watch
from app.costs.forecast import Period, forecast, period_at
from app.costs.outlook import HOUR, WEEKS, burn_rate, last_day, series
from app.costs.watch_store import Spent, Wanted
from app.infra.db import UnitOfWork, read_only, unit_of_work
from app.limits.budgets import Counted, Effective, subject_of

SIGNALS = {
    Watch.BURN: ("costs.burning", "costs.burn_over"),
    Watch.EXHAUSTION: ("costs.exhaustion_predicted", "costs.exhaustion_averted"),
}
PERIODS: Mapping[str, Period] = {"day": "day", "week": "week", "month": "month"}
"""What can be foretold: an interaction has no end of its own."""

DAY = timedelta(days=1)
_HOURS = [place * HOUR for place in range(24)]
RECENT = timedelta(hours=26)
"""What is read by the hour at least: the longest day there is, and the hour that runs."""

_MOST_OF_AN_HOUR = 3.0
"""Times the mean that an hour counts in how a day is spread: a loop of yesterday is no habit."""

Subject = tuple[str, str]
"""Scope and name; ("global", "") is everybody."""


@dataclass(slots=True)
class Spending:
    """What a subject spent, by day as far as days are over that are not read by the hour, and by hour."""

    days: dict[datetime, int] = field(default_factory=dict)
    hours: dict[datetime, int] = field(default_factory=dict)

    def spread(self, now: datetime) -> dict[datetime, int]:
        """By hour, where days are spread as the last 24 whole hours were."""
        shape = _shape(self.hours, now)
        by_hour = {hour - timedelta(hours=hour.hour) for hour in self.hours}
        found = {
            day + hour: round(cost * share)
            for day, cost in self.days.items()
            if day not in by_hour
            for hour, share in zip(_HOURS, shape, strict=True)
        }
        return found | self.hours

    def pace(self, now: datetime) -> tuple[float, float]:
        """The last 24 hours, and the burn rate an hour."""
        recent = series(self.hours, now, "UTC", weeks=1)
        return last_day(recent), burn_rate(recent)


def watch(now: datetime | None = None) -> dict[str, int]:
    """Look at every budget of every subject that spent; how many were foretold, began and ended. Raises Transient."""
    at = now or clock.now()
    with read_only() as session:
        effective = in_force.of(session)
        budgets = [budget for budget in effective.budgets.values() if budget.period in PERIODS]
        known = watch_store.on(session, [kind.value for kind in Watch])
        spent: dict[Subject, Spending] = {}
        wanted = _wanted(_starts(effective, budgets, at), at)
        for scopes in _together({budget.scope for budget in budgets}):
            _add_up(spent, *watch_store.spent(session, scopes, wanted))
    trends = list(_trends(effective, budgets, spent, known, at))
    with unit_of_work() as uow:
        began, ended = _save(uow, trends, known, at)
    return {"foretold": len(trends), "began": began, "ended": ended}


def spread_hours(session: Session, subject: Subject, start: datetime, now: datetime) -> dict[datetime, int]:
    """By hour, what everybody or a skill spent, where days before the last are spread over their hours.

    `start`: of the period that is foretold.
    """
    spent: dict[Subject, Spending] = {}
    for scopes in _together({subject[0]}):
        _add_up(spent, *watch_store.spent(session, scopes, _wanted({start}, now)))
    return spent.get(subject, Spending()).spread(now)


def _starts(effective: Effective, budgets: Iterable[Budget], now: datetime) -> set[datetime]:
    """When the present periods of budgets began, in all zones that there are."""
    zones = {budget.timezone for budget in budgets if budget.timezone} | {"UTC"}
    zones |= {tenant.timezone for tenant in effective.budgeting.tenants.values()}
    return {period_at(PERIODS[budget.period], zone, now)[0] for budget in budgets for zone in zones}


def _wanted(starts: Collection[datetime], now: datetime) -> Wanted:
    """What is read by the day and by the hour: by the hour also the day amid which a period began."""
    recent = _midnight(now - RECENT)
    edges = {_midnight(start) for start in starts if start != _midnight(start)} - {recent}
    first = min([_midnight(now) - WEEKS * 7 * DAY, *map(_midnight, starts)])
    hours = [edge + place * HOUR for edge in sorted(edges) if edge < recent for place in range(24)]
    return Wanted((first, recent), recent, hours)


def _together(scopes: Collection[str]) -> list[set[str]]:
    """Scopes that are read in one go. What tenants spent is what everybody did."""
    of_models = {"tenant" if scope == "global" else scope for scope in scopes if scope in ("global", "tenant", "skill")}
    own = [{scope} for scope in sorted(scopes) if scope in ("agent", "user", "department")]
    return [of_models, *own] if of_models else own


def _add_up(spent: dict[Subject, Spending], days: Iterable[Spent], hours: Iterable[Spent]) -> None:
    for rows, is_day in ((days, True), (hours, False)):
        for row in rows:
            for subject in _subjects(row):
                known = spent.setdefault(subject, Spending())
                kept = known.days if is_day else known.hours
                kept[row.start_at] = kept.get(row.start_at, 0) + row.cost


def _subjects(row: Spent) -> tuple[Subject, ...]:
    return (("global", ""), ("tenant", row.name)) if row.scope == "tenant" else ((row.scope, row.name),)


def _trends(
    effective: Effective,
    budgets: Iterable[Budget],
    spent: Mapping[Subject, Spending],
    known: Mapping[tuple[str, str], object],
    now: datetime,
) -> Iterator[Trend]:
    """Of every budget and subject for which something could begin or end."""
    watched = {subject for _, subject in known}
    scopes: dict[str, list[Budget]] = {}
    for budget in budgets:
        scopes.setdefault(budget.scope, []).append(budget)
    for (scope, name), spending in spent.items():
        if scope != "global" and not name:
            continue
        subject, pace = subject_of(scope, name), spending.pace(now)
        for budget in scopes.get(scope, ()):
            counted = effective.counted(budget.name, subject)
            if counted is None:
                continue
            if burning.about(budget.name, subject) in watched or _may_matter(counted, spending, pace, now):
                yield _trend(counted, spending, now)


def _may_matter(counted: Counted, spending: Spending, pace: tuple[float, float], now: datetime) -> bool:
    start, end = period_at(_period(counted), counted.limit.timezone, now)
    first = _midnight(start)
    of_days = sum(cost for day, cost in spending.days.items() if day >= first)
    of_hours = sum(cost for hour, cost in spending.hours.items() if hour >= first)
    return burning.may_matter(
        _period(counted),
        counted.limit.units,
        spent=of_days + of_hours,
        last_day=pace[0],
        per_hour=pace[1],
        hours_left=(end - now) / HOUR,
    )


def _trend(counted: Counted, spending: Spending, now: datetime) -> Trend:
    amount, period = counted.limit.units, _period(counted)
    seen = forecast(spending.spread(now), period, counted.limit.timezone, now, amount=amount, week_of="UTC", origins=0)
    return Trend(counted.budget.name, counted.budget.scope, counted.subject, period, amount, seen)


def _save(
    uow: UnitOfWork, trends: Iterable[Trend], known: Mapping[tuple[str, str], object], now: datetime
) -> tuple[int, int]:
    began = ended = 0
    left = dict(known)
    for trend in trends:
        for kind in Watch:
            is_on = left.pop((kind.value, trend.about), None) is not None
            is_so = burning.is_so(kind, trend, is_on=is_on)
            if is_so == is_on:
                continue
            facts = burning.facts(trend)
            if is_so and watch_store.begin(uow, kind.value, trend.about, facts, now):
                signals.record(uow, SIGNALS[kind][0], trend.about, labels=trend.labels, facts=facts)
                began += 1
            elif is_on and (since := watch_store.end(uow, kind.value, trend.about)) is not None:
                told = {**facts, "seconds": round((now - since).total_seconds())}
                signals.record(uow, SIGNALS[kind][1], trend.about, labels=trend.labels, facts=told)
                ended += 1
    for kind_name, subject in left:  # of budgets that are gone, and of subjects that spent nothing for four weeks
        if watch_store.end(uow, kind_name, subject) is not None:
            budget, _, of = subject.removeprefix("budget:").partition(" ")
            labels = {"budget": budget, "subject": of}
            signals.record(
                uow,
                SIGNALS[Watch(kind_name)][1],
                subject,
                labels=labels,
                facts={"why": "nothing is counted in it any more"},
            )
            ended += 1
    return began, ended


def _shape(hours: Mapping[datetime, int], now: datetime) -> list[float]:
    """What share of a day each hour of it (UTC) is."""
    running = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    costs = {running - place * HOUR: hours.get(running - place * HOUR, 0) for place in range(1, 25)}
    most = _MOST_OF_AN_HOUR * fmean(costs.values())
    counted = {hour.hour: min(cost, most) for hour, cost in costs.items()}
    total = sum(counted.values())
    return [counted[place] / total if total else 1 / 24 for place in range(24)]


def _period(counted: Counted) -> Period:
    return PERIODS[counted.budget.period]


def _midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
