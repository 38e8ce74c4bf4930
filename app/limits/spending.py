"""Money that was spent: each call settles what was reserved for it, or is counted in every budget, once; and is put
into the stream from which it is written down, by the same script."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from app.config import settings
from app.errors import Transient
from app.infra import redis
from app.limits import budgets, keys
from app.limits.asking import Call, ask_all
from app.limits.budgets import Counted, Who
from app.limits.core import moment
from app.limits.plans import crossings
from app.limits.windows import Window, bucket_of, window_at
from app.limits.wire import Script

AT_ONCE = 500
"""Calls that one run of the script takes: Redis does nothing else meanwhile."""

SEEN_MOST = 200_000
"""Ids of one minute that are known; what is repeated beyond that is put right by the comparison with the roll-ups."""

AGREE_AT_ONCE = 200

DRAINED_BYTES = 400_000
"""Of what entries counted, in one run of the script: some thousands of counters."""

__all__ = [
    "NOBODY",
    "Backlog",
    "Entry",
    "Full",
    "Recorded",
    "Spent",
    "Who",
    "agree",
    "backlog",
    "drained",
    "entries",
    "record",
]

NOBODY = "all"
"""The account, without a platform, in whose queue work for no tenant waits; every other's is named as its tenant."""

_SPEND = Script("spend")
_DRAINED = Script("drained")
_AGREE = Script("agree")


class Full(Transient):
    """The stream holds as much as it may: nothing was recorded."""


class Spent(NamedTuple):
    """One call: its id as canonical lower-case text, millionths of a dollar (None: unknown), seconds since 1970."""

    id: str
    amount: int | None
    at: float
    who: Who


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was done. `entry` None: every call was known already; `crossed`: a budget's threshold was reached."""

    entry: str | None
    fresh: int
    duplicates: int
    crossed: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the stream: what was given to `record`, and the amounts that it counted."""

    id: str
    kind: str
    payload: bytes
    counted: bytes


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in the stream. `oldest_at`: when its first entry came; None where nothing waits."""

    entries: int
    bytes: int
    oldest_at: datetime | None


def record(calls: Sequence[Spent], payload: bytes, *, kind: str = "calls", always: bool = False) -> Recorded:
    """Count the calls that are not known yet, and append `payload` to the stream: both, or nothing.

    At most `AT_ONCE` calls. `always`: append it also where every call is known, or there is none. Raises Full,
    Transient.
    """
    sheet = _Sheet(budgets.effective())

    def call(_place: int, now: float) -> Call:
        return sheet.call(calls, payload, kind=kind, always=always, now=now)

    [answer] = ask_all(_SPEND, 1, call, lambda _place: list(sheet.subjects))
    if answer["v"] == "full":
        raise Full("the stream of calls is full: they are not written down fast enough")
    return Recorded(answer["e"], answer["f"], answer["d"], answer["x"] > 0)


class _Sheet:
    """The script's arguments: counters and groups of calls that count in the same ones."""

    def __init__(self, effective: budgets.Effective) -> None:
        self._effective = effective
        self._begin(0.0)

    def _begin(self, now: float) -> None:
        self._now = datetime.fromtimestamp(now, UTC)
        self.subjects: dict[str, int] = {}
        self._counters: list[list[Any]] = []
        self._places: dict[tuple[str, str], int] = {}
        self._starts: list[float] = []
        self._groups: dict[Any, int] = {}
        self._lists: list[list[int]] = []
        self._known: dict[tuple[str, ...], tuple[int, float]] = {}

    def call(self, calls: Sequence[Spent], payload: bytes, *, kind: str, always: bool, now: float) -> Call:
        self._begin(now)
        known = [self._effective.alike(one.who) for one in calls]
        owners: dict[str, int] = {}
        given = {
            "e": [one.id for one in calls],
            "a": [one.amount or 0 for one in calls],
            "g": [self._group(one, alike) for one, alike in zip(calls, known, strict=True)],
            "h": [self._known[alike][0] for alike in known],
            "w": [owners.setdefault(one.who.tenant, len(owners) + 1) for one in calls],
            "o": [tenant or NOBODY for tenant in owners],
            "f": self._lists,
            "l": self._counters,
            "k": round(settings().limits_remember_seconds * 1000),
            "m": SEEN_MOST,
            "x": always,
            "b": settings().cost_stream_mb * 1_048_576,
            "n": kind,
        }
        states = [keys.STATE + subject for subject in self.subjects]
        return [keys.CALLS, *states], [json.dumps(given, separators=(",", ":")).encode(), payload]

    def _group(self, call: Spent, alike: tuple[str, ...]) -> int:
        """Its group. A call of a window that is over counts in the others only."""
        at, known = call.at, self._known.get(alike)
        if known is None:
            places = [self._counter(one) for one in self._effective.of(call.who)]
            known = self._known[alike] = (
                self._number(tuple(places)),
                max((self._starts[place - 1] for place in places), default=0.0),
            )
        group, since = known
        if at >= since:
            return group
        return self._number(tuple(place for place in self._lists[group - 1] if at >= self._starts[place - 1]))

    def _number(self, places: tuple[int, ...]) -> int:
        if places not in self._groups:
            self._lists.append(list(places))
            self._groups[places] = len(self._lists)
        return self._groups[places]

    def _counter(self, one: Counted) -> int:
        key = (one.subject, one.limit.name)
        if key not in self._places:
            place = self.subjects.setdefault(one.subject, len(self.subjects) + 1)
            written, since = _written(one, place, self._now)
            self._counters.append(written)
            self._starts.append(since)
            self._places[key] = len(self._counters)
        return self._places[key]


