"""Anomalies are found: the running hour and the last whole one of every place that costs real money, and told once.

A place is a tenant's skill with a model. What is usual is read for places that could be a finding, and what their
siblings do for those that are one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from app import catalog, clock, signals
from app.clock import iso
from app.costs import anomalies, causes, watch_store
from app.costs.anomalies import ENOUGH, LEAST_ELAPSED, LEAST_EXCESS, SCORE_TO_STAY, Place, Reading
from app.costs.causes import Figures, Siblings
from app.costs.outlook import HOUR, WEEKS
from app.costs.sums import dollars
from app.costs.watch_store import ANOMALY, Anomaly, Hours
from app.infra.db import UnitOfWork, read_only, unit_of_work

FOUND, OVER = "costs.anomaly", "costs.anomaly_over"

_NOTHING = Figures()


@dataclass(frozen=True)
class Calendar:
    """Which hours are like an hour, on the clock of a zone; from the oldest on."""

    zone: str

    def weekly(self, hour: datetime) -> Sequence[datetime]:
        """The same hour of the week, four weeks back."""
        return _back(hour, self.zone, WEEKS, 7)

    def daily(self, hour: datetime) -> Sequence[datetime]:
        """The same hour of the seven days before."""
        return _back(hour, self.zone, 7, 1)

    def recent(self, hour: datetime) -> Sequence[datetime]:
        """The 24 hours before."""
        return [hour - place * HOUR for place in range(24, 0, -1)]

    def all(self, hour: datetime) -> list[datetime]:
        """All of them, and itself."""
        return [*self.weekly(hour), *self.daily(hour), *self.recent(hour), hour]


@lru_cache(maxsize=4096)
def _back(hour: datetime, zone: str, times: int, days: int) -> Sequence[datetime]:
    there = ZoneInfo(zone)
    local = hour.astimezone(there).replace(tzinfo=None)
    starts = [local - timedelta(days=days * time) for time in range(times, 0, -1)]
    return tuple(start.replace(tzinfo=there).astimezone(UTC).replace(minute=0) for start in starts)


class Sight:
    """What was read of some places, and of groups of places as if each were one."""

    def __init__(self, hours: Hours) -> None:
        self._hours = hours

    def grouped(self, key: Sequence[str]) -> Sight:
        """The sums of places that agree in these fields; the others of their fields are empty."""
        groups: Hours = {}
        for place, hours in self._hours.items():
            of_group = groups.setdefault(_group(place, key), {})
            for hour, figures in hours.items():
                before = of_group.get(hour, _NOTHING)
                of_group[hour] = Figures(*(one + other for one, other in zip(before, figures, strict=True)))
        return Sight(groups)

    def read(self, place: Place, hour: datetime, now: datetime) -> Reading:
        """An hour of a place against what it usually is."""
        known, like = self._hours.get(place, {}), _calendar(place.tenant)
        kinds = (like.weekly,) if _known(known, like.weekly(hour)) >= ENOUGH else (like.weekly, like.daily, like.recent)
        samples = [[known.get(start, _NOTHING) for start in starts(hour)] for starts in kinds]
        elapsed = min(1.0, max(0.0, (now - hour) / HOUR))
        return anomalies.read(anomalies.usual(*samples), known.get(hour, _NOTHING), elapsed)

    def is_young(self, place: Place, hours: Iterable[datetime]) -> bool:
        """Are too few of the weekly samples of one of these hours known?"""
        known, like = self._hours.get(place, {}), _calendar(place.tenant)
        return any(_known(known, like.weekly(hour)) < ENOUGH for hour in hours)

    def joined(self, other: Hours) -> Sight:
        """With more hours."""
        return Sight({place: {**hours, **other.get(place, {})} for place, hours in self._hours.items()})


def find(now: datetime | None = None) -> dict[str, int]:
    """Look at what is spent now and was in the last hour; how many places are found, began and ended.

    Raises Transient.
    """
    at = now or clock.now()
    running = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    with read_only() as session:
        on = {subject: facts for (_, subject), facts in watch_store.on(session, [ANOMALY]).items()}
        dear = watch_store.dear_places(session, [running, running - HOUR], LEAST_EXCESS)
        dear |= {Place(*facts["place"]) for facts in on.values()}
        sight = _sight(session, dear, running)
        found = _far(session, sight, dear, running, now=at, on=on)
    with unit_of_work() as uow:
        watch_store.keep(uow, found)
        began = _begin(uow, found, on, at)
        ended = _end(uow, found, on, running, at)
    return {"found": len({one.place for one in found}), "began": began, "ended": ended}


def _sight(session: Session, places: Collection[Place], running: datetime) -> Sight:
    """The figures of places: in these hours and in hours like them."""
    looked_at = [running - back * HOUR for back in range(3)]
    zones = {place.tenant: _calendar(place.tenant) for place in places}
    weekly = {start for like in set(zones.values()) for hour in looked_at for start in [*like.weekly(hour), hour]}
    read = watch_store.of_places(session, places, weekly)
    sight = Sight({place: read.get(place, {}) for place in places})
    young = [place for place in places if sight.is_young(place, looked_at)]
    more = {start for place in young for hour in looked_at for start in zones[place.tenant].all(hour)}
    return sight.joined(watch_store.of_places(session, young, more - weekly))


def _far(
    session: Session, sight: Sight, places: Iterable[Place], running: datetime, *, now: datetime, on: Collection[str]
) -> list[Anomaly]:
    """The findings of the last whole hour and of the running one, with their causes."""
    readings = []
    for place in sorted(places):
        for hour in (running - HOUR, running):
            here = sight.read(place, hour, now)
            before = sight.read(place, hour - HOUR, now) if here.exceeds(SCORE_TO_STAY) else None
            if anomalies.is_found(here, before, of_skill=None, is_on=place.subject in on):
                readings.append((place, hour, here, before))
    tenants = {place.tenant for place, *_ in readings}
    hours = {start for tenant in tenants for back in (0, 1) for start in _calendar(tenant).all(running - back * HOUR)}
    around = Sight(watch_store.of_tenants(session, tenants, hours))
    skills, whole = around.grouped(("tenant", "skill")), around.grouped(("tenant",))
    found = []
    for place, hour, here, before in readings:
        of_skill = skills.read(_group(place, ("tenant", "skill")), hour, now)
        if anomalies.is_found(here, before, of_skill=of_skill, is_on=place.subject in on):
            of_tenant = whole.read(_group(place, ("tenant",)), hour, now)
            found.append(_anomaly(place, hour, here, of_skill, of_tenant))
    return found


def _anomaly(place: Place, hour: datetime, here: Reading, of_skill: Reading, of_tenant: Reading) -> Anomaly:
    usual, actual = here.by_now, here.actual
    siblings = Siblings(models=_beside(of_skill, here), skills=_beside(of_tenant, of_skill))
    split = causes.split(usual, actual, siblings)
    facts = {
        "hour": iso(hour),
        "elapsed": round(here.elapsed, 3),
        "expected": dollars(round(usual.cost)),
        "actual": dollars(round(actual.cost)),
        "excess": dollars(round(actual.cost) - round(usual.cost)),
        "calls": round(actual.calls),
        "usual_calls": round(usual.calls, 1),
        "why": split.words,
        "split": {cause.value: dollars(part) for cause, part in split.parts.items()},
    }
    expected, spent = round(usual.cost), round(actual.cost)
    return Anomaly(hour, place, expected, spent, round(here.score, 2), split.label, facts)


def _beside(whole: Reading, part: Reading) -> tuple[float, float]:
    """Calls of all but this part: usual by now, and now."""
    usual = max(0.0, whole.by_now.calls - part.by_now.calls)
    return usual, max(0.0, whole.actual.calls - part.actual.calls)


def _begin(uow: UnitOfWork, found: Sequence[Anomaly], on: Mapping[str, Any], now: datetime) -> int:
    began = 0
    for _, group in groupby(sorted(found, key=lambda one: (one.place, one.hour)), key=lambda one: one.place):
        newest = list(group)[-1]
        place = newest.place
        kept = {**newest.facts, "place": list(place)}
        if place.subject not in on and watch_store.begin(uow, ANOMALY, place.subject, kept, now):
            labels = {**_labels(place), "cause": newest.cause}
            signals.record(uow, FOUND, place.subject, labels=labels, facts={"id": str(newest.id), **newest.facts})
            began += 1
    return began


def _end(uow: UnitOfWork, found: Sequence[Anomaly], on: Mapping[str, Any], running: datetime, now: datetime) -> int:
    """What is found neither in the last whole hour nor in the running one is over."""
    going_on = {one.place.subject for one in found}
    ended = 0
    for subject, facts in on.items():
        if subject in going_on or (now - running) / HOUR < LEAST_ELAPSED:
            continue
        since = watch_store.end(uow, ANOMALY, subject)
        if since is not None:
            told = {**facts, "seconds": round((now - since).total_seconds())}
            signals.record(uow, OVER, subject, labels=_labels(Place(*facts["place"])), facts=told)
            ended += 1
    return ended


def _labels(place: Place) -> dict[str, str]:
    return place._asdict()


def _group(place: Place, key: Sequence[str]) -> Place:
    return Place(**{name: getattr(place, name) if name in key else "" for name in Place._fields})


def _known(hours: Mapping[datetime, Figures], samples: Sequence[datetime]) -> int:
    """How many samples there are from the first that cost something on."""
    used = (place for place, start in enumerate(samples) if start in hours and hours[start].cost > 0)
    return len(samples) - next(used, len(samples))


def _calendar(tenant: str) -> Calendar:
    return Calendar(catalog.current().budgeting.zone_of(tenant))
