"""What the next hours will cost: what such hours of the week usually cost, at the present level. Pure.

Seasonal-naive: the median of the same hour of the week over four weeks, shrunk to that hour of all days, and that to
the mean, where few of them are known. The level is what the last days cost beside what was usual. What is spent far
beyond that at present, as by a loop, is taken to go on for some hours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from statistics import fmean, median
from zoneinfo import ZoneInfo

HOUR = timedelta(hours=1)
WEEK = 168
WEEKS = 4
ENOUGH = 3
"""Samples of an hour from which on nothing else is asked what it usually costs."""

BURN_HALF_LIFE = 3.0
"""Hours after which an hour counts half in the burn rate: quick enough for alarms."""

LEVEL_HALF_LIFE = 24.0
"""The same in the present level: a whole day, so that no time of day outweighs the others."""

LEVEL_HOURS = 96
SURGE = 2.0
"""Times the usual from which on the burn rate is a surge: below, it is chance, and the level follows soon enough."""

SURGE_HALF_LIFE = 6.0
"""Hours after which half of a surge is taken to be over."""

_MOST_OF_AN_HOUR = 3.0
"""Times the usual that one hour counts at most in the level: a loop of an hour says nothing about tomorrow."""


@dataclass(frozen=True, slots=True)
class Series:
    """Millionths of a dollar of every hour (UTC) from `since` up to `now`, which is in the last one.

    `slots`: each one's hour of the week on the zone's clock, 0 to 167.
    """

    since: datetime
    now: datetime
    zone: str
    costs: tuple[int, ...]
    slots: tuple[int, ...]

    @property
    def whole(self) -> int:
        """Hours that are over."""
        return len(self.costs) - 1

    @property
    def elapsed(self) -> float:
        """The share of the running hour that has passed."""
        return (self.now - _full(self.now)) / HOUR


@dataclass(frozen=True, slots=True)
class Outlook:
    """Millionths of a dollar an hour: `usual` by hour of the week, times `level`; and a `surge` that dies away."""

    usual: tuple[float, ...]
    level: float
    surge: float

    def hour(self, slot: int, ahead: float) -> float:
        """What an hour costs that begins so many hours from now."""
        return self.usual[slot] * self.level + self.surge * math.exp2(-ahead / SURGE_HALF_LIFE)


def series(hours: Mapping[datetime, int], now: datetime, zone: str, *, weeks: int = 8) -> Series:
    """Of sums by full hour (UTC); an hour without one cost nothing, from the first that is there on."""
    running = _full(now)
    oldest = running - timedelta(weeks=weeks)
    since = min((hour for hour in hours if oldest <= hour <= running), default=running)
    starts = [since + place * HOUR for place in range((running - since) // HOUR + 1)]
    costs = tuple(max(0, hours.get(start, 0)) for start in starts)
    return Series(since, now, zone, costs, tuple(slot_of(start, zone) for start in starts))


@lru_cache(maxsize=65_536)
def slot_of(start: datetime, zone: str) -> int:
    """The hour of the week on the zone's clock, from Monday's first."""
    local = start.astimezone(_zone(zone))
    return local.weekday() * 24 + local.hour


def burn_rate(known: Series) -> float:
    """Millionths of a dollar an hour, of which each hour counts half of what the third after it does."""
    spent = time = 0.0
    length = known.elapsed
    ago = 0.0
    for cost in reversed(known.costs[-10 * int(BURN_HALF_LIFE) :]):
        weight = math.exp2(-(ago + length / 2) / BURN_HALF_LIFE)
        spent += weight * cost
        time += weight * length
        ago += length
        length = 1.0
    return spent / time if time else 0.0


def outlook(known: Series, end: int | None = None) -> Outlook:
    """As of now; `end`: as of the beginning of the series' hour of that place, of the hours before it."""
    last = known.whole if end is None else end
    first = max(0, last - WEEKS * WEEK)
    costs, slots = known.costs[first:last], known.slots[first:last]
    if end is None and not costs:  # the first hour of all: its own pace is all there is
        return Outlook((burn_rate(known),) * WEEK, 1.0, 0.0)
    usual = _usual(costs, slots)
    level = _level(costs, slots, usual)
    rate = _recent(costs, BURN_HALF_LIFE) if end is not None else burn_rate(known)
    expected = level * _recent([usual[slot] for slot in slots], BURN_HALF_LIFE)
    return Outlook(usual, level, max(0.0, rate - SURGE * expected) if len(costs) >= WEEK // 7 else 0.0)


def hours_ahead(now: datetime, until: datetime, zone: str) -> Iterator[tuple[datetime, float, int]]:
    """Each hour up to `until`: its start, or now; how much of it lies ahead; and its hour of the week."""
    start = _full(now)
    while start < until:
        begin, end = max(start, now), min(start + HOUR, until)
        yield begin, (end - begin) / HOUR, slot_of(start, zone)
        start += HOUR


def spending(seen: Outlook, now: datetime, until: datetime, zone: str) -> Iterator[tuple[datetime, float, float]]:
    """Each hour ahead: its start, its length in hours, and what it is taken to cost."""
    for begin, length, slot in hours_ahead(now, until, zone):
        yield begin, length, length * seen.hour(slot, (begin - now) / HOUR)


def last_day(known: Series) -> float:
    """Millionths of a dollar of the 24 hours before now; of the hour in which they begin, its share."""
    recent = known.costs[-25:]
    partly = recent[0] * (1 - known.elapsed) if len(recent) == 25 else recent[0]
    return partly + sum(recent[1:])


def _usual(costs: tuple[int, ...], slots: tuple[int, ...]) -> tuple[float, ...]:
    of_week: list[list[int]] = [[] for _ in range(WEEK)]
    of_day: list[list[int]] = [[] for _ in range(24)]
    for cost, slot in zip(costs, slots, strict=True):
        of_week[slot].append(cost)
        of_day[slot % 24].append(cost)
    mean = fmean(costs)
    days = [_shrunk(samples, mean) for samples in of_day]
    found = tuple(_shrunk(samples, days[slot % 24]) for slot, samples in enumerate(of_week))
    # Where most hours cost nothing so do their medians: then no hour is told from another.
    covered = sum(found[slot] for slot in slots)
    return found if covered * 2 >= sum(costs) else (mean,) * WEEK


def _shrunk(samples: list[int], towards: float) -> float:
    weight = min(len(samples), ENOUGH) / ENOUGH
    return weight * median(samples) + (1 - weight) * towards if samples else towards


def _level(costs: tuple[int, ...], slots: tuple[int, ...], usual: tuple[float, ...]) -> float:
    mean = fmean(usual)
    expected = [usual[slot] for slot in slots[-LEVEL_HOURS:]]
    counted = [
        min(cost, _MOST_OF_AN_HOUR * max(was, mean)) for cost, was in zip(costs[-LEVEL_HOURS:], expected, strict=True)
    ]
    below = _recent(expected, LEVEL_HALF_LIFE)
    return _recent(counted, LEVEL_HALF_LIFE) / below if below else 1.0


def _recent(values: list[float] | tuple[int, ...] | list[int], half_life: float) -> float:
    """The mean, of which each value counts half of what the one `half_life` after it does."""
    recent = values[-int(10 * half_life) :]
    weights = _weights(len(recent), half_life)
    total = sum(weights)
    return sum(weight * value for weight, value in zip(weights, recent, strict=True)) / total if total else 0.0


@lru_cache(maxsize=256)
def _weights(count: int, half_life: float) -> tuple[float, ...]:
    return tuple(math.exp2(-(count - 1 - place) / half_life) for place in range(count))


@lru_cache(maxsize=512)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _full(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