_KEPT = 50_000
_texts: dict[int, tuple[Counted, datetime, datetime, list[Any]]] = {}
"""By identity: a counter, from when until when it is written so, and how, without its subject's place."""


def _written(one: Counted, place: int, now: datetime) -> tuple[list[Any], float]:
    """A counter as the script reads it, and from when on calls count in it, in seconds since 1970."""
    kept = _texts.get(id(one))
    if kept is None or not kept[1] <= now < kept[2]:
        if len(_texts) >= _KEPT:
            _texts.clear()
        kept = _texts[id(one)] = (one, *_anew(one, now))
    _, since, _, (name, *rest) = kept
    is_rolling = one.limit.window == "rolling"
    return [name, place, *rest], now.timestamp() - one.limit.seconds if is_rolling else since.timestamp()


def _anew(one: Counted, now: datetime) -> tuple[datetime, datetime, list[Any]]:
    limit = one.limit
    levels = [] if one.is_throttle else crossings(limit.units, limit.warn_at)
    if limit.window == "rolling":
        return _EVER, _NEVER, [limit.name, limit.units, levels, *bucket_of(limit)]
    window = _window(one, now)
    return window.start, window.end, [limit.name, limit.units, levels, _ms(window.start), _ms(window.end), True]


_EVER, _NEVER = datetime.fromtimestamp(0, UTC), datetime.max.replace(tzinfo=UTC)


_windows: dict[tuple[str, str], Window] = {}


def _window(one: Counted, now: datetime) -> Window:
    """The calendar window that `now` is in, reckoned once for each kind of window."""
    key = (str(one.limit.period), one.limit.timezone)
    known = _windows.get(key)
    if known is None or not known.start <= now < known.end:
        known = _windows[key] = window_at(one.limit, now)
    return known


def entries(count: int, after: str = "-") -> list[Entry]:
    """The oldest entries of the stream, or those after an entry. Raises Transient."""
    start = after if after == "-" else f"({after}"
    with redis.transient_errors():
        found = redis.client().execute_command("XRANGE", keys.CALLS, start, "+", "COUNT", count, NEVER_DECODE=True)
    return [_entry(*one) for one in found or ()]


def _entry(identifier: bytes, fields: Any) -> Entry:
    pairs = fields if isinstance(fields, Mapping) else dict(zip(fields[::2], fields[1::2], strict=True))
    return Entry(identifier.decode(), pairs[b"k"].decode(), pairs[b"p"], pairs[b"c"])


def drained(done: Sequence[Entry]) -> int:
    """Delete entries that are written down; how many were still there. Raises Transient."""
    left, size = 0, 0
    arguments: list[str | bytes | int] = []
    for entry in done:
        arguments += [entry.id, len(entry.payload), entry.counted]
        size += len(entry.counted)
        if size >= DRAINED_BYTES or entry is done[-1]:
            left += int(_DRAINED.call([keys.CALLS], arguments))
            arguments, size = [], 0
    return left


def backlog() -> Backlog:
    """What waits. Raises Transient."""
    with redis.transient_errors():
        pipe = redis.client().pipeline(transaction=False)
        pipe.xlen(keys.CALLS)
        pipe.get(keys.CALLS_BYTES)
        pipe.execute_command("XRANGE", keys.CALLS, "-", "+", "COUNT", 1, NEVER_DECODE=True)
        count, size, first = pipe.execute()
    oldest = moment(int(first[0][0].partition(b"-")[0])) if first else None
    return Backlog(int(count), max(0, int(size or 0)), oldest)


def agree(committed: Mapping[str, Mapping[str, tuple[datetime, int]]]) -> int:
    """Make counters what was committed, and what is in the stream, and what is reserved; how many differed.

    `committed`: by subject and counter (`budget_NAME`), the start of its window and millionths of a dollar. A counter
    of a window that is not the present one, or of a budget that does not apply, is left alone. Nothing may be written
    down meanwhile. Raises Transient.
    """
    subjects = list(committed)
    return sum(
        _agree({subject: committed[subject] for subject in subjects[first : first + AGREE_AT_ONCE]})
        for first in range(0, len(subjects), AGREE_AT_ONCE)
    )


def _agree(committed: Mapping[str, Mapping[str, tuple[datetime, int]]]) -> int:
    subjects = list(committed)
    effective = budgets.effective()
    told: list[list[Any]] = []
    for place, subject in enumerate(subjects, start=1):
        for name, (start, amount) in committed[subject].items():
            counted = effective.counted(name.removeprefix(budgets.COUNTER), subject)
            if counted is None or counted.limit.window != "calendar":
                continue
            limit, window = counted.limit, window_at(counted.limit, start)
            if window.start == start:  # else its zone is another one by now
                levels = crossings(limit.units, limit.warn_at)
                told.append([place, name, amount, limit.units, levels, _ms(window.start), _ms(window.end)])
    text = json.dumps(told, separators=(",", ":")).encode()
    call: Call = ([keys.STATE + subject for subject in subjects], [text])
    [answer] = ask_all(_AGREE, 1, lambda _place, _now: call, lambda _place: subjects)
    return int(answer["c"])


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
