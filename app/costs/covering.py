"""How a period is put together of days, hours and single calls, some of which are taken away again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
_MILLISECOND = timedelta(milliseconds=1)
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Part:
    """Whole days or hours (UTC), or calls, from `since` to `until`: added (`sign` 1) or taken away (-1).

    They belong to the step that begins at `bucket`; None: each row to the one that begins when it does itself.
    """

    kind: Literal["days", "hours", "calls"]
    since: datetime
    until: datetime
    sign: int = 1
    bucket: datetime | None = None


def whole(since: datetime, until: datetime) -> list[Part]:
    """The parts that make up the period, none where it is empty."""
    since, until = _moment(since), _moment(until)
    if since >= until:
        return []
    first_day, last_day = _nearest(since, DAY), _nearest(until, DAY)
    first_hour, last_hour = _nearest(since, HOUR), _nearest(until, HOUR)
    found = [Part("days", first_day, last_day)]
    if first_day == last_day:
        found.append(Part("hours", first_hour, last_hour))
    else:
        found += [_between("hours", first_hour, first_day), _between("hours", last_day, last_hour)]
    if first_hour == last_hour:
        found.append(Part("calls", since, until))
    else:
        found += [_between("calls", since, first_hour), _between("calls", last_hour, until)]
    return [part for part in found if part.since < part.until]


def stepped(since: datetime, until: datetime, edges: Sequence[datetime], step: Literal["hour", "day"]) -> list[Part]:
    """The parts of each step between `since`, `edges` and `until`, in order."""
    since, until = _moment(since), _moment(until)
    if since >= until:
        return []
    width = HOUR if step == "hour" else DAY
    all_edges = [since, *(edge for edge in edges if since < edge < until), until]
    inner = [(low, high) for low, high in pairwise(all_edges) if _is_full(low, width) and high - low == width]
    if len(inner) < len(all_edges) - 3:
        return [part for low, high in pairwise(all_edges) for part in _step(low, high)]
    found = [part for low, high in pairwise(all_edges) if (low, high) not in inner for part in _step(low, high)]
    if inner:
        found.append(Part("hours" if step == "hour" else "days", inner[0][0], inner[-1][1]))
    return found


def _step(since: datetime, until: datetime) -> list[Part]:
    return [replace(part, bucket=since) for part in whole(since, until)]


def _between(kind: Literal["hours", "calls"], start: datetime, end: datetime) -> Part:
    """What leads from `start` to `end`: forward it is added, back it is taken away."""
    return Part(kind, start, end) if start <= end else Part(kind, end, start, -1)


def _nearest(moment: datetime, width: timedelta) -> datetime:
    return _FIRST + (moment - _FIRST + width / 2) // width * width


def _is_full(moment: datetime, width: timedelta) -> bool:
    return not (moment - _FIRST) % width


def _moment(given: datetime) -> datetime:
    """Up to the next full millisecond, which is as fine as the times of calls are; within what an id can say."""
    moment = min(max(given.astimezone(UTC), _FIRST), _LAST)
    return moment + (_FIRST - moment) % _MILLISECOND
