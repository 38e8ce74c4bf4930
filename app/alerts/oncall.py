"""Whose turn it is. Pure: rotations from the catalogue, overrides from there and the database; answers in UTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from app.alerts import wall
from app.catalog import Rotation

_TICK = timedelta(microseconds=1)


class Exchange(Protocol):
    """Somebody takes over for a while; the catalogue's Override is one."""

    @property
    def person(self) -> str: ...
    @property
    def begin(self) -> datetime: ...
    @property
    def until(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Swap:
    """An Exchange that was stored. `until` is the first moment after it."""

    person: str
    begin: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Turn:
    """One stretch of one person's duty, from `since` until before `until`.

    `since` is None before a rotation's start: its first member has always been on call.
    """

    person: str
    since: datetime | None
    until: datetime
    is_override: bool = False


def who(rotation: Rotation, now: datetime, overrides: Sequence[Exchange] = ()) -> Turn:
    """Who is on call. Of overrides the last one that matches counts, and `overrides` come after the rotation's own."""
    every = (*rotation.overrides, *overrides)
    place = _override_at(every, now)
    whole = _regular(rotation, now) if place is None else _taken_over(every[place])
    edges = sorted(edge.astimezone(UTC) for override in every for edge in (override.begin, override.until))
    since = next((edge for edge in reversed(edges) if edge <= now and _override_at(every, edge - _TICK) != place), None)
    until = next((edge for edge in edges if edge > now and _override_at(every, edge) != place), None)
    return replace(
        whole,
        since=max((edge for edge in (whole.since, since) if edge is not None), default=None),
        until=whole.until if until is None else min(whole.until, until),
    )


def schedule(rotation: Rotation, start: datetime, end: datetime, overrides: Sequence[Exchange] = ()) -> list[Turn]:
    """Every turn that has a part between `start` and before `end`, whole, in order and without gaps."""
    turns: list[Turn] = []
    at = start
    while at < end:
        turns.append(who(rotation, at, overrides))
        at = turns[-1].until
    return turns


def _override_at(overrides: Sequence[Exchange], at: datetime) -> int | None:
    """The place of the one in force."""
    places = range(len(overrides) - 1, -1, -1)
    return next((place for place in places if overrides[place].begin <= at < overrides[place].until), None)


def _taken_over(override: Exchange) -> Turn:
    return Turn(override.person, override.begin.astimezone(UTC), override.until.astimezone(UTC), is_override=True)


def _regular(rotation: Rotation, now: datetime) -> Turn:
    """The turn by the rotation's rhythm. The wall's date is right or one handover off."""
    today = now.astimezone(ZoneInfo(rotation.timezone)).date()
    number = (today - rotation.start).days // rotation.days
    while _handover(rotation, number) > now:
        number -= 1
    while _handover(rotation, number + 1) <= now:
        number += 1
    if number < 0:
        return Turn(rotation.members[0], None, _handover(rotation, 0))
    person = rotation.members[number % len(rotation.members)]
    return Turn(person, _handover(rotation, number), _handover(rotation, number + 1))


def _handover(rotation: Rotation, number: int) -> datetime:
    """When turn `number` begins, in UTC. A time that the clocks skip happens at the end of the gap."""
    day = rotation.start + timedelta(days=number * rotation.days)
    return wall.moment(datetime.combine(day, rotation.handover), rotation.timezone)
