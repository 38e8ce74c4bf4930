"""How far what waits may go, when to look again, and who has to wait behind it. No I/O.

Work that has waited does not take all there is: some of it is left to people who wait for an answer now, and a window
that begins anew is not used up in its first second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.catalog import CLASSES, RateLimit
from app.limits.core import Decision, Reading
from app.limits.windows import Window, window_at

CRITICAL, INTERACTIVE = CLASSES.index("critical"), CLASSES.index("interactive")

SOON = timedelta(seconds=0.1)
"""A queue is not looked at again sooner because there was no room."""
SHORTLY = timedelta(seconds=1)
"""When another look may help, and nothing says when."""
LONGEST = timedelta(minutes=1)
"""A queue is looked at after this long at the latest: an event that was missed heals, and its lanes stay in Redis."""
_ALONE = "interaction:"
"""Subjects of which hardly two wait at a time, and of which there may be very many."""
OF_MANY, LONGEST_OF_MANY = timedelta(seconds=0.05), timedelta(minutes=20)
"""Where thousands wait, so long for each of them: such looks leave time to those that are due, and lanes live on."""


def ceiling(limit: RateLimit, rank: int, *, cost: int, now: datetime) -> int:
    """Up to how many units of a limit waiting work of a class may go now, which is never less than what it needs once.

    Critical and interactive work may go as far as ever. Other work leaves `reserve` of the capacity, which melts away
    towards the end of a calendar window; a rolling one has no end, and half of it stays. In the first `spread` of a
    calendar window all but critical work goes on evenly.
    """
    full = limit.ceiling(rank)
    window = window_at(limit, now) if limit.window == "calendar" else None
    allowed = _above_reserve(limit, rank, full, window, now)
    if window is not None and rank > CRITICAL:
        share = (now - window.start) / (window.end - window.start)
        if share < limit.spread:
            allowed = min(allowed, int(full * share / limit.spread + 1e-9) + 1)
    return max(allowed, min(cost, full))


def _above_reserve(limit: RateLimit, rank: int, full: int, window: Window | None, now: datetime) -> int:
    if rank <= INTERACTIVE:
        return full
    left = 0.5 if window is None else (window.end - now) / (window.end - window.start)
    return min(full, max(limit.units, full) - int(limit.units * limit.reserve * left + 1e-9))


def reached_at(limit: RateLimit, rank: int, *, need: int, now: datetime) -> datetime | None:
    """When the ceiling in the present calendar window is at least `need`; None when it never is."""
    full = limit.ceiling(rank)
    if limit.window != "calendar" or need > full:
        return None
    window = window_at(limit, now)
    length = window.end - window.start
    at = window.start
    if rank > CRITICAL and need > 0:
        at = window.start + length * limit.spread * ((need - 1) / full)
    reserved = max(limit.units, full) - need  # as much may be reserved at the most
    if rank > INTERACTIVE and int(limit.units * limit.reserve + 1e-9) > reserved:
        at = max(at, window.end - length * ((reserved + 1) / (limit.units * limit.reserve)))
    return max(at, now)


def look_again_in(decision: Decision) -> timedelta | None:
    """How long after its decision another look at what had to stay may help; None where only an event can tell."""
    full = [(reading, reading.room_at) for reading in decision.readings if reading.room_at is not None]
    waits = [_room_at(reading, room, decision) - decision.at for reading, room in full]
    waits += [hold.until - decision.at for hold in decision.holds if hold.until is not None]
    endless = any(hold.until is None for hold in decision.holds)
    return None if endless or not waits else max(waits)


def _room_at(reading: Reading, room: datetime, decision: Decision) -> datetime:
    """The script knows when there is room under the ceiling it was given, and not that the ceiling rises."""
    limit, rank = reading.limit, decision.ask.plan.rank
    if room != reading.ends_at or reading.used + reading.cost <= reading.ceiling or reading.capacity <= 0:
        return room
    need = -(-(reading.used + reading.cost) * limit.units // reading.capacity)
    rises = reached_at(limit, rank, need=need, now=decision.at)
    return room if rises is None else min(room, rises)


def longest(queues: int) -> timedelta:
    """After how long a queue is looked at whatever it waits for, where there are so many."""
    return min(max(LONGEST, queues * OF_MANY), LONGEST_OF_MANY)


def bounded(wait: timedelta | None, most: timedelta = LONGEST) -> timedelta:
    """Not at once, and not too late for what nobody says."""
    return most if wait is None else min(max(wait, SOON), most)


def lanes_of(decision: Decision | None, operation: str) -> frozenset[str]:
    """What it waits for, as newcomers are asked about it: limits that are full, or the operation itself."""
    if decision is None:
        return frozenset({operation})
    full = [reading for reading in decision.readings if reading.room_at is not None]
    lanes = {reading.lane for reading in full if not reading.subject.startswith(_ALONE)}
    if decision.behind is not None:
        lanes.add(decision.behind)
    if not decision.ask.plan.budgeted and (decision.holds or not lanes):
        lanes.add(operation)
    return frozenset(lanes)


def reason_of(decision: Decision | None) -> str:
    """For what it waits, for people."""
    if decision is None:
        return "its turn"
    if decision.holds:
        return "; ".join(dict.fromkeys(hold.reason for hold in decision.holds))[:500]
    full = [reading.limit.name for reading in decision.readings if reading.room_at is not None]
    if full:
        return f"room in {', '.join(dict.fromkeys(full))}"
    return f"those before it, which wait for {decision.behind}" if decision.behind else "its turn"


@dataclass(frozen=True, slots=True)
class Stay:
    """Why operations of a name stay where they are: until when, for whom newcomers wait, and in words."""

    lanes: frozenset[str]
    look_again_in: timedelta | None
    reason: str


def stay_of(decision: Decision) -> Stay:
    """What had to stay after a decision."""
    operation = decision.ask.plan.operation
    return Stay(lanes_of(decision, operation), look_again_in(decision), reason_of(decision))


def together(stays: Mapping[str, Stay]) -> dict[str, Stay]:
    """Stays of kinds (an operation, or one for whoever it is made) as one of each operation."""
    found: dict[str, Stay] = {}
    for kind, stay in stays.items():
        operation = kind.partition(" ")[0]
        before = found.get(operation, stay)
        waits = [one.look_again_in for one in (before, stay) if one.look_again_in is not None]
        found[operation] = Stay(before.lanes | stay.lanes, min(waits, default=None), before.reason)
    return found


def lanes_after(
    waiting: Mapping[str, int], stays: Mapping[str, Stay], everything: Mapping[str, frozenset[str]]
) -> dict[str, int]:
    """The lanes of a queue: for each the most urgent rank that waits in it.

    `waiting` is the most urgent rank by operation, `everything` all that an operation may wait for: those of which none
    was looked at may wait for any of it.
    """
    lanes: dict[str, int] = {}
    for operation, rank in waiting.items():
        stay = stays.get(operation)
        for lane in everything.get(operation, frozenset({operation})) if stay is None else stay.lanes:
            lanes[lane] = min(lanes.get(lane, rank), rank)
    return lanes
